"""validate: run the converted file on the test inputs and measure it against the source.

Output: `validate.json`: per output the parity numbers, pooled over all samples; the metrics of
the source and of the file. It measures and does not judge: limits are the gate's.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tflbuild import data
from tflbuild.errors import TaskError, one_line
from tflbuild.limits import limit_action
from tflbuild.stages.base import Request
from tflbuild.stages.reference import begins, join

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

VERSION = 3
MODULES: tuple[str, ...] = ("numpy", "ai_edge_litert")
ZYGOTE = "lite"

SATURATED = 0.01  # share of an input's test values outside its quantized range worth a warning


def run(request: Request) -> None:
    limit_action(request.inputs.values())
    params = request.params
    interface, reference = request.read_json("interface.json"), request.read_json("reference.json")
    path = request.inputs["model.tflite"]
    report: dict[str, Any] = {
        "signatures": [], "parity": [], "metrics": [], "state_tensors": 0, "warnings": [],
    }  # fmt: skip
    for index, signature in enumerate(interface["signatures"]):
        name = signature["signature"]
        files = request.files(f"test.{index}")
        samples = data.load(params["test"][index], files, signature["inputs"], "test")
        file = File(path, signature, params["sequences"][index])
        outputs, expected = file.run(samples), _expected(request, reference["signatures"][index])
        for output, source in expected.items():
            if source.shape != outputs[output].shape:
                raise TaskError(
                    f"output {output!r} has shape {list(outputs[output].shape)} over all"
                    f" samples, the source's has {list(source.shape)}"
                )
            numbers = parity_numbers(source, outputs[output])
            report["parity"].append({"signature": name, "output": output, **numbers})
        for metric in params["signatures"][index]["metrics"]:
            value = accuracy(metric, samples, expected, outputs)
            report["metrics"].append({"signature": name, "name": metric["name"], **value})
        saturated = file.saturated(samples)
        report["signatures"].append({
            "signature": name,
            "samples": samples.count,
            "representative": samples.representative,
            "data": params["signatures"][index]["data"],
            "saturated": saturated,
        })  # fmt: skip
        report["state_tensors"] += file.state_tensors
        report["warnings"] += [*samples.warnings, *_warnings(saturated, file)]
    request.write_json("validate.json", report)


def _expected(request: Request, reference: Mapping[str, Any]) -> dict[str, Array]:
    """The source's outputs by name."""
    import numpy as np

    return {
        entry["name"]: np.load(request.inputs[entry["file"]], allow_pickle=False)
        for entry in reference["outputs"]
    }


def _warnings(saturated: Mapping[str, float], file: File) -> list[str]:
    found = [
        f"{share:.1%} of the test values of input {name!r} lie outside the range that the file's"
        " quantized input can hold: they saturate; calibrate on data that reaches as far"
        for name, share in saturated.items()
        if share > SATURATED
    ]
    if file.state_tensors and file.sequence is None:
        found.append(
            f"the file keeps {file.state_tensors} state tensors from call to call, where the"
            " source begins anew: call reset_all_variables() (C++: ResetVariableTensors) between"
            " calls; validate.sequence tells how state is to be tested"
        )
    return found


class File:
    """One signature of the converted file, run by the LiteRT interpreter."""

    def __init__(
        self, path: Path, interface: Mapping[str, Any], sequence: Mapping[str, Any] | None = None
    ) -> None:
        from tflbuild.tflite.read import read_model

        self.path = path
        self.interface = interface
        self.sequence = sequence
        model = read_model(path.read_bytes())
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
        self._begin()

    def _begin(self) -> None:
        """All state as it is when the file is loaded."""
        from ai_edge_litert.interpreter import Interpreter

        try:
            self._interpreter = Interpreter(model_path=str(self.path), num_threads=1)
            self._runner = self._interpreter.get_signature_runner(self.interface["signature"])
        except (ValueError, RuntimeError) as error:
            text = one_line(error)
            raise TaskError(f"the LiteRT interpreter refuses the file: {text}") from error

    def _reset(self) -> None:
        if self._variables:
            self._begin()
        else:
            self._interpreter.reset_all_variables()

    def run(self, samples: data.Samples) -> dict[str, Array]:
        """The outputs by name, dequantized, samples along the first axis.

        Inputs go in one at a time (or by the fixed batch), as on a device: a resized batch
        would test another plan than the one that ships. Without a declared sequence, state
        tensors (those of a fused LSTM) begin anew with each call, as in the source; variables
        that the source itself keeps go on.
        """
        ins, outs = self._runner.get_input_details(), self._runner.get_output_details()
        collected: dict[str, list[Any]] = {e["name"]: [] for e in self.interface["outputs"]}
        for step, batch in enumerate(data.batches(samples, self.interface["inputs"], size=1)):
            if step and begins(self.sequence, step):
                self._reset()
            feed = {name: quantize(array, ins[name]) for name, array in batch.items()}
            try:
                result = self._runner(**feed)
                if self.state_tensors and self.sequence is None:
                    self._interpreter.reset_all_variables()
            except (ValueError, RuntimeError) as error:
                raise TaskError(f"the LiteRT interpreter failed: {one_line(error)}") from error
            for name, rows in collected.items():
                rows.append(dequantize(result[name], outs[name]))
        stacked = data.is_stacked(samples, self.interface["inputs"])
        return {name: join(rows, stacked) for name, rows in collected.items()}

    def saturated(self, samples: data.Samples) -> dict[str, float]:
        """Share of each quantized input's values that lie outside the range which its scale and
        zero point can hold. The converter may make that wider than the calibration data."""
        import numpy as np

        shares = {}
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
            shares[name] = round(float(((array < low) | (array > high)).mean()), 6)
        return shares


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


def parity_numbers(source: Array, other: Array) -> dict[str, Any]:
    """Parity of one output, pooled over all samples and elements, in float64.

    `sqnr` 10 log10(sum s^2 / sum (s - o)^2) in dB (null: no error at all), `cosine` similarity,
    `max_abs_error` in output units, `max_range_error` that over the source output's range
    (null: the source is constant). `finite` false or `constant` true are findings that always
    fail; the numbers are then null.
    """
    import numpy as np

    if source.dtype.kind in "SUO" or other.dtype.kind in "SUO":
        return {"kind": "exact", "equal": bool((source == other).all()), "finite": True}
    exact = source.dtype.kind not in "fc"
    s, o = _real(source), _real(other)
    result: dict[str, Any] = {
        "kind": "integer" if exact else "float",
        "finite": bool(np.isfinite(o).all()),
        "source_finite": bool(np.isfinite(s).all()),
        "constant": False,
        "sqnr": None,
        "cosine": None,
        "max_abs_error": None,
        "max_range_error": None,
        "equal": bool(np.array_equal(source, other)),
    }
    if not s.size or not result["finite"] or not result["source_finite"]:
        return result
    # Relative to the largest value, so that no square overflows or vanishes.
    peak = max(float(np.abs(s).max()), float(np.abs(o).max())) or 1.0
    error = np.abs(s / peak - o / peak)
    noise, signal = float(np.sum(error**2)), float(np.sum((s / peak) ** 2))
    spread = float(s.max() / peak - s.min() / peak)
    result["constant"] = bool(o.size > 1 and o.max() == o.min() and spread > 0)
    if noise > 0 and signal > 0:
        result["sqnr"] = float(10 * (np.log10(signal) - np.log10(noise)))
    elif noise > 0:
        result["sqnr"] = -float(np.finfo(np.float64).max)
    norms = float(np.sqrt(signal) * np.sqrt(np.sum((o / peak) ** 2)))
    if norms > 0:
        result["cosine"] = min(1.0, float(np.dot(s / peak, o / peak)) / norms)
    elif noise == 0:
        result["cosine"] = 1.0
    result["max_abs_error"] = min(float(error.max()) * peak, float(np.finfo(np.float64).max))
    if spread > 0:
        result["max_range_error"] = float(error.max()) / spread
    worst = int(np.argmax(error.reshape(len(source), -1).max(axis=1))) if source.ndim else 0
    result["worst_sample"] = worst
    return result


def _real(array: Array) -> Array:
    """Flat float64; real and imaginary parts side by side."""
    import numpy as np

    if array.dtype.kind == "c":
        flat = np.ascontiguousarray(array).ravel()
        array = np.stack([flat.real, flat.imag], axis=1).reshape(len(array), -1)
    result: Array = array.astype(np.float64).ravel()
    return result


def accuracy(
    metric: Mapping[str, Any],
    samples: data.Samples,
    source: Mapping[str, Array],
    outputs: Mapping[str, Array],
) -> dict[str, Any]:
    """Share of samples whose class (arg max; one value: above 0.5) equals the label.

    Raises TaskError when labels or outputs do not allow it.
    """
    if samples.labels is None:
        raise TaskError("accuracy needs labels: data.test.labels")
    name = metric["output"]
    if name is None:
        if len(outputs) != 1:
            raise TaskError(
                f"accuracy: the model has outputs {sorted(outputs)}; name one:"
                " metrics.accuracy.output"
            )
        name = next(iter(outputs))
    if name not in outputs:
        raise TaskError(
            f"accuracy: no output {name!r}; the model has {sorted(outputs)}",
            key="validate.metrics.accuracy.output",
        )
    classes = outputs[name].reshape(len(outputs[name]), -1).shape[1]
    highest, lowest = int(samples.labels.max()), int(samples.labels.min())
    if lowest < 0 or highest >= max(classes, 2):
        raise TaskError(
            f"accuracy: labels reach from {lowest} to {highest}, output {name!r} has"
            f" {max(classes, 2)} classes"
        )
    if len(outputs[name]) != len(samples.labels):
        raise TaskError(
            f"accuracy: output {name!r} gives {len(outputs[name])} rows for"
            f" {len(samples.labels)} labels"
        )
    return {
        "output": name,
        "source": _share(source[name], samples.labels),
        "file": _share(outputs[name], samples.labels),
        "samples": len(samples.labels),
    }


def _share(scores: Array, labels: Array) -> float:
    flat = scores.reshape(len(scores), -1)
    classes: Array = flat[:, 0] > 0.5
    if flat.shape[1] > 1:
        classes = flat.argmax(axis=1)
    return float((classes == labels).mean())
