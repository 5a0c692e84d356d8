"""Stands in for `tflbuild.micro` where that is not there."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType


def c_array(data: bytes, name: str) -> dict[str, str]:
    return {f"{name}.h": f"// {name}\n", f"{name}.cc": f"// {data.hex()[:64]} {len(data)}\n"}


def resolver_header(ops: Sequence[str], name: str) -> str:
    return "".join(f"Add{op}();\n" for op in ops)


def install() -> None:
    if "tflbuild.micro" in sys.modules or find_spec("tflbuild.micro") is not None:
        return
    package = ModuleType("tflbuild.micro")
    for function in (c_array, resolver_header):
        name = function.__name__.removesuffix("_header")
        module = ModuleType(f"tflbuild.micro.{name}")
        module.__spec__ = ModuleSpec(module.__name__, None)
        setattr(module, function.__name__, function)
        setattr(package, name, module)
        sys.modules[module.__name__] = module
    sys.modules[package.__name__] = package


install()
