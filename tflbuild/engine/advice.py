"""What a dead worker cannot say itself: what is known to kill it."""

from __future__ import annotations

from tflbuild.step import Step


def crash_advice(step: Step) -> str:
    """What makes the quantizer or LiteRT crash, to be added to the reason; "" for other tasks."""
    if step.model.source.format == "tflite":
        return ": LiteRT does not survive this file; it is not sound"
    quantized = step.optimization is not None and step.optimization.quantize != "none"
    if step.stage != "convert" or not quantized:
        return ""
    assert step.optimization is not None
    causes = "weights that are infinite or NaN"
    if step.optimization.calibrates:
        causes += ", activations that become so on the calibration data, loops and tables"
    return f": it is known for {causes}; look for them in the model, and into the log"
