"""The interface of a released file: signature, names and positional order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tflbuild.errors import TflbuildError, one_line

from .read import TfliteModel


class InterfaceError(TflbuildError):
    """An interface that the file cannot have: one line that says which part."""

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))  # it may quote the file


@dataclass(frozen=True)
class IOTensor:
    """One input or output: its key in the signature, its tensor index in the subgraph."""

    name: str
    tensor: int


@dataclass(frozen=True)
class Interface:
    """A signature of a subgraph, with inputs and outputs in positional order."""

    signature: str
    inputs: tuple[IOTensor, ...]
    outputs: tuple[IOTensor, ...]
    subgraph: int = 0


def interface_of(model: TfliteModel, signature: str | None = None) -> Interface:
    """The interface that a file has now, in its positional order.

    Args:
        model: the file.
        signature: a signature key; None: the only one of the main subgraph.

    Raises:
        InterfaceError: no such signature, or several and none chosen.
    """
    found = [
        s
        for s in model.signatures
        if (s.subgraph == 0 if signature is None else s.key == signature)
    ]
    if len(found) != 1:
        has = ", ".join(f"'{s.key}'" for s in model.signatures) or "none"
        wanted = f"'{signature}'" if signature is not None else "exactly one"
        raise InterfaceError(f"signature: expected {wanted}, found {has}")
    graph = model.subgraphs[found[0].subgraph]

    def order(pairs: Sequence[tuple[str, int]], positions: Sequence[int]) -> tuple[IOTensor, ...]:
        rank = {tensor: i for i, tensor in reversed(list(enumerate(positions)))}
        ranked = sorted(pairs, key=lambda pair: (rank.get(pair[1], len(rank)), pair[0]))
        return tuple(IOTensor(name, tensor) for name, tensor in ranked)

    return Interface(
        found[0].key,
        order(found[0].inputs, graph.inputs),
        order(found[0].outputs, graph.outputs),
        found[0].subgraph,
    )


def interfaces_of(model: TfliteModel) -> tuple[Interface, ...]:
    """All interfaces that a file has now."""
    return tuple(interface_of(model, signature.key) for signature in model.signatures)


def check_interfaces(interfaces: Sequence[Interface], model: TfliteModel) -> None:
    """Check that interfaces fit a file: each names the inputs and outputs of a subgraph of its
    own, and no other tensor.

    Raises:
        InterfaceError: two of one name or one subgraph, none of the main subgraph, or one that
            does not fit.
    """
    for what, given in (
        ("signature", [i.signature for i in interfaces]),
        ("subgraph", [str(i.subgraph) for i in interfaces]),
    ):
        if twice := sorted({name for name in given if given.count(name) > 1}):
            raise InterfaceError(f"two interfaces are of {what} '{twice[0]}'")
    if 0 not in [interface.subgraph for interface in interfaces]:
        raise InterfaceError("no interface is of the main subgraph")
    for interface in interfaces:
        if not 0 <= interface.subgraph < len(model.subgraphs):
            raise InterfaceError(f"there is no subgraph {interface.subgraph}")
        check_interface(interface, model)


def check_interface(interface: Interface, model: TfliteModel) -> None:
    """Check that an interface names each input and output of its subgraph, and no other.

    Raises:
        InterfaceError: a key that is empty or repeated, an input named twice, a tensor missing
            or too much.
    """
    graph = model.subgraphs[interface.subgraph]
    if not interface.signature:
        raise InterfaceError("a signature needs a name")
    sides = (
        ("input", interface.inputs, graph.inputs),
        ("output", interface.outputs, graph.outputs),
    )
    for what, given, actual in sides:
        keys = [io.name for io in given]
        if "" in keys:
            raise InterfaceError(f"{what} {keys.index('')} has no name")
        if twice := sorted({key for key in keys if keys.count(key) > 1}):
            raise InterfaceError(f"two {what}s are named '{twice[0]}'")
        for io in given:
            if io.tensor not in actual:
                raise InterfaceError(
                    f"{what} '{io.name}' is tensor {io.tensor}, the file's {what}s are "
                    f"{list(actual)}"
                )
        tensors = [io.tensor for io in given]
        if missing := sorted(set(actual) - set(tensors)):
            name = graph.tensors[missing[0]].name
            raise InterfaceError(f"{what} tensor {missing[0]} ('{name}') has no name")
        if what == "input" and len(set(tensors)) != len(tensors):
            raise InterfaceError("two inputs are the same tensor")


def tensor_names(interface: Interface, current: Sequence[str]) -> list[str]:
    """The names of a subgraph's tensors under its interface.

    Inputs and outputs become `<signature>_<key>:0`, the SavedModel convention; an output whose
    name is taken gets `_out`, `_out2`… before the colon; a tensor with two roles keeps its first
    name. Internal tensors keep theirs, with a number where it would clash.

    Args:
        interface: checked against the file.
        current: the names now, by tensor index.
    """
    new: dict[int, str] = {}
    taken: set[str] = set()
    for io in interface.inputs + interface.outputs:
        if io.tensor in new:
            continue
        stem, attempt = f"{interface.signature}_{io.name}", 0
        while (name := f"{stem}{_suffix(attempt)}:0") in taken:
            attempt += 1
        new[io.tensor] = name
        taken.add(name)
    every = taken | set(current)
    names = []
    for i, name in enumerate(current):
        if i not in new and name in taken:
            number = 1
            while (other := f"{name}_{number}") in every:
                number += 1
            name = other
            every.add(name)
        names.append(new.get(i, name))
    return names


def _suffix(attempt: int) -> str:
    return "" if attempt == 0 else "_out" if attempt == 1 else f"_out{attempt}"
