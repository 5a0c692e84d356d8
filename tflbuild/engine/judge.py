"""Judging: a task's measurement against the manifest, for `build` (which tells) and `plan`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tflbuild import gates, parity_gate
from tflbuild.engine.decide import Decider
from tflbuild.engine.state import Outputs
from tflbuild.errors import Position
from tflbuild.evaluation import runtimes
from tflbuild.lockfile import Locked
from tflbuild.manifest.model import Target, Workspace
from tflbuild.profiles import groups
from tflbuild.step import Artifact, Step
from tflbuild.verdict import Verdict

# The measuring output of each stage that has a gate.
MEASUREMENTS = {
    "evaluate": "evaluate.json",
    "compat": "compat.json",
    "validate": "validate.json",
    "benchmark": "benchmark.json",
}


SHOWN = 3  # reasons that one line names


@dataclass(frozen=True)
class Judgement:
    verdict: Verdict
    measured: Mapping[str, Any]
    report: bytes  # the JSON report for people


class Judge:
    """Judges the steps of one walk over the graph; compat needs evaluate's verdict first."""

    def __init__(
        self, workspace: Workspace, decider: Decider, locked: Mapping[str, Locked]
    ) -> None:
        """`locked`: the last release, as `lockfile.read` gives it."""
        self.workspace = workspace
        self.decider = decider
        self.locked = locked
        self.evaluations: dict[str, dict[str, Verdict]] = {}  # model → target → verdict

    def __call__(self, step: Step, outputs: Outputs) -> Judgement | None:
        """None for a stage without a gate. Raises DamagedBlob."""
        name = MEASUREMENTS.get(step.stage)
        if name is None:
            return None
        measured = json.loads(self.decider.store.read(outputs[name][0]))
        report: dict[str, Any] = {"task": step.name, "measured": measured}
        targets, model = self.workspace.targets, step.model
        if step.stage == "evaluate":
            used = dict.fromkeys(t for o in model.optimizations for t in o.targets)
            report["lowering"] = self._told(f"lower:{model.name}", "lower.json")
            verdict, by_target = gates.evaluate_gate(
                measured, model, [targets[t] for t in used],
                report["lowering"].get("warnings", ()),
            )  # fmt: skip
            self.evaluations[model.name] = by_target
            said = runtimes.verdicts(measured)
            report["runtimes"] = said
            report["also"] = runtimes.also(said, [targets[t].runtime for t in used])
            report["targets"] = {
                name: {
                    **told.as_json(),
                    "verdict": runtimes.of_target(measured, targets[name])["verdict"],
                }
                for name, told in sorted(by_target.items())
            }
        elif step.stage == "compat":
            assert step.target is not None
            before = self.evaluations.get(model.name, {}).get(step.target)
            verdict = gates.compat_gate(
                measured, targets[step.target], before, model, step.optimization
            )
        elif step.stage == "benchmark":
            from tflbuild import benchmark_gate  # which few models need

            verdict = benchmark_gate.judge(measured, model)
        else:
            assert step.optimization is not None
            report["conversion"] = self._told(step.ports[0].task, "convert.json")
            made = [port.task for port in step.ports if port.task.startswith("data:")]
            if made:
                report["data"] = {task: self._told(task, "data.json") for task in made}
            reference = self._told(f"reference:{model.name}", "reference.json")
            warnings = [
                *report["conversion"]["warnings"],
                *far_ranges(report["conversion"].get("calibration"), reference["signatures"]),
                *measured["warnings"],
            ]
            causes = scaled_wrongly(
                report["conversion"].get("calibration"), reference["signatures"]
            )
            verdict = gates.validate_gate(
                measured, model, step.optimization, warnings,
                report["conversion"].get("recipe", ()),
                sharing(self.workspace, step), self._last(step), _Origins(self, step), causes,
            )  # fmt: skip
            row = parity_gate.row_of(step.optimization, report["conversion"].get("recipe", ()))
            report["defaults"] = {"version": parity_gate.PARITY_VERSION, "row": row}
        report["gate"] = verdict.as_json()
        text = json.dumps(report, indent=1, sort_keys=True) + "\n"
        return Judgement(verdict, measured, text.encode())

    def refused(self, step: Step) -> str:
        """Why a conversion would serve no target, since none of its targets takes the model; ""
        when one does."""
        told = self.evaluations.get(step.model.name, {})
        verdicts = [(target, told[target.name]) for target in sharing(self.workspace, step)]
        if not verdicts or any(verdict.passed for _, verdict in verdicts):
            return ""
        reasons = [
            f"target {target.name}: {finding.message}"
            for target, verdict in verdicts
            for finding in verdict.failures
        ]
        more = f" (and {len(reasons) - SHOWN} more)" if len(reasons) > SHOWN else ""
        names = ", ".join(target.name for target, _ in verdicts)
        return (
            f"{targets_of(step)}: {'; '.join(reasons[:SHOWN])}{more}; or take {names}"
            " out of the targets"
        )

    def unvalidated(self, step: Step) -> str:
        """Why a file that was not run cannot be released for its target; "" when it can. Targets
        share a validation, and each says for itself whether it takes a file without."""
        assert step.target is not None
        validation = next(task for task in step.gates if task.startswith("validate:"))
        if validation not in self.decider.rows:  # a plan does not know yet what it will say
            return ""
        told = self._told(validation, "validate.json")
        return gates.unvalidated(told.get("unvalidated", ""), self.workspace.targets[step.target])

    def names_of(self, task: str) -> list[str]:
        """Of the samples that a task made, in order; perhaps of the first ones alone."""
        if "names.json" not in self.decider.rows[task].outputs:
            return []
        names: list[str] = self._told(task, "names.json")
        return names

    def _last(self, step: Step) -> dict[str, Locked]:
        """What was released last of the file that a step validates, by target."""
        assert step.optimization is not None
        found = {}
        for target in sharing(self.workspace, step):
            artifact = str(Artifact(step.model.name, step.optimization.name, target.name))
            if artifact in self.locked:
                found[target.name] = self.locked[artifact]
        return found

    def last_interfaces(self, step: Step) -> list[Mapping[str, Any]]:
        """Of what a validation's file was released as last: mostly one for all its targets."""
        found: list[Mapping[str, Any]] = []
        if step.stage == "validate":
            for locked in self._last(step).values():
                if locked.interface not in found:
                    found.append(locked.interface)
        return found

    def _told(self, task: str, output: str) -> Any:
        """What a producer wrote for people: the route, the reason, warnings."""
        outputs = self.decider.rows[task].outputs
        return json.loads(self.decider.store.read(outputs[output][0]))


class _Origins:
    """Where the test samples of a step come from, asked when a message names one."""

    def __init__(self, judge: Judge, step: Step) -> None:
        self._judge = judge
        self._tasks = {port.prefix: port.task for port in step.ports}
        self._names: dict[str, list[str]] = {}

    def __call__(self, signature: int, sample: int) -> str:
        task = self._tasks.get(f"test.{signature}.", "")
        if not task.startswith("data:"):
            return ""
        if task not in self._names:
            self._names[task] = self._judge.names_of(task)
        names = self._names[task]
        return names[sample] if sample < len(names) else ""


def targets_of(step: Step) -> Position:
    """Where the manifest gives a step its targets."""
    assert step.optimization is not None
    own = f"optimizations.{step.optimization.name}.targets"
    return step.model.position_of(own if own in step.model.positions else "targets")


def sharing(workspace: Workspace, step: Step) -> Sequence[Target]:
    """The targets that a step converts or validates for."""
    assert step.optimization is not None
    for group in groups(workspace, step.optimization):
        if step.name.endswith(f":{step.optimization.name}{group.suffix}"):
            return group.targets
    return ()


FAR = 8.0  # times: what calibration and test ranges may differ by before it is said


def far_ranges(
    calibrations: Sequence[Mapping[str, Any]] | None, tested: Sequence[Mapping[str, Any]]
) -> list[str]:
    """Inputs whose calibration data is of another scale than the data that they are tested on,
    signature by signature."""
    return [
        f"input {name!r} was calibrated on {low:g} to {high:g} and tested on"
        f" {lowest:g} to {highest:g}: is one of them scaled wrongly?"
        for far in _far(calibrations, tested)
        for name, (low, high), (lowest, highest) in far
    ]


def scaled_wrongly(
    calibrations: Sequence[Mapping[str, Any]] | None, tested: Sequence[Mapping[str, Any]]
) -> list[str]:
    """What `far_ranges` warns of, as the likely cause of a miss: for each signature that was
    calibrated, "" where there is none."""
    found = []
    for far in _far(calibrations, tested):
        parts = [
            f"{f'input {name!r} ' if len(far) > 1 else ''}{low:g} to {high:g} against"
            f" {lowest:g} to {highest:g} in the test data"
            for name, (low, high), (lowest, highest) in far[:SHOWN]
        ]
        found.append(f"likely cause: calibration data, {', '.join(parts)}" if parts else "")
    return found


Range = Sequence[float]  # low and high


def _far(
    calibrations: Sequence[Mapping[str, Any]] | None, tested: Sequence[Mapping[str, Any]]
) -> list[list[tuple[str, Range, Range]]]:
    """By signature the inputs whose ranges differ, with the calibration's range and the test's."""
    found = []
    for calibration, test in zip(calibrations or (), tested, strict=False):
        far: list[tuple[str, Range, Range]] = []
        for name, (low, high) in calibration["ranges"].items():
            ranges = test["input_ranges"].get(name, [])
            calibrated = max(abs(low), abs(high))
            used = max(map(abs, ranges), default=0.0)
            if calibrated > FAR * used > 0 or used > FAR * calibrated > 0:
                far.append((name, (low, high), ranges))
        found.append(far)
    return found
