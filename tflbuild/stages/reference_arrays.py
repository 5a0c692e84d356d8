"""reference, for sources that another framework than TensorFlow runs (`Signature.run`)."""

from __future__ import annotations

from tflbuild.stages import reference
from tflbuild.stages.base import Request

VERSION = reference.VERSION
MODULES: tuple[str, ...] = ("numpy",)
ZYGOTE = "lite"


def run(request: Request) -> None:
    reference.run(request)
