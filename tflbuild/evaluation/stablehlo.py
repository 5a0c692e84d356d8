"""Why TensorFlow cannot read a function of JAX: the names in its serialized StableHLO.

JAX serializes a function as portable bytecode of MLIR, the `module` of an XlaCallModule op. What
TensorFlow's reader does not know of it makes it give up the whole module, and the converter then
leaves the op in the file as if it were a custom op of somebody's. Bytecode keeps all names
(operations, attributes, call targets, locations) as plain strings that end in NUL, so that no
reader of MLIR is needed to see which of the operations that no TensorFlow reads are in it. Which
name stands for what is of JAX 0.6 to 0.10 (jax/_src/lax, jaxlib's LAPACK kernels).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tflbuild.evaluation.naming import jax_scope

OP = "XlaCallModule"
MOST = 1 << 28  # bytes of a module that are looked at: constants stand in it too
SCOPES = 3  # that are named of one operation

# Said where no name tells which operation it is.
UNKNOWN = (
    "TensorFlow cannot read a function of JAX in it, and its names do not tell why: convert parts"
    " of it to find which"
)
# Operations of CHLO that JAX wraps in a composite, which TensorFlow 2.21 has no reader for.
_COMPOSITE = b"composite_v2"
_NAME = re.compile(rb"(?<=\0)(chlo\.\w{1,60}|lapack_\w{1,60}|jit\([^\0]{1,400})(?=\0)")
_LAPACK = re.compile(r"lapack_[sdcz](?P<routine>[a-z0-9]+?)(_ffi)?")
# What of JAX calls a routine of LAPACK, as its locations name it.
_CALLERS = {
    "potrf": ("cholesky",),
    "getrf": ("lu", "inv", "solve", "det", "slogdet", "expm"),
    "trsm": ("triangular_solve", "solve_triangular", "inv", "solve", "expm", "cho_solve"),
    "geqrf": ("qr",),
    "orgqr": ("qr",),
    "gesdd": ("svd", "pinv", "matrix_rank"),
    "gesvd": ("svd", "pinv", "matrix_rank"),
    "syevd": ("eigh", "eigvalsh"),
    "heevd": ("eigh", "eigvalsh"),
    "geev": ("eig", "eigvals"),
}


@dataclass(frozen=True)
class Unread:
    """An operation that TensorFlow cannot read. `op`: `chlo.top_k`, or `lapack_potrf` for a call
    of LAPACK's Cholesky; `scope`: where JAX has it, "" where its name does not tell."""

    op: str
    scope: str


def unread(module: bytes) -> list[Unread]:
    """What of a serialized module TensorFlow cannot read, by the names in it; nothing where no
    name explains it."""
    names = [m.decode("utf-8", "replace") for m in _NAME.findall(module[-MOST:])]
    scopes = [jax_scope(name) for name in names if name.startswith("jit(")]
    found: dict[str, tuple[str, ...]] = {}
    for name in names:
        if name.startswith("chlo.") and not name.endswith(".impl") and _COMPOSITE in module:
            own = name.removeprefix("chlo.")
            found[name] = (own, f"arc{own[1:]}")  # chlo.acosh is jnp.arccosh
        elif match := _LAPACK.fullmatch(name):
            routine = match["routine"]
            found[f"lapack_{routine}"] = _CALLERS.get(routine, ())
    return [
        Unread(op, scope)
        for op, callers in sorted(found.items())
        for scope in _places(scopes, callers) or [""]
    ]


def _places(scopes: Sequence[str], callers: Sequence[str]) -> list[str]:
    """The scopes whose last name is one of the callers'."""
    own = {scope for scope in scopes if scope.rpartition("/")[2].lstrip("_") in callers}
    return sorted(own)[:SCOPES]
