"""The digits network of ../digits as a JAX function: `forward(params, image)`.

The parameters are an .npz archive whose names (`strokes/kernel`, …) give the nesting.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp


def forward(params: dict[str, Any], image: jax.Array) -> dict[str, jax.Array]:
    """Images [batch, 8, 8, 1], 0 to 1; gives the probability of each digit."""
    x = jax.nn.relu(convolve(image, params["strokes"]))
    x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    x = jax.nn.relu(convolve(x, params["shapes"]))
    x = x.reshape(x.shape[0], -1)
    dense = params["digit"]
    return {"digit": jax.nn.softmax(x @ dense["kernel"] + dense["bias"])}


def convolve(x: jax.Array, layer: dict[str, jax.Array]) -> jax.Array:
    """3 × 3, same size, channels last."""
    numbers = ("NHWC", "HWIO", "NHWC")
    convolved = jax.lax.conv_general_dilated(
        x, layer["kernel"], (1, 1), "SAME", dimension_numbers=numbers
    )
    return convolved + layer["bias"]
