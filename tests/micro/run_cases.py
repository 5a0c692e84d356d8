"""Runs every file of `micro_ops.cases()` under tflite-micro, each in a fork of its own.

python run_cases.py FOUND writes {name: {"runs": bool, "said": str, "head": …, "tail": …}}.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import micro_ops
import numpy as np
from tflite_micro import runtime

from tflbuild.micro.child import _REPORTED, _allocate, _heard
from tflbuild.tflite.read import read_model


def run(data: bytes) -> dict[str, Any]:
    interpreter, _, said = _allocate(data, 1024)
    if interpreter is None:
        return {"runs": False, "said": said}
    for index, tensor in enumerate(read_model(data).subgraphs[0].inputs):
        details = interpreter.get_input_details(index)
        kind = read_model(data).subgraphs[0].tensors[tensor].dtype
        dtype = np.bool_ if kind == "bool" else details["dtype"]
        interpreter.set_input(np.ones(details["shape"], dtype), index)
    try:
        with _heard() as heard:
            interpreter.invoke()
    except RuntimeError:
        return {"runs": False, "said": heard.text}
    with _heard() as heard:
        interpreter.print_allocations()
    sizes = {what: int(count) for what, count in _REPORTED.findall(heard.text)}
    return {"runs": True, "said": "", "head": sizes["head"], "tail": sizes["tail"]}


def main() -> None:
    assert runtime  # imported before the forks
    found: dict[str, Any] = {}
    for name, data in micro_ops.cases():
        reader, writer = os.pipe()
        if not (child := os.fork()):
            try:
                result = run(data)
            except ValueError as error:  # an input or output of a type that NumPy has not
                result = {"runs": False, "said": str(error)}
            os.write(writer, json.dumps(result).encode())
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader, "rb") as pipe:
            text = pipe.read()
        status = os.waitpid(child, 0)[1]
        found[name] = json.loads(text) if text else {"runs": False, "said": f"status {status}"}
    Path(sys.argv[1]).write_text(json.dumps(found))


main()
