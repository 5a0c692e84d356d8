"""What is refused before anything runs, and how chunks are put together."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from metric_cases import Array, measured, spec

from tflbuild import metrics
from tflbuild.errors import TaskError
from tflbuild.metrics import base

N3 = np.array([0, 1, 2])
S3 = np.zeros((3, 3), "f")
M0, M2 = np.zeros((3, 4), int), np.zeros((3, 4, 2), "f")

WRONG: list[tuple[str, Array, Array, dict[str, Any], str, str]] = [
    ("accuracy", N3 + 0.4, S3, {}, r"label 0.4 of sample 0 is not a whole number", "L"),
    ("accuracy", np.array([0, np.nan, 2]), S3, {}, r"label nan of sample 1 is NaN", "L"),
    ("accuracy", np.array([0, 1, -np.inf], "f"), S3, {}, r"of sample 2 is NaN or infinite", "L"),
    ("accuracy", np.array([[0], [1], [1.5]]), S3, {}, r"label 1.5 of sample 2 is not a w", "L"),
    ("accuracy", np.array([0, 1e300, 1]), S3, {}, r"label 1e\+300 of sample 1 is no class", "L"),
    ("accuracy", np.eye(3)[[0, 1, 1]] * 2, S3, {}, r"row 0 does not hold exactly one 1", "L"),
    ("accuracy", np.array([[0, 1], [1, 1], [1, 0]]), S3, {}, r"one-hot, but row 1", "L"),
    ("accuracy", np.array([[0, 1], [1, 0], [0, 0]]), S3, {}, r"but row 2", "L"),
    ("accuracy", np.eye(3).reshape(3, 3, 1), S3, {}, r"must be class numbers .* float64", "L"),
    ("accuracy", np.array([["a", "b"]] * 3), S3, {}, r"not <U1 of shape \[3, 2\]", "L"),
    ("accuracy", np.array(["a", "b", "c"]), S3, {}, r"labels must be class numbers", "L"),
    ("accuracy", N3 + 1, S3, {}, r"labels reach from 1 to 3, output 'y' has 3 classes", "L"),
    ("accuracy", N3, S3[:2], {}, r"output 'y' gives 2 rows for 3 labels", "output"),
    ("accuracy", N3, S3, {"output": "z"}, r"no output 'z'; the model has \['y'\]", "output"),
    ("accuracy", N3, S3, {"labels": "a"}, r"data.test.labels is one array", "labels"),
    ("top_k_accuracy", N3, S3, {"k": 3}, r"every sample is right with k: 3", "k"),
    ("f1", N3, S3, {}, r"has 3 classes; give average: macro", ""),
    ("f1", N3, S3, {"average": "binary"}, r"has 3 classes; give average", ""),
    ("recall", N3, S3, {"positive": 3}, r"positive: 3 is no class of output 'y'", "positive"),
    ("precision", N3 % 2, S3[:, :1], {"positive": 0, "threshold": 0.1}, "two things", "threshold"),
    ("auc", N3 % 2, S3[:, :2], {"average": "macro"}, r"average has no effect", "average"),
    ("auc", N3, S3, {"positive": 1, "multi_class": "ovo"}, "multi_class has no eff", "multi_class"),
    ("auc", N3 % 2, S3[:, :1], {"positive": 1}, r"positive: 1 has no effect", "positive"),
    ("auc", N3 % 2, S3, {}, r"no sample is labelled class 2, so that its curve", "L"),
    ("auc", N3 % 2 * 2, S3, {"positive": 1}, r"no sample is labelled positive", "L"),
    ("auc", N3 * 0, S3[:, :2], {}, r"no sample is labelled class 1", "L"),
    ("mean_iou", M0, M2, {"axis": 3}, r"has no axis 3 of classes", "axis"),
    ("mean_iou", M0, M2, {"axis": 0}, r"has no axis 0 of classes", "axis"),
    ("mean_iou", np.zeros((3, 5), int), M2, {}, r"do not fit output", "L"),
    ("mean_iou", M0.astype("f"), M2, {}, r"not float32 of shape", "L"),
    ("mean_iou", M0 + 9, M2, {}, r"the label 9 in sample 0", "L"),
    ("mean_iou", M0, M2, {"ignore": 9}, r"ignore: 9 has no effect", "ignore"),
    ("mean_iou", M0, M2, {"classes": 3}, r"classes: 3, but output 'y' has 2", "classes"),
    ("mean_iou", M0, M0, {}, r"say how many classes", ""),
    ("mean_iou", M0, M0, {"classes": 2, "axis": 1}, r"axis has no effect", "axis"),
    ("mean_absolute_error", S3[:, :2], S3, {}, r"do not fit output 'y' of shape \[3, 3\]", "L"),
    ("mean_squared_error", np.array(["a"] * 3), S3, {}, r"labels are numbers, not <U1", "L"),
    ("mean_squared_error", S3 + np.inf, S3, {}, r"label of sample 0 has NaN or infinity", "L"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "labels", "output", "more", "says", "key"),
    WRONG,
    ids=[f"{c[0]}: {c[4]}" for c in WRONG],
)
def test_what_no_metric_can_be_of(
    name: str, labels: Array, output: Array, more: dict[str, Any], says: str, key: str
) -> None:
    with pytest.raises(TaskError, match=says) as caught:
        measured(name, labels, output, said=more)
    wanted = f"validate.metrics.{name}.{key}".rstrip(".")
    assert caught.value.key == ("data.test.labels" if key == "L" else wanted)
    assert "\n" not in str(caught.value)


def test_the_place_of_a_signature() -> None:
    own = {"name": "top_k_accuracy", "output": "y", "k": 3}
    with pytest.raises(TaskError) as caught:
        metrics.check(own, {"y": spec(S3)}, N3, "decode")
    assert caught.value.key == "validate.signatures.decode.metrics.top_k_accuracy.k"
    with pytest.raises(TaskError) as caught:
        metrics.check(own, {"y": spec(S3)}, N3 + 1, "decode")
    assert caught.value.key == "data.signatures.decode.test.labels"


def test_which_output_and_which_labels() -> None:
    own = {"name": "accuracy", "output": None}
    both = {"y": spec(S3), "z": spec(S3)}
    with pytest.raises(TaskError, match=r"outputs \['y', 'z'\]; name one: metrics.accuracy.output"):
        metrics.check(own, both, N3)
    several = {"a": N3, "b": S3}
    with pytest.raises(TaskError, match=r"has \['a', 'b'\]; choose one: metrics.accuracy.labels"):
        metrics.check(own, {"y": spec(S3)}, several)
    with pytest.raises(TaskError, match="no labels 'c'"):
        metrics.check({**own, "labels": "c"}, {"y": spec(S3)}, several)
    with pytest.raises(TaskError, match="accuracy needs labels"):
        metrics.check(own, {"y": spec(S3)}, None)
    metrics.check({**own, "labels": "a", "output": "z"}, both, several)
    chosen = metrics.evidence_of({**own, "labels": "a"}, {"y": np.eye(3)}, several)
    assert chosen["hit"].tolist() == [True] * 3


def test_large_evidence_goes_through_files(tmp_path: Path) -> None:
    outputs = {
        "y": np.arange(24.0).reshape(6, 4),
        "z": np.array([b"a", b"b", b"c", b"d", b"e", b"ff"]),
    }
    labels = {"l": np.arange(6), "empty": np.zeros((6, 0))}
    own = {"name": "python", "output": None}
    assert metrics.is_large(own)
    chunks = [
        metrics.evidence_of(
            own,
            {name: array[at : at + 4] for name, array in outputs.items()},
            {name: array[at : at + 4] for name, array in labels.items()},
        )
        for at in (0, 4)
    ]
    whole = metrics.evidence_of(own, outputs, labels)
    for merged in (metrics.merge(chunks), metrics.merge(iter(chunks), tmp_path / "new")):
        assert merged.keys() == whole.keys()
        for name, array in whole.items():
            assert merged[name].dtype == array.dtype
            assert merged[name].tolist() == array.tolist()
    assert isinstance(metrics.merge(chunks, tmp_path / "other")["output.y"], np.memmap)


def test_the_parent_needs_no_numpy() -> None:
    """Manifests, graphs and gates know metrics by name: a build with nothing to do stays quick."""
    code = (
        "import sys, tflbuild.metrics.inputs, tflbuild.metric_gate, tflbuild.graph;"
        "print([m for m in ('numpy', 'sklearn', 'scipy', 'jiwer') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("name", "given", "wrong", "said"),
    [
        ("mean_iou", np.uint8, 2, "the label 2 in sample 29"),
        ("mean_squared_error", np.float16, np.nan, "the label of sample 29 has NaN"),
    ],
)
def test_labels_of_places_are_looked_at_bit_by_bit(
    name: str, given: Any, wrong: Any, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may be as large as their file: nothing of that size is made of them."""
    monkeypatch.setattr(base, "PART", 3 << 16)
    labels = np.ones((30, 256, 256), given)
    shape = [30, 256, 256, *([2] if name == "mean_iou" else [])]
    output = {"name": "y", "dtype": "float32", "shape": shape}
    settings = {"name": name, "output": "y"}
    tracemalloc.start()
    try:
        metrics.check(settings, {"y": output}, labels)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < labels.size
    labels[29, 5, 7] = wrong
    with pytest.raises(TaskError, match=said):
        metrics.check(settings, {"y": output}, labels)
    if name == "mean_iou":  # what is ignored is counted over all of them
        metrics.check({**settings, "ignore": 2}, {"y": output}, labels)
