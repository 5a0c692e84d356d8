"""`converter`: the further settings of TensorFlow's converter, by manifest key.

docs/CONVERTER.md lists every public attribute of the converter; a test compares it with the
installed class. A manifest key is the attribute's name without a leading underscore. Those with
one are not promised by TensorFlow.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Setting:
    """One attribute of the converter, or of its `target_spec`."""

    attribute: str
    default: Any  # as the manifest writes it
    quantize: tuple[str, ...] = ()  # the values of `quantize` that it can have an effect with

    def apply(self, converter: Any, value: Any) -> None:
        """Raises AttributeError where this TensorFlow has no such attribute: setting it anyway
        would be accepted in silence."""
        import tensorflow as tf

        *path, name = self.attribute.split(".")
        holder = converter
        for part in path:
            holder = getattr(holder, part)
        getattr(holder, name)
        setattr(holder, name, tf.dtypes.as_dtype(value) if isinstance(value, str) else value)


_CHANNELS = ("int8", "int16x8", "dynamic_range")

SETTINGS: Mapping[str, Setting] = {
    "unfold_batchmatmul": Setting("unfold_batchmatmul", False),
    "canonicalizing_inf_as_min_max_float": Setting("canonicalizing_inf_as_min_max_float", True),
    "serialize_debug_metadata": Setting("serialize_debug_metadata", False),
    "legalize_custom_tensor_list_ops": Setting("legalize_custom_tensor_list_ops", False),
    "experimental_enable_resource_variables": Setting(
        "experimental_enable_resource_variables", True
    ),
    "experimental_new_quantizer": Setting("experimental_new_quantizer", True, ("int8",)),
    "experimental_new_dynamic_range_quantizer": Setting(
        "experimental_new_dynamic_range_quantizer", True, ("dynamic_range", "float16")
    ),
    "experimental_lower_tensor_list_ops": Setting("_experimental_lower_tensor_list_ops", True),
    "experimental_default_to_single_batch_in_tensor_list_ops": Setting(
        "_experimental_default_to_single_batch_in_tensor_list_ops", False
    ),
    "experimental_unfold_large_splat_constant": Setting(
        "_experimental_unfold_large_splat_constant", False
    ),
    "experimental_enable_dynamic_update_slice": Setting(
        "_experimental_enable_dynamic_update_slice", False
    ),
    "experimental_preserve_assert_op": Setting("_experimental_preserve_assert_op", False),
    "experimental_guarantee_all_funcs_one_use": Setting(
        "_experimental_guarantee_all_funcs_one_use", False
    ),
    "experimental_disable_fuse_mul_and_fc": Setting("_experimental_disable_fuse_mul_and_fc", False),
    "experimental_unsafe_fuse_dynamic_shaped_broadcast": Setting(
        "_experimental_unsafe_fuse_dynamic_shaped_broadcast", False
    ),
    "experimental_enable_composite_direct_lowering": Setting(
        "_experimental_enable_composite_direct_lowering", True
    ),
    "experimental_disable_per_channel_quantization_for_dense_layers": Setting(
        "_experimental_disable_per_channel_quantization_for_dense_layers", False, _CHANNELS
    ),
    "experimental_variable_quantization": Setting(
        "_experimental_variable_quantization", False, ("int8",)
    ),
    "experimental_low_bit_qat": Setting("_experimental_low_bit_qat", False, ("qat",)),
    "experimental_full_integer_quantization_bias_type": Setting(
        "_experimental_full_integer_quantization_bias_type", "int64", ("int16x8",)
    ),
    "experimental_supported_accumulation_type": Setting(
        "target_spec._experimental_supported_accumulation_type", "float32", ("float16",)
    ),
}
