"""Golden tests: inputs and expected outputs that a user committed, against the converted file.

An archive (.npz) holds arrays that are named like the inputs and outputs of a signature. In front
may stand `inputs/` or `outputs/`; it must where a name is an input and an output. Every input is
there, and at least one output; an output that is not there is not compared.

An array's first axis counts samples, as in `tflbuild.data`: an input of rank r takes rank r, with
the batch axis, or rank r + 1, one complete input for each sample. Inputs and outputs of a
quantized file are real values, or steps in the file's own integer type: those are put in and
compared as they are.

What is measured here is judged by `golden_gate`: limits are in no key.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tflbuild import data
from tflbuild.data import shape_text
from tflbuild.errors import TaskError
from tflbuild.kernels import Kernels
from tflbuild.manifest.problems import nearest
from tflbuild.stages.base import Request
from tflbuild.validation.arrays import read_npz
from tflbuild.validation.file import File, tensor_details
from tflbuild.validation.parity import parity_numbers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

Spec = Mapping[str, Any]  # an entry of interface.json: name, dtype, shape

INPUTS, OUTPUTS = "inputs", "outputs"
REAL, STEPS = "real", "steps"


def measure(
    request: Request, interface: Mapping[str, Any], kernels: Kernels
) -> list[dict[str, Any]]:
    """An entry for each golden test and each output that it holds: `name`, `signature`, `output`,
    `unit` ("real", "steps"), `samples`, and the numbers of `parity_numbers`.

    Reads `golden` of the parameters (`name`, `signature`: the number of one in `interface`) and
    the inputs `golden.<n>.npz`. Raises TaskError, its `key` that of the manifest.
    """
    found: list[dict[str, Any]] = []
    for number, wanted in enumerate(request.params.get("golden", ())):
        signature = interface["signatures"][wanted["signature"]]
        run = _Run(
            request.inputs["model.tflite"],
            signature,
            request.params["sequences"][wanted["signature"]],
            kernels,
            request.out.parent / f"golden.{number}",
        )
        try:
            entries = run(request.inputs[f"golden.{number}.npz"])
        except TaskError as error:
            key = error.key or f"validate.golden.{wanted['name']}.npz"
            raise TaskError(f"golden {wanted['name']!r}: {error}", key=key) from error
        origin = {"name": wanted["name"], "signature": signature["signature"]}
        found += [{**origin, **entry} for entry in entries]
    return found


@dataclass(frozen=True)
class _Run:
    """The runs of one signature of a file."""

    path: Path
    signature: Mapping[str, Any]
    sequence: Mapping[str, Any] | None
    kernels: Kernels
    scratch: Path

    def __call__(self, archive: Path) -> list[dict[str, Any]]:
        details, variables = self._tensors()
        inputs, outputs = bind(read_npz(archive), self.signature)
        specs = [_as_given(spec, inputs, details[INPUTS]) for spec in self.signature[INPUTS]]
        samples = _samples(inputs, specs)
        units = {
            spec["name"]: _unit(outputs[spec["name"]], spec, details[OUTPUTS][spec["name"]])
            for spec in self.signature[OUTPUTS]
            if spec["name"] in outputs
        }
        sequence = self.sequence
        if sequence is None and variables:  # each sample begins anew
            sequence = {"reset": "each", "length": 1}
        signature = {**self.signature, INPUTS: specs}
        file = File(self.path, signature, sequence, self.kernels, self.scratch)
        given = file.run(samples)
        entries = []
        for name, unit in units.items():
            expected, got = outputs[name], given[name]
            if expected.shape != got.shape:
                raise TaskError(
                    f"expected output {name!r} has shape {list(expected.shape)}; the file gives"
                    f" {list(got.shape)} for {samples.count} samples"
                )
            if unit == STEPS:
                got = _steps(got, details[OUTPUTS][name])
            elif expected.dtype.kind == "U":
                expected = _encoded(expected)
            numbers = parity_numbers(expected, got)
            entries.append({"output": name, "unit": unit, "samples": samples.count, **numbers})
        return entries

    def _tensors(self) -> tuple[dict[str, dict[str, Any]], bool]:
        """Types and quantization of the file's inputs and outputs, and whether it has variables."""
        from tflbuild.tflite.read import read_model

        model = read_model(self.path.read_bytes())
        key = self.signature["signature"]
        main = model.subgraphs[next((s.subgraph for s in model.signatures if s.key == key), 0)]
        details = {
            side: {
                spec["name"]: tensor_details(main.tensors[index])
                for spec, index in zip(self.signature[side], indices, strict=True)
            }
            for side, indices in ((INPUTS, main.inputs), (OUTPUTS, main.outputs))
        }
        ops = {op.name for graph in model.subgraphs for op in graph.ops}
        return details, "ASSIGN_VARIABLE" in ops


def bind(
    arrays: Mapping[str, Array], signature: Mapping[str, Any]
) -> tuple[dict[str, Array], dict[str, Array]]:
    """The arrays of an archive as inputs and outputs by name. Raises TaskError."""
    sides = {side: [spec["name"] for spec in signature[side]] for side in (INPUTS, OUTPUTS)}
    bound: dict[str, dict[str, Array]] = {INPUTS: {}, OUTPUTS: {}}
    for called, array in arrays.items():
        meant = [(side, called) for side, names in sides.items() if called in names]
        for side, names in sides.items():
            if called.startswith(f"{side}/") and (rest := called[len(side) + 1 :]) in names:
                meant.append((side, rest))
        if not meant:
            raise TaskError(_unknown(called, sides))
        if len(meant) > 1:
            names_ = " or ".join(repr(f"{side}/{name}") for side, name in meant)
            raise TaskError(f"{called!r} is an input and an output; call the array {names_}")
        side, name = meant[0]
        if name in bound[side]:
            raise TaskError(f"{side.removesuffix('s')} {name!r} is there twice: with `{side}/` too")
        bound[side][name] = array
    if missing := [name for name in sides[INPUTS] if name not in bound[INPUTS]]:
        raise TaskError(f"input {missing[0]!r} is not there (it has {sorted(arrays)[:20]})")
    if not bound[OUTPUTS]:
        raise TaskError(f"no expected output is there; record one of {sides[OUTPUTS]}")
    return bound[INPUTS], bound[OUTPUTS]


def _unknown(called: str, sides: Mapping[str, Sequence[str]]) -> str:
    every = [*sides[INPUTS], *sides[OUTPUTS]]
    every += [f"{side}/{name}" for side, names in sides.items() for name in names]
    shown = called if len(called) <= 80 else called[:80] + "…"
    hint = nearest(called, every)
    return (
        f"no input or output is called {shown!r}{hint}; inputs are {sides[INPUTS]}, outputs are"
        f" {sides[OUTPUTS]}"
    )


def _type(array: Array) -> str:
    return "string" if array.dtype.kind in "SU" else str(array.dtype)


def _as_given(spec: Spec, arrays: Mapping[str, Array], details: Mapping[str, Any]) -> Spec:
    """The spec of an input, in the file's own type where steps are given. Raises TaskError where
    type, shape or values cannot be right."""
    import numpy as np

    name = spec["name"]
    array = arrays[name]
    own = _own_type(details[name])
    given = _type(array)
    if given not in (spec["dtype"], own):
        also = f", or steps as {own}" if own else ""
        raise TaskError(f"input {name!r} is {given}; expected {spec['dtype']}{also}")
    shape = list(spec["shape"])
    sample = shape[1:] if array.ndim == len(shape) else shape
    if array.ndim == 0 or not _fits(array.shape[1:], sample):
        raise TaskError(
            f"input {name!r} has shape {list(array.shape)}; the model takes {shape_text(shape)},"
            " samples along the first axis"
        )
    if array.dtype.kind in "fc" and not np.isfinite(array).all():
        raise TaskError(f"input {name!r} has NaN or infinity")
    return {**spec, "dtype": given}


def _fits(have: Sequence[int], wanted: Sequence[int | None]) -> bool:
    return len(have) == len(wanted) and all(
        want is None or size == want for size, want in zip(have, wanted, strict=True)
    )


def _samples(inputs: Mapping[str, Array], specs: Iterable[Spec]) -> data.Samples:
    counts = {spec["name"]: len(inputs[spec["name"]]) for spec in specs}
    if len(set(counts.values())) > 1:
        raise TaskError(f"inputs differ in their number of samples: {counts}")
    count = next(iter(counts.values()))
    if not count:
        raise TaskError("it holds no sample")
    return data.Samples(dict(inputs), count, True)


def _own_type(details: Mapping[str, Any]) -> str:
    """The integer type of a quantized tensor; "" of one that is not."""
    import numpy as np

    return str(np.dtype(details["dtype"])) if details["quantization"][0] else ""


def _unit(array: Array, spec: Spec, details: Mapping[str, Any]) -> str:
    """What an expected output holds. Raises TaskError where it cannot be the file's."""
    import numpy as np

    name, given, own = spec["name"], _type(array), _own_type(details)
    if own and given == own:
        return STEPS
    if given != spec["dtype"] and not (own and given == "float32"):
        remedy = f"; save it with .astype({spec['dtype']!r})" if spec["dtype"] != "string" else ""
        if array.dtype.kind in "iu":
            held = f"{own} steps" if own else f"{np.dtype(details['dtype'])}, without steps"
            remedy = f" (this file has {held}); say which files it is for: `optimizations`"
        raise TaskError(
            f"expected output {name!r} is {given}; the model has {spec['dtype']}{remedy}"
        )
    if array.dtype.kind in "fc" and not np.isfinite(array).all():
        raise TaskError(f"expected output {name!r} has NaN or infinity, which nothing can equal")
    return REAL


def _steps(real: Array, details: Mapping[str, Any]) -> Array:
    """Real values of a quantized output as the steps that they came from: exact, since a float32
    holds every product of a step and a scale to a part of a step."""
    import numpy as np

    scale, zero = details["quantization"]
    steps = np.round(real.astype(np.float64) / float(np.float32(scale))).astype(np.int64)
    result: Array = steps + zero
    return result


def _encoded(text: Array) -> Array:
    import numpy as np

    encoded: Array = np.char.encode(text, "utf-8")
    return encoded
