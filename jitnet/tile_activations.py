"""Activations σ and their derivatives σ' on vectors, for data points along the lanes.

A layer's x, y and delta are (neurons, points) here: row i holds neuron i of every data point of a block, and a block
has whole vectors of points. So an element-wise activation is one run over contiguous memory, and softmax, which mixes
the neurons of one data point, mixes vectors and never lanes. The formulas are those of activations.py, a line each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jitnet import vectormath as vm
from jitnet._jit import call1, function
from jitnet.activations import (
    CUSTOM,
    ELU,
    EXPONENTIAL,
    GELU,
    HARD_TANH,
    IDENTITY,
    LEAKY_RELU,
    MISH,
    RELU,
    SELU,
    SELU_ALPHA,
    SELU_SCALE,
    SGN,
    SIGMOID,
    SILU,
    SOFTMAX,
    SOFTPLUS,
    SOFTSIGN,
    STEP,
    TANH,
)
from jitnet.layout import Array, Net
from jitnet.registers import absolute, broadcast, lanes, load, maximum, minimum, select, store

Value = Any  # in compiled code: the value of a Vector


# --- F2 on one vector -----------------------------------------------------------------------------------------------


@function
def step(x: Value, a: float) -> Value:
    """1 where x >= 0, else 0; NaN goes through."""
    return select(x >= 0.0, 1.0, select(x < 0.0, 0.0, x))


@function
def sgn(x: Value, a: float) -> Value:
    """1 where x >= 0, else -1; NaN goes through."""
    return select(x >= 0.0, 1.0, select(x < 0.0, -1.0, x))


@function
def relu(x: Value, a: float) -> Value:
    """max(0, x)."""
    return maximum(x, 0.0)


@function
def leaky_relu(x: Value, a: float) -> Value:
    """x where x > 0, else a x."""
    return select(x <= 0.0, a * x, x)


@function
def sigmoid(x: Value, a: float) -> Value:
    """1 / (1 + exp(-x))."""
    return vm.sigmoid(x)


@function
def tanh(x: Value, a: float) -> Value:
    """The hyperbolic tangent."""
    return vm.tanh(x)


@function
def elu(x: Value, a: float) -> Value:
    """x where x > 0, else a (exp(x) - 1)."""
    return select(x <= 0.0, a * vm.expm1(minimum(x, 0.0)), x)


@function
def selu(x: Value, a: float) -> Value:
    """SELU's scale times ELU."""
    return SELU_SCALE * elu(x, SELU_ALPHA)


@function
def normal_cdf(x: Value) -> Value:
    """Φ(x) = (1 + erf(x / sqrt 2)) / 2."""
    return 0.5 + 0.5 * vm.erf(x * 0.7071067811865476)


@function
def gelu(x: Value, a: float) -> Value:
    """x Φ(x); -inf stays what it is."""
    return select(x < -vm.INF(x) * 0.5, x, x * normal_cdf(x))


@function
def silu(x: Value, a: float) -> Value:
    """x sigmoid(x)."""
    return x * vm.sigmoid(x)


@function
def softplus(x: Value, a: float) -> Value:
    """log(1 + exp(x))."""
    return vm.softplus(x)


@function
def softsign(x: Value, a: float) -> Value:
    """x / (1 + |x|)."""
    return x / (1.0 + absolute(x))


@function
def hard_tanh(x: Value, a: float) -> Value:
    """x, clipped to [-1, 1]."""
    return minimum(maximum(x, -1.0), 1.0)


@function
def mish(x: Value, a: float) -> Value:
    """x tanh(softplus(x))."""
    return x * vm.tanh(vm.softplus(x))


@function
def exponential(x: Value, a: float) -> Value:
    """e^x."""
    return vm.exp(x)


# --- F5 on one vector: σ'(x) from x and y = σ(x) --------------------------------------------------------------------


@function
def zero_slope(x: Value, y: Value, a: float) -> Value:
    """The derivative of step and sgn."""
    return broadcast(0.0, x)


@function
def relu_slope(x: Value, y: Value, a: float) -> Value:
    """1 where x > 0, else 0."""
    return select(x > 0.0, 1.0, broadcast(0.0, x))


@function
def leaky_relu_slope(x: Value, y: Value, a: float) -> Value:
    """1 where x > 0, else a."""
    return select(x > 0.0, 1.0, broadcast(a, x))


@function
def sigmoid_slope(x: Value, y: Value, a: float) -> Value:
    """y (1 - y)."""
    return y * (1.0 - y)


@function
def tanh_slope(x: Value, y: Value, a: float) -> Value:
    """1 - y², as (1 - y)(1 + y)."""
    return (1.0 - y) * (1.0 + y)


@function
def elu_slope(x: Value, y: Value, a: float) -> Value:
    """1 where x > 0, else a exp(x)."""
    return select(x > 0.0, 1.0, a * vm.exp(minimum(x, 0.0)))


@function
def selu_slope(x: Value, y: Value, a: float) -> Value:
    """SELU's scale times ELU's slope."""
    return SELU_SCALE * elu_slope(x, y, SELU_ALPHA)


@function
def gelu_slope(x: Value, y: Value, a: float) -> Value:
    """Φ(x) + x φ(x), with φ(x) = exp(-x²/2) / sqrt(2π)."""
    return normal_cdf(x) + x * vm.exp(-0.5 * x * x) * 0.3989422804014327


@function
def silu_slope(x: Value, y: Value, a: float) -> Value:
    """s + x s (1 - s), with s = sigmoid(x)."""
    s = vm.sigmoid(x)
    return s * (1.0 + x * (1.0 - s))


@function
def softplus_slope(x: Value, y: Value, a: float) -> Value:
    """sigmoid(x)."""
    return vm.sigmoid(x)


@function
def softsign_slope(x: Value, y: Value, a: float) -> Value:
    """1 / (1 + |x|)²."""
    return 1.0 / ((1.0 + absolute(x)) * (1.0 + absolute(x)))


@function
def hard_tanh_slope(x: Value, y: Value, a: float) -> Value:
    """1 inside (-1, 1), else 0."""
    return select(absolute(x) < 1.0, 1.0, broadcast(0.0, x))


@function
def mish_slope(x: Value, y: Value, a: float) -> Value:
    """u + x (1 - u²) sigmoid(x), with u = tanh(softplus(x))."""
    u = vm.tanh(vm.softplus(x))
    return u + x * (1.0 - u) * (1.0 + u) * vm.sigmoid(x)


@function
def exponential_slope(x: Value, y: Value, a: float) -> Value:
    """e^x."""
    return y


# --- a layer of a block ---------------------------------------------------------------------------------------------


def _forward(f: Callable[..., Value]) -> Any:
    """y = f(x) on elements first .. last - 1 of two arrays; one such function for each f, as in vectormath."""

    @function
    def each(x: Array, y: Array, first: int, last: int, a: float) -> None:
        for at in range(first, last, lanes(x)):
            store(f(load(x, at), a), y, at)

    return each


def _backward(slope: Callable[..., Value]) -> Any:
    """out = dy slope(x, y) on elements first .. last - 1."""

    @function
    def each(x: Array, y: Array, dy: Array, out: Array, first: int, last: int, a: float) -> None:
        for at in range(first, last, lanes(x)):
            store(load(dy, at) * slope(load(x, at), load(y, at), a), out, at)

    return each


step_all, sgn_all, relu_all, leaky_relu_all = _forward(step), _forward(sgn), _forward(relu), _forward(leaky_relu)
sigmoid_all, tanh_all, elu_all, selu_all = _forward(sigmoid), _forward(tanh), _forward(elu), _forward(selu)
gelu_all, silu_all, softplus_all = _forward(gelu), _forward(silu), _forward(softplus)
softsign_all, hard_tanh_all, mish_all = _forward(softsign), _forward(hard_tanh), _forward(mish)
exponential_all = _forward(exponential)

through_zero, through_relu, through_leaky_relu = _backward(zero_slope), _backward(relu_slope), _backward(leaky_relu_slope)
through_sigmoid, through_tanh, through_elu = _backward(sigmoid_slope), _backward(tanh_slope), _backward(elu_slope)
through_selu, through_gelu, through_silu = _backward(selu_slope), _backward(gelu_slope), _backward(silu_slope)
through_softplus, through_softsign = _backward(softplus_slope), _backward(softsign_slope)
through_hard_tanh, through_mish = _backward(hard_tanh_slope), _backward(mish_slope)
through_exponential = _backward(exponential_slope)


@function
def softmax(x: Array, y: Array, at: int, n_out: int, points: int) -> None:
    """y_i = exp(x_i) / Σ_r exp(x_r), the neurons i and r of one data point being `points` elements apart."""
    for q in range(at, at + points, lanes(x)):
        largest = load(x, q)
        for i in range(n_out):
            largest = maximum(load(x, q + i * points), largest)  # a NaN in x stays
        total = broadcast(0.0, x)
        for i in range(n_out):
            e = vm.exp(load(x, q + i * points) - largest)
            store(e, y, q + i * points)
            total = total + e
        for i in range(n_out):
            store(load(y, q + i * points) / total, y, q + i * points)


@function
def through_softmax(y: Array, dy: Array, out: Array, at: int, n_out: int, points: int) -> None:
    """F5': out_i = Σ_r dy_r y_r (1[r=i] - y_i) = y_i (dy_i - Σ_r dy_r y_r)."""
    for q in range(at, at + points, lanes(y)):
        total = broadcast(0.0, y)
        for r in range(n_out):
            total = total + load(dy, q + r * points) * load(y, q + r * points)
        for i in range(n_out):
            store(load(y, q + i * points) * (load(dy, q + i * points) - total), out, q + i * points)


@function
def sigma(net: Net, m: int, x: Array, y: Array, at: int, points: int) -> None:
    """F2: y = σ(x) for layer m of a block, (n_out, points) from element `at` on."""
    code, a, n_out = net.activation[m], net.activation_parameter[m], net.widths[m + 1]
    a, last = x.dtype.type(a), at + n_out * points
    if code == IDENTITY:
        for p in range(at, last, lanes(x)):
            store(load(x, p), y, p)
    elif code == STEP:
        step_all(x, y, at, last, a)
    elif code == SGN:
        sgn_all(x, y, at, last, a)
    elif code == RELU:
        relu_all(x, y, at, last, a)
    elif code == LEAKY_RELU:
        leaky_relu_all(x, y, at, last, a)
    elif code == SIGMOID:
        sigmoid_all(x, y, at, last, a)
    elif code == TANH:
        tanh_all(x, y, at, last, a)
    elif code == SOFTMAX:
        softmax(x, y, at, n_out, points)
    elif code == ELU:
        elu_all(x, y, at, last, a)
    elif code == SELU:
        selu_all(x, y, at, last, a)
    elif code == GELU:
        gelu_all(x, y, at, last, a)
    elif code == SILU:
        silu_all(x, y, at, last, a)
    elif code == SOFTPLUS:
        softplus_all(x, y, at, last, a)
    elif code == SOFTSIGN:
        softsign_all(x, y, at, last, a)
    elif code == HARD_TANH:
        hard_tanh_all(x, y, at, last, a)
    elif code == MISH:
        mish_all(x, y, at, last, a)
    elif code == EXPONENTIAL:
        exponential_all(x, y, at, last, a)
    elif code == CUSTOM:
        for p in range(at, last):
            y[p] = call1(net.g_address[m], x[p])


@function
def through_sigma(net: Net, m: int, x: Array, y: Array, dy: Array, out: Array, at: int, points: int) -> None:
    """F5, F5': out_i = Σ_r dy_r ∂y_r/∂x_i for layer m of a block, (n_out, points) from `at` on; `out` may be `dy`.

    The Jacobian of softmax is symmetric, so this also takes ẋ to ẏ in forward accumulation.
    """
    code, a, n_out = net.activation[m], net.activation_parameter[m], net.widths[m + 1]
    a, last = x.dtype.type(a), at + n_out * points
    if code == IDENTITY:
        for p in range(at, last, lanes(x)):
            store(load(dy, p), out, p)
    elif code in (STEP, SGN):
        through_zero(x, y, dy, out, at, last, a)
    elif code == RELU:
        through_relu(x, y, dy, out, at, last, a)
    elif code == LEAKY_RELU:
        through_leaky_relu(x, y, dy, out, at, last, a)
    elif code == SIGMOID:
        through_sigmoid(x, y, dy, out, at, last, a)
    elif code == TANH:
        through_tanh(x, y, dy, out, at, last, a)
    elif code == SOFTMAX:
        through_softmax(y, dy, out, at, n_out, points)
    elif code == ELU:
        through_elu(x, y, dy, out, at, last, a)
    elif code == SELU:
        through_selu(x, y, dy, out, at, last, a)
    elif code == GELU:
        through_gelu(x, y, dy, out, at, last, a)
    elif code == SILU:
        through_silu(x, y, dy, out, at, last, a)
    elif code == SOFTPLUS:
        through_softplus(x, y, dy, out, at, last, a)
    elif code == SOFTSIGN:
        through_softsign(x, y, dy, out, at, last, a)
    elif code == HARD_TANH:
        through_hard_tanh(x, y, dy, out, at, last, a)
    elif code == MISH:
        through_mish(x, y, dy, out, at, last, a)
    elif code == EXPONENTIAL:
        through_exponential(x, y, dy, out, at, last, a)
    elif code == CUSTOM:
        for p in range(at, last):
            out[p] = dy[p] * call1(net.dg_address[m], x[p])
