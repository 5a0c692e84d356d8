"""Runs a `.tflite` file with the TensorFlow of another Python: `PYTHON -I run_file.py FOLDER`.

`FOLDER/plan.json` (written by `tflbuild.validators`) says what to run:

    model       path of the file
    signature   its key
    tensors     {"inputs": {name: tensor index}, "outputs": {…}}, of subgraph `subgraph`
    subgraph    the subgraph of the signature
    library     path of a shared library with the kernels of custom ops, or ""
    custom_ops  {op: function of the library}
    steps       for each call what begins anew before it: "" nothing, "state" the state tensors,
                "load" everything (the file is loaded again)

The inputs of call I lie in `FOLDER/I.in.NAME.npy` (NAME: the position in sorted order), its
outputs are written to `FOLDER/I.out.NAME.npy`. At the end `FOLDER/result.json` holds the versions
found, or an `error` of one line. Written for Python 3.8, NumPy 1.19 and TensorFlow 2.4, and later.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def main(folder: str) -> None:
    plan = json.loads(Path(folder, "plan.json").read_text())
    try:
        result = run(folder, plan)
    except Exception as error:  # TensorFlow and NumPy raise whatever they like
        text = " ".join(str(error).split())
        result = {"error": text[:500] or type(error).__name__}
    Path(folder, "result.json").write_text(json.dumps(result))


def run(folder: str, plan: dict[str, Any]) -> dict[str, Any]:
    import numpy as np
    import tensorflow as tf

    runner = None
    for step, begin in enumerate(plan["steps"]):
        if runner is None or begin == "load":
            runner = Runner(tf, plan)
        elif begin == "state":
            runner.interpreter.reset_all_variables()
        feed = {}
        for position, name in enumerate(sorted(plan["tensors"]["inputs"])):
            path = str(Path(folder, f"{step}.in.{position}.npy"))
            feed[name] = np.load(path, allow_pickle=False)
        outputs = runner(feed)
        for position, name in enumerate(sorted(plan["tensors"]["outputs"])):
            array = np.asarray(outputs[name])
            if array.dtype.kind == "O":  # strings: an array of objects would be a pickle
                array = array.astype(bytes)
            np.save(str(Path(folder, f"{step}.out.{position}.npy")), array)
    return {
        "python": ".".join(map(str, sys.version_info[:3])),
        "tensorflow": tf.__version__,
        "numpy": np.__version__,
    }


class Runner:
    """One signature, by name: with a signature runner where this TensorFlow has them (2.5), else
    by the indices of the tensors of the main subgraph."""

    def __init__(self, tf: Any, plan: dict[str, Any]) -> None:
        self.plan = plan
        options: dict[str, Any] = {"model_path": plan["model"], "num_threads": 1}
        if plan["library"]:
            # Beside this file, which another Python does not know as a part of tflbuild.
            sys.path.append(str(Path(__file__).parent))
            import custom_ops  # type: ignore[import-not-found]

            addresses = custom_ops.registrations(plan["library"], plan["custom_ops"])
            options["experimental_delegates"] = [custom_ops.CustomOps(addresses)]
        self.interpreter = tf.lite.Interpreter(**options)
        self.shapes: dict[str, Any] = {}  # of the inputs that memory was planned for
        self.call = None
        if hasattr(self.interpreter, "get_signature_runner"):
            self.call = self.interpreter.get_signature_runner(plan["signature"])
        elif plan["subgraph"] != 0:
            raise RuntimeError(
                f"TensorFlow {tf.__version__} runs no other signature than the first"
            )

    def __call__(self, feed: dict[str, Any]) -> dict[str, Any]:
        if self.call is not None:
            outputs: dict[str, Any] = self.call(**feed)
            return outputs
        tensors = self.plan["tensors"]
        shapes = {name: list(array.shape) for name, array in feed.items()}
        if shapes != self.shapes:
            for name, shape in shapes.items():
                self.interpreter.resize_tensor_input(tensors["inputs"][name], shape)
            self.interpreter.allocate_tensors()
            self.shapes = shapes
        for name, array in feed.items():
            self.interpreter.set_tensor(tensors["inputs"][name], array)
        self.interpreter.invoke()
        return {n: self.interpreter.get_tensor(i) for n, i in tensors["outputs"].items()}


if __name__ == "__main__":
    main(sys.argv[1])
