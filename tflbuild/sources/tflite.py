"""`tflite`: an existing `.tflite` file, to evaluate, validate, quantize and release.

The reference is the file as it came, run by the LiteRT interpreter. Inputs and outputs that the
file holds quantized are real numbers (float32) here, as for every file that tflbuild makes.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tflbuild.errors import TaskError, TflbuildError, one_line
from tflbuild.sources.base import ARRAYS, TFLITE, Loaded, Signature, Tensors, TensorSpec
from tflbuild.sources.size import refuse_large, too_large

if TYPE_CHECKING:
    from tflbuild.tflite.read import Subgraph, Tensor, TfliteModel

NAME = "tflite"
MODULES: tuple[str, ...] = ("ai_edge_litert", "flatbuffers")
KEYS: tuple[str, ...] = ("path", "signature")
EXAMPLE = "FILE.tflite"
FOLDER = False
LOWERED = TFLITE
REFERENCE = ARRAYS

UNSIGNED = "serving_default"  # the signature that a file without one gets
Pairs = Sequence[tuple[str, int]]  # (name, tensor), in positional order


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
    key, inputs, outputs = _interface(model, params.get("signature"))
    main = model.subgraphs[0]
    signature = Signature(
        key or UNSIGNED,
        tuple(_spec(name, main.tensors[index]) for name, index in inputs),
        tuple(name for name, _ in outputs),
        _no_graph,
        _Runner(path, main, inputs, outputs),
    )

    def to_tflite(pinned: Mapping[str, Sequence[TensorSpec]]) -> bytes:
        for spec, own in zip(pinned[signature.name], signature.inputs, strict=True):
            if spec.shape != own.shape:
                raise TaskError(
                    f"input {spec.name!r} of the file has the shape"
                    f" {['?' if d is None else d for d in own.shape or ()]}, and the shapes of a"
                    " finished file are not changed: remove the pin",
                    key=f"inputs.{spec.name}",
                )
        return data

    return Loaded("ai_edge_litert", (signature,), _no_save, to_tflite=to_tflite)


def _read(data: bytes) -> TfliteModel:
    from tflbuild.tflite.read import InvalidModel, read_model

    try:
        return read_model(data)
    except InvalidModel as error:
        raise TaskError(f"it is not a sound .tflite file: {one_line(error, 200)}") from error


def _interface(model: TfliteModel, wanted: str | None) -> tuple[str, Pairs, Pairs]:
    """Signature key ("" where the file has none), inputs and outputs. Raises TaskError."""
    from tflbuild.tflite.signature import interface_of

    main, keys = model.subgraphs[0], [s.key for s in model.signatures]
    if not keys:
        if wanted is not None:
            raise TaskError(
                f"no signature {wanted!r}: the file has none at all; remove source.signature",
                key="source.signature",
            )
        return "", _named(main, main.inputs, "input"), _named(main, main.outputs, "output")
    if wanted is None and len(keys) > 1:
        raise TaskError(
            f"the file has the signatures {keys}: name the one to ship, source.signature"
        )
    if wanted is not None and wanted not in keys:
        near = get_close_matches(wanted, keys, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise TaskError(
            f"no signature {wanted!r}; the file has {keys}{hint}", key="source.signature"
        )
    chosen = next(s for s in model.signatures if wanted in (None, s.key))
    if chosen.subgraph != 0 or keys.count(chosen.key) > 1:
        raise TaskError(
            f"signature {chosen.key!r} is that of subgraph {chosen.subgraph}, or not the only one"
            " of its name: it cannot be shipped alone",
            key="source.signature" if wanted else "",
        )
    try:
        found = interface_of(model, chosen.key)
    except TflbuildError as error:
        raise TaskError(f"the file's signature is not sound: {one_line(error)}") from error
    return (
        found.signature,
        [(io.name, io.tensor) for io in found.inputs],
        [(io.name, io.tensor) for io in found.outputs],
    )


def _named(main: Subgraph, indexes: Sequence[int], what: str) -> Pairs:
    """Names for the inputs or outputs of a file without signature: those of its tensors."""
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
    return list(zip(taken, indexes, strict=True))


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

    def __init__(self, path: Path, main: Subgraph, inputs: Pairs, outputs: Pairs) -> None:
        self._path, self._main = path, main
        self._inputs, self._outputs = inputs, outputs
        self._stateful = any(tensor.is_variable for tensor in main.tensors)
        self._interpreter: Any = None

    def __call__(self, arrays: Tensors) -> Tensors:
        if self._interpreter is None:
            from ai_edge_litert.interpreter import Interpreter

            try:
                self._interpreter = Interpreter(model_path=str(self._path), num_threads=1)
            except (ValueError, RuntimeError) as error:
                raise TaskError(
                    f"the LiteRT interpreter refuses the file: {one_line(error)}"
                ) from error
        try:
            return self._run(arrays)
        except (ValueError, RuntimeError) as error:
            raise TaskError(f"the LiteRT interpreter failed: {one_line(error)}") from error

    def _run(self, arrays: Tensors) -> Tensors:
        import numpy as np

        interpreter, tensors = self._interpreter, self._main.tensors
        current = {entry["index"]: entry["shape"] for entry in interpreter.get_input_details()}
        for name, index in self._inputs:
            if list(current[index]) != list(arrays[name].shape):
                interpreter.resize_tensor_input(index, arrays[name].shape, strict=True)
        interpreter.allocate_tensors()
        for name, index in self._inputs:
            array, tensor = arrays[name], tensors[index]
            if array.dtype.kind == "U":
                array = np.char.encode(array, "utf-8")
            if _is_quantized(tensor):
                array = _stored(array, tensor)
            interpreter.set_tensor(index, array)
        if self._stateful:
            interpreter.reset_all_variables()
        interpreter.invoke()
        results = {}
        for name, index in self._outputs:
            result = interpreter.get_tensor(index)
            results[name] = (
                _real(result, tensors[index]) if _is_quantized(tensors[index]) else result
            )
        return results


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
