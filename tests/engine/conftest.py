"""Workspaces whose stages take milliseconds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_build import FakePool
from fake_workspace import MANIFEST, Fake


@pytest.fixture(scope="session")
def fake_pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakePool]:
    made = FakePool(tmp_path_factory.mktemp("fake-pool"))
    yield made
    made.close()


@pytest.fixture
def empty(tmp_path: Path, fake_pool: FakePool) -> Fake:
    root = tmp_path / "workspace"
    root.mkdir()
    return Fake(root, fake_pool)


@pytest.fixture
def fake(empty: Fake) -> Fake:
    """Two models, two optimizations, one target: 14 tasks."""
    empty.write(MANIFEST)
    empty.model("a", 1)
    empty.model("b", 2)
    return empty
