"""GraphDefs of TensorFlow 1, called from within what TensorFlow 2 traces."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tflbuild.sources.base import Tensors, TensorSpec


def caller(
    graph: Any,
    inputs: Mapping[str, str],
    outputs: Mapping[str, str],
    fixed: Mapping[str, Any] | None = None,
) -> Callable[[Tensors], Tensors]:
    """A function over tensors by name that imports the graph where it is traced.

    `inputs` and `outputs`: name → tensor of the graph; `fixed`: tensor of the graph → what stands
    for it (a table of TensorFlow 2). Changes the graph: nodes may lie with some that are gone.
    """
    import tensorflow as tf
    from tensorflow.python.eager import context

    for node in graph.node:
        node.attr.pop("_class", None)
    for function in graph.library.function:  # else a call from within one does not find them
        context.context().add_function_def(function)

    def call(tensors: Tensors) -> Tensors:
        here = tf.compat.v1.get_default_graph()
        fed = {ref: here.capture(handle) for ref, handle in (fixed or {}).items()}
        fed.update({ref: tensors[name] for name, ref in inputs.items()})
        inner = {name: ref for name, ref in outputs.items() if ref not in fed}
        found = tf.graph_util.import_graph_def(
            graph, input_map=fed, return_elements=list(inner.values()), name=""
        )
        results = dict(zip(inner, found, strict=True))
        return {n: results[n] if n in results else fed[ref] for n, ref in outputs.items()}

    return call


def spec(name: str, tensor: Any) -> TensorSpec:
    """What TensorFlow knows of a tensor."""
    shape = None if tensor.shape.rank is None else tuple(tensor.shape.as_list())
    return TensorSpec(name, shape, tensor.dtype.base_dtype.name)
