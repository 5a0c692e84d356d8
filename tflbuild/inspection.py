"""What a `.tflite` file is, costs and needs: measured for compat and for `tflbuild inspect`.

It measures and does not judge; the gates judge.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tflbuild.kernels import Kernels

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


def _memory(model: TfliteModel, data: bytes) -> dict[str, Any]:
    from tflbuild.tflite import memory

    return memory.describe(model)


def _traffic(model: TfliteModel, data: bytes) -> int:
    from tflbuild.tflite import layers

    return layers.costs(model).traffic


def _traffic_signature(model: TfliteModel, data: bytes) -> str:
    from tflbuild.tflite import layers

    return layers.costs(model).signature


def _micro(model: TfliteModel, data: bytes) -> dict[str, Any]:
    """`problems`: what its kernels do not take; `estimate`, and `run`, what tflite-micro itself
    says (null without the extra `micro`); `arena_bytes`: what an application must reserve, by the
    run where there is one."""
    from tflbuild.micro import check, estimate, run

    problems = check.problems(model)
    stated = estimate.estimate(model)
    ran = run.measure(data) if run.available() and not problems else None
    measured = None if ran is None else ran["smallest_arena_bytes"]
    return {
        "problems": problems,
        "estimate": stated,
        "run": ran,
        "estimated": measured is None,
        "arena_bytes": stated["smallest_arena_bytes"] if measured is None else measured,
    }


PARTS: tuple[Part, ...] = (
    Part("notes", _notes),
    Part("versions", _versions),
    Part("memory", _memory),
    Part("traffic_bytes", _traffic),
    Part("traffic_signature", _traffic_signature),
    Part("micro", _micro, ("micro",)),
)


def measure(data: bytes, *, runtime: str | None, kernels: Kernels | None = None) -> dict[str, Any]:
    """All that can be said of a file.

    Keys: those of `tflite.digest.describe`; `runtime`; `size` (bytes of the file); those of
    `loading` and of `PARTS`; and `delegates`.

    Args:
        data: the whole file.
        runtime: the built-in runtime that it is measured for; None: for none.
        kernels: what runs operators that are not builtin; None: nothing.

    Raises:
        InvalidModel: it is not a sound `.tflite` file.
    """
    from tflbuild.delegates import table
    from tflbuild.tflite.digest import describe
    from tflbuild.tflite.read import read_model

    model = read_model(data)
    report: dict[str, Any] = {"runtime": runtime, **describe(model), "size": len(data)}
    for part in PARTS:
        if not part.runtimes or runtime in part.runtimes:
            report[part.key] = part.measure(model, data)
    report |= loading(data, model, kernels or Kernels())
    # The runtime itself is asked which operators XNNPACK takes, once it is known not to crash.
    observe = report["loads"] and report["loaded_at"] is None
    report["delegates"] = table.measure(model, data, observe=observe)
    return report


def loading(data: bytes, model: TfliteModel, kernels: Kernels) -> dict[str, Any]:
    """`loads`, and if not why: `problem` (the runtime refuses it) or `not_loaded` (it was not
    tried here, or not with the shapes that an app sets). `loaded_at`: the shapes of the inputs at
    which it loads, where those of the file cannot be allocated; else None."""
    from tflbuild.loading import SIZES, crashes, load_sized, open_inputs

    not_loaded = kernels.missing(model)
    if kernels.elsewhere(model):
        not_loaded = f"{kernels.runner(model)} runs it, when it is validated"
    problem, shapes = (
        ("", None) if not_loaded else load_sized(data, model, kernels.delegates(model))
    )
    if problem and open_inputs(model) and not crashes(problem):
        tried = ", ".join(str(size) for size in (1, *SIZES))
        not_loaded = (
            f"its shapes are set by the app, and no size that was tried ({tried}) can be"
            f" allocated: {problem}"
        )
        problem = ""
    return {
        "loads": not (problem or not_loaded),
        "problem": problem,
        "not_loaded": not_loaded,
        "loaded_at": None if shapes is None else _named(model, shapes),
    }


def _named(model: TfliteModel, shapes: Mapping[int, Sequence[int]]) -> dict[str, list[int]]:
    """Shapes by the names of inputs that callers see."""
    from tflbuild.tflite.signature import interfaces_of

    names = {
        io.tensor: io.name
        for interface in interfaces_of(model)
        if interface.subgraph == 0
        for io in interface.inputs
    }
    tensors = model.subgraphs[0].tensors
    return {names.get(i, tensors[i].name): list(shape) for i, shape in shapes.items()}
