"""`python`: a function of the user's, `function(outputs, labels) -> {name: number}`.

It sees all samples at once: a dict of the outputs by name, and the labels as the manifest declares
them (an array, a dict of arrays by name, or None). So its evidence is what it is given.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tflbuild import pyrun
from tflbuild.errors import TaskError, one_line
from tflbuild.metrics.base import Evidence, Settings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

NAME = "python"
KEY = "validate.metrics.python"
SHOWN = 200  # characters of a value in a message
MOST = 1000  # numbers
_OUTPUT, _LABELS = "output.", "labels"
_SIDES = {"source": "source", "float": "float file", "file": "file"}


def evidence(outputs: Mapping[str, Array], labels: Any) -> dict[str, Array]:
    """Nothing is copied: of memory-mapped arrays it is memory-mapped."""
    found = {_OUTPUT + name: array for name, array in outputs.items()}
    if isinstance(labels, Mapping):
        found |= {f"{_LABELS}.{name}": array for name, array in labels.items()}
    elif labels is not None:
        found[_LABELS] = labels
    return found


def values(
    settings: Settings, evidence: Mapping[str, Evidence | None]
) -> dict[str, dict[str, float]]:
    """What the function gives for each of `evidence` (source, float, file): name → number.

    The workspace is closed to this process from here on: see `pyrun.enter`. Raises TaskError.
    """
    pyrun.enter(settings["inputs"], settings["code"], Path.cwd())  # a child's scratch folder
    function = pyrun.function(settings["python"], KEY)
    args: Mapping[str, Any] = settings.get("args") or {}
    found = {}
    for which, spoken in _SIDES.items():
        given = evidence.get(which)
        if given is None:
            continue
        _set_seeds()
        outputs, labels = _given(given)
        made = pyrun.call(partial(function, outputs, labels, **args), key=KEY)
        found[which] = _numbers(made, f"of the {spoken}'s outputs")
    names = [*found["file"]]
    for which, numbers in found.items():
        if set(numbers) != set(names):
            raise TaskError(
                f"the function gives {_listed(names)} of the file's outputs and {_listed(numbers)}"
                f" of the {_SIDES[which]}'s; the same names are needed",
                key=KEY,
            )
    return found


def _set_seeds() -> None:
    """What is drawn at random is drawn alike for source and file."""
    import numpy as np

    random.seed(0)
    np.random.seed(0)


def _given(evidence: Evidence) -> tuple[dict[str, Array], Any]:
    """Outputs and labels, which nobody can write to: other metrics see them too."""
    below, views = _LABELS + ".", {}
    for name, array in evidence.items():
        views[name] = view = array.view()
        view.flags.writeable = False
    outputs = {n.removeprefix(_OUTPUT): a for n, a in views.items() if n.startswith(_OUTPUT)}
    named = {n.removeprefix(below): a for n, a in views.items() if n.startswith(below)}
    return outputs, views.get(_LABELS, named or None)


def _numbers(made: Any, where: str) -> dict[str, float]:
    """Names and finite numbers. Raises TaskError for all else, with what it was."""
    import numpy as np

    from tflbuild.metrics import METRICS

    if not isinstance(made, Mapping):
        raise TaskError(
            f"the function gives {_said(made)} {where}; return a dict of numbers by name", key=KEY
        )
    if not made or len(made) > MOST:
        size = f"a dict of {len(made)} numbers" if made else "an empty dict"
        raise TaskError(f"the function gives {size} {where}", key=KEY)
    found = {}
    for name, value in made.items():
        if not isinstance(name, str) or not name or not name.isprintable() or len(name) > 100:
            raise TaskError(
                f"the function names a number {_said(name)} {where}; names are short text", key=KEY
            )
        if name in METRICS or name == NAME:
            raise TaskError(
                f"the function names a number {name!r}, as tflbuild does; give it another name",
                key=KEY,
            )
        array = np.asarray(value) if _is_number(value) else None
        if array is None or array.size != 1 or array.dtype.kind not in "iuf":
            raise TaskError(
                f"the function gives {_said(value)} for {name!r} {where}; return a number", key=KEY
            )
        number = float(array.reshape(-1)[0])
        if not math.isfinite(number):
            raise TaskError(
                f"the function gives {number} for {name!r} {where}; return a finite number",
                key=KEY,
            )
        found[name] = number
    return found


def _is_number(value: Any) -> bool:
    """A number, or an array or tensor that may hold one."""
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return plain or (hasattr(value, "dtype") and hasattr(value, "shape"))


def _said(value: Any) -> str:
    try:
        text = one_line(repr(value), SHOWN)
    except Exception:
        text = "(it cannot be shown)"
    return f"{type(value).__name__} {text}"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)[:10])
