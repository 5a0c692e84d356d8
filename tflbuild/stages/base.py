"""What every stage shares: the request that a child runs, and the errors that it may raise.

A stage is one module: `VERSION` (raise it when the meaning of its outputs changes), `MODULES`
(whose distributions are its toolchain), `ZYGOTE` (which zygote runs it) and `run(Request)`,
which reads its inputs and leaves its outputs, one file each, in `Request.out`. Heavy modules are
imported inside functions: the parent imports stages for their constants alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from tflbuild.errors import TaskError


@dataclass(frozen=True)
class Request:
    """One action in a child: parameters and files in, files out. `progress`: what
    `validation.running.Progress` is made of; `last`: interfaces of the last release, of validate
    alone, and for messages alone, since they are in no key."""

    params: Mapping[str, Any]
    inputs: Mapping[str, Path]
    out: Path
    retry: bool = False
    progress: Mapping[str, Any] = field(default_factory=dict)
    last: Sequence[Mapping[str, Any]] = ()

    def read_json(self, name: str) -> Any:
        return json.loads(self.inputs[name].read_text())

    def files(self, prefix: str) -> dict[str, Path]:
        """The inputs named `<prefix>.<name>`, by name."""
        start = prefix + "."
        return {n[len(start) :]: p for n, p in self.inputs.items() if n.startswith(start)}

    def write_json(self, name: str, value: Any) -> None:
        """One spelling per value, so that equal results are equal bytes."""
        text = json.dumps(value, indent=1, sort_keys=True, allow_nan=False)
        (self.out / name).write_text(text + "\n")


class Stage(Protocol):
    """The shape of a stage module."""

    VERSION: int
    MODULES: tuple[str, ...]
    ZYGOTE: str

    def run(self, request: Request) -> None: ...


class ConversionFailed(TaskError):
    """The converter refused; another route may succeed, so the runner tries once more."""

    kind = "converter"
