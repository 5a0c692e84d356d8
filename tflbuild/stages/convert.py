"""convert: one lowered model and one optimization become one `.tflite` file.

Outputs: `model.tflite` (signature written, buffers 16-aligned, checked to be what was asked
for) and `convert.json` (converter entry, quantization counts, calibration ranges, warnings).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tflbuild import archive, calibration, data, keep_float, quantizing
from tflbuild.conversion import Lowered, bind, give_ranks, layers, make_converter
from tflbuild.errors import TaskError
from tflbuild.kernels import Kernels
from tflbuild.labelling import Notes, load_notes
from tflbuild.optimizations import QUANTIZATIONS
from tflbuild.optimizations.base import TENSORFLOW, Settings
from tflbuild.stages import lower
from tflbuild.stages.base import Request
from tflbuild.verification import Converted, verify

if TYPE_CHECKING:
    from tflbuild.tflite.read import TfliteModel

VERSION = 7
MODULES: tuple[str, ...] = ("tensorflow", "numpy", "flatbuffers", "ai_edge_litert")
ZYGOTE = "tf"


def run(request: Request) -> None:
    params = request.params
    quantization = QUANTIZATIONS[params["quantize"]]
    lowered = open_lowered(request)
    aware = lowered.interface["quantization_aware"]
    if aware and not quantization.TRAINED_RANGES:
        raise TaskError(
            f"the graph holds ranges of quantization-aware training; quantize:"
            f" {params['quantize']} would not give what it says: use quantize: qat"
        )
    if quantization.TRAINED_RANGES and not aware:
        raise TaskError(
            "quantize: qat needs a model of quantization-aware training (FakeQuant ops);"
            " this graph has none: use quantize: int8 with calibration data"
        )
    notes = load_notes(request, lowered.interface)
    samples: list[data.Samples] = []
    kernels = Kernels.of(request)
    if quantization.CALIBRATES:
        # Detected before the converter dies of it, in seconds rather than hours.
        told = request.read_json("calibration.json")
        if problem := told.get(params["quantize"]):
            raise TaskError(
                f"quantize: {params['quantize']} cannot convert it: {problem}",
                key="optimization.quantize",
            )
        check_kernels(told["foreign"], params, kernels, lowered)
        samples = calibration.load(request, lowered.signatures)
    generator = _generator(lowered, samples) if samples else None
    registerers: list[Any] = []
    if samples and kernels.kernels:
        import tensorflow as tf

        registerers = kernels.registerers(str(Path(tf.__file__).parent))
    converted = quantizing.convert(
        lambda: make_converter(lowered), quantization, Settings.of(params), generator,
        keep_float.input_names(lowered.interface), params["profile"], registerers,
    )  # fmt: skip
    released = finish(lowered, converted.data, notes)
    report = check(released, lowered, params, converted)
    report["route"] = "saved_model" if not lowered.frozen else "frozen"
    report["entry"] = lowered.entry
    report["size"] = len(released)
    if samples:
        report["calibration"], warnings = calibration.described(lowered.signatures, samples)
        report["warnings"] += warnings
    (request.out / "model.tflite").write_bytes(released)
    request.write_json("convert.json", report)


def open_lowered(request: Request) -> Lowered:
    """The lowered form; on a retry, the SavedModel route from the source itself."""
    if request.retry:
        loaded = lower.load_source(request)
        scratch = request.out.parent / "retry"
        scratch.mkdir()
        interface, _, _ = lower.lower(loaded, request.params["lower"], scratch, lower.SAVED_MODEL)
        return Lowered(request.out.parent / "saved_model", interface)
    interface = request.read_json("interface.json")
    if "saved_model.tar" in request.inputs:
        folder = archive.unpack(request.inputs["saved_model.tar"], request.out.parent / "unpacked")
        return Lowered(folder, interface)
    # The store names blobs by digest; the suffix tells the form.
    graph = request.out.parent / "lowered.pb"
    graph.symlink_to(request.inputs["lowered.pb"])
    return Lowered(graph, interface)


def finish(lowered: Lowered, raw: bytes, notes: Notes | None = None) -> bytes:
    """The converter's bytes with our signatures, names, order, alignment and metadata."""
    from tflbuild.tflite.read import read_model
    from tflbuild.tflite.signature import Interface, IOTensor
    from tflbuild.tflite.write import rewrite

    interfaces = bind(lowered, raw, Interface, IOTensor)
    ranked = give_ranks(raw, lowered, interfaces)
    if notes is None:
        return bytes(rewrite(ranked, interfaces=interfaces))
    entries = notes.entries(read_model(ranked), interfaces)
    return notes.behind(bytes(rewrite(ranked, interfaces=interfaces, metadata=entries)))


def check(released: bytes, lowered: Lowered, params: Any, converted: Converted) -> dict[str, Any]:
    """You got what you asked for: else TaskError, before anything is released."""
    from tflbuild.tflite.foreign import foreign_ops
    from tflbuild.tflite.read import buffer_alignment_problems, read_model
    from tflbuild.tflite.recurrent import lstm_warning

    model = read_model(released)
    check_ops(model, params, lowered)
    verified = verify(model, params, lowered.interface, TENSORFLOW, converted.kept, released)
    verified.problems.extend(buffer_alignment_problems(released))
    for signature in lowered.signatures:
        verified.problems.extend(interface_problems(model, signature))
    warnings = [*converted.warnings, *verified.or_fail().warnings]
    if lstm := lstm_warning(model, params["quantize"]):
        warnings.append(lstm)
    report = {**verified.report, "warnings": warnings}
    if params["profile"] != "builtin":  # it may hold builtin ops alone, all the same
        report["foreign"] = foreign_ops(model)
    return report


def check_kernels(foreign: Any, params: Any, kernels: Kernels, lowered: Lowered) -> None:
    """Calibration can run the model, whose float file holds the ops `foreign`. Raises TaskError."""
    from tflbuild.tflite.foreign import calibration_refusal

    asked = (foreign, params["profile"], params["quantize"], kernels.kernels)
    if calibration_refusal(*asked):
        told = calibration_refusal(*asked, layers(lowered))
        raise TaskError(told, key="optimization.quantize")


def check_ops(model: TfliteModel, params: Any, lowered: Lowered | None = None) -> None:
    """The file holds only ops that its profile allows. Raises TaskError."""
    from tflbuild.tflite.foreign import foreign_problems

    allowed = (params["profile"], params.get("custom_ops", {}))
    if not foreign_problems(model, *allowed):
        return
    # Only now: a graph may be large.
    problems = foreign_problems(model, *allowed, layers(lowered) if lowered else None)
    more = f" (and {len(problems) - 1} more such ops)" if len(problems) > 1 else ""
    raise TaskError(problems[0] + more)


def interface_problems(model: Any, interface: Any) -> list[str]:
    """Where signature, names, order or shapes of the source did not survive."""
    signature = next((s for s in model.signatures if s.key == interface["signature"]), None)
    if signature is None:
        return [f"no signature {interface['signature']!r}"]
    found = []
    main = model.subgraphs[signature.subgraph]
    for side, bound, order in (
        ("inputs", signature.inputs, main.inputs),
        ("outputs", signature.outputs, main.outputs),
    ):
        names = [entry["name"] for entry in interface[side]]
        if sorted(name for name, _ in bound) != sorted(names):
            found.append(f"{side} {[name for name, _ in bound]}, not {names}")
            continue
        index = dict(bound)
        if [index[name] for name in names] != list(order):
            found.append(f"{side} are not in the order {names}")
        for entry in interface[side]:
            tensor = main.tensors[index[entry["name"]]]
            if not shapes_agree(entry["shape"], tensor.shape_signature, side == "inputs"):
                found.append(
                    f"{side[:-1]} {entry['name']!r} has shape {list(tensor.shape_signature)},"
                    f" not {entry['shape']}"
                )
    return found


def shapes_agree(source: list[int | None] | None, released: tuple[int, ...], exactly: bool) -> bool:
    """No dimension is another. An output's may be fixed in one and dynamic in the other, as the
    converter infers shapes by its own rules; an input's may not."""
    if source is None:
        return True
    shape = [-1 if size is None else size for size in source]
    if exactly:
        return shape == list(released)
    return len(shape) == len(released) and all(
        want == have or -1 in (want, have) for want, have in zip(shape, released, strict=True)
    )


def _generator(lowered: Lowered, samples: Sequence[data.Samples]) -> Any:
    def generate() -> Iterator[Any]:
        for signature, its in zip(lowered.signatures, samples, strict=True):
            inputs = signature["inputs"]
            for batch in data.batches(its, inputs, size=1):
                # By name where the file has a signature, else in the order given to the converter.
                if lowered.frozen:
                    yield [batch[e["name"]] for e in inputs]
                    continue
                named = {e["tensor"]: batch[e["name"]] for e in inputs}
                yield named if len(samples) == 1 else (signature["key"], named)

    return generate
