"""A validator is found by the names of its packages; its script runs with a TensorFlow of ours."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
from foreign_models import write_validator

from tflbuild.errors import ManifestError, TaskError
from tflbuild.foreign import run_file
from tflbuild.manifest.model import CustomOp, Optimization, Target, Workspace
from tflbuild.profiles import Group, groups
from tflbuild.validators import Elsewhere, NoValidator, find


def test_found_without_being_started(tmp_path: Path) -> None:
    python = write_validator(tmp_path / "env", broken="exit 9")
    found = find(python)
    assert found.versions == {"python": "3.11", "tensorflow": "2.18.1", "numpy": "1.26.4"}
    assert sorted(found.files) == ["validator/numpy/METADATA", "validator/tensorflow/METADATA"]
    assert all(path.is_file() for path in found.files.values())
    assert find(tmp_path / "env").python == python


def test_packages_of_the_system(tmp_path: Path) -> None:
    system, env = tmp_path / "system", tmp_path / "env"
    write_validator(system)
    (env / "bin").mkdir(parents=True)
    (env / "bin/python").symlink_to(system / "bin/python")
    config = env / "pyvenv.cfg"
    config.write_text(f"home = {system}/bin\ninclude-system-site-packages = false\n")
    with pytest.raises(NoValidator, match="no TensorFlow is installed there"):
        find(env / "bin/python")
    config.write_text(f"home = {system}/bin\ninclude-system-site-packages = true\n")
    assert find(env / "bin/python").versions["tensorflow"] == "2.18.1"


@pytest.mark.parametrize("version", ["2.20.0", "2.3.4", "1.15.5", "3.0.0"])
def test_versions_that_cannot(version: str, tmp_path: Path) -> None:
    python = write_validator(tmp_path / "env", tensorflow=version)
    with pytest.raises(NoValidator, match=f"TensorFlow {version} is installed there"):
        find(python)


def test_what_is_no_interpreter(tmp_path: Path) -> None:
    with pytest.raises(NoValidator, match="no Python interpreter"):
        find(tmp_path)
    (tmp_path / "python").write_text("")
    with pytest.raises(NoValidator, match="cannot be executed"):
        find(tmp_path / "python")


PLAN = {
    "model": "m.tflite", "signature": "serving_default", "subgraph": 0, "library": "",
    "custom_ops": {}, "tensors": {"inputs": {"x": 3}, "outputs": {"plain": 8, "det": 9}},
}  # fmt: skip


def test_elsewhere(tmp_path: Path) -> None:
    python = write_validator(tmp_path / "env")
    draw = np.random.default_rng(2)
    feeds = [{"x": draw.normal(0, 1, (1, 9)).astype(np.float32)} for _ in range(3)]
    elsewhere = Elsewhere(str(python), PLAN, tmp_path / "scratch")
    results = list(elsewhere.run([("", feeds[0]), ("", feeds[1]), ("load", feeds[2])]))
    assert len(results) == 3
    for feed, result in zip(feeds, results, strict=True):
        assert result["plain"].shape == (1, 9)
        np.testing.assert_allclose(
            result["det"], np.linalg.det(result["plain"].reshape(1, 3, 3)), rtol=1e-5
        )
        assert not np.array_equal(result["plain"], feed["x"])


def test_one_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"the validator \(/no/python\) cannot be started"):
        list(Elsewhere("/no/python", PLAN, tmp_path / "scratch").run([]))


class Interpreter:
    """As TensorFlow 2.4 has it: no signature runners. It adds 1 to x and counts its calls."""

    made: ClassVar[list[Interpreter]] = []

    def __init__(self, **options: Any) -> None:
        assert options == {"model_path": "m.tflite", "num_threads": 1}
        self.shape, self.state, self.planned = [1], 0.0, 0
        self.made.append(self)

    def resize_tensor_input(self, index: int, shape: list[int]) -> None:
        assert index == 3
        self.shape = shape

    def allocate_tensors(self) -> None:
        self.planned += 1

    def reset_all_variables(self) -> None:
        self.state = 0.0

    def set_tensor(self, index: int, array: Any) -> None:
        assert list(array.shape) == self.shape
        self.array = array

    def invoke(self) -> None:
        self.state += 1

    def get_tensor(self, index: int) -> Any:
        return {8: self.array + 1, 9: np.array([b"a", b"bc"], object), 10: self.state}[index]


def test_an_old_tensorflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lite = SimpleNamespace(Interpreter=Interpreter)
    monkeypatch.setitem(sys.modules, "tensorflow", SimpleNamespace(lite=lite, __version__="2.4.4"))
    tensors = {"inputs": {"x": 3}, "outputs": {"y": 8, "text": 9, "calls": 10}}
    steps = ["", "", "state", "load"]
    (tmp_path / "plan.json").write_text(json.dumps({**PLAN, "tensors": tensors, "steps": steps}))
    for step, length in enumerate((1, 2, 2, 2)):
        np.save(tmp_path / f"{step}.in.0.npy", np.zeros(length, np.float32))
    Interpreter.made.clear()
    run_file.main(str(tmp_path))
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["tensorflow"] == "2.4.4"
    assert [float(np.load(tmp_path / f"{step}.out.0.npy")) for step in range(4)] == [1, 2, 1, 1]
    assert np.load(tmp_path / "0.out.1.npy").tolist() == [b"a", b"bc"]
    assert np.load(tmp_path / "1.out.2.npy").tolist() == [1, 1]
    assert [made.planned for made in Interpreter.made] == [2, 1]

    (tmp_path / "plan.json").write_text(json.dumps({**PLAN, "subgraph": 1, "steps": [""]}))
    run_file.main(str(tmp_path))
    error = json.loads((tmp_path / "result.json").read_text())["error"]
    assert error == "TensorFlow 2.4.4 runs no other signature than the first"


# ---- targets that share a conversion -----------------------------------------------------------


def custom(name: str, **own: Any) -> Target:
    ops = tuple(CustomOp(op, function) for op, function in own.pop("ops", {"A": ""}).items())
    return Target(name, "custom-ops", ops=ops, **own)


def test_groups_by_profile() -> None:
    targets = (
        Target("litert", "litert"), Target("play", "play-services"), custom("mine"),
        custom("both", select_ops=True), Target("flex", "select-tf-ops"),
    )  # fmt: skip
    workspace = Workspace(
        Path("/w"), "w", "build", "dist", models=(), manifests=(),
        targets={target.name: target for target in targets},
    )  # fmt: skip
    found = groups(workspace, Optimization("o", "none", targets=tuple(t.name for t in targets)))
    assert [(g.suffix, [t.name for t in g.targets]) for g in found] == [
        ("", ["litert", "play"]), ("+custom", ["mine"]), ("+custom_select", ["both"]),
        ("+select", ["flex"]),
    ]  # fmt: skip


def test_kernels_are_put_together() -> None:
    one = custom("one", ops={"A": "RegisterA", "B": "RegisterB"}, library="lib.so")
    group = Group("custom", (custom("two", ops={"C": "", "A": ""}), one))
    assert group.ops == {"A": "RegisterA", "B": "RegisterB", "C": ""}
    assert group.conversion(True) == (
        {"custom_ops": {"A": "RegisterA", "B": "RegisterB", "C": ""}}, {"library": "lib.so"},
    )  # fmt: skip
    # What does not calibrate does not depend on kernels.
    assert group.conversion(False) == ({"custom_ops": {"A": "", "B": "", "C": ""}}, {})


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"library": "other.so"}, "`library` is 'lib.so' in one, 'other.so' here"),
        ({"ops": {"A": "Mine"}, "library": "lib.so"}, "the function of A is RegisterA in one"),
    ],
)
def test_kernels_that_do_not_fit(other: dict[str, Any], told: str) -> None:
    one = custom("one", ops={"A": "RegisterA"}, library="lib.so")
    with pytest.raises(ManifestError, match=told) as error:
        Group("custom", (one, custom("two", **other))).loading()
    assert "targets one and two share one conversion (custom)" in str(error.value)


def test_a_validator_of_a_group(tmp_path: Path) -> None:
    python = write_validator(tmp_path / "env")
    flex = Target("flex", "select-tf-ops", validator=str(python))
    running = Group("select", (flex, Target("other", "select-tf-ops"))).running(tmp_path)
    assert running.params == {
        "validator": {"python": "3.11", "tensorflow": "2.18.1", "numpy": "1.26.4"}
    }
    assert str(python) not in json.dumps(running.params)
    assert running.request == {"params": {"validator_python": str(python)}}
    assert running.files["validator/numpy/METADATA"].startswith("env/lib/python3.11/")
    with pytest.raises(ManifestError, match="one has a `flex_library`"):
        Group("select", (flex, Target("other", "select-tf-ops", flex_library="f.so"))).running(
            tmp_path
        )
    with pytest.raises(ManifestError, match=r"validator '/no/python' of target bad: there is no"):
        Group("select", (Target("bad", "select-tf-ops", validator="/no/python"),)).running(tmp_path)
