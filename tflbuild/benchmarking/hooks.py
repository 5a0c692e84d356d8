"""Times of single operators, and the arena, out of the interpreter itself.

The wheels of LiteRT offer no profiler to Python. But the interpreter takes delegates, and a
delegate is a C struct with a function that is called once for each subgraph (see
`foreign/custom_ops.py`). Ours delegates nothing:

- `Visitor`, handed to a graph that is ready to run, sees each node of the plan with its functions
  (`TfLiteRegistration`), and puts one of ours in the place of `invoke`, which looks at the clock
  before and after. It also sees the tensors, and so how far the arena reaches.
- `Profiler`, handed over before all other delegates, gives the subgraph's context an object with
  the methods of `tflite::Profiler` (tflite/core/api/profiler.h). XNNPACK, which runs many operators
  as one node, then reports the times of its own operators to it, in whole microseconds.

The structs are those of `tflite/core/c/common.h`; the order of the methods is that of the header,
as the C++ ABI of Linux lays them out (LiteRT, 2026-08). All of this runs in a process that may die.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tflbuild.foreign import custom_ops as abi

DELEGATE = 51  # kTfLiteBuiltinDelegate
ARENA, PERSISTENT = 2, 3  # kTfLiteArenaRw, kTfLiteArenaRwPersistent
# kTfLiteDelegateFlagsAllowDynamicTensors: nodes are not prepared before.
_FLAGS = abi.ALLOW_DYNAMIC_TENSORS
# Profiler::EventType: an operator within a delegate; 3 is what XNNPACK uses.
_INSIDE = (1 << 2, 1 << 3)

_pointer = ctypes.c_void_p
_INVOKE = ctypes.CFUNCTYPE(ctypes.c_int, _pointer, _pointer)


class _Context(ctypes.Structure):
    """TfLiteContext as far as `profiler`."""

    _fields_ = (
        *abi._Context._fields_,
        ("ReplaceNodeSubsetsWithDelegateKernels", _pointer),
        ("recommended_num_threads", ctypes.c_int),
        ("GetExternalContext", _pointer),
        ("SetExternalContext", _pointer),
        ("allow_fp32_relax_to_fp16", ctypes.c_bool),
        ("profiler", _pointer),
    )


class _Tensor(ctypes.Structure):
    """TfLiteTensor."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("data", _pointer),
        ("dims", _pointer),
        ("scale", ctypes.c_float),
        ("zero_point", ctypes.c_int32),
        ("allocation_type", ctypes.c_int),
        ("bytes", ctypes.c_size_t),
        ("allocation", _pointer),
        ("name", ctypes.c_char_p),
        ("delegate", _pointer),
        ("buffer_handle", ctypes.c_int),
        ("data_is_stale", ctypes.c_bool),
        ("is_variable", ctypes.c_bool),
        ("quantization_type", ctypes.c_int),
        ("quantization_params", _pointer),
        ("sparsity", _pointer),
        ("dims_signature", _pointer),
    )


@dataclass
class Node:
    """One node of a subgraph's plan."""

    index: int  # that of the file's operator, or a higher one: a delegate's
    delegate: str = ""  # the delegate's name, "" for an operator by itself
    nanoseconds: list[int] = field(default_factory=list)
    inside: dict[tuple[int, str], list[int]] = field(default_factory=dict)  # microseconds
    first_output: int = -1


class _Hook:
    """A delegate that looks at each subgraph in turn."""

    def __init__(self) -> None:
        self.seen = 0
        self._struct = abi._Delegate(Prepare=abi._PREPARE(self._prepare), flags=_FLAGS)

    def _get_native_delegate_pointer(self) -> int:
        return ctypes.addressof(self._struct)

    def _prepare(self, address: int, _: Any) -> int:
        index, self.seen = self.seen, self.seen + 1
        try:
            self.look(index, address)
        except Exception:  # nothing may fly through C++
            return abi.ERROR
        return abi.OK

    def look(self, subgraph: int, address: int) -> None:
        raise NotImplementedError


class Profiler(_Hook):
    """Takes what XNNPACK says of its operators, while `on`."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[tuple[int, str, int]] = []  # index, name, microseconds
        self._contexts: list[int] = []
        nothing = ctypes.CFUNCTYPE(None, _pointer)(lambda _: None)
        begin = ctypes.CFUNCTYPE(
            ctypes.c_uint32, _pointer, ctypes.c_char_p, ctypes.c_int, ctypes.c_int64, ctypes.c_int64
        )(lambda *_: 0)
        end_with = ctypes.CFUNCTYPE(
            None, _pointer, ctypes.c_uint32, ctypes.c_int64, ctypes.c_int64
        )(lambda *_: None)
        end = ctypes.CFUNCTYPE(None, _pointer, ctypes.c_uint32)(lambda *_: None)
        add = ctypes.CFUNCTYPE(
            None, _pointer, ctypes.c_char_p, ctypes.c_int, ctypes.c_uint64, ctypes.c_int64,
            ctypes.c_int64,
        )(self._add)  # fmt: skip
        add_data = ctypes.CFUNCTYPE(
            None, _pointer, ctypes.c_char_p, ctypes.c_int, _pointer
        )(lambda *_: None)  # fmt: skip
        # Two destructors come first.
        self._methods = (nothing, nothing, begin, end_with, end, add, add_data)
        table = (_pointer * len(self._methods))(
            *(ctypes.cast(method, _pointer) for method in self._methods)
        )
        self._table = table
        self._object = (_pointer * 1)(ctypes.addressof(table))

    def look(self, subgraph: int, address: int) -> None:
        self._contexts.append(address)
        self.on(True)

    def on(self, wanted: bool) -> None:
        """XNNPACK must find it when it is made; who measures anything else turns it off then."""
        for address in self._contexts:
            context = ctypes.cast(address, ctypes.POINTER(_Context)).contents
            context.profiler = ctypes.addressof(self._object) if wanted else None

    def _add(
        self, _: int, tag: bytes | None, kind: int, microseconds: int, index: int, __: int
    ) -> None:
        if kind in _INSIDE:
            name = (tag or b"?").decode("utf-8", "replace")
            self.events.append((index, name, microseconds))


class Visitor(_Hook):
    """What the plan of one subgraph holds; with `timing`, each node's time from now on."""

    def __init__(
        self,
        subgraph: int,
        timing: bool = False,
        profiler: Profiler | None = None,
        clock: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        super().__init__()
        self.nodes: list[Node] = []
        self.threads = 0  # that the context recommends to kernels
        self._subgraph = subgraph
        self._timing = timing
        self._profiler = profiler
        self._clock = clock
        self._context = 0
        self._kept: list[Any] = []  # functions that C calls

    def look(self, subgraph: int, address: int) -> None:
        if subgraph != self._subgraph:
            return
        self._context = address
        context = ctypes.cast(address, ctypes.POINTER(_Context)).contents
        self.threads = context.recommended_num_threads
        plan = ctypes.POINTER(abi._IntArray)()
        if context.GetExecutionPlan(address, ctypes.byref(plan)) != abi.OK:
            raise RuntimeError("no execution plan")
        for index in _ints(plan):
            node = ctypes.POINTER(abi._Node)()
            registration = ctypes.POINTER(abi._Registration)()
            if context.GetNodeAndRegistration(
                address, index, ctypes.byref(node), ctypes.byref(registration)
            ) != abi.OK:  # fmt: skip
                raise RuntimeError("no node")
            self._take(index, node.contents, registration.contents)

    def _take(self, index: int, node: Any, registration: Any) -> None:
        name = registration.custom_name
        told = registration.builtin_code == DELEGATE
        found = Node(index, (name or b"?").decode("utf-8", "replace") if told else "")
        outputs = _ints(ctypes.cast(node.outputs, ctypes.POINTER(abi._IntArray)))
        found.first_output = outputs[0] if outputs else -1
        self.nodes.append(found)
        if self._timing and registration.invoke:
            ours = _INVOKE(self._timed(_INVOKE(registration.invoke), found))
            self._kept.append(ours)
            registration.invoke = ctypes.cast(ours, _pointer).value

    def _timed(self, original: Any, node: Node) -> Callable[[int, int], int]:
        clock, taken = self._clock, node.nanoseconds.append
        events = self._profiler.events if self._profiler is not None else []

        def invoke(context: int, address: int) -> int:
            started = clock()
            status: int = original(context, address)
            taken(clock() - started)
            for index, name, microseconds in events:
                node.inside.setdefault((index, name), []).append(microseconds)
            events.clear()
            return status

        return invoke

    def arena(self, sizes: Mapping[int, int]) -> dict[str, int] | None:
        """Bytes from the first to the last byte of the tensors that live in the arena, and in the
        one that is kept from call to call.

        Args:
            sizes: bytes of some tensors, by index, as the interpreter itself gives them.

        None where the struct is not laid out as here, which those show.
        """
        context = ctypes.cast(self._context, ctypes.POINTER(_Context)).contents
        if not self._context or not context.tensors:
            return None
        tensors = (_Tensor * context.tensors_size).from_address(context.tensors)
        if any(i >= len(tensors) or tensors[i].bytes != size for i, size in sizes.items()):
            return None
        found = {}
        for name, kind in (("bytes", ARENA), ("persistent_bytes", PERSISTENT)):
            own = [t for t in tensors if t.allocation_type == kind and t.data]
            first = min((t.data for t in own), default=0)
            found[name] = max((t.data + t.bytes for t in own), default=0) - first
        return found


def _ints(array: Any) -> list[int]:
    """What a TfLiteIntArray holds."""
    if not array:
        return []
    start = ctypes.addressof(array.contents) + ctypes.sizeof(ctypes.c_int)
    return list((ctypes.c_int * array.contents.size).from_address(start))
