"""Files with several signatures: each of them has to run where the target says."""

from __future__ import annotations

from typing import Any

import pytest
from delegate_files import One, arg_max, dense
from tflite_models import Maker

from tflbuild import gates, inspection
from tflbuild.delegates.coverage import coverage, of_file
from tflbuild.delegates.judge import judge
from tflbuild.delegates.table import DELEGATES
from tflbuild.manifest.model import Accelerator, Budgets, Target
from tflbuild.tflite.read import read_model

TAKEN = {"dense": dense()}
NOT_TAKEN: dict[str, One] = {"classes": arg_max()}  # neither the GPU nor XNNPACK takes it


def file(signatures: dict[str, One]) -> bytes:
    """A signature for each operator, each with a subgraph of its own."""
    maker = Maker()
    for key, one in signatures.items():
        graph = maker.graph(key)
        inputs, outputs = one.add(maker, graph)
        graph.io(inputs, outputs)
        maker.signature(key, {"x": inputs[0]}, {"y": outputs[0]}, graph.index)
    return maker.pack()


ORDERS = [{**TAKEN, **NOT_TAKEN}, {**NOT_TAKEN, **TAKEN}]


@pytest.mark.parametrize("name", DELEGATES)
def test_the_order_of_signatures_changes_no_verdict(name: str) -> None:
    said = []
    for signatures in ORDERS:
        data = file(signatures)
        found = of_file(read_model(data), DELEGATES[name], data)
        assert (found["signature"], found["ops"], found["delegated"]) == ("classes", 1, 0)
        (other,) = found["others"]
        assert (other["signature"], other["delegated"]) == ("dense", 1)
        said.append(judge(found, Accelerator(name)))
        assert judge(found, Accelerator(name, min_macs=1.0)) == []
    assert said[0] == said[1]
    (message,) = said[0]
    assert message.startswith(f"{name} in signature 'classes' takes none of the 1 operators")


def test_each_signature_is_judged_by_itself() -> None:
    """The worst by MACs need not be the one that misses a limit."""
    worst: dict[str, Any] = {
        "signature": "a", "ops": 4, "delegated": 3, "share_ops": 0.75, "share_macs": 0.6,
        "partitions": 1, "by_default": {"share_ops": 0.75, "share_macs": 0.6}, "pieces": [],
        "blocked": None, "pinned": None, "observed": False, "note": "",
        "breaks": [{"op": "ARG_MAX", "count": 1, "index": 3, "layer": "y", "why": "no"}],
    }  # fmt: skip
    other = {**worst, "signature": "b", "share_macs": 1.0, "partitions": 3}
    found = {**worst, "others": [other]}
    assert judge(found, Accelerator("gpu", min_macs=0.5, max_partitions=2)) == [
        "gpu in signature 'b' gets 3 partitions (max_partitions 2): ARG_MAX in 'y' (×1): no"
    ]
    (message,) = judge(found, Accelerator("gpu", min_macs=0.7, max_partitions=3))
    assert message.startswith("gpu in signature 'a' takes 60 %")


def test_a_file_with_one_entry_names_none() -> None:
    data = file(NOT_TAKEN)
    model = read_model(data)
    found = of_file(model, DELEGATES["gpu"], data)
    assert (found["signature"], found["others"]) == ("", [])
    assert {**coverage(model, DELEGATES["gpu"], data=data), "others": []} == found
    assert judge(found, Accelerator("gpu"))[0].startswith("gpu takes none")


def test_the_gate_looks_at_all_signatures() -> None:
    """The whole way, from the file: what its second signature misses is missed."""
    target = Target(
        "t", "litert", budgets=Budgets(max_macs=20, max_io=300, max_traffic=100),
        accelerators=(Accelerator("gpu"), Accelerator("xnnpack")), dtypes=("float32",),
    )  # fmt: skip
    said = []
    for signatures in ORDERS:
        measured = inspection.measure(file(signatures), runtime="litert")
        assert measured["loads"]
        verdict = gates.compat_gate(measured, target, None)
        said.append(sorted((f.check, f.message) for f in verdict.failures))
    assert said[0] == said[1]
    messages = dict(said[0])
    assert [*messages] == sorted(
        ["accelerator.gpu", "accelerator.xnnpack", "dtypes", "io", "macs", "traffic"]
    )
    assert "in signature 'dense'" in messages["macs"]
    assert "in signature 'classes'" in messages["io"]
    assert "in signature 'classes'" in messages["traffic"]
    assert messages["dtypes"].startswith("ARG_MAX 'classes' gives int32, and dtypes of target t")
