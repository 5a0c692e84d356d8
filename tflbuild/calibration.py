"""Calibration data of a conversion, signature by signature, for both quantizers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tflbuild import data
from tflbuild.data_errors import declared
from tflbuild.stages.base import Request

NOT_REPRESENTATIVE = "calibrated on random data, which is not representative"


def load(request: Request, signatures: Sequence[Mapping[str, Any]]) -> list[data.Samples]:
    """The data of each signature, in their order. Raises TaskError."""
    several = len(signatures) > 1
    found = []
    for index, signature in enumerate(signatures):
        files, params = request.files(f"calibration.{index}"), request.params["calibration"][index]
        with declared("calibration", "calibration", signature["signature"] if several else None):
            found.append(data.load(params, files, signature["inputs"], "calibration"))
    return found


def described(
    signatures: Sequence[Mapping[str, Any]], samples: Sequence[data.Samples]
) -> tuple[list[dict[str, Any]], list[str]]:
    """What `convert.json` says of the data, and what a person should know about them."""
    entries = [
        {
            "signature": signature["signature"],
            "samples": its.count,
            "representative": its.representative,
            "ranges": its.ranges(),
        }
        for signature, its in zip(signatures, samples, strict=True)
    ]
    warnings = [warning for its in samples for warning in its.warnings]
    if not all(its.representative for its in samples):
        warnings.append(NOT_REPRESENTATIVE)
    return entries, warnings
