"""reference, for sources that another framework than TensorFlow runs (`Signature.run`)."""

from __future__ import annotations

from tflbuild.limits import limit_action
from tflbuild.sources import tflite
from tflbuild.stages import reference
from tflbuild.stages.base import Request

VERSION = reference.VERSION
MODULES: tuple[str, ...] = ("numpy",)
ZYGOTE = "lite"


def run(request: Request) -> None:
    if request.params["source"]["format"] == tflite.NAME:
        limit_action(request.inputs.values())
    reference.run(request)
