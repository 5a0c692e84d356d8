"""Workspaces whose stages take milliseconds: those of tests/engine."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "engine"))
from fake_build import FakePool
from fake_workspace import MANIFEST, Fake


@pytest.fixture(scope="session")
def fake_pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakePool]:
    made = FakePool(tmp_path_factory.mktemp("fake-pool"))
    yield made
    made.close()


@pytest.fixture
def fake(tmp_path: Path, fake_pool: FakePool) -> Fake:
    """Two models, two optimizations, one target: 22 tasks."""
    root = tmp_path / "workspace"
    root.mkdir()
    made = Fake(root, fake_pool)
    made.write(MANIFEST)
    made.model("a", 1)
    made.model("b", 2)
    return made
