"""The XNNPACK delegate, which the interpreter applies by default on every CPU.

`XNNPACK` says from the file what it takes and why not; `observed` asks the interpreter itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tflbuild.tflite.read import BITS, Op, Tensor, TfliteModel

from .base import Refused, Scene, need
from .xnnpack_rules import FLOATS_Q8, RULES, View, typed

_SPARSE_TYPES = frozenset({"float16", "int8", "float32"})
_MAX_KEPT = 2**29  # bytes
_WEIGHT_READERS = frozenset({"FULLY_CONNECTED", "CONV_2D", "DEPTHWISE_CONV_2D"})


class _Walk:
    """One pass over the operators, in the order in which they run.

    Constants that are only unpacked (float16 and int8 weights, sparse weights) go with whoever
    reads them: their operators are taken unless one that is not taken reads the result.
    """

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.why = [""] * len(scene.graph.ops)
        self.unpackers: dict[int, int] = {}  # tensor → operator that unpacks it
        self.halves: set[int] = set()
        self.handles: dict[int, int] = {}  # resource tensor → VAR_HANDLE
        self.values: dict[int, Tensor] = {}  # resource tensor → a tensor like its value

    def run(self) -> Sequence[str]:
        for at, op in enumerate(self.scene.graph.ops):
            if self._unpacks(op):
                self.unpackers[op.outputs[0]] = at
                continue
            try:
                self._visit(at, op)
            except Refused as refused:
                self.why[at] = str(refused)
                for index in op.inputs:
                    if index in self.unpackers:
                        self.why[self.unpackers[index]] = "the operator that reads it is not taken"
        for resource, at in self.handles.items():
            if resource in self.values:
                self.why[at] = ""
        return self.why

    def _unpacks(self, op: Op) -> bool:
        if op.name not in ("DEQUANTIZE", "DENSIFY") or len(op.inputs) != 1 or len(op.outputs) != 1:
            return False
        if op.inputs[0] < 0 or op.outputs[0] < 0:
            return False
        source, result = (self.scene.graph.tensors[i] for i in (op.inputs[0], op.outputs[0]))
        if op.name == "DENSIFY":
            packed = source.is_constant and source.sparse and source.dtype in _SPARSE_TYPES
            return packed and source.dtype == result.dtype
        static = source.is_constant or source.index in self.unpackers
        known = source.dtype == "float16" or (source.dtype == "int8" and source.quantization)
        if source.sparse or not static or not known or result.dtype != "float32":
            return False
        readers = self.scene.consumers.get(result.index, ())
        as_weights = all(
            reader.name in _WEIGHT_READERS and reader.inputs[0] != result.index
            for reader in readers
        )
        if source.dtype == "float16" and as_weights:
            self.halves.add(result.index)
        return True

    def _visit(self, at: int, op: Op) -> None:
        if op.kind != "builtin":
            raise Refused("a custom operator")
        if op.name == "VAR_HANDLE":
            need(op.outputs and op.outputs[0] >= 0, "an output is left out")
            self.handles[op.outputs[0]] = at
            raise Refused("no operator that XNNPACK takes uses its variable")
        if op.name in ("READ_VARIABLE", "ASSIGN_VARIABLE"):
            self._variable(op)
            return
        rule = RULES.get(op.name)
        if rule is None:
            raise Refused("XNNPACK has no such operator")
        inputs, outputs = map(self.scene.spec, op.inputs), map(self.scene.spec, op.outputs)
        rule(View(self.scene, op, tuple(inputs), tuple(outputs), self.unpackers, self.halves))

    def _variable(self, op: Op) -> None:
        reads = op.name == "READ_VARIABLE"
        ends = (*op.inputs[:1], *op.outputs[:1]) if reads else op.inputs[:2]
        need(len(ends) == 2 and min(ends) >= 0, "an input is left out")
        resource, value = ends
        spec = self.scene.spec(value)
        assert spec is not None
        need(not reads or spec.shape, "its variable has no known shape")
        typed(spec, FLOATS_Q8, "its value")
        need(resource in self.handles, "its variable comes from another subgraph")
        first = self.values.setdefault(resource, spec.tensor)
        same = (first.dtype, first.shape) == (spec.dtype, spec.shape)
        need(same, "its variable changes shape or data type")


class Xnnpack:
    """The delegate as the interpreter of LiteRT applies it when nobody says otherwise."""

    NAME = "xnnpack"
    NOTE = (
        "XNNPACK as built into LiteRT, with its default flags (int8 and uint8 on); an app that"
        " turns it off, or an older runtime, takes less"
    )
    RUNS_IN_LOOPS = True
    PARTITIONS: int | None = None

    def blocked(self, scene: Scene) -> None:
        """It is always applied: shapes may change while the model runs."""

    def direct(self, scene: Scene) -> tuple[()]:
        """None: who unpacks constants is taken with those who read them."""
        return ()

    def refusals(self, scene: Scene) -> Sequence[str]:
        return _Walk(scene).run()


XNNPACK = Xnnpack()


def observed(data: bytes, model: TfliteModel) -> dict[str, Any] | None:
    """What the interpreter on this machine gives to XNNPACK, as JSON; None where it cannot be seen.

    `ops`, `delegated` and `partitions` are those of the main subgraph, the only one that the
    interpreter tells of, also where signatures run others; `left` lists the operators
    that stay, by index. An interpreter that keeps all tensors makes one DELEGATE node of each
    operator that is taken; one that does not says how many partitions there are. Loads the file
    twice: call it in a child. Files whose tensors would need over 512 MiB so are not looked at.

    Args:
        data: the file.
        model: what `read_model` gave of it.
    """
    import warnings

    from ai_edge_litert.interpreter import Interpreter

    ops = model.subgraphs[0].ops
    if _kept_bytes(model) > _MAX_KEPT:
        return None

    def pieces(keep: bool) -> list[tuple[frozenset[int], frozenset[int]]]:
        """Inputs and outputs of each DELEGATE node."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # "for debugging only": so it is
            interpreter = Interpreter(
                model_content=data, num_threads=1, experimental_preserve_all_tensors=keep
            )
        interpreter.allocate_tensors()
        nodes = interpreter._get_ops_details()
        names = [node["op_name"] for node in nodes]
        if len(names) < len(ops) or any(name != "DELEGATE" for name in names[len(ops) :]):
            raise RuntimeError("the runtime made other operators of these")
        return [
            (frozenset(map(int, node["inputs"])), frozenset(map(int, node["outputs"])))
            for node in nodes[len(ops) :]
        ]

    try:
        partitions, singles = len(pieces(False)), pieces(True)
    except (ValueError, RuntimeError):
        return None
    written = {index for _, outputs in singles for index in outputs}
    silent = [inputs for inputs, outputs in singles if not outputs]  # nobody reads their output
    left = []
    for op in ops:
        read = frozenset(index for index in op.inputs if index >= 0)
        if written.intersection(op.outputs):
            continue
        match = next((inputs for inputs in silent if inputs <= read), None)
        if match is None:
            left.append(op.index)
        else:
            silent.remove(match)
    return {
        "ops": len(ops),
        "delegated": len(singles),
        "partitions": partitions,
        "left": left,
    }


def _kept_bytes(model: TfliteModel) -> int:
    """Memory of all tensors that are computed, each on its own."""
    tensors = (tensor for graph in model.subgraphs for tensor in graph.tensors)
    return sum(t.elements * BITS.get(t.dtype, 0) // 8 for t in tensors if not t.is_constant)
