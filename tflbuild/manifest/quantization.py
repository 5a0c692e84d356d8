"""One optimization: its keys, and those that would have no effect beside each other."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tflbuild.manifest.context import ModelNodes
from tflbuild.manifest.model import Optimization
from tflbuild.manifest.nodes import entries, get, strings, text
from tflbuild.manifest.parity import own_limits
from tflbuild.manifest.yamlfile import Node, describe
from tflbuild.optimizations import QUANTIZATIONS, ai_edge
from tflbuild.optimizations.base import AI_EDGE, TENSORFLOW
from tflbuild.optimizations.settings import SETTINGS
from tflbuild.sources import FORMATS
from tflbuild.sources.base import TFLITE

# What a key means that is not written. Writing it says the same, so the key holds it only
# where it differs; `float_ops` has no default: left out, float operators are a warning.
_DEFAULTS: Mapping[str, Any] = {
    "weights": "int8",
    "granularity": "channelwise",
    "algorithm": "min_max",
    "per_channel": True,
    "float_ops": None,
    "keep_float": (),
    "sparsity": False,
}
# What TensorFlow's converter writes and LiteRT 2.3 cannot run.
_SPARSE = {
    "float16": "weights that LiteRT reads as NaN",
    "dynamic_range": "a file that LiteRT refuses or computes noise with",
}
_GENERAL = frozenset(
    {"quantize", "quantizer", "io", "io_output", "targets", "converter", "parity", "metrics"}
)


def build_optimization(
    model: ModelNodes, name: str, entry: Node, targets: tuple[str, ...]
) -> Optimization:
    """An optimization; what is wrong with it goes to the model's problems."""
    builder = _Builder(model, entry)
    before = len(model.context.problems)
    quantize, quantizer = builder.quantizer()
    io = text(get(entry, "io")) or "float32"
    output = text(get(entry, "io_output"))
    for key, value in (("io", io), ("io_output", output or "float32")):
        builder.check_io(key, value, quantize, quantizer)
    if output is not None and output == text(get(entry, "io")):
        model.key_problem(
            "`io_output` has no effect: it is what `io` says; remove it", get(entry, "io_output")
        )
    settings = builder.settings(quantize, quantizer)
    converter = builder.converter(quantize, quantizer)
    if converter:
        settings["converter"] = converter
    builder.check_floats(settings)
    builder.check_as_it_is(quantize, settings)
    recipe = get(entry, "recipe")
    recipe_file: str | None = None
    rules: tuple[Mapping[str, str], ...] = ()
    if recipe is not None and isinstance(recipe.value, str):
        recipe_file = model.file(recipe, ".json")
    elif quantizer == AI_EDGE and len(model.context.problems) == before:
        rules = builder.rules(recipe, quantize, settings)
    calibrates = QUANTIZATIONS[quantize].CALIBRATES
    return Optimization(
        name,
        quantize,
        io,
        targets,
        quantizer=quantizer,
        io_output=output if output != io else None,
        settings=settings,
        rules=rules,
        recipe_file=recipe_file,
        calibrates=calibrates or ai_edge.calibrates(rules),
        parity_limits=own_limits(model, get(entry, "parity")),
    )


class _Builder:
    def __init__(self, model: ModelNodes, entry: Node) -> None:
        self.model = model
        self.entry = entry

    def quantizer(self) -> tuple[str, str]:
        """The values of `quantize` and `quantizer`; a problem where they do not go together."""
        given = text(get(self.entry, "quantize"))
        recipe = get(self.entry, "recipe")
        written = text(get(self.entry, "quantizer"))
        by_file = self.file_format() and (recipe is not None or given not in (None, "none"))
        quantizer = written or (AI_EDGE if by_file else TENSORFLOW)
        if by_file and quantizer == TENSORFLOW:
            self.model.problem(
                f"TensorFlow's converter takes no file, which a {self.file_format()} source is;"
                f" write quantizer: {AI_EDGE}",
                get(self.entry, "quantizer"),
            )
        if recipe is not None and quantizer == AI_EDGE:
            if given is not None:
                self.model.key_problem(
                    "`quantize` has no effect beside `recipe`, whose rules say it; remove one",
                    get(self.entry, "quantize"),
                )
            return "recipe", quantizer
        quantize = given or "none"
        able = QUANTIZATIONS[quantize].QUANTIZERS
        if quantizer not in able:
            others = [n for n, q in QUANTIZATIONS.items() if quantizer in q.QUANTIZERS]
            what = f"quantize: {quantize}" + ("" if given else " (the default)")
            if quantizer == TENSORFLOW:
                message = f"{what} needs `quantizer: {next(iter(able))}`"
            else:
                message = (
                    f"`quantizer: {quantizer}` cannot work with {what}; write quantize:"
                    f" {', '.join(n for n in others if n != 'recipe')}, or a `recipe`"
                )
            self.model.problem(message, get(self.entry, "quantize") or self.entry)
            quantizer = next(iter(able))
        return quantize, quantizer

    def file_format(self) -> str:
        """The source's format where it is a file, which no converter takes; else ""."""
        name = text(get(self.model.tree, "source", "format")) or ""
        return name if name in FORMATS and FORMATS[name].LOWERED == TFLITE else ""

    def check_floats(self, settings: Mapping[str, Any]) -> None:
        """Some operators float, and none: one of both is not meant."""
        if settings.get("keep_float") and settings.get("float_ops") == "forbid":
            self.model.key_problem(
                "keep_float keeps operators float, which float_ops: forbid refuses; remove one",
                get(self.entry, "keep_float"),
            )

    def check_as_it_is(self, quantize: str, settings: Mapping[str, Any]) -> None:
        """A file that is not quantized is released as it is: nothing else has an effect."""
        if self.file_format() and quantize == "none":
            for key in settings:
                self.model.key_problem(
                    f"{key!r} has no effect: a {self.file_format()} source with quantize: none is"
                    " released as it is",
                    get(self.entry, key),
                )

    def check_io(self, key: str, value: str, quantize: str, quantizer: str) -> None:
        able = self.io_types(quantize, quantizer)
        if value in able:
            if key == "io_output" and quantizer == AI_EDGE and get(self.entry, key) is not None:
                if value != (text(get(self.entry, "io")) or "float32"):
                    self.model.problem(
                        "with `quantizer: ai-edge` inputs and outputs have one type; write `io`",
                        get(self.entry, key),
                    )
            return
        others = [
            name + ("" if TENSORFLOW in q.QUANTIZERS else f" (quantizer: {AI_EDGE})")
            for name, q in QUANTIZATIONS.items()
            if name != "recipe" and value in self.io_types(name, next(iter(q.QUANTIZERS)))
        ]
        with_what = f"quantize: {quantize}" if quantize != "recipe" else "a recipe"
        if quantizer == AI_EDGE:
            with_what += f" and quantizer: {AI_EDGE}"
        self.model.problem(
            f"{key}: {value} cannot work with {with_what}; it needs {' or '.join(others)}",
            get(self.entry, key),
        )

    @staticmethod
    def io_types(quantize: str, quantizer: str) -> tuple[str, ...]:
        if quantizer == AI_EDGE:
            return ai_edge.IO.get(quantize, ("float32",))
        return QUANTIZATIONS[quantize].IO

    def settings(self, quantize: str, quantizer: str) -> dict[str, Any]:
        """The further keys that are given and are not their default."""
        result: dict[str, Any] = {}
        able = QUANTIZATIONS[quantize].QUANTIZERS.get(quantizer, ())
        for key, node in entries(self.entry).items():
            if key in _GENERAL or node.value is None:
                continue
            if key not in able:
                self.model.key_problem(self._no_effect(key, quantize, quantizer), node)
            elif key != "recipe":
                value: Any = strings(node) if isinstance(node.value, list) else node.value
                if value != _DEFAULTS[key]:
                    result[key] = list(value) if isinstance(value, tuple) else value
        return result

    def _no_effect(self, key: str, quantize: str, quantizer: str) -> str:
        what = f"quantize: {quantize}" if quantize != "recipe" else "a `recipe`"
        if quantizer == AI_EDGE:
            what += f" and quantizer: {quantizer}"
        elif key == "sparsity" and quantize in _SPARSE:
            return f"`sparsity` beside {what} makes {_SPARSE[quantize]}; remove one"
        able = []
        for tool in (TENSORFLOW, AI_EDGE):
            names = [n for n, q in QUANTIZATIONS.items() if key in q.QUANTIZERS.get(tool, ())]
            if listed := ", ".join(n for n in names if n != "recipe"):
                with_tool = "" if tool == TENSORFLOW else f"quantizer: {tool} with "
                able.append(f"{with_tool}quantize: {listed}")
        if key == "recipe":
            return f"`recipe` needs `quantizer: {AI_EDGE}`"
        if quantize == "recipe" and key in ("weights", "granularity", "algorithm"):
            return f"{key!r} has no effect beside `recipe`; write it in its rules"
        return f"{key!r} has no effect with {what}; it needs {', or '.join(able)}"

    def converter(self, quantize: str, quantizer: str) -> dict[str, Any]:
        """`converter`: the settings of TensorFlow's converter."""
        node = get(self.entry, "converter")
        given = {k: n for k, n in entries(node).items() if n.value is not None}
        if given and quantizer != TENSORFLOW:
            self.model.key_problem(
                f"`converter` has no effect with quantizer: {quantizer}; remove it", node
            )
            return {}
        for key, child in given.items():
            setting = SETTINGS[key]
            if child.value == setting.default:
                value = describe(child.value).strip("'").lower()
                self.model.key_problem(
                    f"{key!r} has no effect: {value} is what the converter does anyway; remove it",
                    child,
                )
            elif setting.quantize and quantize not in setting.quantize:
                self.model.key_problem(
                    f"{key!r} has no effect with quantize: {quantize}; it needs quantize:"
                    f" {', '.join(setting.quantize)}",
                    child,
                )
        return {key: child.value for key, child in given.items()}

    def rules(
        self, recipe: Node | None, quantize: str, settings: Mapping[str, Any]
    ) -> tuple[Mapping[str, str], ...]:
        """The rules of a recipe; without one, the one rule that the optimization's keys make."""
        if recipe is None:
            keys = ("weights", "granularity", "algorithm")
            rule = {"quantize": quantize, **{k: settings[k] for k in keys if k in settings}}
            self._check(rule, self.entry)
            if rule.get("algorithm") == "gptq" and ai_edge.integer(rule):
                self.model.problem(
                    f"algorithm: gptq takes FULLY_CONNECTED alone, and quantize: {quantize}"
                    " promises integer operators: write algorithm: mse, or a `recipe` with a rule"
                    f" {{op: FULLY_CONNECTED, quantize: {quantize}, algorithm: gptq}}",
                    get(self.entry, "algorithm"),
                )
            return (rule,)
        found = []
        items: Any = recipe.value
        for node in items:
            rule = {k: str(n.value) for k, n in entries(node).items() if n.value is not None}
            self._check(rule, node)
            found.append(rule)
        return tuple(found)

    def _check(self, rule: Mapping[str, str], node: Node) -> None:
        key, problem = ai_edge.rule_problem(rule)
        if problem:
            self.model.problem(problem, get(node, key))
        try:
            re.compile(rule.get("regex", ""))
        except (re.error, RecursionError, OverflowError) as error:
            self.model.problem(f"not a regular expression: {error}", get(node, "regex"))
