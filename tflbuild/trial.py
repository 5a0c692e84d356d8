"""The inputs that two files are both run on, and one file run on them; in workers.

Inputs are real values, and each file quantizes them by its own scale, so that a float file can be
held against a quantized one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tflbuild.errors import TaskError, one_line
from tflbuild.interface import Together, together
from tflbuild.tflite.interface import MAIN

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

SEED = 0
SAMPLES = 16  # of random data
ELEMENTS = 1 << 24  # of all inputs of one signature, at most, where one sample does not need more
SIZES = (1, 8, 32, 224)  # that dynamic dimensions are given, one after the other until it runs
_FLOATS = ("float16", "float32", "float64")
_INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")

Tensor = Mapping[str, Any]


class Incomparable(Exception):
    """The interfaces are too different for their outputs to be held against each other."""


def is_open(interface: Mapping[str, Any]) -> bool:
    """Whether an input has a dynamic dimension besides the first."""
    return any(
        -1 in tensor["shape"][1:]
        for signature in interface["signatures"]
        for tensor in signature["inputs"]
    )


def prepare(
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    given: Mapping[str, Array] | None,
    size: int,
    folder: Path,
) -> dict[str, Any]:
    """Write the inputs, and say how both files are run on them.

    Args:
        old, new: the interfaces.
        given: arrays by input name (of either file), samples along the first axis; None: random.
        size: what dynamic dimensions are given.
        folder: for `K.I.npy`: input I of signature K, samples along the first axis.

    Returns:
        `samples`; `runs`: {signature: {old, new}, inputs: [{file, old, new}], outputs:
        [{old, new}]}, names in each file; `ignored`: arrays that are no input, such as labels.

    Raises:
        Incomparable: they have no signature, or not these inputs, in common.
        TaskError: the given arrays do not fit.
    """
    import numpy as np

    runs: list[dict[str, Any]] = []
    samples, used = 0, set()
    reason = "they have no signature in common"
    for pair in together(old, new):
        try:
            specs = _inputs(pair, size)
            outputs = _outputs(pair)
        except Incomparable as error:
            reason = str(error)
            continue
        if given is None:
            arrays = _random(specs)
        else:
            found = _given(specs, given)
            if found is None:
                reason = f"the data have not all inputs of signature {pair.old['name']!r}"
                continue
            arrays = found
            used |= {name for _, a, b in specs for name in (a["name"], b["name"])}
        index = len(runs)
        inputs = []
        for number, (array, (_, a, b)) in enumerate(zip(arrays, specs, strict=True)):
            file = f"{index}.{number}.npy"
            np.save(folder / file, array, allow_pickle=False)
            inputs.append({"file": file, "old": a["name"], "new": b["name"]})
        samples = max(samples, len(arrays[0]) if arrays else 1)
        runs.append({
            "signature": {"old": pair.old["name"], "new": pair.new["name"]},
            "inputs": inputs, "outputs": outputs,
        })  # fmt: skip
    if not runs:
        if given is not None and reason.startswith("the data"):
            has = ", ".join(map(repr, sorted(given))) or "nothing"
            raise TaskError(f"the data have {has}; the files want {_wanted(old)}")
        raise Incomparable(reason)
    return {"samples": samples, "runs": runs, "ignored": sorted(set(given or ()) - used)}


def _wanted(interface: Mapping[str, Any]) -> str:
    names = [repr(t["name"]) for s in interface["signatures"] for t in s["inputs"]]
    return ", ".join(dict.fromkeys(names)) or "none"


def _inputs(pair: Together, size: int) -> list[tuple[list[int], Tensor, Tensor]]:
    """Shape of one sample, and both tensors, in the old order."""
    found = []
    for i, j in pair.inputs:
        if i is None or j is None:
            gone = pair.old["inputs"][i] if i is not None else pair.new["inputs"][j or 0]
            raise Incomparable(f"only one of them has input {gone['name']!r}")
        a, b = pair.old["inputs"][i], pair.new["inputs"][j]
        shape = _common(a["shape"], b["shape"], size)
        if shape is None:
            raise Incomparable(f"input {a['name']!r} has other shapes")
        for tensor in (a, b):
            if tensor["dtype"] not in (*_FLOATS, *_INTEGERS, "bool"):
                raise Incomparable(f"input {a['name']!r} is {tensor['dtype']}")
            if len(tensor.get("scale", ())) > 1 or "nan" in tensor.get("scale", ()):
                raise Incomparable(f"input {a['name']!r} has no single scale")
        if math.prod(shape) > ELEMENTS * 8:
            raise Incomparable(f"input {a['name']!r} is too large")
        found.append((shape, a, b))
    return found


def _common(a: Sequence[int], b: Sequence[int], size: int) -> list[int] | None:
    """A shape that both take."""
    if len(a) != len(b) or any(x != y and -1 not in (x, y) for x, y in zip(a, b, strict=True)):
        return None
    both = [max(x, y) for x, y in zip(a, b, strict=True)]
    return [n if n >= 0 else size if axis else 1 for axis, n in enumerate(both)]


def _outputs(pair: Together) -> list[dict[str, str]]:
    named = [
        {"old": pair.old["outputs"][i]["name"], "new": pair.new["outputs"][j]["name"]}
        for i, j in pair.outputs
        if i is not None and j is not None
    ]
    if not named:
        raise Incomparable("they have no output in common")
    return named


def _random(specs: Sequence[tuple[list[int], Tensor, Tensor]]) -> list[Array]:
    """Seeded, uniform: over the range that a quantized input holds, else in [0, 1); integers
    without a scale 0 or 1, since they may be indices."""
    import numpy as np

    chosen = np.random.default_rng(SEED)
    largest = max((math.prod(shape) for shape, _, _ in specs), default=1)
    count = max(1, min(SAMPLES, ELEMENTS // max(largest, 1)))
    arrays: list[Array] = []
    for shape, a, b in specs:
        full = (count, *shape)
        ranged = next((_range(t) for t in (a, b) if "scale" in t), None)
        if ranged is None and not any(t["dtype"] in _FLOATS for t in (a, b)):
            arrays.append(chosen.integers(0, 2, full))
        else:
            low, high = ranged or (0.0, 1.0)
            arrays.append(chosen.uniform(low, high, full).astype(np.float32))
    return arrays


def _range(tensor: Tensor) -> tuple[float, float]:
    """The least and the greatest value that a quantized tensor holds."""
    import numpy as np

    scale, zero = float(tensor["scale"][0]), (*tensor["zero_point"], 0)[0]
    if tensor["dtype"] not in _INTEGERS or not math.isfinite(scale):
        return 0.0, 1.0
    held = np.iinfo(tensor["dtype"])
    low, high = sorted(((int(held.min) - zero) * scale, (int(held.max) - zero) * scale))
    sound = math.isfinite(low) and math.isfinite(high) and high - low < 1e30
    return (low, high) if sound else (0.0, 1.0)


def _given(
    specs: Sequence[tuple[list[int], Tensor, Tensor]], given: Mapping[str, Array]
) -> list[Array] | None:
    """The samples of one signature; None where it has other inputs. Raises TaskError."""
    arrays = []
    for shape, a, b in specs:
        name = next((n for n in (a["name"], b["name"]) if n in given), None)
        if name is None:
            return None
        array = given[name]
        if array.dtype.kind not in "biuf":
            raise TaskError(f"{name!r} of the data holds {array.dtype}, not numbers")
        if list(array.shape[1:]) == shape:  # each sample is a whole input
            arrays.append(array)
        elif shape and list(array.shape[1:]) == shape[1:] and len(array) % shape[0] == 0:
            arrays.append(array.reshape(-1, *shape))  # batches, one behind the other
        else:
            raise TaskError(
                f"{name!r} of the data has shape {list(array.shape)}; the files want"
                f" {['N', *shape[1:]] if shape else ['N']}, N a multiple of"
                f" {shape[0] if shape else 1}"
            )
    if len({len(array) for array in arrays}) > 1:
        raise TaskError(f"the data have {sorted(len(array) for array in arrays)} samples by input")
    if arrays and not len(arrays[0]):
        raise TaskError("the data have no samples")
    return arrays


def execute(
    path: str, side: str, runs: Iterable[Mapping[str, Any]], inputs: Path, out: Path
) -> None:
    """Run one file; `out` gets `K.I.npy`: output I of run K, real values, samples along the first
    axis. Raises TaskError where LiteRT refuses it."""
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter

    for index, run in enumerate(runs):
        feeds = {
            entry[side]: np.load(inputs / entry["file"], allow_pickle=False)
            for entry in run["inputs"]
        }
        try:
            interpreter = Interpreter(model_path=path, num_threads=1)
            call = _caller(interpreter, run["signature"][side])
            rows: list[list[Array]] = [[] for _ in run["outputs"]]
            for number in range(max((len(array) for array in feeds.values()), default=1)):
                result = call({name: array[number] for name, array in feeds.items()})
                for row, names in zip(rows, run["outputs"], strict=True):
                    row.append(result[names[side]])
        except (ValueError, RuntimeError, KeyError) as error:
            raise TaskError(f"LiteRT refuses it: {one_line(error, 200)}") from error
        for number, row in enumerate(rows):
            if len({array.shape for array in row}) > 1:
                raise TaskError("its outputs have other shapes for each sample")
            stacked = np.stack(row)
            if stacked.dtype.kind == "O":
                stacked = stacked.astype("S")
            np.save(out / f"{index}.{number}.npy", stacked, allow_pickle=False)


def _caller(interpreter: Any, signature: str) -> Any:
    """A function from real inputs by name to real outputs by name; state begins anew each time."""
    import numpy as np

    from tflbuild.validation.file import dequantize, quantize

    def fed(value: Array, details: Mapping[str, Any]) -> Array:
        made = quantize(value, details)
        result: Array = np.asarray(made).astype(details["dtype"], copy=False)
        return result

    if signature != MAIN:
        runner = interpreter.get_signature_runner(signature)
        ins, outs = runner.get_input_details(), runner.get_output_details()

        def by_signature(values: Mapping[str, Array]) -> dict[str, Array]:
            interpreter.reset_all_variables()
            result = runner(**{name: fed(value, ins[name]) for name, value in values.items()})
            return {name: dequantize(result[name], outs[name]) for name in result}

        return by_signature

    def by_position(values: Mapping[str, Array]) -> dict[str, Array]:
        for details in interpreter.get_input_details():
            shape = values[details["name"]].shape
            interpreter.resize_tensor_input(details["index"], shape)
        interpreter.allocate_tensors()
        interpreter.reset_all_variables()
        for details in interpreter.get_input_details():
            interpreter.set_tensor(details["index"], fed(values[details["name"]], details))
        interpreter.invoke()
        return {
            details["name"]: dequantize(interpreter.get_tensor(details["index"]), details)
            for details in interpreter.get_output_details()
        }

    return by_position
