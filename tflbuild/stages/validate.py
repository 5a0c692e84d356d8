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
from tflbuild.stages.base import Request
from tflbuild.stages.reference import join

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

VERSION = 2
MODULES: tuple[str, ...] = ("numpy", "ai_edge_litert")
ZYGOTE = "lite"

SATURATED = 0.01  # share of an input's test values outside its quantized range worth a warning


def run(request: Request) -> None:
    import numpy as np

    interface = request.read_json("interface.json")
    reference = request.read_json("reference.json")
    samples = data.load(request.params["test"], request.files("test"), interface["inputs"], "test")
    file = File(request.inputs["model.tflite"], interface)
    outputs = file.run(samples)
    parity, expected = [], {}
    for index, entry in enumerate(reference["outputs"]):
        name = entry["name"]
        source = np.load(request.inputs[f"output.{index}.npy"], allow_pickle=False)
        expected[name] = source
        if source.shape != outputs[name].shape:
            raise TaskError(
                f"output {name!r} has shape {list(outputs[name].shape)} over all samples, the"
                f" source's has {list(source.shape)}"
            )
        parity.append({"output": name, **parity_numbers(source, outputs[name])})
    metrics = {}
    for metric in request.params["metrics"]:
        metrics[metric["name"]] = accuracy(metric, samples, expected, outputs)
    saturated = file.saturated(samples)
    request.write_json(
        "validate.json",
        {
            "signature": interface["signature"],
            "samples": samples.count,
            "representative": samples.representative,
            "data": request.params["data"],
            "parity": parity,
            "metrics": metrics,
            "saturated": saturated,
            "state_tensors": file.state_tensors,
            "warnings": [*samples.warnings, *_warnings(saturated, file.state_tensors)],
        },
    )


def _warnings(saturated: Mapping[str, float], state_tensors: int) -> list[str]:
    found = [
        f"{share:.1%} of the test values of input {name!r} lie outside the range that the file's"
        " quantized input can hold: they saturate; calibrate on data that reaches as far"
        for name, share in saturated.items()
        if share > SATURATED
    ]
    if state_tensors:
        found.append(
            f"the file keeps {state_tensors} state tensors from call to call, where the source"
            " begins anew: call reset_all_variables() (C++: ResetVariableTensors) between calls"
        )
    return found


class File:
    """The converted file, run by the LiteRT interpreter."""

    def __init__(self, path: Path, interface: Mapping[str, Any]) -> None:
        from ai_edge_litert.interpreter import Interpreter

        from tflbuild.tflite.read import read_model

        self.interface = interface
        model = read_model(path.read_bytes())
        self._main = model.subgraphs[0]
        self.state_tensors = sum(t.is_variable for t in self._main.tensors)
        try:
            self._interpreter = Interpreter(model_path=str(path), num_threads=1)
            self._runner = self._interpreter.get_signature_runner(interface["signature"])
        except (ValueError, RuntimeError) as error:
            text = one_line(error)
            raise TaskError(f"the LiteRT interpreter refuses the file: {text}") from error

    def run(self, samples: data.Samples) -> dict[str, Array]:
        """The outputs by name, dequantized, samples along the first axis.

        Inputs go in one at a time (or by the fixed batch), as on a device: a resized batch
        would test another plan than the one that ships. State tensors (those of a fused LSTM)
        begin anew with each call, as in the source; variables that the source itself keeps go on.
        """
        ins, outs = self._runner.get_input_details(), self._runner.get_output_details()
        collected: dict[str, list[Any]] = {e["name"]: [] for e in self.interface["outputs"]}
        for batch in data.batches(samples, self.interface["inputs"], size=1):
            feed = {name: quantize(array, ins[name]) for name, array in batch.items()}
            try:
                result = self._runner(**feed)
                if self.state_tensors:
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
