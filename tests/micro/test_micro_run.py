"""Files under tflite-micro itself."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import micro_ops
import numpy as np
import pytest
from micro_ops import Case, single
from tflite_models import OP, Maker, read_or_skip, s, two_in_two_out, variables

from tflbuild.micro import run
from tflbuild.micro.estimate import estimate
from tflbuild.tflite.read import InvalidModel, read_model

PUBLISHED = Path(__file__).resolve().parents[3] / "shared/models/mlperf-tiny/published"
INT8 = ["ad01_int8", "kws_int8", "resnet8_int8", "vww96_int8"]
# The interpreter alone, with an arena that is large enough for all of them.
_ALONE = """
import sys
from tflite_micro import runtime
i = runtime.Interpreter.from_file(sys.argv[1], arena_size=1 << 20)
i.invoke()
i.print_allocations()
"""


def alone(path: Path) -> dict[str, int]:
    command = [sys.executable, "-c", _ALONE, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return {w: int(n) for w, n in re.findall(r"allocation (\w+) (\d+) bytes", done.stderr)}


@pytest.mark.parametrize("name", INT8)
def test_the_arena_is_what_tflite_micro_reports(name: str) -> None:
    path = PUBLISHED / f"{name}.tflite"
    found = run.measure(read_or_skip(path), 1)
    assert found["problem"] is None
    real = alone(path)
    assert found["arena_bytes"] == real["total"]
    assert (found["head_bytes"], found["tail_bytes"]) == (real["head"], real["tail"])
    assert real["total"] <= found["smallest_arena_bytes"] < 1.25 * real["total"]


@pytest.mark.parametrize("name", [*INT8, "ad01_fp32", "resnet8_fp32", "vww96_fp32"])
def test_the_estimate(name: str) -> None:
    data = read_or_skip(PUBLISHED / f"{name}.tflite")
    found, ours = run.measure(data, 0), estimate(read_model(data))
    assert ours["head_bytes"] == found["head_bytes"]
    for key in ("arena_bytes", "tail_bytes", "smallest_arena_bytes"):
        assert ours[key] == pytest.approx(found[key], rel=0.05), key


def test_outputs_are_compared_with_litert() -> None:
    data = read_or_skip(PUBLISHED / "kws_int8.tflite")
    (output,) = run.measure(data)["outputs"]
    assert output == {
        "name": "Identity",
        "dtype": "int8",
        "equal": True,
        "differ": 0.0,
        "largest_steps": 0,
    }
    sum_, score = run.measure(two_in_two_out().pack())["outputs"]
    assert (sum_["name"], score["name"]) == ("y", "x")
    assert score["largest_error"] < 1e-6


def test_state_is_carried_on_both_sides() -> None:
    found = run.measure(variables(initialized=True).pack(), 3)
    assert found["problem"] is None
    assert [o["equal"] for o in found["outputs"]] == [True]


def test_an_operator_without_kernel_is_a_problem() -> None:
    found = run.measure(single("POW", micro_ops._binary(s.PowOptionsT()), "f"))
    assert "POW" in found["problem"]
    assert found["arena_bytes"] is None


def test_a_refusal_of_a_kernel_is_a_problem() -> None:
    case = micro_ops._weighted("CONV_2D", "f", "b", "f", "f")
    assert "Hybrid models are not supported" in run.measure(single("CONV_2D", case, "f"))["problem"]


def test_a_kernel_that_refuses_while_it_runs() -> None:
    found = run.measure(single("GREATER", micro_ops.PLAIN["GREATER"], "u"))
    assert found["problem"]
    assert found["arena_bytes"] > 0  # it was allocated


def test_a_crash_is_a_problem_and_not_ours() -> None:
    """A kernel that does not look whether what it shall read is there."""
    far: list[Any] = [((1, 4), "f", None), ((2,), "i", [0, 1 << 29]), ((2,), "i", [1, 2])]
    found = run.measure(single("SLICE", Case(far, [((1, 2), "f")]), "f"))
    assert re.match(r"ended by SIG\w+ while running it", found["problem"])
    assert found["arena_bytes"] > 0


def test_an_abort_is_a_problem_and_not_ours() -> None:
    """Types that the kernel asserts instead of refusing."""
    inputs: list[Any] = [((1, 4), "i", None)] * 2
    found = run.measure(single("ADD", Case(inputs, [((1, 4), "h")], s.AddOptionsT()), "f"))
    assert found["problem"].startswith("ended by SIGABRT while allocating its tensors")


def test_what_takes_too_long_is_ended() -> None:
    found = run.measure(two_in_two_out().pack(), timeout=0.001)
    assert found["problem"].startswith("no end after 0.001 s while ")


def test_huge_tensors_are_not_tried() -> None:
    maker = Maker()
    g = maker.graph()
    x, y = (g.tensor(n, (1 << 15, 1 << 15)) for n in "xy")
    g.op(OP.RELU, [x], [y])
    g.io([x], [y])
    assert "more than any device has" in run.measure(maker.pack())["problem"]


def test_a_graph_without_operators() -> None:
    maker = Maker()
    g = maker.graph()
    x = g.tensor("x", (4,))
    g.io([x], [x])
    assert run.measure(maker.pack())["problem"] == "it has no operators"


def test_ethos_u_files_run_on_the_device_alone() -> None:
    maker = Maker()
    g = maker.graph()
    x, y = g.tensor("x", (4,)), g.tensor("y", (4,))
    g.op(OP.CUSTOM, [x], [y], custom="ethos-u")
    g.io([x], [y])
    found = run.measure(maker.pack())
    assert found["problem"] is None
    assert "Ethos-U" in found["unmeasured"]


def test_a_malformed_file() -> None:
    with pytest.raises(InvalidModel):
        run.measure(b"TFL3")


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "PACKAGE", "tflite_micro_absent")
    assert not run.available()
    with pytest.raises(ModuleNotFoundError, match=r"tflbuild\[micro\]"):
        run.measure(two_in_two_out().pack())


def test_the_same_seed_gives_the_same_inputs() -> None:
    from tflbuild.micro.child import seeded_inputs

    def inputs(letter: str, seed: int) -> Any:
        case = Case([((1, 500), letter, None)], [((1, 500), letter)])
        return seeded_inputs(read_model(single("RELU", case, letter)), 2, seed)

    assert all(np.array_equal(a, b) for a, b in zip(inputs("b", 1), inputs("b", 1), strict=True))
    assert not np.array_equal(inputs("b", 1), inputs("b", 2))
    assert (np.min(inputs("b", 0)), np.max(inputs("b", 0))) == (-128, 127)
    assert set(np.unique(inputs("i", 0))) == {0, 1}
    assert -1 <= np.min(inputs("f", 0)) < -0.9
