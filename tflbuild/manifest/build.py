"""One model: from its merged tree, whose shape the schema has checked, to frozen values.

Here is what a schema cannot say: what must be there after merging, paths, and combinations that
cannot work or would have no effect.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tflbuild.errors import Position
from tflbuild.interface import KINDS
from tflbuild.manifest.benchmark import build_benchmark
from tflbuild.manifest.code import build_code, build_depends, build_env
from tflbuild.manifest.context import Context, ModelNodes
from tflbuild.manifest.golden import build_golden
from tflbuild.manifest.metadata import build_metadata
from tflbuild.manifest.model import Code, Model, PythonData, Source
from tflbuild.manifest.nodes import entries, get, strings
from tflbuild.manifest.optimizations import build_optimizations, build_targets
from tflbuild.manifest.quantity import parse_duration
from tflbuild.manifest.signatures import build_signatures
from tflbuild.manifest.source import build_source
from tflbuild.manifest.targets import build_budgets
from tflbuild.manifest.yamlfile import Node


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


def _limits(own: Node) -> Iterator[str]:
    """The keys of limits that a model says itself."""
    if (node := get(own, "validate")) is not None:
        yield from (key for key, _ in _places(node, "validate."))
    for name, entry in entries(get(own, "optimizations")).items():
        if (node := get(entry, "parity")) is not None:
            yield from (key for key, _ in _places(node, f"optimizations.{name}.parity."))


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
        signatures = build_signatures(nodes)
        optimizations = build_optimizations(nodes, targets, signatures)
        golden = build_golden(nodes, signatures, optimizations)
        timeout = get(self.tree, "timeout")
        custom_objects = self._custom_objects(source)
        code = source.python is not None or custom_objects is not None
        code |= any(isinstance(d, PythonData) for s in signatures for d in (s.calibration, s.test))
        code |= any(m.python is not None for s in signatures for m in s.metrics)
        return Model(
            name=nodes.name,
            source=source,
            optimizations=optimizations,
            targets=targets,
            signatures=signatures,
            evaluate=build_budgets(get(self.tree, "evaluate"), nodes.problem),
            compat=build_budgets(get(self.tree, "compat"), nodes.problem),
            golden=golden,
            metadata=build_metadata(nodes),
            benchmark=build_benchmark(nodes, optimizations),
            allow_interface_change=self._interface_changes(),
            custom_objects=custom_objects,
            depends=build_depends(nodes, code),
            env=build_env(nodes, code),
            timeout=Model.timeout if timeout is None else self._duration(timeout),
            position=self.own.key_position,
            positions=dict(_places(self.tree)),
            said=frozenset(_limits(self.own)),
            own=frozenset(entries(get(self.own, "optimizations"))),
            written={
                name: dict(node.plain() or {})
                for name, node in entries(get(self.tree, "optimizations")).items()
            },
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

    def _interface_changes(self) -> tuple[str, ...]:
        """`true`: all kinds."""
        node = get(self.tree, "allow_interface_change")
        if node is None or not node.value:
            return ()
        return KINDS if node.value is True else tuple(sorted(strings(node)))

    def _duration(self, node: Node) -> float:
        value: Any = node.value
        try:
            return parse_duration(value)
        except ValueError as error:
            self._problem(str(error), node)
            return 0.0
