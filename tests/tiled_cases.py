"""Networks, data and steps that the tests of the tiled form share; edges of tiles, panels and strips of every kind."""

from __future__ import annotations

from typing import Any

import numpy as np

import jitnet as jn
from jitnet.forms import matrix
from jitnet.layout import Data, Rule
from jitnet.optimizers import OPTIMIZERS, UpdateRule, rates

DTYPES = ("float32", "float64")

SHAPES = (([1, 1], 1), ([3, 1, 2], 5), ([7, 65, 17, 3], 33), ([33, 9, 31], 67), ([32, 64, 8], 64), ([129, 5, 67], 31))
"""Widths and numbers of data points: edges of every kind, and none."""

GROUPS = (([3, 5, 2], 1023), ([2, 1], 1100))
"""Widths and data points: batches of 512, two groups, and of 551, whose last group and panel are not full."""

PARTS = (([2 * 32 + 5, 70, 3], 1100),)
"""A batch of 551, whose inputs F7 copies a part at a time, for whole strips and a narrow one, and several tiles."""

RULES = list(dict.fromkeys(rule for rule in OPTIMIZERS.values() if issubclass(rule, UpdateRule)))


def network(widths: list[int], dtype: str, activation: Any = "tanh", loss: Any = "half_squared_error") -> jn.Network:
    output = "softmax" if loss == "cross_entropy" else "identity"
    net = jn.Network(widths, activation=activation, output=output, loss=loss, dtype=dtype, seed=sum(widths))
    for b in net.b:
        b[:] = np.linspace(-0.5, 0.5, len(b))
    return net


def numbers(net: jn.Network, N: int) -> dict[str, Any]:
    """What the kernels take, by the names of their arguments; x, y and delta by the matrix form."""
    rng = np.random.default_rng(N)
    X, T, V = (rng.normal(size=(N, n)).astype(net.dtype) for n in (net.n_in, net.n_out, net.n_in))
    c = rng.random(N).astype(net.dtype)
    x, y = matrix.forward(net.layout, net.theta, X)
    delta = matrix.backward(net.layout, net.theta, x, y, T, c)
    return {
        "net": net.layout, "theta": net.theta, "X": X, "T": T, "c": c, "x": x, "y": y, "delta": delta, "V": V, "U": T,
    }  # fmt: skip


def as_bytes(result: Any) -> list[bytes]:
    return [array.tobytes() for array in (result if isinstance(result, tuple) else (result,))]


def training(
    net: jn.Network, N: int, rule: UpdateRule, steps: int = 3, *, clips: bool = True, dropout: float = 0.3
) -> tuple[Data, Rule]:
    """Steps of everything that a step can have, over batches of a bit more than half the data."""
    known, batch, t = numbers(net, N), N // 2 + 1, np.arange(steps)
    rates_of_dropout = np.full(len(net.W), dropout)
    rates_of_dropout[-1] = 0.0
    order = np.random.default_rng(1).permutation(steps * batch)[: steps * batch - batch // 2] % N  # the last is shorter
    return Data(known["X"], known["T"], known["c"], order, batch), Rule(
        mean=True, optimizer=rule.code, state=rule.initial_state(net.size, net.dtype),
        coefficients=rule.coefficients(t, rates(rule, t)).astype(net.dtype), l1=1e-4, l2=1e-3,
        clip_value=0.5 if clips else np.inf, clip_norm=0.01 if clips else np.inf,
        dropout_rates=rates_of_dropout, dropout_keys=np.arange(1, steps + 1, dtype=np.uint64),
    )  # fmt: skip


def filled(work: Any, value: float) -> Any:
    """The buffers of a step full of one number: what a step reads it must have written."""
    for name, array in work._asdict().items():
        if isinstance(array, np.ndarray) and array.dtype.kind == "f":
            array[...] = value
        elif name in ("nonzero", "bits", "column_starts", "entry_points"):
            array[...] = 0 if value == 0 else -1
    return work
