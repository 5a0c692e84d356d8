"""One model: from its merged tree, whose shape the schema has checked, to frozen values.

Here is what a schema cannot say: what must be there after merging, paths, and combinations that
cannot work or would have no effect.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tflbuild.errors import Position
from tflbuild.manifest.code import build_code, build_depends, build_env
from tflbuild.manifest.context import Context, ModelNodes
from tflbuild.manifest.datasets import build_data
from tflbuild.manifest.model import (
    Code,
    Data,
    EvaluateLimits,
    FileData,
    InputPin,
    MetricLimits,
    Model,
    ParityLimits,
    RandomData,
    Source,
)
from tflbuild.manifest.nodes import entries, get, strings, text
from tflbuild.manifest.optimizations import build_optimizations, build_targets
from tflbuild.manifest.quantity import parse_count, parse_duration
from tflbuild.manifest.source import build_source
from tflbuild.manifest.yamlfile import Node, describe


def build_model(name: str, own: Node, merged: Node, context: Context) -> Model | None:
    """The model, or None when something is wrong with it; then `context.problems` says what.

    `own` is what the model says itself, `merged` that with `defaults` beneath.
    """
    before = len(context.problems)
    model = _Builder(ModelNodes(name, own, merged, context)).build()
    return model if len(context.problems) == before else None


def _places(node: Node, prefix: str = "") -> Iterator[tuple[str, Position]]:
    for key, child in entries(node).items():
        yield prefix + key, child.key_position
        yield from _places(child, f"{prefix}{key}.")


class _Builder:
    def __init__(self, nodes: ModelNodes) -> None:
        self.nodes = nodes
        self.own = nodes.own
        self.tree = nodes.tree
        self.context = nodes.context
        self._problem = nodes.problem

    def build(self) -> Model:
        nodes = self.nodes
        source = build_source(nodes)
        targets = build_targets(nodes, get(self.tree, "targets")) or ("litert",)
        optimizations = build_optimizations(nodes, targets)
        calibration = build_data(nodes, "calibration")
        test = build_data(nodes, "test")
        timeout = get(self.tree, "timeout")
        custom_objects = self._custom_objects(source)
        code = source.python is not None or custom_objects is not None
        return Model(
            name=nodes.name,
            source=source,
            optimizations=optimizations,
            targets=targets,
            inputs=self._inputs(),
            outputs=strings(get(self.tree, "outputs")),
            calibration=calibration,
            test=test,
            evaluate=EvaluateLimits(
                max_params=self._quantity("max_params"), max_macs=self._quantity("max_macs")
            ),
            parity=ParityLimits(**self._numbers("validate", "parity")),
            metrics=self._metrics(test),
            custom_objects=custom_objects,
            depends=build_depends(nodes, code),
            env=build_env(nodes, code),
            timeout=Model.timeout if timeout is None else self._duration(timeout),
            position=self.own.key_position,
            positions=dict(_places(self.tree)),
        )

    def _custom_objects(self, source: Source) -> Code | None:
        """Only where a format reads classes by their names."""
        if source.format == "keras":
            return build_code(self.nodes, get(self.tree, "custom_objects"))
        own = get(self.own, "custom_objects")
        if source.format and own is not None and own.value is not None:
            self.nodes.key_problem(
                f"'custom_objects' has no effect with format {source.format}; remove it", own
            )
        return None

    def _inputs(self) -> tuple[InputPin, ...]:
        pins = []
        for name, entry in entries(get(self.tree, "inputs")).items():
            shape, dtype = get(entry, "shape"), text(get(entry, "dtype"))
            if shape is None and dtype is None:
                self.context.problems.add(
                    f"input {describe(name)} is pinned to nothing; give shape or dtype",
                    entry.key_position,
                )
            sizes: Any = shape.plain() if shape is not None else None
            pins.append(InputPin(name, None if sizes is None else tuple(sizes), dtype))
        return tuple(pins)

    def _metrics(self, test: Data | None) -> tuple[MetricLimits, ...]:
        result = []
        for name, node in sorted(entries(get(self.tree, "validate", "metrics")).items()):
            limits = MetricLimits(
                name, **self._numbers("validate", "metrics", name), output=text(get(node, "output"))
            )
            if limits.min is None and limits.max_drop is None:
                self._problem(f"{name} has no limit; give min or max_drop", node)
            wrong = "is random" if isinstance(test, RandomData) else "has no labels"
            if get(self.tree, "data", "test") is None:
                wrong = "is missing"
            unlabelled = isinstance(test, FileData) and test.labels is None
            if unlabelled or isinstance(test, RandomData) or wrong == "is missing":
                self.context.problems.add(
                    f"{name} needs labelled data, and data.test {wrong}; "
                    "write `data: {test: {npz: FILE, labels: NAME}}`",
                    node.key_position,
                )
            result.append(limits)
        return tuple(result)

    def _numbers(self, *keys: str) -> dict[str, float]:
        found = entries(get(self.tree, *keys)).items()
        return {k: float(n.value) for k, n in found if isinstance(n.value, int | float)}

    def _quantity(self, key: str) -> int | None:
        node = get(self.tree, "evaluate", key)
        value: Any = node.value if node is not None else None
        try:
            return None if value is None else parse_count(value)
        except ValueError as error:
            self._problem(str(error), node)
            return None

    def _duration(self, node: Node) -> float:
        value: Any = node.value
        try:
            return parse_duration(value)
        except ValueError as error:
            self._problem(str(error), node)
            return 0.0
