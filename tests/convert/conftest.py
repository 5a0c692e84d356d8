"""The models, one build of all that convert, and both routes for each: made once a session."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from child_script import script
from convert_catalog import CATALOG, MLPERF, manifest, mlperf_manifest
from workspace_folder import WorkspaceFolder

import tflbuild
from tflbuild.engine.zygote import ZygotePool
from tflbuild.graph import lowering_inputs


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of models."""
    folder = tmp_path_factory.mktemp("models")
    script("make_models.py", folder)
    return folder


@pytest.fixture(scope="session")
def built(
    models: Path, pool: ZygotePool, tmp_path_factory: pytest.TempPathFactory
) -> WorkspaceFolder:
    """A workspace in which every model of the catalog was built in float32."""
    folder = WorkspaceFolder(tmp_path_factory.mktemp("built"), pool)
    folder.write(manifest(CATALOG), {"models": models})
    result = folder.build(keep_going=True)
    failures = [(t.task, t.reason) for t in result.tasks if t.outcome == "failed"]
    failures += [(n, f.message) for n, v in result.gates.items() for f in v.failures]
    assert not failures
    assert result.ok
    return folder


@pytest.fixture(scope="session")
def routes(models: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `routes.py` found, by model; None for a child that died."""
    folder = tmp_path_factory.mktemp("routes")
    cases: dict[str, Any] = {}
    roots = [(models, manifest(CATALOG).replace("models/", "./"))]
    if MLPERF.is_dir():
        roots.append((MLPERF, mlperf_manifest()))
    for index, (root, text) in enumerate(roots):
        place = folder / f"w{index}"
        place.mkdir()
        (place / "tflbuild.yaml").write_text(text)
        for path in root.iterdir():  # only to be looked at: `routes.py` reads the originals
            stub = place / path.name / "saved_model.pb" if path.is_dir() else place / path.name
            stub.parent.mkdir(exist_ok=True)
            stub.touch()
        for model in tflbuild.load(place).models:
            case = CATALOG.get(model.name)
            cases[model.name] = {
                "source": str(root / model.source.path),
                "params": dict(lowering_inputs(place, model).params),
                "inputs": case.feed if case else {},
                "quantize": model.optimizations[0].quantize,
                "more": ["as_saved"] if model.name == "digits_trap" else [],
            }
    (folder / "cases.json").write_text(json.dumps(cases))
    out = folder / "out"
    out.mkdir()
    script("routes.py", folder / "cases.json", out, seed="7")
    found = {name: out / f"{name}.json" for name in cases}
    return {n: json.loads(p.read_text()) if p.exists() else None for n, p in found.items()}
