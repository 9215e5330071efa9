"""Activations: every value and derivative against 60 digits of mpmath, at kinks, far out, at ±inf and NaN; settings."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from cases import HIDDEN, KINKS, OUTPUTS, OWN, Array

import jitnet as jn
from jitnet import activations
from jitnet.forms import FORMS, get_form

mpmath = pytest.importorskip("mpmath")
from mpmath import mp, mpf  # noqa: E402


@pytest.fixture(autouse=True)
def sixty_digits() -> Any:
    with mp.workdps(60):
        yield


EPS = {dtype: float(np.finfo(dtype).eps) for dtype in ("float64", "float32")}


# --- what is right --------------------------------------------------------------------------------------------------


def logistic(x: mpf) -> mpf:
    return 1 / (1 + mp.exp(-x))


def softplus(x: mpf) -> mpf:
    return mp.log1p(mp.exp(x)) if x < 0 else x + mp.log1p(mp.exp(-x))


def normal_cdf(x: mpf) -> mpf:
    return mp.erfc(-x / mp.sqrt(2)) / 2


def normal_pdf(x: mpf) -> mpf:
    return mp.exp(-x * x / 2) / mp.sqrt(2 * mp.pi)


ALPHA, SCALE = mpf("1.6732632423543772"), mpf("1.0507009873554805")

EXACT: dict[str, tuple[Callable[[mpf, float], mpf], Callable[[mpf, float], mpf]]] = {
    "identity": (lambda x, a: x, lambda x, a: mpf(1)),
    "step": (lambda x, a: mpf(x >= 0), lambda x, a: mpf(0)),
    "sgn": (lambda x, a: mpf(1 if x >= 0 else -1), lambda x, a: mpf(0)),
    "relu": (lambda x, a: max(x, mpf(0)), lambda x, a: mpf(x > 0)),
    "leaky_relu": (lambda x, a: x if x > 0 else a * x, lambda x, a: mpf(1 if x > 0 else a)),
    "sigmoid": (lambda x, a: logistic(x), lambda x, a: logistic(x) * logistic(-x)),
    "tanh": (lambda x, a: mp.tanh(x), lambda x, a: mp.sech(x) ** 2),
    "elu": (lambda x, a: x if x > 0 else a * mp.expm1(x), lambda x, a: mpf(1) if x > 0 else a * mp.exp(x)),
    "selu": (
        lambda x, a: SCALE * (x if x > 0 else ALPHA * mp.expm1(x)),
        lambda x, a: SCALE * (1 if x > 0 else ALPHA * mp.exp(x)),
    ),
    "gelu": (lambda x, a: x * normal_cdf(x), lambda x, a: normal_cdf(x) + x * normal_pdf(x)),
    "silu": (lambda x, a: x * logistic(x), lambda x, a: logistic(x) * (1 + x * logistic(-x))),
    "softplus": (lambda x, a: softplus(x), lambda x, a: logistic(x)),
    "softsign": (lambda x, a: x / (1 + abs(x)), lambda x, a: 1 / (1 + abs(x)) ** 2),
    "hard_tanh": (lambda x, a: min(max(x, mpf(-1)), mpf(1)), lambda x, a: mpf(-1 < x < 1)),
    "mish": (
        lambda x, a: x * mp.tanh(softplus(x)),
        lambda x, a: mp.tanh(softplus(x)) + x * mp.sech(softplus(x)) ** 2 * logistic(x),
    ),
    "exponential": (lambda x, a: mp.exp(x), lambda x, a: mp.exp(x)),
}
"""σ and σ' of every element-wise activation."""

LIMITS = {
    "identity": ((-math.inf, math.inf), (1, 1)),
    "step": ((0, 1), (0, 0)),
    "sgn": ((-1, 1), (0, 0)),
    "relu": ((0, math.inf), (0, 1)),
    "leaky_relu": ((-math.inf, math.inf), (0.01, 1)),
    "sigmoid": ((0, 1), (0, 0)),
    "tanh": ((-1, 1), (0, 0)),
    "elu": ((-1, math.inf), (0, 1)),
    "selu": ((-float(SCALE * ALPHA), math.inf), (0, float(SCALE))),
    "gelu": ((0, math.inf), (0, 1)),
    "silu": ((0, math.inf), (0, 1)),
    "softplus": ((0, math.inf), (0, 1)),
    "softsign": ((-1, 1), (0, 0)),
    "hard_tanh": ((-1, 1), (0, 0)),
    "mish": ((0, math.inf), (0, 1)),
    "exponential": ((0, math.inf), (0, math.inf)),
}
"""σ and σ' at -inf and at inf."""


def test_every_activation_is_here() -> None:
    assert set(EXACT) == set(LIMITS) == set(activations.TABLE) - {"softmax"}


# --- what we get ----------------------------------------------------------------------------------------------------


def through(form: str, activation: str | jn.Activation, x: Array) -> tuple[Array, Array]:
    """σ and σ' at these numbers as a form computes them: of a 1-1 network with weight 1, forward and reverse."""
    net = jn.Network([1, 1], output=activation, bias=False, init=([[[1.0]]], None), dtype=x.dtype)
    f = get_form(form)
    X, Y = f.forward(net.layout, net.theta, x[:, None])
    assert np.array_equal(X[:, 0], x, equal_nan=True)
    slope = f.vjp(net.layout, net.theta, X, Y, np.ones_like(Y))[:, 0]
    tangent = f.jvp(net.layout, net.theta, X, Y, np.ones_like(Y))[:, 0]
    assert np.array_equal(slope, tangent, equal_nan=True)
    return Y[:, 0], slope


def ulps(computed: Array, exact: list[mpf]) -> Array:
    """The error in units of the last place; those of 1e-300 (float32: 1e-35) for smaller numbers."""
    dtype = computed.dtype.type
    out = []
    for ours, right in zip(computed, exact, strict=True):
        nearest = dtype(float(right)) if abs(right) < np.finfo(dtype).max else dtype(math.inf * mp.sign(right))
        if np.isinf(nearest) or np.isnan(ours):
            out.append(0.0 if ours == nearest else math.inf)
        else:
            unit = np.spacing(max(abs(nearest), dtype(1e-300 if dtype is np.float64 else 1e-35)))
            out.append(float(abs(mpf(float(ours)) - right) / mpf(float(unit))))
    return np.array(out)


def grid(dtype: str) -> Array:
    """Numbers from 1e-12 to 1e5 on both sides, dense around 0, with the kinks and their neighbours."""
    rng = np.random.default_rng(0)
    sizes = np.concatenate([np.geomspace(1e-12, 745.0, 60), [1e3, 1e5], rng.uniform(0, 6, 60), rng.uniform(0, 40, 40)])
    kinks = np.array([-1.0, 0.0, 1.0], dtype)
    around = [np.nextafter(kinks, side).astype(dtype) for side in (kinks - 1, kinks + 1)]
    return np.concatenate([np.concatenate([sizes, -sizes]).astype(dtype), kinks, *around])


def allowed_ulps(name: str, x: Array) -> Array:
    """4, and for gelu what the rounding of x / √2 makes of Φ, whose relative change is x² times that of x."""
    return 4 + (2 * x.astype(float) ** 2 if name == "gelu" else 0 * x)


LOOSE_SLOPES = ("sigmoid", "tanh", "gelu", "silu", "mish")
"""Their σ' is a difference, of y and 1 or of two terms, and small numbers of it have the rounding of large ones."""

CASES = [name for name in HIDDEN if name not in ("softmax", "own")]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", CASES)
def test_values_and_slopes(name: str, dtype: str) -> None:
    """σ is right to 4 ulp, and plain's σ' too, or to ε max(1, |x|) where it is a difference; matrix's σ' to 2 ε."""
    activation, x = HIDDEN[name], grid(dtype)
    sigma, slope = EXACT[activation.name]
    values, slopes = ([f(mpf(float(x_)), activation.parameter) for x_ in x] for f in (sigma, slope))
    allowed, eps = allowed_ulps(name, x), EPS[dtype]
    for form in FORMS:
        y, dy = through(form, activation, x)
        assert (ulps(y, values) <= allowed).all(), (form, x[np.argmax(ulps(y, values) - allowed)])
        off = np.array(
            [abs(float(ours - right)) if right < 1e30 else 0.0 for ours, right in zip(dy, slopes, strict=True)]
        )
        loose = 2.0 if form == "matrix" else np.maximum(1, abs(x)) if name in LOOSE_SLOPES else 0.0
        good = (ulps(dy, slopes) <= 4) | (off <= eps * loose)
        assert good.all(), (form, x[~good])


@pytest.mark.parametrize("name", CASES)
def test_python_is_what_is_compiled(name: str) -> None:
    """The scalar functions as plain Python, the same to rounding: they are what the kernels compile."""
    activation, x = HIDDEN[name], grid("float64")
    x = x[abs(x) < 700]  # Python's exp raises where it overflows
    y, dy = through("plain", activation, x)
    code, a = activation.code, activation.parameter
    ours = np.array([activations.activate(code, float(x_), a) for x_ in x])
    slopes = np.array([activations.slope(code, float(x_), float(y_), a) for x_, y_ in zip(x, ours, strict=True)])
    assert (abs(ours - y) <= allowed_ulps(name, x) * np.spacing(abs(y))).all()
    assert (abs(slopes - dy) <= 4 * np.spacing(np.maximum(abs(dy), 0.25))).all()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", LIMITS)
def test_infinity_and_nan(name: str, form: str, dtype: str) -> None:
    """At ±inf the limit, or NaN where the formula says inf · 0 or inf / inf, never another number; NaN stays NaN."""
    y, dy = through(form, name, np.array([-math.inf, math.inf, math.nan], dtype))
    for computed, limits in zip((y, dy), LIMITS[name], strict=True):
        for ours, limit in zip(computed, limits, strict=False):
            assert math.isnan(ours) or ours == pytest.approx(limit, rel=1e-6 if dtype == "float32" else 1e-15)
    assert math.isnan(y[2])


@pytest.mark.parametrize("form", FORMS)
def test_limits_are_met_where_the_notes_have_them(form: str) -> None:
    """Those of the notes are right at ±inf, not NaN; so a dead or a saturated neuron stays what it is."""
    for name in ("identity", "step", "sgn", "relu", "leaky_relu", "sigmoid", "tanh"):
        y, _ = through(form, name, np.array([-math.inf, math.inf]))
        assert tuple(y) == LIMITS[name][0]


@pytest.mark.parametrize("form", FORMS)
def test_kinks(form: str) -> None:
    """One side's derivative, as in PyTorch and JAX, and step(0) = sgn(0) = 1 as in the notes; -0 is 0."""
    x = np.array([0.0, -0.0])
    wanted = {"relu": (0, 0), "leaky_relu": (0, 0.01), "step": (1, 0), "sgn": (1, 0), "elu": (0, 1), "softsign": (0, 1)}
    for name, (value, slope) in wanted.items():
        y, dy = through(form, name, x)
        assert y.tolist() == [value, value], name
        assert dy.tolist() == [slope, slope], name
    assert through(form, "selu", x)[1] == pytest.approx([float(SCALE * ALPHA)] * 2, rel=1e-15)
    y, dy = through(form, "hard_tanh", np.array([-1.0, 1.0, np.nextafter(1, 0)]))
    assert y.tolist() == [-1, 1, np.nextafter(1, 0)]
    assert dy.tolist() == [0, 0, 1]


def test_kinks_are_known() -> None:
    """Between two close numbers σ changes by σ' times their distance, but across the KINKS: there it does not."""
    x = np.linspace(-3, 3, 601) + 1e-3
    for name, activation in OUTPUTS.items():
        if name == "softmax":
            continue
        (above, _), (below, _), (_, slope) = (through("plain", activation, x + h) for h in (1e-4, -1e-4, 0))
        off = abs((above - below) / 2e-4 - slope) > 1e-3
        near = np.array([any(abs(x_ - kink) < 2e-3 for kink in KINKS.get(name, ())) for x_ in x])
        assert not (off & ~near).any(), name
    y = through("plain", "relu", np.array([-1e-4, 1e-4]))[0]
    assert (y[1] - y[0]) / 2e-4 == 0.5


# --- softmax --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("form", FORMS)
def test_softmax(form: str, dtype: str) -> None:
    """Values to 4 ulp (and as many as the exponent's rounding), the whole Jacobian F5', shifts, and large numbers."""
    rows = np.array(
        [[0.1, 2.0, -3.0], [1e3, 999.0, -1e3], [-1e4, -1e4, -1e4], [80.0, 0.0, -80.0], [1e30, 0.0, 1.0]], dtype
    )
    net = jn.Network([3, 3], output="softmax", bias=False, init=([np.eye(3)], None), dtype=dtype)
    for row, y, J in zip(rows, net.predict(rows, form=form), net.jacobian(rows, form=form), strict=True):
        e = [mp.exp(mpf(float(x)) - mpf(float(row.max()))) for x in row]
        exact = [w / sum(e) for w in e]
        assert (ulps(y, exact) <= 4 + abs(row - row.max()).astype(float).clip(0, 100)).all()
        assert y.sum() == pytest.approx(1, rel=4 * EPS[dtype])
        right = np.array([[float(exact[r] * ((r == i) - exact[i])) for i in range(3)] for r in range(3)])
        assert (abs(J - right) <= 2 * EPS[dtype]).all()
    shifted = net.predict(rows[:1] + np.ones(1, dtype), form=form)
    assert shifted == pytest.approx(net.predict(rows[:1], form=form), rel=1e-5 if dtype == "float32" else 1e-14)


@pytest.mark.parametrize("form", FORMS)
def test_softmax_of_nan_and_infinity(form: str) -> None:
    """A NaN makes all of them NaN, wherever it stands; -inf is probability 0. The biases are the numbers."""
    f, nan, inf = get_form(form), math.nan, math.inf
    net = jn.Network([1, 3], output="softmax", init="zeros", dtype="float64")

    def softmax(*b: float) -> Array:
        return f.forward(net.layout, np.array([0.0, 0.0, 0.0, *b]), np.ones((1, 1)))[1][0]

    for b in ([nan, 0, 0], [0, nan, 0], [0, 0, nan], [nan, nan, nan], [inf, nan, 0], [nan, -inf, inf]):
        assert np.isnan(softmax(*b)).all(), b
    assert softmax(-inf, 0, 0).tolist() == [0, 0.5, 0.5]
    assert softmax(0, 0, -inf).tolist() == [0.5, 0.5, 0]


# --- a user's own ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("form", FORMS)
def test_own_activation(form: str, dtype: str) -> None:
    x = grid(dtype)
    y, dy = through(form, OWN, x)
    assert y == pytest.approx(0.5 + np.arctan(x.astype(float)) / 4, rel=2 * EPS[dtype])
    with np.errstate(over="ignore"):
        assert dy == pytest.approx(0.25 / (1 + x.astype(float) ** 2), rel=4 * EPS[dtype], abs=1e-40)


@pytest.mark.parametrize("form", FORMS)
def test_two_own_activations_in_one_network(form: str) -> None:
    """Each layer has its own, and with loops and branches inside."""

    def cube(x: float) -> float:
        y = 1.0
        for _ in range(3):
            y *= x
        return y

    cubic = jn.Activation("cube", g=cube, dg=lambda x: 3 * x * x)
    slanted = jn.Activation("slanted", g=lambda x: 2 * x if x > 0 else 5 * x, dg=lambda x: 2.0 if x > 0 else 5.0)
    net = jn.Network([1, 1, 1], activation=cubic, output=slanted, init=([[[2.0]], [[-3.0]]], None), dtype="float64")
    assert net.predict([[1.0], [-1.0]], form=form).tolist() == [[5 * -24.0], [2 * 24.0]]
    assert net.jacobian([1.0], form=form).tolist() == [[5 * -3 * 12 * 2.0]]


def test_own_functions_have_a_name_each() -> None:
    """By which files know them; and are given by keyword."""

    def square(x: float) -> float:
        return x * x

    def double(x: float) -> float:
        return 2 * x

    one, same = (jn.Activation("mine", g=square, dg=double) for _ in range(2))
    other = jn.Activation("mine", g=double, dg=square)
    jn.Network([1, 2, 1], activation=one, output=same)

    def stretched(by: Any) -> jn.Activation:
        return jn.Activation("stretched", g=lambda x: by * x, dg=lambda x: by)

    jn.Network([1, 2, 1], activation=stretched(2.0), output=stretched(2.0))
    for by in (3.0, np.ones(2)):  # of arrays nobody knows whether they are equal
        with pytest.raises(jn.InputError, match="two of your own named 'stretched' given"):
            jn.Network([1, 2, 1], activation=stretched(np.ones(2)), output=stretched(by))
    with pytest.raises(
        jn.InputError, match=r"^activation, output: two of your own named 'mine' given, a name for each"
    ):
        jn.Network([1, 2, 1], activation=one, output=other)
    with pytest.raises(
        jn.InputError, match=r"^activation 'mine': functions given by place, g=\.\.\. and dg=\.\.\. are"
    ):
        jn.Activation("mine", square, double)  # type: ignore[arg-type]
    with pytest.raises(
        jn.InputError, match=r"^loss 'mine': functions given by place, value=\.\.\. and derivative=\.\.\."
    ):
        jn.Loss("mine", square, double)  # type: ignore[arg-type]


# --- settings -------------------------------------------------------------------------------------------------------


def test_names() -> None:
    """Case, hyphens and spaces do not matter; other houses' names are known."""
    assert jn.Activation("ReLU").name == "relu"
    assert jn.Activation("Leaky-ReLU") == jn.Activation("leaky relu") == jn.Activation("leaky_relu")
    for alias, name in activations.ALIASES.items():
        assert jn.Activation(alias) == jn.Activation(name)
    assert len({row.code for row in activations.TABLE.values()} | {activations.CUSTOM}) == len(activations.TABLE) + 1


def test_parameters() -> None:
    assert jn.Activation("leaky_relu").parameter == 0.01
    assert jn.Activation("leaky_relu", slope=0.0).parameter == 0.0
    assert jn.Activation("elu").parameter == 1.0
    assert jn.Activation("elu", alpha=2).parameter == 2.0
    assert jn.Activation("tanh").parameter == 0.0
    assert isinstance(jn.Activation("elu", alpha=2).alpha, float)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "rellu"}, r"activation: unknown name 'rellu' \(did you mean 'relu'\?\); known: .*softmax"),
        ({"name": "relu", "slope": 0.1}, "activation 'relu': has no parameter 'slope'"),
        ({"name": "leaky_relu", "alpha": 0.1}, "activation 'leaky_relu': has no parameter 'alpha'"),
        ({"name": "leaky_relu", "slope": math.nan}, "activation 'leaky_relu': slope: nan given, a finite number"),
        ({"name": "elu", "alpha": "1"}, r"activation 'elu': alpha: '1' \(str\) given, a real number is wanted"),
        ({"name": "mine", "g": abs}, "activation 'mine': a pair of functions g and dg is wanted"),
        ({"name": "mine", "g": abs, "dg": 1}, "activation 'mine': a pair of functions g and dg is wanted"),
        ({"name": "mine", "g": abs, "dg": abs, "slope": 1.0}, "activation 'mine': a pair of functions has no slope"),
    ],
)
def test_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(jn.InputError, match=message):
        jn.Activation(**arguments)


def test_refused_by_networks() -> None:
    """What is no activation, too many of them, and functions that cannot be compiled, named."""
    with pytest.raises(jn.InputError, match=r"activation: float given, a name or a jitnet\.Activation is wanted"):
        jn.Network([2, 2, 2], activation=[1.0])  # type: ignore[list-item]
    with pytest.raises(jn.InputError, match="activation: 2 given, 1 are wanted, one a hidden layer"):
        jn.Network([2, 2, 2], activation=["relu", "relu"])
    with pytest.raises(jn.InputError, match="activation 'mine': dg: Numba cannot compile this function of 1 number"):
        jn.Network([2, 2], output=jn.Activation("mine", g=lambda x: x, dg=lambda x: x.no_such_thing))
