"""`word_error_rate`: words substituted, left out and put in, over the words of the labels, of all
samples together. jiwer (the extra `wer`) counts them, with its default transformation: words are
what spaces separate.

Labels are text. The output is text of each sample; or, with `vocabulary` (a text file, a token on
each line, from class 0 on), scores (n, steps, classes) or class numbers (n, steps), whose tokens
are joined: `▁` and `|` in them are spaces. With `ctc: true` equal classes that follow one another
are one, then those of class `blank` (the last) are left out: the greedy decoding of A. Graves et
al., "Connectionist temporal classification", ICML 2006.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tflbuild.errors import TaskError
from tflbuild.metrics.base import Evidence, Settings, Spec, WrongLabels, no_shares, rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

NAME = "word_error_rate"
HIGHER_IS_BETTER = False
SHARE = False
MODULE = "jiwer"
SPACES = ("▁", "|")  # that tokenizers write for a space
LONGEST = 1 << 24  # bytes of a vocabulary
MOST_TOKENS = 1_000_000
shares = no_shares


def prepare(params: Mapping[str, Any], inputs: Mapping[str, Path]) -> dict[str, Any]:
    """With the tokens of the vocabulary for its input's name."""
    name = params.get("vocabulary")
    if name is None:
        return dict(params)
    if inputs[name].stat().st_size > LONGEST:
        raise TaskError(f"the vocabulary is larger than {LONGEST} bytes", key=_VOCABULARY)
    try:
        lines = inputs[name].read_bytes().decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise TaskError("the vocabulary is not UTF-8 text", key=_VOCABULARY) from error
    if lines and not lines[-1]:
        lines.pop()
    tokens = [line.removesuffix("\r") for line in lines]
    if not tokens or len(tokens) > MOST_TOKENS:
        raise TaskError(
            f"the vocabulary has {len(tokens)} lines; a token on each is needed", key=_VOCABULARY
        )
    return {**params, "vocabulary": tokens}


_VOCABULARY = f"validate.metrics.{NAME}.vocabulary"


def check(settings: Settings, output: Spec, labels: Any) -> None:
    _jiwer()
    name, shape, dtype = output["name"], list(output["shape"]), output["dtype"]
    if labels.dtype.kind not in "SUO" or labels.size != len(labels):
        raise WrongLabels(
            f"{NAME}: labels are a text of each sample, not {labels.dtype} of shape"
            f" {list(labels.shape)}"
        )
    for sample, label in enumerate(labels.reshape(-1).tolist()):
        text = _text(label)
        if text is None:
            raise WrongLabels(f"{NAME}: the label of sample {sample} is not UTF-8 text")
    if not any((_text(label) or "").split() for label in labels.reshape(-1).tolist()):
        raise WrongLabels(f"{NAME}: no label holds a word")
    tokens: Sequence[str] | None = settings.get("vocabulary")
    if _is_text(dtype):
        for key in ("vocabulary", "ctc", "blank"):
            if settings.get(key) is not None:
                raise TaskError(
                    f"{NAME}: {key} has no effect: output {name!r} is text; remove it", key=key
                )
        if len(shape) > 1 and any(size != 1 for size in shape[1:]):
            raise TaskError(
                f"{NAME}: output {name!r} of shape {shape} is not one text of each sample",
                key="output",
            )
        return
    if tokens is None:
        raise TaskError(
            f"{NAME}: output {name!r} is {dtype}, no text; say by vocabulary: FILE what its classes"
            " mean",
            key=".",
        )
    scores = dtype.startswith(("float", "bfloat"))
    if len(shape) < (3 if scores else 2):
        raise TaskError(
            f"{NAME}: output {name!r} of shape {shape} has no axis of steps"
            + (" and classes" if scores else ""),
            key="output",
        )
    classes = shape[-1] if scores else len(tokens)
    if classes != len(tokens):
        raise TaskError(
            f"{NAME}: the vocabulary has {len(tokens)} tokens, output {name!r} has {classes}"
            " classes",
            key="vocabulary",
        )
    blank = settings.get("blank")
    if blank is not None and blank >= classes:
        raise TaskError(
            f"{NAME}: blank: {blank} is no class of output {name!r}, which has {classes}"
            f" (0 to {classes - 1})",
            key="blank",
        )


def _is_text(dtype: str) -> bool:
    return dtype == "string" or dtype.lstrip("<>|=").startswith(("S", "U", "O", "str", "bytes"))


def _jiwer() -> Any:
    try:
        import jiwer
    except ImportError as error:
        raise TaskError(
            f"{NAME} needs jiwer, which is not installed: pip install 'tflbuild[wer]'", key="."
        ) from error
    return jiwer


def evidence(settings: Settings, output: Array, labels: Array) -> dict[str, Array]:
    """Of each sample: wrong words, and words of its label."""
    import numpy as np

    jiwer = _jiwer()
    found = []
    for said, label in zip(_said(settings, output), labels.reshape(-1).tolist(), strict=True):
        counts = jiwer.process_words(_text(label) or "", said)
        wrong = counts.substitutions + counts.deletions + counts.insertions
        found.append((wrong, counts.hits + counts.substitutions + counts.deletions))
    table = np.array(found, np.int64).reshape(-1, 2)
    return {"wrong": table[:, 0], "words": table[:, 1]}


def _text(value: Any) -> str | None:
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            return None
    return value if isinstance(value, str) else None


def _said(settings: Settings, output: Array) -> list[str]:
    """What the model says of each sample. Bytes that are no text are words like others."""
    if output.dtype.kind in "SUO":
        values = output.reshape(-1).tolist()
        return [v.decode("utf-8", "replace") if isinstance(v, bytes) else str(v) for v in values]
    tokens: Sequence[str] = settings["vocabulary"]
    numbers = output.argmax(axis=-1) if output.dtype.kind == "f" else output
    blank = settings.get("blank")
    return [
        decoded(row, tokens, len(tokens) - 1 if blank is None else blank, bool(settings.get("ctc")))
        for row in rows(numbers).tolist()
    ]


def decoded(classes: Sequence[int], tokens: Sequence[str], blank: int, ctc: bool) -> str:
    """The text of one sample's classes. Classes beyond the vocabulary say nothing."""
    said = []
    before: int | None = None
    for number in classes:
        if not ctc or (number != before and number != blank):
            said.append(tokens[number] if 0 <= number < len(tokens) else "")
        before = number
    text = "".join(said)
    for space in SPACES:
        text = text.replace(space, " ")
    return text


def score(settings: Settings, evidence: Evidence) -> float:
    return float(evidence["wrong"].sum() / evidence["words"].sum())


def resampled(settings: Settings, evidence: Evidence, counts: Array) -> Array:
    import numpy as np

    wrong, words = (counts @ evidence[name].astype(float) for name in ("wrong", "words"))
    found: Array = np.divide(wrong, words, out=np.full_like(wrong, np.nan), where=words > 0)
    return found
