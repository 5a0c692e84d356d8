"""`emit: [c_array]`: a released file in other forms, beside it in `dist/`, with its fate."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from fake_workspace import Fake, gone, wait_for

from tflbuild.engine.plan import plan, removals, view

MANIFEST = """
version: 1
targets: {chip: {runtime: micro, emit: [c_array]}, bare: {runtime: micro}}
defaults:
  data: {calibration: {random: {samples: 4}}}
  optimizations: {int8: {quantize: int8}}
  validate: {parity: {sqnr: 20}}
models:
  a: {source: {format: keras, path: models/a.keras}, targets: [chip, bare]}
  b: {source: {format: keras, path: models/b.keras}, targets: [chip]}
"""
FILES = ["a-int8.cc", "a-int8.h", "b-int8.cc", "b-int8.h"]
RELEASE = "release:a:int8@chip"
POOR = {"sqnr": 1}


@pytest.fixture
def built(empty: Fake) -> Fake:
    empty.write(MANIFEST)
    empty.model("a", 1)
    empty.model("b", 2)
    result = empty.build()
    assert result.ok, [(t.task, t.reason) for t in result.tasks]
    return empty


def arrays(fake: Fake) -> list[str]:
    folder = fake.root / "dist/chip"
    return sorted(p.name for p in folder.iterdir() if p.suffix in (".h", ".cc"))


def consistent(fake: Fake) -> None:
    """Index and checksums list the other forms of each file, and they are of that file."""
    folder = fake.root / "dist/chip"
    fake.index("chip")
    index = json.loads((folder / "index.json").read_text())
    emitted = {e["file"]: [o["file"] for o in e.get("emitted", ())] for e in index["artifacts"]}
    assert sorted(name for names in emitted.values() for name in names) == arrays(fake)
    for name, names in emitted.items():
        stem = name.removesuffix(".tflite")
        if not names:  # none are asked for
            continue
        assert names == [f"{stem}.cc", f"{stem}.h"]
        assert str((folder / name).stat().st_size) in (folder / f"{stem}.cc").read_text()
    subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=folder, check=True)


def planned(fake: Fake, *selectors: str) -> dict[str, tuple[str, tuple[str, ...]]]:
    with view(fake.root / "tflbuild.yaml", selectors, "release", fake.root) as seen:
        return {p.task: (p.action, p.why) for p in plan(seen)}


def edit(fake: Fake, old: str, new: str) -> None:
    text = (fake.root / "tflbuild.yaml").read_text()
    assert old in text
    fake.write(text.replace(old, new))


def test_beside_the_file(built: Fake) -> None:
    assert arrays(built) == FILES
    assert not [path for path in built.dist() if path.startswith("bare/a-int8.h")]
    consistent(built)
    assert built.build().done.reached_graph == 0
    assert planned(built)["emit:a:int8@chip"] == ("up-to-date", ())
    assert planned(built)[RELEASE] == ("up-to-date", ())


def test_with_the_model(built: Fake) -> None:
    before = built.dist()["chip/a-int8.cc"]
    built.model("a", 7)
    assert built.build().ok
    assert built.dist()["chip/a-int8.cc"] != before
    consistent(built)
    built.model("a", 1)
    result = built.build()
    assert result.outcome("emit:a:int8@chip") == "restored"
    assert built.dist()["chip/a-int8.cc"] == before


@pytest.mark.parametrize("name", ["a-int8.h", "a-int8.cc", "a-int8.tflite"])
def test_a_file_is_edited_or_deleted(built: Fake, name: str) -> None:
    path = built.root / "dist/chip" / name
    content = path.read_bytes()
    for harm, why in ((path.unlink, "is missing"), (lambda: path.write_text("x"), "was edited")):
        harm()
        assert planned(built)[RELEASE] == ("restore", (f"dist/chip/{name} {why}",))
        assert planned(built, str(path))[RELEASE][0] == "restore"
        result = built.build()
        assert [(t.task, t.outcome) for t in result.tasks] == [(RELEASE, "restored")]
        assert path.read_bytes() == content
        consistent(built)
    assert built.build().done.reached_graph == 0


def test_the_index_of_a_part(built: Fake) -> None:
    """A file that is gone or edited is in no index, until it is brought back."""
    (built.root / "dist/chip/a-int8.h").unlink()
    assert built.build("b").ok
    index = json.loads((built.root / "dist/chip/index.json").read_text())
    assert [o["file"] for o in index["artifacts"][0]["emitted"]] == ["a-int8.cc"]
    subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=built.root / "dist/chip",
                   check=True)  # fmt: skip


def test_no_longer_in_the_manifest(built: Fake) -> None:
    edit(built, ", emit: [c_array]", "")
    assert built.build().ok
    assert arrays(built) == []
    consistent(built)
    assert built.build().done.reached_graph == 0
    edit(built, "chip: {runtime: micro", "chip: {runtime: micro, emit: [c_array]")
    result = built.build()
    assert result.outcome("emit:a:int8@chip") == "up-to-date"
    assert arrays(built) == FILES
    consistent(built)


def test_the_model_goes(built: Fake) -> None:
    edit(built, "  b: {source: {format: keras, path: models/b.keras}, targets: [chip]}\n", "")
    with view(built.root / "tflbuild.yaml", (), "release", built.root) as seen:
        assert removals(seen) == [f"dist/chip/b-int8.{s}" for s in ("cc", "h", "tflite")]
    (built.root / "dist/chip/b-int8.h").write_text("mine")
    assert built.build().ok
    assert arrays(built) == [*FILES[:2], "b-int8.h"]
    (built.root / "dist/chip/b-int8.h").unlink()
    consistent(built)


def test_a_failed_gate_leaves_them(built: Fake) -> None:
    before = built.dist()
    built.model("a", 3, do=POOR)
    result = built.build(keep_going=True)
    assert result.exit_code == 1
    assert result.outcome("emit:a:int8@chip") == "skipped"
    assert built.dist() == before
    consistent(built)


def test_a_strangers_file_is_in_the_way(empty: Fake) -> None:
    empty.write(MANIFEST, {"dist/chip/a-int8.h": "mine"})
    empty.model("a", 1)
    empty.model("b", 2)
    result = empty.build(keep_going=True)
    assert result.exit_code == 1
    [event] = [t for t in result.tasks if t.task == RELEASE]
    assert event.reason == "dist/chip/a-int8.h was not released by tflbuild: move it away"
    assert empty.dist()["chip/a-int8.h"] == b"mine"
    assert "chip/a-int8.tflite" not in empty.dist()
    (empty.root / "dist/chip/a-int8.h").unlink()
    assert empty.build().ok
    consistent(empty)


def test_clean(built: Fake) -> None:
    from tflbuild.cli import run

    (built.root / "dist/chip/a-int8.h").write_text("mine")
    assert run(["clean", "-q", "-C", str(built.root)]) == 0
    assert built.dist() == {"chip/a-int8.h": b"mine"}
    (built.root / "dist/chip/a-int8.h").unlink()
    result = built.build()
    assert result.ran() == []
    consistent(built)


def test_the_state_is_lost(built: Fake) -> None:
    """What the index lists is ours again: edited files are restored, and go with the manifest."""
    before = built.dist()
    shutil.rmtree(built.root / ".tflbuild")
    (built.root / "dist/chip/b-int8.h").write_text("edited")
    assert built.build().ok
    assert built.dist() == before
    shutil.rmtree(built.root / ".tflbuild")
    edit(built, "  b: {source: {format: keras, path: models/b.keras}, targets: [chip]}\n", "")
    assert built.build().ok
    assert arrays(built) == FILES[:2]
    consistent(built)


def test_another_dist(built: Fake) -> None:
    before = built.dist()
    edit(built, "version: 1\n", "version: 1\nproject: {name: fake, dist_dir: out}\n")
    assert built.build().ok
    assert built.dist() == {}
    shutil.rmtree(built.root / "dist")
    (built.root / "out").rename(built.root / "dist")
    assert built.dist() == before


@pytest.mark.parametrize("moment", [0.0, 0.005, 0.02, 0.1])
def test_killed(empty: Fake, tmp_path: Path, moment: float) -> None:
    empty.write(MANIFEST)
    empty.model("a", 1)
    empty.model("b", 2)
    process = empty.start()
    wait_for(lambda: (empty.root / "dist/chip/a-int8.cc").exists())
    time.sleep(moment)
    process.kill()
    process.communicate()
    assert gone(empty.root) == []
    empty.model("a", 9)
    assert empty.build().ok
    assert arrays(empty) == FILES
    consistent(empty)
    assert empty.leftovers() == []
    assert empty.build().done.reached_graph == 0
