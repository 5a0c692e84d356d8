"""The error of each layer: its own, and what has come together until there.

Runs in a child. Both files run sample by sample, with every tensor kept; beside them each operator
of the quantized file runs alone, on the float file's values, brought to the types that it takes.
One sample is in memory at a time.

What a layer's **own** error is made of (its own SQNR is the lower of both):

- *kernel*: the operator alone beside the float operator alone, on the same inputs, rounded as the
  quantized file rounds them. What comes from the weights, and from the kernel's arithmetic. The
  error of its inputs is in both, and cancels: victims are not blamed.
- *range*: the float file's values of its output, rounded to what the output's type, scale and zero
  point can hold. Not where an input has the same scale and zero point: then the range is the
  input's, and whoever made that is to blame.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tflbuild.debugging.matching import CASTS, Matching, layers, readers, writers
from tflbuild.debugging.sums import EXACT, MEASURED, UNKNOWN, Grid, Noise, Spread
from tflbuild.errors import TaskError, TflbuildError, one_line
from tflbuild.tflite.one_op import inputs_of, one_op, outputs_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tflbuild.kernels import Kernels
    from tflbuild.tflite.read import Op, Subgraph, Tensor, TfliteModel

    Array = NDArray[Any]


class Whole:
    """One signature of a file, run with every tensor kept."""

    def __init__(self, path: Path, signature: str, kernels: Kernels) -> None:
        """Raises TaskError, InvalidModel."""
        from tflbuild.tflite.read import read_model

        self.path, self.signature, self.kernels = path, signature, kernels
        self.data = path.read_bytes()
        self.model: TfliteModel = read_model(self.data)
        found = next((s for s in self.model.signatures if s.key == signature), None)
        if found is None:
            raise TaskError(f"the file has no signature {signature!r}")
        self.graph: Subgraph = self.model.subgraphs[found.subgraph]
        names = {index: name for name, index in found.inputs}
        self.inputs = {names[index]: index for index in self.graph.inputs if index in names}
        outputs = {index: name for name, index in found.outputs}
        self.outputs = {outputs[i]: i for i in self.graph.outputs if i in outputs}
        self.state = any(t.is_variable for t in self.graph.tensors) or any(
            op.name == "ASSIGN_VARIABLE" for g in self.model.subgraphs for op in g.ops
        )
        self.begin()

    def begin(self) -> None:
        """All state as it is when the file is loaded. Raises TaskError."""
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        try:
            self.interpreter = Interpreter(
                model_path=str(self.path),
                num_threads=1,
                experimental_preserve_all_tensors=True,
                experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
                experimental_delegates=self.kernels.delegates(self.model) or None,
            )
            self.runner = self.interpreter.get_signature_runner(self.signature)
        except (ValueError, RuntimeError) as error:
            raise TaskError(f"the LiteRT interpreter refuses: {one_line(error)}") from error

    def run(self, feed: Mapping[str, Array]) -> None:
        """Raises TaskError."""
        values = {}
        for name, array in feed.items():
            tensor = self.graph.tensors[self.inputs[name]]
            values[name] = stored(array, tensor)
        try:
            self.runner(**values)
        except (ValueError, RuntimeError) as error:
            raise TaskError(f"the LiteRT interpreter failed: {one_line(error)}") from error

    def raw(self, index: int) -> Array | None:
        """A tensor of the last run, as the file stores it; None where there is none to be had."""
        try:
            value: Array = self.interpreter.get_tensor(index, self.graph.index)
        except (ValueError, RuntimeError):
            return None
        return value

    def real(self, index: int) -> Array | None:
        """The same as real numbers."""
        value = self.raw(index)
        return None if value is None else real(value, self.graph.tensors[index])


class Alone:
    """One operator of a file as a file of its own."""

    def __init__(self, whole: Whole, op: Op) -> None:
        """Raises TaskError with why it cannot run alone."""
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        self.inputs = inputs_of(whole.graph, op)
        self.outputs = outputs_of(op)
        try:
            cut = one_op(whole.data, whole.graph.index, op.index, whole.model)
            self.interpreter = Interpreter(
                model_content=cut,
                num_threads=1,
                experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
                experimental_delegates=whole.kernels.delegates(whole.model) or None,
            )
            self._shapes: list[tuple[int, ...]] = []
        except (ValueError, RuntimeError, TflbuildError) as error:
            raise TaskError(one_line(error)) from error

    def run(self, values: Sequence[Array]) -> list[Array]:
        """The outputs as they are stored. Raises TaskError."""
        try:
            details = self.interpreter.get_input_details()
            shapes = [value.shape for value in values]
            if shapes != self._shapes:
                for detail, shape in zip(details, shapes, strict=True):
                    if tuple(detail["shape"]) != shape:
                        self.interpreter.resize_tensor_input(detail["index"], shape)
                self.interpreter.allocate_tensors()
                self._shapes = shapes
            self.interpreter.reset_all_variables()
            for detail, value in zip(details, values, strict=True):
                self.interpreter.set_tensor(detail["index"], value)
            self.interpreter.invoke()
            return [
                self.interpreter.get_tensor(detail["index"])
                for detail in self.interpreter.get_output_details()
            ]
        except (ValueError, RuntimeError) as error:
            raise TaskError(one_line(error)) from error


def stored(array: Array, tensor: Tensor) -> Array:
    """Real values to a tensor's type."""
    import numpy as np

    grid = Grid.of(tensor)
    if array.dtype.kind == "f" and grid is not None:
        return grid.store(array, tensor.dtype)
    if array.dtype.kind == "U":
        return np.char.encode(array, "utf-8")
    if array.dtype.kind == "f" and tensor.dtype in ("float32", "float16", "float64"):
        return array.astype(tensor.dtype)
    return array


def real(array: Array, tensor: Tensor) -> Array:
    """What a tensor stores, as real numbers."""
    grid = Grid.of(tensor)
    return grid.real(array) if grid is not None and array.dtype.kind in "iu" else array


@dataclass
class Layer:
    """One operator of the quantized file, and what was added up of it."""

    op: Op
    quantized: bool
    reference: Op | None
    alone: Alone | None = None
    beside: Alone | None = None  # the float operator
    why: str = ""  # its own error cannot be told
    kernel: Noise = field(default_factory=Noise)
    range: Noise = field(default_factory=Noise)
    entering: Noise = field(default_factory=Noise)
    rounded: Noise = field(default_factory=Noise)
    accumulated: Noise = field(default_factory=Noise)
    spread: Spread = field(default_factory=Spread)


class Comparison:
    """A quantized file beside its float file, one signature."""

    def __init__(self, quantized: Whole, reference: Whole, matching: Matching) -> None:
        self.quantized, self.reference, self.matching = quantized, reference, matching
        graph, other = quantized.graph, reference.graph
        self.layers = []
        for op in layers(graph):
            at = matching.ops.get(op.index)
            layer = Layer(op, is_quantized(quantized, op), None if at is None else other.ops[at])
            self.layers.append(layer)
            if layer.reference is None:
                layer.why = "no operator of the float file matches it"
            elif layer.quantized:
                try:
                    layer.alone = Alone(quantized, op)
                    layer.beside = Alone(reference, layer.reference)
                except TaskError as error:
                    layer.why = f"it does not run alone: {error}"
        self.entering = {
            name: (self._entrance(index), Noise(), Spread())
            for name, index in quantized.inputs.items()
        }
        self.leaving = {name: Noise() for name in quantized.outputs}
        self._leaving = set(graph.outputs)  # and what a cast makes an output of
        self._leaving |= {o.inputs[0] for o in graph.ops
                          if o.name in CASTS and o.outputs[0] in self._leaving}  # fmt: skip

    def _entrance(self, index: int) -> Tensor:
        """The quantized tensor of an input: itself, or what a QUANTIZE makes of it."""
        graph = self.quantized.graph
        tensors = [index, *(o.outputs[0] for o in graph.ops
                            if o.name == "QUANTIZE" and o.inputs[0] == index)]  # fmt: skip
        return next(
            (graph.tensors[i] for i in tensors if Grid.of(graph.tensors[i])), graph.tensors[index]
        )

    def add(self, feed: Mapping[str, Array]) -> None:
        """One sample. Raises TaskError where a whole file does not run."""
        self.reference.run(feed)
        self.quantized.run(feed)
        for name, (tensor, noise, spread) in self.entering.items():
            values, grid = feed[name], Grid.of(tensor)
            if values.dtype.kind == "f":
                spread.add(values, grid)
                if grid is not None:
                    noise.add(values, grid.real(grid.store(values, tensor.dtype)))
        for name, index in self.quantized.outputs.items():
            self._compare(self.leaving[name], index, self.reference.outputs[name])
        for layer in self.layers:
            if layer.reference is not None:
                self._layer(layer, layer.reference)

    def _compare(self, noise: Noise, mine: int, other: int) -> None:
        values, wanted = self.quantized.real(mine), self.reference.real(other)
        if values is not None and wanted is not None and wanted.dtype.kind == "f":
            noise.add(wanted, values)

    def _layer(self, layer: Layer, reference: Op) -> None:
        graph = self.quantized.graph
        shared = self._shared(layer.op)
        for mine, other in zip(layer.op.outputs, reference.outputs, strict=False):
            if mine < 0 or other < 0:
                continue
            self._compare(layer.accumulated, mine, other)
            wanted, grid = self.reference.real(other), Grid.of(graph.tensors[mine])
            if wanted is None or wanted.dtype.kind != "f":
                continue
            layer.spread.add(wanted, grid)
            if grid is not None and not shared:
                rounded = grid.real(grid.store(wanted, graph.tensors[mine].dtype))
                layer.range.add(wanted, rounded)
        if layer.alone is None or layer.beside is None or layer.why:
            return
        try:
            self._own(layer, layer.alone, layer.beside)
        except TaskError as error:
            layer.why = f"it does not run alone: {error}"

    def _shared(self, op: Op) -> bool:
        """Its output has the scale and zero point of an input."""
        tensors = self.quantized.graph.tensors
        outs = [Grid.of(tensors[i]) for i in op.outputs if i >= 0]
        ins = [Grid.of(tensors[i]) for i in op.inputs if i >= 0 and not tensors[i].is_constant]
        return bool(outs) and outs[0] is not None and outs[0] in ins

    def _own(self, layer: Layer, alone: Alone, beside: Alone) -> None:
        """The operator beside the float one, on the same inputs. Raises TaskError."""
        graph, other = self.quantized.graph, self.reference.graph
        given: dict[int, Array] = {}  # of the float file: what both are to read
        mine = []
        for index in alone.inputs:
            tensor, at = graph.tensors[index], self.matching.tensors.get(index)
            if index in self.matching.folded or (at is None and tensor.dtype not in _REAL):
                values = self.quantized.raw(index)
            elif at is None:
                raise TaskError(f"its input {tensor.name!r} is not in the float file")
            else:
                values = self.reference.raw(at)
                if values is not None:
                    values = stored(values, tensor)
                    given[at] = real(values, tensor)
                    if Grid.of(tensor) is not None:
                        layer.entering.add(self.reference.real(at), given[at])  # type: ignore[arg-type]
            if values is None:
                raise TaskError(f"its input {tensor.name!r} is not kept by the runtime")
            mine.append(values)
        theirs = []
        for index in beside.inputs:
            values = given[index] if index in given else self.reference.raw(index)
            if values is None:
                raise TaskError(f"its input {other.tensors[index].name!r} is not kept")
            theirs.append(values)
        wanted, found = beside.run(theirs), alone.run(mine)
        for (at, want), have in zip(zip(beside.outputs, wanted, strict=True), found, strict=False):
            if want.dtype.kind == "f":
                position = beside.outputs.index(at)
                tensor = graph.tensors[alone.outputs[position]]
                exact = self.reference.real(at)
                if exact is not None and exact.shape == want.shape and layer.entering.seen:
                    layer.rounded.add(exact, want)
                # Beyond its range it can hold nothing: that is the range's own error.
                grid = Grid.of(tensor)
                if grid is not None:
                    want = want.clip(grid.low, grid.high)
                layer.kernel.add(want, real(have, tensor))

    def told(self) -> dict[str, Any]:
        """JSON: inputs, outputs and layers, in the order of the file."""
        graph = self.quantized.graph
        return {
            "inputs": [
                {
                    "name": name,
                    "sqnr": noise.sqnr,
                    "error": noise.told,
                    **spread.told(Grid.of(tensor)),
                    "readers": readers(graph, self.quantized.inputs[name]),
                }
                for name, (tensor, noise, spread) in self.entering.items()
            ],
            "outputs": [
                {"name": name, "sqnr": noise.sqnr, "error": noise.told}
                for name, noise in self.leaving.items()
            ],
            "layers": [self._told(layer) for layer in self.layers],
        }

    def _told(self, layer: Layer) -> dict[str, Any]:
        graph, op = self.quantized.graph, layer.op
        first = next((graph.tensors[i] for i in op.outputs if i >= 0), None)
        grid = None if first is None else Grid.of(first)
        own, number, cause = own_error(layer)
        return {
            "subgraph": graph.index,
            "index": op.index,
            "op": op.name,
            "tensor": "" if first is None else first.name,
            "dtype": "" if first is None else first.dtype,
            "quantized": layer.quantized,
            "matched": self.matching.how.get(op.index, ""),
            "own": own,
            "own_sqnr": number,
            "cause": cause,
            "kernel_sqnr": layer.kernel.sqnr,
            "range_sqnr": layer.range.sqnr,
            "entering_sqnr": layer.entering.sqnr,
            "rounded_sqnr": layer.rounded.sqnr,
            "writers": writers(graph, op),
            "accumulated": layer.accumulated.told,
            "accumulated_sqnr": layer.accumulated.sqnr,
            **layer.spread.told(grid),
            "passes_range": self._shared(op),
            "writes_output": any(i in self._leaving for i in op.outputs),
            "readers": sorted({r for i in op.outputs if i >= 0 for r in readers(graph, i)}),
            "why": layer.why,
        }


NEAR = 3.0  # dB
_REAL = frozenset({"float16", "float32", "float64", "bfloat16"})


def own_error(layer: Layer) -> tuple[str, float | None, str]:
    """(MEASURED, EXACT or UNKNOWN; SQNR in dB; "range" or "kernel", whichever is to
    blame: a coarse range is in the kernel's rounding, too)."""
    if not layer.quantized:
        return EXACT, None, ""
    found = [(n.sqnr, cause) for cause, n in (("kernel", layer.kernel), ("range", layer.range))
             if n.told == MEASURED]  # fmt: skip
    worst = min(((s, cause) for s, cause in found if s is not None), default=None)
    if layer.why and (worst is None or worst[1] != "range"):
        return UNKNOWN, None, ""
    if worst is None:
        return (EXACT if layer.kernel.seen else UNKNOWN), None, ""
    ranged = layer.range.sqnr
    by_range = ranged is not None and ranged <= worst[0] + NEAR
    return MEASURED, worst[0], "range" if by_range else "kernel"


def is_quantized(whole: Whole, op: Op) -> bool:
    """An operator that reads or writes numbers narrower than the source's: integers that stand for
    real numbers, or weights that were dequantized."""
    graph = whole.graph
    makers = {out: o for o in graph.ops for out in o.outputs}
    for index in (*op.inputs, *op.outputs):
        if index < 0:
            continue
        tensor = graph.tensors[index]
        if tensor.dtype == "float16" or (tensor.quantization and tensor.dtype not in _REAL):
            if tensor.quantization is None or tensor.quantization.scale or tensor.is_constant:
                return True
        maker = makers.get(index)
        if maker is not None and maker.name in CASTS and index in op.inputs:
            before = graph.tensors[maker.inputs[0]]
            if before.is_constant:
                return True
    return False


def steps(
    samples: Any, inputs: Sequence[Mapping[str, Any]], sequence: Mapping[str, Any] | None
) -> Iterable[tuple[bool, dict[str, Array]]]:
    """The inputs of each call, with whether state begins anew before it."""
    from tflbuild import data
    from tflbuild.stages.reference import begins

    for number, batch in enumerate(data.batches(samples, inputs, size=1)):
        yield bool(number) and (sequence is None or begins(sequence, number)), batch
