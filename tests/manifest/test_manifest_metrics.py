"""`validate.metrics` and the labels that it needs, as the manifest says them."""

from __future__ import annotations

from typing import Any

import pytest
from manifest_fixtures import Load

from tflbuild.errors import ManifestErrors
from tflbuild.manifest.model import ArrayRef, Code, FileData, Metric, MetricLimits, RecordData

HEAD = """version: 1
models:
  m:
    source: {format: keras, path: models/digits.keras}
    optimizations: {a: {}}
"""
LABELLED = "    data: {test: {npz: data/test.npz, labels: y}}\n"
SEVERAL = "    data: {test: {npz: data/test.npz, labels: {boxes: b, classes: c}}}\n"


def shipped(load: Load, metrics: str, data: str = LABELLED, more: str = "") -> Any:
    code = {"score.py": "def score(outputs, labels):\n    return {}\n", "data/l.txt": "a\n"}
    (model,) = load(f"{HEAD}{data}    validate: {{metrics: {metrics}}}\n{more}", **code).models
    return model.signatures[0]


def test_all_settings(load: Load) -> None:
    metrics = shipped(
        load,
        "{accuracy: {min: 0.9, max_drop: 0.01, max_drop_from_last: 0}, auc: {multi_class: ovo},"
        " f1: {average: macro, output: y}, mean_absolute_error: {max: 3, max_drop: 1},"
        " mean_iou: {axis: 1, ignore: 255, classes: 21, threshold: 0.4},"
        " precision: {positive: 2, threshold: 0.4}, top_k_accuracy: {k: 5, min: 0.9},"
        " word_error_rate: {vocabulary: data/l.txt, ctc: true, blank: 0}}",
    ).metrics
    found = {metric.name: metric for metric in metrics}
    assert found["accuracy"] == Metric(
        "accuracy", (MetricLimits("accuracy", 0.9, 0.01, max_drop_from_last=0.0),)
    )
    assert found["auc"] == Metric("auc", (MetricLimits("auc"),), settings={"multi_class": "ovo"})
    assert (found["f1"].output, found["f1"].settings) == ("y", {"average": "macro"})
    own = MetricLimits("mean_absolute_error", max=3.0, max_drop=1.0, higher_is_better=False)
    assert found["mean_absolute_error"].limits == (own,)
    assert found["mean_iou"].settings == {"axis": 1, "ignore": 255, "classes": 21, "threshold": 0.4}
    assert found["top_k_accuracy"].settings == {"k": 5}
    words = found["word_error_rate"]
    assert (words.vocabulary, words.settings) == ("data/l.txt", {"ctc": True, "blank": 0})


def test_a_function(load: Load) -> None:
    (metric,) = shipped(
        load,
        "{python: {function: score.py:score, args: {a: [1]}, values: {mAP: {min: 0.5},"
        " off: {better: lower, max_drop: 1}}}}",
        SEVERAL,
        "    depends: [data/l.txt]\n",
    ).metrics
    assert metric.python == Code("score.py:score", ".")
    assert metric.args == '{"a": [1]}'
    assert metric.settings == {"lower": ["off"]}
    assert metric.limits == (
        MetricLimits("mAP", 0.5),
        MetricLimits("off", max_drop=1.0, higher_is_better=False),
    )
    (metric,) = shipped(
        load, "{python: {function: score.py:score}}", "    data: {test: {npz: data/test.npz}}\n"
    ).metrics
    assert metric.limits == ()


def test_several_labels(load: Load) -> None:
    found = shipped(load, "{accuracy: {labels: classes}}", SEVERAL)
    refs = tuple((n, ArrayRef("data/test.npz", k)) for n, k in (("boxes", "b"), ("classes", "c")))
    assert found.test == FileData(npz="data/test.npz", labels=refs)
    assert found.metrics[0].labels == "classes"
    records = (
        "    data: {test: {tfrecord: {files: data/l.txt, features: {x: {shape: [2]}}},"
        " labels: {boxes: b}}}\n"
    )
    test = shipped(load, "{mean_squared_error: {labels: boxes}}", records).test
    assert isinstance(test, RecordData)
    assert test.labels == (("boxes", "b"),)


# What is wrong stands in the text once, behind `@`.
WRONG: list[tuple[str, str, str]] = [
    (LABELLED, "{accuracy: {@max: 0.5}}", "unknown key 'max'"),
    (LABELLED, "{mean_squared_error: {@min: 0.5}}", "unknown key 'min'"),
    (LABELLED, "{accuracy: {min: @1.5}}", "at most 1"),
    (LABELLED, "{accuracy: {max_drop: @-1}}", "at least 0"),
    (LABELLED, "{accuracy: {min: @95}}", "expected at most 1, got 95; 95 % is 0.95"),
    (LABELLED, "{accuracy: {max_drop: @1.5}}", "1.5 % is 0.015"),
    (LABELLED, "{accuracy: @0.97}", "expected a mapping, got the number 0.97; write {min: 0.97}"),
    (LABELLED, "{accuracy: @97}", "expected a mapping, got the number 97; write {min: 0.97}"),
    (LABELLED, "{top_k_accuracy: @0.9}", "write {k: 5, min: 0.9}"),
    (LABELLED, "{mean_absolute_error: @3}", "expected a mapping, got the number 3; write {max: 3}"),
    (LABELLED, "{@mae: {}}", "unknown key 'mae'; it is `mean_absolute_error`"),
    (LABELLED, "{@MSE: {}}", "it is `mean_squared_error`"),
    (LABELLED, "{@f1_score: {}}", "it is `f1`"),
    (LABELLED, "{@wer: {}}", "it is `word_error_rate`"),
    (LABELLED, "{@iou: {}}", "it is `mean_iou`"),
    (LABELLED, "{@top_k: {}}", "it is `top_k_accuracy`"),
    (LABELLED, "{@top_5: {}}", "it is `top_k_accuracy: {k: 5}`"),
    (LABELLED, "{@roc_auc: {}}", "it is `auc`"),
    (LABELLED, "{@mAP: {}}", "by a function of your own: `python: {function: score.py:NAME}`"),
    (LABELLED, "{accuracy: {max_drop: @1}}", "accuracy cannot fall by more than 1; 1 % is 0.01"),
    (LABELLED, "{f1: {max_drop_from_last: @1.0}}", "max_drop_from_last: 1 can never fail"),
    (LABELLED, "{auc: {min: @0}}", "min: 0 can never fail: auc is never below 0; remove it"),
    (LABELLED, "{accuracy: {@k: 5}}", "unknown key 'k'"),
    (LABELLED, "{top_k_accuracy: @{min: 0.5}}", "has no `k`; write k: 5"),
    (LABELLED, "{f1: {average: macro, @positive: 1}}", "`positive` has no effect with average"),
    (LABELLED, "{f1: {average: @mikro}}", "did you mean 'micro'"),
    (LABELLED, "{auc: {@average: macro, positive: 1}}", "no effect with positive"),
    (LABELLED, "{word_error_rate: {@ctc: true}}", "`ctc` has no effect without vocabulary"),
    (
        LABELLED, "{word_error_rate: {vocabulary: data/l.txt, @blank: 0}}",
        "`blank` has no effect without ctc: true",
    ),
    (LABELLED, "{word_error_rate: {vocabulary: @data/no.txt}}", "no such file"),
    (LABELLED, "{accuracy: {@labels: y}}", "`labels` has no effect"),
    (SEVERAL, "{@accuracy: {}}", "takes one array of labels, and data.test.labels has boxes, cl"),
    (SEVERAL, "{accuracy: {labels: @clases}}", "did you mean 'classes'"),
    (LABELLED, "{python: @{values: {a: {}}}}", "python has no `function`"),
    (LABELLED, "{python: {function: @score.py:scor}}", "has no function 'scor'"),
    (
        LABELLED, "{python: {function: score.py:score, values: {@f1: {}}}}",
        "'f1' is a metric of tflbuild",
    ),
    (
        LABELLED, "{python: {function: score.py:score, values: {a: {min: @2, max: 1}}}}",
        "min is above max",
    ),
    (LABELLED, "{python: {function: score.py:score, @output: y}}", "unknown key 'output'"),
    ("    data: {test: {images: {folder: models}, labels: @{a: b}}}\n", "{accuracy: {}}",
     "with images, labels are classes"),
    ("", "{@python: {function: score.py:score}}", "data.test is missing"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "metrics", "says"), WRONG, ids=[w[1] for w in WRONG])
def test_one_line_with_place_and_remedy(load: Load, data: str, metrics: str, says: str) -> None:
    before = f"{HEAD}{data}    validate: {{metrics: {metrics}".split("@")[0].split("\n")
    with pytest.raises(ManifestErrors) as caught:
        shipped(load, metrics.replace("@", ""), data.replace("@", ""))
    lines = str(caught.value).splitlines()
    place = f"{len(before)}:{len(before[-1]) + 1}"
    assert lines[0].startswith(f"tflbuild.yaml:{place}: "), lines
    assert says in lines[0]
