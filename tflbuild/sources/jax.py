"""`jax`: a JAX function with its parameters.

Lowered by jax2tf. Of the ways from JAX to a TensorFlow Lite file it is the one that lasts: it is
maintained (its deprecations of 2025 concern the non-native serialization alone) and is itself
`jax.export` plus the one op, XlaCallModule, by which TensorFlow's converter takes StableHLO;
`jax.export` alone ends at StableHLO, which the converter does not read. What bounds both is the
StableHLO that TensorFlow can read: 2.21 reads that of JAX 0.6 to 0.10, and not all of 0.12's.
`TFLiteConverter.experimental_from_jax` is deprecated since TensorFlow 2.14 and takes no names.

The reference is the JAX function itself, run by JAX.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import inspect
import os
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tflbuild import pyrun
from tflbuild.errors import TaskError, one_line
from tflbuild.sources.base import GRAPH, Loaded, Signature, Tensors, TensorSpec
from tflbuild.sources.keras import unique

NAME = "jax"
MODULES: tuple[str, ...] = ("jax", "jaxlib", "ml_dtypes")
KEYS: tuple[str, ...] = ("python", "args", "params")
EXAMPLE = "package.module:function"
FOLDER = False
LOWERED = GRAPH
RUNS_ALONE = False

INSTALL = "pip install 'tflbuild[jax]'"
KEY = "source.python"
MAX_PARAMETERS = 2**31 - 2**24  # bytes that one graph can carry
WIDE = frozenset({"int64", "uint64", "float64", "complex128"})
DYNAMIC = (
    "dynamic dimensions of a JAX function become many more operations in the file (in a small"
    " network 38 where a fixed shape needs 5): pin fixed shapes under `inputs` if you can"
)


def problem(path: str, shown: str) -> str:
    return ""


def files(path: Path) -> tuple[Sequence[tuple[str, Path]], Sequence[Path]]:
    return [], []


def load(path: Path, params: Mapping[str, Any]) -> Loaded:
    import tensorflow as tf

    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    try:
        import jax
        from jax.experimental import jax2tf
    except ImportError as error:
        raise TaskError(
            f"the source is a JAX function and JAX cannot be imported: {INSTALL}"
            f" ({one_line(error)})",
            key="source.format",
        ) from error

    _leave_out_places()
    pyrun.set_seeds()
    forward, parameters, examples = _made(params)
    inputs = _inputs(forward, parameters is not _NONE, examples, params["pins"])
    _check_dtypes(inputs)
    size = sum(getattr(leaf, "nbytes", 0) for leaf in jax.tree_util.tree_leaves(parameters))
    if size > MAX_PARAMETERS:
        raise TaskError(f"{size:,} bytes of parameters are more than a graph can hold", key=KEY)

    names: list[str] = []

    def flat(*arrays: Any) -> tuple[Any, ...]:
        """From arrays in order to arrays in order; names the outputs when it is traced."""
        args, named = inputs.bind(arrays)
        given = () if parameters is _NONE else (parameters,)
        leaves = list(_leaves(forward(*given, *args, **named)))
        names[:] = unique([_name(way) for way, _ in leaves])
        return tuple(jax.numpy.asarray(leaf) for _, leaf in leaves)

    shapes = _symbolic(inputs.specs)
    polymorphic = [None if shape is None else f"({', '.join(shape)})" for shape in shapes]
    pyrun.call(_trace, flat, inputs.specs, shapes, key=KEY)
    outputs = tuple(names)
    converted = jax2tf.convert(flat, polymorphic_shapes=polymorphic, with_gradient=False)
    jitted = jax.jit(flat)

    def function(tensors: Tensors) -> Tensors:
        flat_results = pyrun.call(converted, *[tensors[s.name] for s in inputs.specs], key=KEY)
        return dict(zip(outputs, flat_results, strict=True))

    def run(arrays: Tensors) -> Tensors:
        import numpy as np

        results = pyrun.call(jitted, *[arrays[spec.name] for spec in inputs.specs], key=KEY)
        return {name: np.asarray(one) for name, one in zip(outputs, results, strict=True)}

    def save(traced: Mapping[str, Any], folder: Path) -> None:
        tf.saved_model.save(tf.Module(), str(folder), signatures=dict(traced))

    signature = Signature("serving_default", inputs.specs, outputs, function, run)
    warnings = (DYNAMIC,) if any(shapes) else ()
    return Loaded(f"jax {jax.__version__}", (signature,), save, warnings=warnings)


def _leave_out_places() -> None:
    """No files and lines of the code in the lowered graph: a comment would change it, and so
    would the name of the scratch folder."""
    import jax

    jax.config.update("jax_traceback_in_locations_limit", 0)
    # JAX 0.6 keeps one frame all the same, unless it takes none for the user's.
    with contextlib.suppress(ImportError, AttributeError):
        from jax._src import source_info_util

        source_info_util.register_exclusion("/")


_NONE = object()  # a function without parameters


def _made(params: Mapping[str, Any]) -> tuple[Callable[..., Any], Any, Any]:
    """The forward function, its parameters (or _NONE), and examples of its inputs (or None)."""
    code = pyrun.function(params["python"], KEY)
    if "params" in params:
        bound = params.get("args") or {}
        forward = functools.partial(code, **bound) if bound else code
        return forward, _parameters(params["params"]), None
    _check_factory(code, params.get("args"))
    made = pyrun.call_with(code, params.get("args"), KEY)
    if callable(made):
        return made, _NONE, None
    if isinstance(made, tuple) and len(made) in (2, 3) and callable(made[0]):
        return made[0], made[1], made[2] if len(made) == 3 else None
    raise TaskError(
        "expected (function, params) or (function, params, example_inputs), got"
        f" {_kind(made)}; a function that takes parameters itself needs `params` in the manifest",
        key=KEY,
    )


def _check_factory(code: Callable[..., Any], args: Any) -> None:
    """Raises TaskError for a function that wants more than the manifest's `args`: most often the
    forward function itself, where `params` were forgotten."""
    try:
        signature = inspect.signature(code)
    except (TypeError, ValueError):
        return
    given = (args, ()) if isinstance(args, Mapping) else ({}, args or ())
    try:
        signature.bind(*given[1], **given[0])
    except TypeError as error:
        raise TaskError(
            f"without source.params the function is a factory, called with `args` alone, and it"
            f" takes {signature} ({error}): is it the forward function, add"
            " `params: {npz: FILE}` or `params: {python: …}`",
            key=KEY,
        ) from error


def _kind(value: Any) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(type(item).__name__ for item in value[:4])})"
    return type(value).__name__


def _parameters(given: Mapping[str, Any]) -> Any:
    if "python" in given:
        key = "source.params.python"
        return pyrun.call_with(pyrun.function(given["python"], key), given.get("args"), key)
    return read_npz(pyrun.input_file("params.npz"))


def read_npz(path: Path) -> dict[str, Any]:
    """An archive's arrays as nested mappings: `dense/kernel` or `dense.kernel` is `kernel` in
    `dense`. Raises TaskError."""
    import ml_dtypes
    import numpy as np

    key = "source.params"
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, AttributeError) as error:
        raise TaskError(f"not a readable .npz archive of arrays: {one_line(error)}", key) from error
    separator = "/" if any("/" in name for name in arrays) else "."
    tree: dict[str, Any] = {}
    for name, array in arrays.items():
        if array.dtype == np.dtype("V2"):  # how NumPy saves what it does not know
            array = array.view(ml_dtypes.bfloat16)
        *folders, last = name.split(separator)
        level: Any = tree
        for folder in folders:
            level = level.setdefault(folder, {})
            if not isinstance(level, dict):
                break
        if not isinstance(level, dict) or last in level:
            raise TaskError(f"{name!r} is an array and holds others", key)
        level[last] = array
    return tree


@dataclasses.dataclass(frozen=True)
class _Inputs:
    """Named inputs in order, and how they become the arguments of the forward function."""

    specs: tuple[TensorSpec, ...]
    bind: Callable[[Sequence[Any]], tuple[Sequence[Any], Mapping[str, Any]]]


def _inputs(
    forward: Callable[..., Any], has_params: bool, examples: Any, pins: Mapping[str, Any]
) -> _Inputs:
    """From examples where there are some, else from the manifest's `inputs`. Raises TaskError."""
    known = {**pins, **(examples if isinstance(examples, Mapping) else {})}
    positional, any_positional, any_named = _arguments(forward, has_params, known)
    if examples is None:
        values: dict[str, Any] = {name: _Pinned(name) for name in pins}
        if not pins:
            asked = f" ({', '.join(positional)})" if positional else ""
            raise TaskError(
                f"the inputs of the function{asked} are not known: give their shape and dtype"
                " under `inputs`, or return example inputs",
                key=KEY,
            )
    elif isinstance(examples, Mapping):
        values = dict(examples)
    else:
        listed = list(examples) if isinstance(examples, list | tuple) else [examples]
        names = [*positional, *(name for name in pins if name not in positional)]
        names += [f"input_{index}" for index in range(len(names), len(listed))]
        values = dict(zip(names, listed, strict=False))
    by_position = [name for name in positional if name in values]
    others = [name for name in values if name not in by_position]
    if others and not by_position and len(positional) == 1 and examples is None:
        if len(others) == 1 and not positional[0].startswith("_"):
            raise TaskError(
                f"inputs: the function takes no {others[0]!r}; its argument is {positional[0]!r}",
                key=f"inputs.{others[0]}",
            )
    if others and not by_position and len(positional) == 1:
        # One argument under another name; or one that takes all inputs by name.
        one = len(others) == 1
        structure: Any = values[others[0]] if one else {name: values[name] for name in others}
        return _flattened([((others[0],) if one else (), structure, None)], pins)
    if others and not any_positional and not any_named:
        raise TaskError(
            f"the function takes no {others[0]!r}; its arguments are {positional}", key=KEY
        )
    missing = [name for name in positional if name not in values]
    if missing:
        raise TaskError(
            f"argument {missing[0]!r} of the function is not among the inputs {list(values)}:"
            " give its shape and dtype under `inputs`",
            key=KEY,
        )
    order = [*by_position, *others]
    named = {name for name in others if not any_positional}
    return _flattened(
        [((name,), values[name], name if name in named else None) for name in order], pins
    )


def _arguments(
    forward: Callable[..., Any], has_params: bool, known: Mapping[str, Any]
) -> tuple[list[str], bool, bool]:
    """Names of the arguments that are inputs; whether it takes more by position, by name.
    `known`: the inputs that the manifest or an example describes."""
    try:
        parameters = list(inspect.signature(forward).parameters.values())
    except (TypeError, ValueError):
        return [], True, False
    first = parameters[0] if parameters else None
    if has_params and first is not None and first.kind not in (first.VAR_POSITIONAL,):
        parameters = parameters[1:]
    names = [
        p.name
        for p in parameters
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        and (p.default is p.empty or p.name in known)
    ]
    kinds = {p.kind for p in parameters}
    any_named = inspect.Parameter.VAR_KEYWORD in kinds or any(
        p.kind is p.KEYWORD_ONLY and p.name in known for p in parameters
    )
    return names, inspect.Parameter.VAR_POSITIONAL in kinds, any_named


@dataclasses.dataclass(frozen=True)
class _Pinned:
    """Stands for an input that only the manifest describes."""

    name: str


def _flattened(
    arguments: Sequence[tuple[tuple[str, ...], Any, str | None]], pins: Mapping[str, Any]
) -> _Inputs:
    """`arguments`: the beginning of the names, an array or a structure of such, and the keyword
    (None: by position)."""
    import jax

    leaves: list[tuple[str, Any]] = []
    parts: list[tuple[int, Any, str | None]] = []
    for prefix, value, keyword in arguments:
        found, structure = jax.tree_util.tree_flatten_with_path(value)
        for way, leaf in found:
            leaves.append(("_".join((*prefix, *map(_step, way))), leaf))
        parts.append((len(found), structure, keyword))

    names = unique([name for name, _ in leaves])  # {"a": {"b": …}, "a_b": …} names one twice
    specs = [_spec(name, leaf, pins) for name, (_, leaf) in zip(names, leaves, strict=True)]

    def bind(arrays: Sequence[Any]) -> tuple[list[Any], dict[str, Any]]:
        rest, args, named = list(arrays), [], {}
        for count, structure, keyword in parts:
            value = jax.tree_util.tree_unflatten(structure, rest[:count])
            rest = rest[count:]
            if keyword is None:
                args.append(value)
            else:
                named[keyword] = value
        return args, named

    return _Inputs(tuple(specs), bind)


def _spec(name: str, leaf: Any, pins: Mapping[str, Any]) -> TensorSpec:
    import numpy as np

    pin = pins.get(name) or {}
    shape, dtype = pin.get("shape"), pin.get("dtype")
    if not isinstance(leaf, _Pinned):
        array = leaf if hasattr(leaf, "shape") and hasattr(leaf, "dtype") else np.asarray(leaf)
        shape = list(array.shape) if shape is None else shape
        dtype = str(array.dtype) if dtype is None else dtype
    if shape is None or dtype is None:
        what = "shape" if shape is None else "dtype"
        raise TaskError(
            f"inputs.{name} has no {what}: a JAX function says neither shape nor dtype of its"
            " inputs, so give both",
            key=f"inputs.{name}",
        )
    return TensorSpec(name, tuple(shape), dtype)


def _check_dtypes(inputs: _Inputs) -> None:
    import jax

    for spec in inputs.specs:
        if spec.dtype in WIDE and not jax.config.jax_enable_x64:
            narrow = spec.dtype.replace("64", "32").replace("128", "64")
            raise TaskError(
                f"input {spec.name!r} is {spec.dtype}, and JAX computes in 32 bits: take {narrow},"
                " or set JAX_ENABLE_X64=1 and write `env: [JAX_ENABLE_X64]`",
                key=f"inputs.{spec.name}",
            )
        if spec.dtype in ("string", "object"):
            raise TaskError(f"input {spec.name!r}: JAX has no {spec.dtype}s", key=KEY)


def _symbolic(specs: Sequence[TensorSpec]) -> list[tuple[str, ...] | None]:
    """The dimensions of each input as symbols; None for one whose shape is fixed. The first
    dimension is the batch, which inputs share."""
    shapes: list[tuple[str, ...] | None] = []
    for index, spec in enumerate(specs):
        assert spec.shape is not None
        symbols = tuple(
            str(size) if size is not None else "b" if axis == 0 else f"d{index}_{axis}"
            for axis, size in enumerate(spec.shape)
        )
        shapes.append(symbols if None in spec.shape else None)
    return shapes


def _trace(
    flat: Callable[..., Any],
    specs: Sequence[TensorSpec],
    shapes: Sequence[tuple[str, ...] | None],
) -> None:
    """Run a function on abstract inputs, so that what is wrong with it is said early."""
    import jax
    from jax import export

    scope = export.SymbolicScope()
    given = []
    for spec, symbols in zip(specs, shapes, strict=True):
        shape: Any = spec.shape
        if symbols is not None:
            text = ", ".join(symbols) + ("," if len(symbols) == 1 else "")
            shape = export.symbolic_shape(text, scope=scope)
        given.append(jax.ShapeDtypeStruct(shape, spec.dtype))
    jax.eval_shape(flat, *given)


def _leaves(value: Any, way: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The arrays in what a function gives, in its own order, with the way to each."""
    import jax

    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(item, (*way, str(key)))
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield from _leaves(getattr(value, field.name), (*way, field.name))
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        for name in value._fields:
            yield from _leaves(getattr(value, name), (*way, name))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _leaves(item, (*way, str(index)))
    elif hasattr(value, "shape") or isinstance(value, bool | int | float):
        yield way, value
    elif value is not None:
        found = jax.tree_util.tree_flatten_with_path(value)[0]
        if len(found) == 1 and found[0][1] is value:
            raise TaskError(f"the function gives a {type(value).__name__}, not arrays", key=KEY)
        for keys, leaf in found:
            yield from _leaves(leaf, (*way, *map(_step, keys)))


def _step(key: Any) -> str:
    """One step of the way to a leaf, as JAX names it."""
    for attribute in ("key", "name", "idx"):
        if hasattr(key, attribute):
            return str(getattr(key, attribute))
    return str(key)


def _name(way: tuple[str, ...]) -> str:
    name = "_".join(way)
    return name if name and not way[0].isdigit() else f"output_{name or 0}"
