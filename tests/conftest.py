"""What every test may use: workers that outlive a build, and a workspace on disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from workspace_folder import WorkspaceFolder

from tflbuild.engine.zygote import ZygotePool


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
