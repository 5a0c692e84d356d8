"""convert: one lowered model and one optimization become one `.tflite` file.

Outputs: `model.tflite` (signature written, buffers 16-aligned, checked to be what was asked
for) and `convert.json` (converter entry, quantization counts, calibration ranges, warnings).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tflbuild import archive, calibration, data, keep_float, quantizing
from tflbuild.conversion import Lowered, bind, give_ranks, make_converter
from tflbuild.errors import TaskError
from tflbuild.labelling import Notes, load_notes
from tflbuild.optimizations import QUANTIZATIONS
from tflbuild.optimizations.base import TENSORFLOW, Settings
from tflbuild.stages import lower
from tflbuild.stages.base import Request
from tflbuild.verification import Converted, verify

VERSION = 6
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
    if quantization.CALIBRATES:
        # Detected before the converter dies of it, in seconds rather than hours.
        if problem := request.read_json("calibration.json").get(params["quantize"]):
            raise TaskError(
                f"quantize: {params['quantize']} cannot convert it: {problem}",
                key="optimization.quantize",
            )
        samples = calibration.load(request, lowered.signatures)
    generator = _generator(lowered, samples) if samples else None
    converted = quantizing.convert(
        lambda: make_converter(lowered), quantization, Settings.of(params), generator,
        keep_float.input_names(lowered.interface),
    )  # fmt: skip
    released = finish(lowered, converted.data, notes)
    report = check(released, lowered, params, converted)
    report["route"] = "saved_model" if not lowered.frozen else "frozen"
    report["entry"] = lowered.entry
    report["size"] = len(released)
    if samples:
        report["calibration"], told = calibration.described(lowered.signatures, samples)
        report["warnings"] += told
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
    from tflbuild.tflite.read import buffer_alignment_problems, read_model
    from tflbuild.tflite.recurrent import lstm_warning

    model = read_model(released)
    verified = verify(model, params, lowered.interface, TENSORFLOW, converted.kept, released)
    verified.problems.extend(buffer_alignment_problems(released))
    for signature in lowered.signatures:
        verified.problems.extend(interface_problems(model, signature))
    warnings = [*converted.warnings, *verified.or_fail().warnings]
    if lstm := lstm_warning(model, params["quantize"]):
        warnings.append(lstm)
    return {**verified.report, "warnings": warnings}


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
