"""What `keep_float` calls one operator and no other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tflbuild.tflite.read import Op, Subgraph, TfliteModel

_MADE = "arith."  # names that the converter gives to what has none
_TRACED = re.compile(r"_\d+(?=/|$)")


def keep_name(model: TfliteModel, graph: Subgraph, op: Op) -> str:
    """The name that a person would write: a layer's, else a node's, else a tensor's, else the
    operator's type; "" where all of them name other operators too.

    Args:
        model: the float file, in which `keep_float` looks names up.
    """
    from tflbuild.tflite import names

    for name in _candidates(graph, op):
        found = names.find(model, [name])[name]
        if [(g.index, o.index) for g, o in found] == [(graph.index, op.index)]:
            return name
    return ""


def _candidates(graph: Subgraph, op: Op) -> Iterator[str]:
    """Short ones first: the parts of each node's path from its end (the last names what the node
    does, and no layer), then whole paths; each first without the numbers that tracing adds. The
    outputs of the model have other names while it is converted: there the weights tell."""
    from tflbuild.tflite.effect import output_name
    from tflbuild.tflite.names import op_names

    own = output_name(graph, op)
    known = op_names(graph, op) - {op.name, own}
    if any(index in graph.outputs for index in op.outputs):
        known -= {part for node in own.split(";") for part in _paths(node)}
        nodes = sorted((n for n in known if "/" in n), key=lambda name: (-name.count("/"), name))
        own = ""
    else:
        nodes = own.split(";")
    parts = [node.split("/") for node in nodes]
    listed = [
        *(part for node in parts for part in reversed(node[:-1])),
        *(part for node in parts for part in node[-1:]),
        *sorted(known, key=lambda name: (name.count("/"), len(name), name)),
    ]
    seen = {own}
    for name in listed:
        for form in (_TRACED.sub("", name), name):
            if form and form not in seen and form.isprintable() and not form.startswith(_MADE):
                seen.add(form)
                yield form
    yield from (n for n in (own, op.name) if n.isprintable() and n and not n.startswith(_MADE))


def _paths(node: str) -> set[str]:
    parts = [part for part in node.split("/") if part]
    count = len(parts)
    return {node, *("/".join(parts[i:j]) for i in range(count) for j in range(i + 1, count + 1))}


def shown_name(graph: Subgraph, op: Op) -> str:
    """A layer's name for people: the first node's path, without what tracing adds."""
    from tflbuild.tflite.effect import output_name

    name = output_name(graph, op).split(";")[0]
    return op.name if name.startswith(_MADE) or not name else name
