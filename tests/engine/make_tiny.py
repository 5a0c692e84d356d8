"""Make the models of the tests that convert: `make_tiny.py FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path

import keras
import numpy as np

SHAPES = ((4, 8), (8,), (8, 3), (3,))


def network(change: float = 0.0) -> keras.Model:
    """Always the same weights, one of them off by `change`."""
    net = keras.Sequential(
        [
            keras.Input((4,), name="x", batch_size=1),
            keras.layers.Dense(8, activation="relu", name="hidden"),
            keras.layers.Dense(3, name="y"),
        ],
        name="net",  # an automatic one would count up, and be part of the graph
    )
    random = np.random.default_rng(3)
    weights = [random.normal(size=shape).astype(np.float32) for shape in SHAPES]
    weights[0][0, 0] += change
    net.set_weights(weights)
    return net


def main(folder: Path) -> None:
    net = network()
    for suffix in ("keras", "h5"):
        net.save(folder / f"net.{suffix}")
        again = network()
        again.compile(optimizer="sgd", loss="mse")  # of no meaning, but in the file
        again.save(folder / f"again.{suffix}")
        network(0.25).save(folder / f"changed.{suffix}")
    net.export(folder / "net", verbose=False)
    network().export(folder / "again", verbose=False)


main(Path(sys.argv[1]))
