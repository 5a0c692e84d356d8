from __future__ import annotations

import subprocess
import sys

import pytest

from tflbuild.tflite.layer_names import shown_layer

_GELU = ";".join(
    f"functional_3_1/conv1d_1/Gelu/{op}" for op in ("mul_2", "mul/x", "mul", "Neg", "mul_1", "Erfc")
)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (_GELU, "conv1d"),  # Keras 3 appends a number to the names of layers
        ("functional_1/conv1d_1_2/convolution1", "conv1d_1"),
        ("functional_1_1/conv1d_2_1/convolution/Squeeze1", "conv1d_2"),
        ("sequential_1_1/head_1/Tensordot", "head"),
        # as Keras 2 names its second layer, and Keras 3 its first: the number stays
        ("sequential_1/conv1d_1/Relu;sequential_1/conv1d_1/BiasAdd", "conv1d_1"),
        ("model_1/conv1d_1/Gelu/mul_2", "conv1d_1"),
        ("StatefulPartitionedCall/model/dense/MatMul:0", "dense"),
        ("StatefulPartitionedCall_1:0;model/dense/MatMul", "dense"),
        ("StatefulPartitionedCall:0", "StatefulPartitionedCall"),
        ("StatefulPartitionedCall:1", "StatefulPartitionedCall:1"),
        ("serving_default_image:0", "serving_default_image"),
        ("net_1/dense_1/MatMul", "net_1/dense_1"),  # a name that a person gave to the model
        ("encoder/head/my_det", "encoder/head/my_det"),
        ("model/Identity", "model/Identity"),
        ("Identity", "Identity"),
        ("plain;fused", "plain"),
        ("x" * 90, "x" * 79 + "…"),
        ("", ""),
        (";", ";"),
        ("/", "/"),
    ],
)
def test_shown_layer(name: str, shown: str) -> None:
    assert shown_layer(name) == shown


def test_a_hostile_name_stays_short() -> None:
    for name in ("a/" * 10**6, ";" * 10**6, "StatefulPartitionedCall/" * 10**5, "_1" * 10**6):
        assert len(shown_layer(name)) <= 80


def test_it_loads_nothing_heavy() -> None:
    code = "import sys, tflbuild.tflite.layer_names; print({'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
