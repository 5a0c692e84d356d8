"""The literal table of delegates; each is a module with one object of the Protocol in `base.py`."""

from __future__ import annotations

from typing import Any

from tflbuild.tflite.read import TfliteModel

from .base import Delegate
from .coverage import of_file
from .gpu import GPU
from .xnnpack import XNNPACK, observed

__all__ = ["DELEGATES", "measure"]

DELEGATES: dict[str, Delegate] = {"gpu": GPU, "xnnpack": XNNPACK}


def measure(model: TfliteModel, data: bytes, *, observe: bool = False) -> dict[str, Any]:
    """The coverage by every delegate, by name, as `of_file` gives it.

    Args:
        model: what `read_model` gave.
        data: the file.
        observe: ask the interpreter too, where it can tell (XNNPACK). It loads the file twice:
            only in a child.
    """
    seen = {"xnnpack": observed(data, model)} if observe else {}
    return {
        name: of_file(model, delegate, data, seen.get(name)) for name, delegate in DELEGATES.items()
    }
