"""tflbuild: make for on-device models.

`load` reads a workspace, `build` builds it; both are imported late, so that `import tflbuild`
costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["BuildResult", "TflbuildError", "__version__", "build", "load"]

if TYPE_CHECKING:
    from tflbuild.api import BuildResult, build, load
    from tflbuild.errors import TflbuildError


def __getattr__(name: str) -> Any:
    if name in ("BuildResult", "build", "load"):
        from tflbuild import api

        return getattr(api, name)
    if name == "TflbuildError":
        from tflbuild.errors import TflbuildError

        return TflbuildError
    raise AttributeError(f"module 'tflbuild' has no attribute {name!r}")
