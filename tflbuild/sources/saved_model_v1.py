"""SavedModels of TensorFlow 1 that TensorFlow 2 cannot carry on.

A variable by reference (`VariableV2`, the default of TensorFlow 1) is in no converter's reach
once TensorFlow 2 has loaded it; what fills its tables is lost when it saves them again; and a
signature key that is a Python keyword it does not load at all. A session of TensorFlow 1 reads
all three: variables become constants, tables those of TensorFlow 2.
"""

from __future__ import annotations

import keyword
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tflbuild.errors import TaskError, one_line
from tflbuild.sources.base import Tensors, TensorSpec
from tflbuild.sources.graphdef import caller, spec

REFERENCES = frozenset({"Variable", "VariableV2"})
TABLES = frozenset({"HashTableV2", "MutableHashTableV2"})
# Ops that change a variable or a table.
CHANGES = ("Assign", "Scatter", "CountUpTo", "LookupTableInsert", "LookupTableImport")


@dataclass(frozen=True)
class Graph1:
    """One signature of a graph of TensorFlow 1."""

    inputs: tuple[TensorSpec, ...]  # by sorted key
    outputs: tuple[str, ...]
    function: Callable[[Tensors], Tensors]
    tables: tuple[Any, ...]  # to be kept alive, and saved


def needs_a_session(graph: Any, key: str) -> bool:
    """True for a MetaGraphDef of TensorFlow 1 that TensorFlow 2 cannot carry on."""
    if graph.HasField("object_graph_def"):
        return False
    names = graph.signature_def[key].inputs
    return any(keyword.iskeyword(name) or not name.isidentifier() for name in names) or any(
        node.op in REFERENCES | TABLES for node in graph.graph_def.node
    )


def load_graph(path: Path, tags: Sequence[str], graph: Any, key: str) -> Graph1:
    """One signature, its variables frozen. Raises TaskError."""
    import tensorflow as tf

    signature = graph.signature_def[key]
    inputs = {name: signature.inputs[name].name for name in sorted(signature.inputs)}
    outputs = {name: signature.outputs[name].name for name in sorted(signature.outputs)}
    if "" in (*inputs.values(), *outputs.values()):
        raise TaskError(f"signature {key!r} takes or gives sparse tensors: make them dense")
    tf1 = tf.compat.v1
    try:
        with tf.Graph().as_default() as whole, tf1.Session() as session:
            tf1.saved_model.loader.load(session, list(tags), str(path))
            specs = tuple(spec(name, whole.get_tensor_by_name(ref)) for name, ref in inputs.items())
            ends = dict.fromkeys(ref.partition(":")[0] for ref in outputs.values())
            frozen = tf1.graph_util.convert_variables_to_constants(
                session, whole.as_graph_def(), list(ends)
            )
            contents = {
                f"{node.name}:0": _contents(session, whole, node)
                for node in frozen.node
                if node.op in TABLES
            }
    except Exception as error:  # a session and the importer raise whatever they like
        raise TaskError(
            f"TensorFlow 1 cannot load or freeze the SavedModel: {one_line(error, 300)}"
        ) from error
    for node in frozen.node:
        if node.op.startswith(CHANGES):
            raise TaskError(
                f"signature {key!r} changes a variable or a table ({node.op} {node.name!r}) of"
                " TensorFlow 1's kind, which is lost when it is frozen: export the model with"
                " tf.compat.v1.enable_resource_variables()"
            )
    tables = {ref: _table(*pair) for ref, pair in contents.items()}
    handles = {ref: table.resource_handle for ref, table in tables.items()}
    function = caller(frozen, inputs, outputs, handles)
    return Graph1(specs, tuple(outputs), function, tuple(tables.values()))


def _contents(session: Any, graph: Any, node: Any) -> tuple[Any, Any]:
    """Keys and values of a table that the main op has filled."""
    import tensorflow as tf

    with graph.as_default():
        export = tf.raw_ops.LookupTableExportV2(
            table_handle=graph.get_tensor_by_name(f"{node.name}:0"),
            Tkeys=node.attr["key_dtype"].type,
            Tvalues=node.attr["value_dtype"].type,
        )
    keys, values = session.run(export)
    order = sorted(range(len(keys)), key=lambda index: keys[index])  # a table has none of its own
    return keys[order], values[order]


def _table(keys: Any, values: Any) -> Any:
    import tensorflow as tf

    initializer = tf.lookup.KeyValueTensorInitializer(tf.constant(keys), tf.constant(values))
    default = "" if initializer.value_dtype == tf.string else 0
    return tf.lookup.StaticHashTable(initializer, tf.constant(default, initializer.value_dtype))
