"""The types of this folder's fixtures (`conftest` is a name that other folders have too)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tflbuild.manifest.model import Workspace

Write = Callable[..., Path]
Load = Callable[..., Workspace]
