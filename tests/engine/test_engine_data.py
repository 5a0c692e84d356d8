"""Tasks that make arrays of records and images: when they run, and what follows. The stage is the
real one, those around it are fakes."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from data_files import example, records
from fake_workspace import Fake
from PIL import Image

from tflbuild.cli import run
from tflbuild.datasets.crc32c import masked
from tflbuild.errors import UsageError
from tflbuild.graph import build_graph, still_listed
from tflbuild.manifest.load import load_workspace
from tflbuild.manifest.model import Workspace
from tflbuild.selectors import select
from tflbuild.step import Step

MANIFEST = """
version: 1
project: {name: fake}
models:
  a:
    source: {format: keras, path: models/a.keras}
    data:
      calibration: {tfrecord: {files: data/*.rec, features: {x: {shape: [2]}}}}
      test: {images: {folder: pics}, samples: 3, seed: 1, labels: folders}
    optimizations: {float32: {}, int8: {quantize: int8}}
"""


def samples(*values: float) -> list[bytes]:
    return [example({"x": [float(value), 1.0]}) for value in values]


def picture(fake: Fake, name: str, shade: int) -> Path:
    path = fake.root / "pics" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((2, 2, 3), shade, np.uint8)).save(path)
    return path


@pytest.fixture
def made(empty: Fake) -> Fake:
    empty.write(MANIFEST, {"data/1.rec": records(samples(1, 2)), "data/2.rec": records(samples(3))})
    empty.model("a", 1)
    for index in range(8):
        picture(empty, f"{'cat' if index % 2 else 'dog'}/{index}.png", index)
    return empty


@pytest.fixture
def built(made: Fake) -> Fake:
    result = made.build()
    assert result.ok, [task.reason for task in result.tasks]
    assert result.done.counts.ran == 14
    return made


def steps(fake: Fake) -> dict[str, Step]:
    workspace = load(fake)
    return dict(build_graph(workspace, workspace.models).steps)


def load(fake: Fake) -> Workspace:
    return load_workspace(fake.root / "tflbuild.yaml", fake.root)


def ran(fake: Fake) -> list[str]:
    result = fake.build()
    assert result.ok, [task.reason for task in result.tasks]
    assert result.done.counts.restored == 0
    return result.ran()


def test_tasks_ports_and_keys(made: Fake) -> None:
    graph = steps(made)
    calibration, test = graph["data:a:calibration"], graph["data:a:test"]
    assert dict(calibration.files) == {"record/data/1.rec": "data/1.rec",
                                       "record/data/2.rec": "data/2.rec"}  # fmt: skip
    assert calibration.folders == ("data",)
    assert len(test.files) == 3  # only what is chosen is hashed
    assert set(test.folders) == {"pics", "pics/cat", "pics/dog"}
    assert (calibration.modules, test.modules) == ((), ("PIL",))  # beyond the stage's own
    assert test.params["classes"] == ["cat", "dog"]
    assert json.loads(json.dumps(test.params)) == test.params
    reads = {
        step.name: {port.prefix: port.task for port in step.ports if port.task.startswith("data:")}
        for step in graph.values()
    }
    assert {name: found for name, found in reads.items() if found} == {
        "reference:a": {"test.0.": "data:a:test"},
        "baseline:a": {"test.0.": "data:a:test"},
        "convert:a:int8": {"calibration.0.": "data:a:calibration"},
        "validate:a:float32": {"test.0.": "data:a:test"},
        "validate:a:int8": {"test.0.": "data:a:test"},
    }
    assert graph["convert:a:int8"].params["calibration"] == [{"kind": "arrays", "labels": False}]
    assert graph["reference:a"].params["test"] == [{"kind": "arrays", "labels": True}]
    assert list(graph["reference:a"].files) == ["source/model.keras"]


def test_no_task_more_than_is_read(made: Fake) -> None:
    """Calibration data that comes from `defaults` serves the models that quantize."""
    data = MANIFEST.split("    data:\n")[1].split("    optimizations")[0]
    head = f"version: 1\ndefaults:\n  data:\n{data}models:\n  a:\n    source: {{format: keras,"
    head += " path: models/a.keras}\n"
    made.write(head + "    optimizations: {float32: {}}\n")
    assert [name for name in steps(made) if name.startswith("data:")] == ["data:a:test"]
    made.write(head + "    optimizations: {float32: {}}\n    data: {test: null}\n")
    assert [name for name in steps(made) if name.startswith("data:")] == ["data:a:calibration"]
    made.write(head + "    optimizations: {float32: {}}\n    data: null\n")
    assert [name for name in steps(made) if name.startswith("data:")] == []


def test_calibration_data_serves_as_test_data(made: Fake) -> None:
    text = "      test: {images: {folder: pics}, samples: 3, seed: 1, labels: folders}\n"
    made.write(MANIFEST.replace(text, ""))
    graph = steps(made)
    (port,) = (p for p in graph["reference:a"].ports if p.task.startswith("data:"))
    assert (port.task, port.prefix) == ("data:a:calibration", "test.0.")
    assert graph["validate:a:int8"].params["signatures"][0]["data"] == "calibration"
    assert made.build().ok


def test_data_by_signature(made: Fake) -> None:
    made.write("""
version: 1
models:
  a:
    source: {format: saved_model, path: models/s, signatures: {one: {}, two: {}, t/x: {}}}
    data:
      test: {images: {folder: pics}}
      signatures:
        two: {test: {tfrecord: {files: data/1.rec, features: {x: {shape: [2]}}}}}
        t/x: {test: {random: {}}}
    optimizations: {float32: {}}
""", {"models/s/saved_model.pb": b""})  # fmt: skip
    graph = steps(made)
    found = {(p.prefix, p.task) for p in graph["reference:a"].ports}
    assert found == {("test.0.", "data:a:test"), ("test.1.", "data:a:two:test")}
    assert graph["data:a:two:test"].section == "data.signatures.two.test."
    assert select(load(made), ("data:a:two:test",), "release", made.root).named


def test_nothing_to_do_reaches_no_graph(built: Fake) -> None:
    result = built.build()
    assert (result.done.counts.ran, result.done.reached_graph) == (0, 0)
    assert result.done.counts.up_to_date == 14


def test_the_same_samples_in_other_files_convert_nothing(built: Fake) -> None:
    (built.root / "data/1.rec").write_bytes(records(samples(1, 2), "gzip"))
    assert ran(built) == ["data:a:calibration"]
    (built.root / "data/1.rec").write_bytes(records(samples(1)))
    (built.root / "data/2.rec").write_bytes(records(samples(2, 3)))
    assert ran(built) == ["data:a:calibration"]
    (built.root / "data/0.rec").write_bytes(records([]))  # one more file, no sample more
    assert ran(built) == ["data:a:calibration"]
    (built.root / "data/2.rec").touch()
    assert ran(built) == []


def test_another_sample_calibrates_anew(built: Fake) -> None:
    (built.root / "data/3.rec").write_bytes(records(samples(4)))
    assert ran(built) == ["convert:a:int8", "data:a:calibration"]  # the fake's file is the same


def test_images_that_come_and_go(built: Fake) -> None:
    chosen = steps(built)["data:a:test"].files
    names = sorted(path.name for path in (built.root / "pics").rglob("*.png"))
    other = next(n for n in names if not any(path.endswith(n) for path in chosen.values()))
    (found,) = (built.root / "pics").rglob(other)
    picture(built, f"{found.parent.name}/{other}", 99)  # was not chosen
    assert built.build().done.reached_graph == 0
    path = built.root / next(iter(chosen.values()))
    picture(built, f"{path.parent.name}/{path.name}", 99)
    tested = [
        "baseline:a", "data:a:test", "reference:a", "validate:a:float32", "validate:a:int8",
    ]  # fmt: skip
    assert ran(built) == tested
    path.unlink()
    assert ran(built) == tested
    # Any newcomer may be chosen; which are, a hash says.
    for index in range(40):
        picture(built, f"cat/new{index}.png", 100 + index)
        if steps(built)["data:a:test"].files != chosen:
            break
    assert "data:a:test" in ran(built)


def test_a_new_class_changes_labels(built: Fake) -> None:
    before = steps(built)["data:a:test"].params["classes"]
    (built.root / "pics/ape").mkdir()
    assert ran(built) == []  # empty
    picture(built, "ape/1.png", 5)
    assert steps(built)["data:a:test"].params["classes"] == ["ape", *before]
    assert "data:a:test" in ran(built)


def test_equal_data_of_two_models_is_made_once(made: Fake) -> None:
    text = MANIFEST + MANIFEST.split("models:\n")[1].replace("  a:\n", "  b:\n")
    made.write(text)
    result = made.build(jobs=1)
    assert result.ok
    outcomes = {task.task: task.outcome for task in result.tasks if task.task.startswith("data:")}
    assert sorted(outcomes.values()) == ["ran", "ran", "restored", "restored"]


def test_files_that_come_while_a_task_runs(built: Fake) -> None:
    graph = steps(built)
    both = [graph["data:a:calibration"], graph["data:a:test"]]
    root = built.root
    assert all(still_listed(root, step) for step in both)
    (root / "data/9.rec").write_bytes(records(samples(9)))
    assert [still_listed(root, step) for step in both] == [False, True]
    for path in (root / "pics").rglob("*.png"):
        path.unlink()
    assert [still_listed(root, step) for step in both] == [False, False]
    assert still_listed(root, graph["lower:a"])
    assert still_listed(root, graph["reference:a"])


def reasons(fake: Fake) -> dict[str, str]:
    result = fake.build(keep_going=True)
    assert result.exit_code == 1
    return {task.task: task.reason for task in result.tasks if task.outcome == "failed"}


def test_what_is_wrong_names_the_manifest_and_the_file(built: Fake) -> None:
    (built.root / "data/2.rec").write_bytes(records([example({"y": [1.0]})]))
    assert reasons(built) == {
        "data:a:calibration": "tflbuild.yaml:8:62: record 0 of data/2.rec has no feature 'x' (it"
        " has ['y'])"
    }
    (built.root / "data/2.rec").write_bytes(records(samples(3))[:-1])
    assert reasons(built)["data:a:calibration"].startswith("record 0 of data/2.rec is cut short")
    (built.root / "data/2.rec").write_bytes(records(samples(3)))
    chosen = next(iter(steps(built)["data:a:test"].files.values()))
    (built.root / chosen).write_bytes(b"")
    image = chosen.removeprefix("pics/")
    assert reasons(built)["data:a:test"].startswith(f"image {image} is no image that can be")


def test_a_hostile_record_is_one_line(built: Fake) -> None:
    head = struct.pack("<Q", 1 << 40)
    (built.root / "data/2.rec").write_bytes(head + struct.pack("<I", masked(head)) + b"x" * 50)
    assert "more than the file has left" in reasons(built)["data:a:calibration"]


def test_commands(built: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    def said(*line: str) -> str:
        assert run([line[0], "-C", str(built.root), *line[1:]]) == 0
        return capsys.readouterr().out

    assert said("plan", "data:a:test", "-v").startswith("up-to-date data:a:test")
    assert "data:a:calibration" in said("graph")
    edges = json.loads(said("graph", "--format", "json"))["edges"]
    assert {"from": "data:a:test", "to": "reference:a", "kind": "data"} in edges
    assert said("log", "data:a:test") == ""
    (built.root / "data/2.rec").write_bytes(records(samples(5)))
    planned = {t["task"]: t for t in json.loads(said("plan", "--format", "json"))["tasks"]}
    assert planned["data:a:calibration"]["why"] == ["data/2.rec changed"]
    assert planned["convert:a:int8"]["action"] == "depends"
    assert planned["validate:a:float32"]["action"] == "up-to-date"
    (built.root / "data/2.rec").unlink()
    assert "input data/2.rec is gone" in said("why", "data:a:calibration")
    assert ran(built) == ["convert:a:int8", "data:a:calibration"]
    answer = said("why", "convert:a:int8")
    assert "array.0.npy of data:a:calibration changed" in answer


def test_a_report_says_what_was_read(built: Fake) -> None:
    read = built.report("a/int8/validate.json")["data"]
    assert read["data:a:test"]["classes"] == ["cat", "dog"]
    assert read["data:a:test"]["images"] == read["data:a:test"]["samples"] == 3


@pytest.mark.parametrize("path", ["data/1.rec", "data", "pics", "pics/cat/1.png"])
def test_paths_select_who_reads_them(made: Fake, path: str) -> None:
    found = select(load(made), (path,), "release", made.root).tasks
    assert len(found) == 2
    with pytest.raises(UsageError, match="nothing matches"):
        select(load(made), ("data/other.rec",), "release", made.root)


def test_forced_data_runs_alone(built: Fake) -> None:
    result = built.build("data:a:test", force=True)
    assert result.ran() == ["data:a:test"]


def test_damaged_arrays_are_made_again(built: Fake) -> None:
    arrays = [p for p in (built.root / ".tflbuild/store").rglob("*") if p.is_file()
              and p.read_bytes()[:6] == b"\x93NUMPY"]  # fmt: skip
    assert arrays
    for path in arrays:
        path.chmod(0o644)
        path.write_bytes(b"damaged")
    built.model("a", 2)
    result = built.build()
    assert result.ok, [task.reason for task in result.tasks]
    assert {"data:a:calibration", "data:a:test"} <= set(result.ran())


def test_many_differences_are_counted(made: Fake) -> None:
    made.write(MANIFEST.replace("samples: 3, seed: 1, ", ""))
    assert made.build().ok
    for index in range(30):
        picture(made, f"cat/new{index}.png", index)
    (event,) = (task for task in made.build().tasks if task.task == "data:a:test")
    assert event.why[-1] == "10 more differences"
    assert len(event.why) == 21
