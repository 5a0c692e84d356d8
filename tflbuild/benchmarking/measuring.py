"""The whole measurement of a model's files, in one action."""

from __future__ import annotations

import functools
import itertools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from tflbuild import data
from tflbuild.benchmarking import rounds, single, statistics
from tflbuild.benchmarking.apart import Failed, apart
from tflbuild.benchmarking.loaded import XNNPACK, Loaded
from tflbuild.benchmarking.machine import Watch, machine
from tflbuild.errors import TaskError
from tflbuild.kernels import Kernels

if TYPE_CHECKING:
    from tflbuild.stages.base import Request
    from tflbuild.tflite.read import TfliteModel

SEED = 0  # of the order of rounds, and of the bootstrap
SAMPLES = 8  # inputs, which the rounds take in turn
PROCESSES, FEW = 5, 10  # that share the rounds; rounds of each, at least
OPERATOR_RUNS = 20  # inferences for the times of operators, at most
FRESH = 5  # processes for each file: for memory, loading and the first inference
MODEL = "model.tflite"
_XNNPACK = "XNNPack"  # in the name that the delegate has


@dataclass(frozen=True)
class Measured:
    """One converted file."""

    name: str  # the optimization, with the suffix of the converter profile
    path: Path
    model: TfliteModel
    kernels: Kernels
    missing: str  # why it cannot be run here; "" when it can


def measure(request: Request) -> dict[str, Any]:
    """The report. Raises TaskError."""
    params = request.params
    threads, delegate, repeats = params["threads"], params["delegate"], params["repeats"]
    here = machine()
    if threads > int(here["cores"]):
        raise TaskError(
            f"threads: {threads} on {here['cores']} core(s): the threads would wait for each other,"
            " and the times say nothing; declare as many as there are cores, or fewer",
            key="benchmark.threads",
        )
    watched = Watch()
    files = [_file(request, entry) for entry in params["files"]]
    able = [file for file in files if not file.missing]
    interface = request.read_json("interface.json")["signatures"]
    described = {
        file.name: {"file": file.name, "size": file.path.stat().st_size, "unmeasured": file.missing}
        for file in files
    }
    report: dict[str, Any] = {
        "machine": here,
        "settings": {
            key: params[key] for key in ("threads", "delegate", "warmup", "repeats", "per_op")
        },
        "seed": SEED,
        "signatures": [], "warnings": [],
    }  # fmt: skip
    sections = [
        _Section(request, index, signature, able) for index, signature in enumerate(interface)
    ]
    # This process runs no file itself: each that does begins anew, and may die.
    for file in able:
        described[file.name] |= {"memory": None, "load_ms": None, "first_ms": None, "threads": 0}
    _fresh(sections[0], described)
    for section in sections:
        section.operators(min(repeats, OPERATOR_RUNS) if params["per_op"] else 0)
    # A delegate may take an operator of one signature alone.
    plans = {
        f"{name} ({section.report['signature']})" if len(sections) > 1 else name: plan
        for section in sections
        for name, plan in section.plans.items()
    }
    report["warnings"] += check_plans(threads, delegate, plans)
    check_threads(threads, described, report["warnings"])
    for section in sections:
        report["signatures"].append(section.rounds())
        report["warnings"] += section.warnings
    report["files"] = list(described.values())
    report["others"] = watched.others()
    report["memory_ratios"] = _memory_ratios(described)
    rounded: dict[str, Any] = _rounded(report)
    return rounded


def _rounded(value: Any) -> Any:
    """Nanoseconds, and millionths of a ratio: no clock tells more."""
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list) else value


def _file(request: Request, entry: Mapping[str, Any]) -> Measured:
    from tflbuild.stages.base import Request as Part
    from tflbuild.tflite.read import read_model

    name = entry["name"]
    start = name + "/"
    inputs = {n[len(start) :]: p for n, p in request.inputs.items() if n.startswith(start)}
    own = Part(entry["params"], inputs, request.out)
    path, kernels = own.inputs[MODEL], Kernels.of(own)
    model = read_model(path.read_bytes())
    return Measured(name, path, model, kernels, kernels.missing(model))


class _Section:
    """One signature, with the files that have it."""

    def __init__(
        self,
        request: Request,
        index: int,
        interface: Mapping[str, Any],
        files: Sequence[Measured],
    ) -> None:
        self.params = params = request.params
        self.interface = interface
        self.files = files
        self.warnings: list[str] = []
        inputs = interface["inputs"]
        samples = data.load(params["test"][index], request.files(f"test.{index}"), inputs, "test")
        self.samples = list(itertools.islice(data.batches(samples, inputs, size=1), SAMPLES))
        self.report: dict[str, Any] = {
            "signature": interface["signature"],
            "data": params["signatures"][index]["data"],
            "representative": samples.representative,
            "samples": len(self.samples),
        }
        self.plans: dict[str, dict[str, Any]] = {}
        self.reasons: dict[str, str] = {}  # why the operators are not known

    def load(self, file: Measured, hooks: Sequence[Any] = ()) -> Loaded:
        return Loaded(
            file.path, file.model, self.interface, self.samples,
            threads=self.params["threads"], delegate=self.params["delegate"],
            kernels=file.kernels, hooks=hooks,
        )  # fmt: skip

    def operators(self, runs: int) -> None:
        """The plan of each file, and with `runs` the times of its operators."""
        key = self.interface["signature"]
        for file in self.files:
            subgraph = next((s.subgraph for s in file.model.signatures if s.key == key), 0)
            work = functools.partial(
                single.operators, functools.partial(self.load, file), file.model, subgraph, runs,
                runs > 0,
            )  # fmt: skip
            try:
                self.plans[file.name] = apart(work)
            except Failed as error:
                self.reasons[file.name] = str(error)
                self.warnings.append(f"what {file.name} runs is not known: {error}")

    def rounds(self) -> dict[str, Any]:
        """The files beside each other."""
        names = [file.name for file in self.files]
        repeats = self.params["repeats"]
        plan = rounds.schedule(names, repeats, SEED)
        parts = []
        for part in split(plan, max(1, min(PROCESSES, repeats // FEW))):
            try:
                parts.append(apart(functools.partial(self._part, part)))
            except Failed as error:
                raise TaskError(str(error)) from error
        times = {name: [part["times"][name] for part in parts] for name in names}
        # What threads wait for each other is not known; one thread alone never waits.
        cpu, wall = (sum(part[key] for part in parts) for key in ("cpu", "wall"))
        alone = self.params["threads"] == 1 and wall
        self.report["cpu_share"] = min(1.0, cpu / wall) if alone else None
        self.report["processes"] = len(parts)
        self.report["files"] = [
            self._told(name, list(itertools.chain(*values))) for name, values in times.items()
        ]
        self.report["ratios"] = [
            {"file": one, "against": other, **statistics.ratio(times[one], times[other], SEED)}
            for one in names
            for other in names
            if one != other
        ]
        return self.report

    def _part(self, plan: Sequence[Sequence[str]]) -> dict[str, Any]:
        """The rounds of one process: nanoseconds by file, of this process on a processor, and of
        the clock."""
        loaded = {file.name: self.load(file) for file in self.files}
        for one in loaded.values():
            for turn in range(self.params["warmup"]):
                one.feed(turn)
                one.invoke()
        cpu, wall = time.process_time_ns(), time.perf_counter_ns()
        times = rounds.measure(loaded, plan, time.perf_counter_ns)
        cpu, wall = time.process_time_ns() - cpu, time.perf_counter_ns() - wall
        return {"times": times, "cpu": cpu, "wall": wall}

    def _told(self, name: str, nanoseconds: Sequence[int]) -> dict[str, Any]:
        milliseconds = [number / 1e6 for number in nanoseconds]
        found: dict[str, Any] = {
            "file": name,
            "ms": statistics.summary(milliseconds),
            "delegates": None, "taken": None, "ops": None, "arena": None, "per_op": None,
            "per_op_problem": self.reasons.get(name, ""),
        }  # fmt: skip
        plan = self.plans.get(name)
        if plan is None:
            return found
        found |= {key: plan[key] for key in ("delegates", "taken", "ops", "arena")}
        if plan["nodes"] is not None:
            found["per_op"] = per_op(plan, found["ms"]["median"])
        return found


def split(plan: Sequence[Sequence[str]], parts: int) -> list[Sequence[Sequence[str]]]:
    """The rounds in so many pieces, in order, whose lengths differ by one at most."""
    bounds = [len(plan) * part // parts for part in range(parts + 1)]
    return [plan[low:high] for low, high in itertools.pairwise(bounds)]


def per_op(plan: Mapping[str, Any], whole_ms: float) -> dict[str, Any]:
    """The operators' times beside the whole's.

    `sum_ms`: of the nodes' medians; `profiled_ms`: the median of a whole inference in the same
    runs, with a clock at each node; `covered`: the sum as a part of that. `whole_ms`: the median of
    an inference in the rounds, undisturbed; `slowed`: how many times that the clocks make of it.
    """
    total, profiled = sum(node["ms"] for node in plan["nodes"]), plan["whole_ns"] / 1e6
    return {
        "nodes": [
            {**node, "share": node["ms"] / total if total else 0.0} for node in plan["nodes"]
        ],
        "sum_ms": total,
        "profiled_ms": profiled,
        "covered": total / profiled if profiled else 0.0,
        "whole_ms": whole_ms,
        "slowed": profiled / whole_ms if whole_ms else 0.0,
    }


def _fresh(section: _Section, described: dict[str, dict[str, Any]]) -> None:
    """Memory, loading and first inference, of the first signature."""
    found: dict[str, list[dict[str, Any]]] = {file.name: [] for file in section.files}
    by_name = {file.name: file for file in section.files}
    for order in rounds.schedule(list(found), FRESH, SEED):
        for name in order:
            file = by_name[name]
            load = functools.partial(section.load, file)
            try:
                found[name].append(apart(functools.partial(single.fresh, load, file.path)))
            except Failed as error:
                raise TaskError(f"{name}: {error}") from error
    for name, runs in found.items():
        described[name] |= {
            "memory": _memory(runs),
            "load_ms": statistics.summary([run["load_ns"] / 1e6 for run in runs]),
            "first_ms": statistics.summary([run["first_ns"] / 1e6 for run in runs]),
            "threads": max(run["threads"] for run in runs) + 1,
        }


def _memory(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Bytes: medians, and `bytes`, what is compared, of each process: the heap and the file."""

    def middle(key: str) -> int | None:
        values = [run[key] for run in runs]
        return None if None in values else round(median(values))

    known = all(run["heap"] is not None for run in runs)
    return {
        "bytes": [run["heap"] + run["file"] for run in runs] if known else None,
        "heap_init": middle("heap_init"),
        "heap": middle("heap"),
        "file": runs[0]["file"],
        "peak_rss": middle("peak_rss"),
    }


def _memory_ratios(described: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    known = {
        name: file["memory"]["bytes"]
        for name, file in described.items()
        if file.get("memory") and file["memory"]["bytes"] is not None
    }
    return [
        {"file": one, "against": other, **statistics.extremes(known[one], known[other])}
        for one in known
        for other in known
        if one != other
    ]


def check_plans(threads: int, delegate: str, plans: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What was asked for against what runs. `plans`: see `single.operators`, by file.

    Returns warnings. Raises TaskError for a delegate that takes nothing of any file, since that
    has no effect, and where the interpreter does something else than it was told.
    """
    taking = {name: any(_XNNPACK in d for d in plan["delegates"]) for name, plan in plans.items()}
    if delegate == XNNPACK and plans and not any(taking.values()):
        raise TaskError(
            "delegate: xnnpack has no effect: it takes no operator of any file; write"
            " `delegate: none`",
            key="benchmark.delegate",
        )
    for name, plan in plans.items():
        if delegate != XNNPACK and taking[name]:
            raise TaskError(f"{name}: this LiteRT applies XNNPACK though it is told not to")
        if plan["threads"] != threads:
            raise TaskError(
                f"{name}: this LiteRT tells its kernels to use {plan['threads']} threads, not"
                f" {threads}"
            )
    return [
        f"XNNPACK takes none of the {plans[name]['ops']} operators of {name}: its time is that of"
        " the interpreter's own kernels"
        for name, takes in taking.items()
        if delegate == XNNPACK and not takes
    ]


def check_threads(
    threads: int, described: Mapping[str, Mapping[str, Any]], warnings: list[str]
) -> None:
    """Kernels may leave threads unused; which do, no table says. `described`: `threads` that the
    process of each file had in the end."""
    alone = [n for n, f in described.items() if f.get("threads") == 1 and not f["unmeasured"]]
    if threads > 1 and alone:
        warnings.append(
            f"threads: {threads} has no effect on {', '.join(alone)}: no kernel of it started a"
            " second thread"
        )
