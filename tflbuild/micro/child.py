"""The process that runs a file under tflite-micro and LiteRT; `run.py` starts it.

python -m tflbuild.micro.child MODEL FOUND PEAK_BYTES SAMPLES SEED

writes to FOUND a JSON object a line: what it found, and under `step` what it does next, so that
whoever started it knows where it ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..tflite.model import TfliteModel
from ..tflite.read import read_model

_STEP = 16  # MicroArenaBufferAlignment(), tensorflow/lite/micro/micro_arena_constants.h
_MOST_ARENA = 1 << 29
_BASE_MEMORY = 2 << 30  # bytes of address space: Python, NumPy and two runtimes
_MOST_MEMORY = 8 << 30
_MOST_TEXT = 1 << 16
# What the allocator says when the arena is too small, and nothing else does.
_TOO_SMALL = re.compile(
    r"[Ff]ailed to allocate (tail|temp|memory)|Failed to resize buffer|Too many buffers|"
    r"Arena size is too small|[Uu]nable to allocate|Failed to allocate",
)
_REPORTED = re.compile(r"\[RecordingMicroAllocator\] Arena allocation (\w+) (\d+) bytes")
_PART = re.compile(r"\[RecordingMicroAllocator\] '([^']+)' used (\d+) bytes")
_ERRORS = (Exception,)  # its Python part does not expect hostile files either
_FULL_RANGE = {"int8": (-128, 127), "uint8": (0, 255), "int16": (-32768, 32767)}
_SMALL = {"int32": np.int32, "int64": np.int64, "uint32": np.uint32, "bool": np.bool_}
_FLOATS = {"float32": np.float32, "float16": np.float16, "float64": np.float64}


def main(arguments: list[str]) -> None:
    name, found, peak, samples, seed = arguments
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    data = Path(name).read_bytes()
    most = min(_MOST_MEMORY, _BASE_MEMORY + 8 * (len(data) + int(peak)))
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(resource.RLIMIT_AS, (most, hard))
    with Path(found).open("w") as lines:

        def tell(**values: Any) -> None:
            lines.write(json.dumps(values) + "\n")
            lines.flush()

        _measure(data, tell, int(peak), int(samples), int(seed))


def _measure(data: bytes, tell: Any, peak: int, samples: int, seed: int) -> None:
    tell(step="importing tflite-micro")
    import tflite_micro

    model = read_model(data)
    tell(version=tflite_micro.__version__, step="allocating its tensors")
    interpreter, size, said = _allocate(data, peak)
    if interpreter is None:
        tell(problem=_reason(said))
        return
    with _heard() as heard:
        interpreter.print_allocations()
    sizes = {what: int(count) for what, count in _REPORTED.findall(heard.text)}
    tell(
        arena_bytes=sizes["total"],
        head_bytes=sizes["head"],
        tail_bytes=sizes["tail"],
        parts={what: int(count) for what, count in _PART.findall(heard.text)},
        step="looking for its smallest arena",
    )
    tell(smallest_arena_bytes=_smallest(data, sizes["total"], size), step="running it")
    inputs = seeded_inputs(model, samples, seed)
    outputs: list[list[Any]] = []
    error: Exception | None = None
    with _heard() as heard:
        try:
            outputs = [_run_micro(interpreter, sample, model) for sample in inputs]
        except _ERRORS as raised:
            error = raised
    if error:
        tell(problem=_reason(heard.text, error))
        return
    tell(step="LiteRT ran it")
    try:
        expected = _run_litert(data, inputs, model)
    except _ERRORS as reference:
        tell(reference_problem=_reason("", reference))
        return
    tell(outputs=_compare(model, outputs, expected), step="done")


def _interpreter(data: bytes, size: int) -> Any:
    from tflite_micro import runtime

    return runtime.Interpreter.from_bytes(data, arena_size=size)


def _allocate(data: bytes, peak: int) -> tuple[Any, int, str]:
    """(an interpreter with more than enough arena or None, its bytes, what was said)."""
    size = (1 << 16) + 2 * -(-peak // _STEP) * _STEP  # the figures depend on its last bits
    while True:
        raised = ""
        with _heard() as heard:
            try:
                return _interpreter(data, size), size, ""
            except _ERRORS as error:
                raised = str(error)
        said = f"{heard.text}\n{raised}"
        if not _TOO_SMALL.search(said) or size >= _MOST_ARENA:
            return None, size, said
        size = min(size * 8, _MOST_ARENA)


def _smallest(data: bytes, used: int, enough: int) -> int:
    """The smallest multiple of 16 bytes that it starts in; `used` of `enough` are in use.

    Each trial is a process: kernels that get no memory read a null pointer.
    """

    def fits(size: int) -> bool:
        if child := os.fork():
            return os.waitpid(child, 0)[1] == 0
        code = 1
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            _interpreter(data, size)
            code = 0
        finally:
            os._exit(code)

    low = -(-used // _STEP)
    if fits(low * _STEP):
        return low * _STEP
    high = -(-enough // _STEP)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle * _STEP) else (middle, high)
    return high * _STEP


@dataclass
class _Said:
    text: str = ""


@contextlib.contextmanager
def _heard() -> Iterator[_Said]:
    """What C++ code prints to standard error meanwhile; the text is there afterwards."""
    said = _Said()
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield said
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            said.text = file.read(_MOST_TEXT).decode(errors="replace")


def _reason(said: str, error: Exception | None = None) -> str:
    """The lines that say why, of what the interpreter printed and raised."""
    lines = [*said.splitlines(), *(str(error).splitlines() if error else [])]
    kept = list(dict.fromkeys(line.strip() for line in lines if line.strip()))
    return "; ".join(kept[:4])[:500] or (type(error).__name__ if error else "it said nothing")


def seeded_inputs(model: TfliteModel, samples: int, seed: int) -> list[list[Any]]:
    """`samples` lists of arrays for the inputs of the main subgraph."""
    random = np.random.default_rng(seed)
    graph = model.subgraphs[0]
    result = []
    for _ in range(samples):
        sample = []
        for index in graph.inputs:
            tensor = graph.tensors[index]
            shape = tuple(max(size, 1) if size < 0 else size for size in tensor.shape)
            if kind := _FULL_RANGE.get(tensor.dtype):
                low, high = kind
                sample.append(random.integers(low, high + 1, shape).astype(tensor.dtype))
            elif small := _SMALL.get(tensor.dtype):
                sample.append(random.integers(0, 2, shape).astype(small))
            else:
                dtype = _FLOATS.get(tensor.dtype, np.float32)
                sample.append(random.uniform(-1, 1, shape).astype(dtype))
        result.append(sample)
    return result


def _run_micro(interpreter: Any, sample: list[Any], model: TfliteModel) -> list[Any]:
    for index, value in enumerate(sample):
        interpreter.set_input(value, index)
    interpreter.invoke()
    return [interpreter.get_output(i) for i in range(len(model.subgraphs[0].outputs))]


def _run_litert(data: bytes, inputs: list[list[Any]], model: TfliteModel) -> list[list[Any]]:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        model_content=data, experimental_op_resolver_type=OpResolverType.BUILTIN_REF
    )
    interpreter.allocate_tensors()
    graph, results = model.subgraphs[0], []
    for sample in inputs:
        for index, value in zip(graph.inputs, sample, strict=True):
            interpreter.set_tensor(index, value)
        interpreter.invoke()
        results.append([interpreter.get_tensor(index).copy() for index in graph.outputs])
    return results


def _compare(
    model: TfliteModel, outputs: list[list[Any]], expected: list[list[Any]]
) -> list[dict[str, Any]]:
    graph, result = model.subgraphs[0], []
    for position, index in enumerate(graph.outputs):
        ours = np.stack([sample[position] for sample in outputs]) if outputs else np.zeros(0)
        theirs = np.stack([sample[position] for sample in expected]) if expected else np.zeros(0)
        tensor = graph.tensors[index]
        entry = {"name": tensor.name, "dtype": tensor.dtype}
        result.append({**entry, **_difference(ours, theirs)})
    return result


def _difference(ours: Any, theirs: Any) -> dict[str, Any]:
    if ours.size != theirs.size:
        return {"equal": False, "differ": 1.0, "shapes": [list(ours.shape), list(theirs.shape)]}
    ours, theirs = ours.reshape(-1), theirs.reshape(-1)
    floats = ours.dtype.kind in "fc"
    same = (ours == theirs) | ((ours != ours) & (theirs != theirs))
    differ = float(1 - same.mean()) if same.size else 0.0
    entry: dict[str, Any] = {"equal": bool(same.all()), "differ": round(differ, 6)}
    wide = np.float64 if floats else np.int64
    with np.errstate(all="ignore"):
        gaps = np.abs(ours.astype(wide) - theirs.astype(wide))[~same]
    largest = gaps.max() if gaps.size else 0
    if not floats:
        return {**entry, "largest_steps": int(largest)}
    return {**entry, "largest_error": float(largest) if np.isfinite(largest) else None}


if __name__ == "__main__":
    main(sys.argv[1:])
