"""How operators fall into partitions, and what the figures say of limits."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as s
from delegate_files import IMAGE, chain
from tflite_models import OP, TYPE, Maker

from tflbuild.delegates.coverage import _share, coverage, partitions
from tflbuild.delegates.judge import judge
from tflbuild.delegates.table import DELEGATES
from tflbuild.tflite.read import Subgraph, read_model


@dataclass(frozen=True)
class Limits:
    name: str = "gpu"
    min_ops: float | None = None
    min_macs: float | None = None
    max_partitions: int | None = None


def graph(edges: Sequence[tuple[list[int], list[int]]], resource: int = -1) -> Subgraph:
    """Operators as (tensors read, tensors written), over tensors by number."""
    maker = Maker()
    g = maker.graph()
    for at in range(1 + max(i for edge in edges for side in edge for i in side)):
        g.tensor(f"t{at}", (), TYPE.RESOURCE) if at == resource else g.tensor(f"t{at}", (4,))
    for inputs, outputs in edges:
        g.op(OP.ABS, inputs, outputs)
    g.io([0], [1])
    return read_model(maker.pack()).subgraphs[0]


@pytest.mark.parametrize(
    ("edges", "taken", "wanted"),
    [
        # a chain with one that stays in the middle
        ([([0], [1]), ([1], [2]), ([2], [3])], "101", [[0], [2]]),
        # the one that stays is on a side branch that begins ready: it runs first or last
        ([([0], [1]), ([0], [2]), ([1], [3])], "101", [[0, 2]]),
        ([([0], [1]), ([0], [2]), ([1, 2], [3])], "101", [[0], [2]]),
        ([([0], [1]), ([0], [2]), ([1, 2], [3])], "011", [[1, 2]]),
        # not neighbours in the file, one set all the same
        ([([0], [1]), ([0], [2]), ([1], [3]), ([2], [4]), ([3], [5])], "10101", [[0, 2, 4]]),
        ([([0], [1])], "0", []),
        # inputs that are left out wait for nothing
        ([([-1, 0], [1]), ([1, -1], [2])], "11", [[0, 1]]),
    ],
)
def test_partitions(edges: list, taken: str, wanted: list) -> None:
    found, unreached = partitions(graph(edges), [letter == "1" for letter in taken])
    assert (found, unreached) == (wanted, [])


def test_side_effects_keep_their_order() -> None:
    edges = [([0], [1]), ([9], [2]), ([0], [3]), ([9], [4]), ([3], [5])]
    taken = [True, True, True, False, True]
    assert partitions(graph(edges), taken)[0] == [[0, 1, 2, 4]]
    taken = [True, False, True, True, True]
    assert partitions(graph(edges), taken)[0] == [[0, 2, 3, 4]]
    found, _ = partitions(graph(edges, resource=9), taken)
    assert found == [[0, 2, 4], [3]]


def test_what_is_never_computed_runs_nowhere() -> None:
    edges = [([0], [1]), ([2], [2]), ([2], [3])]
    assert partitions(graph(edges), [True] * 3) == ([[0]], [1, 2])
    maker = Maker()
    g = maker.graph()
    x, y = g.tensor("x", IMAGE), g.tensor("y", IMAGE)
    g.op(OP.RELU, [y], [y])
    g.io([x], [y])
    found = coverage(read_model(maker.pack()), DELEGATES["xnnpack"])
    assert (found["delegated"], found["partitions"]) == (0, 0)
    assert found["breaks"][0]["why"] == "its inputs are never computed"


def test_a_model_without_operators() -> None:
    maker = Maker()
    g = maker.graph()
    x = g.tensor("x", IMAGE)
    g.io([x], [x])
    for delegate in DELEGATES.values():
        found = coverage(read_model(maker.pack()), delegate)
        assert (found["ops"], found["share_ops"], found["share_macs"]) == (0, 1.0, None)
        assert judge(found, Limits(delegate.NAME)) == []


def network() -> bytes:
    """fc (16 MACs) → CEIL → fc (48 MACs) → RELU → CEIL."""
    maker = Maker()
    g = maker.graph()
    last = x = g.tensor("x", (1, 4))
    for at, (name, units) in enumerate(
        [("FC", 4), ("CEIL", 4), ("FC", 12), ("RELU", 12), ("CEIL", 12)]
    ):
        result = g.tensor(f"layer{at};fused", (1, units))
        if name == "FC":
            weights = g.weight(f"w{at}", (units, 4))
            g.op(OP.FULLY_CONNECTED, [last, weights, -1], [result], s.FullyConnectedOptionsT())
        else:
            g.op(getattr(OP, name), [last], [result])
        last = result
    g.io([x], [last])
    return maker.pack()


def test_figures() -> None:
    found = coverage(read_model(network()), DELEGATES["gpu"])
    assert {key: found[key] for key in ("ops", "delegated", "share_ops", "share_macs")} == {
        "ops": 5, "delegated": 3, "share_ops": 0.6, "share_macs": 1.0,
    }  # fmt: skip
    assert found["pieces"] == [
        {"ops": 2, "share_ops": 0.4, "share_macs": 0.75},
        {"ops": 1, "share_ops": 0.2, "share_macs": 0.25},
    ]
    assert found["by_default"] == {"share_ops": 0.4, "share_macs": 0.75}
    entry = found["breaks"][0]
    assert (entry["op"], entry["count"], entry["index"]) == ("CEIL", 2, 1)
    assert entry["layer"] == "layer1;fused"


def loop() -> bytes:
    """WHILE whose body has all the MACs."""
    maker = Maker()
    main, cond, body = maker.graph(), maker.graph("cond"), maker.graph("body")
    for g in (main, cond, body):
        g.tensor("x", (1, 4))
    y, flag = main.tensor("y", (1, 4)), cond.tensor("flag", (), TYPE.BOOL)
    main.op(OP.WHILE, [0], [y], s.WhileOptionsT(condSubgraphIndex=1, bodySubgraphIndex=2))
    main.io([0], [y])
    cond.io([0], [flag])
    weights, made = body.weight("w", (4, 4)), body.tensor("made", (1, 4))
    body.op(OP.FULLY_CONNECTED, [0, weights, -1], [made], s.FullyConnectedOptionsT())
    body.io([0], [made])
    return maker.pack()


def test_macs_inside_loops() -> None:
    model = read_model(loop())
    assert coverage(model, DELEGATES["xnnpack"])["share_macs"] == 1.0
    assert coverage(model, DELEGATES["gpu"])["share_macs"] == 0.0
    assert coverage(model, DELEGATES["xnnpack"], 2)["delegated"] == 1


def test_without_limits_everything_must_be_taken() -> None:
    found = coverage(read_model(network()), DELEGATES["gpu"])
    assert judge(found, Limits()) == [
        "gpu takes 3 of 5 operators, in 2 partitions: CEIL in 'layer1' (×2): the GPU delegate has"
        " no such operator (the newer GPU path of CompiledModel has). To accept less, write gpu:"
        " {min_ops: 0.6, max_partitions: 2}"
    ]
    accepted = Limits(min_ops=0.6, max_partitions=2)
    assert judge(found, accepted) == []
    assert judge(coverage(read_model(chain("RELU", "ABS")), DELEGATES["gpu"]), Limits()) == []


def test_judging_costs_the_parent_no_imports() -> None:
    """It runs in every build, also in one with nothing to do."""
    program = (
        "import sys, tflbuild.delegates.judge; print({'numpy', 'ai_edge_litert'} & {*sys.modules})"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_limits() -> None:
    found = coverage(read_model(network()), DELEGATES["gpu"])
    (message,) = judge(found, Limits(min_macs=0.9))
    assert message.startswith("gpu takes 75 % of the MACs (min_macs 90 %): CEIL in 'layer1' (×2)")
    assert "max_partitions: 2" in message  # all partitions together have enough
    assert judge(found, Limits(min_macs=0.9, max_partitions=2)) == []
    assert judge(found, Limits(min_macs=0.7)) == []
    (message,) = judge(found, Limits(min_ops=0.9, max_partitions=2))
    assert message.startswith("gpu takes 60 % of the operators (min_ops 90 %)")
    (message,) = judge(found, Limits(max_partitions=1))
    assert message.startswith("gpu gets 2 partitions (max_partitions 1): CEIL")
    found = coverage(read_model(network()), DELEGATES["xnnpack"])
    assert judge(found, Limits("xnnpack", min_macs=1.0)) == []


def test_nothing_taken() -> None:
    (message,) = judge(coverage(read_model(chain("SIGN")), DELEGATES["xnnpack"]), Limits("xnnpack"))
    assert message == (
        "xnnpack takes none of the 1 operators: SIGN in 'y0' (×1): XNNPACK has no such operator"
    )


def test_a_dynamic_batch_is_said_once() -> None:
    maker = Maker()
    g = maker.graph()
    x = g.tensor("x", IMAGE, shapeSignature=np.array([-1, 4, 4, 4], "<i4"))
    y, z = g.tensor("y", IMAGE), g.tensor("z", IMAGE)
    g.op(OP.RELU, [x], [y])
    g.op(OP.ABS, [y], [z])
    g.io([x], [z])
    (message,) = judge(coverage(read_model(maker.pack()), DELEGATES["gpu"]), Limits(min_macs=0.5))
    assert message == (
        "gpu takes nothing of the model: it takes fixed shapes only, and 'x' is ?x4x4x4: pin it"
        " under `inputs` (a batch of 1 gives at least 100 % of the operators)"
    )


def test_shares_are_never_rounded_to_all_or_nothing() -> None:
    assert _share(29_999, 30_000) == 0.9999
    assert _share(1, 30_000) == 0.0001
    assert (_share(0, 3), _share(3, 3), _share(1, 3), _share(0, 0)) == (0.0, 1.0, 0.3333, 1.0)
