"""How long is a training step of each form? From gathering the batch to the updated parameters."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

import jitnet as jn
from jitnet import layout
from jitnet._jit import use_threads
from jitnet.forms import FORMS, get_form
from jitnet.training import bare_rule


class Case(NamedTuple):
    """A network, its batch and its optimiser."""

    widths: list[int]
    batch: int
    activation: str
    output: str
    loss: str
    optimizer: Any


ADAM = jn.Adam(lr=1e-4)
CASES = {
    "2-3-4-2, batch 32, SGD": Case([2, 3, 4, 2], 32, "tanh", "identity", "half_squared_error", jn.SGD(lr=1e-4)),
    "64-64-10, batch 32, Adam": Case([64, 64, 10], 32, "relu", "softmax", "cross_entropy", ADAM),
    "784-128-10, batch 128, Adam": Case([784, 128, 10], 128, "relu", "softmax", "cross_entropy", ADAM),
    "784-512-512-10, batch 128, Adam": Case([784, 512, 512, 10], 128, "relu", "softmax", "cross_entropy", ADAM),
    "4-32-16-4, full batch 10000, Adam": Case([4, 32, 16, 4], 10_000, "tanh", "identity", "squared_error", ADAM),
}


class TrainingStep:
    """A call does eight steps, each on a batch of its own, so that what Python does around them counts little."""

    params = (list(CASES), list(FORMS), ["float32", "float64"], [1, 2])
    param_names = ("network", "form", "dtype", "threads")
    steps = 8
    timeout = 300

    def setup(self, case: str, form: str, dtype: str, threads: int) -> None:
        """Data, weights and buffers; the form is compiled, and checked against the matrix form."""
        widths, batch, activation, output, loss, self.optimizer = CASES[case]
        self.threads = threads
        rng = np.random.default_rng(0)
        self.net = jn.Network(widths, activation=activation, output=output, loss=loss, dtype=dtype, seed=0)
        points, n_out = batch * self.steps, widths[-1]
        X = rng.standard_normal((points, widths[0]))
        T = rng.integers(0, n_out, points) if loss == "cross_entropy" else rng.standard_normal((points, n_out))
        self.data = layout.Data(*self.net.checked(X, T), order=rng.permutation(points).astype(np.intp), batch=batch)
        expected, expected_loss = self.train("matrix")
        theta, losses = self.train(form)
        tolerance = 1e-3 if dtype == "float32" else 1e-9
        np.testing.assert_allclose(losses, expected_loss, rtol=tolerance)
        np.testing.assert_allclose(theta, expected, rtol=0, atol=tolerance * np.abs(expected).max())

    def train(self, form: str) -> tuple[np.ndarray, np.ndarray]:
        """The parameters after eight steps from the initial ones, and the loss of each step."""
        self.work = get_form(form).work(self.net.layout, self.data.batch, self.steps, self.net.dtype)
        self.theta, self.rule = self.net.theta.copy(), bare_rule(self.net, self.optimizer, self.steps)
        self.time_eight_steps(None, form, None, self.threads)
        return self.theta, self.work.loss[: self.steps].copy()

    def time_eight_steps(self, case: str | None, form: str, dtype: str | None, threads: int) -> None:
        """Gather, forward, backward, gradient and update, eight times."""
        with use_threads(threads):
            taken = get_form(form).steps(self.net.layout, self.theta, self.data, self.rule, self.work)
        assert taken == self.steps
