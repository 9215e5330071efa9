"""Losses (F3) and the sensitivity at the output (F4-F6) on vectors, for data points along the lanes.

x, y, t and delta of the output layer are (n_out, points) here, so the sum over the outputs of a data point is a sum of
vectors. The formulas are those of losses.py, a line each.
"""

from __future__ import annotations

from typing import Any

from jitnet import vectormath as vm
from jitnet._jit import call2, function
from jitnet.activations import EXPONENTIAL, SIGMOID, SOFTPLUS
from jitnet.layout import Array, Net
from jitnet.losses import (
    ABSOLUTE,
    BINARY_CROSS_ENTROPY,
    CROSS_ENTROPY,
    CUSTOM_LOSS,
    HALF_SQUARED,
    HUBER,
    LOG_COSH,
    POISSON,
    QUANTILE,
    SQUARED,
)
from jitnet.registers import absolute, broadcast, lanes, load, maximum, minimum, select, store
from jitnet.tile_activations import through_sigma

Value = Any  # in compiled code: the value of a Vector


@function
def log_output(output: int, x: Value, y: Value) -> Value:
    """log ŷ, from x where the output activation allows it; far to the left softplus(x) = exp(x) to rounding."""
    if output == SIGMOID:
        return -vm.softplus(-x)
    elif output == SOFTPLUS:
        return select(x < -40.0, x, vm.log(vm.softplus(x)))
    elif output == EXPONENTIAL:
        return x
    return vm.log(y)


@function
def log_one_minus_output(output: int, x: Value, y: Value) -> Value:
    """log(1 - ŷ), from x where the output is a sigmoid."""
    return -vm.softplus(x) if output == SIGMOID else vm.log1p(-y)


@function
def loss_value(code: int, output: int, x: Value, y: Value, t: Value, a: float) -> Value:
    """F3: L of one output; `a` is the loss's parameter. A term with factor 0 is left out: 0 log 0 = 0."""
    d = y - t
    if code == SQUARED:
        return d * d
    elif code == HALF_SQUARED:
        return 0.5 * d * d
    elif code == ABSOLUTE:
        return absolute(d)
    elif code == BINARY_CROSS_ENTROPY:
        hit = select(t == 0.0, 0.0, t * log_output(output, x, y))
        return -(hit + select(t == 1.0, 0.0, (1.0 - t) * log_one_minus_output(output, x, y)))
    elif code == HUBER:
        return select(absolute(d) <= a, 0.5 * d * d, a * (absolute(d) - 0.5 * a))
    elif code == QUANTILE:
        return select(d >= 0.0, (1.0 - a) * d, -a * d)
    elif code == POISSON:
        return select(t == 0.0, y, y - t * log_output(output, x, y))
    elif code == LOG_COSH:
        return absolute(d) + vm.log1p(vm.exp(-2.0 * absolute(d))) - 0.6931471805599453
    return vm.NAN(y)


@function
def loss_slope(code: int, y: Value, t: Value, a: float) -> Value:
    """F4: ∂L/∂ŷ of one output; `a` is the loss's parameter."""
    d = y - t
    if code == SQUARED:
        return 2.0 * d
    elif code == HALF_SQUARED:
        return d
    elif code == ABSOLUTE:
        return select(d > 0.0, 1.0, select(d < 0.0, -1.0, d))
    elif code == BINARY_CROSS_ENTROPY:
        return select(t == 1.0, 0.0, (1.0 - t) / (1.0 - y)) - select(t == 0.0, 0.0, t / y)
    elif code == HUBER:
        return minimum(maximum(d, -a), a)
    elif code == QUANTILE:
        return select(d > 0.0, 1.0 - a, select(d < 0.0, -a, d))
    elif code == POISSON:
        return select(t == 0.0, 1.0, 1.0 - t / y)
    elif code == LOG_COSH:
        return vm.tanh(d)
    return vm.NAN(y)


@function
def losses(net: Net, x: Array, y: Array, at: int, t: Array, L: Array, points: int) -> None:
    """F3: L (points,) of a block whose output layer begins at element `at` of x and y; t (n_out, points)."""
    n_out, output = net.widths[-1], net.activation[-1]
    a = x.dtype.type(net.loss_parameter)
    for q in range(0, points, lanes(x)):
        total = broadcast(0.0, x)
        if net.loss == CROSS_ENTROPY:
            largest = load(x, at + q)
            for i in range(n_out):
                largest = maximum(load(x, at + i * points + q), largest)
            for i in range(n_out):
                total = total + vm.exp(load(x, at + i * points + q) - largest)
            log_total = largest + vm.log(total)
            total = broadcast(0.0, x)
            for i in range(n_out):  # -t_i log ŷ_i, with log ŷ_i = x_i - log Σ_r exp(x_r)
                t_i = load(t, i * points + q)
                total = total + select(t_i == 0.0, 0.0, t_i * (log_total - load(x, at + i * points + q)))
        elif net.loss != CUSTOM_LOSS:
            for i in range(n_out):
                p = at + i * points + q
                total = total + loss_value(net.loss, output, load(x, p), load(y, p), load(t, i * points + q), a)
        store(total, L, q)
    if net.loss == CUSTOM_LOSS:
        for i in range(n_out):
            for q in range(points):
                L[q] += call2(net.loss_address, y[at + i * points + q], t[i * points + q])


@function
def output_delta(net: Net, x: Array, y: Array, at: int, t: Array, c: Array, delta: Array, points: int) -> None:
    """δ_i of the output layer: F6 where loss and output match, else F4 and F5 (F5'); c (points,) each point's factor."""
    m, n_out = len(net.W_at) - 1, net.widths[-1]
    a = x.dtype.type(net.loss_parameter)
    log_pair = net.loss == POISSON and net.activation[m] == SOFTPLUS
    for i in range(n_out):
        for q in range(0, points, lanes(x)):
            p = at + i * points + q
            x_i, y_i, t_i, c_n = load(x, p), load(y, p), load(t, i * points + q), load(c, q)
            if net.matched:
                store(c_n * (y_i - t_i), delta, p)  # F6  δ_i = ŷ_i - t_i
            elif log_pair:  # σ'(x) (1 - t/ŷ), with σ'/ŷ taken from x: ŷ may round to 0
                s = vm.sigmoid(x_i)
                store(c_n * (s - t_i * select(x_i < -40.0, 1.0, s / vm.softplus(x_i))), delta, p)
            elif net.loss != CUSTOM_LOSS:
                store(c_n * loss_slope(net.loss, y_i, t_i, a), delta, p)  # F4  ∂L/∂ŷ_i
    if net.loss == CUSTOM_LOSS:
        for i in range(n_out):
            for q in range(points):
                p = at + i * points + q
                delta[p] = c[q] * call2(net.dloss_address, y[p], t[i * points + q])
    if not (net.matched or log_pair):
        through_sigma(net, m, x, y, delta, delta, at, points)  # F5, F5'
