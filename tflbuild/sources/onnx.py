"""`onnx`: an ONNX file (its weights may lie beside it), by way of onnx2tf.

onnx2tf makes a Keras 2 model, so that every optimization of TensorFlow's converter is there. It
turns images from NCHW to NHWC inside; names and shapes of inputs and outputs stay those of the
file. The reference is onnxruntime's run of the file.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tflbuild.errors import TaskError, UsageError, one_line
from tflbuild.sources.base import ARRAYS, GRAPH, Loaded, Signature, Tensors, TensorSpec
from tflbuild.sources.extras import need
from tflbuild.sources.size import refuse_large, too_large
from tflbuild.sources.wire import messages, strings

NAME = "onnx"
MODULES: tuple[str, ...] = ("onnx", "onnx2tf", "onnxruntime", "onnxsim", "tf_keras")
KEYS: tuple[str, ...] = ("path",)
EXAMPLE = "MODEL.onnx"
FOLDER = False
LOWERED = GRAPH
REFERENCE = ARRAYS


def problem(path: str, shown: str) -> str:
    if os.path.isdir(path) or not path.endswith(".onnx"):
        return f"expected a .onnx file, got {shown}"
    return too_large(path, shown)


def files(path: Path) -> tuple[Sequence[tuple[str, Path]], Sequence[Path]]:
    found = {"model.onnx": path}
    for location in external_data(path):
        name = os.path.normpath(location)
        if os.path.isabs(name) or name.split(os.sep)[0] == os.pardir:
            raise UsageError(f"{path}: its weights lie outside of its folder ({location!r})")
        found[f"weights/{name}"] = path.parent / name
    return sorted(found.items()), []


def external_data(path: Path) -> list[str]:
    """The files beside an ONNX file that hold its weights, read from its protocol buffer:
    ModelProto.graph (7), GraphProto.initializer (5), TensorProto.external_data (13), whose
    entries are key (1) and value (2). Empty for a file that is none."""
    found: dict[str, None] = {}
    for entry in messages(path, (7, 5, 13)):
        text = strings(entry)
        if text.get(1) == "location" and text.get(2):
            found[text[2]] = None
    return sorted(found)


def load(path: Path, params: Mapping[str, Any]) -> Loaded:
    onnx = need("onnx", NAME)
    beside = [path.parent / name for name in external_data(path)]
    missing = [file.name for file in beside if not file.is_file()]
    if missing:
        raise TaskError(f"the weights of the model lie in {missing[0]!r}, which is not there")
    sizes = [file.stat().st_size for file in (path, *beside)]
    refuse_large(sum(sizes), "the model has")
    try:
        proto = onnx.load(str(path))
        onnx.checker.check_model(proto)
    except Exception as error:  # protobuf and the checker
        raise TaskError(f"it is not a sound ONNX model: {one_line(error, 250)}") from error
    weights = {tensor.name for tensor in proto.graph.initializer}
    inputs = tuple(_spec(onnx, value) for value in proto.graph.input if value.name not in weights)
    outputs = tuple(value.name for value in proto.graph.output)
    model = _Model(proto, inputs, outputs, params["pins"])
    signature = Signature("serving_default", inputs, outputs, model.function, _Session(path))
    return Loaded(f"onnx {onnx.__version__}", (signature,), model.save, keep_alive=model)


def _spec(onnx: Any, value: Any) -> TensorSpec:
    kind = value.type.tensor_type
    if not value.type.HasField("tensor_type"):
        raise TaskError(f"input {value.name!r} is a sequence, a map or optional, not a tensor")
    name = "string"
    if kind.elem_type != onnx.TensorProto.STRING:
        name = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type).name
    if not kind.HasField("shape"):
        return TensorSpec(value.name, None, name)
    return TensorSpec(value.name, _shape(kind.shape), name)


def _shape(shape: Any) -> tuple[int | None, ...]:
    return tuple(d.dim_value if d.HasField("dim_value") else None for d in shape.dim)


class _Session:
    """onnxruntime's run of the file; it is opened by the first call."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._session: Any = None

    def __call__(self, arrays: Tensors) -> Tensors:
        if self._session is None:
            runtime = need("onnxruntime", NAME)
            options = runtime.SessionOptions()
            options.intra_op_num_threads = 1
            try:
                self._session = runtime.InferenceSession(
                    str(self._path), options, providers=["CPUExecutionProvider"]
                )
            except Exception as error:
                raise TaskError(
                    f"onnxruntime {runtime.__version__} refuses the model: {one_line(error, 250)}"
                ) from error
        names = [output.name for output in self._session.get_outputs()]
        try:
            return dict(zip(names, self._session.run(None, dict(arrays)), strict=True))
        except Exception as error:
            raise TaskError(
                f"the source itself fails on the test data: {one_line(error)}"
            ) from error


class _Model:
    """onnx2tf's model, made when it is first traced."""

    def __init__(
        self,
        proto: Any,
        inputs: Sequence[TensorSpec],
        outputs: Sequence[str],
        pins: Mapping[str, Any],
    ) -> None:
        self._proto, self._inputs, self._outputs, self._pins = proto, inputs, outputs, pins
        self._shapes: list[tuple[int | None, ...]] = []  # of the outputs
        self._model: Any = None

    def function(self, tensors: Tensors) -> Tensors:
        import tensorflow as tf

        if self._model is None:
            with tf.init_scope():
                self._model = self._convert()
        names = [spec.name for spec in self._inputs]
        flat = tf.nest.flatten(self._model([tensors[name] for name in names], training=False))
        return {
            name: tf.reshape(tensor, [-1 if size is None else size for size in shape])
            for name, tensor, shape in zip(self._outputs, flat, self._shapes, strict=True)
        }

    def save(self, traced: Mapping[str, Any], folder: Path) -> None:
        import tensorflow as tf

        module = tf.Module()
        module.model = self._model
        tf.saved_model.save(module, str(folder), signatures=dict(traced))

    def _convert(self) -> Any:
        need("tf_keras", NAME)
        need("onnx_graphsurgeon", NAME)
        onnx2tf = need("onnx2tf", NAME)
        proto = self._prepared()
        try:
            model = onnx2tf.convert(
                onnx_graph=proto,
                output_folder_path="onnx2tf",
                keep_shape_absolutely_input_names=[value.name for value in proto.graph.input],
                not_use_onnxsim=True,  # it has run
                disable_model_save=True,
                non_verbose=True,
            )
        except (Exception, SystemExit) as error:
            free = [spec.name for spec in self._inputs if None in (spec.shape or (None,))]
            unpinned = [name for name in free if None in self._pinned(name)]
            remedy = f"; pin the dynamic dimensions of {unpinned} under inputs:" if unpinned else ""
            raise TaskError(
                f"onnx2tf {onnx2tf.__version__} cannot convert it: {_said(error)}{remedy}"
            ) from error
        if len(model.inputs) != len(self._inputs):
            raise TaskError(
                f"onnx2tf dropped inputs that change nothing: of {len(self._inputs)} it kept"
                f" {len(model.inputs)}; remove them from the model"
            )
        return model

    def _pinned(self, name: str) -> tuple[int | None, ...]:
        spec = next(spec for spec in self._inputs if spec.name == name)
        pin = self._pins.get(name, {}).get("shape")
        if spec.shape is None:
            return tuple(pin)
        return tuple(
            have if have is not None else want
            for have, want in zip(spec.shape, pin or spec.shape, strict=True)
        )

    def _prepared(self) -> Any:
        """The model with its inputs pinned, simplified, under names that every layer takes, and
        with its outputs flattened: ONNX's order of elements, whatever onnx2tf turns inside."""
        onnx, onnxsim = need("onnx", NAME), need("onnxsim", NAME)
        proto = onnx.ModelProto()
        proto.CopyFrom(self._proto)
        weights = {tensor.name for tensor in proto.graph.initializer}
        for value in list(proto.graph.input):
            if value.name in weights:  # old files list them; then they could be fed
                proto.graph.input.remove(value)
                continue
            shape = value.type.tensor_type.shape
            if value.type.tensor_type.HasField("shape"):
                for dim, size in zip(shape.dim, self._pinned(value.name), strict=True):
                    if size is not None:
                        dim.dim_value = size
            else:
                for size in self._pinned(value.name):
                    shape.dim.add().dim_value = size
        for value in proto.graph.output:
            value.type.tensor_type.ClearField("shape")  # inferred anew from the inputs
        try:
            proto = onnx.shape_inference.infer_shapes(proto)
            proto, _ = onnxsim.simplify(proto)
            proto = onnx.shape_inference.infer_shapes(proto)
        except Exception as error:
            raise TaskError(f"the model cannot be simplified: {one_line(error, 250)}") from error
        self._shapes = [self._flatten(onnx, proto, index) for index in range(len(self._outputs))]
        for index, spec in enumerate(self._inputs):
            _rename(proto.graph, spec.name, f"in_{index}")
        return onnx.shape_inference.infer_shapes(proto)

    def _flatten(self, onnx: Any, proto: Any, index: int) -> tuple[int | None, ...]:
        """Reshape one output to a row for each of its first dimension; gives its shape."""
        value = proto.graph.output[index]
        kind = value.type.tensor_type
        shape = _shape(kind.shape) if kind.HasField("shape") else (None, None)
        if None in shape[1:]:
            raise TaskError(
                f"output {value.name!r} has dynamic dimensions beside the first: pin the inputs'"
                " shapes under inputs:"
            )
        name = f"out_{index}"
        rows = [shape[0] if shape and shape[0] is not None else 1 if not shape else -1]
        columns = 1
        for size in shape[1:]:
            columns *= size or 1
        target = onnx.numpy_helper.from_array(_int64([*rows, columns]), f"{name}_shape")
        proto.graph.initializer.append(target)
        node = onnx.helper.make_node("Reshape", [value.name, target.name], [name], name=name)
        proto.graph.node.append(node)
        proto.graph.output.remove(value)
        first = rows[0] if rows[0] > 0 else None
        flat = onnx.helper.make_tensor_value_info(name, kind.elem_type, [first, columns])
        proto.graph.output.insert(index, flat)
        return shape


def _int64(values: list[int]) -> Any:
    import numpy as np

    return np.array(values, np.int64)


def _rename(graph: Any, old: str, new: str) -> None:
    """Another name for a graph's input, also where inner graphs read it."""
    for value in graph.input:
        if value.name == old:
            value.name = new
    for node in graph.node:
        for position, name in enumerate(node.input):
            if name == old:
                node.input[position] = new
        for attribute in node.attribute:
            for inner in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
                _rename_uses(inner, old, new)


def _rename_uses(graph: Any, old: str, new: str) -> None:
    if old in {value.name for value in graph.input}:  # hidden by one of its own
        return
    _rename(graph, old, new)
    for value in graph.output:
        if value.name == old:
            value.name = new


def _said(error: BaseException) -> str:
    text = one_line(error, 200)
    return text if text and not isinstance(error, SystemExit) else "see the log of this task"
