"""Two `.tflite` files against each other: what `tflbuild diff` tells of them.

Measured in a worker, since files may be anything. `old` and `new` are the first and the second.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tflbuild.interface import differences, of_model

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tflbuild.tflite.read import Tensor, TfliteModel

    Array = NDArray[Any]

SHOWN = 10  # weights that are named

_FIXED = ("float16", "float32", "float64", "int8", "uint8", "int16", "uint16", "int32", "uint32",
          "int64", "uint64", "bool")  # fmt: skip
_FLOATS = ("float16", "float32", "float64")


@dataclass(frozen=True)
class File:
    """A file that was read."""

    data: bytes
    model: TfliteModel


def compare(old: File, new: File) -> dict[str, Any]:
    """All that can be told without running them.

    Keys: `interface` (`old`, `new`, `differences`), `ops` (each {op, old, new}: numbers of
    operations; those that differ, and `same`: how many do not), `versions` (each {op, old, new}:
    lists of versions that differ), `min_runtime` (`old`, `new`), `weights` (see `weights`),
    `metadata` (each {name, old, new}: bytes, or None where it is not there, and `text`: both sides'
    own words where these are short and plain; those that differ),
    `description` (`old`, `new`).
    """
    from tflbuild.tflite.versions import describe

    interfaces = of_model(old.model), of_model(new.model)
    changes = differences(*interfaces)
    before, after = _ops(old.model), _ops(new.model)
    names = sorted(before.keys() | after.keys())
    count = {name: (sum(before.get(name, {}).values()), sum(after.get(name, {}).values()))
             for name in names}  # fmt: skip
    return {
        "interface": {
            "old": interfaces[0], "new": interfaces[1],
            "differences": [change.as_json() for change in changes],
        },
        "ops": {
            "same": sum(min(pair) for pair in count.values()),
            "differences": [{"op": n, "old": a, "new": b} for n, (a, b) in count.items() if a != b],
        },
        "versions": [
            {"op": name, "old": sorted(before[name]), "new": sorted(after[name])}
            for name in names
            if name in before and name in after and before[name].keys() != after[name].keys()
        ],
        "min_runtime": {
            side: describe(file.model)["min_runtime"] for side, file in _sides(old, new)
        },
        "weights": weights(old, new),
        "metadata": _metadata(old, new),
        "description": {side: file.model.description for side, file in _sides(old, new)},
    }  # fmt: skip


def _sides(old: File, new: File) -> tuple[tuple[str, File], tuple[str, File]]:
    return ("old", old), ("new", new)


def _ops(model: TfliteModel) -> dict[str, dict[int, int]]:
    """Operations by name and version."""
    found: dict[str, dict[int, int]] = {}
    for (name, version), count in sorted(
        Counter((op.name, op.version) for graph in model.subgraphs for op in graph.ops).items()
    ):
        found.setdefault(name, {})[version] = count
    return found


def _metadata(old: File, new: File) -> list[dict[str, Any]]:
    from tflbuild.tflite.read import read_metadata

    before, after = read_metadata(old.data), read_metadata(new.data)
    sides = (("old", before), ("new", after))
    return [
        {"name": name,
         **{side: len(held[name]) if name in held else None for side, held in sides},
         "text": {side: _text(held.get(name)) for side, held in sides}}
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    ]  # fmt: skip


MAX_TEXT = 64  # bytes of an entry that is shown


def _text(data: bytes | None) -> str | None:
    """A short entry that is nothing but printable ASCII, such as a version; None for another."""
    plain = (data or b"").rstrip(b"\0")
    if not plain or len(plain) > MAX_TEXT or not plain.isascii():
        return None
    text = plain.decode("ascii")
    return text if text.isprintable() else None


# weights


def weights(old: File, new: File) -> dict[str, Any]:
    """Constant tensors, which belong together by subgraph and name.

    Keys: `equal`, `changed`, `added`, `removed`: how many; `bytes`: of all, {`old`, `new`};
    `largest`: of the changed ones whose values can be compared (dequantized) those with the
    largest change over the old one's largest value, each {name, old, new: dtype and shape,
    max_change, share, values (how many differ)}; `unknown`: how many others changed.
    """
    before, after = dict(_constants(old.model)), dict(_constants(new.model))
    same, changed, unknown = 0, [], 0
    for key in before.keys() & after.keys():
        a, b = before[key], after[key]
        if _equal(old, a, new, b):
            same += 1
            continue
        told = _change(old, a, new, b)
        if told is None:
            unknown += 1
        else:
            changed.append({"name": a.name, "old": _form(a), "new": _form(b), **told})
    changed.sort(key=lambda one: (-one["share"], one["name"]))
    return {
        "equal": same,
        "changed": len(changed) + unknown,
        "added": len(after.keys() - before.keys()),
        "removed": len(before.keys() - after.keys()),
        "bytes": {"old": sum(t.data_size for t in before.values()),
                  "new": sum(t.data_size for t in after.values())},
        "largest": changed[:SHOWN],
        "unknown": unknown,
    }  # fmt: skip


def _constants(model: TfliteModel) -> Iterator[tuple[tuple[int, str, int], Tensor]]:
    """By subgraph, name, and number among those of that name."""
    for graph in model.subgraphs:
        seen: Counter[str] = Counter()
        for tensor in graph.tensors:
            if tensor.is_constant:
                yield (graph.index, tensor.name, seen[tensor.name]), tensor
                seen[tensor.name] += 1


def _form(tensor: Tensor) -> str:
    return f"{tensor.dtype}[{','.join(str(size) for size in tensor.shape)}]"


def _stored(file: File, tensor: Tensor) -> memoryview | None:
    """None where the data are in another file."""
    if tensor.external_buffer:
        return None
    buffer = file.model.buffers[tensor.buffer]
    return memoryview(file.data)[buffer.offset : buffer.offset + buffer.size]


def _equal(old: File, a: Tensor, new: File, b: Tensor) -> bool:
    said = [(t.dtype, t.shape, t.sparse, t.quantization, t.external_buffer) for t in (a, b)]
    return said[0] == said[1] and _stored(old, a) == _stored(new, b)


def _change(old: File, a: Tensor, new: File, b: Tensor) -> dict[str, Any] | None:
    """None where values cannot be compared: of other shapes, sparse, of packed or no numbers."""
    import numpy as np

    if a.shape != b.shape:
        return None
    was, now = _values(old, a), _values(new, b)
    if was is None or now is None:
        return None
    with np.errstate(all="ignore"):
        error = np.abs(was - now)
        largest = float(error.max()) if error.size else 0.0
        peak = float(np.abs(was).max()) if was.size else 0.0
        share = largest / peak if peak else float(largest > 0)
    if not np.isfinite(largest) or not np.isfinite(share):
        return None
    return {"max_change": largest, "share": share, "values": int(np.count_nonzero(error))}


def _values(file: File, tensor: Tensor) -> Array | None:
    """The real values, in float64; None where they are not plain."""
    import numpy as np

    stored = _stored(file, tensor)
    if stored is None or tensor.sparse or tensor.dtype not in _FIXED:
        return None
    dtype = np.dtype(tensor.dtype).newbyteorder("<")
    values = np.frombuffer(stored, dtype).astype(np.float64)
    if values.size != tensor.elements:
        return None
    values = values.reshape(tensor.shape)
    scaled = tensor.quantization
    if scaled is None or not scaled.scale or tensor.dtype in _FLOATS:
        return values
    count = len(scaled.scale)
    zero = scaled.zero_point if len(scaled.zero_point) == count else (0,) * count
    along = [1] * len(tensor.shape)
    if count > 1:
        if not 0 <= scaled.axis < len(along) or tensor.shape[scaled.axis] != count:
            return None
        along[scaled.axis] = count
    scale, zeros = (np.array(part, np.float64).reshape(along) for part in (scaled.scale, zero))
    with np.errstate(all="ignore"):
        result: Array = (values - zeros) * scale
    return result


# outputs


def agreement(old: Array, new: Array) -> dict[str, Any]:
    """How near two outputs are, over all samples: `equal`; `sqnr` (dB, the old one is the signal;
    None where they are equal, or one is all zeros or not finite), `max_abs_error` (output units,
    None where one is not finite), `finite`.

    Args:
        old, new: real values, samples along the first axis; of the same shape.
    """
    import numpy as np

    if old.dtype.kind not in "biuf" or new.dtype.kind not in "biuf":
        equal = bool(np.array_equal(old, new))
        return {"equal": equal, "sqnr": None, "max_abs_error": None, "finite": True}
    a, b = old.astype(np.float64), new.astype(np.float64)
    told: dict[str, Any] = {
        "equal": bool(np.array_equal(old, new, equal_nan=old.dtype.kind == new.dtype.kind == "f")),
        "sqnr": None,
        "max_abs_error": None,
        "finite": bool(np.isfinite(a).all() and np.isfinite(b).all()),
    }
    if not told["finite"] or not a.size:
        return told
    error = np.abs(a - b)
    told["max_abs_error"] = float(error.max())
    peak = max(float(np.abs(a).max()), float(error.max())) or 1.0  # so that no square overflows
    noise, signal = float(np.sum((error / peak) ** 2)), float(np.sum((a / peak) ** 2))
    if noise > 0 and signal > 0:
        told["sqnr"] = float(10 * (np.log10(signal) - np.log10(noise)))
    return told
