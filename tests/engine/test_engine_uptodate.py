"""What runs again, and what does not: by content, and by nothing else."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_workspace import MANIFEST, Fake

from tflbuild.api import BuildResult
from tflbuild.engine import record
from tflbuild.engine.events import Event, TaskDone
from tflbuild.store import toolchain

OF_A = [
    "baseline:a", "compat:a:float32@litert", "compat:a:int8@litert", "convert:a:float32",
    "convert:a:int8", "evaluate:a", "lower:a", "reference:a", "release:a:float32@litert",
    "release:a:int8@litert", "validate:a:float32", "validate:a:int8",
]  # fmt: skip


@pytest.fixture
def built(fake: Fake) -> Fake:
    result = fake.build()
    assert result.ok
    assert result.done.counts.ran == 24
    assert fake.index() == [
        "a-float32.tflite", "a-int8.tflite", "b-float32.tflite", "b-int8.tflite",
    ]  # fmt: skip
    return fake


def nothing(result: BuildResult) -> None:
    assert result.ok
    assert [(t.task, t.outcome, t.why) for t in result.tasks] == []


def test_nothing_changed_and_nothing_reaches_doit(built: Fake) -> None:
    before = built.dist()
    for _ in range(3):
        result = built.build()
        nothing(result)
        assert result.done.reached_graph == 0
        assert result.done.counts.up_to_date == 24
    assert built.dist() == before
    assert built.leftovers() == []


def test_nothing_to_do_imports_nothing_heavy(built: Fake) -> None:
    built.build()
    code = (
        "import sys\nfrom tflbuild.cli import run\n"
        "sys.path.append(sys.argv[1])\n"
        "code = run(['build', '-q', '-C', sys.argv[2]])\n"
        "print(code, *sorted(sys.modules), file=sys.stderr)"
    )
    fakes = str(Path(__file__).with_name("fakes"))
    for _ in range(2):  # the first has another module path than pytest: the slow way, by digests
        done = subprocess.run(
            [sys.executable, "-c", code, fakes, str(built.root)],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
    exit_code, *modules = done.stderr.split()
    assert exit_code == "0"
    heavy = {
        "yaml", "jsonschema", "numpy", "rich", "doit", "sqlite3", "tensorflow", "keras",
        "ai_edge_litert", "subprocess", "socket", "importlib.metadata", "tflbuild.graph",
        "tflbuild.manifest.load", "tflbuild.engine.runner", "tflbuild.engine.state",
    }  # fmt: skip
    assert sorted(heavy & set(modules)) == []


def test_touch_runs_nothing(built: Fake) -> None:
    for path in sorted((built.root / "models").iterdir()):
        path.touch()
    nothing(built.build())
    assert built.build().done.reached_graph == 0


def test_one_model_of_several(built: Fake) -> None:
    built.model("a", 3)
    result = built.build()
    assert result.ran() == OF_A
    assert result.done.reached_graph == 12  # the other model never got to doit
    why = {t.task: t.why for t in result.tasks}
    assert why["lower:a"] == ("models/a.keras changed",)
    assert why["convert:a:int8"] == ("lowered.pb of lower:a changed",)
    nothing(built.build())


def test_reexport_ends_after_lower_and_reference(built: Fake) -> None:
    built.model("a", 1, note="exported again")
    assert built.build().ran() == ["lower:a", "reference:a"]
    nothing(built.build())


def test_going_back_restores(built: Fake) -> None:
    before = built.dist()
    built.model("a", 3)
    built.build()
    built.model("a", 1)
    result = built.build()
    assert {t.outcome for t in result.tasks} == {"restored", "ran"}
    assert result.ran() == ["release:a:float32@litert", "release:a:int8@litert"]
    assert built.dist() == before


def test_forced_convert_with_equal_bytes(built: Fake) -> None:
    before = built.dist()
    assert built.build("convert:a:int8", force=True).ran() == ["convert:a:int8"]
    nothing(built.build())
    assert built.dist() == before


def test_forced_build(built: Fake) -> None:
    before = built.dist()
    assert built.build("a", force=True).ran() == OF_A
    assert built.dist() == before


def test_old_mtime_over_new_content(built: Fake) -> None:
    path = built.root / "models/a.keras"
    old = path.stat()
    path.write_text(path.read_text().replace("1", "7"))
    os.utime(path, ns=(old.st_atime_ns, old.st_mtime_ns))
    assert path.stat().st_size == old.st_size
    assert built.build().ran() == OF_A


def test_old_mtime_over_new_content_put_in_place(built: Fake) -> None:
    path = built.root / "models/a.keras"
    old = path.stat()
    other = built.root / "other"
    other.write_text(path.read_text().replace("1", "7"))
    os.utime(other, ns=(old.st_atime_ns, old.st_mtime_ns))
    other.replace(path)
    assert built.build().ran() == OF_A


@pytest.mark.parametrize("edit", ["delete", "edit", "edit, same size and mtime"])
def test_dist_is_mended(built: Fake, edit: str) -> None:
    before = built.dist()
    path = built.root / "dist/litert/a-int8.tflite"
    old, content = path.stat(), path.read_bytes()
    path.unlink()
    if edit != "delete":
        path.write_bytes(b"X" + content[1:] if "same" in edit else b"short")
        os.utime(path, ns=(old.st_atime_ns, old.st_mtime_ns))
    result = built.build()
    assert result.ok
    assert [(t.task, t.outcome) for t in result.tasks] == [("release:a:int8@litert", "restored")]
    assert built.dist() == before
    assert built.build().done.reached_graph == 0


@pytest.mark.parametrize(
    "name",
    [
        "dist/litert/index.json", "dist/litert/SHA256SUMS", "build/reports/summary.json",
        "build/reports/a/evaluate.json", "build/reports/a/int8/validate.json",
        "build/reports/a/int8@litert/compat.json",
    ],
)  # fmt: skip
@pytest.mark.parametrize("how", ["deleted", "edited"])
def test_reports_and_index_are_mended(built: Fake, name: str, how: str) -> None:
    path = built.root / name
    before = path.read_bytes()
    if how == "deleted":
        path.unlink()
    else:
        path.write_text("{}")
    nothing(built.build())
    assert path.read_bytes() == before
    assert built.build().done.reached_graph == 0


def test_all_of_build_and_dist_deleted(built: Fake) -> None:
    before = built.dist()
    reports = sorted(p for p in (built.root / "build/reports").rglob("*") if p.is_file())
    summary = built.summary()
    shutil.rmtree(built.root / "dist")
    shutil.rmtree(built.root / "build")
    result = built.build()
    assert result.ran() == []
    assert result.done.counts.restored == 4
    assert built.dist() == before
    assert sorted(p for p in (built.root / "build/reports").rglob("*") if p.is_file()) == reports
    assert built.summary() == summary


def test_manifest_comments_and_order(built: Fake) -> None:
    models = MANIFEST.split("models:\n")[1].splitlines()
    text = MANIFEST.split("models:\n")[0].replace(
        "float32: {}, int8: {quantize: int8}", "int8: {quantize: int8}, float32: {}"
    )
    built.write(text + "models:  # said otherwise\n" + "\n".join(reversed(models)) + "\n")
    result = built.build()
    nothing(result)
    assert result.done.reached_graph == 0
    assert built.build().done.reached_graph == 0


def test_another_model_in_the_manifest(built: Fake) -> None:
    built.model("c", 5)
    built.write(MANIFEST + "  c: {source: {format: keras, path: models/c.keras}}\n")
    result = built.build()
    assert {name.split(":")[1] for name in result.ran()} == {"c"}
    assert result.done.reached_graph == 12
    assert len(built.index()) == 6


def test_an_optimization_setting(built: Fake) -> None:
    before = built.dist()
    built.write(MANIFEST.replace("{quantize: int8}", "{quantize: int8, io: int8}"))
    result = built.build()
    assert sorted({name.split(":")[0] for name in result.ran()}) == [
        "compat", "convert", "release", "validate",
    ]  # fmt: skip
    assert all(name.split(":")[2].startswith("int8") for name in result.ran())
    why = {t.task: t.why for t in result.tasks}
    assert why["convert:a:int8"] == ("params.io: float32 → int8",)
    assert built.dist()["litert/a-float32.tflite"] == before["litert/a-float32.tflite"]


def test_calibration_reaches_its_own_tasks_only(built: Fake) -> None:
    built.write(MANIFEST.replace("samples: 4", "samples: 5"))
    ran = built.build().ran()
    assert "convert:a:int8" in ran
    assert "convert:a:float32" not in ran
    assert "lower:a" not in ran


def test_a_package_is_upgraded(
    built: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site"

    def install(version: str) -> None:
        shutil.rmtree(site, ignore_errors=True)
        info = site / f"h5py-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: h5py\nVersion: {version}\n")
        (info / "RECORD").write_text("h5py/__init__.py,,\n")
        (info / "WHEEL").write_text("Wheel-Version: 1.0\nTag: py3-none-any\n")

    install("0.1")  # an older one too: the first on the path is what workers import
    monkeypatch.syspath_prepend(str(site))
    first = built.build()
    assert "lower:a" in first.ran()
    assert "convert:a:int8" not in first.ran()  # converts do not use it, and lower gave the same
    why = {t.task: t.why for t in first.tasks}["lower:a"]
    assert len(why) == 1
    assert why[0].startswith("toolchain.h5py: ")
    assert why[0].endswith("→ 0.1 py3-none-any")
    assert built.build().done.reached_graph == 0
    install("0.2")
    second = built.build()
    assert second.ran() == ["lower:a", "lower:b", "reference:a", "reference:b"]
    nothing(built.build())


def test_another_processor(built: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing(built.build())
    with monkeypatch.context() as other:
        other.setattr(record, "processor", lambda: "another name, the same kernels")
        result = built.build()
        assert result.done.reached_graph > 0  # it is noticed, and the keys are the same
        assert result.ran() == []
        nothing(built.build())
        other.setattr(record, "processor", lambda: "other kernels")
        other.setattr(toolchain, "cpu_class", lambda: "other")
        ran = built.build().ran()
        assert "validate:a:int8" in ran
        assert not any(task.startswith(("convert:", "lower:")) for task in ran)


def test_the_first_processor_is_the_one_that_counts(tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"

    def said(text: str) -> str:
        info.write_text(text)
        return record.processor(str(info))

    one = said(
        "processor\t: 0\nmodel name\t: A\ncpu MHz\t: 1\nflags\t\t: fma avx2\n\nprocessor\t: 1\n"
    )
    assert one == said("processor: 0\nmodel name: A\ncpu MHz: 2\nflags: fma avx2\n\nflags: more\n")
    assert one != said("model name: B\nflags: fma avx2\n")
    assert one != said("model name: A\nflags: fma\n")
    assert said("CPU part: 0xd0c\nFeatures: asimd\n") not in ("", one)
    assert said("serial: 1\n") == record.processor(str(tmp_path / "missing")) == ""


def test_new_file_in_a_saved_model(empty: Fake) -> None:
    manifest = MANIFEST.replace("keras, path: models/a.keras", "saved_model, path: models/a")
    empty.write(manifest, {"models/a/saved_model.pb": json.dumps({"value": 1})})
    empty.model("b", 2)
    assert empty.build().ok
    nothing(empty.build())
    empty.write(files={"models/a/assets/words.txt": "one two"})
    result = empty.build()
    assert result.ran() == ["lower:a", "reference:a"]
    assert result.tasks[0].why == ("new input models/a/assets/words.txt",)
    (empty.root / "models/a/assets/words.txt").unlink()
    assert empty.build().ran() == []  # both are known
    nothing(empty.build())


def test_another_manifest_of_the_same_folder(built: Fake) -> None:
    """The record of one manifest says nothing about another one."""
    import tflbuild

    built.write(
        files={"other.yaml": MANIFEST.replace("  b:", "  c:").replace("b.keras", "a.keras")}
    )
    result = tflbuild.build(built.root / "other.yaml", pool=built.pool)
    assert "lower:c" in [t.task for t in result.tasks]


def test_selected_build_leaves_the_others(built: Fake) -> None:
    built.model("a", 3)
    built.model("b", 4)
    assert {name.split(":")[1] for name in built.build("b").ran()} == {"b"}
    assert {name.split(":")[1] for name in built.build().ran()} == {"a"}
    assert built.build().done.reached_graph == 0


def test_a_model_leaves(built: Fake) -> None:
    (built.root / "dist/litert/NOTES.txt").write_text("mine")
    built.write(MANIFEST.split("  b:")[0])
    notes: list[str] = []
    result = built.build(listen=lambda e: notes.append(getattr(e, "message", "")))
    assert result.ok
    assert built.index() == ["a-float32.tflite", "a-int8.tflite"]
    assert sorted(built.dist()) == [
        "litert/NOTES.txt", "litert/SHA256SUMS", "litert/a-float32.tflite",
        "litert/a-int8.tflite", "litert/index.json",
    ]  # fmt: skip
    assert sum("b-int8.tflite is no longer in the manifest: removed" in n for n in notes) == 1
    assert sorted(built.summary()) == ["a:float32@litert", "a:int8@litert"]
    assert built.build().done.reached_graph == 0
    built.write(MANIFEST)  # and comes back, from the store
    result = built.build()
    assert result.ran() == ["release:b:float32@litert", "release:b:int8@litert"]
    assert all(t.why for t in result.tasks)
    assert len(built.index()) == 4


def test_a_model_leaves_whose_file_was_edited(built: Fake) -> None:
    (built.root / "dist/litert/b-int8.tflite").write_text("edited by hand")
    built.write(MANIFEST.split("  b:")[0])
    notes: list[str] = []
    built.build(listen=lambda e: notes.append(getattr(e, "message", "")))
    assert built.dist()["litert/b-int8.tflite"] == b"edited by hand"
    assert any("b-int8.tflite" in n and "left as it is" in n for n in notes)
    assert built.index() == ["a-float32.tflite", "a-int8.tflite"]


def test_an_artifact_leaves_only_without_selectors(built: Fake) -> None:
    built.write(MANIFEST.replace(", int8: {quantize: int8}", ""))
    built.build("a")
    assert "litert/b-int8.tflite" in built.dist()
    built.build()
    assert built.index() == ["a-float32.tflite", "b-float32.tflite"]


def test_a_model_is_renamed(built: Fake) -> None:
    before = built.dist()
    built.write(MANIFEST.replace("  b:", "  renamed:"))
    result = built.build()
    assert result.ok
    assert {t.outcome for t in result.tasks if not t.task.startswith("release")} == {"restored"}
    after = built.dist()
    assert after["litert/renamed-int8.tflite"] == before["litert/b-int8.tflite"]
    assert "litert/b-int8.tflite" not in after
    assert len(built.index()) == 4


def test_dist_dir_is_changed(built: Fake) -> None:
    before = built.dist()
    (built.root / "dist/litert/NOTES.txt").write_text("mine")
    built.write(MANIFEST.replace("{name: fake}", "{name: fake, dist_dir: out/files}"))
    result = built.build()
    assert result.ok
    assert {t.task.split(":")[0] for t in result.tasks} == {"release"}
    assert all(t.why for t in result.tasks)
    moved = {
        p.relative_to(built.root / "out/files").as_posix(): p.read_bytes()
        for p in (built.root / "out/files").rglob("*")
        if p.is_file()
    }
    assert moved == before
    assert built.dist() == {"litert/NOTES.txt": b"mine"}
    assert len(built.index(dist="out/files")) == 4
    assert built.build().done.reached_graph == 0


def test_two_targets_of_one_runtime(fake: Fake) -> None:
    text = MANIFEST.replace(
        "defaults:\n", "targets: {phone: {runtime: litert, max_size: 8MB}}\ndefaults:\n"
    )
    fake.write(text.replace("{quantize: int8}", "{quantize: int8, targets: [litert, phone]}"))
    result = fake.build()
    assert result.ok
    # The two compat are one action: it may run once.
    of_int8 = sorted(t.task for t in result.tasks if t.task.partition(":")[2].startswith("a:int8"))
    assert of_int8 == [
        "compat:a:int8@litert", "compat:a:int8@phone", "convert:a:int8",
        "release:a:int8@litert", "release:a:int8@phone", "validate:a:int8",
    ]  # fmt: skip
    dist = fake.dist()
    assert dist["phone/a-int8.tflite"] == dist["litert/a-int8.tflite"]
    assert fake.index("phone") == ["a-int8.tflite", "b-int8.tflite"]
    # A whole target leaves: its folder, too.
    fake.write(MANIFEST)
    assert fake.build().ok
    assert not (fake.root / "dist/phone").exists()


def test_released_are_never_hard_links(built: Fake) -> None:
    for path in (built.root / "dist/litert").glob("*.tflite"):
        assert path.stat().st_nlink == 1
        path.write_bytes(b"edited in place")
    result = built.build()
    assert result.ran() == []
    assert len(built.index()) == 4


# what changes while a build goes on is seen by the next one


def when(task: str, do: Callable[[], Any]) -> Callable[[Event], None]:
    """A listener that does something when a task has ended."""

    def listen(event: Event) -> None:
        if isinstance(event, TaskDone) and event.task == task:
            do()

    return listen


@pytest.mark.parametrize("how", ["edited", "deleted"])
def test_a_released_file_changes_during_the_build(fake: Fake, how: str) -> None:
    path = fake.root / "dist/litert/a-int8.tflite"
    do = path.unlink if how == "deleted" else lambda: path.write_text("edited")
    assert fake.build(listen=when("release:a:int8@litert", do)).ok
    assert fake.index() == ["a-float32.tflite", "b-float32.tflite", "b-int8.tflite"]
    result = fake.build()
    assert [(t.task, t.outcome) for t in result.tasks] == [("release:a:int8@litert", "restored")]
    assert len(fake.index()) == 4
    assert fake.build().done.reached_graph == 0


def test_a_report_goes_during_the_build(fake: Fake) -> None:
    path = fake.root / "build/reports/a/evaluate.json"
    fake.build(listen=when("convert:a:int8", path.unlink))
    nothing(fake.build())
    assert path.is_file()


def test_a_manifest_changes_during_the_build(fake: Fake) -> None:
    without = MANIFEST.split("  b:")[0]
    assert fake.build(listen=when("lower:a", lambda: fake.write(without))).ok
    assert len(fake.index()) == 4
    assert fake.build().ok
    assert len(fake.index()) == 2


def test_a_package_changes_during_the_build(
    fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "site/h5py-0.1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Name: h5py\nVersion: 0.1\n")
    (info / "RECORD").write_text("h5py/__init__.py,,\n")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))

    def upgrade() -> None:
        (info / "METADATA").write_text("Name: h5py\nVersion: 0.2\n")
        info.rename(info.with_name("h5py-0.2.dist-info"))

    assert fake.build(listen=when("convert:a:int8", upgrade)).ok
    assert fake.build().ran() == ["lower:a", "lower:b", "reference:a", "reference:b"]


def test_a_stale_file_that_was_edited_is_not_in_the_index(built: Fake) -> None:
    path = built.root / "dist/litert/b-float32.tflite"
    path.write_text("edited")
    built.model("b", 2, do={"sqnr": 1})
    assert built.build(keep_going=True).exit_code == 1
    assert path.read_text() == "edited"
    assert built.index() == ["a-float32.tflite", "a-int8.tflite", "b-int8.tflite"]


def test_unimportable_tensorflow(fake: Fake, tmp_path: Path) -> None:
    (tmp_path / "broken/tensorflow").mkdir(parents=True)
    (tmp_path / "broken/tensorflow/__init__.py").write_text("raise ImportError('not here')")
    assert fake.run().code == 0
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "broken")}
    for reached in (24, 0):  # another module path: by digests; then by the record
        run = fake.run(env=environment)
        assert run.code == 0, run.err
        assert run.done["ran"] == 0
        assert run.done["reached_graph"] == reached
