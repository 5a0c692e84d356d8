"""Word error rate against jiwer's own, and what stands between classes and words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jiwer
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from metric_cases import evidence, measured, spec, value

from tflbuild import metrics
from tflbuild.errors import TaskError
from tflbuild.metrics.word_error_rate import decoded

NAME = "word_error_rate"
text = st.lists(st.sampled_from(["a", "b", "ein", "größer", ""]), max_size=5).map(" ".join)


@given(st.lists(st.tuples(text, text), min_size=1, max_size=8))
@settings(deadline=None, max_examples=80)
def test_as_jiwer_counts(pairs: list[tuple[str, str]]) -> None:
    labels, said = ([one[side] for one in pairs] for side in (0, 1))
    assume(any(label.split() for label in labels))
    wanted = jiwer.wer(labels, said)
    outputs = np.array([one.encode() for one in said])
    assert value(NAME, np.array(labels), outputs) == pytest.approx(wanted)
    assert value(NAME, np.array([one.encode() for one in labels]), outputs) == pytest.approx(wanted)


@given(st.lists(st.integers(0, 3), max_size=12))
@settings(deadline=None)
def test_ctc(classes: list[int]) -> None:
    """By the definition of the collapse: repeated classes first, then blanks."""
    tokens = ["a", "b", "|", ""]
    once = [c for i, c in enumerate(classes) if i == 0 or classes[i - 1] != c]
    wanted = "".join(tokens[c] for c in once if c != 3).replace("|", " ")
    assert decoded(classes, tokens, 3, ctc=True) == wanted
    plain = "".join(tokens[c] for c in classes).replace("|", " ")
    assert decoded(classes, tokens, 3, ctc=False) == plain


def prepared(folder: Path, tokens: str, **more: Any) -> dict[str, Any]:
    (folder / "v").write_text(tokens, encoding="utf-8")
    params = {"name": NAME, "output": None, "vocabulary": "v", **more}
    return metrics.prepare(params, {"v": folder / "v"}, ["y"])


def test_from_scores_by_a_vocabulary(tmp_path: Path) -> None:
    own = prepared(tmp_path, "▁hi\n▁you\n<blank>\n", ctc=True)
    steps = np.array([[0, 0, 2, 1, 1], [2, 1, 2, 1, 2]])
    labels = np.array(["hi you", "you"])
    scores = np.eye(3, dtype=np.float32)[steps]
    metrics.check(own, {"y": spec(scores)}, labels)
    found = evidence(own, scores, labels)
    assert {name: array.tolist() for name, array in found.items()} == {
        "wrong": [0, 1], "words": [2, 1],
    }  # fmt: skip
    whole = steps.astype(np.int32)
    metrics.check(own, {"y": spec(whole)}, labels)
    assert evidence(own, whole, labels)["wrong"].tolist() == [0, 1]


@pytest.mark.parametrize(
    ("tokens", "shape", "more", "says"),
    [
        ("a\nb\n", (2, 4, 3), {}, "has 2 tokens, output 'y' has 3 classes"),
        ("a\nb\nc\n", (2, 4, 3), {"ctc": True, "blank": 3}, "blank: 3 is no class"),
        ("a\nb\nc\n", (2, 3), {}, "no axis of steps and classes"),
    ],
)
def test_wrong_vocabularies(
    tmp_path: Path, tokens: str, shape: tuple[int, ...], more: dict[str, Any], says: str
) -> None:
    own = prepared(tmp_path, tokens, **more)
    with pytest.raises(TaskError, match=says) as caught:
        metrics.check(own, {"y": spec(np.zeros(shape, "f"))}, np.array(["a", "b"]))
    assert caught.value.key.startswith(f"validate.metrics.{NAME}")
    (tmp_path / "v").write_bytes(b"\xff\n")
    with pytest.raises(TaskError, match="not UTF-8"):
        metrics.prepare({"name": NAME, "vocabulary": "v"}, {"v": tmp_path / "v"})


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (np.array([1, 2]), "labels are a text of each sample, not int64"),
        (np.array(["", " "]), "no label holds a word"),
        (np.array([b"a", b"\xff"]), "the label of sample 1 is not UTF-8"),
        (np.array([["a", "b"], ["c", "d"]]), "not <U1 of shape"),
    ],
)
def test_wrong_labels(labels: Any, says: str) -> None:
    with pytest.raises(TaskError, match=says) as caught:
        measured(NAME, labels, np.array([b"a", b"b"]))
    assert caught.value.key == "data.test.labels"


def test_a_number_is_no_text() -> None:
    with pytest.raises(TaskError, match="say by vocabulary: FILE"):
        measured(NAME, np.array(["a", "b"]), np.zeros((2, 4, 3), "f"))
