"""`validate.metrics`: what is measured on labelled test data, and its limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tflbuild.manifest.code import build_args, build_code
from tflbuild.manifest.context import ModelNodes
from tflbuild.manifest.model import (
    Data,
    Metric,
    MetricLimits,
    MetricOverride,
    RandomData,
    Shipped,
)
from tflbuild.manifest.nodes import entries, get, text
from tflbuild.manifest.problems import nearest
from tflbuild.manifest.yamlfile import Node, describe
from tflbuild.metrics import METRICS
from tflbuild.metrics.python import NAME as PYTHON

LIMITS = ("min", "max", "max_drop", "max_drop_from_last")
# The settings of each metric that enter the key as they are.
SETTINGS: Mapping[str, tuple[str, ...]] = {
    "accuracy": (),
    "top_k_accuracy": ("k",),
    "precision": ("average", "positive", "threshold"),
    "recall": ("average", "positive", "threshold"),
    "f1": ("average", "positive", "threshold"),
    "auc": ("multi_class", "average", "positive"),
    "mean_iou": ("axis", "ignore", "classes", "threshold"),
    "mean_absolute_error": (),
    "mean_squared_error": (),
    "word_error_rate": ("ctc", "blank"),
    PYTHON: (),
}


def build_metrics(
    model: ModelNodes, below: tuple[str, ...], test: Data | None
) -> tuple[Metric, ...]:
    """The metrics of the model, or of the signature that stands `below` these keys, by name."""
    found = entries(get(model.tree, "validate", *below, "metrics"))
    reader = _Reader(model, below, test)
    return tuple(reader.read(name, node) for name, node in sorted(found.items()))


def build_overrides(
    model: ModelNodes, node: Node | None, signatures: Sequence[Shipped]
) -> tuple[tuple[str, MetricOverride], ...]:
    """Limits of one optimization, over those of numbers that some signature measures."""
    measured = {
        limits.name: limits for s in signatures for metric in s.metrics for limits in metric.limits
    }
    found = []
    for name, entry in sorted(entries(node).items()):
        given = {
            key: float(number)
            for key in LIMITS
            if (value := get(entry, key)) is not None
            and isinstance(number := value.value, int | float)
        }
        if name in METRICS and METRICS[name].SHARE:
            # Over a limit that holds for all files, it takes that away.
            over = measured.get(name)
            free = [key for key in given if over is None or getattr(over, key) is None]
            _refuse_idle(model, name, entry, free)
        if not given:
            model.key_problem(
                f"no limit for {describe(name)}; give one of {', '.join(LIMITS)}", entry
            )
        if name in measured:
            merged = MetricOverride(**given).over(measured[name])
            if merged.min is not None and merged.max is not None and merged.min > merged.max:
                model.key_problem(f"{name}: min is above max; nothing is both", entry)
        else:
            listed = ", ".join(measured) or "none"
            hint = nearest(name, measured) or f"; those that are measured: {listed}"
            model.key_problem(f"{describe(name)} is in no `validate.metrics`{hint}", entry)
        found.append((name, MetricOverride(**given)))
    return tuple(found)


def _refuse_idle(model: ModelNodes, name: str, node: Node, keys: Sequence[str]) -> None:
    """Limits of a share that no file can miss: mostly 1 % was meant."""
    for key in keys:
        given = get(node, key)
        if given is None or not isinstance(given.value, int | float):
            continue
        if key == "min" and given.value == 0:
            why = f"{name} is never below 0; remove it, and the number is shown without a limit"
            model.problem(f"min: 0 can never fail: {why}", given)
        elif key.startswith("max_drop") and given.value == 1:
            why = f"{name} cannot fall by more than 1; 1 % is 0.01"
            model.problem(f"{key}: 1 can never fail: {why}", given)


@dataclass(frozen=True)
class _Reader:
    model: ModelNodes
    below: tuple[str, ...]
    test: Data | None

    def read(self, name: str, node: Node) -> Metric:
        self._needs_data(name, node)
        if name == PYTHON:
            return self._python(node)
        settings = {
            key: given.value
            for key in SETTINGS[name]
            if (given := get(node, key)) is not None and given.value is not None
        }
        self._refuse(name, node, settings)
        vocabulary = get(node, "vocabulary")
        return Metric(
            name,
            (self._limits(name, node, METRICS[name].HIGHER_IS_BETTER),),
            output=text(get(node, "output")),
            labels=self._labels(name, node),
            settings=settings,
            vocabulary="" if vocabulary is None else self.model.file(vocabulary),
        )

    def _limits(self, name: str, node: Node, higher_is_better: bool) -> MetricLimits:
        """No limit at all is allowed: the number is shown and kept for the next release."""
        numbers: dict[str, float] = {}
        for key in LIMITS:
            given = get(node, key)
            if given is not None and isinstance(given.value, int | float):
                numbers[key] = float(given.value)
        if name in METRICS and METRICS[name].SHARE:
            _refuse_idle(self.model, name, node, [*numbers])
        if numbers.get("min", 0.0) > numbers.get("max", float("inf")):
            self.model.problem(f"{name}: min is above max; nothing is both", get(node, "min"))
        return MetricLimits(name, **numbers, higher_is_better=higher_is_better)

    def _needs_data(self, name: str, node: Node) -> None:
        test, model = self.test, self.model
        said = get(model.tree, "data", *self.below, "test")
        if test is None and (said or get(model.tree, "data", "test")) is not None:
            return  # it is there, and wrong, which has been told
        wrong = ""
        if test is None:
            wrong = "is missing"
        elif isinstance(test, RandomData):
            wrong = "is random"
        elif test.labels is None and name != PYTHON:
            wrong = "has no labels"
        if wrong:
            where = ".".join(("data", *self.below, "test"))
            model.key_problem(
                f"{name} needs labelled data, and {where} {wrong}; "
                "write `data: {test: {npz: FILE, labels: NAME}}`",
                node,
            )

    def _labels(self, name: str, node: Node) -> str | None:
        """Which of several arrays of labels it takes."""
        given, declared = get(node, "labels"), getattr(self.test, "labels", None)
        if declared is None:
            return None
        names = [key for key, _ in declared] if isinstance(declared, tuple) else []
        if given is None:
            if names:
                self.model.key_problem(
                    f"{name} takes one array of labels, and data.test.labels has"
                    f" {', '.join(names)}; choose by `labels`",
                    node,
                )
            return None
        if not names:
            self.model.key_problem(
                "`labels` has no effect: data.test.labels is one array; remove it", given
            )
        elif given.value not in names:
            chosen = str(given.value)
            self.model.problem(
                f"data.test.labels has no {describe(chosen)}"
                + (nearest(chosen, names) or f"; it has {', '.join(names)}"),
                given,
            )
        return text(given)

    def _refuse(self, name: str, node: Node, settings: Mapping[str, Any]) -> None:
        """Settings that are missing, or have no effect beside others."""
        if name == "top_k_accuracy" and "k" not in settings:
            self.model.problem(f"{name} has no `k`; write k: 5", node)
        if name in ("precision", "recall", "f1") and settings.get("average", "binary") != "binary":
            why = f"with average: {settings['average']}, which counts all classes"
            self._no_effect(node, ("positive", "threshold"), why)
        if name == "auc" and "positive" in settings:
            self._no_effect(node, ("multi_class", "average"), "with positive, which is one curve")
        if name == "word_error_rate":
            if get(node, "vocabulary") is None:
                self._no_effect(node, ("ctc", "blank"), "without vocabulary")
            elif not settings.get("ctc"):
                self._no_effect(node, ("blank",), "without ctc: true")

    def _no_effect(self, node: Node, keys: tuple[str, ...], why: str) -> None:
        for key in keys:
            if (given := get(node, key)) is not None:
                self.model.key_problem(f"`{key}` has no effect {why}; remove it", given)

    def _python(self, node: Node) -> Metric:
        function = get(node, "function")
        if function is None:
            self.model.problem(
                "python has no `function`; write `python: {function: package.module:function}`",
                node,
            )
        limits = []
        for name, value in sorted(entries(get(node, "values")).items()):
            if name in METRICS or name == PYTHON:
                self.model.key_problem(
                    f"{describe(name)} is a metric of tflbuild; give yours another name", value
                )
            better = text(get(value, "better")) or "higher"
            limits.append(self._limits(name, value, better == "higher"))
        lower = [found.name for found in limits if not found.higher_is_better]
        return Metric(
            PYTHON,
            tuple(limits),
            settings={"lower": lower},
            python=build_code(self.model, function),
            args=build_args(self.model, get(node, "args")),
        )
