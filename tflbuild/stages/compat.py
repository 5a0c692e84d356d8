"""compat: the converted file against one runtime, read from the flatbuffer, and loaded once.

Output: `compat.json`. It measures and does not judge. A file whose kernels are not here is not
loaded: then `loads` is false, `problem` "", and `not_loaded` says what is missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tflbuild.errors import one_line
from tflbuild.kernels import Kernels
from tflbuild.stages.base import Request

if TYPE_CHECKING:
    from tflbuild.tflite.read import TfliteModel

VERSION = 3
MODULES: tuple[str, ...] = ("flatbuffers", "ai_edge_litert", "numpy")
ZYGOTE = "lite"


def run(request: Request) -> None:
    from tflbuild.tflite.digest import describe
    from tflbuild.tflite.read import read_model

    data = request.inputs["model.tflite"].read_bytes()
    model = read_model(data)
    report: dict[str, Any] = {"runtime": request.params["runtime"], **describe(model)}
    report["size"] = len(data)
    report |= loading(data, model, Kernels.of(request))
    request.write_json("compat.json", report)


def loading(data: bytes, model: TfliteModel, kernels: Kernels) -> dict[str, Any]:
    """`loads`, and if not why: `problem` (the runtime refuses it) or `not_loaded` (it was not
    tried here)."""
    not_loaded = kernels.missing(model)
    problem = "" if not_loaded else load_problem(data, kernels.delegates(model))
    return {"loads": not (problem or not_loaded), "problem": problem, "not_loaded": not_loaded}


def load_problem(data: bytes, delegates: Sequence[Any] = ()) -> str:
    """Why the runtime refuses the file ("" when it does not)."""
    from ai_edge_litert.interpreter import Interpreter

    given = list(delegates) or None
    try:
        interpreter = Interpreter(model_content=data, num_threads=1, experimental_delegates=given)
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        return one_line(error)
    return ""
