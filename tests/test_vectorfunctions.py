"""The vector functions against the scalar ones, which are the plain form's: every activation and loss, both dtypes.

The scalar functions run in float64 on the same numbers, so that what is measured in float32 is one side's error.
"""

from __future__ import annotations

from typing import Any

import hosts
import numba
import numpy as np
import pytest
from cases import HIDDEN, LOSSES, OUTPUTS, PAIRS, Array, relative, targets

import jitnet as jn
from jitnet import activations, vectorfunctions
from jitnet._jit import FLAGS
from jitnet.activations import CUSTOM, SOFTMAX
from jitnet.forms import get_form

EPS = {dtype: float(np.finfo(dtype).eps) for dtype in ("float32", "float64")}
dtypes = pytest.mark.parametrize("dtype", EPS)
INF, NAN = float("inf"), float("nan")
WIDTH = 32  # of panels: a multiple of the lanes on every host
compiled = numba.njit(fastmath=FLAGS, error_model="numpy")  # as the kernels are
plain = get_form("plain")


@compiled
def activate(code, a, address, x, y, at, stop):
    vectorfunctions.activate_range(code, a, address, x, y, at, stop)


@compiled
def slope(code, a, address, x, y, delta, at, stop):
    vectorfunctions.slope_range(code, a, address, x, y, delta, at, stop)


@compiled
def softmax(x, y, at, rows, width):
    vectorfunctions.softmax_panel(x, y, at, rows, width)


@compiled
def softmax_back(y, delta, at, rows, width):
    vectorfunctions.softmax_back_panel(y, delta, at, rows, width)


@compiled
def losses(net, x, y, t, at, rows, width, L, first, count):
    output = net.activation[-1]
    vectorfunctions.loss_panel(
        net.loss, output, net.loss_parameter, net.loss_address, x, y, t, at, rows, width, L, first, count
    )


@compiled
def output_delta(net, x, y, t, c, c_at, delta, at, rows, width):
    vectorfunctions.output_delta_panel(
        net.loss, net.activation[-1], net.loss_parameter, net.activation_parameter[-1], net.dloss_address,
        net.dg_address[-1], net.matched, x, y, t, c, c_at, delta, at, rows, width,
    )  # fmt: skip


@compiled
def scalar(code, a, x, y, values, slopes):
    for p in range(len(x)):
        values[p] = activations.activate(code, x[p], a)
        slopes[p] = activations.slope(code, x[p], y[p], a)


# --- activations ----------------------------------------------------------------------------------------------------


def grid(dtype: str) -> Array:
    """Numbers of every size on both sides, dense about 0 and 1, the kinks with their neighbours, and special values."""
    rng, about = np.random.default_rng(0), np.finfo(dtype)
    top = np.log(float(about.max))
    x = np.concatenate(
        [rng.normal(0, s, 400) for s in (0.01, 1, 5)]
        + [rng.uniform(-top - 20, top + 20, 400), rng.choice([-1, 1], 200) * np.exp(rng.uniform(-top, top, 200))]
    )
    edges = np.array([0, 1, -1, 10, -10, 20, 21, -20, 40, -40, top, -top, 5.5, 15, 39, about.tiny, about.eps], dtype)
    near = [edges, np.nextafter(edges, dtype_of(dtype)(INF)), np.nextafter(edges, dtype_of(dtype)(-INF))]
    special = [0.0, -0.0, INF, -INF, NAN, about.max, about.min, about.smallest_subnormal, -about.smallest_subnormal]
    x = np.concatenate([x.astype(dtype), *near, np.array(special, dtype)])
    return np.concatenate([x, np.zeros(-len(x) % WIDTH, dtype)])


def dtype_of(name: str) -> Any:
    return np.dtype(name).type


def own(activation: jn.Activation, dtype: str) -> jn.network.Network:
    return jn.Network([1, 1], output=activation, dtype=dtype)


def vectors(activation: jn.Activation, x: Array, y: Array | None = None) -> tuple[Array, Array]:
    """σ(x), and σ'(x) from x and y (by default that σ(x))."""
    net = own(activation, x.dtype.name).layout
    code, a = int(net.activation[0]), float(net.activation_parameter[0])
    values, slopes = np.full_like(x, 7), np.ones_like(x)
    activate(code, a, int(net.g_address[0]), x, values, 0, len(x))
    slope(code, a, int(net.dg_address[0]), x, values if y is None else y, slopes, 0, len(x))
    return values, slopes


def scalars(activation: jn.Activation, x: Array, y: Array) -> tuple[Array, Array]:
    """The same by the scalar functions in float64."""
    values, slopes = np.empty(len(x)), np.empty(len(x))
    if activation.code == CUSTOM:
        with np.errstate(all="ignore"):
            values[:] = [activation.g(x_p) for x_p in x.tolist()]
            slopes[:] = [activation.dg(x_p) for x_p in x.astype(float)]
    else:
        scalar(activation.code, activation.parameter, x.astype(float), y.astype(float), values, slopes)
    return values, slopes


def ulps(ours: Array, right: Array) -> Array:
    """The error in units of the last place of what is right; those of 1e-300 (float32: 1e-35) for smaller numbers."""
    dtype, small = ours.dtype, 1e-300 if ours.dtype == np.float64 else 1e-35
    with np.errstate(over="ignore", invalid="ignore"):
        rounded = right.astype(dtype)
        unit = np.spacing(np.clip(abs(rounded), dtype.type(small), np.finfo(dtype).max)).astype(float)
        same = (ours == rounded) | (np.isnan(ours) & np.isnan(right))
        return np.where(same, 0, np.nan_to_num(abs(ours.astype(float) - right) / unit, nan=INF))


ELEMENTWISE = [name for name in HIDDEN if name != "softmax"]
DIFFERENCES = ("gelu", "silu", "mish")  # whose σ' has terms of both signs


@dtypes
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_values_and_slopes(name: str, dtype: str) -> None:
    """σ to 4 ulp; σ' too, or to 2 ε max(1, |x|) where it has terms of both signs. NaN and inf where the scalars have.

    Where the scalar formula says inf · 0, a limit is as good as NaN. gelu's scalar Φ(x) has an error of x² ulp.
    """
    activation, x = HIDDEN[name], grid(dtype)
    if name == "own":
        x = x.clip(-1e15, 1e15)  # whose own 1 + x² overflows in float32
    y, dy = vectors(activation, x)
    values, slopes = scalars(activation, x, y)
    at_infinity = np.isinf(x) & (np.isnan(values) | np.isnan(slopes))
    doubt = 1 if dtype == "float64" else 0  # the scalar functions' own error
    allowed = 4 + doubt * (2 + (2 * np.where(abs(x) < 40, x, 0) ** 2 if name == "gelu" else 0))
    bad = (ulps(y, values) > allowed) & ~at_infinity
    assert not bad.any(), (x[bad], y[bad], values[bad])
    with np.errstate(invalid="ignore", over="ignore"):
        off = abs(dy - slopes)
        loose = 2 * EPS[dtype] * np.maximum(1, abs(x)) * (name in DIFFERENCES) + 1e-300
        bad = (ulps(dy, slopes) > allowed) & ~(off <= loose) & ~at_infinity
    assert not bad.any(), (x[bad], dy[bad], slopes[bad])


@dtypes
def test_kinks_and_limits(dtype: str) -> None:
    """ReLU'(0) = 0 and step(0) = sgn(0) = 1, as in the notes; the limits at ±inf; NaN goes through."""
    x = np.zeros(WIDTH, dtype)
    x[:5] = 0.0, -0.0, -INF, INF, NAN
    wanted = {
        "relu": ([0, 0, 0, INF], [0, 0, 0, 1]),
        "leaky_relu": ([0, 0, -INF, INF], [0.01, 0.01, 0.01, 1]),
        "step": ([1, 1, 0, 1], [0, 0, 0, 0]),
        "sgn": ([1, 1, -1, 1], [0, 0, 0, 0]),
        "hard_tanh": ([0, 0, -1, 1], [1, 1, 0, 0]),
        "identity": ([0, 0, -INF, INF], [1, 1, 1, 1]),
        "sigmoid": ([0.5, 0.5, 0, 1], [0.25, 0.25, 0, 0]),
        "tanh": ([0, 0, -1, 1], [1, 1, 0, 0]),
        "elu": ([0, 0, -1, INF], [1, 1, 0, 1]),
        "softplus": ([np.log(2), np.log(2), 0, INF], [0.5, 0.5, 0, 1]),
        "exponential": ([1, 1, 0, INF], [1, 1, 0, INF]),
    }
    for name, (values, slopes) in wanted.items():
        y, dy = vectors(OUTPUTS[name], x)
        np.testing.assert_array_equal(y[:4], np.array(values, dtype), name)
        np.testing.assert_array_equal(dy[:4], np.array(slopes, dtype), name)
        assert np.isnan(y[4]), name
    for name in ("gelu", "silu", "mish", "selu", "softsign", "own"):
        assert np.isnan(vectors(OUTPUTS[name], x)[0][4]), name


@dtypes
def test_gelu_far_to_the_left(dtype: str) -> None:
    """To 4 ulp down to where it underflows; the scalar 0.5 erfc(-x / √2) has an error of x² ulp there."""
    mpmath = pytest.importorskip("mpmath")
    x = np.linspace(-40 if dtype == "float64" else -15, 0, 64 * WIDTH).astype(dtype)
    y, _ = vectors(OUTPUTS["gelu"], x)
    with mpmath.workdps(40):
        for x_p, y_p in zip(x.tolist(), y, strict=True):
            right = x_p * mpmath.erfc(-x_p / mpmath.sqrt(2)) / 2
            unit = float(np.spacing(max(abs(dtype_of(dtype)(float(right))), np.finfo(dtype).tiny)))
            # where x Φ(x) is a normal number and Φ(x) is not, the latter's last place counts x-fold
            below = abs(x_p) if abs(right) < 1e3 * np.finfo(dtype).tiny else 1.0
            assert abs(float(y_p - right)) <= 4 * unit * max(1.0, below), x_p


@dtypes
def test_ranges(dtype: str) -> None:
    """Only the elements at .. stop - 1 are touched, of an array of any shape; y may be x, and delta is multiplied."""
    x = np.random.default_rng(1).normal(size=(5, WIDTH)).astype(dtype)
    for name in ELEMENTWISE:
        net = own(HIDDEN[name], dtype).layout
        code, a = int(net.activation[0]), float(net.activation_parameter[0])
        want, slopes = (each.reshape(x.shape) for each in vectors(HIDDEN[name], x.ravel()))
        y, delta = x.copy(), x.copy()
        activate(code, a, int(net.g_address[0]), y, y, WIDTH, 4 * WIDTH)
        np.testing.assert_array_equal(y[1:4], want[1:4])
        np.testing.assert_array_equal(y[[0, 4]], x[[0, 4]])
        slope(code, a, int(net.dg_address[0]), x, want, delta, WIDTH, 4 * WIDTH)
        assert relative(delta[1:4], x[1:4] * slopes[1:4]) <= EPS[dtype]
        np.testing.assert_array_equal(delta[[0, 4]], x[[0, 4]])


# --- softmax --------------------------------------------------------------------------------------------------------


def panel(rng: np.random.Generator, rows: int, dtype: str, size: float = 2.0) -> Array:
    """x (rows + 2, WIDTH), of which the first and the last row are not the panel's."""
    return rng.normal(0, size, (rows + 2, WIDTH)).astype(dtype)


@dtypes
@pytest.mark.parametrize("rows", [1, 2, 10, 300])
def test_softmax(rows: int, dtype: str) -> None:
    """y to 4 ulp, and as many as the rounding of x - x_max; then F5' to rounding of its terms, nothing else touched."""
    rng = np.random.default_rng(2)
    x, delta, y = (panel(rng, rows, dtype) for _ in range(3))
    x[1, :4], before = 1e3, y.copy()
    softmax(x, y, WIDTH, rows, WIDTH)
    shifted = x[1:-1].astype(float) - x[1:-1].max(0).astype(float)
    want = np.exp(shifted) / np.exp(shifted).sum(0)
    normal = want > 1e3 * np.finfo(dtype).tiny
    assert (abs(y[1:-1] - want)[normal] <= ((5 + abs(shifted)) * EPS[dtype] * want)[normal]).all()
    np.testing.assert_array_equal(y[[0, -1]], before[[0, -1]])
    above = delta.copy()
    softmax_back(y, delta, WIDTH, rows, WIDTH)
    y_, d = y[1:-1].astype(float), above[1:-1].astype(float)
    want = y_ * (d - (d * y_).sum(0))
    assert (abs(delta[1:-1] - want) <= 8 * EPS[dtype] * y_ * (abs(d) + abs(d * y_).sum(0)) + np.finfo(dtype).tiny).all()
    np.testing.assert_array_equal(delta[[0, -1]], above[[0, -1]])


@dtypes
def test_softmax_of_nan_and_infinity(dtype: str) -> None:
    """A NaN makes its own data point NaN, wherever it stands, and no other; -inf is probability 0."""
    points = [[NAN, 0, 0], [0, NAN, 0], [0, 0, NAN], [INF, NAN, 0], [-INF, 0, 0], [0, 0, -INF], [INF, 0, 0], [0, 0, 0]]
    x, y = np.zeros((3, WIDTH), dtype), np.zeros((3, WIDTH), dtype)
    x[:, : len(points)] = np.array(points).T
    softmax(x, y, 0, 3, WIDTH)
    assert np.isnan(y[:, :4]).all()
    np.testing.assert_array_equal(y[:, 4], [0, 0.5, 0.5])
    np.testing.assert_array_equal(y[:, 5], [0.5, 0.5, 0])
    np.testing.assert_array_equal(np.isnan(y[:, 6]), np.isnan(plain_softmax([INF, 0, 0])))
    np.testing.assert_allclose(y[:, 7:], 1 / 3, rtol=2 * EPS[dtype])


def plain_softmax(b: list[float]) -> Array:
    net = jn.Network([1, 3], output="softmax", init="zeros", dtype="float64")
    return plain.forward(net.layout, np.array([0.0, 0.0, 0.0, *b]), np.ones((1, 1)))[1][0]


# --- losses ---------------------------------------------------------------------------------------------------------


def problem(loss: str, output: str, rows: int, dtype: str, size: float) -> tuple[jn.Network, Array, Array, Array]:
    """A network with this output layer, and x, y, t (rows, WIDTH) of it."""
    rng = np.random.default_rng(3)
    net = jn.Network([rows, rows], output=OUTPUTS[output], loss=LOSSES[loss], dtype=dtype)
    x = rng.normal(0, size, (rows, WIDTH)).astype(dtype)
    y = np.zeros_like(x)
    if OUTPUTS[output].code == SOFTMAX:
        softmax(x, y, 0, rows, WIDTH)
    else:
        y = vectors(OUTPUTS[output], x.ravel())[0].reshape(x.shape)
    t = targets(rng, LOSSES[loss].targets, WIDTH, rows).T
    if LOSSES[loss].targets == "any":
        t[:, ::5] = y[:, ::5]  # d = 0
    return net, x, y, np.ascontiguousarray(t, dtype)


def right_answers(net: jn.Network, x: Array, y: Array, t: Array, c: Array) -> tuple[Array, Array]:
    """L (WIDTH,) and delta (rows, WIDTH) of the plain form in float64."""
    double = jn.Network(net.widths, output=net.activations[-1], loss=net.loss_function, dtype="float64")
    x, y, t = (np.ascontiguousarray(each.T, np.float64) for each in (x, y, t))
    L = plain.losses(double.layout, x, y, t)
    return L, plain.backward(double.layout, double.theta, x, y, t, c.astype(float)).T


@dtypes
@pytest.mark.parametrize("size", [1.0, 30.0])
@pytest.mark.parametrize("rows", [1, 7])
@pytest.mark.parametrize(("loss", "output"), PAIRS)
def test_losses_and_deltas(loss: str, output: str, rows: int, size: float, dtype: str) -> None:
    """L to 2e-5 (float32) or 1e-12 of itself as the plain form's, and 32 ε of its terms where they have both signs.

    delta to 16 ε of the largest of its column, and of the terms that it is a difference of. Data points of factor 0
    have delta 0 whatever x, y and t are there.
    """
    if output == "exponential" and size > 1:
        size = 5.0
    net, x, y, t = problem(loss, output, rows, dtype, size)
    c = np.random.default_rng(4).uniform(0.5, 2, WIDTH + 3).astype(dtype)
    L_right, right = right_answers(net, x, y, t, c[3:])
    for count in (WIDTH, WIDTH - 1, 5):
        L = np.full(WIDTH + 2, 7.0)
        losses(net.layout, x, y, t, 0, rows, WIDTH, L, 1, count)
        terms = abs(y) + abs(t * np.log(np.maximum(y, 1e-300))) if loss == "poisson" else 0 * y
        allowed = (2e-5 if dtype == "float32" else 1e-12) * abs(L_right) + 32 * EPS[dtype] * terms.sum(0)
        if loss == "cross_entropy":  # as log Σ exp(x) itself is rounded in plain
            allowed += 4 * EPS["float64"] * abs(x).max(0)
        assert (abs(L[1 : count + 1] - L_right[:count]) <= allowed[:count]).all()
        assert (L[count + 1 :] == 7).all()
        assert L[0] == 7
    delta = np.full_like(x, NAN)
    output_delta(net.layout, x, y, t, c, 3, delta, 0, rows, WIDTH)
    with np.errstate(divide="ignore", invalid="ignore"):  # what right is a sum of
        terms = (
            1 + t * np.where(x < -40, 1, 1 / np.maximum(1, y))
            if loss == "poisson"
            else abs(y - t) ** (1 + (loss == "own"))
        )
    if output in DIFFERENCES:
        terms = terms * np.maximum(1, abs(x))
    assert (abs(delta - right) <= 16 * EPS[dtype] * np.maximum(abs(right), c[3:] * terms).max(0) + 1e-37).all()
    nothing = [0, 3, 7, WIDTH - 1]
    c[3:][nothing] = 0
    x[:, 0], y[:, 0], t[:, 3], y[:, 3], x[:, 7], y[:, 7] = NAN, NAN, 2.0, 0.0, INF, INF
    again = np.full_like(x, NAN)
    output_delta(net.layout, x, y, t, c, 3, again, 0, rows, WIDTH)
    assert (again[:, nothing] == 0).all()
    others = np.setdiff1d(np.arange(WIDTH), nothing)
    np.testing.assert_array_equal(again[:, others], delta[:, others])


@dtypes
@pytest.mark.parametrize(("loss", "output"), PAIRS)
def test_nan_stays_nan(loss: str, output: str, dtype: str) -> None:
    """A NaN in x and y makes L and, but for flat activations, delta NaN; the other data points do not notice."""
    net, x, y, t = problem(loss, output, 3, dtype, 1.0)
    c, clean, delta, L, L_clean = np.ones(WIDTH, dtype), np.zeros_like(x), np.zeros_like(x), *np.zeros((2, WIDTH))
    output_delta(net.layout, x, y, t, c, 0, clean, 0, 3, WIDTH)
    losses(net.layout, x, y, t, 0, 3, WIDTH, L_clean, 0, WIDTH)
    x[1, 6], t[1, 6] = NAN, 1.0
    y[slice(None) if output == "softmax" else 1, 6] = NAN
    output_delta(net.layout, x, y, t, c, 0, delta, 0, 3, WIDTH)
    losses(net.layout, x, y, t, 0, 3, WIDTH, L, 0, WIDTH)
    assert np.isnan(L[6])
    assert np.isnan(delta[1, 6])
    rest = np.arange(WIDTH) != 6
    np.testing.assert_array_equal(delta[:, rest], clean[:, rest])
    np.testing.assert_array_equal(L[rest], L_clean[rest])


@dtypes
@pytest.mark.parametrize("loss", [name for name in LOSSES if LOSSES[name].targets == "any"])
def test_infinite_outputs(loss: str, dtype: str) -> None:
    """An infinite output has an infinite loss, not NaN, and so has one whose loss overflows."""
    net = jn.Network([1, 1], loss=LOSSES[loss], dtype=dtype)
    x, L = np.ones((1, WIDTH), dtype), np.zeros(WIDTH)
    x[0, 4:7] = INF, -INF, np.finfo(dtype).max
    losses(net.layout, x, x, np.zeros_like(x), 0, 1, WIDTH, L, 0, WIDTH)
    assert L[4] == L[5] == INF
    assert L[6] > 1e37
    assert np.isfinite(L[7:]).all()


@dtypes
def test_sure_and_right_outputs_have_a_small_loss(dtype: str) -> None:
    """Cross-entropy keeps its relative accuracy where ŷ rounds to 1, and log cosh near 0."""
    x, t, L = np.zeros((2, WIDTH), dtype), np.zeros((2, WIDTH), dtype), np.zeros(WIDTH)
    x[0], t[0] = 5 + np.arange(WIDTH), 1
    net = jn.Network([2, 2], output="softmax", loss="cross_entropy", dtype=dtype)
    losses(net.layout, x, x, t, 0, 2, WIDTH, L, 0, WIDTH)
    np.testing.assert_allclose(L, np.log1p(np.exp(-x[0].astype(float))), rtol=4 * EPS[dtype])
    net = jn.Network([2, 2], loss="log_cosh", dtype=dtype)
    x[:] = np.geomspace(1e-6, 0.1, WIDTH)
    losses(net.layout, x, x, 0 * t, 0, 2, WIDTH, L, 0, WIDTH)
    d = x[0].astype(float)
    np.testing.assert_allclose(L, 2 * (d**2 / 2 - d**4 / 12 + d**6 / 45 - 17 * d**8 / 2520), rtol=1e-9 + 8 * EPS[dtype])


# --- the same on other hosts ----------------------------------------------------------------------------------------


def test_registers_are_what_the_host_has() -> None:
    hosts.assert_registers_are_as_told()


@hosts.has_other_hosts
@pytest.mark.parametrize("host", ["avx2", "generic"])
def test_other_hosts(host: str) -> None:
    hosts.run_on(host, __file__)
