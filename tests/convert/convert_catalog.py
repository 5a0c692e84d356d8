"""Every model that converts: how it is declared, and which road it must take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FROZEN, SAVED = "frozen", "saved_model"
MLPERF = Path(__file__).resolve().parents[3] / "shared/models/mlperf-tiny"


@dataclass(frozen=True)
class Case:
    """`inputs` and `outputs`: the names that must survive, in positional order."""

    path: str
    inputs: str
    outputs: str
    route: str = FROZEN
    reason: str = "feed-forward"
    loader: str = "tf.saved_model"
    more: str = ""  # of the model's section
    source: str = ""  # of its source
    signature: str = "serving_default"
    quantize: str = "none"
    feed: Mapping[str, Any] = field(default_factory=dict)  # inputs that are not random


def keras(path: str, inputs: str, outputs: str, loader: str = "keras", **more: Any) -> Case:
    return Case(path, inputs, outputs, loader=loader, **more)


STEPS = "inputs: {steps: {shape: [1, 7, 3]}}"
FUSED = {"route": SAVED, "reason": "_implements", "more": STEPS}

CATALOG = {
    "digits": keras("digits.keras", "image", "scores"),
    "digits_h5": keras("digits.h5", "image", "scores"),
    "digits_exported": Case("digits_exported", "image", "output_0"),
    "digits_again": Case("digits_again", "image", "output_0"),
    "digits_trap": Case("digits_trap", "inputs", "output_0"),
    "keras2_refused": keras("keras2_refused.h5", "image", "classes", "tf_keras"),
    "keras2_taken": keras("keras2_taken.h5", "x", "y"),
    "lstm": Case("lstm", "steps", "y", **FUSED),
    "lstm_h5": keras("lstm.h5", "steps", "y", "tf_keras", **FUSED),
    "lstm3": keras("lstm3.keras", "steps", "y", route=SAVED, reason="While", more=STEPS),
    "cond": Case("cond", "x", "y", SAVED, "If"),
    "table": Case(
        "table", "word", "id", SAVED, "LookupTable",
        more="data: {test: {random: null, npz: models/words.npz}}",
        feed={"word": ["maybe", "yes", "", "größe"]},
    ),
    "counter": Case("counter", "x", "y", SAVED, "AssignAddVariableOp"),
    "qat": Case("qat", "a z", "pooled scores", quantize="qat"),
    "qat_ordered": Case(
        "qat", "z a", "scores pooled", quantize="qat",
        more="inputs: {z: {shape: [1, 6, 6, 1]}, a: {dtype: float32}}\n"
        "    outputs: [scores, pooled]",
    ),
    "multi": keras("multi.keras", "zeta alpha", "omega beta"),
    "multi_saved": Case("multi_saved", "alpha zeta", "beta m omega"),
    "multi_ordered": Case(
        "multi_saved", "zeta alpha", "omega m beta",
        more="inputs: {zeta: {shape: [null, 3]}, alpha: {dtype: float32}}\n"
        "    outputs: [omega, m, beta]",
    ),
    "multi_dict": keras("multi_dict.keras", "alpha zeta", "c y"),
    "multi_nested": keras("multi_nested.keras", "zeta alpha", "omega beta"),
    "multi_twice": keras("multi_twice.keras", "zeta", "mid mid_1"),
    "signatures": Case(
        "signatures", "x", "y", source=", signature: project, tags: [edge, serve]",
        signature="project",
    ),
    "unused": Case("unused", "x y", "out"),
    "passed": Case("passed", "x y", "same sum"),
    "twins": Case("twins", "x", "one two"),
    "weird": Case(
        "weird", "_under|a:b|größe/x|z z", "a:b|größe|out 0|out:0",
        source=', signature: "serving größe"', signature="serving größe",
        loader="tf.compat.v1.saved_model",
    ),
    "weird_twice": Case(
        "weird_twice", "a b|a:b|c|d", "a:b|größe|out 0|out:0",
        source=', signature: "serving größe"', signature="serving größe",
        loader="tf.compat.v1.saved_model",
    ),
    "scalar": Case("scalar", "by x", "by scaled"),
    "mean": Case("mean", "x", "mean n"),
    "logic": Case("logic", "x", "at big"),
    "constant": Case("constant", "x", "y"),
    "no_rank": Case("no_rank", "x", "y", more="inputs: {x: {shape: [null, 4]}}"),
    "embedding": Case(
        "embedding", "ids", "vector", more="data: {test: {random: {samples: 8, high: 50}}}",
        feed={},
    ),
    "dynamic": Case("dynamic", "x", "y", more="inputs: {x: {shape: [null, 9, 3]}}"),
    "small": Case("small", "x", "y"),
}  # fmt: skip


def names(text: str) -> list[str]:
    return text.split("|") if "|" in text else text.split()


def manifest(cases: Mapping[str, Case]) -> str:
    text = (
        "version: 1\n"
        "defaults: {optimizations: {float32: {}}, data: {test: {random: {samples: 8}}}}\n"
        "models:\n"
    )
    for name, case in cases.items():
        form = "keras" if case.path.endswith((".keras", ".h5")) else "saved_model"
        text += (
            f"  {name}:\n    source: {{format: {form}, path: models/{case.path}{case.source}}}\n"
        )
        if case.quantize != "none":
            asked = f"{{quantize: {case.quantize}, io: int8}}"
            text += f"    optimizations: {{float32: null, q: {asked}}}\n"
        if case.more:
            text += f"    {case.more}\n"
    return text


def mlperf_manifest() -> str:
    text = "version: 1\ndefaults: {optimizations: {float32: {}}}\nmodels:\n"
    text += "  kws: {source: {format: saved_model, path: kws}}\n"
    for name in ("resnet8", "vww96", "ad01"):
        text += f"  {name}: {{source: {{format: keras, path: {name}.h5}}}}\n"
    return text
