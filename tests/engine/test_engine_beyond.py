"""Files that code reaches by other ways than Python's own `open`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from fake_workspace import Fake

from tflbuild import confine
from tflbuild.api import BuildResult

MANIFEST = """
version: 1
models:
  net:
    source: {format: concrete_function, python: "net:make"}
    optimizations: {float32: {}}
    env: [PLACE]
"""
HEAD = "import ctypes, os, sqlite3, subprocess\nROOT = os.environ['PLACE']\ndef make():\n"
C_OPEN = (
    "libc = ctypes.CDLL(None)\n"
    "number = libc.open((ROOT + '/data/w.txt').encode(), 0)\n"
    "if number < 0: raise OSError(f'{ROOT}/data/w.txt; Permission denied')\n"
)
landlock = pytest.mark.skipif(not confine.available(), reason="no Landlock")


@pytest.fixture
def code(empty: Fake, monkeypatch: pytest.MonkeyPatch) -> Fake:
    monkeypatch.setenv("PLACE", str(empty.root))
    files = {"data/w.txt": "5", ".github/x.txt": "6"}
    empty.write(MANIFEST, files)
    return empty


def build(workspace: Fake, body: str) -> BuildResult:
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    workspace.write(files={"net.py": f"{HEAD}{lines}    return {{'value': 1}}\n"})
    return workspace.build(keep_going=True)


def failure(result: BuildResult) -> str:
    (failed,) = [t for t in result.tasks if t.outcome == "failed" and t.task == "lower:net"]
    assert "\n" not in failed.reason
    return failed.reason


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ("open(ROOT + '/.github/x.txt')", "depends: [.github/x.txt]"),
        ("sqlite3.connect(ROOT + '/data/w.txt')", "depends: [data/w.txt]"),
        ("subprocess.run(['cat', ROOT + '/data/w.txt'])", "depends: [data/w.txt]"),
        ("os.system('cat ' + ROOT + '/data/w.txt')", "depends: [data/w.txt]"),
        pytest.param(C_OPEN, "depends: [data/w.txt]", marks=landlock),
    ],
)
def test_file_beyond_the_key_is_told(code: Fake, body: str, line: str) -> None:
    assert f"add `{line}`" in failure(build(code, body))


@landlock
def test_what_fails_quietly_gives_nothing_away(code: Fake) -> None:
    head, _, _ = C_OPEN.rpartition("raise")
    body = head + "return {'value': 9}"
    assert build(code, body).ok
    assert code.dist()["litert/net-float32.tflite"].startswith(b"9 ")
    code.write(files={"data/w.txt": "7"})
    assert code.build().done.reached_graph == 0


def test_declared_file_is_read_by_every_way(code: Fake) -> None:
    code.write(MANIFEST + "    depends: [data/w.txt]\n")
    body = "from pathlib import Path\nplace = Path(__file__).parent / 'data/w.txt'\n"
    read = "value = subprocess.check_output(['cat', place]).decode()\nassert value == '5'\n"
    assert build(code, body + read + C_OPEN).ok


def test_file_outside_of_the_workspace_is_refused(code: Fake, tmp_path: Path) -> None:
    other = tmp_path / "other.txt"
    other.write_text("1")
    said = failure(build(code, f"open({str(other)!r}).read()"))
    assert f"reads {other}, outside of the workspace" in said
    # What the code writes itself, and what belongs to the machine, is no input.
    own = "with open(path, 'w') as f: f.write('x')\nopen(path).read()\nopen('/etc/hosts').read()"
    (tmp_path / "own").mkdir()
    assert build(code, f"path = {str(tmp_path / 'own/own.txt')!r}\n{own}").ok


def test_module_from_beyond_the_workspace_rebuilds(code: Fake, tmp_path: Path) -> None:
    library = tmp_path / "library"
    library.mkdir()
    path = os.pathsep.join(filter(None, [str(library), os.environ.get("PYTHONPATH")]))
    variables = {**os.environ, "PYTHONPATH": path}
    (library / "extlib_of_test.py").write_text("V = 11")
    body = f"{HEAD}    import extlib_of_test\n    return {{'value': extlib_of_test.V}}\n"
    code.write(files={"net.py": body})
    assert code.run(env=variables).code == 0
    assert code.dist()["litert/net-float32.tflite"].startswith(b"11 ")
    assert code.run(env=variables).tasks("ran") == []
    (library / "extlib_of_test.py").write_text("V = 12")
    assert "lower:net" in code.run(env=variables).tasks("ran")
    assert code.dist()["litert/net-float32.tflite"].startswith(b"12 ")
