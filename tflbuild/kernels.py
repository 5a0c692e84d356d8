"""Where the kernels of ops that are not builtin come from, and interpreters that have them.

The ops of a file are its own; a target says which library holds the kernels of its custom ops, and
what runs select TF ops: a library with the Flex delegate, or another Python (`validator`).
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tflbuild.errors import TaskError, one_line
from tflbuild.foreign import custom_ops

if TYPE_CHECKING:
    from tflbuild.stages.base import Request
    from tflbuild.tflite.read import TfliteModel

# Names of inputs of an action.
LIBRARY, FLEX_LIBRARY = "library", "flex_library"
# How a shared library offers the Flex delegate: the interpreter itself looks for the first (in
# `AcquireFlexDelegate`, tflite/core/interpreter_builder.cc, LiteRT, 2026-08), `load_delegate` for
# the second.
_FLEX, _PLUGIN = "TF_AcquireFlexDelegate", "tflite_plugin_create_delegate"


@dataclass(frozen=True)
class Kernels:
    """What an action has to run a file with, beyond the interpreter's own kernels.

    `custom_ops`: op → function of `library`, "" where the target only declares the op;
    `python`: the validator's interpreter; `validator`: the versions found there.
    """

    custom_ops: Mapping[str, str] = field(default_factory=dict)
    library: Path | None = None
    flex_library: Path | None = None
    python: str = ""
    validator: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, request: Request) -> Kernels:
        """From the parameters and files of an action."""
        return cls(
            custom_ops=request.params.get("custom_ops", {}),
            library=request.inputs.get(LIBRARY),
            flex_library=request.inputs.get(FLEX_LIBRARY),
            python=request.params.get("validator_python", ""),
            validator=request.params.get("validator", {}),
        )

    def registers(self, names: Iterable[str]) -> dict[str, str]:
        """Of those custom ops that have a kernel: the function of the library."""
        if self.library is None:
            return {}
        return {name: self.custom_ops[name] for name in names if self.custom_ops.get(name)}

    @property
    def kernels(self) -> list[str]:
        """The custom ops that have one."""
        return list(self.registers(self.custom_ops))

    def missing(self, model: TfliteModel) -> str:
        """Why a file cannot be run; "" when it can."""
        from tflbuild.tflite.foreign import foreign_ops

        found = foreign_ops(model)
        custom = [n for n in found["custom"] if n not in self.registers(found["custom"])]
        if custom:
            return f"its custom ops {', '.join(custom)} have no kernels here"
        if found["select"] and self.flex_library is None and not self.python:
            return (
                f"its select TF ops {', '.join(found['select'])} need the Flex delegate, which is"
                " in no wheel of LiteRT, nor in TensorFlow's since 2.20"
            )
        return ""

    def elsewhere(self, model: TfliteModel) -> bool:
        """Whether the validator has to run a file."""
        from tflbuild.tflite.foreign import foreign_ops

        return bool(self.python and foreign_ops(model)["select"])

    def runner(self, model: TfliteModel) -> str:
        """What runs a file, for people."""
        from tflbuild.tflite.foreign import foreign_ops

        if self.missing(model):
            return "nothing"
        found = foreign_ops(model)
        own = f", {LIBRARY}" if found["custom"] else ""
        if self.elsewhere(model):
            return f"TensorFlow {self.validator.get('tensorflow', '')} (validator){own}"
        return f"LiteRT{f', {FLEX_LIBRARY}' if found['select'] else ''}{own}"

    def delegates(self, model: TfliteModel) -> list[Any]:
        """For `Interpreter(experimental_delegates=…)` of LiteRT. Raises TaskError."""
        from tflbuild.tflite.foreign import foreign_ops

        found, given = foreign_ops(model), []
        if found["select"] and self.flex_library is not None:
            given += load_flex(self.flex_library)
        if registers := self.registers(found["custom"]):
            given.append(custom_ops.CustomOps(self._addresses(registers)))
        return given

    def registerers(self, tensorflow: str) -> list[Any]:
        """For the calibration of TensorFlow's converter; `tensorflow`: the folder of the package.
        Raises TaskError."""
        if not (registers := self.registers(self.custom_ops)):
            return []
        try:
            return [custom_ops.registerer(tensorflow, self._addresses(registers))]
        except custom_ops.LibraryError as error:
            raise TaskError(f"library {self.library}: {error}", key="targets") from error

    def _addresses(self, registers: dict[str, str]) -> dict[str, int]:
        try:
            return custom_ops.registrations(str(self.library), registers)
        except custom_ops.LibraryError as error:
            raise TaskError(f"library {self.library}: {error}", key="targets") from error


def load_flex(path: Path) -> list[Any]:
    """The Flex delegate of a shared library, for LiteRT's interpreters of this process: from now
    on they find it themselves, or as a delegate to give them. Raises TaskError."""
    try:
        library = ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
    except OSError as error:
        raise TaskError(
            f"flex_library cannot be loaded: {one_line(error)}", key="targets"
        ) from error
    if hasattr(library, _FLEX):
        return []
    if not hasattr(library, _PLUGIN):
        raise TaskError(
            f"flex_library {path} holds no Flex delegate: it exports neither {_FLEX} (as"
            " libtensorflow_cc.so.2 of TensorFlow 2.18 does, or libtensorflowlite_flex.so) nor"
            f" {_PLUGIN}",
            key="targets",
        )
    from ai_edge_litert.interpreter import load_delegate

    try:
        return [load_delegate(str(path))]
    except (ValueError, OSError, RuntimeError) as error:
        raise TaskError(f"flex_library {path}: {one_line(error)}", key="targets") from error
