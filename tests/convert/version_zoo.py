"""Make small files with TensorFlow's converter, one for each operator and way to use it.

`version_zoo.py FOLDER` writes `<mode>-<name>.tflite`; a case that does not convert is a line of
`failed.txt`. Runs in a process of its own.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

Case = tuple[Callable[..., Any], tuple[Any, ...]]


def spec(shape: tuple[int | None, ...], dtype: Any = tf.float32) -> Any:
    return tf.TensorSpec(shape, dtype)


def weights(*shape: int) -> Any:
    return tf.constant(np.random.default_rng(0).normal(size=shape), tf.float32)


IMAGE, ROWS, CUBE = spec((1, 8, 8, 4)), spec((2, 6)), spec((1, 2, 3, 2, 4))
SIX = spec((1, 2, 1, 2, 1, 2))


def typed(dtype: Any, *shape: int) -> Any:
    return spec(shape or (2, 6), dtype)


# Layers that every quantization makes something of.
LAYERS: dict[str, Case] = {
    "conv": (lambda x: tf.nn.conv2d(x, weights(3, 3, 4, 32), 1, "SAME"), (IMAGE,)),
    "depthwise": (
        lambda x: tf.nn.depthwise_conv2d(x, weights(3, 3, 4, 32), (1, 1, 1, 1), "SAME"),
        (IMAGE,),
    ),
    "dense": (lambda x: tf.matmul(x, weights(6, 200)) + weights(200), (ROWS,)),
    "dense_no_bias": (lambda x: tf.matmul(x, weights(6, 200)), (ROWS,)),
    "dense_cube": (
        lambda x: tf.tensordot(x, weights(6, 200), 1) + weights(200),
        (spec((2, 3, 6)),),
    ),
    "transpose_conv": (
        lambda x: tf.nn.conv2d_transpose(x, weights(2, 2, 6, 4), (1, 16, 16, 6), 2),
        (IMAGE,),
    ),
    "batch_matmul": (lambda a, b: tf.matmul(a, b), (spec((2, 3, 4)), spec((2, 4, 5)))),
    "batch_matmul_constant": (lambda a: tf.matmul(a, weights(2, 4, 160)), (spec((2, 3, 4)),)),
    "embedding": (
        lambda i: tf.nn.embedding_lookup(weights(50, 40), i),
        (spec((3,), tf.int32),),
    ),
}
FLOATS: dict[str, Case] = {
    "average_pool": (lambda x: tf.nn.avg_pool2d(x, 2, 2, "SAME"), (IMAGE,)),
    "max_pool": (lambda x: tf.nn.max_pool2d(x, 2, 2, "SAME"), (IMAGE,)),
    "softmax": (tf.nn.softmax, (ROWS,)),
    "log_softmax": (tf.nn.log_softmax, (ROWS,)),
    "logistic": (tf.sigmoid, (ROWS,)),
    "tanh": (tf.tanh, (ROWS,)),
    "concat": (lambda x: tf.concat([x, x * 2.0], 0), (ROWS,)),
    "add": (lambda a, b: a + b, (ROWS, ROWS)),
    "sub": (lambda a, b: a - b, (ROWS, ROWS)),
    "mul": (lambda a, b: a * b, (ROWS, ROWS)),
    "div": (lambda a, b: a / b, (ROWS, ROWS)),
    "pad": (lambda x: tf.pad(x, [[1, 1], [0, 2]]), (ROWS,)),
    "pad_value": (lambda x: tf.pad(x, [[1, 1], [0, 2]], constant_values=0.5), (ROWS,)),
    "mirror_pad": (lambda x: tf.pad(x, [[1, 1], [0, 2]], "REFLECT"), (ROWS,)),
    "mean": (lambda x: tf.reduce_mean(x, 1), (ROWS,)),
    "sum": (lambda x: tf.reduce_sum(x, 1), (ROWS,)),
    "reduce_max": (lambda x: tf.reduce_max(x, 1), (ROWS,)),
    "reduce_min": (lambda x: tf.reduce_min(x, 1), (ROWS,)),
    "reduce_prod": (lambda x: tf.reduce_prod(x, 1), (ROWS,)),
    "relu": (tf.nn.relu, (ROWS,)),
    "relu6": (tf.nn.relu6, (ROWS,)),
    "leaky_relu": (tf.nn.leaky_relu, (ROWS,)),
    "elu": (tf.nn.elu, (ROWS,)),
    "gelu": (lambda x: tf.nn.gelu(x), (ROWS,)),
    "gelu_tanh": (lambda x: tf.nn.gelu(x, approximate=True), (ROWS,)),
    "hard_swish": (lambda x: x * tf.nn.relu6(x + 3.0) / 6.0, (ROWS,)),
    "transpose": (lambda x: tf.transpose(x, [1, 0]), (ROWS,)),
    "slice": (lambda x: tf.slice(x, [0, 1], [2, 3]), (ROWS,)),
    "strided_slice": (lambda x: x[:, ::2], (ROWS,)),
    "split": (lambda x: tf.split(x, 2, 1), (ROWS,)),
    "split_v": (lambda x: tf.split(x, [1, 5], 1), (ROWS,)),
    "pack": (lambda a, b: tf.stack([a, b]), (ROWS, ROWS)),
    "unpack": (lambda x: tf.unstack(x), (ROWS,)),
    "gather": (lambda x: tf.gather(x, [0, 1, 1], axis=1), (ROWS,)),
    "gather_nd": (lambda x: tf.gather_nd(x, [[0, 1], [1, 2]]), (ROWS,)),
    "resize_bilinear": (
        lambda x: tf.compat.v1.image.resize_bilinear(x, (5, 5)),
        (IMAGE,),
    ),
    "resize_bilinear_half": (lambda x: tf.image.resize(x, (5, 5)), (IMAGE,)),
    "resize_nearest": (
        lambda x: tf.compat.v1.image.resize_nearest_neighbor(x, (5, 5)),
        (IMAGE,),
    ),
    "resize_nearest_half": (lambda x: tf.image.resize(x, (5, 5), "nearest"), (IMAGE,)),
    "space_to_depth": (lambda x: tf.nn.space_to_depth(x, 2), (IMAGE,)),
    "depth_to_space": (lambda x: tf.nn.depth_to_space(x, 2), (IMAGE,)),
    "space_to_batch": (lambda x: tf.space_to_batch(x, [2, 2], [[0, 0], [0, 0]]), (IMAGE,)),
    "batch_to_space": (
        lambda x: tf.batch_to_space(x, [2, 2], [[0, 0], [0, 0]]),
        (spec((4, 4, 4, 2)),),
    ),
    "space_to_batch_3": (
        lambda x: tf.space_to_batch(x, [2], [[0, 0]]),
        (spec((1, 4, 2)),),
    ),
    "arg_max": (lambda x: tf.argmax(x, 1), (ROWS,)),
    "arg_min": (lambda x: tf.argmin(x, 1), (ROWS,)),
    "l2_normalization": (lambda x: tf.math.l2_normalize(x, 1), (ROWS,)),
    "maximum": (tf.maximum, (ROWS, ROWS)),
    "minimum": (tf.minimum, (ROWS, ROWS)),
    "squared_difference": (tf.math.squared_difference, (ROWS, ROWS)),
    "rsqrt": (tf.math.rsqrt, (ROWS,)),
    "sqrt": (tf.sqrt, (ROWS,)),
    "exp": (tf.exp, (ROWS,)),
    "log": (tf.math.log, (ROWS,)),
    "abs": (tf.abs, (ROWS,)),
    "tile": (lambda x: tf.tile(x, [1, 2]), (ROWS,)),
    "top_k": (lambda x: tf.math.top_k(x, 2), (ROWS,)),
    "equal": (tf.equal, (ROWS, ROWS)),
    "not_equal": (tf.not_equal, (ROWS, ROWS)),
    "greater": (tf.greater, (ROWS, ROWS)),
    "greater_equal": (tf.greater_equal, (ROWS, ROWS)),
    "less": (tf.less, (ROWS, ROWS)),
    "less_equal": (tf.less_equal, (ROWS, ROWS)),
    "reverse": (lambda x: tf.reverse(x, [1]), (ROWS,)),
    "floor_div": (lambda a, b: a // b, (ROWS, ROWS)),
    "broadcast_to": (lambda x: tf.broadcast_to(x, (3, 2, 6)), (ROWS,)),
    "cumsum": (lambda x: tf.cumsum(x, 1), (ROWS,)),
}
# Types and shapes that only a float model has.
OTHERS: dict[str, Case] = {
    "select": (lambda c, a, b: tf.where(c, a, b), (typed(tf.bool), ROWS, ROWS)),
    "add_int64": (lambda a, b: a + b, (typed(tf.int64),) * 2),
    "add_int16": (lambda a, b: a + b, (typed(tf.int16),) * 2),
    "sub_int64": (lambda a, b: a - b, (typed(tf.int64),) * 2),
    "sub_wide": (lambda a, b: a - b, (CUBE, spec((4,)))),
    "div_wide": (lambda a, b: a / b, (CUBE, spec((1, 1, 1, 2, 1)))),
    "maximum_wide": (tf.maximum, (CUBE, spec((1, 1, 1, 2, 1)))),
    "mul_int64": (lambda a, b: a * b, (typed(tf.int64),) * 2),
    "mul_int16": (lambda a, b: a * b, (typed(tf.int16),) * 2),
    "mul_uint32": (lambda a, b: a * b, (typed(tf.uint32),) * 2),
    "mul_complex": (lambda a, b: a * b, (typed(tf.complex64),) * 2),
    "abs_int32": (tf.abs, (typed(tf.int32),)),
    "abs_int16": (tf.abs, (typed(tf.int16),)),
    "sign_int32": (tf.sign, (typed(tf.int32),)),
    "sign": (tf.sign, (ROWS,)),
    "floor_div_int32": (lambda a, b: a // b, (typed(tf.int32),) * 2),
    "floor_div_int16": (lambda a, b: a // b, (typed(tf.int16),) * 2),
    "floor_mod_int16": (lambda a, b: a % b, (typed(tf.int16),) * 2),
    "floor_mod": (lambda a, b: a % b, (ROWS, ROWS)),
    "transpose_5": (lambda x: tf.transpose(x, [4, 3, 2, 1, 0]), (CUBE,)),
    "transpose_6": (lambda x: tf.transpose(x, [5, 4, 3, 2, 1, 0]), (SIX,)),
    "transpose_bool": (lambda x: tf.transpose(x, [1, 0]), (typed(tf.bool),)),
    "transpose_int8": (lambda x: tf.transpose(x, [1, 0]), (typed(tf.int8),)),
    "slice_string": (lambda x: tf.slice(x, [0, 1], [2, 3]), (typed(tf.string),)),
    "slice_5": (lambda x: tf.slice(x, [0, 1, 0, 0, 0], [1, 1, 1, 1, 1]), (CUBE,)),
    "slice_uint32": (lambda x: tf.slice(x, [0, 1], [2, 3]), (typed(tf.uint32),)),
    "strided_slice_string": (lambda x: x[:, ::2], (typed(tf.string),)),
    "strided_slice_5": (lambda x: x[:, :, ::2, :, ::2], (CUBE,)),
    "strided_slice_bool": (lambda x: x[:, ::2], (typed(tf.bool),)),
    "strided_slice_uint32": (lambda x: x[:, ::2], (typed(tf.uint32),)),
    "strided_slice_new_axis": (lambda x: x[:, tf.newaxis, ::2], (ROWS,)),
    "strided_slice_ellipsis": (lambda x: x[..., ::2], (CUBE,)),
    "gather_bool": (lambda x, i: tf.gather(x, i), (typed(tf.bool), spec((3,), tf.int32))),
    "gather_batch": (
        lambda x, i: tf.gather(x, i, batch_dims=1),
        (ROWS, spec((2, 3), tf.int32)),
    ),
    "gather_int16": (lambda x, i: tf.gather(x, i), (typed(tf.int16), spec((3,), tf.int32))),
    "gather_nd_string": (
        lambda x, i: tf.gather_nd(x, i),
        (typed(tf.string), spec((3, 2), tf.int32)),
    ),
    "gather_nd_bool": (
        lambda x, i: tf.gather_nd(x, i),
        (typed(tf.bool), spec((3, 2), tf.int32)),
    ),
    "gather_nd_int16": (
        lambda x, i: tf.gather_nd(x, i),
        (typed(tf.int16), spec((3, 2), tf.int32)),
    ),
    "tile_string": (lambda x: tf.tile(x, [1, 2]), (typed(tf.string),)),
    "squeeze_string": (lambda x: tf.squeeze(x, [0]), (typed(tf.string, 1, 6),)),
    "squeeze": (lambda x: tf.squeeze(x, [0]), (spec((1, 6)),)),
    "fill_bool": (lambda d, v: tf.fill(d, v), (spec((2,), tf.int32), spec((), tf.bool))),
    "fill_float": (lambda d, v: tf.fill(d, v), (spec((2,), tf.int32), spec(()))),
    "equal_string": (tf.equal, (typed(tf.string),) * 2),
    "equal_int16": (tf.equal, (typed(tf.int16),) * 2),
    "not_equal_string": (tf.not_equal, (typed(tf.string),) * 2),
    "less_int16": (tf.less, (typed(tf.int16),) * 2),
    "greater_equal_int16": (tf.greater_equal, (typed(tf.int16),) * 2),
    "reverse_bool": (lambda x: tf.reverse(x, [1]), (typed(tf.bool),)),
    "select_5": (
        lambda c, a, b: tf.raw_ops.Select(condition=c, x=a, y=b),
        (typed(tf.bool, 1, 2, 3, 2, 4), CUBE, CUBE),
    ),
    "where_float": (lambda x: tf.where(x), (ROWS,)),
    "where_bool": (lambda x: tf.where(x), (typed(tf.bool),)),
    "range_int64": (lambda n: tf.range(n), (spec((), tf.int64),)),
    "range_int32": (lambda n: tf.range(n), (spec((), tf.int32),)),
    "arg_max_bool": (
        lambda x: tf.raw_ops.ArgMax(input=x, dimension=1),
        (typed(tf.bool),),
    ),
    "top_k_int16": (lambda x: tf.math.top_k(x, 2), (typed(tf.int16),)),
    "pack_int8": (lambda a, b: tf.stack([a, b]), (typed(tf.int8),) * 2),
    "pack_int16": (lambda a, b: tf.stack([a, b]), (typed(tf.int16),) * 2),
    "pack_uint32": (lambda a, b: tf.stack([a, b]), (typed(tf.uint32),) * 2),
    "unpack_bool": (lambda x: tf.unstack(x), (typed(tf.bool),)),
    "unpack_uint8": (lambda x: tf.unstack(x), (typed(tf.uint8),)),
    "unpack_int16": (lambda x: tf.unstack(x), (typed(tf.int16),)),
    "pad_bool": (lambda x: tf.pad(x, [[1, 1], [0, 2]]), (typed(tf.bool),)),
    "pad_5": (lambda x: tf.pad(x, [[1, 1]] * 5), (CUBE,)),
    "concat_uint32": (lambda a, b: tf.concat([a, b], 0), (typed(tf.uint32),) * 2),
    "concat_int16": (lambda a, b: tf.concat([a, b], 0), (typed(tf.int16),) * 2),
    "dilated_depthwise": (
        lambda x: tf.nn.depthwise_conv2d(
            x, weights(3, 3, 4, 1), (1, 1, 1, 1), "SAME", dilations=(2, 2)
        ),
        (IMAGE,),
    ),
    "grouped_conv": (lambda x: tf.nn.conv2d(x, weights(3, 3, 2, 8), 1, "SAME"), (IMAGE,)),
    "transpose_conv_bias": (
        lambda x: tf.nn.conv2d_transpose(x, weights(2, 2, 6, 4), (1, 16, 16, 6), 2) + weights(6),
        (IMAGE,),
    ),
    "transpose_conv_relu": (
        lambda x: tf.nn.relu(
            tf.nn.conv2d_transpose(x, weights(2, 2, 6, 4), (1, 16, 16, 6), 2) + weights(6)
        ),
        (IMAGE,),
    ),
    "conv_3d": (lambda x: tf.nn.conv3d(x, weights(1, 1, 1, 4, 3), (1,) * 5, "SAME"), (CUBE,)),
    "complex_abs": (tf.abs, (typed(tf.complex64),)),
    "rfft": (lambda x: tf.signal.rfft2d(x), (spec((1, 4, 8)),)),
    "atan2": (tf.atan2, (ROWS, ROWS)),
    "unique": (lambda x: tf.unique(x), (spec((5,), tf.int32),)),
    "bucketize": (lambda x: tf.raw_ops.Bucketize(input=x, boundaries=[0.0, 1.0]), (ROWS,)),
    "segment_sum": (
        lambda x, i: tf.math.unsorted_segment_sum(x, i, 3),
        (ROWS, spec((2,), tf.int32)),
    ),
    "bitcast": (lambda x: tf.bitcast(x, tf.int32), (ROWS,)),
    "right_shift": (tf.bitwise.right_shift, (typed(tf.int32),) * 2),
    "xor": (tf.bitwise.bitwise_xor, (typed(tf.int32),) * 2),
    "dynamic_broadcast": (
        lambda a, b: tf.broadcast_to(a, tf.shape(b)),
        (spec((None, 6)), spec((None, 6))),
    ),
    "exp_int8": (lambda x: tf.cast(x, tf.float32), (typed(tf.int8),)),
    "sparse_int64": (
        lambda i, v: tf.raw_ops.SparseToDense(
            sparse_indices=i,
            output_shape=[5],
            sparse_values=v,
            default_value=tf.constant(0, tf.int64),
            validate_indices=False,
        ),
        (spec((2,), tf.int32), spec((2,), tf.int64)),
    ),
    **{
        f"cast_{name}": (lambda x: tf.cast(x, tf.float32), (typed(getattr(tf, name)),))
        for name in ("uint32", "uint16", "float64", "float16", "bfloat16", "int32", "bool")
    },
    **{
        f"cast_to_{name}": (lambda x, d=name: tf.cast(x, d), (ROWS,))
        for name in ("uint32", "uint16", "float64", "float16", "int8", "int64")
    },
}
MODES = {
    "float": {**LAYERS, **FLOATS, **OTHERS},
    "int8": {**LAYERS, **FLOATS},
    "dynamic": LAYERS,
    "dense_per_tensor": LAYERS,
    "per_tensor": LAYERS,
    "float16": LAYERS,
    "int16x8": LAYERS,
}


def convert(case: Case, mode: str) -> bytes:
    function, specs = case
    call = tf.function(lambda *args: function(*args)).get_concrete_function(*specs)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([call], tf.Module())
    if mode != "float":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if mode == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if mode == "dense_per_tensor":
        converter._experimental_disable_per_channel_quantization_for_dense_layers = True
    if mode == "per_tensor":
        converter._experimental_disable_per_channel = True
    if mode.startswith("int"):
        rng = np.random.default_rng(1)

        def samples() -> Iterator[list[Any]]:
            for _ in range(4):
                yield [rng.uniform(0.1, 2, s.shape).astype(s.dtype.as_numpy_dtype) for s in specs]

        converter.representative_dataset = samples
        sets = tf.lite.OpsSet
        converter.target_spec.supported_ops = [
            sets.TFLITE_BUILTINS_INT8
            if mode == "int8"
            else sets.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8,
            sets.TFLITE_BUILTINS,
        ]
    return bytes(converter.convert())


def main(out: Path, modes: list[str]) -> None:
    failed = []
    for mode in modes or MODES:
        for name, case in MODES[mode].items():
            try:
                (out / f"{mode}-{name}.tflite").write_bytes(convert(case, mode))
            except Exception as error:
                failed.append(f"{mode}-{name}: {str(error)[:150]!r}\n")
    (out / "failed.txt").write_text("".join(failed))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
