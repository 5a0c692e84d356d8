"""Builds of a file with a large test set: killed in the middle, they go on; any number of
processes gives the same."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as s
from tflite_models import Maker
from workspace_folder import WorkspaceFolder

OP = s.BuiltinOperator
SAMPLES = 60_000
MANIFEST = """
version: 1
models:
  m:
    source: {format: tflite, path: m.tflite}
    data: {test: {npz: test.npz, labels: labels}}
    optimizations: {same: {}}
    targets: [litert]
    validate: {metrics: {accuracy: {min: 0.01}}, parity: {top_k: {k: 3, min: 0.5}}}
"""
TASKS = ["reference:m", "validate:m:same"]


def network(width: int = 64, layers: int = 4) -> bytes:
    maker = Maker()
    graph = maker.graph()
    first = at = graph.tensor("x", (1, width))
    random = np.random.default_rng(0)
    for layer in range(layers):
        weights = graph.tensor(
            f"w{layer}", (width, width), data=random.normal(0, 0.2, (width, width))
        )
        to = graph.tensor(f"y{layer}", (1, width))
        graph.op(OP.FULLY_CONNECTED, [at, weights, -1], [to], s.FullyConnectedOptionsT())
        at = to
    graph.io([first], [at])
    maker.signature("serve", {"x": first}, {"y": at})
    return maker.pack()


@pytest.fixture(scope="module")
def files() -> dict[str, Any]:
    random = np.random.default_rng(1)
    return {
        "m.tflite": network(),
        "test.npz": {
            "x": random.normal(0, 1, (SAMPLES, 64)).astype(np.float32),
            "labels": random.integers(0, 64, SAMPLES),
        },
    }


def start(root: Path, *more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tflbuild", "build", "-C", str(root), "--format", "json", *more],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def evidence(root: Path, task: str) -> list[str]:
    """Finished chunks in the progress folder of a task."""
    found: list[str] = []
    for folder in (root / ".tflbuild/progress").glob("*"):
        try:
            if (folder / "task").read_text() == task:
                found += [p.name for p in folder.glob("*/*-*") if p.suffix != ".tmp"]
        except OSError:
            continue
    return found


def workers_of(root: Path) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and os.readlink(entry / "cwd").startswith(f"{root}/"):
                found.append(entry.name)
        except OSError:
            continue
    return found


def measured(root: Path) -> str:
    return (root / "build/reports/m/same/validate.json").read_text()


def test_killed_in_the_middle_it_goes_on(
    workspace: WorkspaceFolder, tmp_path: Path, files: dict[str, Any]
) -> None:
    whole = WorkspaceFolder(tmp_path / "whole", workspace.pool)
    whole.write(MANIFEST, files)
    assert whole.build(jobs=1).ok
    root = workspace.write(MANIFEST, files)
    went_on = {}
    for task in TASKS:
        process = start(root, "-j", "2")
        until = time.monotonic() + 120
        while len(evidence(root, task)) < 3:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < until
            time.sleep(0.001)
        process.kill()
        process.communicate()
        while workers_of(root):  # those of the action, too
            assert time.monotonic() < until
            time.sleep(0.01)
        went_on[task] = len(evidence(root, task))
    # Since then nothing was run again: what the logs say is what was there.
    process = start(root, "-j", "2")
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    ran = [e["task"] for e in map(json.loads, out.splitlines()) if e.get("outcome") == "ran"]
    assert "validate:m:same" in ran
    assert "reference:m" not in ran  # it went on, and was done, in the second build
    (said,) = re.findall(
        rf"(\d+) of {SAMPLES} samples are done already",
        (root / "build/logs/validate:m:same.log").read_text(),
    )
    assert int(said) == 256 * went_on["validate:m:same"]
    assert measured(root) == measured(whole.root)
    assert not (root / ".tflbuild/progress").exists()


def test_any_number_of_processes_gives_the_same(
    workspace: WorkspaceFolder, tmp_path: Path, files: dict[str, Any]
) -> None:
    some = {name: content for name, content in files.items() if name != "test.npz"}
    some["test.npz"] = {name: array[:4000] for name, array in files["test.npz"].items()}
    found = []
    for jobs in (1, 2, 3):
        each = WorkspaceFolder(tmp_path / str(jobs), workspace.pool)
        each.write(MANIFEST, some)
        assert each.build(jobs=jobs).ok
        found.append(measured(each.root))
    assert len(set(found)) == 1
    told = json.loads(found[0])["measured"]
    assert told["signatures"][0]["resumable"]
    assert told["parity"][0]["equal"]
    assert told["parity"][0]["top_k"] == [{"k": 3, "agreement": 1.0, "samples": 4000, "tied": 0}]
    assert (told["parity"][0]["float"], told["baseline"]) == (None, None)


def test_samples_of_a_choice_are_named_by_their_place_in_the_file(
    workspace: WorkspaceFolder, files: dict[str, Any]
) -> None:
    """The int8 weights of a second optimization differ a little everywhere."""
    manifest = MANIFEST.replace("labels: labels", "labels: labels, samples: 600, seed: 4").replace(
        "same: {}", "same: {}, less: {quantize: weight_only, quantizer: ai-edge}"
    )
    workspace.write(manifest, files)
    result = workspace.build(keep_going=True)
    assert "baseline:m" in result.ran(), [task.reason for task in result.tasks]
    told = workspace.report("m/less/validate.json")["measured"]
    assert told["baseline"] == ""
    (output,) = told["parity"]
    assert output["float"]["sqnr"] is None  # the float file is the source
    assert output["quantization"]["sqnr"] == pytest.approx(output["sqnr"], rel=1e-12)
    worst = output["worst_samples"]
    assert len(worst) == 5
    x = files["test.npz"]["x"]
    for one in worst:
        assert 0 <= one["sample"] < 600
        assert one["in_file"] > one["sample"]
    assert len({one["in_file"] for one in worst}) == 5
    assert max(one["in_file"] for one in worst) < len(x)
    (metric,) = told["metrics"]
    assert metric["float"] == metric["source"]
