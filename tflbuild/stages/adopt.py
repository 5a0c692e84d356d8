"""convert, for a source that is a file already and is released as it is (quantize: none).

Outputs as of `convert`. The values of the file do not change: lower gave it names, order and
alignment; here it is checked that they are there. Metadata that the manifest declares are
attached.
"""

from __future__ import annotations

from tflbuild.errors import TaskError
from tflbuild.labelling import load_notes
from tflbuild.stages.base import Request
from tflbuild.stages.convert import interface_problems

VERSION = 1
MODULES: tuple[str, ...] = ("numpy", "flatbuffers", "ai_edge_litert")
ZYGOTE = "lite"


def run(request: Request) -> None:
    from tflbuild.tflite.checks import quantization_effect, weightless_variables
    from tflbuild.tflite.read import buffer_alignment_problems, read_model
    from tflbuild.tflite.signature import interface_of
    from tflbuild.tflite.write import rewrite

    data = request.inputs["lowered.tflite"].read_bytes()
    interface = request.read_json("interface.json")
    model = read_model(data)
    if (notes := load_notes(request, interface)) is not None:
        interfaces = [interface_of(model, s["signature"]) for s in interface["signatures"]]
        entries = notes.entries(model, interfaces)
        data = notes.behind(bytes(rewrite(data, interfaces=interfaces, metadata=entries)))
        model = read_model(data)
    problems = [*buffer_alignment_problems(data), *weightless_variables(model)]
    for signature in interface["signatures"]:
        problems += interface_problems(model, signature)
    if problems:
        raise TaskError("the file is not what was asked for: " + "; ".join(problems[:4]))
    (request.out / "model.tflite").write_bytes(data)
    report = {
        "quantization": quantization_effect(model, request.params["quantize"]),
        "warnings": [],
        "route": "tflite",
        "entry": "none",
        "size": len(data),
    }
    request.write_json("convert.json", report)
