"""Names of nodes become what a person knows."""

from __future__ import annotations

import pytest

from tflbuild.evaluation.naming import (
    Names,
    Place,
    function_name,
    is_keras3,
    jax_scope,
    of_chain,
    scope_name,
    with_root,
)

KERAS3 = [
    "net_1/dense_1/MatMul",
    "net_1/dense_1_2/MatMul",
    "net_1/dense_3/MatMul",
    "net_1/mha_1/einsum_1/Einsum",
    "net_1/mha_1/key_1/Add",
    "net_1/bn_1/batchnorm/mul_1",
    "in_0",
    "out_0",
]


def names(nodes: list[str], **known: object) -> Names:
    ops = {node: node.split("/")[-1].split("_")[0] for node in nodes}
    return with_root(Names(ops=ops, **known), nodes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("node", "layer"),
    [
        ("net_1/dense_1/MatMul", "dense"),  # Keras 3 opens two scopes for each call
        ("net_1/dense_1_2/MatMul", "dense_1"),
        ("net_1/dense_3/MatMul", "dense"),  # called a second time
        ("net_1/mha_1/einsum_1/Einsum", "mha"),
        ("net_1/mha_1/key_1/Add", "mha/key"),
        ("net_1/bn_1/batchnorm/mul_1", "bn"),
    ],
)
def test_layers_of_keras_3(node: str, layer: str) -> None:
    assert scope_name(node, names(KERAS3, keras3=True)) == layer


def test_layers_of_keras_2_keep_their_numbers() -> None:
    nodes = ["model/dense/MatMul", "model/dense_1/MatMul_1", "model/conv_2/depthwise"]
    known = names(nodes)

    assert [scope_name(node, known) for node in nodes] == ["dense", "dense_1", "conv_2"]


def test_which_keras_it_is_shows_in_the_readers_of_variables() -> None:
    variables = ["dense/kernel:0", "dense_1/kernel:0"]

    assert is_keras3(["net_1/dense_1_2/MatMul/ReadVariableOp"], variables)
    assert not is_keras3(
        ["net_1/dense/MatMul/ReadVariableOp", "net_1/dense_1/MatMul/ReadVariableOp"], variables
    )
    assert not is_keras3([], variables)


@pytest.mark.parametrize(
    ("tensor", "place"),
    [
        ("my_det", Place("my_det", "my_det", "f")),
        ("add_1", Place("f", "add_1", "f")),
        ("head/MatMul1", Place("head", "head/MatMul")),  # the converter's number
        ("out_0", Place("head", "head/MatMul")),  # an output, by its producer
        ("out_1", Place()),
        ("StatefulPartitionedCall:0", Place()),
        ("head/Relu;body/conv/Conv2D", Place("body/conv", "body/conv/Conv2D")),
        ("", Place()),
    ],
)
def test_places(tensor: str, place: Place) -> None:
    ops = {"my_det": "MatrixDeterminant", "head/MatMul": "MatMul", "body/conv/Conv2D": "Conv2D",
           "head/Relu": "Relu", "add_1": "AddV2"}  # fmt: skip
    functions = {"my_det": "f", "add_1": "f"}

    assert Names(ops, {"out_0": "head/MatMul"}, functions).place(tensor) == place


def test_a_root_is_left_out_only_where_everything_stands_in_it() -> None:
    assert names(["model/a/MatMul", "model/b/MatMul"]).root == "model"
    assert names(["encoder/project/MatMul", "add"]).root == ""
    assert names(["encoder/MatMul", "encoder/add"]).root == ""


@pytest.mark.parametrize(
    ("function", "name"),
    [
        ("__inference_feature_det_17", "feature_det"),
        ("__inference_signature_wrapper_call_134", ""),
        ("__inference__wrapped_model_1145", ""),
        ("__inference___call___558", ""),
        ("__inference_call_225", ""),
        ("__forward_head_3", "head"),
        ("while_body_5", ""),
        ("cond_true_12", ""),
        ("__inference_true_case_4", "true_case"),
        ("__inference_<lambda>_17", ""),
    ],
)
def test_functions_that_frameworks_make_are_no_places(function: str, name: str) -> None:
    assert function_name(function) == name


def test_the_chain_of_an_error() -> None:
    chain = ["MatrixDeterminant:@__inference_feature_det_17", "PartitionedCall@__inference_f_29",
             "StatefulPartitionedCall"]  # fmt: skip

    assert of_chain(chain) == ("MatrixDeterminant", "feature_det")
    assert of_chain(["StatefulPartitionedCall"]) == ("", "")
    assert of_chain([]) == ("", "")


def test_scopes_of_jax() -> None:
    assert jax_scope("jit(flat)/second/jit(fft)") == "second/fft"
    assert jax_scope("head/jit(sort)") == "head/sort"


def test_a_name_of_any_length_stays_short_in_reports() -> None:
    place = Names().place("a/" * 100_000 + "my_op;" * 1_000_000)

    assert max(len(place.name), len(place.node)) <= 200
