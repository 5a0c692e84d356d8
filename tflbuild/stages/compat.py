"""compat: the converted file against one runtime, read from the flatbuffer, and loaded once.

Output: `compat.json`. It measures and does not judge. A file whose kernels are not here is not
loaded: then `not_loaded` is true, `loads` false, and `problem` says what is missing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tflbuild.errors import one_line
from tflbuild.kernels import Kernels
from tflbuild.stages.base import Request

if TYPE_CHECKING:
    from tflbuild.tflite.read import TfliteModel

VERSION = 2
MODULES: tuple[str, ...] = ("flatbuffers", "ai_edge_litert", "numpy")
ZYGOTE = "lite"


def run(request: Request) -> None:
    from tflbuild.tflite.digest import describe
    from tflbuild.tflite.read import read_model

    data, kernels = request.inputs["model.tflite"].read_bytes(), Kernels.of(request)
    model = read_model(data)
    report: dict[str, Any] = {"runtime": request.params["runtime"], **describe(model)}
    report["size"] = len(data)
    missing = kernels.missing(model)
    if not missing and kernels.elsewhere(model):
        missing = "the validator runs it"
    report["not_loaded"] = bool(missing)
    report["problem"] = f"not loaded: {missing}" if missing else load_problem(data, model, kernels)
    report["loads"] = not report["problem"]
    request.write_json("compat.json", report)


def load_problem(data: bytes, model: TfliteModel, kernels: Kernels) -> str:
    """Why the runtime refuses the file ("" when it does not). Raises TaskError for a library that
    does not load."""
    from ai_edge_litert.interpreter import Interpreter

    delegates = kernels.delegates(model) or None
    try:
        interpreter = Interpreter(
            model_content=data, num_threads=1, experimental_delegates=delegates
        )
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        return one_line(error)
    return ""
