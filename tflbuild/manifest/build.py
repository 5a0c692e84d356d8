"""One model: from its merged tree, whose shape the schema has checked, to frozen values.

Here is what a schema cannot say: what must be there after merging, paths, and combinations that
cannot work or would have no effect.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tflbuild.errors import ManifestError, Position
from tflbuild.manifest.model import (
    ArrayRef,
    Data,
    EvaluateLimits,
    FileData,
    InputPin,
    MetricLimits,
    Model,
    Optimization,
    ParityLimits,
    RandomData,
    Source,
    Target,
)
from tflbuild.manifest.paths import Paths
from tflbuild.manifest.problems import Problems, nearest
from tflbuild.manifest.quantity import parse_count, parse_duration
from tflbuild.manifest.schema import planned_values
from tflbuild.manifest.yamlfile import Node, describe

INTEGER_QUANTIZE = ("int8", "qat")  # the ones whose files may take and give integers


@dataclass(frozen=True)
class Context:
    """What every model is built with."""

    paths: Paths
    targets: dict[str, Target]
    known_targets: frozenset[str]  # also those that could not be built
    problems: Problems


def build_model(name: str, own: Node, merged: Node, context: Context) -> Model | None:
    """The model, or None when something is wrong with it; then `context.problems` says what.

    `own` is what the model says itself, `merged` that with `defaults` beneath.
    """
    before = len(context.problems)
    model = _Builder(name, own, merged, context).build()
    return model if len(context.problems) == before else None


def planned_runtimes() -> dict[str, str]:
    """The built-in runtimes that are still to come, each with what is supported today."""
    return planned_values("properties", "targets", "additionalProperties", "properties", "runtime")


def get(node: Node | None, *keys: str) -> Node | None:
    """The value at a path of keys, or None where the path ends early."""
    for key in keys:
        if node is None or not isinstance(node.value, dict):
            return None
        node = node.value.get(key)
    return node


def entries(node: Node | None) -> dict[str, Node]:
    """The entries of a mapping; none of what is not there."""
    return node.value if node is not None and isinstance(node.value, dict) else {}


def strings(node: Node | None) -> tuple[str, ...]:
    """The items of a list of names."""
    return tuple(str(i.value) for i in node.value) if node and isinstance(node.value, list) else ()


def text(node: Node | None) -> str | None:
    """A string, or None."""
    return node.value if node is not None and isinstance(node.value, str) else None


def _places(node: Node, prefix: str = "") -> Iterator[tuple[str, Position]]:
    for key, child in entries(node).items():
        yield prefix + key, child.key_position
        yield from _places(child, f"{prefix}{key}.")


class _Builder:
    def __init__(self, name: str, own: Node, merged: Node, context: Context) -> None:
        self.name = name
        self.own = own
        self.tree = merged
        self.context = context
        self.paths = context.paths

    def build(self) -> Model:
        source = self._source()
        targets = self._targets(get(self.tree, "targets")) or ("litert",)
        optimizations = self._optimizations(targets)
        calibration = self._data("calibration")
        test = self._data("test")
        self._check_calibration(optimizations)
        timeout = get(self.tree, "timeout")
        return Model(
            name=self.name,
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
            timeout=Model.timeout if timeout is None else self._duration(timeout),
            position=self.own.key_position,
            positions=dict(_places(self.tree)),
        )

    def _problem(self, message: str, at: Node | None) -> None:
        self.context.problems.add(message, self.own.key_position if at is None else at.position)

    def _path(self, node: Node, suffix: str = "", other: str = "") -> str:
        try:
            return self.paths.file(node, suffix, other)
        except ManifestError as error:
            self.context.problems.take(error)
            return ""

    def _source(self) -> Source:
        source = get(self.tree, "source")
        form, path = text(get(source, "format")), get(source, "path")
        if form is None or path is None:
            missing = "source" if source is None else "source.format" if form is None else None
            example = "source: {format: saved_model, path: FOLDER}"
            self.context.problems.add(
                f"model {self.name!r} has no `{missing or 'source.path'}`; write `{example}`",
                self.own.key_position if source is None else source.key_position,
            )
            return Source("", "")
        if form == "keras":
            for key in ("signature", "tags"):
                if (given := get(self.own, "source", key)) is not None:
                    self.context.problems.add(
                        f"{key!r} has no effect with format keras; remove it", given.key_position
                    )
            return Source(form, self._keras(path))
        signature = text(get(source, "signature")) or "serving_default"
        tags = strings(get(source, "tags")) or ("serve",)
        return Source(form, self._saved_model(path), signature, tags)

    def _saved_model(self, node: Node) -> str:
        try:
            path = self.paths.absolute(node)
            if os.path.isdir(path):
                if os.path.isfile(os.path.join(path, "saved_model.pb")):
                    return self.paths.relative(path)
                self._problem(f"no saved_model.pb in the folder {describe(node.value)}", node)
            elif os.path.exists(path):
                hint = "; name the folder that holds saved_model.pb"
                if path.endswith((".keras", ".h5", ".hdf5")):
                    hint = "; this file needs `format: keras`"
                elif path.endswith("saved_model.pb"):
                    hint = f"; name its folder: {describe(os.path.dirname(str(node.value)) or '.')}"
                self._problem(
                    f"a saved_model is a folder, and {describe(node.value)} a file{hint}", node
                )
            else:
                raise self.paths.missing(node, path, "folder")
        except ManifestError as error:
            self.context.problems.take(error)
        return ""

    def _keras(self, node: Node) -> str:
        try:
            path = self.paths.absolute(node)
            if os.path.isfile(os.path.join(path, "saved_model.pb")):
                self._problem(
                    f"{describe(node.value)} is a SavedModel; it needs `format: saved_model`",
                    node,
                )
            elif not os.path.isfile(path) and not os.path.isdir(path):
                raise self.paths.missing(node, path, "file")
            elif os.path.isdir(path) or not path.endswith((".keras", ".h5")):
                self._problem(f"expected a .keras or .h5 file, got {describe(node.value)}", node)
            else:
                return self.paths.relative(path)
        except ManifestError as error:
            self.context.problems.take(error)
        return ""

    def _targets(self, node: Node | None) -> tuple[str, ...]:
        for item in node.value if node is not None and isinstance(node.value, list) else ():
            name = str(item.value)
            if name in self.context.known_targets:
                continue
            if name in (planned := planned_runtimes()):
                self._problem(f"{name!r} is not supported yet; {planned[name]}", item)
            else:
                known = sorted(self.context.known_targets)
                hint = nearest(name, known) or f"; expected one of {', '.join(known)}"
                self._problem(f"unknown target {describe(name)}{hint}", item)
        return strings(node)

    def _optimizations(self, targets: tuple[str, ...]) -> tuple[Optimization, ...]:
        node = get(self.tree, "optimizations")
        if not entries(node):
            self._problem(
                f"model {self.name!r} has no optimizations; "
                "write `optimizations: {float32: {}}`",
                node,
            )
        result: dict[str, Optimization] = {}
        for name, entry in entries(node).items():
            first = result.setdefault(name.lower(), Optimization(name))
            if first.name != name:
                self.context.problems.add(
                    f"optimizations {first.name!r} and {name!r} differ in case alone; rename one",
                    entry.key_position,
                )
            quantize = text(get(entry, "quantize")) or "none"
            io = text(get(entry, "io")) or "float32"
            if io != "float32" and quantize not in INTEGER_QUANTIZE:
                self._problem(
                    f"io: {io} cannot work with quantize: {quantize}; it needs int8 or qat",
                    get(entry, "io"),
                )
            result[name.lower()] = Optimization(
                name, quantize, io, self._targets(get(entry, "targets")) or targets
            )
        return tuple(result.values())

    def _check_calibration(self, optimizations: tuple[Optimization, ...]) -> None:
        wanting = [o.name for o in optimizations if o.quantize == "int8"]
        given = get(self.tree, "data", "calibration")
        if wanting and given is None:
            entry = get(self.tree, "optimizations", wanting[0])
            self._problem(
                "quantize: int8 needs `data.calibration`, such as {npz: FILE}",
                get(entry, "quantize") or entry,
            )
        # One that comes from `defaults` serves the models that quantize, and harms no other.
        own = get(self.own, "data", "calibration")
        if not wanting and own is not None and own.value is not None:
            self.context.problems.add(
                "`data.calibration` has no effect: no optimization has quantize: int8",
                own.key_position,
            )

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

    def _data(self, use: str) -> Data | None:
        node = get(self.tree, "data", use)
        if node is None:
            return None
        kinds = [k for k in ("npz", "npy", "random") if get(node, k) is not None]
        if len(kinds) != 1:
            more = [f"{k} at {entries(node)[k].key_position}" for k in kinds]
            says = f"got {', '.join(more)}; null removes a default" if kinds else "got none"
            self._problem(f"data.{use} is one of npz, npy and random; {says}", node)
            return None
        samples, labels = get(node, "samples"), get(node, "labels")
        if kinds == ["random"]:
            if samples is not None:
                self._problem("with random data, write `random: {samples: …}`", samples)
            if labels is not None:
                self._problem("random data has no labels; use npz or npy, or remove them", labels)
            return self._random(entries(node)["random"])
        count: Any = samples.value if samples is not None else None
        given = entries(node)[kinds[0]]
        if kinds == ["npz"]:
            path = self._path(given, ".npz", _other(given, ".npy", "npy"))
            ref = ArrayRef(path, str(labels.value)) if labels is not None else None
            return FileData(npz=path, samples=count, labels=ref)
        files = entries(given) if isinstance(given.value, dict) else {"": given}
        arrays = {n: self._path(f, ".npy", _other(f, ".npz", "npz")) for n, f in files.items()}
        ref = ArrayRef(self._path(labels, ".npy")) if labels is not None else None
        return FileData(npy=tuple(sorted(arrays.items())), samples=count, labels=ref)

    def _random(self, node: Node) -> RandomData:
        given: dict[str, Any] = {key: child.value for key, child in entries(node).items()}
        for bound in {"low", "high"} & {*given}:
            given[bound] = float(given[bound])  # 1 and 1.0 say the same
        data = RandomData(**given)
        if data.low >= data.high:
            self._problem(
                f"low ({data.low:g}) must be below high ({data.high:g})",
                get(node, "high") or get(node, "low"),
            )
        return data

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


def _other(node: Node, suffix: str, key: str) -> str:
    return f"; write it as `{key}:`" if str(node.value).endswith(suffix) else ""
