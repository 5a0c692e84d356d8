"""The JSON Schemas (2020-12) of everything that tflbuild reads and writes for others."""

from __future__ import annotations

from pathlib import Path

SUFFIX = ".schema.json"


def names() -> list[str]:
    """The manifest's schema is `tflbuild`; the others are named after what they describe."""
    here = Path(__file__).parent
    return sorted(path.name.removesuffix(SUFFIX) for path in here.glob(f"*{SUFFIX}"))


def text(name: str) -> str:
    """A schema's text. Raises OSError for a name that is not in `names()`."""
    return (Path(__file__).parent / f"{name}{SUFFIX}").read_text()
