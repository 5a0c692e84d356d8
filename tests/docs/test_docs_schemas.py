"""The schemas of reports and events describe what builds really write: no more, no less."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from workspace_folder import WorkspaceFolder

from tflbuild import cli, schemas
from tflbuild.engine.events import BuildStarted, Event, Note, TaskStarted

REPOSITORY = Path(__file__).resolve().parents[2]
REPORTS = (
    "benchmark", "compat", "debug", "diff", "evaluate", "events", "index", "inspect", "lock", "ops",
    "plan", "summary", "validate",
)  # fmt: skip
MANIFEST = """
version: 1
models:
  digits:
    source: {format: keras, path: examples/digits/models/digits.h5}
    data:
      calibration: {npz: examples/digits/data/calibration.npz, samples: 20}
      test: {npz: examples/digits/data/test.npz, labels: labels, samples: 40}
    optimizations: {float32: {}, int8: {quantize: int8, io: int8}}
    validate:
      parity: {sqnr: 20}
      metrics: {accuracy: {min: 0.9}}
"""


def closed(part: Any) -> Any:
    """The same schema, allowing only the keys that it names."""
    if isinstance(part, list):
        return [closed(item) for item in part]
    if not isinstance(part, dict):
        return part
    result = {key: closed(value) for key, value in part.items()}
    if part.get("type") in ("object", ["object", "null"]) and "properties" in part:
        result["additionalProperties"] = False
    return result


def problems(name: str, value: Any) -> list[str]:
    validator = Draft202012Validator(closed(json.loads(schemas.text(name))))
    return [f"{e.json_path}: {e.message}" for e in validator.iter_errors(value)]


def test_all_are_there() -> None:
    assert schemas.names() == sorted((*REPORTS, "tflbuild"))


def test_that_of_inspect_says_of_a_file_what_that_of_compat_says() -> None:
    script = REPOSITORY / "docs/make_inspect_schema.py"
    done = subprocess.run([sys.executable, str(script), "--check"], check=False)
    assert done.returncode == 0, "run `python docs/make_inspect_schema.py`"


@pytest.mark.parametrize("name", schemas.names())
def test_is_a_valid_schema_of_2020_12(name: str) -> None:
    schema = json.loads(schemas.text(name))

    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"].endswith(f"/{name}.schema.json")
    assert schema["title"]
    assert schema["description"]
    Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("name", REPORTS)
def test_refuses_what_is_something_else(name: str) -> None:
    validator = Draft202012Validator(json.loads(schemas.text(name)))

    assert not validator.is_valid({})
    assert not validator.is_valid([])


def lines(events: list[Event]) -> list[Any]:
    return [
        event.as_json() for event in events if not isinstance(event, (BuildStarted, TaskStarted))
    ]


@pytest.mark.convert
def test_files_and_events_of_real_builds(
    workspace: WorkspaceFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["models/digits.h5", "data/calibration.npz", "data/test.npz"]
    files = [f"examples/digits/{name}" for name in names]
    workspace.write(MANIFEST, {name: REPOSITORY / name for name in files})

    def plan() -> Any:
        assert cli.run(["-C", str(workspace.root), "plan", "--format", "json"]) == 0
        return json.loads(capsys.readouterr().out)

    events: list[Event] = [Note("told to nobody in particular")]
    plans = [plan()]
    assert workspace.build(listen=events.append).exit_code == 0
    reports = {
        "evaluate": ["digits/evaluate.json"],
        "validate": ["digits/float32/validate.json", "digits/int8/validate.json"],
        "compat": ["digits/float32@litert/compat.json", "digits/int8@litert/compat.json"],
        "summary": ["summary.json"],
    }
    for schema, paths in reports.items():
        for path in paths:
            assert problems(schema, workspace.report(path)) == [], path
    index = json.loads(workspace.dist()["litert/index.json"])
    assert problems("index", index) == []
    assert len(index["artifacts"]) == 2
    assert workspace.build(listen=events.append).exit_code == 0  # nothing to do

    plans.append(plan())
    workspace.write(MANIFEST.replace("sqnr: 20", "sqnr: 300"))
    plans.append(plan())
    assert workspace.build(keep_going=True, listen=events.append).exit_code == 1  # gates fail
    workspace.write(files={files[0]: b"no model"})
    plans.append(plan())
    assert workspace.build(keep_going=True, listen=events.append).exit_code == 1  # tasks fail

    for made in plans:
        assert problems("plan", made) == []
    for line in lines(events):
        assert problems("events", line) == []
    for path in ("summary.json", "digits/int8/validate.json"):
        assert problems(path.split("/")[-1].split(".")[0], workspace.report(path)) == []
    seen = {(line["event"], line.get("outcome")) for line in lines(events)}
    assert seen >= {
        *(("task", outcome) for outcome in ("ran", "failed", "skipped")),
        *((event, None) for event in ("gate", "note", "build")),
    }
    assert {task["action"] for made in plans for task in made["tasks"]} >= {
        "run", "up-to-date", "depends",
    }  # fmt: skip
