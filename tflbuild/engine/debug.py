"""`tflbuild validate --debug` and `--try`: where a quantized file goes wrong, what to keep float,
and whether that helps.

Both first build as `validate` does. What comes then runs aside (`trials.py`): the layers are
measured by the stage `debug`, lists of operators to keep float are converted and judged by the
same steps and gates as a build's.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tflbuild.debugging import proposing
from tflbuild.debugging.fault import REMEDY, calibration_fault
from tflbuild.debugging.proposing import Place, Search, Try
from tflbuild.engine.build import PRIVATE, Options, Outcome, build
from tflbuild.engine.events import Listener, Note
from tflbuild.engine.lock import workspace_lock
from tflbuild.engine.runner import Result
from tflbuild.engine.state import State
from tflbuild.engine.trials import Trials, failure, outputs_of
from tflbuild.engine.workers import Workers
from tflbuild.engine.zygote import ZygotePool
from tflbuild.errors import EXIT_FAILED, EXIT_OK, Position, TaskError, UsageError
from tflbuild.graph import model_steps
from tflbuild.manifest.load import load_workspace
from tflbuild.manifest.model import FileData, Model, Optimization, Workspace
from tflbuild.model_data import data_inputs, data_name, data_ports, parity_data, sequences
from tflbuild.profiles import groups
from tflbuild.selectors import select
from tflbuild.step import Port, Step
from tflbuild.store.local import Store
from tflbuild.verdict import Verdict

SAMPLES = 64
CALIBRATION = 100  # test samples that are calibrated on, to see whether calibration is at fault
FAR = 10.0  # dB that quantization alone, on other samples, may be better than the whole error
QUANTIZATION, CONVERSION = "quantization", "float conversion"


@dataclass(frozen=True)
class DebugOptions:
    selectors: tuple[str, ...]
    samples: int = SAMPLES
    tries: int = proposing.TRIES
    quiet: bool = False  # say nothing of each try
    jobs: int = 0
    cwd: Path = field(default_factory=Path.cwd)
    pool: ZygotePool | None = None


@dataclass(frozen=True)
class Debugged:
    """What came of one optimization: the report, and where it lies below the root."""

    task: str  # validate:M:O
    report: Mapping[str, Any]
    path: str

    @property
    def exit_code(self) -> int:
        """Of `--debug`: as `validate` itself, whether the gate passes."""
        return EXIT_OK if self.report["gate"]["passed"] else EXIT_FAILED


@dataclass(frozen=True)
class Tried:
    """A proposal, tried: before and after."""

    task: str
    settings: Mapping[str, Any]
    before: Mapping[str, Any]
    after: Mapping[str, Any]

    @property
    def exit_code(self) -> int:
        return EXIT_OK if self.after["passed"] else EXIT_FAILED


@dataclass(frozen=True)
class _Aim:
    """One quantized file of the workspace, as the build left it."""

    workspace: Workspace
    steps: tuple[Step, ...]
    step: Step  # its validate step
    outcome: Result

    @property
    def model(self) -> Model:
        return self.step.model

    @property
    def optimization(self) -> Optimization:
        assert self.step.optimization is not None
        return self.step.optimization

    @property
    def convert(self) -> str:
        return "convert:" + self.step.name.partition(":")[2]

    @property
    def pair(self) -> str:
        return self.step.name.partition(":")[2]

    @property
    def verdict(self) -> Verdict:
        return self.outcome.verdicts[self.step.name]

    @property
    def report(self) -> str:
        return f"{self.workspace.build_dir}/reports/{self.pair.replace(':', '/')}/debug.json"

    @property
    def compats(self) -> list[str]:
        """The compat tasks of the same file."""
        return [
            s.name for s in self.steps
            if s.stage == "compat" and any(port.task == self.convert for port in s.ports)
        ]  # fmt: skip

    def where(self) -> Position:
        return self.model.position_of(f"optimizations.{self.optimization.name}")


def debug(manifest: Path, options: DebugOptions, listen: Listener) -> list[Debugged]:
    """Write `debug.json` for each selected optimization.

    Raises UsageError and ManifestErrors, and TaskError where a file could not be converted or
    measured.
    """
    found = []
    with _session(manifest, options, listen) as (aims, trials):
        for aim in aims:
            report = _Inquiry(aim, trials, options, listen).report()
            text = json.dumps(report, indent=1, sort_keys=True) + "\n"
            trials.store.write(trials.root / aim.report, text.encode())
            found.append(Debugged(aim.step.name, report, aim.report))
    return found


def try_proposals(manifest: Path, options: DebugOptions, listen: Listener) -> list[Tried]:
    """Convert and judge with what `debug` proposed. Raises as `debug` does, and UsageError for a
    proposal that is not there or was made for another file."""
    found = []
    with _session(manifest, options, listen) as (aims, trials):
        wanted = [(aim, _Inquiry(aim, trials, options, listen)) for aim in aims]
        proposals = [(aim, inquiry, inquiry.proposed()) for aim, inquiry in wanted]
        for aim, inquiry, settings in proposals:
            after = inquiry.judged(_with(aim.optimization, settings))
            found.append(Tried(aim.step.name, settings, inquiry.before(), after))
    return found


@contextmanager
def _session(manifest: Path, options: DebugOptions, listen: Listener) -> Any:
    """The selected files, built, and what tries further things with the workspace locked."""
    workspace = load_workspace(manifest, options.cwd)
    names = _selected(workspace, options)
    with TemporaryDirectory(prefix="tflbuild-debug-") as home:
        pool = options.pool or ZygotePool(Path(home))
        try:
            outcome = build(
                manifest,
                Options(tuple(names), "validate", options.jobs, True, cwd=options.cwd, pool=pool),
                listen,
            )
            if outcome.done.interrupted:
                raise KeyboardInterrupt
            aims = [_aim(workspace, name, outcome) for name in names]
            root = Path(os.path.realpath(manifest.parent))
            private = root / PRIVATE

            def waiting(holder: str) -> None:
                listen(Note(f"waiting for the lock of this workspace, held by {holder}"))

            logs = root / workspace.build_dir / "logs" / "debug"
            with (
                workspace_lock(private / "lock", waiting),
                closing(State.open(private / "state.sqlite")) as state,
                Workers(private / "work", logs, pool) as workers,
            ):
                jobs = options.jobs or os.cpu_count() or 1
                yield aims, Trials(root, state, Store(private / "store"), workers, jobs)
        finally:
            if options.pool is None:
                pool.close()


def _selected(workspace: Workspace, options: DebugOptions) -> list[str]:
    """The validate tasks of the quantized files that are meant. Raises UsageError."""
    if not options.selectors:
        raise UsageError("name what to look at: MODEL:OPTIMIZATION")
    found: dict[str, None] = {}
    for selector in options.selectors:
        selection = select(workspace, (selector,), "validate", options.cwd)
        steps = [
            step
            for model in workspace.models if model.name in selection.models
            for step in model_steps(workspace, model) if step.name in selection.tasks
        ]  # fmt: skip
        own = [s.name for s in steps if s.stage == "validate" and _quantized(s)]
        if not own:
            floats = [s.name.partition(":")[2] for s in steps if s.stage == "validate"]
            why = "is no converted file; name MODEL:OPTIMIZATION"
            if floats:
                why = (
                    f"is not quantized ({', '.join(floats)}): there is nothing to compare with the"
                    " float file"
                )
            raise UsageError(f"{selector!r} {why}")
        found.update(dict.fromkeys(own))
    return list(found)


def _quantized(step: Step) -> bool:
    return step.optimization is not None and step.optimization.quantize != "none"


def _aim(workspace: Workspace, name: str, outcome: Outcome) -> _Aim:
    """Raises TaskError where the file was not made or did not run."""
    assert outcome.result is not None
    assert outcome.graph is not None
    result = outcome.result
    step = outcome.graph.steps.get(name)
    if step is None:
        raise TaskError(f"{name}: its model could not be read")
    aim = _Aim(workspace, tuple(model_steps(workspace, step.model)), step, result)
    for task in (aim.convert, name):
        if result.outcomes.get(task) in ("failed", "skipped", None):
            needed = outcome.graph.needed([task])
            raise TaskError(failure(result, needed) or f"{task} did not run")
    return aim


def _with(optimization: Optimization, settings: Mapping[str, Any]) -> Optimization:
    """An optimization with other settings: `keep_float`, `io`."""
    changed = optimization
    if "io" in settings:
        changed = replace(changed, io=settings["io"], io_output=None)
    if "keep_float" in settings:
        kept = {**changed.settings, "keep_float": list(settings["keep_float"])}
        changed = replace(changed, settings=kept)
    return changed


class _Inquiry:
    """Looks into one file."""

    def __init__(self, aim: _Aim, trials: Trials, options: DebugOptions, listen: Listener) -> None:
        self.aim, self.trials, self.options, self.listen = aim, trials, options, listen
        self.count = 0
        self.result, self.decider = trials.run(
            aim.workspace, aim.steps, [aim.step.name, *aim.compats]
        )
        for task in (aim.convert, aim.step.name):
            if reason := failure(self.result, [task]):
                raise TaskError(reason)
        self.sha256 = outputs_of(self.decider, aim.convert)["model.tflite"][0]

    # what is there

    def measured(self) -> dict[str, Any]:
        """The layers of the file, by signature. Raises TaskError."""
        aim = self.aim
        step = _debug_step(aim, self.options.samples, self.trials.root)
        result, decider = self.trials.run(aim.workspace, [*aim.steps, step], [step.name])
        if reason := failure(result, [step.name]):
            raise TaskError(f"{aim.pair}: its layers could not be measured: {reason}")
        found: dict[str, Any] = self.trials.read_json(decider, step.name, "layers.json")
        return found

    def before(self) -> dict[str, Any]:
        """The file as it is, in the form of `judged`."""
        return _numbers(self.aim, self.result, [])

    def proposed(self) -> dict[str, Any]:
        """What `debug` proposed for this very file. Raises UsageError."""
        pair, command = self.aim.pair, f"run: tflbuild validate --debug {self.aim.pair}"
        try:
            report = json.loads((self.trials.root / self.aim.report).read_text())
            made_for, proposal = report["file"], report["proposal"]
            refused = report["refused"]
            settings = None if proposal is None else dict(proposal["settings"])
        except FileNotFoundError:
            raise UsageError(f"there is no proposal for {pair} yet; {command}") from None
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise UsageError(f"the proposal for {pair} cannot be read; {command}") from error
        if made_for != self.sha256:
            raise UsageError(
                f"the proposal for {pair} was made for another file than the one that is built now;"
                f" {command}"
            )
        if settings is None:
            raise UsageError(f"there is no proposal for {pair}: {refused}")
        kept = settings.get("keep_float")
        sound = isinstance(kept, list) and all(isinstance(name, str) and name for name in kept)
        if not sound or not set(settings) <= {"keep_float", "io"} or settings.get(
            "io", "float32"
        ) != "float32":  # fmt: skip
            raise UsageError(f"the proposal for {pair} cannot be read; {command}")
        return settings

    # trying

    def judged(self, optimization: Optimization, model: Model | None = None) -> dict[str, Any]:
        """Numbers and gate of the file that another optimization (and model) gives."""
        aim, model = self.aim, model or self.aim.model
        changed = replace(
            model,
            optimizations=tuple(
                optimization if o.name == optimization.name else o for o in model.optimizations
            ),
        )
        models = tuple(changed if m.name == changed.name else m for m in aim.workspace.models)
        workspace = replace(aim.workspace, models=models)
        # What else is wrong with the file's fit for its targets was wrong before.
        fits = [task for task in aim.compats if self.result.passed(task)]
        steps = model_steps(workspace, changed)
        result, _ = self.trials.run(workspace, steps, [aim.step.name, *fits])
        return _numbers(aim, result, fits)

    def _attempt(
        self, names: Mapping[Place, str], more: Mapping[str, Any], places: frozenset[Place]
    ) -> Try:
        settings = self._settings(names, more, places)
        told = {**settings, **self.judged(_with(self.aim.optimization, settings))}
        self.count += 1
        lowest = min((_sqnr(p) for p in told["parity"]), default=-1e9)
        said = "passes" if told["passed"] else "does not pass"
        if not told["passed"] and told["reasons"]:
            said += f": {proposing.brief(told['reasons'][0])}"
        number = "not converted, " if lowest <= -1e9 else f"{lowest:.1f} dB, "
        operators = proposing.counted(len(places), "operator")
        what = f"try {self.count} of {self.aim.pair}: {operators} float"
        if not self.options.quiet:
            self.listen(Note(f"{what}: {number}{said}"))
        return Try(places, told["passed"], lowest, told)

    def _settings(
        self, names: Mapping[Place, str], more: Mapping[str, Any], places: frozenset[Place]
    ) -> dict[str, Any]:
        """What the manifest says already, and these."""
        given = list(self.aim.optimization.settings.get("keep_float", ()))
        new = [names[place] for place in sorted(places)]
        return {**more, "keep_float": list(dict.fromkeys([*given, *new]))}

    def _search(self, signatures: Sequence[Mapping[str, Any]]) -> list[tuple[Search, bool]]:
        """The searches that were made; each with whether `io: float32` is part of it."""
        names = {
            (x["subgraph"], x["index"]): x["name"] for told in signatures for x in told["layers"]
        }
        own, seconds = self.aim.optimization, self.aim.model.timeout

        def run(more: Mapping[str, Any]) -> Search:
            able = proposing.open_to(signatures, _with(own, more))
            return proposing.search(
                able, lambda places: self._attempt(names, more, places),
                self.options.tries, seconds,
            )  # fmt: skip

        made = [(run({}), False)]
        best = made[0][0].best
        if (best is None or not best.passed) and {own.io, own.io_output or own.io} != {"float32"}:
            # An integer input or output has its range, whatever is float between them.
            made.append((run({"io": "float32"}), True))
        return made

    # the report

    def report(self) -> dict[str, Any]:
        aim = self.aim
        found = self.measured()
        signatures = found["signatures"]
        convert = self.trials.read_json(self.decider, aim.convert, "convert.json")
        reasons = calibration_fault(signatures, convert.get("calibration"))
        calibrated = aim.optimization.calibrates
        passed = aim.verdict.passed
        refused = proposing.refusal(aim.optimization) or proposing.beyond(aim.verdict)
        if passed:
            refused = "the gate passes"
        elif found["unrunnable"]:
            refused = found["unrunnable"]
        before, proof, stops = self.before(), None, ""
        if calibrated and reasons and not passed:
            proof = self._calibrated_on_test(signatures)
            stops = _stops_both(before, proof)
        if stops and not refused:
            refused = (
                "no list was searched, since a limit stops even a well calibrated file; change that"
                " limit, or calibrate well first and run --debug again"
            )
        proposal, tries = (None, []) if refused else self._proposal(signatures)
        if proposal is None and not refused:
            refused = "no operator of it can be kept float"
        for told in signatures:
            told["layers"] = [dict(x) for x in proposing.worst_first(told["layers"])]
        return {
            "task": f"debug:{aim.pair}",
            "model": aim.model.name,
            "optimization": aim.optimization.name,
            "quantize": aim.optimization.quantize,
            "quantizer": aim.optimization.quantizer,
            "file": self.sha256,
            "float_file": outputs_of(self.decider, f"evaluate:{aim.model.name}")["float.tflite"][0],
            "gate": aim.verdict.as_json(),
            "blame": _blame(before["parity"], signatures, self.result.measured[aim.step.name]),
            "unrunnable": found["unrunnable"],
            "signatures": signatures,
            "calibration": {
                "suspected": bool(reasons) and calibrated,
                "reasons": reasons if calibrated else [],
                "remedy": REMEDY if reasons and calibrated else "",
                "on_test_data": proof,
                "stops": stops,
            },
            "before": before,
            "proposal": proposal,
            "refused": refused,
            "tries": tries,
        }

    def _proposal(
        self, signatures: Sequence[Mapping[str, Any]]
    ) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
        """The best list that was found, and all that were tried."""
        made = self._search(signatures)
        tries = [dict(t.told) for search, _ in made for t in search.made.values()]
        bests = [b for search, _ in made if (b := search.best) is not None]
        best = next((b for b in bests if b.passed), max(bests, key=lambda b: b.score, default=None))
        if best is None:
            return None, tries
        settings = {k: best.told[k] for k in ("io", "keep_float") if k in best.told}
        name = self.aim.optimization.name
        inherited = name not in self.aim.model.own
        return {
            "settings": settings,
            "yaml": [proposing.yaml_line(name, {**self.aim.model.written[name], **settings})],
            "place": str(self.aim.model.position if inherited else self.aim.where()),
            "inherited": str(self.aim.where()) if inherited else "",
            "passes": best.passed,
            "operators": len(best.places),
            "after": {k: v for k, v in best.told.items() if k not in settings},
        }, tries

    def _calibrated_on_test(self, signatures: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
        """The same file, calibrated on test data: what it would be without the fault. None where
        the test data are no files of arrays."""
        model = self.aim.model
        changed = []
        for shipped, told in zip(model.signatures, signatures, strict=True):
            if not isinstance(shipped.test, FileData):
                return None
            count = min(CALIBRATION, told["samples"]["of"])
            seed = 0 if shipped.test.seed is None else shipped.test.seed
            test = replace(shipped.test, samples=count, seed=seed, labels=None)
            changed.append(replace(shipped, calibration=test))
        fixed = replace(model, signatures=tuple(changed))
        found = self.judged(self.aim.optimization, fixed)
        return None if found["size"] is None else found


def _numbers(aim: _Aim, result: Result, fits: Sequence[str]) -> dict[str, Any]:
    """JSON: size, SQNR by output, metrics, and whether all gates pass."""
    task, verdict = aim.step.name, result.verdicts.get(aim.step.name)
    measured = result.measured.get(task, {})
    reasons = [failure(result, [task, *fits])]
    failures = [
        finding for name in (task, *fits) if name in result.verdicts
        for finding in result.verdicts[name].failures
    ]  # fmt: skip
    reasons += [finding.message for finding in failures]
    return {
        "passed": result.passed(task) and verdict is not None and all(map(result.passed, fits)),
        "reasons": [reason for reason in reasons if reason],
        "failed": [{"check": f.check, "of": f.of, "message": f.message} for f in failures],
        "size": result.sizes.get(aim.convert),
        "parity": [
            {"signature": p["signature"], "output": p["output"], "sqnr": p.get("sqnr"),
             "equal": bool(p.get("equal"))}
            for p in measured.get("parity", ())
        ],
        "metrics": [
            {"signature": m["signature"], "name": m["name"], "source": m.get("source"),
             "file": m.get("file")}
            for m in measured.get("metrics", ())
        ],
    }  # fmt: skip


def _stops_both(before: Mapping[str, Any], proof: Mapping[str, Any] | None) -> str:
    """The first limit that the file misses also when it is well calibrated, in words; "" where
    there is none."""
    if proof is None:
        return ""
    missed = {(f["check"], f["of"]) for f in before["failed"]}
    both = [f["message"] for f in proof["failed"] if (f["check"], f["of"]) in missed]
    return proposing.brief(both[0]) if both else ""


def _sqnr(parity: Mapping[str, Any]) -> float:
    number = parity["sqnr"]
    if number is None:
        return 1e3 if parity["equal"] else -1e3
    return float(number)


def _blame(
    parity: Sequence[Mapping[str, Any]],
    signatures: Sequence[Mapping[str, Any]],
    measured: Mapping[str, Any],
) -> str:
    """Whether the worst output loses what it loses by quantization, or before. Where validate told
    both apart, by its numbers; else by the SQNR between float and quantized file, which a few
    samples give here, beside that between source and quantized file."""
    worst = min(
        (p for p in parity if p["sqnr"] is not None), key=_sqnr, default=None
    )  # fmt: skip
    if worst is None:
        return ""
    for entry in measured.get("parity", ()):
        parts = [entry.get("float"), entry.get("quantization")]
        same = (entry["signature"], entry["output"]) == (worst["signature"], worst["output"])
        if same and all(isinstance(part, dict) for part in parts):
            before, after = (_sqnr({"equal": True, **part}) for part in parts)
            return QUANTIZATION if after <= before else CONVERSION
    for told in signatures:
        for output in told["outputs"]:
            if (told["signature"], output["name"]) == (worst["signature"], worst["output"]):
                alone = output["sqnr"]
                near = alone is not None and alone <= worst["sqnr"] + FAR
                return QUANTIZATION if near else CONVERSION
    return ""


def _debug_step(aim: _Aim, samples: int, root: Path) -> Step:
    """The action that measures the layers."""
    model, optimization = aim.model, aim.optimization
    params, files = data_inputs("test", [parity_data(s) for s in model.signatures])
    group = next(
        g for g in groups(aim.workspace, optimization)
        if aim.step.name.endswith(f":{optimization.name}{g.suffix}")
    )  # fmt: skip
    running = group.running(root)
    return Step(
        f"debug:{aim.pair}", "debug", model, optimization,
        params={
            "test": params, "sequences": sequences(model), "samples": samples,
            "data": [data_name(shipped) for shipped in model.signatures], **running.params,
        },
        files={**files, **running.files},
        request=running.request,
        ports=(
            Port(aim.convert, ("model.tflite",)),
            Port(f"evaluate:{model.name}", ("float.tflite",)),
            Port(f"lower:{model.name}", ("interface.json",)),
            *data_ports("test", model),
        ),
    )  # fmt: skip
