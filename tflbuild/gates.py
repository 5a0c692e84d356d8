"""Gates: did a measurement pass? Pure functions of measurement and manifest, no key holds them.

Loosening a limit re-runs nothing: the parent compares again, in milliseconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tflbuild import budgets, golden_gate, interface_gate, metric_gate, parity_gate
from tflbuild.found import Findings
from tflbuild.lockfile import Locked
from tflbuild.manifest.model import Model, Optimization, Target
from tflbuild.targets import RUNTIMES, micro
from tflbuild.targets.narrow import lasting, met, narrowed
from tflbuild.verdict import Verdict


def evaluate_gate(
    measured: Mapping[str, Any],
    model: Model,
    targets: Sequence[Target],
    warnings: Sequence[str] = (),
) -> tuple[Verdict, dict[str, Verdict]]:
    """The model's own verdict (its limits, and whether any target takes it), and each target's;
    `warnings` of the lowering are passed on."""
    found = Findings()
    for warning in dict.fromkeys(warnings):
        found.warn("lowering", warning)
    numbers, hints = budgets.of_model(measured), budgets.hints_of_model(measured)
    opened = budgets.open_inputs(measured)
    found.budgets(model.evaluate, numbers, "evaluate", hints, opened)
    by_target = {}
    for target in targets:
        own = Findings()
        runtime = RUNTIMES[target.runtime]
        own.extend(runtime.judge_evaluation(measured, target), "ops", f"{runtime.NAME} takes them")
        own.extend(lasting(measured, target))
        # What no optimization changes is judged before the hours that conversion may take.
        limits = budgets.before_conversion(target.budgets)
        own.budgets(limits, numbers, f"target {target.name}", hints, opened)
        by_target[target.name] = own.verdict()
    if by_target and not any(verdict.passed for verdict in by_target.values()):
        for name, verdict in sorted(by_target.items()):
            for finding in verdict.failures:
                found.fail(finding.check, f"target {name}: {finding.message}")
    return found.verdict(), by_target


def compat_gate(
    measured: Mapping[str, Any],
    target: Target,
    evaluation: Verdict | None,
    model: Model | None = None,
    optimization: Optimization | None = None,
) -> Verdict:
    """The file against one target, together with that target's verdict before conversion; without
    a model, any file."""
    found = Findings()
    runtime = RUNTIMES[target.runtime]
    found.extend(runtime.judge_file(measured, target), "ops", f"{runtime.NAME} runs them")
    found.extend(narrowed(measured, target))
    for check, text in met(measured, target):
        found.met.append(text)
        found.check(check, text)
    if optimization is not None and target.runtime == micro.NAME:
        found.extend(micro.judge_floats(measured, optimization))
    numbers, hints = budgets.of_file(measured), budgets.hints_of_file(measured)
    opened = budgets.open_inputs(measured)
    found.budgets(target.budgets, numbers, f"target {target.name}", hints, opened)
    if model is not None:
        found.budgets(model.compat, numbers, "compat", hints, opened)
    if evaluation is not None:
        found.extend(evaluation.failures)
    return found.verdict()


def validate_gate(
    measured: Mapping[str, Any],
    model: Model,
    optimization: Optimization,
    warnings: Sequence[str] = (),
    recipe: Sequence[Mapping[str, Any]] = (),
    targets: Sequence[Target] = (),
    last: Mapping[str, Locked] | None = None,
    origin: parity_gate.Origin = parity_gate.nowhere,
    causes: Sequence[str] = (),
) -> Verdict:
    """Parity with the source, golden tests, the metrics and the interface; `warnings` of the
    stages are passed on. `recipe`: the entries that a conversion by ai-edge-quantizer used.
    `targets`: those that share the file, which say what is to be done with one that nothing here
    could run. `last`: what was released of it last, by target. `origin` names samples.
    `causes`: by signature, what is known to have made outputs wrong."""
    found = Findings()
    if why := measured.get("unvalidated", ""):
        _unvalidated(found, why, targets)
    row = parity_gate.row_of(optimization, recipe)
    parity_gate.judge(found, measured, model, optimization, row, origin, causes)
    golden_gate.judge(found, measured, model, optimization)
    several = len(measured["signatures"]) > 1
    for shipped, signature in zip(model.signatures, measured["signatures"], strict=True):
        name = signature["signature"]
        where = f" of signature {name!r}" if several else ""
        own = [m for m in measured["metrics"] if m["signature"] == name]
        for metric in () if why else metric_gate.of_file(shipped.metrics, optimization):
            metric_gate.judge(found, metric, own, where, name if several else "", last or {})
    interface_gate.judge(found, measured.get("interface"), model, last or {})
    for warning in dict.fromkeys(warnings):
        found.warn("data" if warning.endswith("not representative") else "stage", warning)
    return found.verdict()


def _unvalidated(found: Findings, why: str, targets: Sequence[Target]) -> None:
    """A warning, since a target may take a file that was not run, or a failure where none does."""
    if any(target.unvalidated for target in targets):
        found.warn("unvalidated", f"not validated: {why}")
        found.skip("unvalidated", f"not validated: {why}")
    elif targets:
        found.fail("unvalidated", unvalidated(why, targets[0]))


def unvalidated(why: str, target: Target) -> str:
    """What can be done about a file that nothing here could run; "" where a target takes it so."""
    if target.unvalidated or not why:
        return ""
    ways = ["`library` (with `register` for each op)"]
    if "select" in why:
        ways = [
            "`flex_library` (a shared library with the Flex delegate)",
            "`validator` (a Python with TensorFlow 2.4 to 2.19)",
        ]
    return (
        f"not validated: {why}; give target {target.name} {' or '.join(ways)}, or release it as it"
        " is: `unvalidated: allow`"
    )
