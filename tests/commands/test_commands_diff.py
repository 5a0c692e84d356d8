"""`tflbuild diff`, also of files that are damaged, hostile, or no files at all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_workspace import Fake
from hostile import SOUND, crashing, mutated
from jsonschema import Draft202012Validator

from tflbuild import cli, schemas
from tflbuild.comparison import File, compare
from tflbuild.reporting.differences import _kept
from tflbuild.tflite.read import InvalidModel, read_model

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tflite"))
import tflite_models as make


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The real command, in a process of its own; one that hangs fails."""
    return subprocess.run(
        [sys.executable, "-m", "tflbuild", "diff", *arguments],
        capture_output=True, text=True, timeout=300, check=False, cwd=cwd,
    )  # fmt: skip


def compared(*arguments: str, cwd: Path) -> tuple[int, Any]:
    """The exit code and the document of `--format json`, which its schema describes."""
    done = run(*arguments, "--format", "json", cwd=cwd)
    assert "Traceback" not in done.stderr
    value = json.loads(done.stdout)
    validator = Draft202012Validator(json.loads(schemas.text("diff")))
    assert [f"{e.json_path}: {e.message}" for e in validator.iter_errors(value)] == []
    assert value["exit"] == done.returncode
    return done.returncode, value


def dense(
    output: str = "y",
    weight: float = 1.0,
    name: str = "w",
    *,
    classes: int = 3,
    io: str = "float32",
    scale: float = 0.5,
    signature: bool = True,
) -> bytes:
    """y = x W; with io int8 between QUANTIZE and DEQUANTIZE."""
    maker = make.Maker()
    g = maker.graph()
    values = np.arange(4 * classes) * weight
    w = g.tensor(name, (classes, 4), make.TYPE.FLOAT32, values)
    x, y = g.tensor("x", (1, 4)), g.tensor("y", (1, classes))
    g.op(make.OP.FULLY_CONNECTED, [x, w, -1], [y], make.s.FullyConnectedOptionsT())
    if io == "int8":
        xq = g.tensor("xq", (1, 4), make.TYPE.INT8, scale=0.05)
        yq = g.tensor("yq", (1, classes), make.TYPE.INT8, scale=scale)
        g.op(make.OP.DEQUANTIZE, [xq], [x], make.s.DequantizeOptionsT())
        g.t.operators.insert(0, g.t.operators.pop())
        g.op(make.OP.QUANTIZE, [y], [yq], make.s.QuantizeOptionsT())
        x, y = xq, yq
    g.io([x], [y])
    if signature:
        maker.signature("serve", {"x": x}, {output: y})
    return maker.pack()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, data in {
        "a": dense(), "copy": dense(), "renamed": dense("score"), "trained": dense(weight=1.01),
        "int8": dense(io="int8", scale=2.0), "int8b": dense(io="int8", scale=1.0),
        "wide": dense(classes=5), "plain": dense(signature=False), "crashing": crashing(),
        "two": make.two_in_two_out().pack(),
    }.items():  # fmt: skip
        (tmp_path / f"{name}.tflite").write_bytes(data)
    return tmp_path


def test_the_same_bytes(folder: Path) -> None:
    done = run("a.tflite", "copy.tflite", "--exact", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("identical bytes: ")
    code, value = compared("a.tflite", "copy.tflite", cwd=folder)
    assert (code, value["identical"], value["interface"]) == (0, True, None)
    assert value["old"]["sha256"] == value["new"]["sha256"]


def test_other_weights(folder: Path) -> None:
    code, value = compared("a.tflite", "trained.tflite", cwd=folder)
    assert (code, value["identical"], value["interface"]["differences"]) == (0, False, [])
    assert value["ops"] == {"same": 1, "differences": []}
    weights = value["weights"]
    assert (weights["equal"], weights["changed"], weights["added"]) == (0, 1, 0)
    (largest,) = weights["largest"]
    assert (largest["name"], largest["values"]) == ("w", 11)
    assert largest["share"] == pytest.approx(0.01, rel=1e-3)
    (output,) = value["outputs"]["agreement"]
    assert value["outputs"]["samples"] == 16
    assert output["sqnr"] == pytest.approx(40, abs=0.1)
    assert compared("a.tflite", "trained.tflite", "--exact", cwd=folder)[0] == 1


def test_random_inputs_are_told_of_and_your_own_are_not(folder: Path) -> None:
    warning = "random inputs say little of how good a file is"
    assert warning in run("a.tflite", "trained.tflite", cwd=folder).stdout
    np.savez(folder / "x.npz", x=np.eye(4, dtype=np.float32)[:, None, :])
    told = run("a.tflite", "trained.tflite", "--data", "x.npz", cwd=folder).stdout
    assert "outputs         on 4 samples, x.npz" in told
    assert warning not in told


def test_metadata_tells_what_short_entries_say() -> None:
    def file(**entries: bytes) -> File:
        maker = make.Maker()
        g = maker.graph()
        x = g.tensor("x", (1,))
        g.io([x], [x])
        for name, data in entries.items():
            maker.metadata(name, data)
        data = maker.pack()
        return File(data, read_model(data))

    old = file(min_runtime_version=b"1.5.0\0\0\0", same=b"1", gone=b"\x00\xff", blob=b"\xff")
    new = file(min_runtime_version=b"2.14.0\0\0", same=b"1", blob=b"\xfe")
    told = {one["name"]: one for one in compare(old, new)["metadata"]}
    assert sorted(told) == ["blob", "gone", "min_runtime_version"]
    assert told["min_runtime_version"]["text"] == {"old": "1.5.0", "new": "2.14.0"}
    assert _kept(told["min_runtime_version"]) == "1.5.0 → 2.14.0"
    assert _kept(told["blob"]) == "changed"
    assert _kept(told["gone"]) == "is gone"


def test_random_inputs_are_seeded(folder: Path) -> None:
    first, second = (compared("a.tflite", "trained.tflite", cwd=folder)[1] for _ in range(2))
    assert first == second


def test_a_renamed_output(folder: Path) -> None:
    code, value = compared("a.tflite", "renamed.tflite", cwd=folder)
    assert code == 1
    (change,) = value["interface"]["differences"]
    assert (change["what"], change["old"], change["new"]) == ("names", "y", "score")
    (output,) = value["outputs"]["agreement"]  # they are the same output all the same
    assert (output["output"], output["equal"]) == ({"old": "y", "new": "score"}, True)


@pytest.mark.parametrize("columns", ["80", "200"])
def test_the_interface_side_by_side(folder: Path, columns: str) -> None:
    done = run("a.tflite", "renamed.tflite", cwd=folder)
    assert done.returncode == 1
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["a.tflite", "renamed.tflite", "change"] in lines
    assert ["output", "0", "y", "float32[1,3]", "0", "score", "float32[1,3]", "names"] in lines
    assert "names: output 'y' is now called 'score': an application that binds by" in done.stdout
    assert "outputs" in done.stdout


def test_a_float_and_a_quantized_file(folder: Path) -> None:
    code, value = compared("a.tflite", "int8.tflite", cwd=folder)
    assert code == 1
    assert [c["what"] for c in value["interface"]["differences"]] == ["dtypes", "dtypes"]
    (output,) = value["outputs"]["agreement"]
    assert output["problem"] == ""
    assert 10 < output["sqnr"] < 60  # both got the same real values
    assert value["ops"]["differences"] == [
        {"op": "DEQUANTIZE", "old": 0, "new": 1}, {"op": "QUANTIZE", "old": 0, "new": 1},
    ]  # fmt: skip


def test_another_scale(folder: Path) -> None:
    code, value = compared("int8.tflite", "int8b.tflite", cwd=folder)
    assert code == 1
    (change,) = value["interface"]["differences"]
    assert change["what"] == "quantization"
    assert "hard-codes 2.0 reads values 2 times too large" in change["sees"]


def test_outputs_that_cannot_be_compared(folder: Path) -> None:
    code, value = compared("a.tflite", "two.tflite", cwd=folder)
    assert code == 1
    assert value["outputs"]["agreement"] == []
    assert value["outputs"]["reason"].startswith("the interfaces differ: ")
    code, value = compared("a.tflite", "wide.tflite", cwd=folder)
    assert code == 1
    assert value["outputs"]["agreement"][0]["problem"] == "shapes [1, 3] and [1, 5]"
    assert value["weights"]["unknown"] == 1


def test_files_without_signatures(folder: Path) -> None:
    code, value = compared("plain.tflite", "a.tflite", cwd=folder)
    assert code == 1
    assert value["outputs"]["agreement"][0]["equal"] is True


def test_shapes_that_the_app_sets(tmp_path: Path) -> None:
    """A convolution of 3 × 3 without padding cannot run on one pixel."""
    for name, factor in (("a", 1.0), ("b", 1.1)):
        maker = make.Maker()
        g = maker.graph()
        w = g.tensor("w", (3, 3, 3, 1), make.TYPE.FLOAT32, np.arange(27) * factor)
        bias = g.tensor("bias", (3,), make.TYPE.FLOAT32, np.zeros(3))
        x, y = (
            g.tensor(n, (1, 1, 1, c), shapeSignature=np.array([-1, -1, -1, c], "<i4"))
            for n, c in (("x", 1), ("y", 3))
        )
        options = make.s.Conv2DOptionsT(strideW=1, strideH=1, padding=make.s.Padding.VALID)
        g.op(make.OP.CONV_2D, [x, w, bias], [y], options)
        g.io([x], [y])
        maker.signature("serve", {"x": x}, {"y": y})
        (tmp_path / name).write_bytes(maker.pack())
    code, value = compared("a", "b", cwd=tmp_path)
    assert (code, value["outputs"]["reason"]) == (0, "")
    assert value["outputs"]["agreement"][0]["sqnr"] == pytest.approx(20, abs=0.1)


def test_given_data(folder: Path) -> None:
    x = np.eye(4, dtype=np.float32)[:, None, :]
    np.savez(folder / "x.npz", x=x, labels=np.arange(4))
    code, value = compared("a.tflite", "trained.tflite", "--data", "x.npz", cwd=folder)
    assert code == 0
    assert value["outputs"]["samples"] == 4
    assert value["outputs"]["data"] == "x.npz without labels"
    (output,) = value["outputs"]["agreement"]
    assert output["max_abs_error"] == pytest.approx(0.11, rel=1e-3)  # of the largest weight, 11
    np.savez(folder / "x.npz", x=x.reshape(4, 4))  # batches of one, one behind the other
    assert compared("a.tflite", "trained.tflite", "--data", "x.npz", cwd=folder)[1]["outputs"][
        "agreement"
    ] == [output]


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"z": np.zeros((2, 1, 4))}, "the data have 'z'; the files want 'x'"),
        ({"x": np.zeros((2, 1, 7))}, "'x' of the data has shape [2, 1, 7]; the files want"),
        ({"x": np.zeros((0, 1, 4))}, "the data have no samples"),
        ({"x": np.array(["a", "b"])}, "holds <U1, not numbers"),
    ],
)
def test_data_that_do_not_fit(folder: Path, arrays: dict[str, Any], said: str) -> None:
    np.savez(folder / "x.npz", **arrays)
    done = run("a.tflite", "trained.tflite", "--data", "x.npz", cwd=folder)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert said in line


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04damaged"])
def test_damaged_data(folder: Path, content: bytes) -> None:
    (folder / "x.npz").write_bytes(content)
    done = run("a.tflite", "trained.tflite", "--data", "x.npz", cwd=folder)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "cannot be read" in line


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nowhere.tflite", "there is no such file"),
        ("empty.tflite", "not a TensorFlow Lite file"),
        ("text.tflite", "not a TensorFlow Lite file"),
        (".", "is a folder"),
        ("pipe", "is not a regular file"),
    ],
)
def test_no_such_model(folder: Path, name: str, said: str) -> None:
    (folder / "empty.tflite").write_bytes(b"")
    (folder / "text.tflite").write_bytes(b"hello, hello")
    os.mkfifo(folder / "pipe")
    for arguments in (("a.tflite", name), (name, "a.tflite")):
        done = run(*arguments, cwd=folder)
        assert (done.returncode, done.stdout) == (2, "")
        (line,) = done.stderr.splitlines()
        assert line.startswith(f"tflbuild: {name}: ")
        assert said in line
        code, value = compared(*arguments, cwd=folder)
        assert (code, value["interface"], value["outputs"]) == (2, None, None)
        assert said in value["error"]


def test_a_file_that_kills_the_runtime(folder: Path) -> None:
    other = bytearray(crashing())
    other[-1] ^= 0  # the same model behind another description
    (folder / "other.tflite").write_bytes(bytes(other) + b"\0" * 16)
    done = run("crashing.tflite", "other.tflite", cwd=folder)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("tflbuild: crashing.tflite: it crashes the runtime: ")
    assert "interface       the same" in done.stdout


def test_hostile_files_end_in_one_line(folder: Path) -> None:
    (folder / "sound.tflite").write_bytes(SOUND[0])
    for name, data in mutated(7, 12):
        (folder / "hostile.tflite").write_bytes(data)
        done = run("sound.tflite", "hostile.tflite", cwd=folder)
        assert done.returncode in (0, 1, 2), (name, done.stderr)
        assert "Traceback" not in done.stderr
        assert "fault in tflbuild" not in done.stdout + done.stderr, name
        assert len(done.stderr.splitlines()) == (1 if done.returncode == 2 else 0), name


def test_comparing_hostile_files_never_raises() -> None:
    sound = File(SOUND[1], read_model(SOUND[1]))
    compared = 0
    for _, data in mutated(3, 300):
        try:
            hostile = File(data, read_model(data))
        except InvalidModel:
            continue
        for one, other in ((sound, hostile), (hostile, sound)):
            json.dumps(compare(one, other), allow_nan=False)
        compared += 1
    assert compared > 20


def test_artifacts(fake: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    def say(*names: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = cli.run(["-C", str(fake.root), "diff", *names])
        said = capsys.readouterr()
        return code, said.out, said.err

    code, _, err = say("a:int8@litert", "b:int8@litert")
    assert code == 2
    assert "a:int8@litert is not released: there is no dist/litert/a-int8.tflite; build" in err
    assert fake.build().ok
    assert say("a:int8@litert", "dist/litert/a-int8.tflite")[1].startswith("identical bytes")
    for name, shown in (
        ("a:int8", "a:int8@litert"), ("a:int8@", "a:int8@litert"),
        ("a", "a:float32@litert, a:int8@litert"), ("a:nope", "a:float32@litert, a:int8@litert"),
    ):  # fmt: skip
        code, _, err = say(name, "a:int8@litert")
        assert code == 2
        assert err == (
            f"tflbuild: no such file: {name}; an artifact is MODEL:OPTIMIZATION@TARGET, such as"
            f" {shown}\n"
        )
    assert "nowhere: there is no such file" in say("nowhere", "a:int8@litert")[2]
    code, _, err = say("a:int8@litert", "a:int9@litert")
    assert code == 2
    assert "no such file, and no artifact 'a:int9@litert'; did you mean 'a:int8@litert'?" in err


def test_an_artifact_where_no_manifest_is(folder: Path) -> None:
    done = run("a.tflite", "m:o@t", cwd=folder)
    assert done.returncode == 2
    assert "no such file: m:o@t; and no manifest is here" in done.stderr
