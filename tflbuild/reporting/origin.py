"""Where a manifest says the limit that a gate held something against: what a CI annotates."""

from __future__ import annotations

from collections.abc import Iterator

from tflbuild.errors import Position
from tflbuild.manifest.model import Model, Target, Workspace
from tflbuild.step import Step
from tflbuild.verdict import Check

# Keys of a target that are no budget, by the check that judges them.
_OF_TARGETS = ("min_runtime", "allow_ops", "deny_ops", "dtypes", "static_shapes")


def origin(workspace: Workspace, step: Step, target: str | None, check: Check) -> Position | None:
    """The place of a limit; None where no manifest says it (a default, a rule of a runtime).

    Args:
        workspace: has the targets.
        step: the task that was judged.
        target: which one the verdict is of, if of one.
        check: what was judged.
    """
    model = step.model
    if check.check.startswith("evaluate."):
        return model.positions.get(check.check)
    if target is not None:
        return _of_target(model, workspace.targets[target], check.check)
    keys = _keys(model, step, check)
    return next((model.positions[key] for key in keys if key in model.positions), None)


def _of_target(model: Model, target: Target, check: str) -> Position | None:
    """A target's own keys stand in no model; the place of one is that of the target."""
    own = check in _OF_TARGETS or check.startswith("accelerator.")
    if own or getattr(target.budgets, f"max_{check}", None) is not None:
        return target.position if target.position.line else None
    return model.positions.get(f"compat.max_{check}")


def _keys(model: Model, step: Step, check: Check) -> Iterator[str]:
    """Where the manifest may say it, the narrower place first."""
    group, _, last = check.check.partition(".")
    lone = len(model.signatures) == 1  # then its name is not in `of`
    signatures = [
        s.name for s in model.signatures
        if s.name and (lone or check.of == s.name or check.of.startswith(f"{s.name}/"))
    ]  # fmt: skip
    signatures.sort(key=len, reverse=True)
    places = [f"validate.signatures.{name}." for name in signatures] + ["validate."]
    if step.optimization is not None and group == "parity":
        places.insert(0, f"optimizations.{step.optimization.name}.")
    for place in places:
        if group == "parity":
            output = check.of.rpartition("/")[2]
            for of in dict.fromkeys((check.of, output)):
                yield f"{place}parity.outputs.{of}.{last}"
        yield place + check.check
        if group == "golden":
            name, _, output = check.of.partition("/")
            yield f"{place}golden.{name}.outputs.{output}.{last}"
            yield f"{place}golden.{name}.{last}"
            yield f"{place}golden.{name}"
        elif group == "metrics":  # of a limit's own key, at least the metric
            yield place + check.check.rpartition(".")[0]
    if group == "benchmark":
        optimization, _, kind = last.partition(".")
        optimization = optimization.partition("+")[0]  # without the profile of a file
        yield f"benchmark.max_ratio.{optimization}.{kind}"
        yield "benchmark.max_ratio"
    if group == "parity" and last.startswith("top_"):
        yield "validate.parity.top_k"
