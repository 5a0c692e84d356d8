"""`mean_absolute_error`: the mean distance of outputs and labels. See `regression`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tflbuild.metrics import regression
from tflbuild.metrics.base import Settings, Spec, no_shares
from tflbuild.metrics.regression import resampled, score

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

__all__ = ["HIGHER_IS_BETTER", "NAME", "SHARE", "check", "evidence", "resampled", "score", "shares"]

NAME = "mean_absolute_error"
HIGHER_IS_BETTER = False
SHARE = False
shares = no_shares


def check(settings: Settings, output: Spec, labels: Any) -> None:
    regression.check(NAME, output, labels)


def evidence(settings: Settings, output: Array, labels: Array) -> dict[str, Array]:
    return regression.evidence(output, labels, power=1)
