"""The Protocol behind which each metric stands, and what metrics share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from tflbuild.errors import TaskError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

Settings = Mapping[str, Any]  # of one metric: `name`, `output`, `labels`, and its own by name
Spec = Mapping[str, Any]  # an output of all samples, as reference.json has it: name, dtype, shape
Evidence = Mapping[str, "Array"]  # arrays whose first axis counts samples


class WrongLabels(TaskError):
    """The labels do not serve a metric; `key` is the place of the labels in the manifest."""


class Metric(Protocol):
    """One metric: one module in this package.

    Samples are measured in chunks, perhaps in several processes: what a chunk says of each of its
    samples is its evidence; the evidence of all chunks, one behind the other, gives the score.
    """

    NAME: str  # the manifest's key
    HIGHER_IS_BETTER: bool
    SHARE: bool  # from 0 to 1, and 1 is perfect

    def check(self, settings: Settings, output: Spec, labels: Any) -> None:
        """Before anything runs. `labels`: an array of all samples. Raises TaskError, its `key`
        relative to the metric's section ("k"), and WrongLabels."""
        ...

    def evidence(self, settings: Settings, output: Array, labels: Array) -> dict[str, Array]:
        """What some samples say, a row for each: small. `output`: (n, ...), real values."""
        ...

    def score(self, settings: Settings, evidence: Evidence) -> float:
        """The metric of all samples."""
        ...

    def resampled(self, settings: Settings, evidence: Evidence, counts: Array) -> Array:
        """Scores (B,) of B resamples. `counts` (B, n): how often a resample holds each sample.
        NaN where a resample has no score."""
        ...

    def shares(self, settings: Settings, evidence: Evidence) -> tuple[Array, Array] | None:
        """Where the metric is a share of samples: which are hits, and which count at all (n,);
        None where it is not."""
        ...


def rows(output: Array) -> Array:
    """An output of some samples as (n, values of each)."""
    flat: Array = output.reshape(len(output), -1)
    return flat


PART = 1 << 22  # elements of labels that are looked at at once


def parts(labels: Array) -> Iterator[tuple[int, Array]]:
    """Labels bit by bit, and the sample that each begins with: a label for each place of an image
    makes an array as large as its file, of which each comparison would make another one."""
    step = max(1, PART // max(1, labels[:1].size))
    for start in range(0, len(labels), step):
        yield start, labels[start : start + step]


def width(output: Spec) -> int:
    """Values that an output has of each sample."""
    size = 1
    for length in output["shape"][1:]:
        size *= length
    return size


def no_shares(settings: Settings, evidence: Evidence) -> None:
    """`Metric.shares` of a metric that is no share of samples."""
    return
