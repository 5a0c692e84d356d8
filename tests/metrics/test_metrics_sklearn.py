"""Every metric against scikit-learn's, on the whole arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from metric_cases import Array, value
from sklearn import metrics as sk

TIES = st.sampled_from([-1.0, 0.0, 0.25, 0.5, 0.75, 1.0])


@st.composite
def scored(draw: st.DrawFn, least: int = 1, most: int = 5) -> tuple[Array, Array]:
    """Labels (n,) and scores (n, classes), full of ties; classes may be absent."""
    samples, classes = draw(st.integers(1, 12)), draw(st.integers(least, most))
    labels = draw(st.lists(st.integers(0, max(classes, 2) - 1), min_size=samples, max_size=samples))
    scores = draw(st.lists(TIES, min_size=samples * classes, max_size=samples * classes))
    shape = (samples, classes, 1) if draw(st.booleans()) else (samples, classes)
    return np.array(labels), np.array(scores, np.float32).reshape(shape)


def classes_of(scores: Array) -> Array:
    flat = scores.reshape(len(scores), -1)
    if flat.shape[1] == 1:
        return (flat[:, 0] > 0.5).astype(int)
    return np.array([row.tolist().index(max(row.tolist())) for row in flat])


@given(scored())
@settings(deadline=None, max_examples=60)
def test_accuracy(case: tuple[Array, Array]) -> None:
    labels, scores = case
    wanted = sk.accuracy_score(labels, classes_of(scores))
    assert value("accuracy", labels, scores) == pytest.approx(wanted, abs=1e-12)
    hot = np.eye(max(2, scores.shape[1]))[labels]
    assert value("accuracy", hot, scores) == pytest.approx(wanted, abs=1e-12)


@given(scored(least=3, most=6), st.integers(1, 2))
@settings(deadline=None, max_examples=60)
def test_top_k(case: tuple[Array, Array], k: int) -> None:
    labels, scores = case
    flat = scores.reshape(len(scores), -1)
    wanted = sk.top_k_accuracy_score(labels, flat, k=k, labels=range(flat.shape[1]))
    assert value("top_k_accuracy", labels, scores, k=k) == pytest.approx(wanted, abs=1e-12)


SCORERS = {"precision": sk.precision_score, "recall": sk.recall_score, "f1": sk.f1_score}


@given(scored(), st.sampled_from([*SCORERS]), st.sampled_from(["macro", "micro", "weighted"]))
@settings(deadline=None, max_examples=80)
def test_scores_of_all_classes(case: tuple[Array, Array], name: str, average: str) -> None:
    labels, scores = case
    wanted = SCORERS[name](labels, classes_of(scores), average=average, zero_division=0)
    assert value(name, labels, scores, average=average) == pytest.approx(wanted, abs=1e-12)


@given(scored(least=1, most=4), st.sampled_from([*SCORERS]), st.sampled_from([0, 1]))
@settings(deadline=None, max_examples=80)
def test_scores_of_one_class(case: tuple[Array, Array], name: str, positive: int) -> None:
    labels, scores = case
    flat = scores.reshape(len(scores), -1)
    wanted = SCORERS[name](labels == positive, classes_of(scores) == positive, zero_division=0)
    found = value(name, labels, scores, positive=positive)
    assert found == pytest.approx(wanted, abs=1e-12)
    if flat.shape[1] > 1 or positive == 1:
        column = flat[:, 0] if flat.shape[1] == 1 else flat[:, positive]
        wanted = SCORERS[name](labels == positive, column > 0.25, zero_division=0)
        found = value(name, labels, scores, positive=positive, threshold=0.25)
        assert found == pytest.approx(wanted, abs=1e-12)


def test_two_classes_are_binary_by_themselves() -> None:
    labels, scores = np.array([0, 1, 1, 0]), np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0, 1]])
    for name, scorer in SCORERS.items():
        assert value(name, labels, scores) == scorer(labels, scores.argmax(axis=1))
        assert value(name, labels, scores[:, 1:]) == scorer(labels, scores[:, 1] > 0.5)


@given(scored(least=1, most=2))
@settings(deadline=None, max_examples=60)
def test_area_of_two_classes(case: tuple[Array, Array]) -> None:
    labels, scores = case
    assume(0 < labels.sum() < len(labels))
    flat = scores.reshape(len(scores), -1)
    wanted = sk.roc_auc_score(labels, flat[:, -1])
    assert value("auc", labels, scores) == pytest.approx(wanted, abs=1e-12)


@given(
    scored(least=3, most=4), st.sampled_from(["ovr", "ovo"]), st.sampled_from(["macro", "weighted"])
)
@settings(deadline=None, max_examples=60)
def test_area_of_more_classes(case: tuple[Array, Array], multi_class: str, average: str) -> None:
    labels, scores = case
    flat = scores.reshape(len(scores), -1)
    classes = flat.shape[1]
    labels = np.concatenate([labels, np.arange(classes)])
    flat = np.concatenate([flat, np.eye(classes, dtype=np.float32)])
    rows = np.exp(flat.astype(float))
    rows /= rows.sum(axis=1, keepdims=True)
    wanted = sk.roc_auc_score(labels, rows, multi_class=multi_class, average=average)
    found = value("auc", labels, rows, multi_class=multi_class, average=average)
    assert found == pytest.approx(wanted, abs=1e-12)
    one = value("auc", labels, flat, positive=2)
    assert one == pytest.approx(sk.roc_auc_score(labels == 2, flat[:, 2]), abs=1e-12)


def test_area_does_not_ask_for_probabilities() -> None:
    """What an int8 file gives does not add up to 1."""
    labels = np.array([0, 1, 2, 2])
    scores = np.array([[9.0, 1, 0], [3, 4, 0], [0, 1, 7], [0, 0, 1]])
    assert value("auc", labels, scores) == 1.0


@st.composite
def maps(draw: st.DrawFn) -> tuple[Array, Array, int]:
    """Labels (n, h, w) with ignored places, scores (n, h, w, classes)."""
    samples, classes = draw(st.integers(1, 4)), draw(st.integers(2, 4))
    places = samples * 2 * 3
    labels = draw(
        st.lists(st.sampled_from([*range(classes), 255]), min_size=places, max_size=places)
    )
    scores = draw(st.lists(TIES, min_size=places * classes, max_size=places * classes))
    shaped = np.array(labels).reshape(samples, 2, 3)
    return shaped, np.array(scores, np.float32).reshape(samples, 2, 3, classes), classes


@given(maps())
@settings(deadline=None, max_examples=60)
def test_mean_iou(case: tuple[Array, Array, int]) -> None:
    labels, scores, classes = case
    assume((labels == 255).any() and not (labels == 255).all())
    counts = labels != 255
    found = scores.argmax(axis=-1)
    wanted = sk.jaccard_score(labels[counts], found[counts], average="macro")
    same: dict[str, Any] = {"ignore": 255}
    assert value("mean_iou", labels, scores, **same) == pytest.approx(wanted, abs=1e-12)
    by_channel = np.moveaxis(scores, -1, 1)
    assert value("mean_iou", labels, by_channel, axis=1, **same) == pytest.approx(wanted, abs=1e-12)
    numbers = found.astype(np.int32)
    other = value("mean_iou", labels, numbers, classes=classes, **same)
    assert other == pytest.approx(wanted, abs=1e-12)


def test_mean_iou_of_one_channel() -> None:
    labels = np.array([[[0, 1], [1, 1]]])
    scores = np.array([[[0.2, 0.9], [0.4, 0.6]]], np.float32)[..., None]
    wanted = sk.jaccard_score(labels.ravel(), scores.ravel() > 0.5, average="macro")
    assert value("mean_iou", labels, scores) == pytest.approx(wanted)
    wanted = sk.jaccard_score(labels.ravel(), scores.ravel() > 0.3, average="macro")
    assert value("mean_iou", labels, scores, threshold=0.3) == pytest.approx(wanted)


REAL = st.floats(-1e6, 1e6, width=32)


@given(st.integers(1, 6), st.sampled_from([(), (1,), (2, 3)]), st.data(), st.sampled_from([1, 2]))
@settings(deadline=None, max_examples=60)
def test_errors(samples: int, shape: tuple[int, ...], data: st.DataObject, power: int) -> None:
    size = samples * int(np.prod(shape))
    drawn = [data.draw(st.lists(REAL, min_size=size, max_size=size)) for _ in range(2)]
    labels, output = (np.array(one, np.float32).reshape(samples, *shape) for one in drawn)
    name, scorer = {
        1: ("mean_absolute_error", sk.mean_absolute_error),
        2: ("mean_squared_error", sk.mean_squared_error),
    }[power]
    exact = [one.ravel().astype(float) for one in (labels, output)]
    wanted = scorer(*exact)
    assert value(name, labels, output) == pytest.approx(wanted, rel=1e-9, abs=1e-12)
    if shape == (1,):
        assert value(name, labels.ravel(), output) == pytest.approx(wanted, rel=1e-9, abs=1e-12)
