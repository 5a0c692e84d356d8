"""`concrete_function`: a model that Python code of the user's creates.

The function gives ConcreteFunctions (one, or several as a list or by name), a tf.Module, a
tf.function, or a Keras model. It runs twice, to be lowered and to be the reference, each time in
a process of its own with the same seeds: weights must not come from anywhere else.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tflbuild import pyrun
from tflbuild.errors import TaskError
from tflbuild.sources import keras as keras_source
from tflbuild.sources.base import Loaded, Signature, Tensors, TensorSpec, no_signature

NAME = "concrete_function"
MODULES: tuple[str, ...] = ("keras", "tf_keras")
KEYS: tuple[str, ...] = ("python", "args", "signature", "signatures")
EXAMPLE = "package.module:function"
FOLDER = False

DEFAULT = "serving_default"
KEY = "source.python"


def problem(path: str, shown: str) -> str:
    return ""


def files(path: Path) -> tuple[Sequence[tuple[str, Path]], Sequence[Path]]:
    return [], []


def load(path: Path, params: Mapping[str, Any]) -> Loaded:
    import tensorflow as tf

    pyrun.set_seeds()
    variables: list[Any] = []  # a traced function alone does not keep its variables

    def keep(create: Callable[..., Any], **named: Any) -> Any:
        variables.append(create(**named))
        return variables[-1]

    with tf.variable_creator_scope(keep):
        make = pyrun.function(params["python"], KEY)
        made = pyrun.call_with(make, params.get("args"), KEY)
        if (loaded := _keras_model(made)) is not None:
            return replace(loaded, signatures=_chosen(loaded.signatures, params))
        functions = dict(_functions(made))
        only = len(functions) == 1
        picked = _pick(functions, params)
        signatures = tuple(
            _signature(shown, function, params["pins_of"].get(shown, params["pins"]))
            for name, function in picked.items()
            for shown in [DEFAULT if only and name == "__call__" else name]
        )

    def save(traced: Mapping[str, Any], folder: Path) -> None:
        module = tf.Module()
        module.variables_of_functions = variables
        if isinstance(made, tf.Module):  # it may hold tables and files too
            module.made = made
        tf.saved_model.save(module, str(folder), signatures=dict(traced))

    return Loaded("python", signatures, save, keep_alive=(made, variables))


def _keras_model(made: Any) -> Loaded | None:
    import keras
    import tf_keras

    if isinstance(made, keras.Model):
        return keras_source.loaded_keras3(made)
    if isinstance(made, tf_keras.Model):
        return keras_source.loaded_keras2(made)
    return None


def _chosen(signatures: tuple[Signature, ...], params: Mapping[str, Any]) -> tuple[Signature, ...]:
    named = {signature.name: signature for signature in signatures}
    return tuple(_pick(named, params).values())


def _pick(found: Mapping[str, Any], params: Mapping[str, Any]) -> Mapping[str, Any]:
    """The functions that the manifest names, or the only one."""
    wanted = params.get("signatures")
    if wanted is None:
        if len(found) > 1:
            raise TaskError(
                f"the code gives several functions, {sorted(found)}: name one by source.signature,"
                " or those to ship by source.signatures",
                key=KEY,
            )
        return found
    known = {DEFAULT if n == "__call__" and len(found) == 1 else n: n for n in found}
    for name in wanted:
        if name not in known:
            raise no_signature(name, sorted(known))
    return {known[name]: found[known[name]] for name in wanted}


def _functions(made: Any) -> Iterator[tuple[str, Any]]:
    """The functions in what the user's code gave, by name. Raises TaskError."""
    import tensorflow as tf

    expected = (
        "expected a ConcreteFunction (or several, as a list or by name), a tf.Module, a"
        " tf.function or a Keras model"
    )
    if _is_function(made):
        yield "__call__", made
        return
    if isinstance(made, tf.Module):
        found = list(_methods(made))
        if not found:
            raise TaskError(
                f"the {type(made).__name__} has no tf.function with an input_signature; decorate"
                " one with @tf.function(input_signature=[tf.TensorSpec(...)])",
                key=KEY,
            )
        yield from found
        return
    several: list[tuple[Any, Any]] = []
    if isinstance(made, Mapping):
        several = list(made.items())
    elif isinstance(made, list | tuple):
        names = keras_source.unique([_name_of(item) for item in made])
        several = list(zip(names, made, strict=True))
    for name, function in several:
        if not isinstance(name, str) or not name or not _is_function(function):
            raise TaskError(
                f"{expected}; among several, {name!r} is a {type(function).__name__}", key=KEY
            )
        yield name, function
    if not several:
        what = f"an empty {type(made).__name__}" if made in ({}, [], ()) else type(made).__name__
        raise TaskError(f"{expected}, got {what}", key=KEY)


def _is_function(value: Any) -> bool:
    import tensorflow as tf

    kinds = (tf.types.experimental.ConcreteFunction, tf.types.experimental.GenericFunction)
    return isinstance(value, kinds) or inspect.isfunction(value)


def _methods(module: Any) -> Iterator[tuple[str, Any]]:
    """The functions of a module that have an input signature; else its `__call__`, or else all
    its tf.functions."""
    import tensorflow as tf

    unsigned = {}
    found = False
    for name in dir(module):
        if name.startswith("_") and name != "__call__":
            continue
        if isinstance(inspect.getattr_static(type(module), name, None), property):
            continue
        value = pyrun.call(getattr, module, name, key=KEY)
        if isinstance(value, tf.types.experimental.ConcreteFunction) or (
            getattr(value, "input_signature", None) is not None and _is_function(value)
        ):
            found = True
            yield name, value
        elif name == "__call__" or isinstance(value, tf.types.experimental.GenericFunction):
            unsigned[name] = value
    if not found:
        called = unsigned.get("__call__")
        yield from unsigned.items() if called is None else [("__call__", called)]


def _name_of(value: Any) -> str:
    graph = getattr(value, "graph", None)
    name = getattr(value, "__name__", None) or getattr(graph, "name", None)
    return str(name or type(value).__name__)


def _signature(name: str, function: Any, pins: Mapping[str, Any]) -> Signature:
    import tensorflow as tf

    if isinstance(function, tf.types.experimental.ConcreteFunction):
        return _from_concrete(name, function)
    if getattr(function, "input_signature", None) is not None:
        traced = pyrun.call(function.get_concrete_function, key=KEY)
        return _from_concrete(name, traced)
    args = _pinned_arguments(function, pins)
    traced = pyrun.call(tf.function(function).get_concrete_function, key=KEY, **args)
    return _from_concrete(name, traced)


def _pinned_arguments(function: Any, pins: Mapping[str, Any]) -> dict[str, Any]:
    """What to trace a function with that does not say it itself: the manifest's `inputs`."""
    import tensorflow as tf

    code = getattr(function, "python_function", function)
    parameters = inspect.signature(code).parameters.values()
    names = [
        p.name
        for p in parameters
        if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
        and (p.default is p.empty or p.name in pins)
    ]
    missing = [
        name for name in names if not (pins.get(name) or {}).get("dtype")
        or pins[name].get("shape") is None
    ]  # fmt: skip
    if missing or not names:
        raise TaskError(
            f"the function {_name_of(function)!r} has no input_signature: give it one, or pin"
            f" shape and dtype of its arguments under `inputs` (missing: {missing or 'all'})",
            key=KEY,
        )
    return {
        name: tf.TensorSpec(pins[name]["shape"], pins[name]["dtype"], name=name) for name in names
    }


def _from_concrete(name: str, traced: Any) -> Signature:
    """A ConcreteFunction, its inputs in the order of its own arguments."""
    import tensorflow as tf

    args, named = traced.structured_input_signature
    order = list(traced.function_type.parameters)
    named = dict(
        sorted(named.items(), key=lambda item: order.index(item[0]) if item[0] in order else 0)
    )
    leaves = [leaf for value in (*args, *named.values()) for leaf in tf.nest.flatten(value)]
    specs = [leaf for leaf in leaves if isinstance(leaf, tf.TypeSpec)]
    for spec in specs:
        if not isinstance(spec, tf.TensorSpec):
            raise TaskError(
                f"function {name!r} takes a {type(spec).__name__.removesuffix('Spec')}: give it"
                " plain tensors",
                key=KEY,
            )
    names = keras_source.unique([spec.name or f"input_{i}" for i, spec in enumerate(specs)])
    outputs = keras_source.unique([_path(path) for path, _ in _leaves(traced.structured_outputs)])
    for output, (_, leaf) in zip(outputs, _leaves(traced.structured_outputs), strict=True):
        if not isinstance(leaf, tf.Tensor | tf.TensorSpec):
            raise TaskError(
                f"output {output!r} of {name!r} is a {type(leaf).__name__}, not a tensor", key=KEY
            )

    def function(tensors: Tensors) -> Tensors:
        given = iter([tensors[name] for name in names])

        def filled(value: Any) -> Any:
            flat = tf.nest.flatten(value)
            flat = [next(given) if isinstance(leaf, tf.TypeSpec) else leaf for leaf in flat]
            return tf.nest.pack_sequence_as(value, flat)

        positional = [filled(value) for value in args]
        result = traced(*positional, **{key: filled(value) for key, value in named.items()})
        return dict(zip(outputs, (leaf for _, leaf in _leaves(result)), strict=True))

    inputs = tuple(
        TensorSpec(
            input_name,
            tuple(spec.shape.as_list()) if spec.shape.rank is not None else None,
            spec.dtype.name,
        )
        for input_name, spec in zip(names, specs, strict=True)
    )
    return Signature(name, inputs, tuple(outputs), function)


def _leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Tensors in what a function gives, with the way to each; mappings by sorted keys, since
    TensorFlow does not keep theirs."""
    if isinstance(value, Mapping):
        for key in sorted(value, key=str):
            yield from _leaves(value[key], (*path, str(key)))
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        for key in value._fields:
            yield from _leaves(getattr(value, key), (*path, key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _leaves(item, (*path, str(index)))
    elif value is not None:
        yield path, value


def _path(path: tuple[str, ...]) -> str:
    name = "_".join(path)
    return name if name and not path[0].isdigit() else f"output_{name or 0}"
