"""Custom ops: the example's own kernel, compiled, in calibration and validation."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from foreign_models import compile_library
from workspace_folder import WorkspaceFolder

from tflbuild.api import BuildResult
from tflbuild.engine.zygote import ZygotePool
from tflbuild.tflite.read import read_model

pytestmark = pytest.mark.convert

EXAMPLE = Path(__file__).resolve().parents[2] / "examples/custom_op"
WITHOUT_FUNCTION = 'extern "C" int Register_OTHER() { return 0; }'


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, pool: ZygotePool) -> WorkspaceFolder:
    """A copy of the example, with its kernel compiled."""
    root = tmp_path_factory.mktemp("custom")
    place = WorkspaceFolder(root, pool)
    files = ("network.py", "soft_clip.cc", "tflite_kernel.h", "tflbuild.yaml")
    place.write(files={name: EXAMPLE / name for name in files})
    compile_library(root / "soft_clip.cc", root / "libsoft_clip.so")
    return place


@pytest.fixture(scope="module")
def built(place: WorkspaceFolder) -> BuildResult:
    return place.build(keep_going=True)


def test_the_example(place: WorkspaceFolder, built: BuildResult) -> None:
    assert built.ok, [t.reason for t in built.tasks if t.reason]
    assert len(built.released) == 4
    for name in ("float32", "dynamic", "half", "int8"):
        model = read_model(place.dist()[f"app/soft-clip-{name}.tflite"])
        assert [op.name for op in model.subgraphs[0].ops if op.kind == "custom"] == ["SoftClip"]
        measured = place.report(f"soft-clip/{name}+custom/validate.json")["measured"]
        assert measured["runner"] == "LiteRT, library"
        (numbers,) = measured["parity"]
        assert numbers["sqnr"] is None or numbers["sqnr"] > (100 if name == "float32" else 25)
        assert place.report(f"soft-clip/{name}@app/compat.json")["measured"]["loads"]


def test_another_library_runs_again(place: WorkspaceFolder, built: BuildResult) -> None:
    """The conversion too, where the kernel took part in it, and no other."""
    assert not [t for t in place.build().tasks if t.outcome != "up-to-date"]
    with (place.root / "libsoft_clip.so").open("ab") as file:
        file.write(b"\0")
    assert sorted(t.task for t in place.build().tasks if t.outcome == "ran") == [
        "baseline:soft-clip", "compat:soft-clip:dynamic@app", "compat:soft-clip:float32@app",
        "compat:soft-clip:half@app", "compat:soft-clip:int8@app",
        "convert:soft-clip:int8+custom",
        "validate:soft-clip:dynamic+custom", "validate:soft-clip:float32+custom",
        "validate:soft-clip:half+custom", "validate:soft-clip:int8+custom",
    ]  # fmt: skip


def failures(place: WorkspaceFolder, manifest: str, *selectors: str) -> dict[str, str]:
    place.write(manifest)
    result = place.build(*selectors, keep_going=True)
    return {t.task: t.reason or "" for t in result.tasks if t.outcome == "failed"} | {
        name: "; ".join(f.message for f in verdict.failures)
        for name, verdict in result.gates.items()
        if not verdict.passed
    }


def test_what_goes_wrong(place: WorkspaceFolder, built: BuildResult) -> None:
    manifest = (EXAMPLE / "tflbuild.yaml").read_text()

    def told(task: str, *changes: tuple[str, str], only: str = "soft-clip:int8") -> str:
        text = manifest
        for before, after in changes:
            assert before in text
            text = text.replace(before, after)
        return failures(place, text, only)[task]

    convert, validate = "convert:soft-clip:int8+custom", "validate:soft-clip:int8+custom"
    (place.root / "other.cc").write_text(WITHOUT_FUNCTION)
    compile_library(place.root / "other.cc", place.root / "libother.so")
    (place.root / "libtext.so").write_text("no library")

    line = told(convert, ("libsoft_clip", "libother"))
    assert "libother.so: has no function Register_SOFT_CLIP for the op SoftClip" in line
    line = told(convert, ("libsoft_clip", "libother"), ("Register_SOFT_CLIP", "Register_OTHER"))
    assert "Register_OTHER() must return a TfLiteRegistration*" in line
    line = told(convert, ("libsoft_clip", "libtext"))
    assert "libtext.so: cannot be loaded" in line
    assert "\n" not in line

    declared = ("{SoftClip: {register: Register_SOFT_CLIP}}", "{SoftClip: {}}")
    without = ("    library: libsoft_clip.so ", "    # ")
    line = told(convert, declared, without)
    assert "custom ops SoftClip have no kernels here" in line
    assert "`library`" in line
    line = told("validate:soft-clip:float32+custom", declared, without, only="soft-clip:float32")
    assert line.startswith("not validated: its custom ops SoftClip have no kernels here")
    assert "`library` (with `register` for each op), or release it as it is" in line
    line = told(convert, ("quantize: int8, float_ops: allow", "quantize: int16x8"))
    assert "16-bit quantizer takes no custom ops (SoftClip)" in line

    line = told("evaluate:soft-clip", ("SoftClip: {", "Other: {"))
    assert line.startswith("target app: SoftClip: no builtin, and no select op either")
    assert "declare a kernel under `ops` of this target" in line
    assert validate not in failures(place, manifest)


def test_targets_that_cannot_take_it(place: WorkspaceFolder, built: BuildResult) -> None:
    """The converter makes custom ops of `experimental_implements` where none are allowed. With
    another target that takes the model, that of LiteRT is not even tried, and says why."""
    manifest = (EXAMPLE / "tflbuild.yaml").read_text()
    found = failures(place, manifest.replace("targets: [app]", "targets: [app, litert]"))
    line = found["convert:soft-clip:float32"]
    assert "target litert: SoftClip: no builtin, and no select op either" in line
    assert line.endswith("or take litert out of the targets")
    assert json.loads((place.root / "dist/app/index.json").read_text())
