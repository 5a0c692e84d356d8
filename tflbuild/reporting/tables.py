"""The tables at the end of build, evaluate and validate, and why what failed did."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Any

from tflbuild.engine import events
from tflbuild.engine.build import Outcome
from tflbuild.errors import one_line
from tflbuild.evaluation import runtimes
from tflbuild.manifest.model import Target
from tflbuild.reporting.layout import Column, Grid, clean, first_few, show, stdout
from tflbuild.reporting.metrics_shown import SHORT, in_order
from tflbuild.reporting.wording import beginning
from tflbuild.step import Artifact
from tflbuild.verdict import Finding, Margin, Verdict, amount, size

FEW = 5  # models that more than the table is shown of
FAILURES = 20  # lines below the table
LONG = 1000  # characters of one
CLOSING = 250  # characters of a gate's
NAMED = 5  # names that a line has
MICRO = "ops.micro"  # the check of what a microcontroller's kernels lack
OF_OPS = ("convertible", "ops.select", "ops.custom")  # checks that `runtimes.lines` puts into words


def print_tables(
    outcome: Outcome, until: str, verbose: bool = False, said: Container[str] = ()
) -> None:
    """Print what the command was about; nothing when there is nothing to show. `verbose`: also
    the metrics that the table has no room for. `said`: reasons that stand above already."""
    if until == "evaluate":
        grid, lines = evaluations(outcome), evaluation_lines(outcome)
    else:
        grid, lines = artifacts(outcome), benchmark_lines(outcome)
        if verbose:
            lines = [*metric_lines(outcome), *lines]
    if grid.rows:
        show(grid)
    console = stdout()
    for line in [*lines, *failure_lines(outcome, until, said), *clean_lines(outcome)]:
        console.print(line, soft_wrap=True)


def evaluations(outcome: Outcome) -> Grid:
    """One row per model and target: what the model is made of, and whether it could ship there."""
    grid = Grid(
        Column("model"),
        Column("target"),
        Column("verdict", folds=24),  # it may name conditions
        Column("ops", right=True, leaves=3),
        Column("params", right=True, leaves=4),
        Column("MACs", right=True, leaves=5),
        Column("weights", right=True, leaves=1),
        Column("activations", right=True, leaves=2),
        Column("gate"),
    )
    for found in _evaluated(outcome):
        measured = found.measured
        numbers = (
            _shown(amount, measured.get("op_count")),
            _shown(amount, measured.get("params")),
            _shown(amount, measured.get("macs")),
            _shown(size, measured.get("weights_bytes")),
            _shown(size, measured.get("memory", {}).get("peak_bytes")),
        )
        for index, target in enumerate(found.targets):
            told = runtimes.of_target(measured, target)
            grid.add(
                found.model if index == 0 else "",
                target.name,
                " ".join([told["verdict"], ", ".join(told["with"])]).strip(),
                *(numbers if index == 0 else ("",) * len(numbers)),
                "fits" if found.fits[target.name].passed else "does not fit",
            )
    return grid


def evaluation_lines(outcome: Outcome) -> list[str]:
    """Below the table: what costs most, what stops whom, and the way out; of many models, for
    those alone that something stops."""
    evaluated = list(_evaluated(outcome))
    lines = []
    for found in evaluated:
        if len(evaluated) > FEW and found.verdict.passed and found.all_fit:
            continue
        measured = found.measured
        said = {
            target.name: {
                **(its := runtimes.of_target(measured, target)),
                # What would be taken with something, were it not for what the target asks itself.
                "with": its["with"] if found.fits[target.name].passed else [],
            }
            for target in found.targets
            # No other op would help: its finding says what is wrong with the one that is there.
            if not any(finding.check == MICRO for finding in found.fits[target.name].failures)
        }
        told = runtimes.lines(measured, said, list(said))
        for target in found.targets:
            judged = found.fits[target.name]
            told_of = (*judged.failures, *judged.warnings)
            rest = dict.fromkeys(f.message for f in told_of if f.check not in OF_OPS)
            told += [f"{target.name}: {m}" for m in first_few(iter(rest), runtimes.SHOWN)]
        own = [f for f in found.verdict.failures if f.check.startswith("evaluate.")]
        told += [f"its gate does not pass: {finding.message}" for finding in own]
        told += runtimes.also_lines(
            runtimes.verdicts(measured), [target.runtime for target in found.targets]
        )
        lines += [f"{found.model}: {one_line(line, LONG)}" for line in told]
    return lines


@dataclass(frozen=True)
class _Evaluated:
    """A model that was evaluated: its measurement, its own verdict, and that of each target."""

    model: str
    measured: Mapping[str, Any]
    verdict: Verdict
    targets: list[Target]
    fits: Mapping[str, Verdict]

    @property
    def all_fit(self) -> bool:
        return all(verdict.passed for verdict in self.fits.values())


def _evaluated(outcome: Outcome) -> Iterator[_Evaluated]:
    result, graph = outcome.result, outcome.graph
    assert result is not None
    assert graph is not None
    for task, measured in sorted(result.measured.items()):
        if task.startswith("evaluate:"):
            model = graph.steps[task].model
            names = dict.fromkeys(t for o in model.optimizations for t in o.targets)
            targets = [graph.workspace.targets[name] for name in names]
            yield _Evaluated(
                model.name, measured, result.verdicts[task], targets, result.fits[model.name]
            )


def artifacts(outcome: Outcome) -> Grid:
    """One row per artifact: how far it came, the time of its stages, sizes, worst error."""
    result, graph = outcome.result, outcome.graph
    assert result is not None
    assert graph is not None
    validations = _validations(outcome)
    metrics = _metric_names(m for m in validations.values() if m.get("metrics"))
    head = _heading(metrics)
    budgets = {str(a): _budget(outcome, a) for a in graph.artifacts()}
    budgeted = any(budgets.values())
    aims = frozenset(graph.needed(outcome.selected))
    grid = Grid(
        Column("artifact"),
        Column("stage", leaves=6),
        Column("status"),
        Column("time", right=True, leaves=2),
        Column("float → file", right=True, leaves=3),
        Column("SQNR", right=True, leaves=4),
        *([Column(head, leaves=5)] if metrics else []),
        *([Column("± 95 %", leaves=1, beside=head)] if metrics else []),
        *([Column("budget", leaves=7)] if budgeted else []),
    )
    for artifact in graph.artifacts():
        stages = _stages(outcome, artifact)
        if not any(stage in result.outcomes for stage in stages[1:]):
            continue
        _, convert, _, validate, *_ = stages
        validation = validations.get(validate, {})
        grid.add(
            str(artifact),
            *_standing(outcome, str(artifact), stages, aims),
            f"{sum(result.seconds.get(stage, 0.0) for stage in _own(stages)):.1f} s",
            _sizes(
                result.measured.get(f"evaluate:{artifact.model}", {}).get("size"),
                result.sizes.get(convert),
            ),
            _worst(validation),
            *(_metric(validation, named=len(metrics) > 1) if metrics else []),
            *([budgets[str(artifact)]] if budgeted else []),
        )
    return grid


def benchmark_lines(outcome: Outcome) -> list[str]:
    """What was measured of speed and memory, by model."""
    result, graph = outcome.result, outcome.graph
    assert result is not None
    assert graph is not None
    found = []
    for task, measured in sorted(result.measured.items()):
        if task.startswith("benchmark:"):
            from tflbuild import benchmark_gate

            asked = graph.steps[task].model.benchmark
            against = [limit.against for limit in asked.max_ratio] if asked is not None else []
            found += [f"{task}: {line}" for line in benchmark_gate.lines(measured, against)]
    return found


def failure_lines(outcome: Outcome, until: str = "release", said: Container[str] = ()) -> list[str]:
    """Why each artifact failed, those that failed alike in one line; then other tasks that did:
    what an artifact needs, but is not made of. Nothing where a single reason has been `said`."""
    alike: dict[str, list[str]] = {}
    whole: set[str] = set()  # what would be all that there is to say
    for name, why in _failures(outcome, until):
        alike.setdefault(why.text, []).append(name)
        whole.add(why.only)
    if len(whole) == 1 and next(iter(whole)) in said:
        return []
    return first_few((f"{_some(names)}: {why}" for why, names in alike.items()), FAILURES)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def clean_lines(outcome: Outcome) -> list[str]:
    """Which models a build that failed did not look at, since nothing of them changed: they have
    no rows."""
    if not outcome.clean or not outcome.done.counts.failed:
        return []
    verb = " is" if len(outcome.clean) == 1 else "s are"
    return [f"{len(outcome.clean)} other model{verb} up to date: {_some(outcome.clean)}"]


@dataclass(frozen=True)
class _Why:
    text: str
    only: str  # the one reason, whole; "": there are more


def _failures(outcome: Outcome, until: str) -> Iterator[tuple[str, _Why]]:
    result, graph = outcome.result, outcome.graph
    assert result is not None
    assert graph is not None
    told: set[str] = set()
    for artifact in graph.artifacts() if until != "evaluate" else ():
        stages = _stages(outcome, artifact)
        if not any(stage in result.outcomes for stage in stages[1:]):
            continue
        if bad := _bad(outcome, stages):
            told |= {*bad}
            # The name of the artifact ends with that of its target.
            why = _reasons(outcome, bad)
            yield (
                str(artifact),
                replace(why, text=why.text.removeprefix(f"target {artifact.target}: ")),
            )
    for task, ended in result.outcomes.items():
        if ended == events.FAILED and task not in told:
            yield task, _reasons(outcome, [task])


def _reasons(outcome: Outcome, tasks: list[str]) -> _Why:
    """The first reason, and how many more there are. Of a gate's its beginning, since the line
    of the gate and the report have the whole."""
    result = outcome.result
    assert result is not None
    found: list[str] = []
    for task in tasks:
        failures: list[Finding] = result.verdicts.get(task, Verdict()).failures
        found += [finding.message for finding in failures] or [result.reasons.get(task, "failed")]
    # A model's finding may be its file's too, with more words.
    every = [m for m in dict.fromkeys(found) if not any(o != m and o.startswith(m) for o in found)]
    more = f" (+{len(every) - 1} more)" if len(every) > 1 else ""
    judged = any(result.verdicts.get(task, Verdict()).failures for task in tasks[:1])
    text = beginning(every[0], CLOSING) if judged else one_line(every[0], LONG)
    return _Why(text + more, "" if more else every[0])


def _own(stages: tuple[str, ...]) -> list[str]:
    """Those of the artifact, and of no other one of its model."""
    return [stage for stage in stages[1:] if not stage.startswith("benchmark:")]


def _stages(outcome: Outcome, artifact: Artifact) -> tuple[str, ...]:
    """The tasks that an artifact goes through: evaluate, convert, compat, validate, perhaps
    benchmark, release."""
    assert outcome.graph is not None
    release = f"release:{artifact}"
    step = outcome.graph.steps[release]
    convert = step.ports[0].task
    measured = [task for task in step.gates if task.startswith("benchmark:")]
    pair = convert.partition(":")[2]  # with the suffix of the converter profile
    return (f"evaluate:{artifact.model}", convert, f"compat:{artifact}", f"validate:{pair}",
            *measured, release)  # fmt: skip


def _bad(outcome: Outcome, stages: tuple[str, ...]) -> list[str]:
    """Those that failed, or whose gate did not pass."""
    result = outcome.result
    assert result is not None
    return [
        stage
        for stage in stages
        if stage in result.outcomes
        and not result.passed(stage)
        and result.outcomes[stage] != events.SKIPPED
    ]


def _standing(
    outcome: Outcome, artifact: str, stages: tuple[str, ...], aims: AbstractSet[str]
) -> tuple[str, str]:
    """The stage that an artifact reached (or failed in), and how it stands. `aims`: all tasks that
    the build went to."""
    result = outcome.result
    assert result is not None
    reached = [stage for stage in stages if stage in result.outcomes]
    if bad := _bad(outcome, stages):
        status = "failed, stale" if artifact in outcome.released else "failed"
        return bad[0].partition(":")[0], status
    done = [stage for stage in reached if result.passed(stage)]
    stage = (done or reached)[-1].partition(":")[0]
    if stage == "release" and done:
        outcomes = {"ran": "released", "restored": "restored"}
        return stage, outcomes.get(result.outcomes[done[-1]], "up to date")
    return stage, "passed" if aims & {*stages} <= {*done} else "not reached"


def _budget(outcome: Outcome, artifact: Artifact) -> str:
    """The budget that is missed, else that of a file that the least is left of."""
    result = outcome.result
    assert result is not None
    margins = list(result.verdicts.get(f"compat:{artifact}", Verdict()).margins)
    if not margins:  # it came to no file: what was missed before that
        before = result.fits.get(artifact.model, {}).get(artifact.target, Verdict())
        own = result.verdicts.get(f"evaluate:{artifact.model}", Verdict())
        margins = [m for m in (*own.margins, *before.margins) if _used(m) > 1]
    if not margins:
        return ""
    margin = max(margins, key=lambda m: (_used(m) > 1, m.value is not None, _used(m)))
    return f"{margin.name} {margin.text}"


def _used(margin: Margin) -> float:
    """The part of a budget that is used; above 1 it is missed, as one is whose number nobody
    knows."""
    if margin.value is None:
        return float("inf")
    if margin.limit <= 0:
        return float(margin.value > margin.limit) * 2
    return margin.value / margin.limit


def _sizes(before: int | None, after: int | None) -> str:
    if after is None:
        return "" if before is None else f"{size(before)} →"
    return size(after) if before is None else f"{size(before)} → {size(after)}"


def _worst(validation: Any) -> str:
    values = [p["sqnr"] for p in validation.get("parity", []) if p.get("sqnr") is not None]
    if values:
        return f"{min(values):.1f} dB"
    return "exact" if validation.get("parity") else ""


def _validations(outcome: Outcome) -> dict[str, Mapping[str, Any]]:
    """What was measured of each file by its task, the metric that matters most first."""
    result, graph = outcome.result, outcome.graph
    assert result is not None
    assert graph is not None
    found: dict[str, Mapping[str, Any]] = {}
    for task, measured in result.measured.items():
        if task.startswith("validate:"):
            step = graph.steps[task]
            ordered = in_order(step.model, step.optimization, measured.get("metrics", ()))
            found[task] = {**measured, "metrics": ordered}
    return found


def metric_lines(outcome: Outcome) -> list[str]:
    """All metrics of each file, also those without a limit."""
    lines = []
    for task, validation in sorted(_validations(outcome).items()):
        metrics = validation["metrics"]
        several = len({m.get("signature") for m in metrics}) > 1
        parts = []
        for metric in metrics:
            where = f" of {clean(metric['signature'], 30)}" if several else ""
            numbers = ["?" if n is None else _number(n) for n in (metric["file"], metric["source"])]
            parts.append(f"{clean(metric['name'], 60)}{where} {' of '.join(numbers)}")
        if parts:
            lines.append(f"{task}: {', '.join(parts)}")
    return lines


def _first_metric(validation: Mapping[str, Any]) -> str:
    return next((str(m["name"]) for m in validation.get("metrics", [])), "")


def _heading(metrics: list[str]) -> str:
    return SHORT.get(metrics[0], clean(metrics[0], 30)) if len(metrics) == 1 else "metric"


def _metric_names(validations: Iterable[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(_first_metric(v) for v in validations))


def _metric(validation: Mapping[str, Any], named: bool) -> list[str]:
    """The number of the file beside the source's, of the signature where it is worst; and half of
    its interval."""
    name = _first_metric(validation)
    values = [m for m in validation.get("metrics", []) if m["name"] == name]
    known = [m for m in values if m["file"] is not None and m["source"] is not None]
    if not known:
        return ["?" if values else "", ""]
    worst = min(known, key=lambda m: m["file"] if m["higher_is_better"] else -m["file"])
    text = f"{_number(worst['file'])} of {_number(worst['source'])}"
    low, high = worst["interval"] or (0.0, 0.0)
    return [
        f"{SHORT.get(name, clean(name, 30))} {text}" if named else text,
        f"±{(high - low) / 2:.2g}" if worst["interval"] else "",
    ]


def _number(value: float) -> str:
    return f"{value:.4f}" if abs(value) < 10 else f"{value:.4g}"


def _shown(how: Callable[[int], str], value: int | None) -> str:
    return "" if value is None else how(value)
