"""Activations and losses on vector registers: the formulas of activations.py and losses.py, data points in the lanes.

A PANEL is (rows, width): neurons i by data points q, element (r, q) of one that starts at `at` is [at + r * width + q].
Everything is element-wise or a sum down a column, so no lane knows of another. Widths, and the lengths stop - at of
ranges, are multiples of the lanes; arrays are C-contiguous, of one dtype; nothing is checked. All for compiled code.

    x pre-activation   y = σ(x)   t target   delta ∂L/∂y, then ∂L/∂x   c factor of a data point   L float64

The scalar functions say what is computed: kinks, limits and NaN are theirs. Here both sides of a kink are computed and
one is selected. What depends on the code alone is chosen outside the loops, and activations that need the same
transcendental function share one loop. A kernel that calls all of these compiles in 3.3 s for one dtype, of which LLVM
takes half, most of that in optimising each function by itself before all are inlined (2.4 s without it).

Nanoseconds an element on one AVX-512 core, panels of 16 x 64 in L1: float32 tanh 0.22, sigmoid 0.38, relu 0.07, their
slopes 0.08 to 0.10, softmax 0.33 and 0.12 backward, gelu 0.74 both ways; float64 2 to 3 times as much.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types

from jitnet._jit import call1, call2, function
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
from jitnet.layout import Array
from jitnet.losses import (
    ABSOLUTE,
    BINARY_CROSS_ENTROPY,
    CROSS_ENTROPY,
    CUSTOM_LOSS,
    HALF_SQUARED,
    HUBER,
    POISSON,
    QUANTILE,
    SQUARED,
)
from jitnet.registers import (
    absolute,
    any_lane,
    broadcast,
    call_llvm,
    element,
    first_lanes,
    intrinsic,
    lanes,
    load,
    maximum,
    minimum,
    multiply_add,
    select,
    store,
    vector_of,
)
from jitnet.vectormath import INF, exp, expm1, log, log1p, normal, sigmoid, softplus, tanh

Value = Any  # in compiled code: the value of a Vector

# --- one element, and lanes of float64 ------------------------------------------------------------------------------


@intrinsic
def item(typingctx: Any, A: Any, at: Any) -> Any:
    """A[at], one number."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load(element(context, builder, A, *args))

    return A.dtype(A, types.intp), code


@intrinsic
def set_item(typingctx: Any, A: Any, at: Any, value: Any) -> Any:
    """A[at] = value, one number."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store(args[2], element(context, builder, A, *args[:2]))
        return context.get_dummy_value()

    return types.void(A, types.intp, A.dtype), code


@intrinsic
def store_sum(typingctx: Any, high: Any, low: Any, L: Any, at: Any, count: Any) -> Any:
    """L[at + lane] = high[lane] + low[lane] in float64, for lanes 0 .. count - 1."""
    vector = vector_of(high, low)
    wide = ir.VectorType(ir.DoubleType(), vector.lanes)
    name = f"llvm.masked.store.v{vector.lanes}f64.p0"

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        both = [each if vector.bits == 64 else builder.fpext(each, wide) for each in args[:2]]
        address = builder.bitcast(element(context, builder, L, *args[2:4]), wide.as_pointer())
        mask, align = first_lanes(builder, vector, args[4]), ir.Constant(ir.IntType(32), 8)
        call_llvm(builder, name, ir.VoidType(), builder.fadd(*both), address, align, mask)
        return context.get_dummy_value()

    return types.void(high, low, L, types.intp, types.intp), code


@function
def add(high: Value, low: Value, term: Value) -> tuple[Value, Value]:
    """(high, low) + term: `low` gathers what the roundings of `high` lose (Knuth's two-sum), as if in float64."""
    total = high + term
    back = total - high
    return total, low + ((high - (total - back)) + (term - back))


@function
def put(high: Value, low: Value, L: Array, at: int, count: int) -> None:
    """L of `count` data points from the sums of `add`; past the largest number `low` means nothing."""
    store_sum(high, select(absolute(high) < INF(high), low, 0.0), L, at, count)


# --- activations ----------------------------------------------------------------------------------------------------

MISH_TOP = 21.0
"""From here on mish(x) = x and mish'(x) = 1 in float64 too, and ((1 + e^x)² + 1)² is still a float32."""


@function
def activate_range(code: int, a: float, address: int, x: Array, y: Array, at: int, stop: int) -> None:
    """F2: y = σ(x) for the elements at .. stop - 1, all but softmax; `address` is a user's own σ."""
    w = lanes(x)
    if code in (IDENTITY, RELU, HARD_TANH):
        least = -1.0 if code == HARD_TANH else (0.0 if code == RELU else -float("inf"))
        most = 1.0 if code == HARD_TANH else float("inf")
        for p in range(at, stop, w):
            store(minimum(maximum(load(x, p), least), most), y, p)
    elif code == TANH:
        for p in range(at, stop, w):
            store(tanh(load(x, p)), y, p)
    elif code in (SIGMOID, SILU):
        for p in range(at, stop, w):
            x_p = load(x, p)
            s = sigmoid(x_p)
            store(x_p * s if code == SILU else s, y, p)
    elif code == LEAKY_RELU:
        for p in range(at, stop, w):
            x_p = load(x, p)
            store(select(x_p <= 0.0, a * x_p, x_p), y, p)
    elif code in (STEP, SGN):
        below = -1.0 if code == SGN else 0.0
        for p in range(at, stop, w):
            x_p = load(x, p)
            store(select(x_p >= 0.0, 1.0, select(x_p < 0.0, below, x_p)), y, p)
    elif code in (ELU, SELU):
        right = SELU_SCALE if code == SELU else 1.0
        left = SELU_SCALE * SELU_ALPHA if code == SELU else a
        for p in range(at, stop, w):
            x_p = load(x, p)
            store(select(x_p <= 0.0, left * expm1(x_p), right * x_p), y, p)
    elif code in (EXPONENTIAL, MISH):
        most = MISH_TOP if code == MISH else float("inf")
        for p in range(at, stop, w):
            x_p = load(x, p)
            e = exp(minimum(x_p, most))
            n = e * (e + 2.0)  # tanh(log(1 + e)) = ((1 + e)² - 1) / ((1 + e)² + 1)
            store(x_p * (n / (n + 2.0)) if code == MISH else e, y, p)
    elif code == SOFTPLUS:
        for p in range(at, stop, w):
            store(softplus(load(x, p)), y, p)
    elif code == GELU:
        for p in range(at, stop, w):
            x_p = load(x, p)
            store(x_p * normal(x_p)[0], y, p)
    elif code == SOFTSIGN:
        for p in range(at, stop, w):
            x_p = load(x, p)
            store(x_p / (1.0 + absolute(x_p)), y, p)
    elif code == CUSTOM:
        for p in range(at, stop):
            set_item(y, p, call1(address, item(x, p)))


@function
def slope_range(code: int, a: float, address: int, x: Array, y: Array, delta: Array, at: int, stop: int) -> None:
    """F5: delta ← delta σ'(x), from x and y = σ(x), for the elements at .. stop - 1; `address` is a user's own σ'."""
    w = lanes(x)
    if code in (STEP, SGN, RELU, LEAKY_RELU, HARD_TANH):
        low, high = (-1.0, 1.0) if code == HARD_TANH else (0.0, float("inf"))
        left = a if code == LEAKY_RELU else 0.0
        middle = 0.0 if code in (STEP, SGN) else 1.0
        right = middle if code != HARD_TANH else 0.0
        for p in range(at, stop, w):
            x_p = load(x, p)
            slope = select(x_p > low, select(x_p < high, middle, broadcast(right, x)), left)
            store(load(delta, p) * slope, delta, p)
    elif code in (TANH, SIGMOID, EXPONENTIAL):
        for p in range(at, stop, w):
            y_p = load(y, p)
            if code == TANH:
                slope = (1.0 - y_p) * (1.0 + y_p)
            elif code == SIGMOID:
                slope = y_p * (1.0 - y_p)
            else:
                slope = y_p
            store(load(delta, p) * slope, delta, p)
    elif code in (SILU, SOFTPLUS):
        for p in range(at, stop, w):
            x_p = load(x, p)
            s = sigmoid(x_p)
            slope = s * (1.0 + x_p * (1.0 - s)) if code == SILU else s
            store(load(delta, p) * slope, delta, p)
    elif code in (ELU, SELU, MISH):
        right = SELU_SCALE if code == SELU else 1.0
        left = SELU_SCALE * SELU_ALPHA if code == SELU else a
        for p in range(at, stop, w):
            x_p = load(x, p)
            x_low = minimum(x_p, MISH_TOP)
            e = exp(x_low)
            if code == MISH:  # as (1 - u²) sigmoid(x) = 4 e (1 + e) / (n + 2)², with n + 1 = (1 + e)²
                n = e * (e + 2.0)
                slope = n / (n + 2.0) + x_low * (4.0 * e * (1.0 + e) / ((n + 2.0) * (n + 2.0)))
            else:
                slope = select(x_p > 0.0, right, left * e)
            store(load(delta, p) * slope, delta, p)
    elif code == GELU:
        for p in range(at, stop, w):
            x_p = load(x, p)
            cdf, bell = normal(x_p)
            store(load(delta, p) * (cdf + x_p * bell * 0.3989422804014327), delta, p)
    elif code == SOFTSIGN:
        for p in range(at, stop, w):
            u = 1.0 / (1.0 + absolute(load(x, p)))
            store(load(delta, p) * (u * u), delta, p)
    elif code == CUSTOM:
        for p in range(at, stop):
            set_item(delta, p, item(delta, p) * call1(address, item(x, p)))


@function
def largest_row(x: Array, p: int, rows: int, width: int) -> Value:
    """The largest of a column of lanes; a NaN further down is passed over, and makes itself known later."""
    largest = load(x, p)
    for r in range(1, rows):
        largest = maximum(largest, load(x, p + r * width))
    return largest


@function
def softmax_panel(x: Array, y: Array, at: int, rows: int, width: int) -> None:
    """F2 of softmax: y_i = exp(x_i) / Σ_r exp(x_r), with the largest x subtracted from all."""
    for p in range(at, at + width, lanes(x)):
        largest = largest_row(x, p, rows, width)
        total = broadcast(0.0, x)
        for r in range(rows):
            e = exp(load(x, p + r * width) - largest)
            store(e, y, p + r * width)
            total = total + e
        share = 1.0 / total
        for r in range(rows):
            store(load(y, p + r * width) * share, y, p + r * width)


@function
def softmax_back_panel(y: Array, delta: Array, at: int, rows: int, width: int) -> None:
    """F5': delta_i ← Σ_r delta_r y_r (1[r=i] - y_i) = y_i (delta_i - Σ_r delta_r y_r)."""
    for p in range(at, at + width, lanes(y)):
        total = broadcast(0.0, y)
        for r in range(rows):
            total = multiply_add(load(delta, p + r * width), load(y, p + r * width), total)
        for r in range(rows):
            store(load(y, p + r * width) * (load(delta, p + r * width) - total), delta, p + r * width)


# --- losses ---------------------------------------------------------------------------------------------------------

COSH_TOP = 20.0
"""From here on log cosh d = |d| - log 2 in float64 too."""
LOG_2 = 0.6931471805599453


@function
def log_cosh(d: Value) -> Value:
    """log cosh d = log(1 + E² / (2 (1 + E))) with E = e^|d| - 1: nothing cancels near 0; |d| - log 2 far out."""
    size = absolute(d)
    E = expm1(minimum(size, COSH_TOP))
    return select(size > COSH_TOP, size - LOG_2, log1p(0.5 * E * (E / (1.0 + E))))


@function
def cross_entropy_panel(x: Array, t: Array, at: int, rows: int, width: int, L: Array, first: int, count: int) -> None:
    """F3: -Σ_i t_i log ŷ_i, with log ŷ_i = x_i - log Σ_r exp(x_r); terms with t_i = 0 are left out.

    log Σ_r exp(x_r) = x_max + log(1 + the others): both are kept apart, as -log ŷ of a sure and right output is small.
    """
    for q in range(0, count, lanes(x)):
        p = at + q
        largest = largest_row(x, p, rows, width)
        total, lost = broadcast(-1.0, x), broadcast(0.0, x)
        for r in range(rows):
            total, lost = add(total, lost, exp(load(x, p + r * width) - largest))
        log_total = log1p(total + lost)
        high, low = broadcast(0.0, x), broadcast(0.0, x)
        for r in range(rows):
            t_r = load(t, p + r * width)
            term = t_r * ((largest - load(x, p + r * width)) + log_total)
            high, low = add(high, low, select(t_r == 0.0, 0.0, term))
        put(high, low, L, first + q, count - q)


@function
def residual_loss(loss: int, parameter: float, d: Value) -> Value:
    """F3: L of one output for the losses of d = ŷ - t alone."""
    if loss == SQUARED:
        return d * d
    elif loss == HALF_SQUARED:
        return 0.5 * d * d
    elif loss == ABSOLUTE:
        return absolute(d)
    elif loss == HUBER:
        size = absolute(d)
        return select(size <= parameter, 0.5 * d * d, parameter * (size - 0.5 * parameter))
    elif loss == QUANTILE:
        return select(d >= 0.0, (1.0 - parameter) * d, -parameter * d)
    return log_cosh(d)  # LOG_COSH


@function
def loss_panel(
    loss: int, output: int, parameter: float, address: int, x: Array, y: Array, t: Array, at: int, rows: int,
    width: int, L: Array, first: int, count: int,
) -> None:  # fmt: skip
    """F3: L[first + q] = Σ_i L(t_i, ŷ_i) of the panel's data points q = 0 .. count - 1; `address` is a user's own L.

    A term has the network's dtype, their sum float64's accuracy: plain's terms are rounded to the dtype too.
    """
    w = lanes(x)
    if loss == CROSS_ENTROPY:
        cross_entropy_panel(x, t, at, rows, width, L, first, count)
    elif loss == CUSTOM_LOSS:
        for q in range(count):
            total = 0.0
            for p in range(at + q, at + q + rows * width, width):
                total += call2(address, item(y, p), item(t, p))
            set_item(L, first + q, total)
    elif loss == BINARY_CROSS_ENTROPY and output == SIGMOID:
        for q in range(0, count, w):
            high, low = broadcast(0.0, x), broadcast(0.0, x)
            for p in range(at + q, at + q + rows * width, width):
                x_p, t_p = load(x, p), load(t, p)
                small = log1p(exp(-absolute(x_p)))  # softplus(x) = max(x, 0) + log(1 + e^-|x|)
                hit = select(t_p == 0.0, 0.0, t_p * (maximum(-x_p, 0.0) + small))  # -log ŷ = softplus(-x)
                miss = select(t_p == 1.0, 0.0, (1.0 - t_p) * (maximum(x_p, 0.0) + small))
                high, low = add(high, low, hit + miss)
            put(high, low, L, first + q, count - q)
    elif loss in (BINARY_CROSS_ENTROPY, POISSON):
        for q in range(0, count, w):
            high, low = broadcast(0.0, x), broadcast(0.0, x)
            for p in range(at + q, at + q + rows * width, width):
                x_p, y_p, t_p = load(x, p), load(y, p), load(t, p)
                log_y = log(y_p)
                if output == SOFTPLUS:
                    log_y = select(x_p < -40.0, x_p, log_y)  # there softplus(x) = exp(x) to rounding
                elif output == EXPONENTIAL:
                    log_y = x_p
                hit = select(t_p == 0.0, 0.0, t_p * log_y)
                if loss == POISSON:
                    high, low = add(high, low, y_p - hit)
                else:
                    high, low = add(high, low, -(hit + select(t_p == 1.0, 0.0, (1.0 - t_p) * log1p(-y_p))))
            put(high, low, L, first + q, count - q)
    else:
        for q in range(0, count, w):
            high, low = broadcast(0.0, x), broadcast(0.0, x)
            for p in range(at + q, at + q + rows * width, width):
                high, low = add(high, low, residual_loss(loss, parameter, load(y, p) - load(t, p)))
            put(high, low, L, first + q, count - q)


@function
def clear_points(c: Array, c_at: int, delta: Array, at: int, rows: int, width: int) -> None:
    """delta = 0 for the data points whose factor is 0, whatever their loss and their slope were: 0 inf is no 0."""
    for q in range(0, width, lanes(c)):
        nothing = load(c, c_at + q) == 0.0
        if any_lane(nothing):
            for p in range(at + q, at + q + rows * width, width):
                store(select(nothing, 0.0, load(delta, p)), delta, p)


@function
def sign(d: Value) -> Value:
    """-1, 0 or 1; NaN goes through."""
    return select(d > 0.0, 1.0, select(d < 0.0, -1.0, d))


@function
def loss_slope(loss: int, parameter: float, y: Value, t: Value) -> Value:
    """F4: ∂L/∂ŷ of one output, but for POISSON with a softplus, which needs x."""
    d = y - t
    if loss == SQUARED:
        return 2.0 * d
    elif loss == HALF_SQUARED:
        return d
    elif loss == ABSOLUTE:
        return sign(d)
    elif loss == BINARY_CROSS_ENTROPY:
        return select(t == 1.0, 0.0, (1.0 - t) / (1.0 - y)) - select(t == 0.0, 0.0, t / y)
    elif loss == HUBER:
        return select(absolute(d) <= parameter, d, parameter * sign(d))
    elif loss == QUANTILE:
        return select(d > 0.0, 1.0 - parameter, select(d < 0.0, -parameter, d))
    elif loss == POISSON:
        return select(t == 0.0, 1.0, 1.0 - t / y)
    return tanh(d)  # LOG_COSH


@function
def output_delta_panel(
    loss: int, output: int, parameter: float, a: float, address_dloss: int, address_dg: int, matched: bool, x: Array,
    y: Array, t: Array, c: Array, c_at: int, delta: Array, at: int, rows: int, width: int,
) -> None:  # fmt: skip
    """delta of the output layer: F6 where loss and output match, else F4 and F5 (F5'), times c[c_at + q] of point q.

    Data points whose c is 0 get 0. The addresses are a user's own ∂L/∂ŷ and σ'.
    """
    w, size = lanes(x), rows * width
    if matched:
        for q in range(0, width, w):
            c_q = load(c, c_at + q)
            for p in range(at + q, at + q + size, width):
                store(c_q * (load(y, p) - load(t, p)), delta, p)  # F6  δ_i = ŷ_i - t_i
    elif loss == POISSON and output == SOFTPLUS:
        for q in range(0, width, w):
            c_q = load(c, c_at + q)
            for p in range(at + q, at + q + size, width):  # σ'(x) (1 - t/ŷ), with σ'/ŷ = 1 where ŷ may round to 0
                x_p = load(x, p)
                s = sigmoid(x_p)
                store(c_q * (s - load(t, p) * select(x_p < -40.0, 1.0, s / load(y, p))), delta, p)
    else:
        if loss == CUSTOM_LOSS:
            for q in range(width):
                for p in range(at + q, at + q + size, width):
                    set_item(delta, p, item(c, c_at + q) * call2(address_dloss, item(y, p), item(t, p)))
        else:
            for q in range(0, width, w):
                c_q = load(c, c_at + q)
                for p in range(at + q, at + q + size, width):
                    store(c_q * loss_slope(loss, parameter, load(y, p), load(t, p)), delta, p)  # F4  ∂L/∂ŷ_i
        if output == SOFTMAX:
            softmax_back_panel(y, delta, at, rows, width)  # F5'
        else:
            slope_range(output, a, address_dg, x, y, delta, at, at + size)  # F5
    clear_points(c, c_at, delta, at, rows, width)
