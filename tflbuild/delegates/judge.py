"""Coverage against what a target's accelerator asks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from tflbuild.tflite.layer_names import shown_layer

_LISTED = 3
_WHAT = {"macs": "MACs", "ops": "operators"}


class Limits(Protocol):
    """What the manifest says of one accelerator; None: nothing. Fractions are from 0 to 1."""

    @property
    def name(self) -> str: ...
    @property
    def min_ops(self) -> float | None: ...
    @property
    def min_macs(self) -> float | None: ...
    @property
    def max_partitions(self) -> int | None: ...


def judge(coverage: Mapping[str, Any], accelerator: Limits) -> list[str]:
    """Messages for what is missed; empty when the file is as it is wanted.

    With no limit at all everything must be taken, in one partition: who names an accelerator and
    says no more expects the model to run on it. With some limits those alone hold. Without
    `max_partitions` a share is that of the partitions which the delegate takes when the app sets
    nothing: for the GPU, the largest alone.

    A file with several signatures is as it is wanted when each of them is; messages name it.

    Args:
        coverage: what `of_file()` or `coverage()` gave.
        accelerator: the limits.
    """
    entries = [coverage, *coverage.get("others", ())]
    return [message for entry in entries for message in _judge(entry, accelerator)]


def _judge(coverage: Mapping[str, Any], accelerator: Limits) -> list[str]:
    key = coverage.get("signature", "")
    name = f"{accelerator.name} in signature '{key}'" if key else accelerator.name
    if coverage["blocked"]:
        why = f"{coverage['blocked']}{_pinned(coverage)}"
        return [f"{name} takes nothing of the model: {why}"]
    least = {"macs": accelerator.min_macs, "ops": accelerator.min_ops}
    most = accelerator.max_partitions
    if most is None and set(least.values()) == {None}:
        return _everything(coverage, name, accelerator.name)
    breaks, found = _breaks(coverage), []
    shares = coverage if most is not None else coverage["by_default"]
    for kind, limit in least.items():
        share = shares[f"share_{kind}"]
        if limit is None or share is None or share >= limit:
            continue
        text = (
            f"{name} takes {_percent(share)} of the {_WHAT[kind]}"
            f" (min_{kind} {_percent(limit)}): {breaks}"
        )
        if (whole := coverage[f"share_{kind}"]) >= limit:
            text += (
                f". That is its largest partition, all {coverage['partitions']} have"
                f" {_percent(whole)}: if the app sets max_delegated_partitions, write"
                f" max_partitions: {coverage['partitions']}"
            )
        found.append(text)
    if most is not None and coverage["partitions"] > most:
        found.append(
            f"{name} gets {coverage['partitions']} partitions (max_partitions {most}): {breaks}"
        )
    return found


def _everything(coverage: Mapping[str, Any], name: str, key: str) -> list[str]:
    delegated, ops, pieces = coverage["delegated"], coverage["ops"], coverage["partitions"]
    breaks = _breaks(coverage)
    if delegated == ops and pieces <= 1:
        return []
    if not delegated:
        return [f"{name} takes none of the {ops} operators: {breaks}"]
    kind = "ops" if coverage["share_macs"] in (None, 1.0) else "macs"
    share = coverage[f"share_{kind}"]
    accepted = [f"min_{kind}: {int(share * 100 + 1e-9) / 100:g}"] if share < 1.0 else []
    accepted += [f"max_partitions: {pieces}"] if pieces > 1 else []
    split = f", in {pieces} partitions" if pieces > 1 else ""
    return [
        f"{name} takes {delegated} of {ops} operators{split}: {breaks}."
        f" To accept less, write {key}: {{{', '.join(accepted)}}}"
    ]


def _breaks(coverage: Mapping[str, Any]) -> str:
    """What breaks, in few words: ARG_MAX in 'classes' (×1): why; …"""
    breaks = coverage["breaks"]
    shown = [
        f"{entry['op']} in {shown_layer(entry['layer'])!r} (×{entry['count']}): {entry['why']}"
        for entry in breaks[:_LISTED]
    ]
    more = len(breaks) - len(shown)
    return "; ".join(shown) + (f"; and {more} more" if more > 0 else "")


def _pinned(coverage: Mapping[str, Any]) -> str:
    """What a fixed batch would give."""
    if not (pinned := coverage["pinned"]):
        return ""
    kind = "ops" if pinned["share_macs"] is None else "macs"
    share, pieces = _percent(pinned[f"share_{kind}"]), pinned["partitions"]
    split = f", in {pieces} partitions" if pieces > 1 else ""
    return f" (a batch of 1 gives at least {share} of the {_WHAT[kind]}{split})"


def _percent(share: float) -> str:
    """Downwards, so that a missed limit never looks like one that is kept."""
    return f"{int(share * 10_000 + 1e-6) / 100:g} %"
