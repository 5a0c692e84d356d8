"""Both routes for each model: `routes.py CASES.json OUT`.

CASES: {name: {source, params, inputs}}; OUT/name.json gets, for each route, the interface, what
the file holds and its outputs on the same inputs, or the error. A child is forked for each model,
as the zygote does, in a process that shares nothing with the tests' workers: other hash seed,
other addresses.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

# Imported before the fork, as the zygote does; nothing here runs an op.
import keras  # noqa: F401
import numpy as np
import tensorflow as tf  # noqa: F401
import tf_keras  # noqa: F401

from tflbuild import archive
from tflbuild.errors import TaskError
from tflbuild.stages import convert, lower
from tflbuild.stages.base import Request

AS_SAVED = "as_saved"  # the source's own SavedModel, straight into the converter


def attempt(case: dict[str, Any], route: str, scratch: Path) -> dict[str, Any]:
    """One model by one route."""
    from tflbuild.tflite import cost
    from tflbuild.tflite.read import read_model

    low, out = scratch / "low", scratch / "out"
    low.mkdir(parents=True)
    out.mkdir()
    try:
        source = Request(case["params"], {"source": Path(case["source"])}, low)
        loaded = lower.load_source(source)
        form = lower.SAVED_MODEL if route == AS_SAVED else route
        interface, _, _ = lower.lower(loaded, case["params"], low, form)
        if route == AS_SAVED:
            archive.pack(Path(case["source"]), ["."], low / "saved_model.tar")
            (signature,) = interface["signatures"]
            signature["key"] = signature["signature"]
            for entry in (*signature["inputs"], *signature["outputs"]):
                entry["tensor"] = entry["name"]
        source.write_json("interface.json", interface)
        params = {"quantize": case["quantize"], "io": "float32", "profile": "builtin"}
        inputs = {path.name: path for path in low.iterdir()}
        convert.run(Request(params, inputs, out))
    except TaskError as error:
        return {"error": str(error)}
    data = (out / "model.tflite").read_bytes()
    model = read_model(data)
    main, signature = model.subgraphs[0], model.signatures[0]
    graph = low / "lowered.pb"
    return {
        "signature": signature.key,
        "tensors": [
            [[t.name, t.dtype, t.shape_signature] for t in (main.tensors[i] for i in side)]
            for side in (main.inputs, main.outputs)
        ],
        "keys": [
            [[name, side.index(index)] for name, index in sorted(pairs)]
            for side, pairs in (
                (main.inputs, signature.inputs),
                (main.outputs, signature.outputs),
            )
        ],
        "ops": {kind: dict(counts) for kind, counts in cost.op_counts(model).items()},
        "outputs": run(data, interface["signatures"][0], case["inputs"]),
        "graph": hashlib.sha256(graph.read_bytes()).hexdigest() if graph.exists() else None,
    }


def run(data: bytes, interface: Any, inputs: dict[str, Any]) -> dict[str, Any]:
    """Digests of the outputs, on seeded inputs or those of the case."""
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(model_content=data, num_threads=1).get_signature_runner(
        interface["signature"]
    )
    rng = np.random.default_rng(0)
    feed = {}
    for entry in interface["inputs"]:
        shape = [2 if size is None else size for size in entry["shape"]]
        if entry["name"] in inputs:
            feed[entry["name"]] = np.array(inputs[entry["name"]])
        else:
            feed[entry["name"]] = (10 * rng.random(shape)).astype(entry["dtype"])
    return {
        name: [list(array.shape), hashlib.sha256(array.tobytes()).hexdigest()]
        for name, array in sorted(runner(**feed).items())
    }


def main() -> None:
    cases, out = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2])
    for name, case in cases.items():
        pid = os.fork()
        if pid == 0:
            scratch = out / name
            result = {
                route: attempt(case, route, scratch / route)
                for route in (lower.FROZEN, lower.SAVED_MODEL, *case["more"])
            }
            (out / f"{name}.json").write_text(json.dumps(result))
            os._exit(0)
        os.waitpid(pid, 0)  # a child that died leaves no file: its test says so


if __name__ == "__main__":
    main()
