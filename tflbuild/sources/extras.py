"""Packages that only some formats need: installed as extras, imported in a child."""

from __future__ import annotations

import importlib
from typing import Any

from tflbuild.errors import TaskError, one_line


def need(module: str, extra: str) -> Any:
    """The module of an extra. Raises TaskError with the command that installs it."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = error.name or module
        raise TaskError(
            f"format {extra} needs {missing}, which is not installed: pip install"
            f" 'tflbuild[{extra}]'",
            key="source.format",
        ) from error
    except Exception as error:  # a package that does not fit to the others
        raise TaskError(
            f"format {extra} needs {module}, which cannot be imported ({one_line(error, 200)}):"
            f" pip install --force-reinstall 'tflbuild[{extra}]'",
            key="source.format",
        ) from error
