"""The gate: an interval beside a limit."""

from __future__ import annotations

from typing import Any

import pytest

from tflbuild import benchmark_gate
from tflbuild.manifest.model import Benchmark, Model, RatioLimit, Source
from tflbuild.verdict import Verdict

TIMES = {"median": 1.3, "q1": 1.25, "q3": 1.35, "mad": 0.05, "min": 1.2, "max": 9.0}


def pair(file: str, against: str, low: float, ratio: float, high: float) -> dict[str, Any]:
    return {"file": file, "against": against, "ratio": ratio, "low": low, "high": high}


def measured(*times: dict[str, Any], **more: Any) -> dict[str, Any]:
    names = more.pop("names", ("float32", "int8"))
    memory = {"bytes": [10], "heap_init": 3, "heap": 4_000, "file": 6_000, "peak_rss": 7}
    return {
        "settings": {"threads": 1, "delegate": "xnnpack"},
        "files": [{"file": name, "unmeasured": "", "memory": memory} for name in names],
        "signatures": [{
            "signature": "serve", "cpu_share": 1.0, "ratios": list(times), "representative": True,
            "files": [{"file": name, "ms": TIMES, "per_op": None} for name in names],
        }],
        "memory_ratios": [], "warnings": [], "others": 0.0, **more,
    }  # fmt: skip


def judge(found: dict[str, Any], *limits: RatioLimit) -> Verdict:
    model = Model("m", Source("keras"), (), (), benchmark=Benchmark(max_ratio=limits))
    return benchmark_gate.judge(found, model)


def said(verdict: Verdict) -> list[tuple[str, str]]:
    return [(finding.level, finding.check) for finding in verdict.findings]


LIMIT = RatioLimit("int8", "float32", time=0.8)
CHECK = "benchmark.int8.time"


@pytest.mark.parametrize(
    ("low", "ratio", "high", "level"),
    [
        (0.3, 0.4, 0.5, None),
        (0.7, 0.75, 0.8, None),  # up to the limit is within it
        (0.7, 0.75, 0.81, "warn"),
        (0.8, 0.9, 1.0, "warn"),
        (0.81, 0.9, 1.0, "fail"),
    ],
)
def test_a_limit_and_an_interval(low: float, ratio: float, high: float, level: str | None) -> None:
    verdict = judge(measured(pair("int8", "float32", low, ratio, high)), LIMIT)
    assert said(verdict) == ([(level, CHECK)] if level else [])
    assert verdict.passed is (level != "fail")


def test_what_a_person_reads() -> None:
    failed = judge(measured(pair("int8", "float32", 0.88, 0.91, 0.94)), LIMIT)
    assert failed.findings[0].message == (
        "int8 takes 0.91× (0.88–0.94) the time of float32, max_ratio is 0.8;"
        " `tflbuild build -B benchmark:m` measures again"
    )
    doubtful = judge(measured(pair("int8", "float32", 0.78, 0.8, 0.94)), LIMIT)
    assert doubtful.findings[0].message == (
        "int8 takes 0.80× (0.78–0.94) the time of float32: the limit 0.8 lies within the interval,"
        " so this run cannot tell; more `repeats`, or a quiet machine, would"
    )


def test_the_other_direction_is_another_ratio() -> None:
    found = measured(pair("float32", "int8", 3, 4, 5), pair("int8", "float32", 0.2, 0.25, 0.3))
    assert judge(found, LIMIT).passed
    assert not judge(found, RatioLimit("float32", "int8", time=2)).passed


def test_memory() -> None:
    found = measured(memory_ratios=[pair("int8", "float32", 0.6, 0.6, 0.6)])
    assert said(judge(found, RatioLimit("int8", "float32", memory=0.5))) == [
        ("fail", "benchmark.int8.memory")
    ]
    assert judge(found, RatioLimit("int8", "float32", memory=0.6)).passed


def test_each_signature_counts() -> None:
    found = measured(pair("int8", "float32", 0.1, 0.2, 0.3))
    slow = {**found["signatures"][0], "signature": "decode",
            "ratios": [pair("int8", "float32", 1, 2, 3)]}  # fmt: skip
    found["signatures"].append(slow)
    (finding,) = judge(found, LIMIT).findings
    assert "of float32 in signature 'decode', max_ratio is 0.8" in finding.message


def test_what_was_not_measured_misses_its_limit() -> None:
    found = measured()
    found["files"][1]["unmeasured"] = "its custom ops Mine have no kernels here"
    (finding,) = judge(found, LIMIT).findings
    assert finding.level == "fail"
    assert finding.message == (
        "max_ratio of int8 against float32 cannot be judged: int8 is not measured: its custom ops"
        " Mine have no kernels here"
    )
    (finding,) = judge(measured(), RatioLimit("int8", "float32", memory=1)).findings
    assert "the system does not say" in finding.message


def test_files_of_one_profile_are_compared() -> None:
    names = ("float32", "float32+select", "int8", "int8+select", "int8+custom")
    found = measured(
        pair("int8", "float32", 0.1, 0.1, 0.1),
        pair("int8+select", "float32+select", 0.9, 0.9, 0.9),
        pair("int8+select", "float32", 0.1, 0.1, 0.1),
        pair("int8+custom", "float32", 0.1, 0.1, 0.1),
        names=names,
    )
    assert said(judge(found, LIMIT)) == [("fail", "benchmark.int8+select.time")]


def test_warnings_are_passed_on_without_limits() -> None:
    found = measured(warnings=["threads: 2 has no effect on int8", "threads: 2 has no effect"])
    verdict = judge(found)
    assert [f.level for f in verdict.findings] == ["warn", "warn"]
    assert verdict.passed


@pytest.mark.parametrize(
    ("share", "others", "words"),
    [(0.7, 0.0, "had 70% of a core"), (1.0, 1.3, "kept 1.3 cores busy"), (None, None, "")],
)
def test_a_busy_machine(share: float | None, others: float | None, words: str) -> None:
    found = measured(others=others)
    found["signatures"][0]["cpu_share"] = share
    messages = [finding.message for finding in judge(found).findings]
    assert all(words in message for message in messages)
    assert bool(messages) is bool(words)


def test_lines() -> None:
    found = measured(pair("int8", "float32", 0.38, 0.41, 0.44))
    assert benchmark_gate.lines(found) == [
        "time (1 thread, xnnpack): float32 1.3 ms ± 0.05; int8 0.41× of float32 (0.38–0.44),"
        " 1.3 ms ± 0.05",
        "memory: float32 heap 4,000 B + file 6,000 B; int8 heap 4,000 B + file 6,000 B",
    ]
    found["signatures"][0]["representative"] = False
    found["signatures"][0]["files"][0]["per_op"] = {"covered": 0.914, "slowed": 1.1}
    found["signatures"][0]["files"][1]["per_op"] = {"covered": 0.978, "slowed": 1.25}
    (time, _) = benchmark_gate.lines(found, ["int8"])
    assert time.startswith("time (1 thread, xnnpack, random inputs): float32 1.3 ms ± 0.05; int8")
    assert time.endswith("; operators add up to 91–98 % (timing them: 1.25×)")


@pytest.mark.parametrize(
    ("median", "spread", "text"),
    [(0.0128, 0.00008, "12.8 µs ± 0.08"), (1.3, 0.1, "1.3 ms ± 0.1"), (1234.6, 12, "1235 ms ± 10"),
     (0.9994, 0.0, "999 µs ± 0")],
)  # fmt: skip
def test_times_for_people(median: float, spread: float, text: str) -> None:
    assert benchmark_gate.shown_time(median, spread) == text
