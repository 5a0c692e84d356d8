"""TensorFlow's converter with the settings of one optimization, and proof that each has effect.

Runs in a child of the `tf` zygote. A setting that gives the bytes that come without it is an
error: the converter takes many in silence and does nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tflbuild.conversion import allow, run_converter
from tflbuild.errors import TaskError
from tflbuild.keep_float import check_found, is_float, kept_operators
from tflbuild.optimizations.base import Calibration, Quantization, Settings
from tflbuild.optimizations.settings import SETTINGS
from tflbuild.stages.base import ConversionFailed
from tflbuild.verification import Converted

Make = Callable[[], Any]  # a fresh converter of the lowered form


def convert(
    make: Make,
    quantization: Quantization,
    settings: Settings,
    calibration: Calibration | None,
    inputs: Collection[str],
    profile: str = "builtin",
    registerers: Sequence[Any] = (),
) -> Converted:
    """Convert, and convert again without each further setting. `inputs`: the names of the model's
    inputs, for messages; `registerers` bring kernels of custom ops to the calibration.

    Raises ConversionFailed, and TaskError for a setting without effect.
    """

    def once(chosen: Settings) -> Converted:
        converter = make()
        assert quantization.configure is not None  # the manifest refuses those without
        quantization.configure(converter, chosen, calibration)
        _configure_further(converter, chosen)
        allow(converter, profile, calibration is not None)
        if registerers:
            converter.target_spec._experimental_custom_op_registerers = list(registerers)
        if chosen.keep_float:
            return _keep_float(converter, chosen, inputs)
        return Converted(run_converter(converter))

    result = once(settings)
    if "serialize_debug_metadata" in dict(settings.converter):
        _refuse_paths(result.data)
    warnings: list[str] = []
    for key, without in _without_each(settings):
        try:
            other = once(without).data
        except ConversionFailed:
            continue  # it does make a difference
        if key == "sparsity":
            # Here equal bytes are not asked for: a sparse file is looked up in the file.
            if len(result.data) >= len(other):
                warnings.append(
                    f"sparsity: true makes the file larger ({len(other):,} bytes without it,"
                    f" {len(result.data):,} with it): the weights have too few zeros"
                )
        elif result.data == other:
            raise TaskError(
                f"{key} has no effect on this model: the file is the same without it; remove it",
                key=f"optimization.{key}",
            )
    return replace(result, warnings=tuple(warnings))


def _refuse_paths(data: bytes) -> None:
    """Debug metadata of a traced function name the files that traced it: they would differ from
    machine to machine. Raises TaskError."""
    import tensorflow as tf

    homes = [str(Path(module).parent) for module in (__file__, tf.__file__)]
    if any(home.encode() in data for home in homes):
        raise TaskError(
            "serialize_debug_metadata would put paths of this machine into the file, as this model"
            " takes another way into the converter than a frozen graph; remove it",
            key="optimization.converter.serialize_debug_metadata",
        )


def _configure_further(converter: Any, settings: Settings) -> None:
    """Sparsity and the settings under `converter`, for every `quantize`."""
    import tensorflow as tf

    if settings.sparsity:
        sparsity = tf.lite.Optimize.EXPERIMENTAL_SPARSITY
        converter.optimizations = [*converter.optimizations, sparsity]
    for key, value in settings.converter:
        try:
            SETTINGS[key].apply(converter, value)
        except AttributeError as error:
            raise TaskError(
                f"converter.{key}: TensorFlow {tf.__version__} has no such setting; remove it",
                key=f"optimization.converter.{key}",
            ) from error


def _without_each(settings: Settings) -> list[tuple[str, Settings]]:
    found = [
        (f"converter.{key}", replace(settings, converter=_others(settings, key)))
        for key, _ in settings.converter
    ]
    if not settings.per_channel:
        found.append(("per_channel", replace(settings, per_channel=True)))
    if settings.sparsity:
        found.append(("sparsity", replace(settings, sparsity=False)))
    return found


def _others(settings: Settings, key: str) -> tuple[tuple[str, Any], ...]:
    return tuple(pair for pair in settings.converter if pair[0] != key)


def _keep_float(converter: Any, settings: Settings, inputs: Collection[str]) -> Converted:
    """int8, with some operators left out: calibrate alone, then quantize with their names."""
    import tensorflow as tf
    from tensorflow.lite.python.convert import (
        deduplicate_readonly_buffers,
        mlir_quantize,
        mlir_sparsify,
    )

    from tflbuild.tflite import names
    from tflbuild.tflite.effect import output_name
    from tflbuild.tflite.read import read_model

    converter._experimental_calibrate_only = True
    converter.optimizations = [tf.lite.Optimize.DEFAULT]  # sparsity comes after
    calibrated = run_converter(converter)
    model = read_model(calibrated)

    def quantize(nodes: set[str]) -> bytes:
        try:
            data = mlir_quantize(
                calibrated,
                converter._experimental_disable_per_channel,
                input_data_type=converter.inference_input_type,
                output_data_type=converter.inference_output_type,
                denylisted_nodes=nodes,
                enable_variable_quantization=converter._experimental_variable_quantization,
                disable_per_channel_for_dense_layers=(
                    converter._experimental_disable_per_channel_quantization_for_dense_layers
                ),
            )
            return bytes(mlir_sparsify(data) if settings.sparsity else data)
        except Exception as error:  # the quantizer raises whatever it likes
            raise ConversionFailed(f"the quantizer refused: {str(error)[:300]}") from error

    plain = read_model(quantize(set()))
    kept: dict[tuple[int, str], str] = {}
    for pattern, found in names.find(model, settings.keep_float).items():
        check_found(pattern, found, model, inputs)
        named = {(g.index, output_name(g, op)): op.name for g, op in found}
        if all(is_float(plain, *which) for which in named.items()):
            raise TaskError(
                f"keep_float: {pattern!r} has no effect: what it names stays float anyway;"
                " remove it",
                key="optimization.keep_float",
            )
        kept |= named
    data = bytes(deduplicate_readonly_buffers(quantize({name for _, name in kept})))
    return Converted(data, kept_operators(read_model(data), kept))
