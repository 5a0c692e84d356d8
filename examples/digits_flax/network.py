"""The digits network of ../digits in Flax: `model` gives a function and its parameters.

The weights are those that ../digits/train.py found; a Flax project would read its checkpoint here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from flax.traverse_util import unflatten_dict

WEIGHTS = Path(__file__).resolve().parents[1] / "digits/models/weights.npz"


class Digits(nn.Module):
    """Images [batch, 8, 8, 1], 0 to 1; gives the probability of each digit."""

    @nn.compact
    def __call__(self, image: jax.Array) -> jax.Array:
        x = nn.relu(nn.Conv(16, (3, 3), name="strokes")(image))
        x = nn.max_pool(x, (2, 2), (2, 2))
        x = nn.relu(nn.Conv(32, (3, 3), name="shapes")(x))
        x = x.reshape(x.shape[0], -1)
        return nn.softmax(nn.Dense(10, name="digit")(x))


def model() -> tuple[Any, Any]:
    """What the manifest names: (function, parameters)."""
    with np.load(WEIGHTS) as arrays:
        params = unflatten_dict({tuple(n.split("/")): arrays[n] for n in arrays.files})
    network = Digits()

    def forward(params: Any, image: jax.Array) -> dict[str, jax.Array]:
        return {"digit": network.apply({"params": params}, image)}

    return forward, params
