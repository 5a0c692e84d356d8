"""`validate.parity` and `validate.golden`: what is read, and what is refused."""

from __future__ import annotations

import pytest
from manifest_fixtures import Load

from tflbuild.errors import ManifestErrors
from tflbuild.manifest.model import Golden, GoldenLimits, MetricLimits, ParityLimits, TopK
from tflbuild.manifest.parity import limits_of, of_output
from tflbuild.metric_gate import of_file

HEAD = """version: 1
models:
  m:
    source: {format: saved_model, path: models/kws}
    data: {calibration: {npz: data/cal.npz}}
"""
TWO = HEAD + "    optimizations: {float32: {}, int8: {quantize: int8}}\n"


def test_limits_by_output_signature_and_optimization(load: Load) -> None:
    text = """version: 1
models:
  m:
    source: {format: saved_model, path: models/kws, signatures: {a: {}, b: {}}}
    data: {calibration: {npz: data/cal.npz}}
    optimizations:
      float32: {}
      int8:
        quantize: int8
        parity: {sqnr: 11, outputs: {boxes: {max_abs_error: 8}}}
    validate:
      parity:
        sqnr: 40
        top_k: {k: 1, min: 0.9}
        outputs: {boxes: {max_abs_error: 4, cosine: 0.9}}
      signatures:
        b: {parity: {outputs: {boxes: {max_abs_error: 5, top_k: [{k: 5, min: 1}, {k: 2, min: 0}]}}}}
"""
    (model,) = load(text).models
    a, b = model.signatures
    float32, int8 = model.optimizations
    top = (TopK(1, 0.9),)
    assert limits_of(a, float32) == a.parity
    assert of_output(limits_of(a, float32), "boxes") == ParityLimits(
        sqnr=40, cosine=0.9, max_abs_error=4, top_k=top
    )
    assert of_output(limits_of(b, float32), "boxes") == ParityLimits(
        sqnr=40, cosine=0.9, max_abs_error=5, top_k=(TopK(2, 0), TopK(5, 1))
    )
    assert of_output(limits_of(a, int8), "boxes") == ParityLimits(
        sqnr=11, cosine=0.9, max_abs_error=8, top_k=top
    )
    assert of_output(limits_of(a, int8), "other") == ParityLimits(sqnr=11, top_k=top)
    assert "validate.parity.sqnr" in model.said
    assert "optimizations.int8.parity.outputs.boxes" in model.said


def test_what_defaults_say_is_not_said_by_the_model(load: Load) -> None:
    text = TWO + "defaults: {validate: {parity: {sqnr: 30}}}\n"
    (model,) = load(text).models
    assert model.signatures[0].parity.sqnr == 30
    assert "validate.parity.sqnr" in model.positions
    assert model.said == frozenset()


def test_golden_tests(load: Load) -> None:
    text = (
        TWO
        + """\
    validate:
      golden:
        second: {npz: data/test.npz, exact: true}
        first:
          npz: data/cal.npz
          optimizations: [int8]
          max_abs_error: {int8: 0.05}
          sqnr: 20
          outputs: {y: {exact: true}, z: {cosine: 0.9}}
"""
    )
    (model,) = load(text).models
    assert model.golden == (
        Golden(
            "first", "data/cal.npz", 0, ("int8",),
            GoldenLimits(False, (("max_abs_error", (("int8", 0.05),)), ("sqnr", (("", 20.0),)))),
            (("y", GoldenLimits(True)), ("z", GoldenLimits(False, (("cosine", (("", 0.9),)),)))),
        ),
        Golden("second", "data/test.npz", 0, ("float32", "int8"), GoldenLimits(True)),
    )  # fmt: skip


def test_a_golden_test_of_one_of_several_signatures(load: Load) -> None:
    text = """version: 1
models:
  m:
    source: {format: saved_model, path: models/kws, signatures: {a: {}, b: {}}}
    optimizations: {float32: {}}
    validate: {golden: {one: {npz: data/cal.npz, signature: b, exact: true}}}
"""
    (model,) = load(text).models
    assert model.golden[0].signature == 1


WRONG = {
    "no file": ("golden: {one: {exact: true}}", "golden 'one' needs `npz`"),
    "not there": ("golden: {one: {npz: data/none.npz, exact: true}}", "data/none.npz"),
    "not an archive": ("golden: {one: {npz: data/x.npy, exact: true}}", ".npz"),
    "optimization": ("golden: {one: {npz: data/cal.npz, optimizations: [int]}}",
                     "unknown optimization 'int'; did you mean 'int8'?"),
    "limit of none": ("golden: {one: {npz: data/cal.npz, sqnr: {half: 3}}}",
                      "unknown optimization 'half'; the model has float32, int8"),
    "left out": ("golden: {one: {npz: data/cal.npz, optimizations: [int8], sqnr: {float32: 3}}}",
                 "'float32' has no effect: `optimizations` leaves it out"),
    "exact": ("golden: {one: {npz: data/cal.npz, exact: true, sqnr: 3}}",
              "`sqnr` has no effect beside exact: true"),
    "signature": ("golden: {one: {npz: data/cal.npz, exact: true, signature: s}}",
                  "`signature` has no effect: the model ships one"),
    "no limit": ("golden: {one: {npz: data/cal.npz, outputs: {y: {}}}}",
                 "no limit for output 'y'; give one of max_abs_error"),
    "unknown key": ("golden: {one: {npz: data/cal.npz, max_error: 3}}", "unknown key 'max_error'"),
    "text": ("golden: {one: {npz: data/cal.npz, sqnr: high}}",
             "expected a number, or a number by optimization"),
    "negative": ("golden: {one: {npz: data/cal.npz, max_abs_error: {int8: -1}}}", "at least 0"),
    "none": ("golden: {}", "got an empty mapping"),
    "no k": ("parity: {top_k: {min: 0.9}}", "top_k needs `k`, such as {k: 5, min: 0.99}"),
    "no min": ("parity: {top_k: [{k: 5}]}", "top_k needs `min`"),
    "k twice": ("parity: {top_k: [{k: 5, min: 1}, {k: 5, min: 1}]}", "k: 5 is in this list twice"),
    "k of 0": ("parity: {top_k: {k: 0, min: 1}}", "at least 1, got 0"),
    "share": ("parity: {top_k: {k: 1, min: 90}}", "at most 1, got 90"),
    "a number": ("parity: {top_k: 5}", "a list of such, got the number 5; write {k: 5, min: 0.9}"),
    "numbers": ("parity: {top_k: [5]}", "a mapping, got the number 5; write {k: 5, min: 0.9}"),
    "percent": ("parity: {top_k: {k: 5, min: 90}}", "at most 1, got 90; 90 % is 0.9"),
    "cosine": ("parity: {outputs: {y: {cosine: -1}}}", "cosine: -1 can never fail"),
    "sqnr": ("parity: {sqnr: -200}", "sqnr: -200 says nothing: below 0 dB the error is larger"),
    "empty output": ("parity: {outputs: {boxes: {}}}", "no limit for output 'boxes'; give one of"),
    "nested": ("parity: {outputs: {boxes: {outputs: {}}}}", "unknown key 'outputs'"),
}  # fmt: skip


@pytest.mark.parametrize(("validate", "said"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_one_line_with_its_place(load: Load, validate: str, said: str) -> None:
    with pytest.raises(ManifestErrors) as caught:
        load(TWO + f"    validate: {{{validate}}}\n")
    (line,) = str(caught.value).splitlines()
    assert line.startswith("tflbuild.yaml:7:")
    assert said in line


@pytest.mark.parametrize("key", ["metrics", "parity", "golden", "sequence"])
@pytest.mark.parametrize("where", ["    ", "defaults: {"])
def test_what_belongs_under_validate(load: Load, key: str, where: str) -> None:
    with pytest.raises(ManifestErrors) as caught:
        load(TWO + f"{where}{key}: {{}}{'}' if '{' in where else ''}\n")
    (line,) = str(caught.value).splitlines()
    assert f"unknown key '{key}'; it belongs under `validate`: write `validate: {{{key}: …}}`" in (
        line
    )


MEASURED = """version: 1
models:
  m:
    source: {format: saved_model, path: models/kws}
    data: {calibration: {npz: data/cal.npz}, test: {npz: data/test.npz, labels: labels}}
    validate: {metrics: {accuracy: {min: 0.9, max_drop: 0.01}}}
    optimizations:
      float32: {}
      int8: {quantize: int8, metrics: %s}
"""


def test_metrics_of_one_optimization(load: Load) -> None:
    (model,) = load(MEASURED % "{accuracy: {max_drop: 0.03}}").models
    float32, int8 = model.optimizations
    (metric,) = of_file(model.signatures[0].metrics, int8)
    assert metric.limits == (MetricLimits("accuracy", min=0.9, max_drop=0.03),)
    (metric,) = of_file(model.signatures[0].metrics, float32)
    assert metric.limits == (MetricLimits("accuracy", min=0.9, max_drop=0.01),)


def test_one_optimization_may_take_a_limit_away(load: Load) -> None:
    (model,) = load(MEASURED % "{accuracy: {min: 0, max_drop: 1}}").models
    (metric,) = of_file(model.signatures[0].metrics, model.optimizations[1])
    assert metric.limits == (MetricLimits("accuracy", min=0, max_drop=1),)


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        ("{accurcy: {min: 1}}", "'accurcy' is in no `validate.metrics`; did you mean 'accuracy'?"),
        ("{f1: {min: 1}}", "is in no `validate.metrics`; those that are measured: accuracy"),
        ("{accuracy: {max_drop_from_last: 1}}", "accuracy cannot fall by more than 1; 1 % is 0.01"),
        ("{accuracy: {}}", "no limit for 'accuracy'; give one of min, max, max_drop"),
        ("{accuracy: {max: 0.5}}", "accuracy: min is above max; nothing is both"),
        ("{accuracy: {k: 5}}", "unknown key 'k'"),
        ("{}", "got an empty mapping"),
    ],
)
def test_wrong_metrics_of_one_optimization(load: Load, metrics: str, said: str) -> None:
    with pytest.raises(ManifestErrors) as caught:
        load(MEASURED % metrics)
    (line,) = str(caught.value).splitlines()
    assert line.startswith("tflbuild.yaml:9:")
    assert said in line


def test_an_optimization_says_its_place(load: Load) -> None:
    wrong = "    optimizations: {int8: {quantize: int8, parity: {outputs: {y: {}}}}}\n"
    with pytest.raises(ManifestErrors, match=r"tflbuild.yaml:6:\d+: no limit for output 'y'"):
        load(HEAD + wrong)
