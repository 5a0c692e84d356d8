"""One task of the graph, before anything is known about its state: its stage, its inputs, its key.

A stage may be done by several modules: by `action`, else by the module of the stage's name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from tflbuild.errors import Position
from tflbuild.manifest.model import MadeData, Model, Optimization
from tflbuild.stages import (
    adopt,
    baseline,
    benchmark,
    compat,
    convert,
    debug,
    emit,
    evaluate,
    fetch,
    generate,
    lower,
    lower_file,
    measure,
    quantize,
    reference,
    reference_arrays,
    runtime,
    validate,
)
from tflbuild.stages import data as data_stage

STAGES = {
    "fetch": fetch,
    "generate": generate,
    "data": data_stage,
    "lower": lower,
    "reference": reference,
    "evaluate": evaluate,
    "baseline": baseline,
    "convert": convert,
    "compat": compat,
    "validate": validate,
    "benchmark": benchmark,
    "emit": emit,
    "runtime": runtime,
    # The same tasks for sources that need no TensorFlow: what they lower to is a file already,
    # or a runtime of their own gives the reference.
    "lower_file": lower_file,
    "reference_arrays": reference_arrays,
    "measure": measure,
    "adopt": adopt,
    "quantize": quantize,  # the quantizer that works on the float file
    "debug": debug,  # no task of a build: `validate --debug` runs it aside
}
ORDER = (
    "fetch", "generate", "data", "lower", "reference", "evaluate", "baseline", "convert", "compat",
    "validate", "benchmark", "emit", "release", "runtime",
)  # fmt: skip

TIMEOUT = 1800.0  # seconds, of a task that belongs to no model

# Outputs that are never byte-stable: who reads one is keyed by its producer's key instead.
UNSTABLE = frozenset({"saved_model.tar"})


OP_LIST = "ops.json"  # of compat: the operators of a file, which its release keeps
EMITTED = "emit/"  # before the names of a release's inputs that are other forms of its file


@dataclass(frozen=True)
class Artifact:
    """(model, optimization, target): one released file."""

    model: str
    optimization: str
    target: str

    def __str__(self) -> str:
        return f"{self.model}:{self.optimization}@{self.target}"

    @property
    def file(self) -> str:
        """Path below the dist folder."""
        return f"{self.target}/{self.model}-{self.optimization}.tflite"


@dataclass(frozen=True)
class Port:
    """A data edge: outputs of another task (shell patterns) that this one reads.

    It knows them by their names behind `prefix`: two producers may name outputs alike.
    """

    task: str
    outputs: tuple[str, ...]
    prefix: str = ""

    def name_of(self, output: str) -> str | None:
        """The input that an output of the task is; None for one that is not read."""
        read = any(fnmatchcase(output, pattern) for pattern in self.outputs)
        return self.prefix + output if read else None


@dataclass(frozen=True)
class Step:
    """One task of the graph, before anything is known about its state."""

    name: str
    stage: str
    owner: Model | None  # None: a task over the models of a target
    optimization: Optimization | None = None
    target: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)  # in the key
    files: Mapping[str, str] = field(default_factory=dict)  # keyed input name → path under root
    folders: tuple[str, ...] = ()  # whose listing made `files`
    ports: tuple[Port, ...] = ()
    gates: tuple[str, ...] = ()  # tasks that must have passed; in no key
    modules: tuple[str, ...] = ()  # of the toolchain, beyond those of the stage
    request: Mapping[str, Any] = field(default_factory=dict)  # for the child alone, in no key
    report: str | None = None  # path below the reports folder
    data: MadeData | None = None  # what a step of stage data makes arrays of
    section: str = ""  # of the manifest: what the keys of its errors are relative to
    alone: bool = False  # nothing else runs while it does
    action: str = ""  # the module in STAGES that does it; "": the one named like the stage

    @property
    def does(self) -> str:
        return self.action or self.stage

    @property
    def model(self) -> Model:
        """Of a task of one model, which all but `runtime` are."""
        assert self.owner is not None, self.name
        return self.owner

    @property
    def timeout(self) -> float:
        """Seconds that its action may take."""
        return TIMEOUT if self.owner is None else self.owner.timeout

    @property
    def artifact(self) -> Artifact:
        assert self.optimization is not None
        assert self.target is not None
        return Artifact(self.model.name, self.optimization.name, self.target)

    def position_of(self, key: str) -> Position:
        """The place in the manifest of a key that an action names; `optimization` stands for the
        action's own, whose name is in no key."""
        first, _, rest = key.partition(".")
        if first == "optimization" and self.optimization is not None:
            own = f"optimizations.{self.optimization.name}"
            exact = f"{own}.{rest}"
            key = exact if exact in self.model.positions else own
        return self.model.position_of(self.section + key)

    @property
    def tools(self) -> tuple[str, ...]:
        """The modules whose distributions are the toolchain."""
        return (*STAGES[self.does].MODULES, *self.modules)

    @property
    def depends(self) -> list[str]:
        """Task names, data edges first, each once."""
        return list(dict.fromkeys([*(port.task for port in self.ports), *self.gates]))


def report_of(task: str) -> str | None:
    """Where a task's report lies below the reports folder; None for one without."""
    stage, _, rest = task.partition(":")
    if stage not in ("evaluate", "compat", "validate", "benchmark"):
        return None
    return f"{rest.replace(':', '/')}/{stage}.json"
