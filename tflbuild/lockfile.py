"""`tflbuild.lock`: the last release, as it is committed. docs/INTERFACE.md describes the file.

One line for each artifact, sorted, JSON in canonical form; a line for the format before them, and
an empty line between models, so that git merges changes of different models by itself. Each line
ends with a digest of itself: what a merge or a hand made of it is noticed.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tflbuild import interface as interfaces
from tflbuild.errors import UsageError, one_line
from tflbuild.store.digest import bytes_digest, canonical_json

LOCK = "tflbuild.lock"  # at the workspace root
VERSION = 1
DIGITS = 4  # significant ones of metrics and parity

_SHA256 = re.compile("[0-9a-f]{64}")
_ARTIFACT = re.compile(
    "[A-Za-z0-9][A-Za-z0-9._-]{0,99}:[A-Za-z0-9][A-Za-z0-9_]{0,49}@[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
)
_CHECK = "sum"
_CHECK_LENGTH = 12  # hex digits
_MARKERS = ("<<<<<<<", "=======", ">>>>>>>", "|||||||")
_MAX_SIZE = 256 * 1024 * 1024  # bytes; 10,000 artifacts take some 10 MB
_RENEW = "build, and run `tflbuild lock --update`"


@dataclass(frozen=True)
class Locked:
    """One released artifact."""

    artifact: str  # "model:optimization@target"
    recipe: str  # SHA-256 of versions of actions, parameters and input digests, without toolchain
    toolchain: Mapping[str, str]  # distribution, "python" or "machine" → version
    sha256: str  # of the file
    size: int  # bytes
    min_runtime: Mapping[str, str]  # numbering ("tensorflow", "litert") → version; known ones
    interface: Mapping[str, Any]  # as `interface.of_model` gives it
    metrics: Mapping[str, float] = field(default_factory=dict)  # by `metric_key`; 4 digits
    parity: Mapping[str, float] = field(default_factory=dict)  # SQNR (dB) by output, so named
    # too; 4 digits; without outputs that equal the source's or have no SQNR

    @property
    def target(self) -> str:
        return self.artifact.rpartition("@")[2]

    @property
    def model(self) -> str:
        return self.artifact.partition(":")[0]


def metric_key(signature: str, name: str, several: bool) -> str:
    """What a metric (or an output's parity) is called: its name; `SIGNATURE/name` where a model
    ships several signatures."""
    return f"{signature}/{name}" if several else name


def rounded(value: float) -> float:
    """A finite number with four significant digits."""
    return float(f"{value:.{DIGITS}g}")


def read(root: Path) -> dict[str, Locked]:
    """The locked artifacts by name, sorted; empty where there is no file.

    Raises UsageError for a file that is not as `text` writes it, with file and line; the order of
    lines, and empty lines, do not matter.
    """
    path = root / LOCK
    try:
        size = path.stat().st_size
        if size > _MAX_SIZE:
            raise UsageError(f"{LOCK}: has {size:,} bytes, more than {_MAX_SIZE:,}: no lock file")
        data = path.read_bytes()
    except FileNotFoundError:
        if path.is_symlink():
            raise UsageError(f"{LOCK}: is a symbolic link that leads nowhere") from None
        return {}
    except OSError as error:
        raise UsageError(f"{LOCK}: cannot be read: {error.strerror}") from error
    return parse(data)


def parse(data: bytes) -> dict[str, Locked]:
    """As `read`, of a file's content."""
    lines = data.split(b"\n")
    _format(lines)
    found: dict[str, tuple[int, Locked]] = {}
    for number, raw in enumerate(lines[1:], start=2):
        if not raw.strip(b"\r"):
            continue
        locked = _line(raw, number)
        if locked.artifact in found:
            raise _wrong(
                number,
                f"{locked.artifact} stands in line {found[locked.artifact][0]} already;"
                f" remove one of them, then {_RENEW}",
            )
        found[locked.artifact] = number, locked
    return {name: found[name][1] for name in sorted(found)}


def text(locked: Mapping[str, Locked]) -> str:
    """The file. Raises ValueError for what it cannot hold (a number that is not finite)."""
    lines = [_header()]
    model = None
    for name in sorted(locked):
        if model not in (None, locked[name].model):
            lines.append("")
        model = locked[name].model
        lines.append(line(locked[name]))
    return "\n".join(lines) + "\n"


def line(locked: Locked) -> str:
    """One artifact's line, without its end."""
    said = vars(locked)
    return canonical_json({**said, _CHECK: _digest(said)}).decode("ascii")


def digests_by_model(locked: Mapping[str, Locked]) -> dict[str, str]:
    """What stands for the lines of each model: another value where one of them is another."""
    found: dict[str, list[str]] = {}
    for name in sorted(locked):
        found.setdefault(locked[name].model, []).append(_digest(vars(locked[name])))
    return {model: bytes_digest(" ".join(sums).encode()) for model, sums in found.items()}


def _header() -> str:
    return canonical_json({"tflbuild.lock": VERSION}).decode("ascii")


def _digest(said: Mapping[str, Any]) -> str:
    return bytes_digest(canonical_json(said))[:_CHECK_LENGTH]


def _wrong(number: int, message: str) -> UsageError:
    return UsageError(f"{LOCK}:{number}: {message}")


def _format(lines: list[bytes]) -> None:
    """The first line says which format the others have."""
    value = _json(lines[0], 1)
    version = value.get("tflbuild.lock") if isinstance(value, dict) and len(value) == 1 else None
    if type(version) is not int:
        raise _wrong(
            1, f"expected {_header()}: no lock file, or damaged; restore it from git, or remove it"
            f" and {_RENEW}"
        )  # fmt: skip
    if version != VERSION:
        raise _wrong(
            1, f"format {version}, and this tflbuild knows {VERSION}: use the tflbuild that wrote"
            f" it, or remove the file and {_RENEW}"
        )  # fmt: skip


def _json(raw: bytes, number: int) -> Any:
    if raw.startswith(tuple(marker.encode() for marker in _MARKERS)):
        raise _wrong(
            number, f"a conflict of a merge: take one side of each conflict, then {_RENEW}"
        )
    try:
        return _DECODER.decode(raw.decode("ascii"))
    except (ValueError, RecursionError) as error:
        raise _wrong(
            number, f"damaged ({one_line(error, 80)}): restore the line from git, or remove it and"
            f" {_RENEW}"
        ) from None  # fmt: skip


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


_DECODER = json.JSONDecoder(parse_constant=_no_constant)


def _line(raw: bytes, number: int) -> Locked:
    said = _json(raw, number)
    try:
        check = said.pop(_CHECK)
        locked = Locked(**said)
        _check(locked)
        problem = "" if _sound(raw, said, check) else "its digest is another"
    except (AttributeError, TypeError, ArithmeticError, ValueError, LookupError) as error:
        problem = f"{one_line(error, 80)}" if isinstance(error, ValueError) else "other keys"
    if problem:
        raise _wrong(
            number, f"not as `tflbuild lock --update` wrote it ({problem}): restore the line from"
            f" git, or remove it and {_RENEW}"
        )  # fmt: skip
    return locked


def _sound(raw: bytes, said: Mapping[str, Any], check: Any) -> bool:
    """Whether a line's digest is right: of the line as it stands, where it has our form, which is
    quick; else of what it says."""
    rest = raw.replace(f'"{_CHECK}":"{check}",'.encode(), b"", 1)
    return bool(bytes_digest(rest)[:_CHECK_LENGTH] == check or _digest(said) == check)


def _check(locked: Locked) -> None:
    """Raises ValueError for values of another kind than ours."""
    if not isinstance(locked.artifact, str) or not _ARTIFACT.fullmatch(locked.artifact):
        raise ValueError("artifact")
    for name in ("recipe", "sha256"):
        value = getattr(locked, name)
        if not isinstance(value, str) or not _SHA256.fullmatch(value):
            raise ValueError(name)
    if type(locked.size) is not int or locked.size < 0:
        raise ValueError("size")
    for name in ("toolchain", "min_runtime"):
        value = getattr(locked, name)
        if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
            raise ValueError(name)
    for name in ("metrics", "parity"):
        value = getattr(locked, name)
        if not isinstance(value, dict) or not all(_finite(v) for v in value.values()):
            raise ValueError(name)
    interfaces.check(locked.interface)


def _finite(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


__all__ = [
    "LOCK",
    "Locked",
    "digests_by_model",
    "line",
    "metric_key",
    "parse",
    "read",
    "rounded",
    "text",
]
