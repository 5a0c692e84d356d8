"""`pytorch`: an exported program (`torch.export.save`, `.pt2`) or a module that a function of the
user's gives, by way of litert-torch.

litert-torch writes a `.tflite` file itself, so nothing is traced by TensorFlow. The reference is
PyTorch's own run of the program.
"""

from __future__ import annotations

import inspect
import os
import random
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tflbuild import pyrun
from tflbuild.errors import TaskError, one_line
from tflbuild.sources.base import TFLITE, Loaded, Signature, Tensors, TensorSpec
from tflbuild.sources.extras import need
from tflbuild.sources.size import refuse_large

NAME = "pytorch"
MODULES: tuple[str, ...] = ("torch", "litert_torch", "litert_converter", "ai_edge_litert")
KEYS: tuple[str, ...] = ("path", "python", "args")
EXAMPLE = "MODEL.pt2"
FOLDER = False
LOWERED = TFLITE
RUNS_ALONE = True

KEY = "source.python"


def problem(path: str, shown: str) -> str:
    if os.path.isdir(path) or not path.endswith(".pt2"):
        remedy = ""
        if path.endswith((".pt", ".pth", ".bin", ".ckpt")):
            remedy = "; weights or a pickled module hold no graph: torch.export.save writes one"
        return f"expected a .pt2 file, got {shown}{remedy}"
    return ""


def files(path: Path) -> tuple[Sequence[tuple[str, Path]], Sequence[Path]]:
    return [("model.pt2", path)], []


def load(path: Path, params: Mapping[str, Any]) -> Loaded:
    torch = need("torch", NAME)
    program = _made(torch, params) if "python" in params else _read(torch, path)
    inputs = _inputs(program)
    outputs = output_names(program.call_spec.out_spec, list(params["output_order"]))
    module = program.module()

    def run(arrays: Tensors) -> Tensors:
        flat = [torch.from_numpy(arrays[spec.name].copy()) for spec in inputs]
        args, kwargs = _arguments(program, flat)
        try:
            with torch.no_grad():
                results = torch.utils._pytree.tree_leaves(module(*args, **kwargs))
        except Exception as error:  # of the program's own checks, too
            raise TaskError(
                f"the source itself fails on the test data: {one_line(error)}"
            ) from error
        return {n: t.numpy(force=True) for n, t in zip(outputs, results, strict=True)}

    def to_tflite(pinned: Mapping[str, Sequence[TensorSpec]]) -> bytes:
        examples = [_example(torch, spec) for spec in pinned[signature.name]]
        args, kwargs = _arguments(program, examples)
        return convert(module, args, kwargs)

    signature = Signature("serving_default", inputs, outputs, run, run)
    return Loaded(f"torch {torch.__version__}", (signature,), _no_save, to_tflite=to_tflite)


def _read(torch: Any, path: Path) -> Any:
    if not zipfile.is_zipfile(path):
        raise TaskError("it is not a .pt2 file of torch.export.save, or it is damaged")
    with zipfile.ZipFile(path) as archive:
        refuse_large(sum(entry.file_size for entry in archive.infolist()), "the program has")
    try:
        return torch.export.load(path)
    except Exception as error:
        raise TaskError(
            f"torch {torch.__version__} cannot load the program: {one_line(error, 250)}"
        ) from error


def _made(torch: Any, params: Mapping[str, Any]) -> Any:
    """The program of a function of the user's, which gives a module, a module with example
    inputs, or a program. It runs twice: seeds are the same each time."""
    import numpy as np

    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    make = pyrun.function(params["python"], KEY)
    made = pyrun.call_with(make, params.get("args"), KEY)
    if isinstance(made, torch.export.ExportedProgram):
        return made
    module, examples = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
    if not isinstance(module, torch.nn.Module):
        raise TaskError(
            f"the function gives {type(module).__name__}, expected a torch.nn.Module, a module with"
            " a tuple of example inputs, or a torch.export.ExportedProgram",
            key=KEY,
        )
    weights = [*module.parameters(), *module.buffers()]
    refuse_large(sum(w.numel() * w.element_size() for w in weights), "its weights take")
    module.eval()  # dropout and the like are for training
    if examples is None:
        examples = _pinned_examples(torch, module, params["pins"])
    if not isinstance(examples, tuple):
        examples = (examples,)
    try:
        return torch.export.export(module, examples)
    except Exception as error:
        raise TaskError(f"torch.export cannot export the module: {one_line(error, 300)}") from error


def _pinned_examples(torch: Any, module: Any, pins: Mapping[str, Any]) -> tuple[Any, ...]:
    """Inputs of the shapes that the manifest gives for the parameters of `forward`."""
    names = list(inspect.signature(module.forward).parameters)
    if not names or not all(pins.get(name, {}).get("shape") for name in names):
        raise TaskError(
            f"the shapes of the inputs {names} are not known: give them under inputs:, or return"
            " (module, example inputs) from the function",
            key=KEY,
        )
    return tuple(
        _example(torch, TensorSpec(n, tuple(pins[n]["shape"]), pins[n].get("dtype") or "float32"))
        for n in names
    )


def convert(module: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bytes:
    """litert-torch's float file of a module. Raises TaskError."""
    litert_torch = need("litert_torch", NAME)
    try:
        model = litert_torch.convert(
            module, args, sample_kwargs=dict(kwargs) or None, enable_x64=True
        )
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "model.tflite"
            model.export(str(file))
            return file.read_bytes()
    except Exception as error:  # torch.export, StableHLO and the converter have many
        raise TaskError(f"litert-torch cannot convert it: {one_line(error, 300)}") from error


def _inputs(program: Any) -> tuple[TensorSpec, ...]:
    """The user's inputs in order. Raises TaskError for one that is no tensor."""
    nodes = {n.name: n for n in program.graph.nodes if n.op == "placeholder"}
    specs = []
    for name in program.graph_signature.user_inputs:
        value: Any = nodes[name].meta.get("val") if name in nodes else None
        if not hasattr(value, "dtype"):
            raise TaskError(
                f"input {name!r} is a constant of the program, not a tensor: export it without"
            )
        shape = tuple(size if isinstance(size, int) else None for size in value.shape)
        specs.append(TensorSpec(name, shape, str(value.dtype).removeprefix("torch.")))
    return tuple(specs)


def output_names(spec: Any, asked: list[str]) -> tuple[str, ...]:
    """The keys of what the module returns; else what the manifest calls them, by position."""
    count = spec.num_leaves
    if spec.type is dict and len(spec.context) == count:
        return tuple(str(key) for key in spec.context)
    if asked and len(asked) != count:
        raise TaskError(f"outputs: the module gives {count}, named are {asked}", key="outputs")
    return tuple(asked) or tuple(f"output_{index}" for index in range(count))


def _arguments(program: Any, flat: list[Any]) -> Any:
    from torch.utils._pytree import tree_unflatten

    return tree_unflatten(flat, program.call_spec.in_spec)


def _example(torch: Any, spec: TensorSpec) -> Any:
    if spec.shape is None or None in spec.shape:
        raise TaskError(
            f"input {spec.name!r} has dynamic dimensions, and litert-torch needs fixed ones: pin"
            f" them, inputs: {{{spec.name}: {{shape: [...]}}}}"
        )
    dtype = getattr(torch, spec.dtype)
    return torch.zeros(spec.shape, dtype=dtype)


def _no_save(traced: Mapping[str, Any], folder: Path) -> None:
    raise TypeError("a PyTorch program is not saved as a SavedModel")
