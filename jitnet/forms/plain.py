"""The index formulas F1-F12 as literal nested loops, parallel over data points n (forms/__init__.py has the shapes).

    n data point   m layer   i neuron of layer m   j neuron of layer m-1   k neuron of layer m+1

A function `..._point` is one data point's formulas; `..._neuron` is one neuron's weights and its sum over data points.
The kernels below them only run these over all n, or all neurons. No iteration writes what another reads, and no sum
is shared out among threads: LLVM may take a sum's terms in vectors (`FLAGS`), always the same way, so the result has
the same bits for any number of threads.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import prange

from jitnet import losses as loss_functions
from jitnet._jit import call1, call2, function, kernel
from jitnet.activations import CUSTOM, SOFTMAX, SOFTPLUS, activate, slope
from jitnet.forms import formulas as formulas
from jitnet.layout import (
    Array,
    Data,
    Dropout,
    Net,
    Rule,
    Work,
    all_finite,
    biases,
    neurons,
    parameters,
    silence_number,
    weights,
)
from jitnet.layout import work as work
from jitnet.losses import CROSS_ENTROPY, CUSTOM_LOSS, POISSON, loss_slope, loss_value, softplus_slope_ratio
from jitnet.optimizers import (
    CODE_ADADELTA,
    CODE_ADAGRAD,
    CODE_ADAM,
    CODE_AMSGRAD,
    CODE_DELTA_BAR_DELTA,
    CODE_MOMENTUM,
    CODE_NADAM,
    CODE_NESTEROV,
    CODE_RMSPROP,
    CODE_SGD,
    adadelta,
    adagrad,
    adam,
    amsgrad,
    delta_bar_delta,
    momentum,
    nadam,
    nesterov,
    rmsprop,
    rprop,
    sgd,
)

# --- one data point -------------------------------------------------------------------------------------------------


@function
def sigma(net: Net, m: int, x: Array, y: Array) -> None:
    """F2: y_i = σ(x_i) for the neurons of layer m."""
    code, a = net.activation[m], net.activation_parameter[m]
    if code == SOFTMAX:
        largest = x[0]
        for i in range(len(x)):
            largest = max(largest, x[i])
        total = x.dtype.type(0)
        for i in range(len(x)):
            y[i] = math.exp(x[i] - largest)
            total += y[i]
        for i in range(len(x)):
            y[i] /= total  # y_i = exp(x_i) / Σ_r exp(x_r)
    elif code == CUSTOM:
        for i in range(len(x)):
            y[i] = call1(net.g_address[m], x[i])
    else:
        for i in range(len(x)):
            y[i] = activate(code, x[i], a)


@function
def sigma_slope(net: Net, m: int, x: Any, y: Any) -> Any:
    """σ'(x_i) of one neuron of layer m with an element-wise activation."""
    if net.activation[m] == CUSTOM:
        return call1(net.dg_address[m], x)
    return slope(net.activation[m], x, y, net.activation_parameter[m])


@function
def through_sigma(net: Net, m: int, x: Array, y: Array, dy: Array, out: Array) -> None:
    """F5, F5': out_i = Σ_r dy_r ∂y_r/∂x_i for the neurons of layer m. `out` may be `dy`.

    The Jacobian of softmax is symmetric, so this also takes ẋ to ẏ in forward accumulation.
    """
    if net.activation[m] == SOFTMAX:
        total = y.dtype.type(0)
        for r in range(len(x)):
            total += dy[r] * y[r]
        for i in range(len(x)):
            out[i] = y[i] * (dy[i] - total)  # F5'  Σ_r dy_r y_r (1[r=i] - y_i)
    else:
        for i in range(len(x)):
            out[i] = dy[i] * sigma_slope(net, m, x[i], y[i])  # F5   dy_i σ'(x_i)


@function
def kept(net: Net, dropout: Dropout, m: int, n: int, i: int) -> float:
    """The factor of neuron i of layer m under dropout: 0 with probability p, else 1 / (1 - p), whose mean is 1."""
    p = dropout.rates[m]
    u = silence_number(dropout.key, np.uint64(n), np.uint64(net.y_at[m] + i), np.uint64(net.y_at[-1]))
    return 0.0 if u < p else 1.0 / (1.0 - p)


@function
def forward_point(net: Net, theta: Array, dropout: Dropout, n: int, X_n: Array, x_n: Array, y_n: Array) -> None:
    """F1 and F2 for m = 1..M."""
    y_below = X_n
    for m in range(len(net.W_at)):
        W, b = weights(net, theta, m), biases(net, theta, m)
        x, y = neurons(net, x_n, m), neurons(net, y_n, m)
        for i in range(W.shape[0]):
            total = b[i] if net.bias else theta.dtype.type(0)
            for j in range(W.shape[1]):
                total += W[i, j] * y_below[j]  # F1  x_i = Σ_j W_ij y_j + b_i
            x[i] = total
        sigma(net, m, x, y)  # F2  y_i = σ(x_i)
        if dropout.rates[m] > 0.0:
            for i in range(len(y)):
                y[i] *= kept(net, dropout, m, n, i)
        y_below = y


@function
def loss_point(net: Net, x_n: Array, y_n: Array, t: Array) -> float:
    """F3: L(t, ŷ) of one data point, summed over the outputs, in float64."""
    M = len(net.W_at)
    x, y, output = neurons(net, x_n, M - 1), neurons(net, y_n, M - 1), net.activation[M - 1]
    L = 0.0
    if net.loss == CROSS_ENTROPY:
        largest = x[0]
        for i in range(len(x)):
            largest = max(largest, x[i])
        total = 0.0
        for i in range(len(x)):
            total += math.exp(x[i] - largest)
        log_total = largest + math.log(total)
        for i in range(len(x)):
            if t[i] != 0.0:
                L += t[i] * (log_total - x[i])  # -t_i log ŷ_i, with log ŷ_i = x_i - log Σ_r exp(x_r)
    elif net.loss == CUSTOM_LOSS:
        for i in range(len(x)):
            L += call2(net.loss_address, y[i], t[i])
    else:
        for i in range(len(x)):
            L += loss_value(net.loss, output, x[i], y[i], t[i], net.loss_parameter)
    return L


@function
def output_delta(net: Net, x: Array, y: Array, t: Array, c: float, delta: Array) -> None:
    """δ_i of the output layer: F6 where loss and output match, else F4 and F5 (F5'); c is this data point's factor."""
    m = len(net.W_at) - 1
    if net.matched:
        for i in range(len(x)):
            delta[i] = c * (y[i] - t[i])  # F6  δ_i = ŷ_i - t_i
    elif net.loss == POISSON and net.activation[m] == SOFTPLUS:
        for i in range(len(x)):  # σ'(x) (1 - t/ŷ), with σ'/ŷ taken from x: ŷ may round to 0
            delta[i] = c * (sigma_slope(net, m, x[i], y[i]) - t[i] * softplus_slope_ratio(x[i]))
    else:
        for i in range(len(x)):  # F4  ∂L/∂ŷ_i
            if net.loss == CUSTOM_LOSS:
                delta[i] = c * call2(net.dloss_address, y[i], t[i])
            else:
                delta[i] = c * loss_slope(net.loss, y[i], t[i], net.loss_parameter)
        through_sigma(net, m, x, y, delta, delta)  # F5, F5'


@function
def deltas_below(net: Net, theta: Array, dropout: Dropout, n: int, x_n: Array, y_n: Array, delta_n: Array) -> None:
    """F9 and F5 for m = M-1..1, from δ of the output layer."""
    for m in range(len(net.W_at) - 2, -1, -1):
        W_above, delta_above = weights(net, theta, m + 1), neurons(net, delta_n, m + 1)
        x, y, delta = neurons(net, x_n, m), neurons(net, y_n, m), neurons(net, delta_n, m)
        for j in range(len(delta)):
            delta[j] = 0
        for k in range(W_above.shape[0]):
            for j in range(W_above.shape[1]):
                delta[j] += delta_above[k] * W_above[k, j]  # F9  ∂L/∂y_j = Σ_k δ_k W_kj
        if dropout.rates[m] > 0.0:
            for j in range(len(delta)):
                factor = kept(net, dropout, m, n, j)
                if factor > 0.0:  # y_j = factor σ(x_j), and σ' is written from σ(x_j)
                    delta[j] *= factor * sigma_slope(net, m, x[j], y[j] / factor)
                else:
                    delta[j] = 0
        else:
            through_sigma(net, m, x, y, delta, delta)  # F5  δ_j = ∂L/∂y_j σ'(x_j)


# --- one neuron, over all data points -------------------------------------------------------------------------------


@function
def layer_of(net: Net, r: int) -> int:
    """The layer m that neuron r of 0..S-1 belongs to."""
    m = 0
    while r >= net.y_at[m + 1]:
        m += 1
    return m


@function
def gradient_neuron(net: Net, X: Array, y: Array, delta: Array, N: int, r: int, g: Array) -> None:
    """F7 and F8 for neuron r: its row of ∂J/∂W and its ∂J/∂b, summed over the data points n = 0..N-1 in order."""
    m = layer_of(net, r)
    i = r - net.y_at[m]
    dW, db = weights(net, g, m)[i], biases(net, g, m)
    for j in range(len(dW)):
        dW[j] = 0
    for n in range(N):
        y_below = X[n] if m == 0 else neurons(net, y[n], m - 1)
        for j in range(len(dW)):
            dW[j] += delta[n, r] * y_below[j]  # F7  ∂J/∂W_ij = Σ_n δ_i y_j
    if net.bias:
        db[i] = 0
        for n in range(N):
            db[i] += delta[n, r]  # F8  ∂J/∂b_i = Σ_n δ_i


@function
def penalty_neuron(net: Net, theta: Array, rule: Rule, r: int, g: Array) -> float:
    """Add the penalty's derivative l1 sign(W_ij) + l2 W_ij to neuron r's gradient; return its penalty."""
    m = layer_of(net, r)
    i = r - net.y_at[m]
    W, dW = weights(net, theta, m)[i], weights(net, g, m)[i]
    penalty = 0.0
    for j in range(len(W)):
        penalty += rule.l1 * abs(W[j]) + 0.5 * rule.l2 * W[j] * W[j]
        dW[j] += rule.l1 * loss_functions.sign(W[j]) + rule.l2 * W[j]
    return penalty


@function
def clip_neuron(net: Net, rule: Rule, r: int, g: Array) -> float:
    """Cut neuron r's gradient to [-clip_value, clip_value]; return its sum of squares."""
    m = layer_of(net, r)
    i = r - net.y_at[m]
    squares = 0.0
    dW, db = weights(net, g, m)[i], biases(net, g, m)[i : i + 1]
    for part in (dW, db):
        for p in range(len(part)):
            part[p] = min(max(part[p], -rule.clip_value), rule.clip_value)
            squares += np.float64(part[p]) * part[p]
    return squares


@function
def update_range(
    theta: Array, g: Array, rule: Rule, s: int, scale: float, first: int, last: int, before: Array
) -> None:
    """F10 for the parameters first..last-1: θ ← the optimiser's formula of θ, ∂J/∂θ and what it remembers of each."""
    code, c = rule.optimizer, rule.coefficients[s]
    for p in range(first, last):
        before[p] = theta[p]
        g[p] *= scale
    if code == CODE_SGD:
        for p in range(first, last):
            (theta[p],) = sgd(theta[p], g[p], c)
    elif code in (CODE_MOMENTUM, CODE_NESTEROV, CODE_ADAGRAD):
        s0 = rule.state[0]
        for p in range(first, last):
            if code == CODE_MOMENTUM:
                theta[p], s0[p] = momentum(theta[p], g[p], s0[p], c)
            elif code == CODE_NESTEROV:
                theta[p], s0[p] = nesterov(theta[p], g[p], s0[p], c)
            else:
                theta[p], s0[p] = adagrad(theta[p], g[p], s0[p], c)
    elif code in (CODE_RMSPROP, CODE_AMSGRAD):
        s0, s1, s2 = rule.state[0], rule.state[1], rule.state[2]
        for p in range(first, last):
            if code == CODE_RMSPROP:
                theta[p], s0[p], s1[p], s2[p] = rmsprop(theta[p], g[p], s0[p], s1[p], s2[p], c)
            else:
                theta[p], s0[p], s1[p], s2[p] = amsgrad(theta[p], g[p], s0[p], s1[p], s2[p], c)
    else:
        s0, s1 = rule.state[0], rule.state[1]
        for p in range(first, last):
            if code == CODE_ADAM:
                theta[p], s0[p], s1[p] = adam(theta[p], g[p], s0[p], s1[p], c)
            elif code == CODE_NADAM:
                theta[p], s0[p], s1[p] = nadam(theta[p], g[p], s0[p], s1[p], c)
            elif code == CODE_ADADELTA:
                theta[p], s0[p], s1[p] = adadelta(theta[p], g[p], s0[p], s1[p], c)
            elif code == CODE_DELTA_BAR_DELTA:
                theta[p], s0[p], s1[p] = delta_bar_delta(theta[p], g[p], s0[p], s1[p], c)
            else:
                theta[p], s0[p], s1[p] = rprop(theta[p], g[p], s0[p], s1[p], c)


@function
def update_neuron(net: Net, theta: Array, rule: Rule, s: int, scale: float, r: int, g: Array, before: Array) -> None:
    """F10 for neuron r's weights and bias, in the optimiser's form, with the gradient times `scale`."""
    m = layer_of(net, r)
    i = r - net.y_at[m]
    n_in, at, b_at = net.widths[m], net.W_at[m], net.b_at[m]
    update_range(theta, g, rule, s, scale, at + i * n_in, at + (i + 1) * n_in, before)
    if net.bias:
        update_range(theta, g, rule, s, scale, b_at + i, b_at + i + 1, before)


# --- the kernels: all data points, or all neurons -------------------------------------------------------------------


@kernel(work=lambda net, theta, X: len(X) * len(theta))
def forward(net: Net, theta: Array, X: Array) -> tuple[Array, Array]:
    """F1, F2: x and y (N, S) of every neuron for the data points X (N, d)."""
    N, M, S = len(X), len(net.W_at), net.y_at[-1]
    x, y = np.empty((N, S), theta.dtype), np.empty((N, S), theta.dtype)
    none = Dropout(np.zeros(M), np.uint64(0))
    for n in prange(N):
        forward_point(net, theta, none, n, X[n], x[n], y[n])
    return x, y


ROOM = 64
"""Numbers that lie unused before each of `two_rows`: more than LLVM's vector loops take at once (256 bytes)."""


@function
def two_rows(count: int, like: Array) -> tuple[Array, Array]:
    """Two buffers of one data point, that lie at the same distance and clear of all else at every call.

    Where two arrays are closer than what a vector loop takes at once, LLVM's code runs the same loop number by number:
    buffers that malloc put anywhere gave other last bits in one run of ten (softmax, 8 neurons).
    """
    rows = np.empty((2, ROOM + count), like.dtype)
    return rows[0, ROOM:], rows[1, ROOM:]


@kernel(work=lambda net, theta, X: len(X) * len(theta))
def outputs(net: Net, theta: Array, X: Array) -> Array:
    """F1, F2: ŷ (N, n_out) alone, without room for the neurons between."""
    M, S = len(net.W_at), net.y_at[-1]
    Y = np.empty((len(X), net.widths[M]), theta.dtype)
    none = Dropout(np.zeros(M), np.uint64(0))
    for n in prange(len(X)):
        x_n, y_n = two_rows(S, theta)
        forward_point(net, theta, none, n, X[n], x_n, y_n)
        Y[n] = neurons(net, y_n, M - 1)
    return Y


@kernel(work=lambda net, theta, X, T: len(X) * len(theta))
def outputs_and_losses(net: Net, theta: Array, X: Array, T: Array) -> tuple[Array, Array]:
    """F1-F3: ŷ (N, n_out), and L (N,) float64 of every data point."""
    M, S = len(net.W_at), net.y_at[-1]
    Y, L = np.empty((len(X), net.widths[M]), theta.dtype), np.empty(len(X))
    none = Dropout(np.zeros(M), np.uint64(0))
    for n in prange(len(X)):
        x_n, y_n = two_rows(S, theta)
        forward_point(net, theta, none, n, X[n], x_n, y_n)
        Y[n] = neurons(net, y_n, M - 1)
        L[n] = loss_point(net, x_n, y_n, T[n])
    return Y, L


@kernel(work=lambda net, x, y, T: 10 * T.size)
def losses(net: Net, x: Array, y: Array, T: Array) -> Array:
    """F3: L (N,) float64 of every data point."""
    L = np.empty(len(T))
    for n in prange(len(T)):
        L[n] = loss_point(net, x[n], y[n], T[n])
    return L


@kernel(work=lambda net, theta, x, y, T, c: len(T) * len(theta))
def backward(net: Net, theta: Array, x: Array, y: Array, T: Array, c: Array) -> Array:
    """F4-F6, then F9 and F5 downward: delta (N, S) of every neuron."""
    M = len(net.W_at)
    delta = np.empty_like(x)
    none = Dropout(np.zeros(M), np.uint64(0))
    for n in prange(len(T)):
        at_output = neurons(net, delta[n], M - 1)
        output_delta(net, neurons(net, x[n], M - 1), neurons(net, y[n], M - 1), T[n], c[n], at_output)
        deltas_below(net, theta, none, n, x[n], y[n], delta[n])
    return delta


@kernel(work=lambda net, X, y, delta: len(X) * parameters(net))
def gradient(net: Net, X: Array, y: Array, delta: Array) -> Array:
    """F7, F8: g (P,), the gradient of the weights and biases, laid out as theta."""
    g = np.empty(parameters(net), delta.dtype)
    for r in prange(net.y_at[-1]):
        gradient_neuron(net, X, y, delta, len(X), r, g)
    return g


@kernel(work=lambda net, theta, delta: len(delta) * net.widths[0] * net.widths[1])
def input_gradient(net: Net, theta: Array, delta: Array) -> Array:
    """F11: ∂L/∂(input)_j = Σ_i δ_i W_ij at layer 1, (N, d)."""
    W = weights(net, theta, 0)
    dX = np.zeros((len(delta), W.shape[1]), delta.dtype)
    for n in prange(len(delta)):
        delta_n = neurons(net, delta[n], 0)
        for i in range(W.shape[0]):
            for j in range(W.shape[1]):
                dX[n, j] += delta_n[i] * W[i, j]  # F11
    return dX


@kernel(work=lambda net, theta, x, y, V: len(V) * len(theta))
def jvp(net: Net, theta: Array, x: Array, y: Array, V: Array) -> Array:
    """F12, forward accumulation: ẏ of the output (N, n_out) when the inputs move along V (N, d)."""
    M = len(net.W_at)
    xdot, ydot = np.empty_like(x), np.empty_like(x)
    for n in prange(len(V)):
        ydot_below = V[n]
        for m in range(M):
            W = weights(net, theta, m)
            xdot_m, ydot_m = neurons(net, xdot[n], m), neurons(net, ydot[n], m)
            for i in range(W.shape[0]):
                total = theta.dtype.type(0)
                for j in range(W.shape[1]):
                    total += W[i, j] * ydot_below[j]  # F12  ẋ_i = Σ_j W_ij ẏ_j
                xdot_m[i] = total
            through_sigma(
                net, m, neurons(net, x[n], m), neurons(net, y[n], m), xdot_m, ydot_m
            )  # F12  ẏ_i = σ'(x_i) ẋ_i
            ydot_below = ydot_m
    return ydot[:, net.y_at[-2] :].copy()


@kernel(work=lambda net, theta, x, y, U: len(U) * len(theta))
def vjp(net: Net, theta: Array, x: Array, y: Array, U: Array) -> Array:
    """F12, reverse accumulation: delta (N, S) of Σ_i u_i ŷ_i, that is F5 from ∂L/∂ŷ = U (N, n_out), then F9 and F5."""
    M = len(net.W_at)
    delta = np.empty_like(x)
    none = Dropout(np.zeros(M), np.uint64(0))
    for n in prange(len(U)):
        at_output = neurons(net, delta[n], M - 1)
        through_sigma(net, M - 1, neurons(net, x[n], M - 1), neurons(net, y[n], M - 1), U[n], at_output)
        deltas_below(net, theta, none, n, x[n], y[n], delta[n])
    return delta


@kernel(work=lambda net, theta, x, y: len(x) * net.widths[-1] * len(theta))
def jacobian(net: Net, theta: Array, x: Array, y: Array) -> Array:
    """F12: ∂ŷ_r/∂(input)_j (N, n_out, d), one reverse accumulation a row r."""
    M, n_out = len(net.W_at), net.widths[-1]
    W = weights(net, theta, 0)
    J = np.zeros((len(x), n_out, W.shape[1]), x.dtype)
    none = Dropout(np.zeros(M), np.uint64(0))
    for n in prange(len(x)):
        delta_n, u = two_rows(len(x[n]), x)  # of u the first n_out
        for r in range(n_out):
            for i in range(n_out):
                u[i] = i == r
            at_output = neurons(net, delta_n, M - 1)
            through_sigma(net, M - 1, neurons(net, x[n], M - 1), neurons(net, y[n], M - 1), u[:n_out], at_output)
            deltas_below(net, theta, none, n, x[n], y[n], delta_n)
            for i in range(W.shape[0]):
                for j in range(W.shape[1]):
                    J[n, r, j] += delta_n[i] * W[i, j]  # F11 with L = ŷ_r
    return J


# Numba drops `work.L[n] = ...` written in a prange body as dead code; in a function called from there it is kept. So
# the three regions of a step are functions.


@function
def train_point(
    net: Net, theta: Array, data: Data, dropout: Dropout, share: float, point: int, n: int, w: Work
) -> None:
    """Region 1: data point `point`, the n-th of its batch, forward and backward, with `share` of the batch's loss."""
    M = len(net.W_at)
    c = data.weight[point] * share
    for j in range(net.widths[0]):
        w.X[n, j] = data.X[point, j]
    for i in range(net.widths[M]):
        w.T[n, i] = data.T[point, i]
    forward_point(net, theta, dropout, n, w.X[n], w.x[n], w.y[n])
    w.L[n] = c * loss_point(net, w.x[n], w.y[n], w.T[n]) if c > 0.0 else 0.0
    x, y, delta = neurons(net, w.x[n], M - 1), neurons(net, w.y[n], M - 1), neurons(net, w.delta[n], M - 1)
    output_delta(net, x, y, w.T[n], c, delta)
    deltas_below(net, theta, dropout, n, w.x[n], w.y[n], w.delta[n])


@function
def train_neuron(net: Net, theta: Array, rule: Rule, N: int, r: int, w: Work) -> None:
    """Region 2: neuron r's gradient over the batch, with the penalty's."""
    gradient_neuron(net, w.X, w.y, w.delta, N, r, w.g)
    w.partial[r] = penalty_neuron(net, theta, rule, r, w.g) if rule.l1 > 0.0 or rule.l2 > 0.0 else 0.0


@function
def limit_neuron(net: Net, rule: Rule, r: int, w: Work) -> None:
    """Region 3, where gradients are clipped: by value, and neuron r's share of the squared norm."""
    w.partial[r] = clip_neuron(net, rule, r, w.g)


@kernel(work=lambda net, theta, data, rule, work: data.batch * len(theta))
def steps(net: Net, theta: Array, data: Data, rule: Rule, work: Work) -> int:
    """Training steps over the data points `data.order`, `data.batch` of them a step; theta moves in place.

    Each step: all data points (F1-F6, F9); all neurons, with their sums over data points (F7, F8); all neurons again
    (F10), once the whole gradient is known. Returns how many steps were taken; fewer than there are when a step's loss
    is not finite, or a parameter (the loss is then NaN): that step's parameters are then in `theta`, those of the step
    before in `work.before`. A rule that only judges takes no step and writes down the loss of the first.
    """
    S, none_cut = net.y_at[-1], rule.clip_value == np.inf and rule.clip_norm == np.inf
    for s in range(len(rule.coefficients)):
        first = s * data.batch
        N = min(data.batch, len(data.order) - first)
        batch = data.order[first : first + N]
        dropout = Dropout(rule.dropout_rates, rule.dropout_keys[s])
        total_weight = 0.0
        for n in range(N):
            total_weight += data.weight[batch[n]]
        share = 1.0 / total_weight if rule.mean and total_weight > 0.0 else 1.0
        for n in prange(N):
            train_point(net, theta, data, dropout, share, batch[n], n, work)
        for r in prange(S):
            train_neuron(net, theta, rule, N, r, work)
        J = 0.0
        for n in range(N):
            J += work.L[n]  # F3  J = Σ_n c L(t, ŷ)
        for r in range(S):
            J += work.partial[r]
        # The loss may be finite behind a saturated neuron. No weight is infinite where the sums x are finite.
        if N > 0 and not all_finite(work.x[0]) and not all_finite(theta):
            J = math.nan
        work.loss[s] = J
        work.loss_weight[s] = total_weight if rule.mean else 1.0
        if not math.isfinite(J) or rule.judge:
            return s
        scale = 1.0
        if not none_cut:
            for r in prange(S):
                limit_neuron(net, rule, r, work)
            squares = 0.0
            for r in range(S):
                squares += work.partial[r]
            if squares > rule.clip_norm**2:
                scale = rule.clip_norm / math.sqrt(squares)
        for r in prange(S):
            update_neuron(net, theta, rule, s, scale, r, work.g, work.before)
    return len(rule.coefficients)
