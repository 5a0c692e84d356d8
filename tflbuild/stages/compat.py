"""compat: the converted file against one runtime, read from the flatbuffer, and loaded once.

Output: `compat.json`. It measures and does not judge.
"""

from __future__ import annotations

from typing import Any

from tflbuild.errors import one_line
from tflbuild.stages.base import Request

VERSION = 2
MODULES: tuple[str, ...] = ("flatbuffers", "ai_edge_litert", "numpy")
ZYGOTE = "lite"


def run(request: Request) -> None:
    from tflbuild.tflite.digest import describe
    from tflbuild.tflite.read import read_model

    data = request.inputs["model.tflite"].read_bytes()
    report: dict[str, Any] = {"runtime": request.params["runtime"], **describe(read_model(data))}
    report["size"] = len(data)
    report["problem"] = load_problem(data)
    report["loads"] = not report["problem"]
    request.write_json("compat.json", report)


def load_problem(data: bytes) -> str:
    """Why the runtime refuses the file ("" when it does not)."""
    from ai_edge_litert.interpreter import Interpreter

    try:
        Interpreter(model_content=data, num_threads=1).allocate_tensors()
    except (ValueError, RuntimeError) as error:
        return one_line(error)
    return ""
