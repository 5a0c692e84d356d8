"""Optimizations in the manifest: what each key becomes, and combinations that are refused."""

from __future__ import annotations

import re
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from manifest_fixtures import Load

from tflbuild.errors import ManifestErrors
from tflbuild.graph import model_steps
from tflbuild.manifest.model import Optimization
from tflbuild.optimizations import QUANTIZATIONS, ai_edge
from tflbuild.optimizations.base import AI_EDGE, TENSORFLOW, Settings
from tflbuild.optimizations.settings import SETTINGS

CALIBRATED = "    data: {calibration: {npz: data/cal.npz}}\n"
TESTED = "    data: {calibration: {npz: data/cal.npz}, test: {npz: data/cal.npz}}\n"


def manifest(optimization: str, more: str = "") -> str:
    source = "    source: {format: saved_model, path: models/kws}\n"
    return f"version: 1\nmodels:\n  m:\n{source}    optimizations: {{o: {optimization}}}\n{more}"


def loaded(load: Load, optimization: str, more: str = "") -> Optimization:
    (model,) = load(manifest(optimization, more)).models
    return model.optimizations[0]


def test_what_is_not_said_is_in_no_key(load: Load) -> None:
    said = "{quantize: int8, quantizer: tensorflow, per_channel: true, sparsity: false}"
    explicit = loaded(load, said, CALIBRATED)
    assert explicit == loaded(load, "{quantize: int8}", CALIBRATED)
    assert explicit.settings == {}
    assert loaded(load, "{quantize: int8, io_output: float32}", CALIBRATED) == explicit


def test_settings_reach_the_action(load: Load) -> None:
    text = (
        "{quantize: int8, io: uint8, io_output: float32, per_channel: false, float_ops: allow,"
        " keep_float: [b, a], sparsity: true, converter: {unfold_batchmatmul: true}}"
    )
    workspace = load(manifest(text, CALIBRATED))
    steps = {step.name: step for step in model_steps(workspace, workspace.models[0])}
    params = steps["convert:m:o"].params
    assert {k: v for k, v in params.items() if k != "calibration"} == {
        "quantize": "int8", "io": "uint8", "io_output": "float32", "profile": "builtin",
        "per_channel": False, "float_ops": "allow", "keep_float": ["b", "a"], "sparsity": True,
        "converter": {"unfold_batchmatmul": True},
    }  # fmt: skip
    assert Settings.of(params) == Settings(
        "uint8", "float32", False, True, ("b", "a"), (("unfold_batchmatmul", True),)
    )


def test_ai_edge_is_an_action_of_its_own(load: Load) -> None:
    text = "{quantizer: ai-edge, quantize: weight_only, weights: int4}"
    workspace = load(manifest(text))
    steps = {step.name: step for step in model_steps(workspace, workspace.models[0])}
    step = steps["convert:m:o"]
    assert step.does == "quantize"
    assert "tensorflow" not in step.tools
    assert [port.task for port in step.ports] == ["evaluate:m", "lower:m"]
    assert step.params["rules"] == [{"quantize": "weight_only", "weights": "int4"}]
    assert step.model.optimizations[0].parity == "weight_only_int4"


def test_who_calibrates(load: Load) -> None:
    for text, calibrates in (
        ("{quantizer: ai-edge, quantize: dynamic_range}", False),
        ("{quantizer: ai-edge, quantize: dynamic_range, algorithm: gptq}", True),
        ("{quantizer: ai-edge, quantize: int16x8}", True),
        ("{quantizer: ai-edge, recipe: [{op: CONV_2D}]}", False),
        ("{quantizer: ai-edge, recipe: [{op: CONV_2D}, {quantize: int8}]}", True),
    ):
        assert loaded(load, text, CALIBRATED if calibrates else "").calibrates == calibrates
        with pytest.raises(ManifestErrors, match=r"calibration"):
            load(manifest(text, "" if calibrates else TESTED))


WRONG = {
    "{quantize: weight_only}": (35, "needs `quantizer: ai-edge`"),
    "{quantizer: ai-edge}": (24, "cannot work with quantize: none (the default); write quantize:"),
    "{quantizer: ai-edge, quantize: qat}": (55, "write quantize: dynamic_range, float16"),
    "{quantizer: ai-edge, quantize: int8, io: uint8}": (65, "it needs int8 or qat"),
    "{quantize: int8, io: int16}": (45, "needs int16x8"),
    "{quantize: int16x8, io: int8}": (48, "needs int8 or qat"),
    "{quantize: none, io_output: int8}": (52, "io_output: int8 cannot work with quantize: none"),
    "{quantizer: ai-edge, quantize: int8, io: int8, io_output: float32}": (82, "have one type"),
    "{quantize: int8, io: int8, io_output: int8}": (51, "`io_output` has no effect: it is what"),
    "{quantize: float16, sparsity: true}": (44, "weights that LiteRT reads as NaN"),
    "{quantize: dynamic_range, sparsity: true}": (50, "a file that LiteRT refuses or computes"),
    "{quantizer: ai-edge, quantize: int8, algorithm: gptq}": (72, "write algorithm: mse, or a"),
    "{keep_float: [a]}": (25, "quantize: int8, or quantizer: ai-edge with quantize: dyn"),
    "{quantize: qat, keep_float: [a]}": (40, "'keep_float' has no effect with quantize: qat"),
    "{quantize: float16, float_ops: forbid}": (44, "'float_ops' has no effect"),
    "{quantize: dynamic_range, weights: int4}": (50, "quantizer: ai-edge with quantize: dyn"),
    "{quantizer: ai-edge, quantize: int8, per_channel: true}": (61, "'per_channel' has no effect"),
    "{quantizer: ai-edge, quantize: float16, weights: int8}": (64, "'weights' has no effect"),
    "{quantizer: ai-edge, quantize: float16, converter: {unfold_batchmatmul: true}}": (
        64, "`converter` has no effect with quantizer: ai-edge",
    ),
    "{quantizer: ai-edge, quantize: weight_only, granularity: blockwise_32}": (
        81, "granularity: blockwise_32 needs quantize: dynamic_range and weights: int4",
    ),
    "{quantize: int8, recipe: [{op: ADD}]}": (41, "`recipe` needs `quantizer: ai-edge`"),
    "{quantizer: ai-edge, quantize: int8, recipe: [{op: ADD}]}": (45, "no effect beside `recipe`"),
    "{quantizer: ai-edge, weights: int4, recipe: [{op: ADD}]}": (45, "write it in its rules"),
    "{quantizer: ai-edge, recipe: []}": (53, "a list of rules"),
    "{quantizer: ai-edge, recipe: data/none.json}": (53, "no such file"),
    "{quantizer: ai-edge, recipe: [{op: FULLY_CONECTED}]}": (
        59, "knows no operator 'FULLY_CONECTED'; did you mean 'FULLY_CONNECTED'?",
    ),
    "{quantizer: ai-edge, recipe: [{op: TRANSPOSE_CONV}]}": (59, "mean 'CONV_2D_TRANSPOSE'?"),
    "{quantizer: ai-edge, recipe: [{op: SIN}]}": (59, "such operators stay float: remove it"),
    "{quantizer: ai-edge, recipe: [{op: conv}]}": (59, "a TensorFlow Lite operator"),
    "{quantizer: ai-edge, recipe: [{regex: '('}]}": (62, "not a regular expression"),
    "{quantizer: ai-edge, recipe: [{quantize: none, weights: int4}]}": (80, "has no effect"),
    "{quantizer: ai-edge, recipe: [{quantize: int16x8, weights: int4}]}": (83, "has int8 weights"),
    "{quantize: int4}": (35, "it is `quantizer: ai-edge` and `quantize: weight_only` (or"),
    "{quantizer: ai-edge, recipe: [{quantize: int4}]}": (
        65, "it is `quantize: weight_only` (or dynamic_range) with `weights: int4`",
    ),
    "{converter: {_experimental_disable_per_channel: true}}": (37, "it is `per_channel: false`"),
    "{inference_input_type: int8}": (25, "it is `io`"),
    "{converter: {_experimental_disable_fuse_mul_and_fc: true}}": (
        37, "did you mean 'experimental_disable_fuse_mul_and_fc'?",
    ),
    "{converter: {experimental_low_bit_qat: true}}": (37, "it needs quantize: qat"),
    "{converter: {experimental_lower_tensor_list_ops: true}}": (37, "true is what the converter"),
    "{converter: {unfold_batchmatmul: 1}}": (57, "true or false, got the number 1"),
    "{quantize: int8, keep_float: [a], float_ops: forbid}": (
        41, "keep_float keeps operators float, which float_ops: forbid refuses",
    ),
    "{quantize: int8, keep_float: []}": (53, "empty list"),
    "{quantize: int8, keep_float: [a, a]}": (57, "twice"),
}  # fmt: skip


@pytest.mark.parametrize("text", WRONG)
def test_one_line_with_the_place(load: Load, text: str) -> None:
    column, says = WRONG[text]
    with pytest.raises(ManifestErrors) as caught:
        load(manifest(text))
    lines = [line for line in str(caught.value).splitlines() if "needs `data.cal" not in line]
    assert len(lines) == 1, lines
    assert lines[0].startswith(f"tflbuild.yaml:5:{column}: "), lines
    assert says in lines[0]


def test_calibration_data_serve_parity_where_there_are_no_test_data(load: Load) -> None:
    loaded(load, "{quantize: float16}", CALIBRATED)
    with pytest.raises(ManifestErrors, match="remove it, or call it `test`") as caught:
        load(manifest("{quantize: float16}", TESTED))
    assert str(caught.value).startswith("tflbuild.yaml:6:12: `data.calibration` has no effect")


def test_an_error_of_an_optimization_hides_what_follows_from_it(load: Load) -> None:
    for wrong in ("{quantize: int9}", "{quantize: float16, per_channel: false}"):
        with pytest.raises(ManifestErrors) as caught:
            load(manifest(wrong, TESTED))
        assert "data.calibration" not in str(caught.value)


def test_every_pair_of_keys_is_taken_or_refused_once(load: Load) -> None:
    """Whatever `quantize`, `quantizer` and a further key: no fault, and no silent key."""
    further = {"weights": "int4", "granularity": "tensorwise", "algorithm": "mse",
               "per_channel": "false", "float_ops": "forbid", "keep_float": "[a]",
               "sparsity": "true"}  # fmt: skip
    for (name, quantization), tool, (key, value) in product(
        QUANTIZATIONS.items(), (TENSORFLOW, AI_EDGE), further.items()
    ):
        if name == "recipe":
            continue
        text = f"{{quantize: {name}, quantizer: {tool}, {key}: {value}}}"
        more = CALIBRATED if quantization.CALIBRATES else ""
        able = key in quantization.QUANTIZERS.get(tool, ())
        if able:
            found = loaded(load, text, more)
            assert key in found.settings
        else:
            with pytest.raises(ManifestErrors):
                load(manifest(text, more))


RULES = st.fixed_dictionaries(
    {},
    optional={
        "regex": st.sampled_from([".*", "dense", "^a;"]),
        "op": st.sampled_from(["*", "CONV_2D", "FULLY_CONNECTED"]),
        "quantize": st.sampled_from(
            ["none", "dynamic_range", "float16", "int8", "int16x8", "weight_only"]
        ),
        "weights": st.sampled_from(["int8", "int4"]),
        "granularity": st.sampled_from(["channelwise", "tensorwise", "blockwise_64"]),
        "algorithm": st.sampled_from(sorted(ai_edge.ALGORITHMS)),
    },
)


@given(st.lists(RULES, min_size=1, max_size=5), st.sampled_from(["float32", "int8"]))
def test_rules_become_a_recipe_in_their_order(rules: list[dict[str, str]], io: str) -> None:
    """Each rule one entry with a regex of its own; what is said of types is in the entry."""
    entries = ai_edge.in_order(ai_edge.recipe(rules, io))
    assert len({entry["regex"] for entry in entries}) == len(entries) >= len(rules)
    static = any(rule.get("quantize") in ("int8", "int16x8") for rule in rules)
    assert len(entries) - len(rules) == (2 if static and io == "float32" else 0)
    assert ai_edge.calibrates(rules) >= static
    for rule, entry in zip(rules, entries, strict=False):
        re.compile(entry["regex"])
        assert entry["regex"].startswith(rule.get("regex", ".*"))
        assert entry["operation"] == rule.get("op", "*")
        if rule.get("quantize") == "none":
            assert entry["algorithm_key"] == ai_edge.NO_QUANTIZE
        else:
            bits = entry["op_config"]["weight_tensor_config"]["num_bits"]
            half = rule.get("quantize") == "float16"
            assert bits == (16 if half else 4 if rule.get("weights") == "int4" else 8)


def test_an_algorithm_of_some_operators_leaves_the_others_to_min_max() -> None:
    for algorithm in ("min_max", "mse"):
        rule = {"quantize": "int8", "algorithm": algorithm}
        found = [entry["algorithm_key"] for entry in ai_edge.recipe([rule], "int8", whole=True)]
        first = ["min_max_uniform_quantize"] if algorithm == "mse" else []
        assert found == [*first, ai_edge.ALGORITHMS[algorithm]]


def test_settings_name_what_they_need() -> None:
    for key, setting in SETTINGS.items():
        assert set(setting.quantize) <= set(QUANTIZATIONS), key
        assert setting.attribute.rpartition(".")[2].lstrip("_") == key
