"""One signature of a `.tflite` file, run on test data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tflbuild import data
from tflbuild.errors import TaskError, one_line
from tflbuild.kernels import Kernels
from tflbuild.stages.reference import begins, join
from tflbuild.validators import Elsewhere

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tflbuild.tflite.read import Tensor

    Array = NDArray[Any]


class File:
    """One signature of the converted file, run by the LiteRT interpreter, or elsewhere."""

    def __init__(
        self,
        path: Path,
        interface: Mapping[str, Any],
        sequence: Mapping[str, Any] | None = None,
        kernels: Kernels | None = None,
        scratch: Path | None = None,
    ) -> None:
        """`scratch`: a folder to make, for what a validator is given. Raises TaskError."""
        from tflbuild.tflite.read import read_model

        self.path = path
        self.interface = interface
        self.sequence = sequence
        self.kernels = kernels or Kernels()
        self._model = model = read_model(path.read_bytes())
        key = interface["signature"]
        found = next((s.subgraph for s in model.signatures if s.key == key), 0)
        self._main = model.subgraphs[found]
        self.state_tensors = sum(t.is_variable for t in self._main.tensors)
        self._variables = any(
            op.name == "ASSIGN_VARIABLE" for graph in model.subgraphs for op in graph.ops
        )
        if sequence is not None and not (self.state_tensors or self._variables):
            raise TaskError(
                f"validate.sequence has no effect: signature {key!r} of the file keeps no state;"
                " remove it",
                key="validate.sequence",
            )
        self._elsewhere: Elsewhere | None = None
        self._fresh = True  # nothing was run yet
        if scratch is not None and self.kernels.elsewhere(model):
            self._elsewhere = Elsewhere(self.kernels.python, self._plan(), scratch)
        else:
            self._begin()

    def _begin(self) -> None:
        """All state as it is when the file is loaded."""
        from ai_edge_litert.interpreter import Interpreter

        delegates = self.kernels.delegates(self._model) or None
        try:
            self._interpreter = Interpreter(
                model_path=str(self.path), num_threads=1, experimental_delegates=delegates
            )
            self._runner = self._interpreter.get_signature_runner(self.interface["signature"])
        except (ValueError, RuntimeError) as error:
            text = one_line(error)
            raise TaskError(f"the LiteRT interpreter refuses the file: {text}") from error

    def _plan(self) -> dict[str, Any]:
        """For `foreign/run_file.py`."""
        custom = self.kernels.registers(self.kernels.custom_ops)
        return {
            "model": str(self.path),
            "signature": self.interface["signature"],
            "subgraph": self._main.index,
            "tensors": {side: dict(self._bound(side)) for side in ("inputs", "outputs")},
            "library": str(self.kernels.library) if custom else "",
            "custom_ops": custom,
        }

    def output_bytes(self) -> float:
        """Of one call, as the file's shapes say; a dimension that is open counts as one."""
        size = 0
        for index in self._main.outputs:
            tensor = self._main.tensors[index]
            values = 4  # bytes of a real number, or fewer
            for length in tensor.shape:
                values *= max(1, length)
            size += values
        return size

    def _bound(self, side: str) -> Iterable[tuple[str, int]]:
        """Names of inputs or outputs with their tensors."""
        indices = self._main.inputs if side == "inputs" else self._main.outputs
        return zip((e["name"] for e in self.interface[side]), indices, strict=True)

    def _details(self, side: str) -> Mapping[str, Mapping[str, Any]]:
        """Type, and scale with zero point (0.0: not quantized) of inputs or outputs, by name."""
        if self._elsewhere is not None:
            return {n: tensor_details(self._main.tensors[i]) for n, i in self._bound(side)}
        runner = self._runner
        found: Mapping[str, Mapping[str, Any]] = (
            runner.get_input_details() if side == "inputs" else runner.get_output_details()
        )
        return found

    @property
    def elsewhere(self) -> bool:
        """Whether a validator runs it."""
        return self._elsewhere is not None

    @property
    def cuttable(self) -> bool:
        """Whether some of the samples can be run without those before them."""
        if self.sequence is not None:
            return bool(self.sequence["reset"] == "each")
        return not self._variables

    def run(self, samples: data.Samples, first: int = 0) -> dict[str, Array]:
        """The outputs by name, dequantized, samples along the first axis.

        Inputs go in one at a time (or by the fixed batch), as on a device: a resized batch
        would test another plan than the one that ships. Without a declared sequence, state
        tensors (those of a fused LSTM) begin anew with each call, as in the source; variables
        that the source itself keeps go on. `first`: calls of earlier chunks, which went before
        where the file is not cuttable.
        """
        outs = self._details("outputs")
        collected: dict[str, list[Any]] = {e["name"]: [] for e in self.interface["outputs"]}
        run = self._here if self._elsewhere is None else self._elsewhere.run
        for result in run(self._steps(samples, first)):
            for name, rows in collected.items():
                rows.append(dequantize(result[name], outs[name]))
        stacked = data.is_stacked(samples, self.interface["inputs"])
        return {name: join(rows, stacked) for name, rows in collected.items()}

    def _steps(self, samples: data.Samples, first: int) -> Iterator[tuple[str, dict[str, Array]]]:
        """The inputs of each call, with what begins anew before it: "" nothing, "state" the state
        tensors, "load" everything."""
        ins = self._details("inputs")
        each = bool(self.state_tensors) and self.sequence is None
        for step, batch in enumerate(data.batches(samples, self.interface["inputs"], size=1)):
            begin = ""
            if self._fresh or (self._elsewhere is not None and not step):
                pass  # nothing is there yet
            elif begins(self.sequence, first + step):
                begin = "load" if self._variables else "state"
            elif each:
                begin = "state"
            self._fresh = False
            yield begin, {name: quantize(array, ins[name]) for name, array in batch.items()}

    def _here(self, steps: Iterable[tuple[str, dict[str, Array]]]) -> Iterator[dict[str, Array]]:
        for begin, feed in steps:
            if begin == "load":
                self._begin()
            try:
                if begin == "state":
                    self._interpreter.reset_all_variables()
                result: dict[str, Array] = self._runner(**feed)
            except (ValueError, RuntimeError) as error:
                raise TaskError(f"the LiteRT interpreter failed: {one_line(error)}") from error
            yield result

    def saturated(self, samples: data.Samples) -> dict[str, list[int]]:
        """Of each quantized input: how many of its values lie outside the range which its scale
        and zero point can hold, and of how many. The converter may make that range wider than the
        calibration data."""
        import numpy as np

        counts = {}
        for name, index in zip(
            (e["name"] for e in self.interface["inputs"]), self._main.inputs, strict=True
        ):
            tensors = [self._main.tensors[index]] + [
                self._main.tensors[op.outputs[0]]
                for op in self._main.ops
                if op.name == "QUANTIZE" and op.inputs[0] == index
            ]
            found = next((t for t in tensors if t.quantization and t.quantization.scale), None)
            array = samples.arrays[name]
            if found is None or found.quantization is None or array.dtype.kind != "f":
                continue
            limits = np.iinfo(found.dtype)
            scale, zero = found.quantization.scale[0], found.quantization.zero_point[0]
            # A value beside the last step is rounded to it, no worse than one between steps.
            low, high = (limits.min - 0.5 - zero) * scale, (limits.max + 0.5 - zero) * scale
            counts[name] = [int(((array < low) | (array > high)).sum()), int(array.size)]
        return counts


def tensor_details(tensor: Tensor) -> dict[str, Any]:
    """What the interpreters' `get_input_details` say of a tensor's type and quantization."""
    import numpy as np

    found = tensor.quantization
    scaled = found is not None and len(found.scale) == 1
    try:
        dtype = np.dtype(tensor.dtype)
    except TypeError:  # string, bfloat16
        dtype = np.dtype(object)
    quantization = (0.0, 0)
    if found is not None and scaled:
        quantization = (found.scale[0], (*found.zero_point, 0)[0])
    return {"dtype": dtype, "quantization": quantization}


def quantize(array: Array, details: Mapping[str, Any]) -> Array:
    """Real values to the file's input type: round(x / scale) + zero_point, saturated
    (the affine scheme of the LiteRT 8-bit quantization specification)."""
    import numpy as np

    scale, zero = details["quantization"]
    dtype = np.dtype(details["dtype"])
    if array.dtype.kind == "U":
        return np.char.encode(array, "utf-8")
    if not scale or dtype.kind not in "iu" or array.dtype.kind != "f":
        return array
    limits = np.iinfo(dtype)
    scaled = np.round(array / np.float32(scale)) + zero
    result: Array = np.clip(scaled, limits.min, limits.max).astype(dtype)
    return result


def dequantize(array: Array, details: Mapping[str, Any]) -> Array:
    """The file's output to real values: (q - zero_point) * scale."""
    import numpy as np

    scale, zero = details["quantization"]
    if not scale or array.dtype.kind not in "iu":
        kept: Array = array.copy()  # the interpreter's own buffer is reused
        return kept
    result: Array = (array.astype(np.float32) - zero) * np.float32(scale)
    return result
