"""What of a function of JAX TensorFlow cannot read, from the names in its serialized form."""

from __future__ import annotations

import pytest

from tflbuild.conversion import diagnostics
from tflbuild.evaluation.stablehlo import Unread, unread
from tflbuild.stages.evaluate import op_class


def module(*names: str) -> bytes:
    """The tail of a module: its strings, behind numbers that mean nothing here."""
    return b"ML\xefR\x0dStableHLO_v1.15.0\0\x01\xff\x0b" + "\0".join(["", *names, ""]).encode()


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (
            ["composite_v2", "jit(flat)/encoder/top_k", "chlo.top_k.impl", "chlo.top_k"],
            [Unread("chlo.top_k", "encoder/top_k")],
        ),
        (["composite_v2", "chlo.acosh", "jit(f)/jit(arccosh)"], [Unread("chlo.acosh", "arccosh")]),
        (["composite_v2", "chlo.erf", "jit(f)/head/add"], [Unread("chlo.erf", "")]),
        (["composite_v1", "chlo.erf", "jit(f)/head/erf"], []),  # which TensorFlow reads
        (
            ["custom_call_v1", "lapack_sgetrf_ffi", "lapack_dtrsm_ffi", "jit(f)/a/jit(inv)"],
            [Unread("lapack_getrf", "a/inv"), Unread("lapack_trsm", "a/inv")],
        ),
        (["add_v1", "jit(f)/head/add"], []),
    ],
)
def test_what_names_tell(names: list[str], found: list[Unread]) -> None:
    assert unread(module(*names)) == found


def test_whatever_a_module_holds() -> None:
    assert unread(b"") == []
    assert unread(b"\0chlo." * 10_000) == []
    many = [f"jit(f)/layer_{i}/top_k" for i in range(500)]
    assert len(unread(module("composite_v2", "chlo.top_k", *many))) == 3


def test_a_diagnostic_with_the_line_of_the_code() -> None:
    text = (
        "Could not translate MLIR to FlatBuffer./home/me/net.py:9:15: error: 'vhlo.sort_v1' op is"
        " not part of the vhlo support yet.\n        return jnp.sort(x)\n"
    )
    (problem,) = diagnostics(text)

    assert (problem.op, problem.node) == ("stablehlo.sort", "net.py:9:15")


def test_the_call_of_a_module_is_no_select_op() -> None:
    assert op_class("select", "FlexXlaCallModule") == "custom"
