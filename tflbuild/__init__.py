"""tflbuild: make for on-device models.

`load` reads a workspace, `build` builds it, `tasks` gives its models to doit; all are imported
late, so that `import tflbuild` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["BuildResult", "TflbuildError", "__version__", "build", "load", "tasks"]

if TYPE_CHECKING:
    from tflbuild.api import BuildResult, build, load
    from tflbuild.doit_tasks import tasks
    from tflbuild.errors import TflbuildError


def __getattr__(name: str) -> Any:
    if name in ("BuildResult", "build", "load"):
        from tflbuild import api

        return getattr(api, name)
    if name == "tasks":
        from tflbuild.doit_tasks import tasks

        return tasks
    if name == "TflbuildError":
        from tflbuild.errors import TflbuildError

        return TflbuildError
    raise AttributeError(f"module 'tflbuild' has no attribute {name!r}")
