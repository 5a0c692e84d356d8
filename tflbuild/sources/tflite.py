"""`tflite`: an existing `.tflite` file, to evaluate, validate, quantize and release.

The reference is the file as it came, run by the LiteRT interpreter. Inputs and outputs that the
file holds quantized are real numbers (float32) here, as for every file that tflbuild makes.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tflbuild.data import shape_text
from tflbuild.errors import TaskError, TflbuildError, one_line
from tflbuild.loading import crashes, load_problem
from tflbuild.sources.base import (
    TFLITE,
    Loaded,
    Signature,
    Tensors,
    TensorSpec,
    no_signature,
)
from tflbuild.sources.size import refuse_large, too_large

if TYPE_CHECKING:
    from tflbuild.tflite.read import Subgraph, Tensor, TfliteModel
    from tflbuild.tflite.signature import Interface, IOTensor

NAME = "tflite"
MODULES: tuple[str, ...] = ("ai_edge_litert", "flatbuffers")
KEYS: tuple[str, ...] = ("path", "signature", "signatures")
EXAMPLE = "FILE.tflite"
FOLDER = False
LOWERED = TFLITE
RUNS_ALONE = True

UNSIGNED = "serving_default"  # the signature that a file without one gets


def problem(path: str, shown: str) -> str:
    if os.path.isfile(os.path.join(path, "saved_model.pb")):
        return f"{shown} is a SavedModel; it needs `format: saved_model`"
    if os.path.isdir(path) or not path.endswith(".tflite"):
        return f"expected a .tflite file, got {shown}"
    return too_large(path, shown)


def files(path: Path) -> tuple[Sequence[tuple[str, Path]], Sequence[Path]]:
    return [("model.tflite", path)], []


def load(path: Path, params: Mapping[str, Any]) -> Loaded:
    refuse_large(path.stat().st_size, "the file has")
    data = path.read_bytes()
    model = _read(data)
    if crashes(problem := load_problem(data, model)):
        raise TaskError(f"it is not a sound .tflite file: {problem}", key="source.path")
    assigns = any(op.name == "ASSIGN_VARIABLE" for g in model.subgraphs for op in g.ops)
    signatures = []
    for found in _interfaces(model, params.get("signatures")):
        graph = model.subgraphs[found.subgraph]
        signatures.append(
            Signature(
                found.signature,
                tuple(_spec(io.name, graph.tensors[io.tensor]) for io in found.inputs),
                tuple(io.name for io in found.outputs),
                _no_graph,
                runner := _Runner(path, graph, found, bool(model.signatures), assigns),
                runner,
            )
        )

    def to_tflite(pinned: Mapping[str, Sequence[TensorSpec]]) -> bytes:
        for signature in signatures:
            _refuse_pins(pinned[signature.name], signature.inputs)
        return data

    return Loaded("ai_edge_litert", tuple(signatures), _no_save, to_tflite=to_tflite)


def _refuse_pins(pinned: Sequence[TensorSpec], have: Sequence[TensorSpec]) -> None:
    for spec, own in zip(pinned, have, strict=True):
        if spec.shape != own.shape:
            raise TaskError(
                f"input {spec.name!r} of the file has the shape {shape_text(own.shape or ())}, and"
                " the shapes of a finished file are not changed: remove the pin",
                key=f"inputs.{spec.name}",
            )


def _read(data: bytes) -> TfliteModel:
    from tflbuild.tflite.read import InvalidModel, read_model

    try:
        return read_model(data)
    except InvalidModel as error:
        raise TaskError(
            f"it is not a sound .tflite file: {one_line(error, 200)}", key="source.path"
        ) from error


def _interfaces(model: TfliteModel, wanted: Sequence[str] | None) -> Sequence[Interface]:
    """The signatures that ship: those that are named, else the only one, or what the tensors of
    a file without signature say. Raises TaskError."""
    from tflbuild.tflite.signature import Interface, check_interface, interface_of

    main, keys = model.subgraphs[0], [s.key for s in model.signatures]
    if not keys:
        if wanted:
            raise TaskError(
                f"no signature {wanted[0]!r}: the file has none at all; remove source.signature",
                key="source.signature",
            )
        inputs, outputs = _named(main, main.inputs, "input"), _named(main, main.outputs, "output")
        return [Interface(UNSIGNED, inputs, outputs)]
    if not wanted and len(keys) > 1:
        raise TaskError(
            f"the file has the signatures {keys}: name those to ship, source.signature or"
            " source.signatures",
            key="source",
        )
    for key in wanted or ():
        if key not in keys:
            raise no_signature(key, keys)
    try:
        found = [interface_of(model, key) for key in wanted or keys]
        for interface in found:
            check_interface(interface, model)
    except TflbuildError as error:
        raise TaskError(
            f"the file's signature is not sound: {one_line(error)}", key="source.path"
        ) from error
    if 0 not in [interface.subgraph for interface in found]:
        main_keys = [s.key for s in model.signatures if s.subgraph == 0]
        raise TaskError(
            f"signature {found[0].signature!r} is not that of the file's main subgraph, and cannot"
            f" be shipped without {main_keys}: name both, source.signatures",
            key="source.signature",
        )
    return found


def _named(main: Subgraph, indexes: Sequence[int], what: str) -> tuple[IOTensor, ...]:
    """Names for the inputs or outputs of a file without signature: those of its tensors."""
    from tflbuild.tflite.signature import IOTensor

    plain = [main.tensors[index].name for index in indexes]
    short = [name.removesuffix(":0") for name in plain]
    names = short if len(set(short)) == len(short) else plain
    taken: list[str] = []
    for position, given in enumerate(names):
        name = stem = given or f"{what}_{position}"
        count = 0
        while name in taken:
            count += 1
            name = f"{stem}_{count}"
        taken.append(name)
    return tuple(IOTensor(name, index) for name, index in zip(taken, indexes, strict=True))


def _spec(name: str, tensor: Tensor) -> TensorSpec:
    shape = tuple(None if size < 0 else size for size in tensor.shape_signature)
    return TensorSpec(name, shape, "float32" if _is_quantized(tensor) else tensor.dtype)


def _is_quantized(tensor: Tensor) -> bool:
    """One scale for the whole tensor: what an interpreter's caller is told of."""
    found = tensor.quantization
    return found is not None and len(found.scale) == 1 and tensor.dtype.startswith(("int", "uint"))


def _no_graph(tensors: Tensors) -> Tensors:
    raise TypeError("a .tflite file is not traced")


def _no_save(traced: Mapping[str, Any], folder: Path) -> None:
    raise TypeError("a .tflite file is not saved as a SavedModel")


class _Runner:
    """The file as it came, in the LiteRT interpreter; it is opened by the first call."""

    def __init__(
        self, path: Path, graph: Subgraph, interface: Interface, signed: bool, goes_on: bool
    ) -> None:
        """`goes_on`: the file assigns variables."""
        self._path, self._graph, self._interface, self._signed = path, graph, interface, signed
        self.goes_on = goes_on
        self._stateful = any(tensor.is_variable for tensor in graph.tensors)
        self._interpreter: Any = None

    def forget(self) -> None:
        """State tensors begin anew. Before the first call there are none yet."""
        if self._stateful and self._interpreter is not None:
            self._interpreter.reset_all_variables()

    def reset(self) -> None:
        """A new interpreter, so that variables begin anew too."""
        self._interpreter = None

    def __call__(self, arrays: Tensors) -> Tensors:
        if self._interpreter is None:
            from ai_edge_litert.interpreter import Interpreter

            try:
                self._interpreter = Interpreter(model_path=str(self._path), num_threads=1)
            except (ValueError, RuntimeError) as error:
                raise TaskError(
                    f"the LiteRT interpreter refuses the file: {one_line(error)}",
                    key="source.path",
                ) from error
        try:
            return self._run(arrays)
        except (ValueError, RuntimeError) as error:
            raise TaskError(f"the LiteRT interpreter failed: {one_line(error)}") from error

    def _run(self, arrays: Tensors) -> Tensors:
        feed = {}
        for io in self._interface.inputs:
            array, tensor = arrays[io.name], self._graph.tensors[io.tensor]
            feed[io.name] = _stored(array, tensor) if _is_quantized(tensor) else _plain(array)
        found = self._signature_run(feed) if self._signed else self._plain_run(feed)
        results = {}
        for io in self._interface.outputs:
            array, tensor = found[io.name], self._graph.tensors[io.tensor]
            results[io.name] = _real(array, tensor) if _is_quantized(tensor) else array.copy()
        return results

    def _signature_run(self, feed: Tensors) -> Tensors:
        found: Tensors = self._interpreter.get_signature_runner(self._interface.signature)(**feed)
        return found

    def _plain_run(self, feed: Tensors) -> Tensors:
        """By tensors, for a file without signature."""
        interpreter = self._interpreter
        current = {entry["index"]: entry["shape"] for entry in interpreter.get_input_details()}
        for io in self._interface.inputs:
            if list(current[io.tensor]) != list(feed[io.name].shape):
                interpreter.resize_tensor_input(io.tensor, feed[io.name].shape, strict=True)
        interpreter.allocate_tensors()
        for io in self._interface.inputs:
            interpreter.set_tensor(io.tensor, feed[io.name])
        interpreter.invoke()
        return {io.name: interpreter.get_tensor(io.tensor) for io in self._interface.outputs}


def _plain(array: Any) -> Any:
    import numpy as np

    return np.char.encode(array, "utf-8") if array.dtype.kind == "U" else array


def _stored(array: Any, tensor: Tensor) -> Any:
    """Real numbers as the file stores them: round(x / scale) + zero_point, saturated."""
    import numpy as np

    scale, zero = _affine(tensor)
    limits = np.iinfo(tensor.dtype)
    steps = np.round(array / np.float32(scale)) + zero
    return np.clip(steps, limits.min, limits.max).astype(tensor.dtype)


def _real(array: Any, tensor: Tensor) -> Any:
    import numpy as np

    scale, zero = _affine(tensor)
    return (array.astype(np.float32) - zero) * np.float32(scale)


def _affine(tensor: Tensor) -> tuple[float, int]:
    assert tensor.quantization is not None
    return tensor.quantization.scale[0], (*tensor.quantization.zero_point, 0)[0]
