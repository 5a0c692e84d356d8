"""validate: run the converted file on the test inputs and measure it against the source.

Output: `validate.json`: per output the parity numbers, pooled over all samples, with the source
and, for a quantized file, what the float file of the same model has to do with it; the metrics of
source, float file and file; what ran it. It measures and does not judge: limits are the gate's.
A file whose kernels are nowhere here is not run, and `unvalidated` says why.

The samples are run in chunks, over processes (`tflbuild.validation.running`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tflbuild import data, metrics
from tflbuild.interface import told_with
from tflbuild.kernels import Kernels
from tflbuild.limits import limit_action
from tflbuild.stages.base import Request
from tflbuild.validation import golden, parity
from tflbuild.validation.comparing import Comparison, opener, outputs_of
from tflbuild.validation.file import File
from tflbuild.validation.running import Crew, Evidence, Phase

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

VERSION = 8
MODULES: tuple[str, ...] = ("numpy", "ai_edge_litert")
ZYGOTE = "lite"

BASELINE = "baseline/"  # before the names of inputs that the float file gave
SATURATED = 0.01  # share of an input's test values outside its quantized range worth a warning


def run(request: Request) -> None:
    from tflbuild.stages.guard import guarded_group
    from tflbuild.tflite.interface import of_model
    from tflbuild.tflite.read import read_model

    params = request.params
    limit_action(request.inputs.values())
    interface = request.read_json("interface.json")
    signatures = interface["signatures"]
    path, kernels = request.inputs["model.tflite"], Kernels.of(request)
    model = read_model(path.read_bytes())
    report: dict[str, Any] = {
        "signatures": [], "parity": [], "metrics": [], "golden": [],
        "state_tensors": 0, "warnings": [],
        "runner": kernels.runner(model), "unvalidated": kernels.missing(model),
        "interface": of_model(model), "baseline": None,
    }  # fmt: skip
    tests = [_Test(request, index, own) for index, own in enumerate(signatures)]
    for test in tests:
        report["signatures"].append(test.described)
        report["warnings"] += test.samples.warnings
    if report["unvalidated"]:
        request.write_json("validate.json", report)
        return
    if BASELINE + "baseline.json" in request.inputs:
        report["baseline"] = request.read_json(BASELINE + "baseline.json")["problem"]
    with told_with(request.last, report["interface"]):
        comparisons = [test.comparison(request, len(tests) > 1) for test in tests]
    limit_action(request.inputs.values())  # of which the data are mapped by now
    openers = [
        opener(path, own, params["sequences"][index], kernels,
               request.out.parent / f"elsewhere.{index}")
        for index, own in enumerate(signatures)
    ]  # fmt: skip
    if kernels.elsewhere(model):
        guarded_group()

    def opened(number: int) -> Phase:
        return comparisons[number].phase(openers[number])

    evidence: list[Iterable[Evidence]] = []
    with Crew(request) as crew:
        crew.fork(max(comparison.chunks() for comparison in comparisons), opened)
        for test, comparison, begin in zip(tests, comparisons, openers, strict=True):
            file = begin()
            phase = comparison.phase(lambda file=file: file)  # type: ignore[misc]
            found = crew.run(phase)
            assert found is not None
            evidence.append(found)
            test.described["resumable"] = phase.resumable
            report["parity"] += test.parity(comparison, found)
            test.described["saturated"] = saturated = _shares(found)
            report["state_tensors"] += file.state_tensors
            report["warnings"] += _warnings(saturated, file)
        merged = [
            test.merged(request, comparison, found)
            for test, comparison, found in zip(tests, comparisons, evidence, strict=True)
        ]
    with told_with(request.last, report["interface"]):
        report["golden"] = golden.measure(request, interface, kernels)
        # A user's code shuts the workspace to this process: it comes last.
        for test, found_of in zip(tests, merged, strict=True):
            several = test.name if len(tests) > 1 else None
            for settings, sides in zip(test.metrics, found_of, strict=True):
                entries = metrics.result(settings, sides, several)
                report["metrics"] += [{"signature": test.name, **entry} for entry in entries]
    request.write_json("validate.json", report)


class _Test:
    """One signature with its data."""

    def __init__(self, request: Request, index: int, signature: Mapping[str, Any]) -> None:
        params = request.params
        self.index = index
        self.signature = signature
        self.name = signature["signature"]
        self.settings = params["signatures"][index]
        self.sequence = params["sequences"][index]
        self.metrics: list[dict[str, Any]] = []
        self.samples = samples = data.load(
            params["test"][index], request.files(f"test.{index}"), signature["inputs"], "test"
        )
        self.described: dict[str, Any] = {
            "signature": self.name,
            "samples": samples.count,
            "representative": samples.representative,
            "data": self.settings["data"],
            "saturated": {},
            "resumable": True,
        }

    def comparison(self, request: Request, several: bool) -> Comparison:
        """Raises TaskError where metrics cannot be measured."""
        entries = request.read_json("reference.json")["signatures"][self.index]["outputs"]
        specs = {entry["name"]: entry for entry in entries}
        self.metrics = [
            metrics.prepare(metric, request.inputs, specs) for metric in self.settings["metrics"]
        ]
        where = self.name if several else None
        for metric in self.metrics:
            metrics.check(metric, specs, self.samples.labels, where)
        source = outputs_of(request, entries)
        return Comparison(
            self.index, self.signature, self.samples, self.sequence, source,
            self._float(request, source),
            _top_k(self.settings.get("top_k", {}), specs, self.samples.count),
            self._measure,
        )  # fmt: skip

    def _float(self, request: Request, source: Mapping[str, Array]) -> dict[str, Array] | None:
        """What the float file gave; None where it was not run, or gave something else."""
        if BASELINE + "baseline.json" not in request.inputs:
            return None
        told = request.read_json(BASELINE + "baseline.json")
        if told["problem"]:
            return None
        found = outputs_of(request, told["signatures"][self.index]["outputs"], BASELINE)
        alike = all(n in found and found[n].shape == array.shape for n, array in source.items())
        return found if alike else None

    def _measure(self, side: str, outputs: Mapping[str, Array], labels: Any) -> dict[str, Array]:
        """Of the metrics, by number. What is large is kept of the file alone: of the others it
        lies there already."""
        return {
            f"{number}.{name}": array
            for number, metric in enumerate(self.metrics)
            if side == "file" or not metrics.is_large(metric)
            for name, array in metrics.evidence_of(metric, outputs, labels).items()
        }

    def parity(
        self, comparison: Comparison, evidence: Iterable[Evidence]
    ) -> Iterator[dict[str, Any]]:
        told = [chunk.told for chunk in evidence]
        for name in comparison.source:
            numbers = parity.merge(chunk["parity"][name] for chunk in told)
            for worst in numbers.get("worst_samples", ()):
                places = self.samples.places
                worst["in_file"] = None if places is None else places[worst["sample"]]
            entry = {"signature": self.name, "output": name, **numbers}
            for between in ("float", "quantization"):
                entry[between] = None
                if comparison.other is not None:
                    entry[between] = parity.short(
                        parity.merge(chunk[between][name] for chunk in told)
                    )
            yield entry

    def merged(
        self, request: Request, comparison: Comparison, evidence: Iterable[Evidence]
    ) -> list[dict[str, Any]]:
        """The evidence of each metric by side."""
        found = []
        for number, metric in enumerate(self.metrics):
            sides: dict[str, Any] = {"float": None}
            large = metrics.is_large(metric)
            if large:
                given = {"source": comparison.source, "float": comparison.other}
                sides |= {
                    side: metrics.evidence_of(metric, outputs, self.samples.labels)
                    for side, outputs in given.items()
                    if outputs is not None
                }
            for side in ("file",) if large else ("source", "float", "file"):
                if side == "float" and comparison.other is None:
                    continue
                folder = request.out.parent / f"metric.{self.index}.{number}" if large else None
                sides[side] = metrics.merge(_chosen(evidence, f"{side}.{number}."), folder)
            found.append(sides)
        return found


def _chosen(evidence: Iterable[Evidence], prefix: str) -> Iterator[dict[str, Array]]:
    for chunk in evidence:
        yield {
            name.removeprefix(prefix): array
            for name, array in chunk.arrays.items()
            if name.startswith(prefix)
        }


def _top_k(
    asked: Mapping[str, Sequence[int]], specs: Mapping[str, Any], samples: int
) -> dict[str, list[int]]:
    """By output, of those asked for one ("": for all). Where an output has no more values of a
    sample, all of them are always among the largest: nothing is measured, and the gate says so."""
    found: dict[str, list[int]] = {}
    for name, spec in specs.items():
        size = 1
        for length in spec["shape"]:
            size *= length
        counts = asked[name] if name in asked else asked.get("", ())
        fitting = sorted({k for k in counts if k < size // max(1, samples)})
        if fitting:
            found[name] = fitting
    return found


def _shares(evidence: Iterable[Evidence]) -> dict[str, float]:
    """Of each quantized input: the share of its values outside the range."""
    counts: dict[str, list[int]] = {}
    for chunk in evidence:
        for name, (outside, size) in chunk.told["saturated"].items():
            sums = counts.setdefault(name, [0, 0])
            sums[0] += outside
            sums[1] += size
    return {name: round(outside / max(1, size), 6) for name, (outside, size) in counts.items()}


def _warnings(saturated: Mapping[str, float], file: File) -> list[str]:
    found = [
        f"{share:.1%} of the test values of input {name!r} lie outside the range that the file's"
        " quantized input can hold: they saturate; calibrate on data that reaches as far"
        for name, share in saturated.items()
        if share > SATURATED
    ]
    if file.state_tensors and file.sequence is None:
        found.append(
            f"the file keeps {file.state_tensors} state tensors from call to call, where the"
            " source begins anew: call reset_all_variables() (C++: ResetVariableTensors) between"
            " calls; validate.sequence tells how state is to be tested"
        )
    return found
