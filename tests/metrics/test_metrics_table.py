"""The column of the metric in the table that ends a build."""

from __future__ import annotations

from typing import Any

from tflbuild.reporting import tables


def entry(name: str, file: float | None, **more: Any) -> dict[str, Any]:
    return {"name": name, "file": file, "source": 0.9, "higher_is_better": True,
            "interval": [0.5, 0.75], **more}  # fmt: skip


def test_the_first_one() -> None:
    both = {"metrics": [entry("accuracy", 0.25), entry("a", 0.5)]}
    first = {"metrics": [entry("mAP", 0.5, interval=None), entry("recall", 0.25)]}
    assert tables._metric_names([both, both]) == ["accuracy"]
    assert tables._metric(both, named=False) == ["0.2500 of 0.9000", "±0.12"]
    assert tables._metric_names([both, first]) == ["accuracy", "mAP"]
    assert tables._metric(first, named=True) == ["mAP 0.5000 of 0.9000", ""]
    assert tables._metric({"metrics": []}, named=False) == ["", ""]


def test_the_worst_signature() -> None:
    higher = {"metrics": [entry("f1", 0.5), entry("f1", 0.25), entry("f1", None)]}
    assert tables._metric(higher, named=False)[0].startswith("0.2500 of")
    errors = [entry("e", n, higher_is_better=False, source=123.456) for n in (1.0, 1234.56)]
    assert tables._metric({"metrics": errors}, named=False)[0] == "1235 of 123.5"
    assert tables._metric({"metrics": [entry("f1", None)]}, named=False) == ["?", ""]
