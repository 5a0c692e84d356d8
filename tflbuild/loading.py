"""Does the runtime load a file? Asked in a process that may die of it.

The C++ interpreter trusts much of what a file says: an operator without the inputs that its
kernel reads, or without a tensor for its output, ends the process. `read_model` cannot know what
each kernel expects. So the file is loaded in a forked child with a limit on memory and time.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from tflbuild.errors import one_line
from tflbuild.limits import GIB, limit_memory

if TYPE_CHECKING:
    from tflbuild.tflite.read import TfliteModel

SECONDS = 120  # of processor time
MOST = 8 * GIB  # bytes of address space for the tensors that are not constant
# What is tried for dimensions that the app sets, where the 1 of the file cannot be allocated.
SIZES = (8, 32, 224)
_TOO_LONG = "the runtime takes longer than"
_CRASH = "it crashes the runtime"
_NO_REASON = "the runtime cannot allocate it, and gives no reason"
_NO_MEMORY = "out of memory while the runtime loads it"


Shapes = Mapping[int, tuple[int, ...]]  # of inputs, by tensor index


def load_problem(
    data: bytes,
    model: TfliteModel,
    delegates: Sequence[Any] = (),
    shapes: Shapes | None = None,
) -> str:
    """Why LiteRT refuses the file ("" when it does not): one line.

    `model` is what `read_model` made of `data`; `delegates` bring kernels that LiteRT has not;
    `shapes`: what inputs are resized to first.
    """
    tensors = activations(model)
    # What the tensors take at other shapes nobody knows before.
    allowed = GIB + 8 * len(data) + (MOST if shapes else min(tensors, MOST))
    if not hasattr(os, "fork"):
        return _load(data, delegates, shapes)
    reading, writing = os.pipe()
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            _try(data, delegates, shapes, parent, writing, allowed)
        finally:  # whatever happens, never return into the parent's code
            os._exit(70)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        said = stream.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    large = f"; its tensors take {tensors:,} bytes" if tensors > MOST else ""
    if code == 0:
        text = said.decode("utf-8", "replace")
        return text + large if text in (_NO_REASON, _NO_MEMORY) else text
    if code == -signal.SIGXCPU:
        return f"{_TOO_LONG} {SECONDS} s to load it"
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"{_CRASH} (signal {-code}, {signal.Signals(-code).name}){large}"
        return f"{_CRASH} (signal {-code}){large}"
    return f"{_CRASH} (it ended with status {code}){large}"


def crashes(problem: str) -> bool:
    """Whether what `load_problem` says is that the runtime did not survive."""
    return problem.startswith(_CRASH)


def load_sized(
    data: bytes, model: TfliteModel, delegates: Sequence[Any] = ()
) -> tuple[str, Shapes | None]:
    """As `load_problem`; where inputs are open beyond the batch and the placeholder of the file
    (1) cannot be allocated, `SIZES` are tried for all open dimensions.

    Returns:
        the problem of the file's own shapes ("" when it loads), and the shapes at which it loads
        where those are others; both "" and None: at its own.
    """
    problem = load_problem(data, model, delegates)
    if not problem or crashes(problem) or not open_inputs(model):
        return problem, None
    for size in SIZES:
        shapes = {index: _filled(shape, size) for index, shape in open_inputs(model).items()}
        told = load_problem(data, model, delegates, shapes)
        if not told:
            return "", shapes
        if told.startswith(_TOO_LONG):
            break
    return problem, None


def open_inputs(model: TfliteModel) -> dict[int, tuple[int, ...]]:
    """The inputs of the main subgraph that are open beyond the batch: -1 where they are."""
    graph = model.subgraphs[0]
    return {
        index: graph.tensors[index].shape_signature
        for index in graph.inputs
        if -1 in graph.tensors[index].shape_signature[1:]
    }


def _filled(shape: Sequence[int], size: int) -> tuple[int, ...]:
    return tuple(given if given >= 0 else size if axis else 1 for axis, given in enumerate(shape))


def activations(model: TfliteModel) -> int:
    """Bytes of all tensors that are not constant: more than a plan of their memory needs."""
    from tflbuild.tflite.read import BITS

    return sum(
        tensor.elements * BITS.get(tensor.dtype, 0) // 8
        for graph in model.subgraphs
        for tensor in graph.tensors
        if not tensor.is_constant
    )


def _try(
    data: bytes,
    delegates: Sequence[Any],
    shapes: Shapes | None,
    parent: int,
    writing: int,
    allowed: int,
) -> NoReturn:
    """The child: load it, and say what was wrong."""
    import faulthandler

    faulthandler.disable()  # that it crashes is an answer, not a fault
    if sys.platform == "linux":
        import ctypes
        import resource

        ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:
            os._exit(1)
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 5))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    limit_memory(allowed)
    os.write(writing, _load(data, delegates, shapes).encode("utf-8", "replace")[:4096])
    os._exit(0)


def _load(data: bytes, delegates: Sequence[Any], shapes: Shapes | None) -> str:
    from ai_edge_litert.interpreter import Interpreter

    try:
        given = list(delegates) or None
        interpreter = Interpreter(model_content=data, num_threads=1, experimental_delegates=given)
        for index, shape in (shapes or {}).items():
            interpreter.resize_tensor_input(index, shape)
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        return one_line(error) or _NO_REASON
    except MemoryError:
        return _NO_MEMORY
    except Exception as error:  # what C++ throws comes as whatever Python has for it
        return f"the runtime fails: {type(error).__name__}: {one_line(error)}"
    return ""
