"""A source that a task made, and hands on as `source.tar`: how those that load it find it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tflbuild import archive
from tflbuild.errors import TaskError
from tflbuild.sources.base import Format

OUTPUT = "source.tar"


def source_path(
    inputs: Mapping[str, Path], scratch: Path, params: Mapping[str, Any], form: Format
) -> Path:
    """Where the source lies: in the workspace, or unpacked below `scratch`. In a child; raises
    TaskError for one that was made and is not of its form."""
    if OUTPUT not in inputs:
        return inputs["source"]
    folder, member = scratch / "source", str(params["member"])
    if not folder.exists():  # else by an earlier call of this action
        archive.unpack(inputs[OUTPUT], folder, member)
    check_form(form, folder / member, member)
    return folder / member


def check_form(form: Format, path: Path, shown: str, key: str = "source.path") -> None:
    """What the manifest's check says of a source that is there from the beginning."""
    if problem := form.problem(str(path), repr(shown)):
        raise TaskError(problem, key=key)
