"""What a prediction is judged by besides its loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from jitnet.errors import InputError, unknown_name

Array: TypeAlias = NDArray[Any]
Metric: TypeAlias = Callable[[Array, Array], float]
"""A user's metric: a function of targets T (n, n_out; labels as one-hot rows) and outputs Y (n, n_out)."""


def _mean(values: Array, weight: Array) -> float:
    return float(np.average(values.astype(np.float64), weights=weight))


def accuracy(T: Array, Y: Array, weight: Array) -> float:
    """The share of data points whose largest output is the target's; with one output: whose side of ½ is.

    An output of NaN is no answer, and wrong. For binary_cross_entropy, whose outputs are independent, it is
    `binary_accuracy`.
    """
    if T.shape[1] == 1:
        return binary_accuracy(T, Y, weight)
    answered = ~np.isnan(Y).any(axis=1)  # NaN, which sums that overflow may come to, would be the largest
    return _mean((Y.argmax(axis=1) == T.argmax(axis=1)) & answered, weight)


def binary_accuracy(T: Array, Y: Array, weight: Array) -> float:
    """The share of outputs on their target's side of ½, each output a yes or no of its own."""
    return _mean((((Y > 0.5) == (T > 0.5)) & ~np.isnan(Y)).mean(axis=1), weight)


def mse(T: Array, Y: Array, weight: Array) -> float:
    """Mean of (ŷ - t)² over data points and outputs."""
    return _mean(((Y.astype(np.float64) - T) ** 2).mean(axis=1), weight)


def rmse(T: Array, Y: Array, weight: Array) -> float:
    """Square root of `mse`."""
    return float(np.sqrt(mse(T, Y, weight)))


def mae(T: Array, Y: Array, weight: Array) -> float:
    """Mean of |ŷ - t| over data points and outputs."""
    return _mean(abs(Y.astype(np.float64) - T).mean(axis=1), weight)


def r2(T: Array, Y: Array, weight: Array) -> float:
    """1 - Σ(ŷ - t)² / Σ(t - mean t)², averaged over outputs; a constant target counts 1 if met exactly, else 0."""
    T, Y, w = T.astype(np.float64), Y.astype(np.float64), weight.astype(np.float64)[:, None]
    left = (w * (Y - T) ** 2).sum(axis=0)
    spread = (w * (T - (w * T).sum(axis=0) / w.sum()) ** 2).sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.where(spread > 0, 1 - left / spread, left == 0).mean())


METRICS: dict[str, Callable[[Array, Array, Array], float]] = {
    "accuracy": accuracy, "mse": mse, "rmse": rmse, "mae": mae, "r2": r2,
}  # fmt: skip
"""The metrics by name: functions of T, Y and sample weights."""


def name(metric: str | Metric) -> str:
    """The column that a metric has in the history and in `evaluate`'s dict."""
    return metric if isinstance(metric, str) else getattr(metric, "__name__", type(metric).__name__)


def check(metrics: Sequence[str | Metric] | None, argument: str = "metrics") -> None:
    """Refuse what is neither a known name nor a function, and two columns of one name."""
    if metrics is None:
        return
    if isinstance(metrics, str) or not isinstance(metrics, Sequence):
        raise InputError(f"{argument}: {metrics!r} given, a list of names or functions is wanted")
    taken = {"epoch", "step", "loss", "lr", "seconds", "val_loss"}
    for metric in metrics:
        if not callable(metric) and not (isinstance(metric, str) and metric in METRICS):
            raise unknown_name(argument, metric, METRICS)
        if name(metric) in taken or name(metric).startswith("val_"):
            raise InputError(f"{argument}: a second column {name(metric)!r} given, functions of other names are wanted")
        taken.add(name(metric))


def evaluate(
    metrics: Sequence[str | Metric] | None, targets: str, T: Array, Y: Array, weight: Array
) -> dict[str, float]:
    """Each metric's value by name. None: accuracy where targets are probabilities or classes, else mae and r2."""
    check(metrics)
    if metrics is None:
        metrics = ("accuracy",) if targets in ("distribution", "probability") else ("mae", "r2")
    known = {**METRICS, "accuracy": binary_accuracy} if targets == "probability" else METRICS
    return {name(each): known[each](T, Y, weight) if isinstance(each, str) else own(each, T, Y) for each in metrics}


def own(metric: Metric, T: Array, Y: Array) -> float:
    """A user's metric, which must give a number."""
    value = metric(T, Y)
    try:
        return float(value)
    except (TypeError, ValueError):
        raise InputError(f"metrics: {name(metric)} returned {type(value).__name__}, a number is wanted") from None
