"""You got what you asked for: what the converter says OK to and does otherwise.

Each check takes a file as `read_model` gives it and returns a list of problems, a line each.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from .cost import FLOATS, compute_rule, op_input
from .effect import by_signature, describe_weights, real_operators
from .read import Op, Subgraph, TfliteModel
from .recurrent import instead
from .weights import MIN_ELEMENTS, QUANTIZED, Weight, weights_of

_FULL_INTEGER = {"int8": "int8", "qat": "int8", "int16x8": "int16"}  # quantize: activations

# Every quantizer takes their weights; others, such as a GATHER's, it takes or leaves.
_TAKEN = frozenset(
    {"FULLY_CONNECTED", "CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "EMBEDDING_LOOKUP"}
)
# They move values: quantized, they save nothing.
_MOVES = frozenset({"RESHAPE", "SQUEEZE", "EXPAND_DIMS", "TRANSPOSE", "IDENTITY"})

Variable = tuple[str, str]  # (container, shared_name)


def weightless_variables(model: TfliteModel) -> list[str]:
    """Variables that are read and that no initializer gives a value: they read as garbage.

    An initializer is an ASSIGN_VARIABLE in a subgraph that a CALL_ONCE runs. Handles are followed
    into subgraphs and through loops.
    """
    handles = _Handles(model)
    assigned: set[Variable | None] = set()
    started = [i for _, op in _ops(model, "CALL_ONCE") for i in op.subgraphs]
    seen: set[int] = set()
    while started:
        if (index := started.pop()) in seen:
            continue
        seen.add(index)
        graph = model.subgraphs[index]
        started += [i for op in graph.ops for i in op.subgraphs]
        writes = (op for op in graph.ops if op.name == "ASSIGN_VARIABLE" and op.inputs)
        assigned |= {v for op in writes for v in handles.find(graph, op.inputs[0])}
    assigned.discard(None)  # one unknown is not the other
    problems: dict[str, None] = {}
    for graph, op in _ops(model, "READ_VARIABLE"):
        found = handles.find(graph, op.inputs[0]) if op.inputs else {None}
        for variable in sorted(found - assigned, key=str):
            what = f"variable '{variable[1]}'" if variable else "a variable whose handle is unknown"
            where = f" (container '{variable[0]}')" if variable and variable[0] else ""
            problems[f"{what}{where} is read and never initialized"] = None
    return list(problems)


class _Handles:
    """Which variables a resource tensor may stand for; None among them: cannot be told."""

    def __init__(self, model: TfliteModel) -> None:
        self._producers = {
            (graph.index, tensor): op
            for graph in model.subgraphs
            for op in graph.ops
            for tensor in op.outputs
        }
        self._callers: dict[int, list[tuple[Subgraph, Op]]] = {}
        for graph in model.subgraphs:
            for op in graph.ops:
                for index in op.subgraphs:
                    self._callers.setdefault(index, []).append((graph, op))
        self._names: dict[tuple[int, int], Variable] = {}

    def find(self, graph: Subgraph, tensor: int) -> set[Variable | None]:
        """All handles that may reach a tensor."""
        found: set[Variable | None] = set()
        seen: set[tuple[int, int]] = set()
        todo = [(graph, tensor)]
        while todo:
            graph, tensor = todo.pop()
            if (at := (graph.index, tensor)) in seen:
                continue
            seen.add(at)
            before = list(self._before(graph, tensor))
            if at in self._names:
                found.add(self._names[at])
            elif before:
                todo += before
            else:
                found.add(None)
        return found

    def _before(self, graph: Subgraph, tensor: int) -> Iterator[tuple[Subgraph, int]]:
        op = self._producers.get((graph.index, tensor))
        if op is None:
            if tensor in graph.inputs:
                position = graph.inputs.index(tensor)
                for caller, call in self._callers.get(graph.index, []):
                    at = position + (call.name == "IF")  # IF passes on all but its condition
                    if at < len(call.inputs):
                        yield caller, call.inputs[at]
        elif op.name == "VAR_HANDLE":
            options = op.options
            name = options.get("container") or "", options.get("sharedName") or ""
            self._names[graph.index, tensor] = name
        elif op.name == "WHILE" and len(op.inputs) == len(op.outputs):  # passed through
            yield graph, op.inputs[op.outputs.index(tensor)]


def _ops(model: TfliteModel, name: str) -> Iterator[tuple[Subgraph, Op]]:
    for graph in model.subgraphs:
        for op in graph.ops:
            if op.name == name:
                yield graph, op


def _compute_dtypes(model: TfliteModel, but: Collection[tuple[int, int]] = ()) -> Counter[str]:
    """Compute operators by the dtype of their activation; `but` those that shall stay float."""
    counts: Counter[str] = Counter()
    for graph in model.subgraphs:
        for op in graph.ops:
            if (graph.index, op.index) in but:
                continue
            if (rule := compute_rule(op)) and (tensor := op_input(graph, op, rule.activation)):
                counts[tensor.dtype] += 1
    return counts


def quantization_effect(model: TfliteModel, quantize: str) -> dict[str, Any]:
    """What quantization did, as JSON-able counts.

    `weights`: {dtype: {tensors, elements, bytes}} of the constant weights of compute operators and
    look-ups (biases left out); `compute_ops`: {activation dtype: count}; `quantized_weight_share`:
    elements in a type smaller than float32, of all weight elements, 0 to 1 (0 without weights).

    Args:
        model: the converted file.
        quantize: the manifest's value; returned for the report.
    """
    weights: dict[str, dict[str, int]] = {}
    for weight in weights_of(model):
        tensor = weight.tensor
        entry = weights.setdefault(tensor.dtype, {"tensors": 0, "elements": 0, "bytes": 0})
        entry["tensors"] += 1
        entry["elements"] += tensor.elements
        entry["bytes"] += tensor.data_size
    total = sum(entry["elements"] for entry in weights.values())
    wide = sum(weights[t]["elements"] for t in weights if t in ("float32", "float64"))
    return {
        "quantize": quantize,
        "weights": dict(sorted(weights.items())),
        "compute_ops": dict(sorted(_compute_dtypes(model).items())),
        "quantized_weight_share": round((total - wide) / total, 4) if total else 0.0,
    }


def quantization_problems(
    model: TfliteModel,
    quantize: str,
    io: str = "float32",
    source_inputs: Mapping[str, str] | None = None,
    source_outputs: Mapping[str, str] | None = None,
    signature: str | None = None,
    io_output: str | None = None,
    quantizer: str = "tensorflow",
    kept: Collection[tuple[int, int]] = (),
) -> list[str]:
    """Where the file is not what `quantize` and `io` of the manifest ask for.

    Args:
        model: the converted file.
        quantize: none, dynamic_range, float16, int8, int16x8, qat, weight_only or recipe.
        io: float32, int8, uint8 or int16: what float inputs and outputs of the source become.
        source_inputs: dtypes by signature key (tensor name without signature) in the source;
            those that are not floating point must stay as they are. A missing key, or None:
            the file's own integer types without quantization are taken for the source's.
        source_outputs: the same for outputs.
        signature: only this one; None: all.
        io_output: what float outputs become; None: `io`.
        quantizer: tensorflow or ai-edge.
        kept: (subgraph, operator) of those that shall stay float.
    """
    types = {"input": io, "output": io_output or io}
    problems = [
        *(
            problem + (remedy if quantize == "recipe" else "")
            for problem, remedy in _io_problems(
                model, types, source_inputs or {}, source_outputs or {}, signature
            )
        ),
        *_weight_problems(model, quantize, quantizer, kept),
    ]
    return list(dict.fromkeys(problems))


def _io_problems(
    model: TfliteModel,
    types: Mapping[str, str],
    source_inputs: Mapping[str, str],
    source_outputs: Mapping[str, str],
    signature: str | None,
) -> Iterator[tuple[str, str]]:
    """Problems, each with what to write where a recipe made them."""
    main = model.subgraphs[0]
    sides = [
        (s.subgraph, what, pairs, source)
        for s in model.signatures
        if signature in (None, s.key)
        for what, pairs, source in (
            ("input", s.inputs, source_inputs),
            ("output", s.outputs, source_outputs),
        )
    ] or [
        (0, what, tuple((main.tensors[i].name, i) for i in indexes), source)
        for what, indexes, source in (
            ("input", main.inputs, source_inputs),
            ("output", main.outputs, source_outputs),
        )
    ]
    for graph, what, pairs, source in sides:
        io = types[what]
        for name, index in pairs:
            tensor = model.subgraphs[graph].tensors[index]
            plain = tensor.dtype not in FLOATS and tensor.quantization is None
            before = source.get(name, tensor.dtype if plain else "float32")
            if before not in FLOATS:
                if tensor.dtype != before:
                    yield f"{what} '{name}' is {tensor.dtype}, in the source it is {before}", ""
            elif tensor.dtype != io and not (io == "float32" and tensor.dtype == before):
                remedy = f"; write io: {tensor.dtype}"
                if tensor.dtype not in FLOATS:
                    remedy += f", or keep {what.upper()} float in the recipe (no_quantize)"
                yield f"{what} '{name}' is {tensor.dtype}, io asks for {io}", remedy


def _weight_problems(
    model: TfliteModel, quantize: str, quantizer: str, kept: Collection[tuple[int, int]]
) -> Iterator[str]:
    weights = weights_of(model)
    narrow = [w for w in weights if w.tensor.dtype in QUANTIZED]
    half = [w for w in weights if w.tensor.dtype in ("float16", "bfloat16")]
    wide = [w for w in weights if w.tensor.dtype == "float32"]
    integer = {t: n for t, n in _compute_dtypes(model).items() if t not in FLOATS}
    if quantize not in _FULL_INTEGER and quantize != "recipe" and integer:
        has = ", ".join(f"{n} {dtype}" for dtype, n in sorted(integer.items()))
        yield (
            f"compute operators have integer activations ({has}) although quantize is {quantize}; "
            "a model with ranges of its own (quantization-aware training) needs quantize: qat"
        )
    if quantize == "none":
        for weight in (narrow + half)[:1]:
            yield (
                f"{len(narrow + half)} weights are quantized although quantize is none, the first "
                f"is '{weight.tensor.name}' ({weight.tensor.dtype}, {weight.op})"
            )
    elif quantize == "float16" and not half and wide:
        yield f"no weight is float16; {len(wide)} are float32"
    elif quantize in ("dynamic_range", "weight_only") and not narrow:
        yield _no_weight_reason(model, quantize, quantizer, wide + half)
    elif quantize == "recipe" and not (narrow or half or integer):
        yield "no rule of the recipe quantized anything"
    elif quantize in _FULL_INTEGER:
        weights = [w for w in weights if (w.subgraph, w.at) not in kept]
        yield from _integer_problems(model, quantize, weights, narrow, kept)


def _no_weight_reason(
    model: TfliteModel, quantize: str, quantizer: str, floats: list[Weight]
) -> str:
    largest = max((w.tensor.elements for w in floats), default=0)
    if not floats:
        why = "the model has no constant weights"
    elif quantizer != "tensorflow":
        kinds = ", ".join(sorted({w.op for w in floats}))
        why = f"ai-edge-quantizer does not quantize the weights of {kinds} this way"
    elif largest < MIN_ELEMENTS:
        why = (
            f"all {len(floats)} weights have fewer than {MIN_ELEMENTS:,} elements "
            f"(the largest {largest:,}), and the converter leaves such weights in float"
        )
    else:
        why = f"the converter left all {len(floats)} weights in float"
    return f"{quantize} quantized no weight: {why}; use {instead(model, quantizer)}"


def _integer_problems(
    model: TfliteModel,
    quantize: str,
    weights: list[Weight],
    narrow: list[Weight],
    kept: Collection[tuple[int, int]],
) -> Iterator[str]:
    """One signature that calibration left out stays float among others that are quantized."""
    activation = _FULL_INTEGER[quantize]
    wanted = {"int8", "uint8"} if activation == "int8" else {activation}
    parts = by_signature(model)
    for name, _, part in parts:
        where = f" in signature '{name}'" if len(parts) > 1 else ""
        if compute := _compute_dtypes(part, kept):
            if not any(compute[dtype] for dtype in wanted):
                has = ", ".join(f"{n} {dtype}" for dtype, n in sorted(compute.items()))
                yield (
                    f"{quantize} left no compute operator with {activation} activations"
                    f"{where} ({has})"
                )
        elif len(parts) == 1 and not any(_quantized_outputs(part, wanted)):
            yield f"{quantize} left no operator with {activation} activations"
    if weights and not narrow:
        yield f"{quantize} left no int8 weight; {len(weights)} are float"


def _quantized_outputs(model: TfliteModel, dtypes: set[str]) -> Iterator[bool]:
    """For a model without compute operators: whether any operator works on quantized values."""
    for graph in model.subgraphs:
        for op in graph.ops:
            for index in op.outputs if op.name not in ("QUANTIZE", "DEQUANTIZE") else ():
                tensor = graph.tensors[index] if index >= 0 else None
                yield bool(tensor and tensor.dtype in dtypes and tensor.quantization)


def untouched_signatures(
    model: TfliteModel, quantize: str, kept: Collection[tuple[int, int]] = ()
) -> tuple[list[str], list[str]]:
    """Problems and warnings about shipped signatures of which nothing is quantized.

    Args:
        quantize: the manifest's value, or recipe.
        kept: (subgraph, operator) of those that `keep_float` names.
    """
    problems: list[str] = []
    warnings: list[str] = []
    parts = by_signature(model)
    for name, _, part in parts if quantize != "none" else ():
        weights = weights_of(part)
        work = [(op, integer) for op, integer in real_operators(part)]
        narrow = quantize not in _FULL_INTEGER and any(
            w.tensor.dtype in QUANTIZED | {"float16", "bfloat16"} for w in weights
        )
        if not work or narrow or any(integer and op.name not in _MOVES for op, integer in work):
            continue
        where = f" in signature '{name}'" if len(parts) > 1 else ""
        if any((graph.index, op.index) in kept for graph in part.subgraphs for op in graph.ops):
            problems.append(
                f"keep_float leaves nothing to quantize{where}: none of {len(work)} operators is"
                f" {'an integer one' if quantize in _FULL_INTEGER else 'quantized'}; name fewer"
            )
            continue
        if quantize in _FULL_INTEGER or len(parts) == 1:
            continue  # `quantization_problems` looks at these
        large = [w for w in weights if w.op in _TAKEN and w.tensor.elements >= MIN_ELEMENTS]
        if large:
            problems.append(
                f"{quantize} quantized nothing{where} (0 % of its weights), which has weights of"
                f" {MIN_ELEMENTS:,} elements and more: {describe_weights(large)}"
            )
        else:
            elements = sum(w.tensor.elements for w in weights)
            warnings.append(
                f"{quantize} quantized nothing{where}: 0 % of {elements:,} elements of weights"
            )
    return problems, warnings
