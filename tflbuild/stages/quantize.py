"""quantize: a float `.tflite` file and a recipe become one quantized file, without TensorFlow.

The tasks `convert:M:O` of `quantizer: ai-edge`. It takes any float file with a signature for
each entry of `interface.json`, wherever the file came from, and leaves what convert leaves:
`model.tflite` and `convert.json`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tflbuild import calibration, data, keep_float
from tflbuild.errors import TaskError, one_line
from tflbuild.labelling import Notes, load_notes
from tflbuild.limits import limit_action
from tflbuild.optimizations import ai_edge
from tflbuild.optimizations.base import AI_EDGE
from tflbuild.stages.base import Request
from tflbuild.verification import INTEGER, verify

if TYPE_CHECKING:
    from tflbuild.tflite.read import Op, Subgraph, TfliteModel

VERSION = 3
MODULES: tuple[str, ...] = ("ai_edge_quantizer", "numpy", "flatbuffers", "ai_edge_litert")
ZYGOTE = "lite"


def run(request: Request) -> None:
    from tflbuild.tflite.flat import InvalidModel
    from tflbuild.tflite.read import buffer_alignment_problems, read_model

    limit_action(request.inputs.values())
    params = request.params
    source = request.inputs["float.tflite"].read_bytes()
    interface = request.read_json("interface.json")
    model = read_model(source)
    check_source(model, interface)
    notes = load_notes(request, interface)
    load_package()
    named, floats = operators_to_keep(
        model, params.get("keep_float", ()), keep_float.input_names(interface)
    )
    if "recipe.json" in request.inputs:
        entries = read_recipe(request.inputs["recipe.json"].read_bytes())
    else:
        whole = params["quantize"] in INTEGER
        entries = ai_edge.recipe(params["rules"], params["io"], whole)
    try:
        check_rules(model, entries, floats, params)
    except TaskError:
        raise
    except Exception as error:  # the package raises whatever it likes
        raise TaskError(
            f"ai-edge-quantizer refuses the recipe: {type(error).__name__}: {one_line(error)}",
            key=_RECIPE,
        ) from error
    entries = ai_edge.in_order([*entries, *(entry for own in floats.values() for entry in own)])
    samples = load_samples(request, interface) if needs_data(entries) else {}
    recipe = params["quantize"] == "recipe"
    raw = quantized(source, entries, interface, samples, recipe=recipe)
    try:
        places = keep_float.kept_operators(read_model(raw), named)
    except InvalidModel as error:
        raise TaskError(
            f"ai-edge-quantizer made a file that is not valid ({one_line(error)}): use another"
            " algorithm (gptq beside other rules is known for it)",
            key=_RECIPE if recipe else "optimization.quantizer",
        ) from error
    released = finish(raw, interface, notes, source)
    verified = verify(read_model(released), params, interface, AI_EDGE, places, released)
    verified.problems.extend(buffer_alignment_problems(released))
    report = {**verified.or_fail().report, "warnings": list(verified.warnings)}
    report |= {"route": "float file", "entry": AI_EDGE, "size": len(released)}
    report["size_ratio"] = round(len(released) / len(source), 4)
    report["recipe"] = entries
    if samples:
        report["calibration"], told = calibration.described(
            interface["signatures"], list(samples.values())
        )
        report["warnings"] += told
    if len(released) >= len(source):
        report["warnings"].append(
            f"the quantized file is not smaller than the float one ({len(released):,} and"
            f" {len(source):,} bytes)"
        )
    (request.out / "model.tflite").write_bytes(released)
    request.write_json("convert.json", report)


def check_source(model: TfliteModel, interface: Mapping[str, Any]) -> None:
    """Raises TaskError for a file that cannot be quantized here."""
    from tflbuild.tflite.weights import weights_of

    if interface.get("quantization_aware"):
        raise TaskError(
            "the graph holds ranges of quantization-aware training, which quantizer: ai-edge does"
            " not take: write quantizer: tensorflow and quantize: qat",
            key="optimization.quantizer",
        )
    have = [signature.key for signature in model.signatures]
    for signature in interface["signatures"]:
        if signature["signature"] not in have:
            raise TaskError(f"the float file has no signature {signature['signature']!r}: {have}")
    narrow = [w for w in weights_of(model) if w.tensor.dtype not in ("float32", "float64")]
    if narrow:
        raise TaskError(
            f"the file is quantized already (weight {narrow[0].tensor.name!r} is"
            f" {narrow[0].tensor.dtype}): release it as it is, with quantize: none, or begin with"
            " its float model",
            key="optimization.quantize",
        )
    foreign = sorted({op.name for g in model.subgraphs for op in g.ops if op.kind != "builtin"})
    if foreign:
        raise TaskError(
            f"quantizer: ai-edge takes files of builtin operators, and this one has {foreign};"
            " write quantizer: tensorflow",
            key="optimization.quantizer",
        )


def load_package() -> Any:
    """The quantizer's module. Raises TaskError with the command that installs it."""
    try:
        from ai_edge_quantizer import quantizer
    except ImportError as error:
        if getattr(error, "name", "") not in ("ai_edge_quantizer", "ai_edge_quantizer.quantizer"):
            raise TaskError(f"ai-edge-quantizer cannot be imported: {one_line(error)}") from error
        raise TaskError(
            f"quantizer: ai-edge needs the package ai-edge-quantizer: {ai_edge.INSTALL}",
            key="optimization.quantizer",
        ) from error
    return quantizer


def read_recipe(content: bytes) -> list[dict[str, Any]]:
    """A recipe in the package's own form. Raises TaskError when it is something else."""
    try:
        entries = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise TaskError(f"the recipe is not JSON: {one_line(error)}", key=_RECIPE) from error
    if not isinstance(entries, list) or not entries:
        raise TaskError("the recipe is not a list of entries", key=_RECIPE)
    for number, entry in enumerate(entries):
        wrong = None
        if not isinstance(entry, dict):
            wrong = "is not a mapping"
        elif missing := sorted({"regex", "operation", "algorithm_key"} - set(entry)):
            wrong = f"has no {', '.join(missing)}"
        elif entry["algorithm_key"] != ai_edge.NO_QUANTIZE and "op_config" not in entry:
            wrong = "has no op_config"
        elif not all(isinstance(entry[k], str) for k in ("regex", "operation", "algorithm_key")):
            wrong = "has a regex, operation or algorithm_key that is not text"
        elif unknown := ai_edge.unknown_operator(entry["operation"]):
            wrong = f"cannot be: {unknown}"
        else:
            try:
                re.compile(entry["regex"])
            except (re.error, RecursionError, OverflowError) as error:
                wrong = f"has the regex {entry['regex'][:100]!r}: {error}"
        if wrong:
            raise TaskError(f"recipe: entry {number} {wrong}", key=_RECIPE)
    return entries


_RECIPE = "optimization.recipe"


def needs_data(entries: list[dict[str, Any]]) -> bool:
    """Whether a recipe calibrates."""
    from ai_edge_quantizer import recipe_manager

    manager = recipe_manager.RecipeManager()
    manager.load_quantization_recipe(entries)
    return bool(manager.need_calibration())


def load_samples(request: Request, interface: Mapping[str, Any]) -> dict[str, data.Samples]:
    """The calibration data by signature. Raises TaskError where one has none."""
    given = request.params.get("calibration", ())
    signatures = interface["signatures"]
    for index, signature in enumerate(signatures):
        if index >= len(given) or given[index] is None:
            name = signature["signature"]
            where = f"data.signatures.{name}.calibration" if len(signatures) > 1 else ""
            raise TaskError(
                f"the recipe calibrates, and that needs {where or 'data.calibration'}, such as"
                " {npz: FILE}",
                key=_RECIPE,
            )
    names = [signature["signature"] for signature in signatures]
    return dict(zip(names, calibration.load(request, signatures), strict=True))


def operators_to_keep(
    model: TfliteModel, patterns: Sequence[str], inputs: Collection[str]
) -> tuple[dict[tuple[int, str], str], dict[str, list[dict[str, Any]]]]:
    """The operators that `keep_float` names, and the recipe's entries for each name."""
    from tflbuild.tflite import names
    from tflbuild.tflite.effect import output_name

    named: dict[tuple[int, str], str] = {}
    entries: dict[str, list[dict[str, Any]]] = {}
    for pattern, found in names.find(model, patterns).items():
        keep_float.check_found(pattern, found, model, inputs)
        named |= {(graph.index, output_name(graph, op)): op.name for graph, op in found}
        entries[pattern] = [ai_edge.keep(f"^{re.escape(scope(*which))}") for which in found]
    return named, entries


def scope(graph: Subgraph, op: Op) -> str:
    """What the package matches regular expressions with: the names of outputs, each with a `;`."""
    return "".join(f"{graph.tensors[index].name};" for index in op.outputs if index >= 0)


def quantized(
    source: bytes,
    entries: list[dict[str, Any]],
    interface: Mapping[str, Any],
    samples: Mapping[str, data.Samples],
    *,
    recipe: bool,
) -> bytes:
    """The package's bytes. Raises TaskError.

    Args:
        samples: of each signature; empty for a recipe that does not calibrate.
        recipe: the manifest has one, and is to blame.
    """
    from tflbuild.tflite.read import read_model
    from tflbuild.tflite.recurrent import quantizer_advice

    key = _RECIPE if recipe else "optimization.quantizer"
    module = load_package()
    try:
        quantizer = module.Quantizer(source, entries)
    except Exception as error:  # the package raises whatever it likes
        raise TaskError(
            f"ai-edge-quantizer refuses the recipe: {one_line(error)}", key=key
        ) from error
    try:
        ranges = calibrated(source, entries, interface, samples) if samples else None
        result = quantizer.quantize(ranges, enable_progress_bar=False, enable_progress_report=False)
    except (TaskError, MemoryError):
        raise
    except Exception as error:  # the package raises whatever it likes
        if samples and (advice := quantizer_advice(read_model(source))):
            raise TaskError(advice, key="optimization.quantizer") from error
        if blocks := _BLOCKS.search(one_line(error)):
            at = key if recipe else "optimization.granularity"
            raise TaskError(block_problem(*blocks.groups()), key=at) from error
        raise TaskError(f"ai-edge-quantizer failed: {one_line(error)}", key=key) from error
    return bytes(result.quantized_model)


# What the package says of a weight that its blocks do not divide.
_BLOCKS = re.compile(
    r"tensor: (.+)\. Error: Quantized dimension (\d+) in tensor shape (\(.+\)) is not divisible by"
    r" block size (\d+)"
)


def block_problem(tensor: str, length: str, shape: str, block: str) -> str:
    """A weight that cannot be quantized by blocks, and how to go on without it."""
    return (
        f"rows of the weight {tensor!r}, of shape {shape}, are {length} long, no multiple of the"
        f" block, {block}: write keep_float: [{tensor!r}] to leave it float, or a recipe with"
        " another granularity for it"
    )


def calibrated(
    source: bytes,
    entries: list[dict[str, Any]],
    interface: Mapping[str, Any],
    samples: Mapping[str, data.Samples],
) -> Any:
    """Ranges of all tensors: from the smallest to the largest value, as TensorFlow's calibration
    has them. The package's own default, a moving average of both, cuts off what is rare and
    depends on the order of samples (DS-CNN in int8: 12 dB, with all values 22 dB)."""
    from ai_edge_quantizer import calibrator, recipe_manager
    from ai_edge_quantizer.utils import qsv_utils

    manager = recipe_manager.RecipeManager()
    manager.load_quantization_recipe(entries)
    statistics = any(entry["algorithm_key"] in ("GPTQ", "OSCAR") for entry in entries)
    own = {} if statistics else {"qsv_update_func": qsv_utils.min_max_update}
    run = calibrator.Calibrator(source, num_threads=1, **own)
    run.calibrate(
        {
            # A list of views: the package walks over it twice.
            key: list(data.batches(samples[key], signature["inputs"], size=1))
            for signature in interface["signatures"]
            for key in [signature["signature"]]
        },
        manager,
    )
    return run.get_model_qsvs()


def decisions(
    model: TfliteModel, entries: list[dict[str, Any]], ends: bool = False
) -> list[tuple[str, Any]]:
    """What becomes of each operator under a recipe, as the package itself decides: (algorithm,
    settings). `ends`: also of inputs and outputs, which the package takes for operators."""
    from ai_edge_quantizer import recipe_manager
    from ai_edge_quantizer.utils.tfl_flatbuffer_utils import TFL_OP_CODE_TO_NAME

    from tflbuild.tflite.names import operators

    manager = recipe_manager.RecipeManager()
    manager.load_quantization_recipe(ai_edge.in_order(entries))
    asked_for = [
        (TFL_OP_CODE_TO_NAME[op.code], scope(graph, op))
        for graph, op in operators(model)
        if op.code in TFL_OP_CODE_TO_NAME
    ]
    for graph in model.subgraphs if ends else ():
        for kind, indexes in (("INPUT", graph.inputs), ("OUTPUT", graph.outputs)):
            asked_for.append((kind, "".join(f"{graph.tensors[i].name};" for i in indexes)))
    return [manager.get_quantization_configs(*which) for which in asked_for]


def check_rules(
    model: TfliteModel,
    entries: list[dict[str, Any]],
    floats: Mapping[str, list[dict[str, Any]]],
    params: Mapping[str, Any],
) -> None:
    """Raises TaskError for a rule of the manifest, or an entry of a recipe file, that decides
    nothing, for a name in `keep_float` that would stay float anyway, and where nothing is left to
    quantize."""
    rules: Sequence[Mapping[str, str]] = params["rules"]
    before = decisions(model, entries)
    if params["quantize"] == "recipe" and not _quantizes(before):
        raise TaskError(
            "recipe: nothing would be quantized: no operator of this model matches a rule that"
            " can quantize it",
            key=_RECIPE,
        )
    by_file = not rules
    named = [f"rule {n} ({dict(rule)})" for n, rule in enumerate(rules, 1)] or [
        f"entry {n} ({entry['algorithm_key']} of {entry['operation']} {entry['regex'][:60]!r})"
        for n, entry in enumerate(entries)
    ]
    all_of_it = decisions(model, entries, by_file)
    for number, name in enumerate(named if len(named) > 1 else ()):
        others = entries[:number] + entries[number + 1 :]
        if decisions(model, others, by_file) == all_of_it:
            raise TaskError(
                f"recipe: {name} has no effect on this model: no operator matches it and takes"
                " it, or what stands below decides; remove it",
                key=_RECIPE,
            )
    for pattern, own in floats.items():
        if decisions(model, entries + own) == before:
            raise TaskError(
                f"keep_float: {pattern!r} has no effect: what it names stays float anyway;"
                " remove it",
                key="optimization.keep_float",
            )
    every = [entry for own in floats.values() for entry in own]
    if every and not _quantizes(decisions(model, entries + every)):
        raise TaskError(
            "keep_float leaves nothing to quantize: name fewer operators, or write quantize: none",
            key="optimization.keep_float",
        )


def _quantizes(decided: list[tuple[str, Any]]) -> bool:
    return any(algorithm != ai_edge.NO_QUANTIZE for algorithm, _ in decided)


def finish(
    raw: bytes, interface: Mapping[str, Any], notes: Notes | None = None, source: bytes = b""
) -> bytes:
    """The package's bytes with aligned buffers, our names and order, and metadata: the declared
    one, else the source's own, with the files behind it."""
    from tflbuild.tflite.metadata import files_of, with_files
    from tflbuild.tflite.read import read_model
    from tflbuild.tflite.signature import interface_of
    from tflbuild.tflite.write import rewrite

    model = read_model(raw)
    interfaces = [interface_of(model, s["signature"]) for s in interface["signatures"]]
    if notes is None:
        return with_files(bytes(rewrite(raw, interfaces=interfaces)), files_of(model, source))
    entries = notes.entries(model, interfaces)
    return notes.behind(bytes(rewrite(raw, interfaces=interfaces, metadata=entries)))
