"""Is it the calibration? What ranges tell of the data that they came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

SATURATED = 0.01  # share of a tensor's values outside its range, from which on it is cut off
WIDE = 1 / 8  # share of its range that the data reach over, below which it is far too wide
MOST = 0.6  # share of the layers with ranges of their own that have to show it


def calibration_fault(
    signatures: Sequence[Mapping[str, Any]],
    calibrations: Sequence[Mapping[str, Any]] | None = None,
) -> list[str]:
    """Why the calibration data is the likely fault, in sentences; none where nothing says so.

    Args:
        signatures: of the stage `debug`.
        calibrations: by signature, what convert says of the data (`ranges` by input).
    """
    found = []
    several = len(signatures) > 1
    for number, told in enumerate(signatures):
        where = f" of signature {told['signature']!r}" if several else ""
        ranges = {}
        if calibrations and number < len(calibrations):
            ranges = calibrations[number].get("ranges", {})
        found += [
            sentence
            for entry in told["inputs"]
            if (sentence := _input(entry, ranges.get(entry["name"]), where))
        ]
        own = [x for x in told["layers"] if x["file_range"] and not x["passes_range"]]
        cut = [x for x in own if (x["saturated"] or 0.0) > SATURATED]
        wide = [x for x in own if x["range_used"] is not None and x["range_used"] < WIDE]
        if len(own) > 1 and len(cut) >= MOST * len(own):
            found.append(
                f"{len(cut)} of {len(own)} layers with a range of their own{where} saturate on the"
                " test data: their values are larger than calibration saw"
            )
        elif len(own) > 1 and len(wide) >= MOST * len(own):
            found.append(
                f"{len(wide)} of {len(own)} layers with a range of their own{where} use less than"
                f" 1/{round(1 / WIDE)} of it on the test data: their values are smaller than"
                " calibration saw"
            )
    return found


def _input(entry: Mapping[str, Any], calibrated: Sequence[float] | None, where: str) -> str:
    """ "" for an input whose range fits the data."""
    data = entry["data_range"]
    if data is None or entry["file_range"] is None:
        return ""
    low, high = calibrated or entry["file_range"]
    how = "was calibrated on" if calibrated else "can hold"
    reach = f"input {entry['name']!r}{where} {how} {low:g} to {high:g}, and the test data reach"
    reach += f" {data[0]:g} to {data[1]:g}"
    if (entry["saturated"] or 0.0) > SATURATED:
        return f"{reach}: {entry['saturated']:.1%} of the values lie outside and saturate"
    if entry["range_used"] is not None and entry["range_used"] < WIDE:
        return f"{reach}: they use {entry['range_used']:.1%} of the range, and few of its steps"
    return ""


REMEDY = (
    "prepare the calibration data as the test data are (the same scaling), and build again; "
    "keep_float only hides it"
)
