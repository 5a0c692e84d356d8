"""Sources that are made: fetch and generate as tasks of the graph, in real children."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import signal
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_build import FakePool
from fake_workspace import Fake, gone, wait_for
from http_folder import Server, gives, status, trickles

from tflbuild import cli
from tflbuild.api import BuildResult
from tflbuild.manifest.load import load_workspace
from tflbuild.selectors import select

HEAD = """
version: 1
project: {name: made}
defaults:
  optimizations: {float32: {}, half: {quantize: float16}}
models:
"""
MODEL = json.dumps({"value": 7}).encode()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.end()


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def fetched(url: str, content: bytes, more: str = "", name: str = "m", form: str = "keras") -> str:
    source = f"{{format: {form}, fetch: '{url}', sha256: {sha(content)}{more}}}"
    return f"  {name}: {{source: {source}}}\n"


def zipped(**members: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/"), content)
    return stream.getvalue()


def tarred(mode: str = "w:gz", **members: bytes) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in members.items():
            info = tarfile.TarInfo(name.replace("__", "/"))
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def reason(result: BuildResult, task: str) -> str:
    assert result.exit_code == 1
    (found,) = [t.reason for t in result.tasks if t.task == task and t.outcome == "failed"]
    assert "\n" not in found
    return found


def text(capsys: pytest.CaptureFixture[str], fake: Fake, *arguments: str) -> str:
    assert cli.run(["-C", str(fake.root), *arguments]) == 0
    return capsys.readouterr().out


def nothing_to_do(fake: Fake) -> bool:
    """By the record; a manifest that was written just before a build is read once more."""
    return fake.build().ran() == [] and fake.build().done.reached_graph == 0


# fetch


def test_fetched_once_and_keyed_by_content(empty: Fake, server: Server) -> None:
    url = server.put("m.keras", MODEL)
    empty.write(HEAD + fetched(url, MODEL))
    first = empty.build()
    assert first.ok, [t.reason for t in first.tasks]
    assert "fetch:m" in first.ran()
    assert empty.dist()["litert/m-float32.tflite"].startswith(b"7 none")
    assert nothing_to_do(empty)

    empty.write(HEAD + fetched(server.url("mirror/other.keras"), MODEL))
    again = empty.build()  # another mirror of the same content, which is not even asked
    assert (again.ok, again.ran()) == (True, [])
    assert server.asked == ["/m.keras"]

    new = json.dumps({"value": 8}).encode()
    server.put("m.keras", new)
    empty.write(HEAD + fetched(url, new))
    assert "fetch:m" in empty.build().ran()
    assert empty.dist()["litert/m-float32.tflite"].startswith(b"8 none")
    empty.write(HEAD + fetched(url, MODEL))  # back again: from the store
    assert empty.build().ran() == ["release:m:float32@litert", "release:m:half@litert"]
    assert len(server.asked) == 2


def test_lost_blob_is_fetched_again(empty: Fake, server: Server) -> None:
    empty.write(HEAD + fetched(server.put("m.keras", MODEL), MODEL))
    assert empty.build().ok
    shutil.rmtree(empty.root / ".tflbuild/store/blobs")
    more = HEAD.replace("float16}", "float16}, third: {}")
    empty.write(more + fetched(server.url("m.keras"), MODEL))
    assert empty.build().ok
    assert len(server.asked) == 2


def test_wrong_digest(empty: Fake, server: Server) -> None:
    url = server.put("m.keras", b"something else")
    empty.write(HEAD + fetched(url, MODEL))
    said = reason(empty.build(), "fetch:m")
    assert said.startswith("tflbuild.yaml:7:")
    assert f"SHA-256 {sha(b'something else')}, not {sha(MODEL)}" in said
    assert empty.dist() == {}
    server.put("m.keras", MODEL)
    assert empty.build().ok  # a failure is not recorded


def test_server_error_then_content(empty: Fake, server: Server) -> None:
    url = server.put("m.keras", status(500), MODEL)
    empty.write(HEAD + fetched(url, MODEL))
    assert empty.build().ok
    assert "the server answers 500" in (empty.root / "build/logs/fetch:m.log").read_text()


def test_slow_server_meets_the_timeout(empty: Fake, server: Server) -> None:
    url = server.put("m.keras", trickles(MODEL * 100, 0.5))
    manifest = HEAD + fetched(url, MODEL).replace("{source:", "{timeout: 1s, source:")
    empty.write(manifest)
    assert "exceeded its timeout of 1 s" in reason(empty.build(), "fetch:m")


def test_members_of_one_archive(empty: Fake, server: Server) -> None:
    other = json.dumps({"value": 9}).encode()
    content = tarred(in__a_keras=b"", **{"in/a.keras": MODEL, "in/b.keras": other})
    url = server.put("all.tgz", content)
    empty.write(
        HEAD + fetched(url, content, ", path: in/a.keras", "a")
        + fetched(url, content, ", path: ./in//b.keras", "b")
    )  # fmt: skip
    result = empty.build()
    assert result.ok, [t.reason for t in result.tasks]
    assert len(server.asked) == 1  # equal actions run once
    assert empty.dist()["litert/a-float32.tflite"].startswith(b"7 none")
    assert empty.dist()["litert/b-float32.tflite"].startswith(b"9 none")


@pytest.mark.parametrize("make", [zipped, tarred])
def test_folder_of_an_archive(make: Any, empty: Fake, server: Server) -> None:
    content = make(**{"kws/saved_model.pb": MODEL, "kws/variables/x": b"1", "README": b""})
    url = server.put("download", content)  # no suffix: a folder must be in an archive
    empty.write(HEAD + fetched(url, content, ", path: kws", form="saved_model"))
    assert empty.build().ok
    empty.write(HEAD + fetched(url, content, form="saved_model"))
    assert "no saved_model.pb in the folder" in reason(empty.build(), "lower:m")
    empty.write(HEAD + fetched(url, content, ", path: kvs", form="saved_model"))
    said = reason(empty.build(), "lower:m")
    assert "there is no 'kvs' in it; did you mean 'kws'?" in said
    assert said.startswith("tflbuild.yaml:7:")


@pytest.mark.parametrize(
    ("path", "more", "message"),
    [
        ("m", "", "expected a .keras or .h5 file, got 'm'"),
        ("m.keras", ", path: x.keras", "gave no archive (tar or zip)"),
    ],
)
def test_not_what_the_format_reads(
    path: str, more: str, message: str, empty: Fake, server: Server
) -> None:
    empty.write(HEAD + fetched(server.put(path, MODEL), MODEL, more))
    assert message in reason(empty.build(), "fetch:m")


def link(name: str, target: str, kind: bytes) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, target
        archive.addfile(info)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (tarred(**{"../out.keras": MODEL}), "leads out of the archive"),
        (tarred(**{"/tmp/out.keras": MODEL}), "leads out of the archive"),
        (zipped(**{"a/../../out.keras": MODEL}), "leads out of the archive"),
        (link("m.keras", "/etc/passwd", tarfile.SYMTYPE), "symbolic link, which is not unpacked"),
        (link("m.keras", "/etc/passwd", tarfile.LNKTYPE), "hard link, which is not unpacked"),
        (link("m.keras", "", tarfile.CHRTYPE), "special file, which is not unpacked"),
        (link("m.keras", "", tarfile.FIFOTYPE), "special file, which is not unpacked"),
        (tarred(**{"m.keras": b"\0" * 300_000}), "unpacks to more than 100,000 bytes"),
        (zipped(**{f"{n}": b"" for n in range(3)}, big=b"\0" * 100_001), "100,000 bytes"),
        (tarred("w", **{"m.keras": b"x" * 5000})[:3000], "cannot be unpacked"),
        (tarred("w:xz", **{"m.keras": os.urandom(9000)})[:-2000], "cannot be unpacked"),
    ],
    ids=["dots", "absolute", "zip dots", "symlink", "hard link", "device", "fifo", "tar bomb",
         "zip bomb", "cut", "cut gzip"],
)  # fmt: skip
def test_hostile_archive(content: bytes, message: str, empty: Fake, server: Server) -> None:
    url = server.put("a.tar", content)
    more = ", path: m.keras, max_size: 100KB"
    empty.write(HEAD + fetched(url, content, more))
    said = reason(empty.build(), "fetch:m")
    assert message in said
    assert not (empty.root.parent / "out.keras").exists()
    assert empty.leftovers() == []


def test_retry_of_a_conversion_reads_the_fetched_source(empty: Fake, server: Server) -> None:
    content = json.dumps({"value": 7, "do": {"convert": {"refuse": "no"}}}).encode()
    empty.write(HEAD + fetched(server.put("m.keras", content), content))
    result = empty.build()
    assert result.ok, [t.reason for t in result.tasks]
    assert empty.report("m/float32/validate.json")["conversion"]["retry"] is True


def test_proxy_reaches_the_fetch_alone(
    empty: Fake, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answers["http://models.invalid/m.keras"] = [gives(MODEL)]
    monkeypatch.setenv("http_proxy", server.url("").rstrip("/"))
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    empty.write(HEAD + fetched("http://models.invalid/m.keras", MODEL))
    assert empty.build().ok
    assert server.asked == ["http://models.invalid/m.keras"]


# generate

TRAIN = """
import json, os, sys
from helper import value
out = sys.argv[1]
if os.path.dirname(out):
    os.makedirs(os.path.dirname(out), exist_ok=True)
model = {"value": value() + float(os.environ.get("BONUS", 0))}
open(out, "w").write(json.dumps(model))
print("trained")
"""
HELPER = "def value():\n    return float(open('data/x.txt').read())\n"
COMMAND = "python train.py out.keras"
INPUTS = "['*.py', data/x.txt]"


def generated(
    command: str = COMMAND, inputs: str = INPUTS, outputs: str = "[out.keras]", more: str = "",
    name: str = "m",
) -> str:  # fmt: skip
    generate = f"{{command: {command}, inputs: {inputs}, outputs: {outputs}{more}}}"
    return f"  {name}: {{source: {{format: keras, generate: {generate}}}}}\n"


@pytest.fixture
def training(empty: Fake) -> Fake:
    files = {"train.py": TRAIN, "helper.py": HELPER, "data/x.txt": "3", "notes.txt": "n"}
    empty.write(HEAD + generated(), files)
    return empty


def test_generated(training: Fake) -> None:
    first = training.build()
    assert first.ok, [t.reason for t in first.tasks]
    assert "generate:m" in first.ran()
    assert training.dist()["litert/m-float32.tflite"].startswith(b"3.0 none")
    shown = training.root / "build/generated/m/out.keras"
    assert json.loads(shown.read_text()) == {"value": 3.0}
    assert not (training.root / "out.keras").exists()
    assert "trained" in (training.root / "build/logs/generate:m.log").read_text()
    assert nothing_to_do(training)
    assert training.leftovers() == []

    training.write(files={"helper.py": "# a comment\n" + HELPER})
    assert training.build().ran() == ["generate:m"]  # early cutoff: the same model
    training.write(files={"notes.txt": "of no concern"})
    assert nothing_to_do(training)
    training.write(files={"data/x.txt": "4"})
    assert "convert:m:half" in training.build().ran()
    assert json.loads(shown.read_text()) == {"value": 4.0}
    training.write(files={"new.py": ""})  # a glob matches it
    assert training.build().ran() == ["generate:m"]
    (training.root / "new.py").unlink()
    assert training.build().ran() == []


def test_the_generated_folder_comes_back(training: Fake) -> None:
    assert training.build().ok
    folder = training.root / "build/generated"
    shutil.rmtree(folder)
    assert training.build().ran() == []
    assert (folder / "m/out.keras").is_file()
    assert nothing_to_do(training)


def test_one_generation_for_two_models(training: Fake) -> None:
    training.write(HEAD + generated(name="a") + generated(name="b"))
    result = training.build()
    outcomes = sorted(result.outcome(f"generate:{name}") for name in "ab")
    assert outcomes == ["ran", "restored"]
    assert (training.root / "build/generated/b/out.keras").is_file()


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ("[train.py, helper.py]", "'data/x.txt' is in the workspace, but not among"),
        ("[train.py, data/x.txt]", "'helper.py' is in the workspace, but not among"),
    ],
)
def test_undeclared_input(inputs: str, message: str, training: Fake) -> None:
    training.write(HEAD + generated(inputs=inputs))
    said = reason(training.build(), "generate:m")
    assert "the command failed with exit code 1: " in said
    assert "Error: " in said
    assert message in said


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("'echo first; echo last words >&2; exit 7'", "failed with exit code 7: last words"),
        ("exit 3", "failed with exit code 3"),
        ("'kill -9 $$'", "ended by signal 9"),
        ("[nonesuch, -x]", "cannot be started: nonesuch: No such file or directory"),
        ("'true'", "did not write 'out.keras'; it wrote nothing"),
        ("'touch other.keras'", "did not write 'out.keras'; it wrote other.keras"),
        ("ln -s /etc/passwd out.keras", "out.keras is neither a file nor a folder"),
        ("mkdir out.keras", "expected a .keras or .h5 file, got 'out.keras'"),
    ],
)
def test_commands_that_fail(command: str, message: str, training: Fake) -> None:
    training.write(HEAD + generated(command))
    task = "lower:m" if "mkdir" in command else "generate:m"
    assert message in reason(training.build(), task)


def test_variables(training: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    training.write(HEAD + generated(more=", env: [BONUS]"))
    monkeypatch.setenv("BONUS", "10")
    assert training.build().ok
    assert training.dist()["litert/m-float32.tflite"].startswith(b"13.0 none")
    assert nothing_to_do(training)
    monkeypatch.setenv("BONUS", "20")
    assert "generate:m" in training.build().ran()
    assert training.dist()["litert/m-float32.tflite"].startswith(b"23.0 none")
    state = (training.root / ".tflbuild/state.sqlite").read_bytes()
    assert sha(b"20")[:16].encode() in state  # a digest: the value may be a secret
    monkeypatch.delenv("BONUS")
    training.build()
    assert training.dist()["litert/m-float32.tflite"].startswith(b"3.0 none")

    training.write(HEAD + generated())  # not declared, not there
    monkeypatch.setenv("BONUS", "20")
    training.build()
    assert training.dist()["litert/m-float32.tflite"].startswith(b"3.0 none")


def test_an_input_that_changes_while_the_command_runs(training: Fake) -> None:
    x = training.root / "data/x.txt"
    once = training.root / "once"
    command = f"'python train.py out.keras; test -e {once} || (touch {once}; echo 5 > {x})'"
    training.write(HEAD + generated(command))
    assert training.build().ok
    assert training.dist()["litert/m-float32.tflite"].startswith(b"5.0 none")


def test_a_file_that_comes_while_the_command_runs(training: Fake) -> None:
    new = training.root / "new.py"
    training.write(HEAD + generated(f"'test -e {new} || touch {new}; python train.py out.keras'"))
    assert "files came to or went" in reason(training.build(), "generate:m")
    assert training.build().ok


@pytest.mark.parametrize("how", ["timeout", "kill", "interrupt"])
def test_what_a_command_started_ends_with_it(how: str, training: Fake) -> None:
    pids = training.root / "pids"
    command = f"'sleep 300 & sleep 301 & echo $! $$ > {pids}; wait'"
    manifest = HEAD + generated(command)
    if how == "timeout":
        manifest = manifest.replace("{source:", "{timeout: 1s, source:")
    training.write(manifest)
    process = training.start()
    wait_for(lambda: process.poll() is not None or (pids.exists() and "\n" in pids.read_text()))
    assert pids.exists(), process.communicate()
    if how != "timeout":
        process.send_signal(signal.SIGKILL if how == "kill" else signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert gone(training.root) == []
    for pid in pids.read_text().split():
        wait_for(lambda pid=pid: not alive(int(pid)))
    if how == "timeout":
        assert "exceeded its timeout of 1 s" in out


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_killed_between_making_and_lowering(training: Fake) -> None:
    mark = training.root / "mark"
    training.write(HEAD + generated(f"'echo x >> {mark}; python train.py out.keras'"))
    process = training.start()
    assert process.stdout is not None
    for line in process.stdout:
        if '"generate:m"' in line:
            process.send_signal(signal.SIGKILL)
            break
    process.communicate(timeout=60)
    assert training.build().ok
    assert mark.read_text() == "x\n"


def test_commands_know_the_new_stages(
    training: Fake, server: Server, capsys: pytest.CaptureFixture[str], fake_pool: FakePool
) -> None:
    url = server.put("f.keras", MODEL)
    training.write(HEAD + generated() + fetched(url, MODEL, name="f"))
    plan = text(capsys, training, "plan")
    assert "run        generate:m  not built before" in plan
    assert "run        fetch:f  not built before" in plan
    assert "depends    lower:m  on generate:m" in plan
    assert training.build().ok
    assert "2 ran" not in text(capsys, training, "plan")
    training.write(files={"data/x.txt": "5"})
    assert "data/x.txt changed" in text(capsys, training, "why", "generate:m")
    assert "trained" in text(capsys, training, "log", "generate:m")
    assert '"generate:m" -> "lower:m"' in text(capsys, training, "graph", "m")
    assert '"fetch:f" -> "reference:f"' in text(capsys, training, "graph", "f")
    workspace = load_workspace(training.root / "tflbuild.yaml", training.root)
    for path, models in (("data/x.txt", ("m",)), ("data", ("m",)), ("notes.txt", None)):
        if models is None:
            with pytest.raises(Exception, match="nothing matches"):
                select(workspace, (path,), "release", training.root)
        else:
            assert select(workspace, (path,), "release", training.root).models == models
    assert training.build("generate:m").ran() == ["generate:m"]
    text(capsys, training, "clean")
    assert not (training.root / "build").exists()
    assert training.build("fetch:f", force=True).ran() == ["fetch:f"]


def test_key_holds_what_the_code_imports(training: Fake) -> None:
    from tflbuild.making import imported

    files = {"a.py": "import numpy.linalg, os, helper\nfrom keras import layers\nfrom . import b\n",
             "b.py": "def f():\n    import jax\n", "bad.py": "(", "t.txt": "import zz"}  # fmt: skip
    training.write(files=files)
    assert imported(training.root, [*files, "helper.py"]) == ("jax", "keras", "numpy")


def test_key_holds_a_package_that_a_folder_is_called_like(training: Fake) -> None:
    from tflbuild.making import imported

    files = {"keras/export.py": "import keras, own, own2\n", "own/__init__.py": "", "own2.py": ""}
    training.write(files=files)
    assert imported(training.root, files) == ("keras",)
    for command in (
        'python -u -c "import jax.numpy, os"', ["python3", "-c", "from jax import x"],
        "cd a && python -m jax.tool --x", ["sh", "-c", "python -m jax"],
    ):  # fmt: skip
        assert imported(training.root, [], command) == ("jax",)
    assert imported(training.root, [], "python 'a") == ()


def test_environment_of_the_command(training: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "x")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    command = "'env > out.keras; pwd >> out.keras; which python >> out.keras'"
    training.write(HEAD + generated(command, more=""))
    training.build()
    said = (training.root / "build/generated/m/out.keras").read_text()
    assert "SECRET" not in said
    assert "PROXY" not in said.upper()
    assert "TF_NUM" not in said
    assert f"HOME={os.environ['HOME']}\n" not in said
    assert str(training.root / ".tflbuild/work") in said.splitlines()[-2]


# pointers


POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha(b'')}\nsize 1\n"


def test_pointers_are_found_by_check_and_inside_folders(
    empty: Fake, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = "models/tree"
    files = {f"{folder}/saved_model.pb": MODEL, f"{folder}/variables/v": "v", "d.npz": POINTER}
    data = "data: {test: {npz: d.npz}}, "
    line = f"  m: {{{data}source: {{format: saved_model, path: {folder}}}}}\n"
    empty.write(HEAD + line, files)
    assert cli.run(["-C", str(empty.root), "check"]) == 2
    assert "d.npz is a Git LFS pointer" in capsys.readouterr().err
    empty.write(HEAD + line.replace(data, ""), {f"{folder}/variables/v": POINTER})
    said = reason(empty.build(), "lower:m")
    assert said.endswith(f"run: git lfs pull --include {folder}/variables/v")
    empty.write(files={f"{folder}/variables/v": "v"})
    assert empty.build().ok
