"""The networks of the table, their data, and how many operations a step of each has."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import jitnet as jn
from jitnet.training import epoch_order

Array = NDArray[Any]

TRAIN, PREDICT, EPOCH = "training step", "predict", "epoch"
"""What is timed: many steps; the outputs of all data points; one epoch from the start."""


class Case(NamedTuple):
    """A network, what is timed, and the ratio (best peer / jitnet, float32) that is asked for at least and aimed at."""

    name: str
    widths: tuple[int, ...]
    batch: int  # data points a step; of `predict` the rows
    points: int  # data points an epoch
    at_least: float
    goal: float
    kind: str = TRAIN
    activation: str = "relu"
    output: str = "softmax"
    loss: str = "cross_entropy"
    optimizer: str = "adam"
    lr: float = 1e-4
    kinks: float = 0.0  # how far parameters may differ in float32 because a ReLU fell on the other side of its kink


_TANH = {"activation": "tanh", "output": "identity"}
_SGD = {"loss": "half_squared_error", "optimizer": "sgd", "lr": 0.01}

CASES = {
    case.name: case
    for case in (
        Case("2-3-4-2", (2, 3, 4, 2), 32, 65_536, 8.0, 20.0, **_TANH, **_SGD),
        Case("64-64-10", (64, 64, 10), 32, 8192, 2.5, 5.0),
        Case("784-128-10", (784, 128, 10), 128, 8192, 1.5, 2.2),
        Case("784-512-512-10", (784, 512, 512, 10), 128, 4096, 1.25, 1.8),
        Case("784-1024-1024-10", (784, 1024, 1024, 10), 256, 4096, 1.1, 1.5, kinks=0.03),
        Case("4-32-16-4", (4, 32, 16, 4), 10_000, 10_000, 2.5, 5.0, **_TANH, loss="squared_error"),
        Case("fashion-mnist", (784, 128, 10), 128, 60_000, 2.0, 4.0, kind=EPOCH, lr=1e-3),
        Case("predict", (784, 512, 512, 10), 10_000, 10_000, 1.2, 1.8, kind=PREDICT),
    )
}  # fmt: skip
"""By name. Data are dense and random, but for Fashion-MNIST's.

784-1024-1024-10 has half a million ReLUs a step: its first step has one at x = 1.4e-6, where float32 sums err by 1e-6.
jitnet gives it -7e-7, and Adam makes whole steps of it for a neuron's weights: 1 % of the way that the parameters went.
Losses, and float64, are held to the same tolerances as everywhere.
"""

FLOAT64_AT_LEAST = 1.1
"""The ratio that is asked for in float64, whatever the network."""


@dataclass(frozen=True)
class Problem:
    """A case with its data and start, which every peer gets.

    X (N, d) and T in `dtype`: labels (N,) intp for cross-entropy, else targets (N, n_out); W, b lists of the start,
    W[m] (n_out, n_in), b[m] (n_out,).
    """

    case: Case
    dtype: str
    X: Array
    T: Array
    W: list[Array]
    b: list[Array]
    X_test: Array | None = None
    labels_test: Array | None = None
    seed: int = 0

    @property
    def full_batch(self) -> bool:
        """Whether a step takes all data points: then nothing is gathered."""
        return self.case.batch >= len(self.X)

    @property
    def epoch_steps(self) -> int:
        """Steps of a whole epoch."""
        return -(-len(self.X) // self.case.batch)

    @property
    def one_hot(self) -> Array:
        """The targets as (N, n_out) of `dtype`."""
        if self.T.ndim == 2:
            return self.T
        return (self.T[:, None] == np.arange(self.case.widths[-1])).astype(self.dtype)

    def orders(self, steps: int) -> list[Array]:
        """The data points of each epoch, in the order in which `Network.fit(shuffle=True)` takes them; the last cut."""
        settings: Any = SimpleNamespace(
            seed=self.seed, shuffle=True, replacement=False, batch_size=min(self.case.batch, len(self.X))
        )
        done, orders = 0, []
        while done < steps:
            now = min(self.epoch_steps, steps - done)
            orders.append(epoch_order(len(self.X), settings, len(orders))[: now * self.case.batch])
            done += now
        return orders

    def network(self) -> jn.Network:
        """jitnet's network at the start."""
        case = self.case
        return jn.Network(
            case.widths, activation=case.activation, output=case.output, loss=case.loss, init=(self.W, self.b),
            dtype=self.dtype, seed=self.seed,
        )  # fmt: skip


def random_problem(case: Case, dtype: str, seed: int = 0) -> Problem:
    """Dense data from the normal distribution; labels uniform, targets a smooth function of the data."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((case.points, case.widths[0])).astype(dtype)
    n_out = case.widths[-1]
    if case.loss == "cross_entropy":
        T = rng.integers(0, n_out, case.points)
    else:
        T = np.sin(X @ rng.standard_normal((case.widths[0], n_out))).astype(dtype)
    return with_start(Problem(case, dtype, X, T, [], [], seed=seed))


def with_start(problem: Problem) -> Problem:
    """The problem with jitnet's own start for the network."""
    case = problem.case
    net = jn.Network(case.widths, activation=case.activation, output=case.output, loss=case.loss, dtype=problem.dtype)
    return replace(problem, W=[W.copy() for W in net.W], b=[b.copy() for b in net.b])


def products(widths: tuple[int, ...], points: int, kind: str = TRAIN) -> int:
    """Multiply-adds of the matrix products of one step, or of `predict`: of all, though a peer skips zeros among them.

    Forward F1, Σ_m n_in n_out a data point; in training also the weights' gradient F7, as many, and F9, the
    sensitivities of all layers below but the input: Σ_{m>1} n_in n_out.
    """
    sizes = [n_in * n_out for n_in, n_out in pairwise(widths)]
    return points * (sum(sizes) if kind == PREDICT else 2 * sum(sizes) + sum(sizes[1:]))
