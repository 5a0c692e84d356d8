"""runtime: what builds the runtime of a target, from the operators of all files released for it.

Inputs: `ops/<file>`, the operators of each file in `dist/<target>/` (`ops.json` of compat), or
`model/<file>`, the file itself where nobody knows them any more. Outputs: the files of
`dist/<target>/runtime/`. All that enters is names, operators and versions, so a model that is
trained again and needs the same operators changes nothing here.

It takes milliseconds and imports nothing heavy, so the parent runs it, unless a file has to be
opened.
"""

from __future__ import annotations

from typing import Any

from tflbuild.stages.base import Request

VERSION = 1
MODULES: tuple[str, ...] = ()
ZYGOTE = "lite"

OPS = "ops/"
MODEL = "model/"


def run(request: Request) -> None:
    from tflbuild.custom_runtime import files_of
    from tflbuild.custom_runtime.base import Environment

    needs: dict[str, list[dict[str, Any]]] = {}
    for name in request.inputs:
        if name.startswith(OPS):
            needs[name.removeprefix(OPS)] = request.read_json(name)
        else:
            needs[name.removeprefix(MODEL)] = read_ops(request.inputs[name].read_bytes())
    environment = Environment.of(request.params, needs)
    for name, text in files_of(environment).items():
        (request.out / name).write_text(text)


def read_ops(data: bytes) -> list[dict[str, Any]]:
    """The operators of a file; an expected error for one that is no model."""
    from tflbuild.errors import TaskError
    from tflbuild.tflite.oplist import op_list
    from tflbuild.tflite.read import InvalidModel, read_model

    try:
        return op_list(read_model(data))
    except InvalidModel as error:
        raise TaskError(f"a released file cannot be read: {error}") from error
