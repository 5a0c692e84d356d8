"""The proof of each remedy for JAX, as `remedy_cases.py` is for TensorFlow.

`bad` must not convert, by the op that the remedy is for; `good`, where there is one, must convert
to builtin ops alone and give what `bad` gives.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


@dataclass(frozen=True)
class Case:
    """Each function takes one array, `x`."""

    op: str
    x: Any
    bad: Callable[[Any], Any]
    good: Callable[[Any], Any] | None = None
    tolerance: float = 1e-4


def floats(*shape: int, low: float = -0.9, high: float = 0.9) -> Any:
    return np.random.default_rng(0).uniform(low, high, shape).astype(np.float32)


X = floats(4, 6)
SPD = np.array([[4.0, 1.0], [1.0, 3.0]], np.float32)
ANGLES = -2.0 * np.pi * np.outer(np.arange(6), np.arange(6)) / 6


def top_2(x: Any) -> Any:
    best = jnp.argmax(x, -1)
    rest = jnp.where(jnp.arange(x.shape[-1]) == best[:, None], -jnp.inf, x)
    return jnp.stack([jnp.max(x, -1), jnp.max(rest, -1)], -1)


def ranked(x: Any) -> Any:
    i = jnp.arange(x.shape[-1])
    before = (x[:, None, :] < x[:, :, None]) | (
        (x[:, None, :] == x[:, :, None]) & (i[None, :] < i[:, None])
    )
    place = jax.nn.one_hot(jnp.sum(before.astype(jnp.int32), -1), x.shape[-1])
    return jnp.sum(place * x[:, :, None], 1)


def cholesky(m: Any) -> Any:
    a = jnp.sqrt(m[0, 0])
    b = m[1, 0] / a
    return jnp.stack([a, 0.0 * a, b, jnp.sqrt(m[1, 1] - b * b)]).reshape(2, 2)


def inverse(m: Any) -> Any:
    a, b, c, d = m[0, 0], m[0, 1], m[1, 0], m[1, 1]
    return jnp.stack([d, -b, -c, a]).reshape(2, 2) / (a * d - b * c)


def substituted(m: Any) -> Any:
    y = m[0] / m[0, 0]
    return jnp.stack([y, (m[1] - m[1, 0] * y) / m[1, 1]])


def parts(z: Any) -> Any:
    return jnp.stack([jnp.real(z), jnp.imag(z)], -1)


def waves(x: Any) -> Any:
    cosines, sines = (f(ANGLES).astype(np.float32) for f in (np.cos, np.sin))
    return jnp.stack([x @ cosines, x @ sines], -1)


CASES = (
    Case("chlo.erf", X, jax.scipy.special.erf, lambda x: 1 - jax.scipy.special.erfc(x)),
    Case("chlo.top_k", X, lambda x: jax.lax.top_k(x, 2)[0], top_2),
    Case("chlo.sinh", X, jnp.sinh, lambda x: (jnp.exp(x) - jnp.exp(-x)) / 2),
    Case("chlo.cosh", X, jnp.cosh, lambda x: (jnp.exp(x) + jnp.exp(-x)) / 2),
    Case(
        "chlo.asinh",
        X,
        jnp.arcsinh,
        lambda x: jnp.sign(x) * jnp.log(jnp.abs(x) + jnp.sqrt(x * x + 1)),
    ),
    Case("chlo.acosh", X + 2.5, jnp.arccosh, lambda x: jnp.log(x + jnp.sqrt(x * x - 1))),
    Case("chlo.atanh", X, jnp.arctanh, lambda x: 0.5 * jnp.log((1 + x) / (1 - x))),
    Case("chlo.asin", X, jnp.arcsin, lambda x: jnp.arctan2(x, jnp.sqrt(1 - x * x))),
    Case("chlo.acos", X, jnp.arccos, lambda x: jnp.arctan2(jnp.sqrt(1 - x * x), x)),
    Case("stablehlo.fft", X, lambda x: parts(jnp.fft.fft(x)), waves),
    Case(
        "stablehlo.fft",
        floats(4, 8),
        lambda x: jnp.abs(jnp.fft.fft(x))[:, :5],
        lambda x: jnp.abs(jnp.fft.rfft(x)),
    ),
    Case("stablehlo.sort", X, jnp.sort, ranked),
    Case("lapack_potrf", SPD, jnp.linalg.cholesky, cholesky),
    Case("lapack_getrf", SPD, jnp.linalg.inv, inverse),
    Case(
        "lapack_getrf",
        SPD,
        lambda m: jnp.linalg.det(jnp.pad(m, (0, 2)) + jnp.eye(4))[None],
    ),
    Case(
        "lapack_trsm",
        SPD,
        lambda m: jax.scipy.linalg.solve_triangular(m, m, lower=True),
        substituted,
    ),
    Case("lapack_geqrf", SPD, lambda m: jnp.linalg.qr(m)[1]),
    Case("lapack_gesdd", SPD, lambda m: jnp.linalg.svd(m)[1]),
    Case("lapack_syevd", SPD, lambda m: jnp.linalg.eigh(m)[0]),
)
