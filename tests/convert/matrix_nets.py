"""Networks that Python code makes while it is built; see `make_matrix_models.py`."""

from __future__ import annotations

from typing import Any

import numpy as np


def weights(*shape: int, seed: int = 0) -> Any:
    scale = 1 / np.sqrt(np.prod(shape[:-1]))
    return np.random.default_rng(seed).normal(0, scale, shape).astype(np.float32)


def concrete() -> Any:
    import tensorflow as tf

    kernel, dense = tf.constant(weights(3, 3, 1, 8)), tf.constant(weights(512, 8))

    @tf.function(input_signature=[tf.TensorSpec((1, 8, 8, 1), tf.float32, name="x")])
    def net(x: Any) -> Any:
        y = tf.nn.relu(tf.nn.conv2d(x, kernel, 1, "SAME"))
        return {"y": tf.matmul(tf.reshape(y, (1, 512)), dense)}

    return net


def jax_params() -> Any:
    return {"kernel": weights(3, 3, 1, 8), "dense": weights(512, 8)}


def jax_net(params: Any, x: Any) -> Any:
    import jax

    y = jax.lax.conv_general_dilated(
        x, params["kernel"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    return {"y": jax.nn.relu(y).reshape(1, 512) @ params["dense"]}


def scan_params() -> Any:
    return {"u": weights(32, 32), "v": weights(3, 32, seed=1), "o": weights(32, 4, seed=2)}


def jax_scan(params: Any, x: Any) -> Any:
    """A recurrent network by `lax.scan`."""
    import jax

    def step(state: Any, row: Any) -> Any:
        state = jax.numpy.tanh(state @ params["u"] + row @ params["v"])
        return state, state

    last, _ = jax.lax.scan(step, jax.numpy.zeros((1, 32)), x.swapaxes(0, 1))
    return {"y": last @ params["o"]}


def torch_net() -> Any:
    import torch
    from torch import nn

    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(512, 8))

    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, x: Any) -> Any:
            return {"y": self.net(x)}

    return Named(), (torch.zeros(1, 1, 8, 8),)


def torch_lstm() -> Any:
    import torch
    from torch import nn

    torch.manual_seed(0)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn, self.line = nn.LSTM(3, 32, batch_first=True), nn.Linear(32, 4)

        def forward(self, x: Any) -> Any:
            return {"y": self.line(self.rnn(x)[0][:, -1])}

    return Net(), (torch.zeros(1, 7, 3),)
