"""A small regression, and its training as a loop written by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import jitnet as jn
from jitnet import training

FORMS = ("plain", "tiled", "matrix")
N, D, HIDDEN, OUT = 23, 3, 4, 2


def network(**settings: Any) -> jn.Network:
    return jn.Network([D, HIDDEN, OUT], **{"activation": "tanh", "dtype": "float64", "init": "gaussian", **settings})


def make_data() -> tuple[np.ndarray, np.ndarray]:
    """X (N, D) and T (N, OUT)."""
    rng = np.random.default_rng(5)
    return rng.normal(size=(N, D)), rng.normal(size=(N, OUT))


def gradient_by_hand(
    theta: np.ndarray, X: np.ndarray, T: np.ndarray, c: np.ndarray | None = None
) -> tuple[float, np.ndarray]:
    """J and ∂J/∂θ of a tanh layer, an identity layer and the half squared error, a data point at a time (F1-F8, F9)."""
    W1, b1 = theta[: HIDDEN * D].reshape(HIDDEN, D), theta[HIDDEN * D :][:HIDDEN]
    rest = theta[HIDDEN * D + HIDDEN :]
    W2, b2 = rest[: OUT * HIDDEN].reshape(OUT, HIDDEN), rest[OUT * HIDDEN :]
    c = np.ones(len(X)) if c is None else c
    J, dW1, db1, dW2, db2 = 0.0, 0 * W1, 0 * b1, 0 * W2, 0 * b2
    for x, t, share in zip(X, T, c / c.sum(), strict=True):
        y1 = np.tanh(W1 @ x + b1)
        error = W2 @ y1 + b2 - t
        J += share * 0.5 * error @ error
        delta2 = share * error
        delta1 = (W2.T @ delta2) * (1 - y1**2)
        dW2, db2, dW1, db1 = dW2 + np.outer(delta2, y1), db2 + delta2, dW1 + np.outer(delta1, x), db1 + delta1
    return J, np.concatenate([dW1.ravel(), db1, dW2.ravel(), db2])


def descend(
    theta: np.ndarray, X: np.ndarray, T: np.ndarray, batches: list[np.ndarray], eta: Callable[[int], float]
) -> tuple[np.ndarray, list[float]]:
    """F10 for each batch of row numbers; θ at the end, and the loss before each step."""
    theta, losses = theta.copy(), []
    for t, rows in enumerate(batches):
        J, g = gradient_by_hand(theta, X[rows], T[rows])
        losses.append(J)
        theta -= eta(t) * g
    return theta, losses


def settings_of(**fit: Any) -> training.Settings:
    """What `fit` makes of its arguments."""
    seen = []
    look = lambda run: seen.append(run.settings)  # noqa: E731
    network().fit(np.ones((N, D)), np.ones((N, OUT)), epochs=1, callbacks=[look], **fit)
    return seen[0]
