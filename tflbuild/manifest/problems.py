"""Collecting what is wrong, so that one run names many errors rather than the first."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from tflbuild.errors import ManifestError, ManifestErrors, Position

SHOWN = 20


class Problems:
    """The errors found so far; a value shared by many models is reported once."""

    def __init__(self) -> None:
        self._found: dict[tuple[Position | None, str], ManifestError] = {}

    def add(self, message: str, position: Position) -> None:
        self.take(ManifestError(message, position))

    def take(self, error: ManifestError) -> None:
        self._found.setdefault((error.position, error.message), error)

    def __len__(self) -> int:
        return len(self._found)

    def raise_any(self) -> None:
        """Raises ManifestErrors if anything was found."""
        if (errors := self.errors()) is not None:
            raise errors

    def errors(self) -> ManifestErrors | None:
        """What was found, sorted by position and not endless; None for nothing."""
        nowhere = Position("", 0, 0)
        errors = sorted(self._found.values(), key=lambda e: (e.position or nowhere, e.message))
        if len(errors) > SHOWN:
            errors = [*errors[:SHOWN], ManifestError(f"… and {len(errors) - SHOWN} more")]
        return ManifestErrors(errors) if errors else None


def nearest(name: str, known: Iterable[str]) -> str:
    """The words that suggest the nearest known name, or nothing."""
    folded = {k.casefold(): k for k in known}
    match = difflib.get_close_matches(name[:100].casefold(), list(folded), n=1, cutoff=0.6)
    return f"; did you mean {folded[match[0]]!r}?" if match else ""
