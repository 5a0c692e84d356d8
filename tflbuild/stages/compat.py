"""compat: the converted file against one runtime, read from the flatbuffer, and loaded once.

Outputs: `compat.json`, and with `op_list` (where a runtime is built from the operators of its
files) `ops.json`. It measures and does not judge. A file whose kernels are not here is not
loaded: then `loads` is false, `problem` "", and `not_loaded` says what is missing.
"""

from __future__ import annotations

from tflbuild.kernels import Kernels
from tflbuild.stages.base import Request

VERSION = 6
MODULES: tuple[str, ...] = ("flatbuffers", "ai_edge_litert", "numpy")
ZYGOTE = "lite"


def run(request: Request) -> None:
    from tflbuild.inspection import measure
    from tflbuild.tflite.oplist import op_list
    from tflbuild.tflite.read import read_model

    data = request.inputs["model.tflite"].read_bytes()
    runtime = request.params["runtime"]
    request.write_json("compat.json", measure(data, runtime=runtime, kernels=Kernels.of(request)))
    if request.params.get("op_list"):
        request.write_json("ops.json", op_list(read_model(data)))
