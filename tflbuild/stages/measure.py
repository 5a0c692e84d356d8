"""evaluate, for a source that is a file already: read from the flatbuffer, without TensorFlow.

Outputs as of `evaluate`: `evaluate.json`, and the file itself as `float.tflite`.
"""

from __future__ import annotations

from typing import Any

from tflbuild.stages.base import Request
from tflbuild.stages.evaluate import measure

VERSION = 2
MODULES: tuple[str, ...] = ("numpy", "flatbuffers", "ai_edge_litert")
ZYGOTE = "lite"


def run(request: Request) -> None:
    from tflbuild.tflite.read import read_model
    from tflbuild.tflite.recurrent import calibration

    interface = request.read_json("interface.json")
    data = request.inputs["lowered.tflite"].read_bytes()
    (request.out / "float.tflite").write_bytes(data)
    report: dict[str, Any] = {
        "problem": "",
        "problems": [],
        "dynamic_inputs": [
            {"signature": signature["signature"], "name": entry["name"], "shape": entry["shape"]}
            for signature in interface["signatures"]
            for entry in signature["inputs"]
            if None in entry["shape"]
        ],
        "quantization_aware": interface["quantization_aware"],
        "advice": "",
        **measure(data),
    }
    request.write_json("calibration.json", calibration(read_model(data)))
    request.write_json("evaluate.json", report)
