"""What a manifest says of each signature that ships: interface, data and limits.

A model with one signature says it at its own level. One that lists several says it under
`source.signatures`, `data.signatures` and `validate.signatures`; data and limits of the model's
own level then serve the signatures that have none.
"""

from __future__ import annotations

from typing import Any

from tflbuild.manifest.context import ModelNodes
from tflbuild.manifest.datasets import build_data
from tflbuild.manifest.metrics import build_metrics
from tflbuild.manifest.model import (
    Data,
    InputPin,
    Sequence,
    Shipped,
)
from tflbuild.manifest.nodes import entries, get, strings, text
from tflbuild.manifest.parity import build_parity
from tflbuild.manifest.problems import nearest
from tflbuild.manifest.yamlfile import Node, describe
from tflbuild.sources import FORMATS

# Keys of a model that one of several signatures must say itself.
OWN = (("inputs",), ("outputs",), ("validate", "metrics"))


def build_signatures(model: ModelNodes) -> tuple[Shipped, ...]:
    """The signatures to ship, in the manifest's order; one without a name where none is named."""
    listed = entries(get(model.tree, "source", "signatures"))
    form = FORMATS.get(text(get(model.tree, "source", "format")) or "")
    if not listed or form is None or "signatures" not in form.KEYS:
        one = text(get(model.tree, "source", "signature"))
        if form is None or "signature" not in form.KEYS:
            one = None
        _refuse_unlisted(model, {})
        return (_Reader(model, one, ()).read(),)
    for keys in OWN:
        if (node := get(model.own, *keys)) is not None and node.value is not None:
            where = "validate" if keys[0] == "validate" else "source"
            model.key_problem(
                f"`{'.'.join(keys)}` has no effect beside source.signatures; write"
                f" `{where}.signatures.NAME.{keys[-1]}`",
                node,
            )
    if (node := get(model.own, "source", "signature")) is not None and node.value is not None:
        model.key_problem("give source.signature or source.signatures, not both", node)
    _refuse_unlisted(model, listed)
    return tuple(_Reader(model, name, ("signatures", name)).read() for name in listed)


def _refuse_unlisted(model: ModelNodes, listed: dict[str, Node]) -> None:
    """Data or limits of a signature that does not ship would have no effect."""
    for part in ("data", "validate"):
        for name, node in entries(get(model.own, part, "signatures")).items():
            if name in listed or node.value is None:
                continue
            hint = nearest(name, listed) or "; list it under source.signatures"
            model.key_problem(f"{part}.signatures: no signature {describe(name)} ships{hint}", node)


class _Reader:
    """Reads what belongs to one signature; `below` are the keys under which it stands."""

    def __init__(self, model: ModelNodes, name: str | None, below: tuple[str, ...]) -> None:
        self.model = model
        self.name = name
        self.below = below

    def read(self) -> Shipped:
        at = ("source", *self.below) if self.below else ()
        test = self._data("test")
        return Shipped(
            name=self.name,
            inputs=build_pins(self.model, get(self.model.tree, *at, "inputs")),
            outputs=strings(get(self.model.tree, *at, "outputs")),
            calibration=self._data("calibration"),
            test=test,
            parity=build_parity(self.model, self.below),
            metrics=build_metrics(self.model, self.below, test),
            sequence=self._sequence(),
        )

    def _data(self, use: str) -> Data | None:
        if self.below and get(self.model.tree, "data", *self.below, use) is not None:
            return build_data(self.model, use, self.name)
        return build_data(self.model, use)

    def _sequence(self) -> Sequence | None:
        node = None
        if self.below:
            node = get(self.model.tree, "validate", *self.below, "sequence")
        node = node or get(self.model.tree, "validate", "sequence")
        if node is None:
            return None
        reset, length = text(get(node, "reset")), get(node, "length")
        steps: Any = 1 if length is None else length.value
        if reset is None:
            self.model.problem("sequence needs `reset`: each or never", node)
        if reset == "never" and length is not None:
            self.model.key_problem("`length` has no effect with reset: never; remove it", length)
        return Sequence(reset or "each", steps)


def build_pins(model: ModelNodes, node: Node | None) -> tuple[InputPin, ...]:
    """The pinned inputs in the manifest's order."""
    pins = []
    for name, entry in entries(node).items():
        shape, dtype = get(entry, "shape"), text(get(entry, "dtype"))
        if shape is None and dtype is None:
            model.key_problem(
                f"input {describe(name)} is pinned to nothing; give shape or dtype", entry
            )
        sizes: Any = shape.plain() if shape is not None else None
        pins.append(InputPin(name, None if sizes is None else tuple(sizes), dtype))
    return tuple(pins)


def _numbers(node: Node | None) -> dict[str, float]:
    found = entries(node).items()
    return {k: float(n.value) for k, n in found if isinstance(n.value, int | float)}
