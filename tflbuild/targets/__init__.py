"""Built-in runtimes: one module each, registered in one literal table."""

from __future__ import annotations

from tflbuild.targets import litert
from tflbuild.targets.base import Runtime

RUNTIMES: dict[str, Runtime] = {
    litert.NAME: litert,
}
