"""Kernels of custom ops for an interpreter, out of a shared library that knows nothing of Python.

The library exports, for each op, a C function without arguments that gives a pointer to its
`TfLiteRegistration`. That struct of four functions is what C++ applications hand to
`MutableOpResolver::AddCustom`, and part of TensorFlow Lite's C interface
(`tflite/core/c/common.h`, LiteRT, 2026-08; the same in TensorFlow 2.4 to 2.21).

Python's interpreters have no door for it: their `custom_op_registerers` take C++ functions that
call `AddCustom`, and the wheels of LiteRT export no such symbol. But they take delegates, and a
delegate is a C struct with a function that the interpreter calls once for each subgraph. Ours
delegates nothing. It goes through the nodes, and gives those whose op the interpreter could not
resolve the functions of the library: the registration of a node is the subgraph's own copy.

Written for Python 3.8 and later, without packages.
"""

from __future__ import annotations

import ctypes
import os
from typing import Any

CUSTOM = 32  # BuiltinOperator_CUSTOM
OK, ERROR = 0, 1  # TfLiteStatus
ALLOW_DYNAMIC_TENSORS = 1  # kTfLiteDelegateFlagsAllowDynamicTensors: nodes are not prepared before

_pointer = ctypes.c_void_p


class _IntArray(ctypes.Structure):
    """TfLiteIntArray; `data` follows."""

    _fields_ = (("size", ctypes.c_int),)


class _Registration(ctypes.Structure):
    """The beginning of TfLiteRegistration."""

    _fields_ = (
        ("init", _pointer),
        ("free", _pointer),
        ("prepare", _pointer),
        ("invoke", _pointer),
        ("profiling_string", _pointer),
        ("builtin_code", ctypes.c_int32),
        ("custom_name", ctypes.c_char_p),
    )


class _Node(ctypes.Structure):
    """The beginning of TfLiteNode."""

    _fields_ = (
        ("inputs", _pointer),
        ("outputs", _pointer),
        ("intermediates", _pointer),
        ("temporaries", _pointer),
        ("user_data", _pointer),
        ("builtin_data", _pointer),
        ("custom_initial_data", _pointer),
        ("custom_initial_data_size", ctypes.c_int),
    )


_GET_PLAN = ctypes.CFUNCTYPE(ctypes.c_int, _pointer, ctypes.POINTER(ctypes.POINTER(_IntArray)))
_GET_NODE = ctypes.CFUNCTYPE(
    ctypes.c_int, _pointer, ctypes.c_int,
    ctypes.POINTER(ctypes.POINTER(_Node)), ctypes.POINTER(ctypes.POINTER(_Registration)),
)  # fmt: skip
_INIT = ctypes.CFUNCTYPE(_pointer, _pointer, _pointer, ctypes.c_size_t)
_PREPARE = ctypes.CFUNCTYPE(ctypes.c_int, _pointer, _pointer)


class _Context(ctypes.Structure):
    """The beginning of TfLiteContext."""

    _fields_ = (
        ("tensors_size", ctypes.c_size_t),
        ("GetExecutionPlan", _GET_PLAN),
        ("tensors", _pointer),
        ("impl_", _pointer),
        ("ResizeTensor", _pointer),
        ("ReportError", _pointer),
        ("AddTensors", _pointer),
        ("GetNodeAndRegistration", _GET_NODE),
    )


class _Delegate(ctypes.Structure):
    """TfLiteDelegate."""

    _fields_ = (
        ("data_", _pointer),
        ("Prepare", _PREPARE),
        ("CopyFromBufferHandle", _pointer),
        ("CopyToBufferHandle", _pointer),
        ("FreeBufferHandle", _pointer),
        ("flags", ctypes.c_int64),
        ("opaque_delegate_builder", _pointer),
    )


class LibraryError(Exception):
    """A library, or a function that it should hold, is not there; one line."""


def registrations(path: str, ops: dict[str, str]) -> dict[str, int]:
    """The addresses of the registrations of `ops` (name in the file → function of the library).

    The library stays loaded for the life of the process. Raises LibraryError.
    """
    try:
        library = ctypes.CDLL(path)
    except OSError as error:
        said = " ".join(str(error).split())
        raise LibraryError(f"cannot be loaded: {said}") from error
    found = {}
    for name, function in sorted(ops.items()):
        try:
            register = getattr(library, function)
        except AttributeError:
            raise LibraryError(
                f'has no function {function} for the op {name}: declare it extern "C", and export'
                " it"
            ) from None
        register.restype = _pointer
        address = register()
        if not address or not ctypes.cast(address, ctypes.POINTER(_Registration)).contents.invoke:
            raise LibraryError(
                f"gives no kernel for the op {name}: {function}() must return a TfLiteRegistration*"
                " whose invoke is set"
            )
        found[name] = int(address)
    return found


class CustomOps:
    """For `Interpreter(experimental_delegates=[CustomOps(addresses)])`: the kernels of custom ops.

    `addresses`: name in the file → address of a TfLiteRegistration.
    """

    def __init__(self, addresses: dict[str, int]) -> None:
        self._addresses = {name.encode(): address for name, address in addresses.items()}
        self._struct = _Delegate(
            Prepare=_PREPARE(self._prepare), flags=ALLOW_DYNAMIC_TENSORS
        )  # which keeps the function alive, as the interpreter keeps this object

    def _get_native_delegate_pointer(self) -> int:
        """What the interpreter asks of a delegate."""
        return ctypes.addressof(self._struct)

    def _prepare(self, address: int, _: Any) -> int:
        context = ctypes.cast(address, ctypes.POINTER(_Context)).contents
        plan = ctypes.POINTER(_IntArray)()
        if context.GetExecutionPlan(address, ctypes.byref(plan)) != OK:
            return ERROR
        start = ctypes.addressof(plan.contents) + ctypes.sizeof(ctypes.c_int)
        for index in list((ctypes.c_int * plan.contents.size).from_address(start)):
            node, registration = ctypes.POINTER(_Node)(), ctypes.POINTER(_Registration)()
            if context.GetNodeAndRegistration(
                address, index, ctypes.byref(node), ctypes.byref(registration)
            ) != OK:  # fmt: skip
                return ERROR
            self._give(address, node.contents, registration.contents)
        return OK

    def _give(self, context: int, node: _Node, registration: _Registration) -> None:
        """A node's own functions, where its op is one of ours."""
        name = registration.custom_name or b""
        if registration.builtin_code != CUSTOM or name not in self._addresses:
            return
        ours = ctypes.cast(self._addresses[name], ctypes.POINTER(_Registration)).contents
        if registration.invoke == ours.invoke:
            return
        for function in ("init", "free", "prepare", "invoke", "profiling_string"):
            setattr(registration, function, getattr(ours, function))
        if ours.init:  # which the interpreter does when it adds a node
            node.user_data = _INIT(ours.init)(
                context, node.custom_initial_data, node.custom_initial_data_size
            )


def registerer(tensorflow: str, addresses: dict[str, int]) -> Any:
    """For `TargetSpec._experimental_custom_op_registerers`, with TensorFlow's converter: a function
    that takes the address of a `tflite::MutableOpResolver`.

    `tensorflow`: the folder of the package, whose main library exports `AddCustom`. Raises
    LibraryError when it does not.
    """
    path = os.path.join(tensorflow, "libtensorflow_cc.so.2")
    try:
        # tflite::MutableOpResolver::AddCustom(char const*, TfLiteRegistration const*, int)
        add = ctypes.CDLL(path)._ZN6tflite17MutableOpResolver9AddCustomEPKcPK18TfLiteRegistrationi
    except (OSError, AttributeError):
        raise LibraryError(
            "cannot be used for calibration: this TensorFlow does not export"
            " MutableOpResolver::AddCustom"
        ) from None
    add.argtypes, add.restype = (_pointer, ctypes.c_char_p, _pointer, ctypes.c_int), None
    names = {name: name.encode() for name in addresses}

    def register(resolver: int) -> None:
        for name, address in addresses.items():
            add(resolver, names[name], address, 1)

    return register
