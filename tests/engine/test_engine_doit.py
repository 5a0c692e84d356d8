"""`tflbuild.tasks` in a user's dodo.py, by the real `doit`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from fake_workspace import Fake

import tflbuild

DODO = """
import sys
sys.path.append({fakes!r})
from tflbuild.engine import zygote
zygote.ZYGOTES = {{"tf": ("fake_stages", "tflbuild.engine.child")}}
zygote.ZYGOTES["lite"] = zygote.ZYGOTES["tf"]
import tflbuild

def task_models():
    yield from tflbuild.tasks("tflbuild.yaml"{more})
"""


def doit(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    home = str(Path(tflbuild.__file__).parents[1])
    return subprocess.run(
        [sys.executable, "-m", "doit", *arguments], cwd=root, text=True, capture_output=True,
        timeout=300, env={**os.environ, "PYTHONPATH": home},
    )  # fmt: skip


def write_dodo(fake: Fake, more: str = "", after: str = "") -> None:
    fakes = str(Path(__file__).with_name("fakes"))
    fake.write(files={"dodo.py": DODO.format(fakes=fakes, more=more) + after})


@pytest.fixture
def dodo(fake: Fake) -> Fake:
    write_dodo(fake)
    return fake


def done(run: subprocess.CompletedProcess[str]) -> list[str]:
    """The tasks that doit executed (`.`) or found up to date (`--`)."""
    assert run.returncode == 0, run.stdout + run.stderr
    return [line.strip() for line in run.stdout.splitlines() if line.startswith((". ", "-- "))]


def test_a_life_under_doit(dodo: Fake) -> None:
    listed = doit(dodo.root, "list", "--all")
    assert "models:a   build dist/litert/a-float32.tflite, dist/litert/a-int8.tflite" in (
        listed.stdout
    )
    assert sorted(done(doit(dodo.root))) == [".  models:a", ".  models:b"]
    assert dodo.index() == [f"{m}-{o}.tflite" for m in "ab" for o in ("float32", "int8")]
    assert sorted(done(doit(dodo.root))) == ["-- models:a", "-- models:b"]

    os.utime(dodo.root / "models/a.keras")
    dodo.write((dodo.root / "tflbuild.yaml").read_text() + "# a comment\n")
    assert sorted(done(doit(dodo.root))) == ["-- models:a", "-- models:b"]

    dodo.model("a", 3)
    changed = doit(dodo.root)
    assert sorted(done(changed)) == ["-- models:b", ".  models:a"]
    assert "ran       convert:a:int8" in changed.stderr
    assert "11 ran" not in changed.stderr

    (dodo.root / "dist/litert/b-int8.tflite").unlink()
    assert sorted(done(doit(dodo.root, "models:b"))) == [".  models:b"]
    assert len(dodo.index()) == 4

    manifest = (dodo.root / "tflbuild.yaml").read_text()
    dodo.write(manifest.replace("int8: {quantize", "eight: {quantize"))
    assert sorted(done(doit(dodo.root))) == [".  models:a", ".  models:b"]


def test_what_tflbuild_built_is_not_built_again(dodo: Fake) -> None:
    assert dodo.run().code == 0
    run = doit(dodo.root)
    assert sorted(done(run)) == [".  models:a", ".  models:b"]  # doit has not seen them yet
    assert "0 ran" in run.stdout
    assert sorted(done(doit(dodo.root))) == ["-- models:a", "-- models:b"]


def test_an_edit_that_doit_cannot_see(dodo: Fake) -> None:
    done(doit(dodo.root))
    path = dodo.root / "models/a.keras"
    before = path.stat()
    path.write_text(path.read_text().replace("1", "9"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # doit looks at nothing else
    assert sorted(done(doit(dodo.root))) == ["-- models:b", ".  models:a"]


@pytest.mark.parametrize(
    ("do", "message"),
    [
        ({"sqnr": 1}, r"validate:a:\w+: sqnr of output 'y' is 1 dB, below the limit \d+ dB"),
        ({"convert": {"fail": "no such op"}}, r"convert:a:\w+: no such op"),  # of either, first
    ],
)
def test_failure_is_one_line(do: dict[str, object], message: str, dodo: Fake) -> None:
    dodo.model("a", 1, do=do)
    run = doit(dodo.root)
    said = run.stdout + run.stderr
    assert run.returncode == 1, run.stdout + run.stderr
    assert "Traceback" not in said
    (line,) = [line for line in said.splitlines() if line.startswith("tflbuild: ")]
    assert re.search(message, line)
    assert doit(dodo.root).returncode == 1  # again, and again from the gate


def test_two_at_once_meet_at_the_lock(dodo: Fake) -> None:
    for kind in ("process", "thread"):
        run = doit(dodo.root, "-n", "2", "-P", kind)
        assert len(done(run)) == 2
        assert len(dodo.index()) == 4
        dodo.model("a", kind)
        dodo.model("b", kind)


def test_a_task_of_the_users_makes_the_source(fake: Fake) -> None:
    after = """
def task_export():
    return {"actions": ["cp new.json models/a.keras"], "file_dep": ["new.json"],
            "targets": ["models/a.keras"]}

def task_ship():
    return {"actions": ["cp dist/litert/a-int8.tflite shipped"],
            "file_dep": ["dist/litert/a-int8.tflite"], "targets": ["shipped"]}
"""
    fake.write(files={"new.json": '{"value": 42}'})
    write_dodo(fake, after=after)
    done(doit(fake.root, "ship"))
    assert (fake.root / "shipped").read_text().startswith("42 int8")


def test_clean(dodo: Fake) -> None:
    done(doit(dodo.root))
    assert doit(dodo.root, "clean").returncode == 0
    assert [name for name in dodo.dist() if name.endswith(".tflite")] == []
    run = doit(dodo.root)
    assert len(done(run)) == 2
    assert "convert" not in run.stderr  # from the store
    assert len(dodo.index()) == 4


def test_selectors(fake: Fake) -> None:
    write_dodo(fake, ', "b:int8"')
    assert done(doit(fake.root)) == [".  models:b"]
    assert fake.index() == ["b-int8.tflite"]
    assert done(doit(fake.root)) == ["-- models:b"]


def test_wrong_manifest(dodo: Fake) -> None:
    dodo.write("version: 1\nmodels: {m: {}}\n")
    run = doit(dodo.root)
    assert run.returncode == 3
    assert "tflbuild.yaml:2:10: model 'm' has no `source`" in run.stderr
