"""The lines of a CI's report that the manifest alone asks for: what keeps its name in a build that
came to no measurement."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tflbuild import metric_gate
from tflbuild.interface_gate import CHECK as INTERFACE
from tflbuild.lockfile import Locked
from tflbuild.manifest.model import Model, Optimization
from tflbuild.manifest.parity import NUMBERS, limits_of, of_output
from tflbuild.metrics.python import NAME as PYTHON
from tflbuild.verdict import Check


def of_validation(
    model: Model, optimization: Optimization, locked: Mapping[str, Locked], why: str
) -> list[Check]:
    """A skipped check for each limit that does not need the names of a model's outputs, in the
    order and by the names of the gates. Defaults of parity are for all outputs, which are not
    known. `locked`: the last release, by artifact.
    """
    names = [
        *_parity(model, optimization), *_golden(model, optimization),
        *_metrics(model, optimization),
    ]  # fmt: skip
    if any(name.startswith(f"{model.name}:{optimization.name}@") for name in locked):
        names.append((INTERFACE, ""))
    return [Check(check, None, why, of) for check, of in dict.fromkeys(names)]


def _parity(model: Model, optimization: Optimization) -> Iterator[tuple[str, str]]:
    several = len(model.signatures) > 1
    for shipped in model.signatures:
        limits = limits_of(shipped, optimization)
        for output in dict.fromkeys((*shipped.outputs, *(name for name, _ in limits.outputs))):
            own = of_output(limits, output)
            of = f"{shipped.name}/{output}" if several else output
            for number in NUMBERS:
                if getattr(own, number) is not None:
                    yield f"parity.{number}", of
            for top in own.top_k:
                yield f"parity.top_{top.k}", of


def _golden(model: Model, optimization: Optimization) -> Iterator[tuple[str, str]]:
    for test in model.golden:
        if optimization.name in test.optimizations:
            yield "golden", test.name


def _metrics(model: Model, optimization: Optimization) -> Iterator[tuple[str, str]]:
    several = len(model.signatures) > 1
    for shipped in model.signatures:
        of = shipped.name or "" if several else ""
        for metric in metric_gate.of_file(shipped.metrics, optimization):
            for limits in metric.limits:
                values = f"{PYTHON}.values." if metric.name == PYTHON else ""
                for limit in ("min", "max", "max_drop", "max_drop_from_last"):
                    if getattr(limits, limit) is not None:
                        yield f"metrics.{values}{limits.name}.{limit}", of
