"""The GPU delegate (`TfLiteGpuDelegateV2`, OpenCL and OpenGL on Android), from the file alone."""

from __future__ import annotations

from collections.abc import Sequence

from tflbuild.tflite.layer_names import shown_layer
from tflbuild.tflite.read import Op, Tensor

from .base import Refused, Scene, Spec, need, per_tensor, shape_text
from .gpu_rules import (
    CUSTOM_RULES,
    MAX_DIMS,
    MORE_INPUT_TYPES,
    MORE_OUTPUT_TYPES,
    NEWER,
    RULES,
    TYPES,
    View,
    follow,
)

_HALVES = "it unpacks float16 weights, on the CPU as long as another operator stays there"
_SCORES = ": return the scores, and let the app take the best"
_SPECTRUM = ": compute the spectrum before the model"
_INSTEAD = {"ARG_MAX": _SCORES, "ARG_MIN": _SCORES, "TOPK_V2": _SCORES, "RFFT2D": _SPECTRUM}
_CONTROL = frozenset({"IF", "WHILE", "CALL_ONCE", "CALL", "STABLEHLO_WHILE", "STABLEHLO_CASE"})
_STATE = frozenset({"VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE"})


class Gpu:
    """The delegate with its default options, apart from the number of partitions."""

    NAME = "gpu"
    NOTE = (
        "TfLiteGpuDelegateV2 with OpenCL, int8 allowed (its default); it takes one partition, the"
        " largest, until the app sets max_delegated_partitions; the GPU of CompiledModel has other"
        " rules"
    )
    RUNS_IN_LOOPS = False
    PARTITIONS: int | None = 1

    def blocked(self, scene: Scene) -> tuple[int, str] | None:
        """By a tensor whose shape is not fixed (`kTfLiteDelegateFlagsNone`: no dynamic tensors)."""
        for index in _tensors_of(scene):
            tensor = scene.graph.tensors[index]
            for shape in (tensor.shape_signature, tensor.shape):
                if -1 in shape:
                    remedy = ": pin it under `inputs`" if index in scene.graph.inputs else ""
                    return index, (
                        f"it takes fixed shapes only, and {shown_layer(tensor.name)!r} is"
                        f" {shape_text(shape)}{remedy}"
                    )
        return None

    def direct(self, scene: Scene) -> frozenset[int]:
        """The float32 forms of float16 weights (`FP16GraphPartitionHelper` in
        `tflite/delegates/utils.cc`)."""
        return frozenset(op.outputs[0] for op in scene.graph.ops if _half(scene, op))

    def refusals(self, scene: Scene) -> Sequence[str]:
        halves: dict[int, int] = {}  # float32 tensor → the float16 constant that it comes from
        why: list[str] = []
        for op in scene.graph.ops:
            if constant := _half(scene, op):
                halves[op.outputs[0]] = constant.index
                why.append(_HALVES)
            else:
                why.append(_refusal(scene, op, halves))
        if all(reason in ("", _HALVES) for reason in why):
            return [""] * len(why)
        return why


def _tensors_of(scene: Scene) -> list[int]:
    """The inputs of the subgraph, then what its operators read and write."""
    used = [i for op in scene.graph.ops for i in (*op.inputs, *op.outputs) if i >= 0]
    return [*scene.graph.inputs, *used]


def _half(scene: Scene, op: Op) -> Tensor | None:
    """The float16 constant that an operator only unpacks."""
    if op.name != "DEQUANTIZE" or not op.inputs or not op.outputs:
        return None
    if op.inputs[0] < 0 or op.outputs[0] < 0:
        return None
    source = scene.graph.tensors[op.inputs[0]]
    return source if source.dtype == "float16" and source.is_constant else None


def _refusal(scene: Scene, op: Op, halves: dict[int, int]) -> str:
    inputs = tuple(scene.spec(halves.get(index, index)) for index in op.inputs)
    outputs = tuple(scene.spec(index) for index in op.outputs)
    try:
        rule = (RULES if op.kind == "builtin" else CUSTOM_RULES).get(op.name)
        if rule is None:
            raise Refused(_unknown(op))
        # First what a person can change most easily: the type of data.
        _tensors(inputs, TYPES | MORE_INPUT_TYPES.get(op.name, frozenset()), "an input")
        _tensors(outputs, TYPES | MORE_OUTPUT_TYPES.get(op.name, frozenset()), "its output")
        follow(rule, View(scene, op, inputs, outputs))
    except Refused as refused:
        return str(refused)
    return ""


def _unknown(op: Op) -> str:
    if op.kind != "builtin":
        return "a custom operator"
    if op.name in _CONTROL:
        return "control flow stays on the CPU"
    if op.name in _STATE:
        return "variables stay on the CPU"
    if op.name in NEWER:
        return (
            "the GPU delegate has no such operator (the newer GPU path of CompiledModel has)"
            + _INSTEAD.get(op.name, "")
        )
    return "the GPU delegate has no such operator" + _INSTEAD.get(op.name, "")


def _tensors(specs: Sequence[Spec | None], allowed: frozenset[str], what: str) -> None:
    for spec in specs:
        if spec is None:
            continue
        dims = len(spec.shape)
        need(dims <= MAX_DIMS, f"{what} has {dims} dimensions: at most {MAX_DIMS} work")
        if spec.constant or spec.tensor.is_variable:
            continue
        if spec.dtype not in allowed:
            names = ", ".join(sorted(allowed, key=lambda name: (not name.startswith("f"), name)))
            raise Refused(f"{what} is {spec.dtype}: the delegate takes {names} here")
        need(dims > 0, f"{what} is a scalar: 1 to {MAX_DIMS} dimensions work")
        quantized = spec.dtype in ("int8", "uint8")
        fits = not quantized or per_tensor(spec.tensor)
        need(fits, f"{what} is {spec.dtype} without one scale for the whole tensor")


GPU = Gpu()
