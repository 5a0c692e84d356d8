"""What every test may use: workers that outlive a build, and a workspace on disk."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from workspace_folder import WorkspaceFolder

from tflbuild.engine.zygote import ZygotePool

sys.path.append(str(Path(__file__).resolve().parent / "engine"))
from fake_build import FakePool
from fake_workspace import MANIFEST, Fake


@pytest.fixture(scope="session")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ZygotePool]:
    """Workers for all builds of the session: TensorFlow is imported once, when first needed."""
    made = ZygotePool(tmp_path_factory.mktemp("pool"))
    yield made
    made.close()


@pytest.fixture
def workspace(tmp_path: Path, pool: ZygotePool) -> WorkspaceFolder:
    """An empty workspace folder."""
    root = tmp_path / "workspace"
    root.mkdir()
    return WorkspaceFolder(root, pool)


@pytest.fixture(scope="session")
def fake_pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakePool]:
    """Workers whose stages take milliseconds."""
    made = FakePool(tmp_path_factory.mktemp("fake-pool"))
    yield made
    made.close()


@pytest.fixture
def empty(tmp_path: Path, fake_pool: FakePool) -> Fake:
    """A workspace folder for such stages, without a manifest."""
    root = tmp_path / "workspace"
    root.mkdir()
    return Fake(root, fake_pool)


@pytest.fixture
def fake(empty: Fake) -> Fake:
    """Two models, two optimizations, one target."""
    empty.write(MANIFEST)
    empty.model("a", 1)
    empty.model("b", 2)
    return empty
