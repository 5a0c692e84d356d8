"""A tensor's name as messages show it: what a person knows of it. Reports keep the whole name.

The names are those of `evaluation/naming.py`, of which this knows a single one, without the file.
"""

from __future__ import annotations

import re

from tflbuild.evaluation.naming import FUSED, Names, scope_name, strip_calls

LONGEST = 80  # characters
# Scopes that Keras names a model by whose author gave it no name.
_MODEL = re.compile(r"(model|functional|sequential)(_\d+)*")
# Those of Keras 3, which appends a number to every scope. `functional` is its name alone (Keras 2
# says `model`; TensorFlow 2.3 said it for a while). `sequential_1` may be of both: no more is sure.
_KERAS3 = re.compile(r"functional(_\d+)+|sequential(_\d+){2,}")
_INSIDE = frozenset({"Gelu", "convolution"})  # scopes that functions open inside a layer


def shown_layer(name: str) -> str:
    """`conv1d` of `functional_3_1/conv1d_1/Gelu/mul_2;functional_3_1/conv1d_1/Gelu/mul`.

    Of what was fused the first that says something, without the calls, the model and the op around
    the layer's own name, where these are sure. At most 80 characters; "" of "" alone.
    """
    nodes = [strip_calls(part.removesuffix(":0")) for part in name[:FUSED].split(";")]
    shown = next((_layer(node) for node in nodes if node), "")
    shown = shown or name.split(";")[0].removesuffix(":0") or name
    return shown if len(shown) <= LONGEST else shown[: LONGEST - 1] + "…"


def _layer(node: str) -> str:
    first, *inner = node.split("/")
    known = bool(inner) and _MODEL.fullmatch(first) is not None
    keras3 = known and _KERAS3.fullmatch(first) is not None
    scopes = scope_name(node, Names(root=first if known else "", keras3=keras3)).split("/")
    while len(scopes) > 1 and scopes[-1] in _INSIDE:
        scopes.pop()
    return "/".join(scopes) or node
