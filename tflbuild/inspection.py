"""What a `.tflite` file is, costs and needs: measured for compat and for `tflbuild inspect`.

It measures and does not judge; the gates judge.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tflbuild.tflite.read import TfliteModel


@dataclass(frozen=True)
class Part:
    """One key of the report. `measure` gets the model and the file; `runtimes`: those alone that
    it is made for; empty: all, and none."""

    key: str
    measure: Callable[[TfliteModel, bytes], Any]
    runtimes: tuple[str, ...] = ()


def _notes(model: TfliteModel, data: bytes) -> dict[str, Any] | None:
    """TFLite Metadata as `metadata.read` gives it; `packed`: files behind the model, bytes by
    name; `problem`: why it cannot be read, "" when it can. None where the file has none."""
    from tflbuild.tflite import metadata
    from tflbuild.tflite.read import InvalidModel, read_metadata

    if metadata.ENTRY not in model.metadata:
        return None
    said: dict[str, Any] = {"problem": ""}
    try:
        said |= metadata.read(read_metadata(data)[metadata.ENTRY])
        packed = metadata.files_of(model, data)
        said["packed"] = {name: len(content) for name, content in sorted(packed.items())}
    except InvalidModel as error:
        said["problem"] = str(error)
    return said


def _versions(model: TfliteModel, data: bytes) -> dict[str, Any]:
    from tflbuild.tflite import versions

    return versions.describe(model)


PARTS: tuple[Part, ...] = (
    Part("notes", _notes),
    Part("versions", _versions),
)


def measure(data: bytes, *, runtime: str | None) -> dict[str, Any]:
    """All that can be said of a file.

    Keys: those of `tflite.digest.describe`; `runtime`; `size` (bytes of the file); `loads`, and
    `problem` (why LiteRT does not load it, "" when it does); and those of `PARTS`.

    Args:
        data: the whole file.
        runtime: the built-in runtime that it is measured for; None: for none.

    Raises:
        InvalidModel: it is not a sound `.tflite` file.
    """
    from tflbuild.delegates import table
    from tflbuild.loading import load_problem
    from tflbuild.tflite.digest import describe
    from tflbuild.tflite.read import read_model

    model = read_model(data)
    report: dict[str, Any] = {"runtime": runtime, **describe(model), "size": len(data)}
    for part in PARTS:
        if not part.runtimes or runtime in part.runtimes:
            report[part.key] = part.measure(model, data)
    report["problem"] = load_problem(data, model)
    report["loads"] = not report["problem"]
    # The runtime itself is asked which operators XNNPACK takes, once it is known not to crash.
    report["delegates"] = table.measure(model, data, observe=report["loads"])
    return report
