"""compat: the converted file against one runtime, read from the flatbuffer, and loaded once.

Output: `compat.json`. It measures and does not judge.
"""

from __future__ import annotations

from tflbuild.stages.base import Request

VERSION = 3
MODULES: tuple[str, ...] = ("flatbuffers", "ai_edge_litert", "numpy")
ZYGOTE = "lite"


def run(request: Request) -> None:
    from tflbuild.inspection import measure

    data = request.inputs["model.tflite"].read_bytes()
    request.write_json("compat.json", measure(data, runtime=request.params["runtime"]))
