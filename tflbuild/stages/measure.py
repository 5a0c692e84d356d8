"""evaluate, for a source that is a file already: read from the flatbuffer, without TensorFlow.

Outputs as of `evaluate`: `evaluate.json`, and the file itself as `float.tflite`.
"""

from __future__ import annotations

from tflbuild.evaluation.naming import FUSED, Names, with_root
from tflbuild.stages.base import Request
from tflbuild.stages.evaluate import Places, cut, empty, measure, unsupported

VERSION = 4
MODULES: tuple[str, ...] = ("numpy", "flatbuffers", "ai_edge_litert")
ZYGOTE = "lite"


def run(request: Request) -> None:
    from tflbuild.tflite.read import read_model
    from tflbuild.tflite.recurrent import calibration

    data = request.inputs["lowered.tflite"].read_bytes()
    (request.out / "float.tflite").write_bytes(data)
    model = read_model(data)
    tensors = (
        graph.tensors[i].name[:FUSED]
        for graph in model.subgraphs
        for op in graph.ops
        for i in op.outputs
        if i >= 0
    )
    names = with_root(Names(), [part for name in tensors for part in name.split(";")])
    place_of = Places(model, names)
    report = {**empty(request.read_json("interface.json")), **measure(data, model, place_of)}
    report["not_builtin"] = unsupported(model, place_of, [], names)
    cut(report)
    request.write_json("calibration.json", calibration(model))
    request.write_json("evaluate.json", report)
