"""The formulas in matrix form, a line of NumPy each: the twin that the index forms are compared with.

It shares no kernel and no activation, loss or derivative with them (forms/__init__.py has the shapes; the columns of
seed 000 are rows here), and imports no Numba: a user's own functions run as the Python that they are. NaN and inf go
through without a warning, as in compiled code.

    X = Y_below Wᵀ + b     Y = σ(X)     Δ = ∂L/∂Y ⊙ σ'(X)     ∂J/∂W = Δᵀ Y_below     ∂J/∂b = Δᵀ 1     ∂L/∂Y_below = Δ W
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from jitnet import activations
from jitnet import losses as loss_table
from jitnet.layout import (
    Array,
    Data,
    Dropout,
    Net,
    Rule,
    Work,
    biases,
    parameters,
    silence_number,
    user_functions,
    weight_mask,
    weights,
)
from jitnet.layout import work as work
from jitnet.optimizers import update_arrays

# --- σ and σ' -------------------------------------------------------------------------------------------------------

erfc = np.frompyfunc(math.erfc, 1, 1)  # NumPy has none


def logistic(X: Array) -> Array:
    """1 / (1 + exp(-X)), with the exponential of what is not positive."""
    E = np.exp(-abs(X))
    return np.where(X >= 0, 1, E) / (1 + E)


def softplus(X: Array) -> Array:
    """log(1 + exp(X))."""
    return np.logaddexp(X, 0)


def normal_cdf(X: Array) -> Array:
    """Φ(X)."""
    return np.asarray(erfc(-X / math.sqrt(2)) / 2, X.dtype)


def normal_pdf(X: Array) -> Array:
    """φ(X)."""
    return np.exp(-(X**2) / 2) / math.sqrt(2 * math.pi)


ALPHA, SCALE = activations.SELU_ALPHA, activations.SELU_SCALE

SIGMA: dict[str, Callable[[Array, float], Array]] = {
    "identity": lambda X, a: X,
    "step": lambda X, a: np.heaviside(X, 1),
    "sgn": lambda X, a: 2 * np.heaviside(X, 1) - 1,
    "relu": lambda X, a: np.maximum(X, 0),
    "leaky_relu": lambda X, a: np.where(X > 0, X, a * X),
    "sigmoid": lambda X, a: logistic(X),
    "tanh": lambda X, a: np.tanh(X),
    "softmax": lambda X, a: np.exp(log_softmax(X)),
    "elu": lambda X, a: np.where(X > 0, X, a * np.expm1(np.minimum(X, 0))),
    "selu": lambda X, a: SCALE * np.where(X > 0, X, ALPHA * np.expm1(np.minimum(X, 0))),
    "gelu": lambda X, a: X * normal_cdf(X),
    "silu": lambda X, a: X * logistic(X),
    "softplus": lambda X, a: softplus(X),
    "softsign": lambda X, a: X / (1 + abs(X)),
    "hard_tanh": lambda X, a: np.clip(X, -1, 1),
    "mish": lambda X, a: X * np.tanh(softplus(X)),
    "exponential": lambda X, a: np.exp(X),
}
"""F2: σ(X), with the parameter a of those that have one."""

SLOPE: dict[str, Callable[[Array, Array, float], Array]] = {
    "identity": lambda X, Y, a: np.ones_like(X),
    "step": lambda X, Y, a: np.zeros_like(X),
    "sgn": lambda X, Y, a: np.zeros_like(X),
    "relu": lambda X, Y, a: np.where(X > 0, 1, 0),
    "leaky_relu": lambda X, Y, a: np.where(X > 0, 1, a),
    "sigmoid": lambda X, Y, a: Y * (1 - Y),
    "tanh": lambda X, Y, a: 1 - Y**2,
    "elu": lambda X, Y, a: np.where(X > 0, 1, a * np.exp(np.minimum(X, 0))),
    "selu": lambda X, Y, a: SCALE * np.where(X > 0, 1, ALPHA * np.exp(np.minimum(X, 0))),
    "gelu": lambda X, Y, a: normal_cdf(X) + X * normal_pdf(X),
    "silu": lambda X, Y, a: logistic(X) + Y * logistic(-X),
    "softplus": lambda X, Y, a: logistic(X),
    "softsign": lambda X, Y, a: (1 - abs(Y)) ** 2,
    "hard_tanh": lambda X, Y, a: np.where(abs(X) < 1, 1, 0),
    "mish": lambda X, Y, a: np.tanh(softplus(X)) + X * logistic(X) / np.cosh(softplus(X)) ** 2,
    "exponential": lambda X, Y, a: Y,
}
"""F5: σ'(X) from X and Y = σ(X), for the element-wise activations."""


def log_softmax(X: Array) -> Array:
    """X_i - log Σ_r exp(X_r), by rows."""
    X = X - X.max(axis=1, keepdims=True)
    return X - np.log(np.exp(X).sum(axis=1, keepdims=True))


def sigma(net: Net, m: int, X: Array) -> Array:
    """F2: Y = σ(X) for layer m."""
    name = activations.NAMES.get(int(net.activation[m]))
    if name is None:
        return pointwise(net.g_address[m], X)
    return SIGMA[name](X, float(net.activation_parameter[m])).astype(X.dtype)


def through_sigma(net: Net, m: int, X: Array, Y: Array, dY: Array) -> Array:
    """F5: dY ⊙ σ'(X) for layer m; for softmax F5', the product with the full Jacobian diag(Y) - Y Yᵀ of each row."""
    name = activations.NAMES.get(int(net.activation[m]))
    if name == "softmax":
        return Y * (dY - (dY * Y).sum(axis=1, keepdims=True))
    if name is None:
        return dY * pointwise(net.dg_address[m], X)
    return dY * SLOPE[name](X, Y, float(net.activation_parameter[m])).astype(X.dtype)


def pointwise(address: Any, *arrays: Array) -> Array:
    """The user's own Python function behind a kernel's address, on every element."""
    function = user_functions[int(address)]

    def number(*arguments: float) -> float:
        try:
            return float(function(*arguments))
        except (ArithmeticError, ValueError, TypeError):  # log(-1), exp(1000), 1 / 0, (-1) ** 0.5: compiled, NaN or inf
            return math.nan

    values: Any = np.frompyfunc(number, len(arrays), 1)(*arrays)
    out: Array = values.astype(arrays[0].dtype)
    return out


# --- L and ∂L/∂Y ----------------------------------------------------------------------------------------------------

LOSS: dict[str, Callable[[Array, Array, float], Array]] = {
    "squared_error": lambda Y, T, a: (Y - T) ** 2,
    "half_squared_error": lambda Y, T, a: (Y - T) ** 2 / 2,
    "absolute_error": lambda Y, T, a: abs(Y - T),
    "binary_cross_entropy": lambda Y, T, a: -x_times_log(T, Y) - x_times_log(1 - T, 1 - Y),
    "huber": lambda Y, T, a: np.where(abs(Y - T) <= a, (Y - T) ** 2 / 2, a * (abs(Y - T) - a / 2)),
    "quantile": lambda Y, T, a: np.maximum(a * (T - Y), (a - 1) * (T - Y)),
    "poisson": lambda Y, T, a: Y - x_times_log(T, Y),
    "log_cosh": lambda Y, T, a: log_cosh(Y - T),
}
"""F3: L of each output, with the parameter a of those that have one."""

LOSS_SLOPE: dict[str, Callable[[Array, Array, float], Array]] = {
    "squared_error": lambda Y, T, a: 2 * (Y - T),
    "half_squared_error": lambda Y, T, a: Y - T,
    "absolute_error": lambda Y, T, a: np.sign(Y - T),
    "binary_cross_entropy": lambda Y, T, a: ratio(1 - T, 1 - Y) - ratio(T, Y),
    "huber": lambda Y, T, a: np.clip(Y - T, -a, a),
    "quantile": lambda Y, T, a: np.where(Y > T, 1 - a, np.where(Y < T, -a, Y - T)),
    "poisson": lambda Y, T, a: 1 - ratio(T, Y),
    "log_cosh": lambda Y, T, a: np.tanh(Y - T),
}
"""F4: ∂L/∂Y."""

LOSS_FROM_X: dict[tuple[str, str], Callable[[Array, Array, Array], Array]] = {
    ("binary_cross_entropy", "sigmoid"): lambda X, Y, T: T * softplus(-X) + (1 - T) * softplus(X),
    ("cross_entropy", "softmax"): lambda X, Y, T: -T * log_softmax(X),
    ("poisson", "exponential"): lambda X, Y, T: Y - T * X,
    ("poisson", "softplus"): lambda X, Y, T: Y - T * np.where(X < -40, X, np.log(Y)),
}
"""F3 of the pairs of loss and output whose logarithm is taken from X."""

DELTA_FROM_X: dict[tuple[str, str], Callable[[Array, Array, Array], Array]] = {
    ("binary_cross_entropy", "sigmoid"): lambda X, Y, T: Y - T,
    ("cross_entropy", "softmax"): lambda X, Y, T: Y - T,
    ("poisson", "exponential"): lambda X, Y, T: Y - T,
    ("poisson", "softplus"): lambda X, Y, T: logistic(X) - T * np.where(X < -40, 1, logistic(X) / Y),
}
"""F6: Δ of those pairs."""


def x_times_log(T: Array, Y: Array) -> Array:
    """T log Y, and 0 where T is 0."""
    return np.where(T == 0, 0, T * np.log(Y))


def ratio(T: Array, Y: Array) -> Array:
    """T / Y, and 0 where T is 0: the derivative of `x_times_log`."""
    return np.where(T == 0, 0, T / Y)


def log_cosh(D: Array) -> Array:
    """log cosh D, near 0 as log(1 + 2 sinh²(D/2)): there log 2 would be taken from log 2 and little more."""
    return np.where(abs(D) < 1, np.log1p(2 * np.sinh(D / 2) ** 2), np.logaddexp(D, -D) - math.log(2))


def pair(net: Net) -> tuple[str | None, str | None]:
    """The names of the loss and of the output activation; None for a user's own."""
    return loss_table.NAMES.get(net.loss), activations.NAMES.get(int(net.activation[-1]))


# --- the forms' functions -------------------------------------------------------------------------------------------


def layers(net: Net, rows: Array) -> list[Array]:
    """The columns of x, y or delta, a view (N, n_out) a layer."""
    return np.split(rows, net.y_at[1:-1], axis=1)


def no_dropout(net: Net) -> Dropout:
    """No neuron is silent."""
    return Dropout(np.zeros(len(net.W_at)), np.uint64(0))


def kept(net: Net, dropout: Dropout, m: int, N: int) -> Array:
    """The factors of layer m's neurons under dropout: 0 with probability p, else 1 / (1 - p)."""
    n, columns = np.arange(N, dtype=np.uint64)[:, None], np.arange(net.y_at[m], net.y_at[m + 1], dtype=np.uint64)
    p = dropout.rates[m]
    return np.where(silence_number(dropout.key, n, columns, np.uint64(net.y_at[-1])) < p, 0, 1 / (1 - p))


@np.errstate(all="ignore")
def forward(net: Net, theta: Array, X: Array, dropout: Dropout | None = None) -> tuple[Array, Array]:
    """F1, F2: x and y (N, S) of every neuron for the data points X (N, d)."""
    xs, ys, Y, dropout = [], [], X, dropout or no_dropout(net)
    for m in range(len(net.W_at)):
        W, b = weights(net, theta, m), biases(net, theta, m)
        xs.append(Y @ W.T + b if net.bias else Y @ W.T)  # F1
        Y = sigma(net, m, xs[-1])  # F2
        if dropout.rates[m] > 0:
            Y = (Y * kept(net, dropout, m, len(X))).astype(theta.dtype)
        ys.append(Y)
    return np.hstack(xs), np.hstack(ys)


def blocks(net: Net, X: Array) -> Iterator[slice]:
    """Slices of rows whose neurons fit in about 32 MiB."""
    rows = max(64, 2**25 // (X.dtype.itemsize * int(net.y_at[-1])))
    return (slice(start, start + rows) for start in range(0, len(X), rows))


def outputs(net: Net, theta: Array, X: Array) -> Array:
    """F1, F2: Ŷ (N, n_out) alone, without room for the neurons between."""
    return np.concatenate([layers(net, forward(net, theta, X[rows])[1])[-1] for rows in blocks(net, X)])


def outputs_and_losses(net: Net, theta: Array, X: Array, T: Array) -> tuple[Array, Array]:
    """F1-F3: Ŷ (N, n_out), and L (N,) float64 of every data point."""
    Y, L = np.empty((len(X), net.widths[-1]), theta.dtype), np.empty(len(X))
    for rows in blocks(net, X):
        x, y = forward(net, theta, X[rows])
        Y[rows], L[rows] = layers(net, y)[-1], losses(net, x, y, T[rows])
    return Y, L


@np.errstate(all="ignore")
def losses(net: Net, x: Array, y: Array, T: Array) -> Array:
    """F3: L (N,) float64 of every data point."""
    X, Y = layers(net, x)[-1], layers(net, y)[-1]
    loss, output = pair(net)
    if loss is None:
        L = pointwise(net.loss_address, Y, T)
    elif (loss, output) in LOSS_FROM_X:
        L = LOSS_FROM_X[loss, str(output)](X, Y, T)
    else:
        L = LOSS[loss](Y, T, net.loss_parameter)
    return L.sum(axis=1, dtype=np.float64)


@np.errstate(all="ignore")
def backward(net: Net, theta: Array, x: Array, y: Array, T: Array, c: Array, dropout: Dropout | None = None) -> Array:
    """F4-F6, then F9 and F5 downward: delta (N, S) of every neuron."""
    X, Y, M = layers(net, x)[-1], layers(net, y)[-1], len(net.W_at)
    loss, output = pair(net)
    if loss is None:
        delta = through_sigma(net, M - 1, X, Y, pointwise(net.dloss_address, Y, T))
    elif (loss, output) in DELTA_FROM_X:
        delta = DELTA_FROM_X[loss, str(output)](X, Y, T)  # F6
    else:
        delta = through_sigma(net, M - 1, X, Y, LOSS_SLOPE[loss](Y, T, net.loss_parameter))  # F4, F5, F5'
    return deltas_below(net, theta, x, y, (delta * c[:, None]).astype(x.dtype), dropout or no_dropout(net))


def deltas_below(net: Net, theta: Array, x: Array, y: Array, delta: Array, dropout: Dropout) -> Array:
    """F9 and F5 downward from Δ of the output layer: delta (N, S) of every neuron."""
    xs, ys, deltas = layers(net, x), layers(net, y), [delta]
    for m in range(len(net.W_at) - 2, -1, -1):
        dY, Y = deltas[0] @ weights(net, theta, m + 1), ys[m]  # F9
        if dropout.rates[m] > 0:
            factor = kept(net, dropout, m, len(x))
            dY, Y = (dY * factor).astype(x.dtype), (Y * (1 - dropout.rates[m])).astype(x.dtype)
        deltas.insert(0, through_sigma(net, m, xs[m], Y, dY))  # F5
    return np.hstack(deltas)


@np.errstate(all="ignore")
def gradient(net: Net, X: Array, y: Array, delta: Array) -> Array:
    """F7, F8: g (P,), the gradient of the weights and biases, laid out as theta."""
    g, Y_below = np.empty(parameters(net), delta.dtype), X
    for m, (Y, D) in enumerate(zip(layers(net, y), layers(net, delta), strict=True)):
        weights(net, g, m)[...] = D.T @ Y_below  # F7
        if net.bias:
            biases(net, g, m)[...] = D.sum(axis=0)  # F8
        Y_below = Y
    return g


@np.errstate(all="ignore")
def input_gradient(net: Net, theta: Array, delta: Array) -> Array:
    """F11: ∂L/∂X = Δ W at layer 1, (N, d)."""
    return layers(net, delta)[0] @ weights(net, theta, 0)


@np.errstate(all="ignore")
def jvp(net: Net, theta: Array, x: Array, y: Array, V: Array) -> Array:
    """F12, forward accumulation: ẏ of the output (N, n_out) when the inputs move along V (N, d)."""
    Ydot = V
    for m, (X, Y) in enumerate(zip(layers(net, x), layers(net, y), strict=True)):
        Ydot = through_sigma(net, m, X, Y, Ydot @ weights(net, theta, m).T)  # the softmax Jacobian is symmetric
    return Ydot


@np.errstate(all="ignore")
def vjp(net: Net, theta: Array, x: Array, y: Array, U: Array) -> Array:
    """F12, reverse accumulation: delta (N, S) of Σ_i u_i ŷ_i, that is F5 from ∂L/∂Y = U (N, n_out), then F9 and F5."""
    M = len(net.W_at)
    delta = through_sigma(net, M - 1, layers(net, x)[-1], layers(net, y)[-1], U)
    return deltas_below(net, theta, x, y, delta, no_dropout(net))


@np.errstate(all="ignore")
def jacobian(net: Net, theta: Array, x: Array, y: Array) -> Array:
    """F12: ∂ŷ_r/∂(input)_j (N, n_out, d), one reverse accumulation a row r."""
    rows = np.eye(int(net.widths[-1]), dtype=x.dtype)
    seeds = [np.broadcast_to(u, (len(x), len(u))) for u in rows]
    return np.stack([input_gradient(net, theta, vjp(net, theta, x, y, U)) for U in seeds], axis=1)


@np.errstate(all="ignore")
def steps(net: Net, theta: Array, data: Data, rule: Rule, work: Work) -> int:
    """Training steps over the data points `data.order`, `data.batch` a step; theta moves in place. See plain.steps."""
    is_weight = weight_mask(net)
    for s, coefficients in enumerate(rule.coefficients):
        rows = data.order[s * data.batch : (s + 1) * data.batch]
        X, T, c = data.X[rows], data.T[rows], data.weight[rows]
        total = float(c.sum(dtype=np.float64))
        c = (c / np.float64(total)).astype(c.dtype) if rule.mean and total > 0 else c
        dropout = Dropout(rule.dropout_rates, rule.dropout_keys[s])
        x, y = forward(net, theta, X, dropout)
        L = losses(net, x, y, T)
        W = theta[is_weight].astype(np.float64)
        penalty = (rule.l1 * abs(W)).sum() + (rule.l2 * W * W).sum() / 2
        work.loss[s] = (c[c > 0] * L[c > 0]).sum() + penalty  # F3
        work.loss_weight[s] = total if rule.mean else 1
        if not np.isfinite(theta).all():  # behind a saturated neuron
            work.loss[s] = np.nan
        if not np.isfinite(work.loss[s]) or rule.judge:
            return s
        g = gradient(net, X, y, backward(net, theta, x, y, T, c, dropout))
        g[is_weight] += (rule.l1 * np.sign(W) + rule.l2 * W).astype(g.dtype)
        if rule.clip_value < np.inf:
            np.clip(g, -rule.clip_value, rule.clip_value, out=g)
        norm = np.linalg.norm(g.astype(np.float64))
        if norm > rule.clip_norm:
            g *= g.dtype.type(rule.clip_norm / norm)
        work.before[:] = theta
        update_arrays(rule.optimizer, theta, g, rule.state, coefficients)  # F10
    return len(rule.coefficients)
