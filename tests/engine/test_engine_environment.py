"""The custom runtime environment: after every build, `dist/<target>/runtime/` is for the files
that lie in `dist/<target>/`, and it is made again only when what they need changes."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from fake_workspace import Fake, gone, wait_for
from jsonschema import Draft202012Validator

import tflbuild
from tflbuild import schemas
from tflbuild.api import BuildResult
from tflbuild.engine.plan import explain, plan, removals, view
from tflbuild.engine.state import State

MANIFEST = """
version: 1
targets: {chip: {runtime: micro}}
defaults:
  data: {calibration: {random: {samples: 4}}}
  optimizations: {float32: {}, int8: {quantize: int8}}
  targets: [chip]
  validate: {parity: {sqnr: 20}}
models:
  a: {source: {format: keras, path: models/a.keras}}
  b: {source: {format: keras, path: models/b.keras}}
"""
A, B = ["ADD:1", "CONV_2D:3"], ["ADD:1", "CONV_2D:2", "SOFTMAX:1"]
TASK = "runtime:chip"
POOR = {"sqnr": 1}  # its gate does not pass


@pytest.fixture
def chips(empty: Fake) -> Fake:
    """Two models on one microcontroller."""
    empty.write(MANIFEST)
    empty.model("a", 1, ops=A)
    empty.model("b", 2, ops=B)
    return empty


@pytest.fixture
def built(chips: Fake) -> Fake:
    result = chips.build()
    assert result.ok, result.tasks
    return chips


def lists(fake: Fake, target: str = "chip") -> dict[str, set[str]]:
    """What `ops.json` says, by file."""
    content = json.loads((fake.root / f"dist/{target}/runtime/ops.json").read_text())
    assert list(Draft202012Validator(json.loads(schemas.text("ops"))).iter_errors(content)) == []
    found: dict[str, set[str]] = {file: set() for file in content["files"]}
    for op in content["ops"]:
        for file in op["files"]:
            found[file].add(f"{op['op']}:{op['version']}")
    return found


def header(fake: Fake) -> set[str]:
    text = (fake.root / "dist/chip/runtime/micro_op_resolver.h").read_text()
    names = ("ADD", "CONV_2D", "SOFTMAX", "RELU")
    spelled = {name: "".join(part.capitalize() for part in name.split("_")) for name in names}
    spelled["CONV_2D"] = "Conv2D"
    return {name for name in names if f"Add{name}(" in text or f"Add{spelled[name]}(" in text}


def both(a: list[str] = A, b: list[str] = B) -> dict[str, set[str]]:
    return {
        "a-float32.tflite": set(a), "a-int8.tflite": set(a),
        "b-float32.tflite": set(b), "b-int8.tflite": set(b),
    }  # fmt: skip


def consistent(fake: Fake, target: str = "chip") -> None:
    """The lists are for the files that lie there, and so are index and checksums."""
    folder = fake.root / "dist" / target
    files = {path.name: path for path in folder.glob("*.tflite")}
    listed = lists(fake, target)
    assert set(listed) == set(files)
    for name, path in files.items():
        assert listed[name] == set(path.read_text().splitlines()[-1].split()[1:])
    assert sorted(fake.index(target)) == sorted(files)
    index = json.loads((folder / "index.json").read_text())
    assert list(Draft202012Validator(json.loads(schemas.text("index"))).iter_errors(index)) == []
    assert {e["file"] for e in index["runtime"]} >= {"runtime/ops.json"}
    subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=folder, check=True)


def planned(fake: Fake, *selectors: str) -> Mapping[str, tuple[str, tuple[str, ...]]]:
    with view(fake.root / "tflbuild.yaml", selectors, "release", fake.root) as seen:
        return {p.task: (p.action, p.why) for p in plan(seen)}


def edit(fake: Fake, old: str, new: str) -> None:
    text = (fake.root / "tflbuild.yaml").read_text()
    assert old in text
    fake.write(text.replace(old, new))


def test_the_union_and_nothing_else(built: Fake) -> None:
    assert lists(built) == both()
    assert header(built) == {"ADD", "CONV_2D", "SOFTMAX"}
    consistent(built)
    again = built.build()
    assert (again.done.reached_graph, again.done.counts.ran) == (0, 0)
    assert again.done.counts.up_to_date == 25


def test_it_is_told_as_a_task(chips: Fake) -> None:
    assert planned(chips)[TASK][0] == "depends"
    result = chips.build()
    assert result.outcome(TASK) == "ran"
    assert result.tasks[-1].task == TASK  # after all that it waits for
    assert result.tasks[-1].why == ("not built before",)
    assert planned(chips)[TASK] == ("up-to-date", ())


def test_a_model_that_needs_more(built: Fake) -> None:
    built.model("a", 1, ops=[*A, "RELU:1"])
    assert planned(built)[TASK][0] == "depends"
    result = built.build()
    assert result.outcome(TASK) == "ran"
    [event] = [t for t in result.tasks if t.task == TASK]
    assert event.why[0] == "the list of operators of a-float32.tflite changed"
    assert header(built) == {"ADD", "CONV_2D", "SOFTMAX", "RELU"}
    consistent(built)
    with view(built.root / "tflbuild.yaml", (TASK,), "release", built.root) as seen:
        step = seen.graph.steps[TASK]
        assert explain(seen, step)[0].action == "up-to-date"
    built.model("a", 1, ops=A)  # as it was
    assert built.build().outcome(TASK) == "restored"
    assert lists(built) == both()


def test_trained_again_with_the_same_operators(built: Fake) -> None:
    before = (built.root / "dist/chip/runtime/ops.json").stat()
    built.model("a", 77, ops=A)
    result = built.build()
    assert result.outcome("release:a:int8@chip") == "ran"
    assert result.outcome(TASK) == "up-to-date"
    after = (built.root / "dist/chip/runtime/ops.json").stat()
    assert (before.st_mtime_ns, before.st_ino) == (after.st_mtime_ns, after.st_ino)
    consistent(built)
    assert built.build().done.reached_graph == 0


def test_a_model_goes(built: Fake) -> None:
    edit(built, "  b: {source: {format: keras, path: models/b.keras}}\n", "")
    with view(built.root / "tflbuild.yaml", (), "release", built.root) as seen:
        predicted = {p.task: p.action for p in plan(seen)}
        assert removals(seen) == ["dist/chip/b-float32.tflite", "dist/chip/b-int8.tflite"]
    assert predicted[TASK] == "run"
    assert built.build().outcome(TASK) == "ran"
    assert header(built) == {"ADD", "CONV_2D"}
    consistent(built)
    assert built.build().done.reached_graph == 0


def test_a_model_goes_in_a_build_of_something_else(built: Fake) -> None:
    """Its files stay in dist until a build of everything, and so does what they need."""
    edit(built, "  b: {source: {format: keras, path: models/b.keras}}\n", "")
    built.model("a", 5, ops=["RELU:1"])
    assert built.build("a").ok
    assert lists(built) == both(["RELU:1"])
    consistent(built)


@pytest.mark.parametrize("selector", ["a", "a:int8", "a:int8@chip", "release:a:int8@chip"])
def test_a_part_does_not_shrink_the_union(built: Fake, selector: str) -> None:
    built.model("a", 1, ops=["RELU:2"])
    built.model("b", 2, ops=["TANH:1"])  # not asked for
    result = built.build(selector)
    assert result.outcome(TASK) == "ran"
    now = both()
    now["a-int8.tflite"] = {"RELU:2"}
    if selector == "a":
        now["a-float32.tflite"] = {"RELU:2"}
    assert lists(built) == now
    consistent(built)
    assert built.build().ok
    assert lists(built) == both(["RELU:2"], ["TANH:1"])


def test_the_first_build_is_of_a_part(chips: Fake) -> None:
    assert chips.build("a:int8").ok
    assert lists(chips) == {"a-int8.tflite": set(A)}
    consistent(chips)
    assert chips.build("b").ok
    assert set(lists(chips)) == {"a-int8.tflite", "b-float32.tflite", "b-int8.tflite"}


def test_selectors(built: Fake) -> None:
    assert TASK in planned(built, "@chip")
    assert TASK in planned(built, "dist/chip/a-int8.tflite")
    assert TASK not in planned(built, "convert:a:int8")
    for selector in (TASK, "dist/chip/runtime", "dist/chip/runtime/ops.json"):
        tasks = planned(built, selector)
        assert TASK in tasks
        assert "release:b:int8@chip" in tasks
    assert built.build(TASK, force=True).ran() == [TASK]
    assert built.build("release:a:int8@chip", force=True).ran() == ["release:a:int8@chip"]


@pytest.mark.parametrize("keep_going", [False, True])
def test_a_failed_gate_leaves_what_its_file_needs(built: Fake, keep_going: bool) -> None:
    built.model("a", 1, ops=["RELU:2"], do=POOR)
    if keep_going:
        built.model("b", 2, ops=["TANH:1"])
    result = built.build(keep_going=keep_going)
    assert result.exit_code == 1
    assert lists(built) == both(A, ["TANH:1"] if keep_going else B)
    consistent(built)
    assert result.outcome(TASK) == ("ran" if keep_going else "up-to-date")
    if keep_going:
        assert planned(built)[TASK] == ("up-to-date", ())
        again = built.build(keep_going=True)
        assert (again.exit_code, again.ran()) == (1, [])
        consistent(built)


def test_stopped_by_a_failure_after_a_release(chips: Fake) -> None:
    """Without -k nothing more is started, but what was released is described."""
    chips.model("b", 2, ops=B, do=POOR)
    result = chips.build(jobs=1)
    assert result.exit_code == 1
    assert set(lists(chips)) == set(json_files(chips))
    consistent(chips)


def json_files(fake: Fake) -> list[str]:
    return [path.name for path in (fake.root / "dist/chip").glob("*.tflite")]


def test_nothing_is_released(chips: Fake) -> None:
    for name in "ab":
        chips.model(name, 1, ops=A, do=POOR)
    result = chips.build(keep_going=True)
    assert result.outcome(TASK) == "skipped"
    assert not (chips.root / "dist").exists()
    assert planned(chips)[TASK] == ("blocked", ("no file of target chip is released",))


@pytest.mark.parametrize("name", ["ops.json", "micro_op_resolver.h"])
def test_a_file_is_edited_or_deleted(built: Fake, name: str) -> None:
    path = built.root / "dist/chip/runtime" / name
    content = path.read_bytes()
    for harm, why in ((path.unlink, "is missing"), (lambda: path.write_text("x"), "was edited")):
        harm()
        assert planned(built)[TASK] == ("restore", (f"dist/chip/runtime/{name} {why}",))
        result = built.build()
        assert result.outcome(TASK) == "restored"
        assert result.ran() == []
        assert path.read_bytes() == content
    assert built.build().done.reached_graph == 0


def test_a_released_file_is_deleted(built: Fake) -> None:
    (built.root / "dist/chip/a-int8.tflite").unlink()
    assert planned(built)[TASK] == ("up-to-date", ())  # it will lie there again
    assert built.build("b").ok  # who does not bring it back
    assert "a-int8.tflite" not in lists(built)
    consistent(built)
    assert built.build().ok
    assert lists(built) == both()


def test_a_file_goes_whose_target_nobody_selects(built: Fake) -> None:
    edit(built, "models:\n", "models:\n  c: {source: {format: keras, path: models/c.keras},"
                " targets: [litert]}\n")  # fmt: skip
    built.model("c", 3)
    (built.root / "dist/chip/a-int8.tflite").unlink()
    assert built.build("c").ok
    assert "a-int8.tflite" not in lists(built)
    consistent(built)


def test_all_files_go_of_a_target_that_nobody_selects(built: Fake) -> None:
    edit(built, "models:\n", "models:\n  c: {source: {format: keras, path: models/c.keras},"
                " targets: [litert]}\n")  # fmt: skip
    built.model("c", 3)
    for path in (built.root / "dist/chip").glob("*.tflite"):
        path.unlink()
    assert built.build("c").ok
    assert {path.partition("/")[0] for path in built.dist()} == {"litert"}
    assert built.build().ok
    assert lists(built) == both()


def test_somebody_edits_a_released_file(built: Fake) -> None:
    """It is not what was released, and not in the index: nothing is built for it."""
    (built.root / "dist/chip/a-int8.tflite").write_text("mine")
    assert built.build("b").ok
    assert "a-int8.tflite" not in lists(built)
    assert built.build().ok
    assert lists(built) == both()


def test_a_strangers_file_is_in_the_way(chips: Fake) -> None:
    path = chips.root / "dist/chip/runtime/ops.json"
    chips.write(files={"dist/chip/runtime/ops.json": "mine", "dist/chip/runtime/notes": "mine"})
    result = chips.build()
    assert result.exit_code == 1
    [event] = [t for t in result.tasks if t.task == TASK]
    assert "was not released by tflbuild: move it away" in event.reason
    assert path.read_text() == "mine"
    assert sorted(p.name for p in path.parent.iterdir()) == ["notes", "ops.json"]
    assert chips.build().exit_code == 1  # it is not forgotten
    path.unlink()
    assert chips.build().ok
    consistent(chips)
    assert (path.parent / "notes").read_text() == "mine"


def test_clean(built: Fake) -> None:
    from tflbuild.cli import run

    built.write(files={"dist/chip/runtime/notes": "mine"})
    assert run(["clean", "-q", "-C", str(built.root)]) == 0
    assert built.dist() == {"chip/runtime/notes": b"mine"}
    (built.root / "dist/chip/runtime/notes").unlink()
    result = built.build()
    assert result.ran() == []
    assert result.outcome(TASK) == "restored"
    consistent(built)
    (built.root / "dist/chip/runtime/ops.json").write_text("mine")
    assert run(["clean", "-q", "-C", str(built.root)]) == 0
    assert built.dist() == {"chip/runtime/ops.json": b"mine"}


def test_another_runtime(built: Fake) -> None:
    """What a target's runtime is built from is another thing, or there is no such thing."""
    built.write(files={"dist/chip/runtime/notes": "mine"})
    edit(built, "runtime: micro", "runtime: litert")
    assert built.build("a:int8").ok  # also in a build of a part
    assert list((built.root / "dist/chip/runtime").iterdir()) == [
        built.root / "dist/chip/runtime/notes"
    ]
    assert built.build().ok
    assert "runtime" not in json.loads((built.root / "dist/chip/index.json").read_text())
    assert built.build().done.reached_graph == 0
    edit(built, "runtime: litert", "runtime: micro")
    assert built.build().ok
    consistent(built)


def test_a_stale_file_whose_operators_nobody_noted(built: Fake) -> None:
    """Released for another runtime, and its renewal fails: the file itself is read."""
    edit(built, "runtime: micro", "runtime: litert")
    assert built.build().ok
    edit(built, "runtime: litert", "runtime: micro")
    built.model("a", 1, ops=["RELU:1"], do=POOR)
    assert built.build(keep_going=True).exit_code == 1
    assert lists(built) == both()
    consistent(built)
    again = built.build(keep_going=True)
    assert (again.exit_code, again.ran()) == (1, [])


def test_the_target_goes(built: Fake) -> None:
    edit(built, "chip: {runtime: micro}", "other: {runtime: micro}")
    edit(built, "targets: [chip]", "targets: [other]")
    assert built.build().ok
    assert {path.partition("/")[0] for path in built.dist()} == {"other"}
    consistent(built, "other")


def test_another_dist(built: Fake) -> None:
    before = built.dist()
    edit(built, "version: 1\n", "version: 1\nproject: {name: fake, dist_dir: out}\n")
    assert built.build().ok
    assert list((built.root / "dist").iterdir()) == []
    shutil.rmtree(built.root / "dist")
    (built.root / "out").rename(built.root / "dist")
    assert built.dist() == before


def test_two_manifests_in_one_folder(chips: Fake) -> None:
    """Each has a dist of its own, and a target of the same name."""
    text = (chips.root / "tflbuild.yaml").read_text()
    (chips.root / "tflbuild.yaml").unlink()
    lines = text.splitlines(keepends=True)
    for name, other in (("a", "b"), ("b", "a")):
        own = [line for line in lines if not line.startswith(f"  {other}: ")]
        own.insert(2, f"project: {{name: {name}, dist_dir: {name}}}\n")
        chips.write(files={f"{name}.yaml": "".join(own)})
    for _ in range(2):
        for name in "ab":
            assert tflbuild.build(chips.root / f"{name}.yaml", pool=chips.pool).ok
    for name in "ab":
        folder = chips.root / name / "chip"
        assert {p.name for p in (folder / "runtime").iterdir()} == {
            "ops.json", "micro_op_resolver.h",
        }  # fmt: skip
        files = json.loads((folder / "runtime/ops.json").read_text())["files"]
        assert files == [f"{name}-float32.tflite", f"{name}-int8.tflite"]
        subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=folder, check=True)


def test_the_state_is_lost(built: Fake) -> None:
    before = built.dist()
    shutil.rmtree(built.root / ".tflbuild")
    assert built.build().ok
    assert built.dist() == before
    # And with a file that cannot be renewed.
    shutil.rmtree(built.root / ".tflbuild")
    built.model("a", 1, ops=["RELU:1"], do=POOR)
    assert built.build(keep_going=True).exit_code == 1
    assert built.dist() == before


def test_the_state_is_lost_and_dist_is_edited(built: Fake) -> None:
    """What the index lists is ours: a name in it leads nowhere else."""
    index = built.root / "dist/chip/index.json"
    content = json.loads(index.read_text())
    outside = built.write(files={"notes": "mine"}) / "notes"
    content["runtime"].append({**content["runtime"][0], "file": "runtime/../../../notes"})
    index.write_text(json.dumps(content))
    shutil.rmtree(built.root / ".tflbuild")
    edit(built, "runtime: micro", "runtime: litert")
    assert built.build().ok
    assert outside.read_text() == "mine"


@pytest.mark.parametrize("what", ["ops", "output"])
def test_a_damaged_blob(built: Fake, what: str) -> None:
    before = built.dist()
    with_state = State.read_only(built.root / ".tflbuild/state.sqlite")
    tasks = with_state.tasks()
    with_state.close()
    row = tasks["release:a:int8@chip"] if what == "ops" else tasks[TASK]
    digest = row.outputs["ops.json"][0]
    blob = built.root / ".tflbuild/store/blobs" / digest[:2] / digest
    blob.chmod(0o644)
    blob.write_text("damaged")
    (built.root / "dist/chip/runtime/ops.json").unlink()
    result = built.build(force=what == "ops")
    assert result.ok, [(t.task, t.reason) for t in result.tasks]
    assert built.dist() == before
    assert built.leftovers() == []


def test_interrupted_after_a_release(chips: Fake, tmp_path: Path) -> None:
    chips.model("b", 2, ops=B, do={"convert:int8": {"await": str(tmp_path / "go")}})
    process = chips.start("-j", "2")
    wait_for(lambda: len(json_files(chips)) == 3)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert gone(chips.root) == []
    assert set(lists(chips)) == set(json_files(chips))
    consistent(chips)


@pytest.mark.parametrize("moment", [0.0, 0.01, 0.05, 0.2])
def test_killed(chips: Fake, moment: float) -> None:
    """The next build mends what a killed one left between the files and what describes them."""
    process = chips.start()
    wait_for(lambda: (chips.root / "dist/chip/b-int8.tflite").exists())
    time.sleep(moment)
    process.kill()
    process.communicate()
    assert gone(chips.root) == []
    chips.model("a", 9, ops=["TANH:1"])
    result = chips.build()
    assert result.ok
    assert lists(chips) == both(["TANH:1"])
    consistent(chips)
    assert chips.leftovers() == []
    assert chips.build().done.reached_graph == 0


def test_a_part_is_checked_with_little_work(built: Fake) -> None:
    """One model of many: what belongs to other targets is not in the graph."""
    edit(built, "chip: {runtime: micro}", "chip: {runtime: micro}\n  , dsp: {runtime: micro}")
    edit(built, "models:\n", "models:\n  c: {source: {format: keras, path: models/c.keras},"
                " targets: [dsp]}\n")  # fmt: skip
    built.model("c", 3, ops=["ADD:1"])
    assert built.build().ok
    built.model("c", 4, ops=["ADD:1"])
    result = built.build()
    assert result.done.reached_graph == 13
    assert result.outcome("runtime:dsp") == "up-to-date"
    assert result.done.counts.up_to_date + result.done.counts.ran == 25 + 13


def test_events_and_graph(chips: Fake, capfd: pytest.CaptureFixture[str]) -> None:
    from tflbuild.cli import run

    done = chips.run()
    assert done.code == 0, done.err
    assert TASK in done.tasks("ran")
    assert run(["graph", "-C", str(chips.root), "--format", "json"]) == 0
    edges = json.loads(capfd.readouterr().out)["edges"]
    assert {e["from"] for e in edges if e["to"] == TASK} == {
        f"release:{m}:{o}@chip" for m in "ab" for o in ("float32", "int8")
    }
    assert run(["why", TASK, "-C", str(chips.root)]) == 0
    text = capfd.readouterr().out
    assert text.startswith(f"{TASK}: up-to-date")
    assert "not built before" in text
    assert run(["log", TASK, "-C", str(chips.root)]) == 2
    assert run(["build", "-n", "-C", str(chips.root)]) == 0
    assert "up-to-date" in capfd.readouterr().out


SELECT = """
version: 1
targets:
  wide: {runtime: select-tf-ops, unvalidated: allow}
models:
  a:
    source: {format: keras, path: models/a.keras}
    data: {calibration: {random: {samples: 4}}}
    optimizations: {float32: {}}
    targets: [wide]
"""


def test_select_ops(empty: Fake) -> None:
    empty.write(SELECT)
    empty.model("a", 1, ops=["ADD:1", "FlexDet:1"])
    result: BuildResult = empty.build()
    assert result.ok, [(t.task, t.reason) for t in result.tasks]
    folder = empty.root / "dist/wide/runtime"
    assert sorted(p.name for p in folder.iterdir()) == ["BUILD.bazel", "build_aar.sh", "ops.json"]
    consistent(empty, "wide")
