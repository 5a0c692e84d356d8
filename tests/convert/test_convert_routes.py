"""Lower once: the right road for each model, and the road must not show."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from convert_catalog import CATALOG, FROZEN, MLPERF, SAVED, names
from workspace_folder import WorkspaceFolder

from tflbuild.engine import workers
from tflbuild.engine.state import State
from tflbuild.stages import lower
from tflbuild.tflite.checks import weightless_variables
from tflbuild.tflite.cost import op_counts
from tflbuild.tflite.read import buffer_alignment_problems, read_model

pytestmark = pytest.mark.convert
SMALL = [name for name, case in CATALOG.items() if case.route == FROZEN]
OUTSIDE = ["kws", "resnet8", "vww96", "ad01"] if MLPERF.is_dir() else []


def released(built: WorkspaceFolder, name: str) -> bytes:
    optimization = "q" if CATALOG[name].quantize != "none" else "float32"
    return (built.root / f"dist/litert/{name}-{optimization}.tflite").read_bytes()


def ops(built: WorkspaceFolder, name: str) -> dict[str, int]:
    return dict(op_counts(read_model(released(built, name)))["builtin"])


@pytest.mark.parametrize("name", CATALOG)
def test_the_road_and_what_survives_it(built: WorkspaceFolder, name: str) -> None:
    case = CATALOG[name]
    report = built.report(f"{name}/evaluate.json")
    assert report["lowering"]["route"] == case.route
    assert case.reason in report["lowering"]["reason"]
    assert report["lowering"]["loader"] == case.loader
    assert report["measured"]["verdict"] == "compatible"
    assert report["measured"]["problems"] == []

    data = released(built, name)
    model = read_model(data)
    assert buffer_alignment_problems(data) == []
    assert weightless_variables(model) == []
    (signature,) = model.signatures
    main = model.subgraphs[0]
    assert signature.key == case.signature
    for bound, order, wanted in (
        (signature.inputs, main.inputs, names(case.inputs)),
        (signature.outputs, main.outputs, names(case.outputs)),
    ):
        assert sorted(dict(bound)) == sorted(wanted)
        assert [dict(bound)[key] for key in wanted] == list(order)
    assert main.tensors[main.inputs[0]].name == f"{case.signature}_{names(case.inputs)[0]}:0"


def test_fused_ops_and_branches_stay_what_they_are(built: WorkspaceFolder) -> None:
    for name in ("lstm", "lstm_h5"):
        assert ops(built, name)["UNIDIRECTIONAL_SEQUENCE_LSTM"] == 1
        assert "WHILE" not in ops(built, name)
    cond = ops(built, "cond")
    assert cond["IF"] == 1
    assert cond["FULLY_CONNECTED"] == 2
    assert ops(built, "table")["HASHTABLE_FIND"] == 1
    assert ops(built, "counter")["ASSIGN_VARIABLE"] == 2
    assert ops(built, "lstm3")["WHILE"] == 1


def test_a_file_that_keeps_state_of_its_own_says_so(built: WorkspaceFolder) -> None:
    measured = built.report("lstm/float32/validate.json")["measured"]
    assert measured["state_tensors"] == 2
    assert "reset_all_variables" in measured["warnings"][0]
    assert built.report("counter/float32/validate.json")["measured"]["state_tensors"] == 0


def test_exact_outputs_are_measured_as_such(built: WorkspaceFolder) -> None:
    (numbers,) = built.report("table/float32/validate.json")["measured"]["parity"]
    assert (numbers["kind"], numbers["equal"]) == ("integer", True)
    at, big = built.report("logic/float32/validate.json")["measured"]["parity"]
    assert [n["kind"] for n in (at, big)] == ["integer", "integer"]
    assert at["equal"]
    assert big["equal"]


def test_the_hash_table_keeps_its_shape_and_dtype(built: WorkspaceFolder) -> None:
    main = read_model(released(built, "table")).subgraphs[0]
    output = main.tensors[main.outputs[0]]
    assert (output.dtype, output.shape_signature) == ("int64", (4,))


def test_pins_reach_the_file(built: WorkspaceFolder) -> None:
    for name, shape in (("lstm", (1, 7, 3)), ("dynamic", (-1, 9, 3)), ("digits", (-1, 8, 8, 1))):
        main = read_model(released(built, name)).subgraphs[0]
        assert main.tensors[main.inputs[0]].shape_signature == shape


def test_qat_comes_out_int8(built: WorkspaceFolder) -> None:
    for name in ("qat", "qat_ordered"):
        model = read_model(released(built, name))
        main = model.subgraphs[0]
        assert {main.tensors[i].dtype for i in main.inputs + main.outputs} == {"int8"}
        for op in main.ops:
            assert main.tensors[op.outputs[0]].dtype == "int8"
        kinds = {op.name for op in main.ops}
        assert {"CONV_2D", "FULLY_CONNECTED"} <= kinds


@pytest.mark.parametrize("name", SMALL + OUTSIDE)
def test_both_roads_give_the_same_file(routes: dict[str, Any], name: str) -> None:
    both = routes[name]
    assert both is not None, "the process died"
    assert "error" not in both[FROZEN]
    assert "error" not in both[SAVED]
    for what in ("signature", "tensors", "keys", "ops", "outputs"):
        assert both[FROZEN][what] == both[SAVED][what], what


def test_the_trap_is_refused_where_it_is_not_disarmed(routes: dict[str, Any]) -> None:
    """Both of our roads disarm a Keras 3 model saved by `tf.saved_model.save`; the file that the
    converter makes of it as it is never passes the check of the file."""
    assert "is read and never initialized" in routes["digits_trap"]["as_saved"]["error"]


@pytest.fixture
def digests(built: WorkspaceFolder) -> dict[str, str]:
    state = State.read_only(built.root / ".tflbuild/state.sqlite")
    rows = state.tasks()
    state.close()
    return {
        name: rows[f"lower:{name}"].outputs["lowered.pb"][0]
        for name, case in CATALOG.items()
        if case.route == FROZEN
    }


def test_frozen_graphs_are_equal_in_another_process(
    routes: dict[str, Any], digests: dict[str, str]
) -> None:
    assert {name: routes[name][FROZEN]["graph"] for name in digests} == digests


def test_frozen_graphs_are_equal_after_another_export(
    models: Path, digests: dict[str, str]
) -> None:
    first, second = models / "digits_exported", models / "digits_again"
    assert (first / "saved_model.pb").read_bytes() != (second / "saved_model.pb").read_bytes()
    assert digests["digits_exported"] == digests["digits_again"]


def test_weights_beyond_a_graph_travel_as_a_saved_model() -> None:
    """A GraphDef holds 2 GB. No such model is made here: only its variables' sizes are asked."""
    shape = SimpleNamespace(num_elements=lambda: 2**29)
    variable = SimpleNamespace(dtype=SimpleNamespace(size=4), shape=shape)
    traced = SimpleNamespace(graph=SimpleNamespace(variables=[variable]))
    assert "2,147,483,648 bytes of weights" in str(lower.why_not_frozen([traced]))


@pytest.mark.parametrize("kind", ["crash", "converter"])
def test_a_failed_conversion_takes_the_other_road_once(
    workspace: WorkspaceFolder, models: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """The first end of each conversion is told as a failure; the second is a real one, by way
    of the SavedModel, and gives the same file."""
    text = (
        "version: 1\nmodels:\n  m:\n    source: {format: keras, path: m.keras}\n"
        "    optimizations: {float32: {}}\n"
    )
    workspace.write(text, {"m.keras": models / "multi.keras"})
    assert workspace.build().ok
    undisturbed = workspace.dist()
    seen: list[tuple[str, bool]] = []
    real = workers.read_end

    def read_end(job: workers.Job, message: Any) -> workers.Ended:
        ended = real(job, message)
        if job.task.startswith(("convert", "evaluate")):
            seen.append((job.task, job.request["retry"]))
            if not job.request["retry"]:
                return workers.Ended(job, kind, "the worker crashed (SIGSEGV)")
        return ended

    monkeypatch.setattr(workers, "read_end", read_end)
    result = workspace.build(force=True)
    assert result.ok
    tasks = ["evaluate:m", "convert:m:float32"]
    assert seen == [(task, retry) for task in tasks for retry in (False, True)]
    after = workspace.dist()
    name = "litert/m-float32.tflite"
    assert op_counts(read_model(after[name])) == op_counts(read_model(undisturbed[name]))
    parity = workspace.report("m/float32/validate.json")["measured"]["parity"]
    assert [p["output"] for p in parity] == ["omega", "beta"]
    assert min(p["sqnr"] or 999 for p in parity) > 100


def test_two_failures_are_told_together(
    workspace: WorkspaceFolder, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (
        "version: 1\nmodels:\n  m:\n    source: {format: keras, path: m.keras}\n"
        "    optimizations: {float32: {}}\n"
    )
    workspace.write(text, {"m.keras": models / "multi.keras"})
    real = workers.read_end

    def read_end(job: workers.Job, message: Any) -> workers.Ended:
        ended = real(job, message)
        if job.task.startswith("convert"):
            return workers.Ended(job, "crash", f"crash {job.request['retry']}")
        return ended

    monkeypatch.setattr(workers, "read_end", read_end)
    result = workspace.build()
    assert result.exit_code == 1
    (failed,) = [task for task in result.tasks if task.outcome == "failed"]
    assert failed.reason == "crash True (by way of a SavedModel; frozen: crash False)"
