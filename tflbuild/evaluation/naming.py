"""What a person calls the place that an op came from: a Keras layer, a tf.function, a JAX scope.

The converter names tensors by the nodes of the graph that it was given, joins the names of nodes
that it fused with ";", and appends a number to a name that is taken. Nodes are named by scopes:
those of Keras are layers. Everything here is text and dictionaries; who has a graph gives its
nodes, who has only a file gives nothing and gets what its tensor names tell.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

FUSED = 4000  # characters of a tensor's name that are looked at
LONGEST = 200  # characters of a name that reports hold: strangers' files may have any

# Calls that wrap a model and are no place in it.
_CALLS = re.compile(r"(Stateful|Stateless)?PartitionedCall(_\d+)?")
_NUMBER = re.compile(r"_\d+$")
_DIGITS = re.compile(r"\d+$")
_NEUTRAL = re.compile(
    r"(in|out)_\d+|tfl\.\w+|(serving_default|signature_\d+)_.*|unknown(_\d+)?|arg\d+|Identity(_\d+)?"
)
# How TensorFlow names the function of `def name()`: `__inference_name_17`.
_FUNCTION = re.compile(r"__(?:inference|forward|backward)_(?P<name>.+?)_\d+")
# Functions that frameworks make around the user's, and names that say nothing.
_WRAPPERS = re.compile(
    r"(.*_)?signature_wrapper(_.*)?|_?_?call(_?_)?|__call__|_wrapped_model|wrapped_model|call_fn"
    r"|restored_function_body|call_and_return_.*|_default_save_signature|serve|serving_default"
    r"|tf_function|function|_inner|inner|wrapper|_?_?fn"
)
# Bodies of control flow, which are no functions of anybody's: `while_body_5`.
_BODIES = re.compile(r"(.*_)?(while|cond|case)_(body|cond|true|false|branch).*")
# Scopes that TensorFlow's and Keras's own functions open inside a layer.
_INSIDE_NAMES = """
    batchnorm einsum moments Tensordot strided_slice normalize ReadVariableOp BiasAdd Cast
"""
_INSIDE = frozenset(_INSIDE_NAMES.split())
_HEAVY_NAMES = """
    Conv2D Conv3D DepthwiseConv2dNative depthwise MatMul BatchMatMul BatchMatMulV2 BatchMatMulV3
    Einsum Conv2DBackpropInput Conv3DBackpropInputV2 convolution conv2d_transpose Tensordot
"""
_HEAVY = frozenset(_HEAVY_NAMES.split())
# Names that TensorFlow gives to nodes whose author gave none, where they are not the op's.
_DEFAULT_NAMES = """
    add sub mul truediv floordiv mod pow neg abs and or xor not eq ne lt le gt ge matmul concat
    stack unstack split transpose strided_slice zeros ones zeros_like ones_like eye range sum mean
    norm arange reduce cond while slice squeeze unsqueeze reshape dot dot_general broadcast_in_dim
    select convert maximum minimum divide multiply subtract power
    """
_DEFAULT = frozenset(_DEFAULT_NAMES.split())


@dataclass(frozen=True)
class Place:
    """`name`: what a person knows ("" where nothing is known). `node`: the graph's node, for a
    search. `function`: the tf.function that holds it, "" where none of the user's does."""

    name: str = ""
    node: str = ""
    function: str = ""


@dataclass(frozen=True)
class Names:
    """What is known of a lowered graph.

    `ops`: op by node, empty where there is only a file. `producers`: the node behind a tensor
    whose own name tells nothing (an output of the model). `functions`: the user's function by
    node. `keras3`: the scopes are those of Keras 3, which opens two for each call of a layer, so
    that what stands in the graph is the layer's name and a number.
    """

    ops: Mapping[str, str] = field(default_factory=dict)
    producers: Mapping[str, str] = field(default_factory=dict)
    functions: Mapping[str, str] = field(default_factory=dict)
    keras3: bool = False
    root: str = ""  # the scope that all layers stand in: the model's own name

    def place(self, tensor: str, function: str = "") -> Place:
        """Where the op that writes `tensor` (its name in the converter's file) comes from."""
        parts = [self.node(part) for part in tensor[:FUSED].split(";") if part]
        parts = [part for part in parts if part]
        if not parts:
            return Place(function=function)
        # Of what was fused, the heavy one: a convolution rather than its activation.
        node = max(parts, key=self._weight)
        function = function or next((f for p in parts if (f := self.functions.get(p))), "")
        name = scope_name(node, self) or function or _own(node)
        return Place(*(text[:LONGEST] for text in (name, node, function)))

    def _weight(self, node: str) -> int:
        op = self.ops.get(node, _base(node.rsplit("/", 1)[-1]))
        return 2 if op in _HEAVY else int(op == "BiasAdd")

    def node(self, tensor: str) -> str:
        """The node that a tensor is named by, without the converter's number; "" for neutral
        names that no producer is known for."""
        name = tensor.removesuffix(":0")
        name = self.producers.get(tensor, self.producers.get(name, name))
        name = strip_calls(name)
        if self.ops and name not in self.ops and (bare := _DIGITS.sub("", name)) in self.ops:
            name = bare
        return "" if _NEUTRAL.fullmatch(name) else name


def with_root(names: Names, nodes: Iterable[str]) -> Names:
    """The same, knowing the scope that all layers stand in, if there is one."""
    scopes = [node.split("/") for node in nodes if not _NEUTRAL.fullmatch(node)]
    scopes = [scope for scope in scopes if scope != [""]]
    first = {scope[0] for scope in scopes}
    layers = len(first) == 1 and all(len(s) > 1 for s in scopes) and any(len(s) > 2 for s in scopes)
    return replace(names, root=first.pop() if layers else "")


def scope_name(node: str, names: Names) -> str:
    """`functional_1/dense_1_1/MatMul` of Keras 3 is `dense_1`; a node that its author named keeps
    its own name: `head/my_det`. "" where there is no scope."""
    scopes = node.split("/")
    own = scopes.pop()
    if scopes and scopes[0] == names.root:
        del scopes[0]
    while scopes and _base(scopes[-1]) in _INSIDE:
        scopes.pop()
    if names.keras3:
        scopes = [_NUMBER.sub("", scope) for scope in scopes]
    if not is_default(own, names.ops.get(node, "")):
        scopes.append(own)
    return "/".join(scopes)


def is_default(own: str, op: str = "") -> bool:
    """Whether TensorFlow named a node: by its op (`MatMul_1`), or by a word of its API (`add`)."""
    base = _base(own)
    return base == op or base in _DEFAULT | _INSIDE | _HEAVY or base[:1].isupper()


def function_name(name: str) -> str:
    """`feature` of `__inference_feature_17`; "" for functions that frameworks wrap around it."""
    match = _FUNCTION.fullmatch(name)
    bare = match["name"] if match else name
    ours = not bare.isidentifier() or _WRAPPERS.fullmatch(bare) or _BODIES.fullmatch(bare)
    return "" if ours else bare


def of_chain(chain: Sequence[str]) -> tuple[str, str]:
    """(node, function) of a converter's location: names from the inside out, `node@function`."""
    node, function = "", ""
    for name in chain:
        own, _, holder = name.partition("@")
        own = own.rstrip(":;")
        if not node and own and not _CALLS.fullmatch(own):
            node = strip_calls(own)
        function = function or (function_name(holder) if holder else "")
    return node, function


def jax_scope(path: str) -> str:
    """`encoder/head/fft` of JAX's `jit(flat)/encoder/head/jit(fft)`; its outermost `jit` is
    tflbuild's own call."""
    scopes = [scope for scope in path.split("/") if scope]
    if scopes and re.fullmatch(r"p?jit\(.*\)", scopes[0]):
        del scopes[0]
    return "/".join(re.sub(r"^\w+\((.*)\)$", r"\1", scope) for scope in scopes)


def is_keras3(readers: Iterable[str], variables: Iterable[str]) -> bool:
    """Whether the scopes are those of Keras 3, as the readers of variables show.

    Args:
        readers: nodes that read variables, `net_1/dense_1_2/MatMul/ReadVariableOp`.
        variables: names of variables, `dense_1/kernel:0`.
    """
    layers = {scope for name in variables for scope in name.split("/")[:-1]}
    for reader in readers:
        for scope in reader.split("/")[:-1]:
            if scope not in layers and _NUMBER.search(scope) and _NUMBER.sub("", scope) in layers:
                return True
    return False


def _base(name: str) -> str:
    """A name without the numbers that make it unique: `MatMul_1` and `MatMul1` are `MatMul`."""
    return _DIGITS.sub("", _NUMBER.sub("", name)) or name


def _own(node: str) -> str:
    """The node's own name where that is more than its op."""
    own = node.rsplit("/", 1)[-1]
    return "" if is_default(own) else own


def strip_calls(name: str) -> str:
    """A node's name without the calls around it."""
    scopes = name.split("/")
    kept = [scope for scope in scopes if not _CALLS.fullmatch(scope.split(":")[0])]
    return "/".join(kept)
