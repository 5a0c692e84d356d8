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
from tflbuild.sources.base import GRAPH, Loaded, Signature, Tensors, TensorSpec
from tflbuild.sources.extras import need
from tflbuild.sources.protobuf_wire import messages, strings
from tflbuild.sources.size import refuse_large, too_large

NAME = "onnx"
MODULES: tuple[str, ...] = ("onnx", "onnx2tf", "onnxruntime", "onnxsim", "tf_keras")
KEYS: tuple[str, ...] = ("path",)
EXAMPLE = "MODEL.onnx"
FOLDER = False
LOWERED = GRAPH
RUNS_ALONE = True

CLOSE = 1e-3  # of the largest value: more is another computation, not another rounding


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
    session = _Session(path)
    model = _Model(proto, inputs, outputs, params["pins"], session)
    signature = Signature("serving_default", inputs, outputs, model.function, session)
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
        session: _Session,
    ) -> None:
        self._proto, self._inputs, self._outputs, self._pins = proto, inputs, outputs, pins
        self._session = session
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
        """onnx2tf guesses which axes are channels, by shapes among other things. So both of its
        ways are tried, and the one is taken that gives what onnxruntime gives."""
        for module in ("tf_keras", "onnx_graphsurgeon", "onnxruntime"):
            need(module, NAME)
        proto = self._prepared()
        images = [
            v.name for v in proto.graph.input if len(v.type.tensor_type.shape.dim) in (3, 4, 5)
        ]
        ways: list[dict[str, Any]] = [{}]
        if images:
            ways = [
                {"keep_ncw_or_nchw_or_ncdhw_input_names": images},  # channels first, as in ONNX
                {"keep_shape_absolutely_input_names": images},  # no channels: sequences
            ]
        feed = self._probe(proto)
        wanted = self._wanted(feed)
        failed: BaseException | None = None
        error = float("inf")
        for way in ways:
            try:
                model = self._by(proto, way)
            except (Exception, SystemExit) as problem:
                failed = failed or problem
                continue
            error = min(error, _difference(model, feed, wanted))
            if error < CLOSE:
                return model
        version = need("onnx2tf", NAME).__version__
        if failed is not None:
            free = [spec.name for spec in self._inputs if None in self._pinned(spec.name)]
            remedy = f"; pin the dynamic dimensions of {free} under inputs:" if free else ""
            raise TaskError(
                f"onnx2tf {version} cannot convert it: {_said(failed)}{remedy}"
            ) from failed
        raise TaskError(
            f"onnx2tf {version} converts it, but to other numbers than onnxruntime's (by"
            f" {error:.1%} of the largest): export the model by another way"
        )

    def _by(self, proto: Any, way: Mapping[str, Any]) -> Any:
        model = need("onnx2tf", NAME).convert(
            onnx_graph=proto,
            output_folder_path="onnx2tf",
            not_use_onnxsim=True,  # it has run
            disable_model_save=True,
            non_verbose=True,
            **way,
        )
        if len(model.inputs) != len(self._inputs):
            raise ValueError(
                f"it drops inputs that change nothing, and keeps {len(model.inputs)} of"
                f" {len(self._inputs)}"
            )
        return model

    def _probe(self, proto: Any) -> list[Any]:
        """An input of each kind, in order; dynamic dimensions are 1."""
        import numpy as np

        draw = np.random.default_rng(0)
        feed = []
        for spec in self._inputs:
            shape = [1 if size is None else size for size in self._pinned(spec.name)]
            if spec.dtype.startswith("float"):
                feed.append(draw.normal(0, 1, shape).astype(spec.dtype))
            else:
                feed.append(draw.integers(0, 2, shape).astype(spec.dtype))
        return feed

    def _wanted(self, feed: list[Any]) -> list[Any] | None:
        """onnxruntime's outputs; None where it takes no such input."""
        arrays = {spec.name: array for spec, array in zip(self._inputs, feed, strict=True)}
        try:
            found = self._session(arrays)
        except TaskError:
            return None
        return [found[name] for name in self._outputs]

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


def _difference(model: Any, feed: list[Any], wanted: list[Any] | None) -> float:
    """The largest error over the largest value of any output; 0 where there is nothing to
    compare with."""
    import numpy as np
    import tensorflow as tf

    if wanted is None:
        return 0.0
    found = tf.nest.flatten(model([tf.constant(array) for array in feed], training=False))
    errors = [0.0]
    for tensor, array in zip(found, wanted, strict=True):
        ours, theirs = tensor.numpy().ravel(), np.asarray(array).ravel()
        if ours.size != theirs.size:
            return float("inf")
        if theirs.size and theirs.dtype.kind in "fiub":
            ours, theirs = ours.astype(np.float64), theirs.astype(np.float64)
            errors.append(float(np.abs(ours - theirs).max() / (np.abs(theirs).max() or 1)))
    return max(errors)


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
