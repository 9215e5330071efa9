"""Losses: values and derivatives against mpmath, saturated outputs, weights and reduction, settings."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from cases import HIDDEN, LOSSES, OUTPUTS, OWN, PAIRS, Array, Case, accepts, draw, relative
from hypothesis import given
from hypothesis import strategies as st

import jitnet as jn
from jitnet import activations, losses
from jitnet.forms import FORMS, get_form

mpmath = pytest.importorskip("mpmath")
from mpmath import mp, mpf  # noqa: E402

EPS = {dtype: float(np.finfo(dtype).eps) for dtype in ("float64", "float32")}
forms = pytest.mark.parametrize("form", FORMS)
dtypes = pytest.mark.parametrize("dtype", EPS)


@pytest.fixture(autouse=True)
def sixty_digits() -> Any:
    with mp.workdps(60):
        yield


def loss_and_delta(
    form: str, loss: str | jn.Loss, output: str | jn.Activation, x: Array, t: Array
) -> tuple[Array, Array]:
    """L and ∂L/∂x at these pre-activations and targets, of a 1-1 network with weight 1."""
    net = jn.Network([1, 1], output=output, loss=loss, bias=False, init=([[[1.0]]], None), dtype=x.dtype)
    f = get_form(form)
    X, Y = f.forward(net.layout, net.theta, x[:, None])
    T, c = t[:, None].astype(x.dtype), np.ones(len(x), x.dtype)
    return f.losses(net.layout, X, Y, T), f.backward(net.layout, net.theta, X, Y, T, c)[:, 0]


# --- losses of a residual -------------------------------------------------------------------------------------------


def huber(d: mpf) -> mpf:
    a = mpf(LOSSES["huber"].parameter)
    return d * d / 2 if abs(d) <= a else a * (abs(d) - a / 2)


def huber_slope(d: mpf) -> mpf:
    a = mpf(LOSSES["huber"].parameter)
    return min(max(d, -a), a)


Q = mpf(0.2)

RESIDUAL: dict[str, tuple[Callable[[mpf], mpf], Callable[[mpf], mpf]]] = {
    "squared_error": (lambda d: d * d, lambda d: 2 * d),
    "half_squared_error": (lambda d: d * d / 2, lambda d: d),
    "absolute_error": (abs, mp.sign),
    "huber": (huber, huber_slope),
    "quantile": (lambda d: max((1 - Q) * d, -Q * d), lambda d: (1 - Q) * (d > 0) - Q * (d < 0)),
    "log_cosh": (lambda d: mp.log(mp.cosh(d)), mp.tanh),
    "own": (lambda d: abs(d) ** 3 / 3, lambda d: d * abs(d)),
}
"""L and ∂L/∂ŷ of those that depend on d = ŷ - t alone."""

FROM_X = ("binary_cross_entropy", "cross_entropy", "poisson")


def test_every_loss_is_here() -> None:
    assert {*RESIDUAL, *FROM_X} == {*losses.TABLE, "own"}


@dtypes
@forms
@pytest.mark.parametrize("name", RESIDUAL)
def test_losses_of_a_residual(name: str, form: str, dtype: str) -> None:
    """From 1e-6 to 1e5, on both sides and at 0, to 8 ε of the value; |.|' and its kin are 0 at 0."""
    sizes = np.geomspace(1e-6, 1e5, 45)
    y = np.concatenate([sizes, -sizes, [0.0, 0.4, -0.4]]).astype(dtype)
    t = np.where(np.arange(len(y)) % 3, 0.0, y / 2).astype(dtype)
    L, delta = loss_and_delta(form, LOSSES[name], "identity", y, t)
    for ours, right in ((L, RESIDUAL[name][0]), (delta, RESIDUAL[name][1])):
        exact = np.array([float(right(mpf(float(y_)) - mpf(float(t_)))) for y_, t_ in zip(y, t, strict=True)])
        assert (abs(ours - exact) <= 8 * EPS[dtype] * abs(exact)).all(), y[
            abs(ours - exact) > 8 * EPS[dtype] * abs(exact)
        ]
    assert L[-3] == delta[-3] == 0


# --- losses whose logarithms come from x ----------------------------------------------------------------------------


def softplus(x: mpf) -> mpf:
    return mp.log1p(mp.exp(x)) if x < 0 else x + mp.log1p(mp.exp(-x))


def logistic(x: mpf) -> mpf:
    return 1 / (1 + mp.exp(-x))


SATURATED: dict[
    tuple[str, str], tuple[Callable[[mpf, mpf], mpf], Callable[[mpf, mpf], mpf], tuple[float, ...], float]
] = {
    ("binary_cross_entropy", "sigmoid"): (
        lambda x, t: t * softplus(-x) + (1 - t) * softplus(x),
        lambda x, t: logistic(x) - t,
        (0.0, 0.25, 1.0),
        1e3,
    ),
    ("poisson", "exponential"): (lambda x, t: mp.exp(x) - t * x, lambda x, t: mp.exp(x) - t, (0.0, 1.0, 7.0), 80.0),
    ("poisson", "softplus"): (
        lambda x, t: softplus(x) - t * mp.log(softplus(x)),
        lambda x, t: logistic(x) * (1 - t / softplus(x)),
        (0.0, 1.0, 7.0),
        1e3,
    ),
}
"""L and ∂L/∂x, targets, and the largest x whose L is finite in float32."""


@dtypes
@forms
@pytest.mark.parametrize("pair", SATURATED)
def test_saturated_outputs(pair: tuple[str, str], form: str, dtype: str) -> None:
    """Where ŷ rounds to 0 or 1, L and δ are finite and right: relative to the terms of L, and to 1 or ŷ for δ."""
    L_of, delta_of, targets, most = SATURATED[pair]
    far = np.array([1e-3, 0.5, 1, 5, 16.7, 20, 37, 39.9, 40.1, 50, 88, 104, 200, 745, 1e3])
    x = np.concatenate([-far, [0.0], far[far <= most]])
    x, t = (each.ravel() for each in np.meshgrid(x, targets))
    L, delta = loss_and_delta(form, *pair, x.astype(dtype), t)
    for k in range(len(x)):
        x_k, t_k = mpf(float(np.dtype(dtype).type(x[k]))), mpf(float(t[k]))
        right, right_delta = float(L_of(x_k, t_k)), float(delta_of(x_k, t_k))
        scale = max(abs(right), float(abs(t_k * x_k))) if pair[0] == "poisson" else abs(right)
        assert abs(L[k] - right) <= 8 * EPS[dtype] * scale + 1e-37, (x[k], t[k], L[k], right)
        assert abs(delta[k] - right_delta) <= 8 * EPS[dtype] * max(1, abs(t[k]), abs(right_delta)), (x[k], t[k])


@dtypes
@forms
def test_saturated_softmax(form: str, dtype: str) -> None:
    """Cross-entropy of the least likely class is finite, right to the rounding of x, however unlikely; δ = ŷ - t."""
    net = jn.Network([3, 3], output="softmax", loss="cross_entropy", bias=False, init=([np.eye(3)], None), dtype=dtype)
    rows = np.array(
        [[0.0, 1e3, -1e3], [100.0, 0.0, -100.0], [1e4, 1e4, 0.0], [-1e5, -1e5, -1e5], [0.5, 0.25, 0.0]], dtype
    )
    for row in rows:
        e = [mp.exp(mpf(float(x)) - mpf(float(row.max()))) for x in row]
        for label in range(3):
            g = net.gradient(row[None, :], [label], form=form)
            right = float(mp.log(sum(e)) - (mpf(float(row[label])) - mpf(float(row.max()))))
            assert g.loss == pytest.approx(right, rel=8 * EPS[dtype], abs=EPS[dtype] * float(abs(row).max()))
            delta = [float(w / sum(e)) - (r == label) for r, w in enumerate(e)]
            assert g.input[0] == pytest.approx(delta, rel=8 * EPS[dtype], abs=4 * EPS[dtype])
    soft = np.array([[0.5, 0.5, 0.0]])
    assert net.loss(rows[:1], soft, form=form) == pytest.approx(500.0, rel=1e-6)


@dtypes
@forms
def test_own_outputs_at_the_ends_of_their_range(form: str, dtype: str) -> None:
    """An output of the user's own may be 0 or 1: where the target is too, 0 log 0 = 0, and δ is one term alone."""
    clipped = jn.Activation("clipped", g=lambda x: min(max(x, 0.0), 1.0), dg=lambda x: 1.0)
    x, t = np.array([2.0, -2.0, 0.5], dtype), np.array([1.0, 0.0, 1.0])
    L, delta = loss_and_delta(form, "binary_cross_entropy", clipped, x, t)
    assert L.tolist() == [0, 0, pytest.approx(math.log(2), rel=2 * EPS[dtype])]
    assert delta.tolist() == [-1, 1, -2]
    L, delta = loss_and_delta(form, "binary_cross_entropy", clipped, x[:2], 1 - t[:2])
    assert L.tolist() == [math.inf, math.inf]

    rectified = jn.Activation("rectified", g=lambda x: x if x > 0 else 0.0 * x, dg=lambda x: 1.0)
    L, delta = loss_and_delta(form, "poisson", rectified, np.array([-1.0, 2.0], dtype), np.array([0.0, 4.0]))
    assert L.tolist() == [0, pytest.approx(2 - 4 * math.log(2), rel=4 * EPS[dtype])]
    assert delta.tolist() == [1, -1]


@forms
@pytest.mark.parametrize(("loss", "output"), PAIRS)
def test_nan_stays_nan(loss: str, output: str, form: str) -> None:
    """A NaN pre-activation makes L and δ NaN: no divergence is hidden."""
    L, delta = loss_and_delta(form, LOSSES[loss], OUTPUTS[output], np.array([math.nan]), np.array([1.0]))
    assert math.isnan(L[0])
    assert math.isnan(delta[0]) or output in ("step", "sgn", "relu", "leaky_relu", "elu", "selu", "hard_tanh")


@forms
@pytest.mark.parametrize("loss", RESIDUAL)
def test_infinite_outputs(loss: str, form: str) -> None:
    """An infinite output has an infinite loss, not NaN."""
    L, _ = loss_and_delta(form, LOSSES[loss], "identity", np.array([math.inf, -math.inf]), np.array([1.0, 1.0]))
    assert L.tolist() == [math.inf, math.inf]


# --- targets --------------------------------------------------------------------------------------------------------


@forms
def test_labels_are_one_hot_rows(form: str) -> None:
    rng = np.random.default_rng(0)
    X, labels = rng.normal(size=(7, 4)), rng.integers(0, 3, 7)
    net = jn.Network([4, 5, 3], output="softmax", loss="cross_entropy", dtype="float64")
    for T in (labels, labels[:, None], labels.astype(float), labels.tolist()):
        assert net.loss(X, T, form=form) == net.loss(X, np.eye(3)[labels], form=form)
        assert np.array_equal(net.gradient(X, T, form=form).theta, net.gradient(X, np.eye(3)[labels], form=form).theta)


@forms
def test_probabilities_that_nearly_sum_to_one(form: str) -> None:
    """Rows are taken that sum to 1 within 1e-3; the gradient is that of the loss that `loss` gives, all the same."""
    rng = np.random.default_rng(1)
    X, T = rng.normal(size=(5, 3)), rng.dirichlet(np.ones(4), 5) * (1 + 9e-4 * rng.uniform(-1, 1, (5, 1)))
    net = jn.Network([3, 4], output="softmax", loss="cross_entropy", dtype="float64")
    g = net.gradient(X, T, form=form).theta
    for p in range(net.size):
        value, h, J = net.theta[p], 1e-5, []
        for sign in (1, -1):
            net.theta[p] = value + sign * h
            J.append(net.loss(X, T, form=form))
        net.theta[p] = value
        assert (J[0] - J[1]) / (2 * h) == pytest.approx(g[p], abs=1e-8)


# --- weights and reduction ------------------------------------------------------------------------------------------


@forms
def test_weights_by_hand(form: str) -> None:
    """L = 1, 4, 9 with weights 1, 2, 0.5: J is 13.5, or 13.5 / 3.5; ∂J/∂b = Σ 2 w (ŷ - t)."""
    X, T, weight = [[1.0], [2.0], [3.0]], [[0.0]] * 3, [1.0, 2.0, 0.5]
    for reduction, divisor in (("sum", 1.0), ("mean", 3.5)):
        net = jn.Network([1, 1], loss="squared_error", reduction=reduction, init=([[[1.0]]], [[0.0]]), dtype="float64")
        assert net.loss(X, T, sample_weight=weight, form=form) == pytest.approx(13.5 / divisor, rel=1e-15)
        g = net.gradient(X, T, sample_weight=weight, form=form)
        assert g.loss == pytest.approx(13.5 / divisor, rel=1e-15)
        assert g.b[0] == pytest.approx([13.0 / divisor], rel=1e-15)
        assert g.input[:, 0] == pytest.approx(np.array([2.0, 8.0, 3.0]) / divisor, rel=1e-15)


@st.composite
def small_cases(draw_: Any, weighted: bool | None = False) -> Case:
    """A network of up to 3 layers with up to 4 neurons, 1 to 6 points, any functions that go together."""
    widths = draw_(st.lists(st.integers(1, 4), min_size=2, max_size=4))
    loss, output = draw_(st.sampled_from(PAIRS))
    hidden = draw_(st.lists(st.sampled_from(list(HIDDEN)), min_size=len(widths) - 2, max_size=len(widths) - 2))
    rng = np.random.default_rng(draw_(st.integers(0, 2**32)))
    N = draw_(st.integers(1, 6))
    return draw(rng, widths=widths, N=N, activation=hidden, output=output, loss=loss, weighted=weighted)


def close(a: Any, b: Any) -> bool:
    """Equal but for the order of sums: to 1e-12 of the array's largest number, or 1e-14."""
    return relative(a, b) <= 1e-12 or float(np.max(abs(np.asarray(a) - np.asarray(b)))) <= 1e-14


form_names = st.sampled_from(FORMS)


@given(small_cases(None), st.randoms(use_true_random=False), form_names)
def test_order_of_data_points(case: Case, random: Any, form: str) -> None:
    """Points in another order: the same outputs, but for matrix to the bit, in that order; the same J and gradient."""
    p = np.array(random.sample(range(case.N), case.N))
    net, weight = case.network(), None if case.weight is None else case.weight[p]
    before, after = net.predict(case.X, form=form), net.predict(case.X[p], form=form)
    assert np.array_equal(after, before[p]) or (form == "matrix" and close(after, before[p]))
    g = net.gradient(case.X, case.T, sample_weight=case.weight, form=form)
    other = net.gradient(case.X[p], case.T[p], sample_weight=weight, form=form)
    assert close(other.loss, g.loss)
    assert close(other.theta, g.theta)
    assert close(other.input, g.input[p])


@given(small_cases(), st.data(), form_names)
def test_a_weight_is_a_repetition(case: Case, data: Any, form: str) -> None:
    """Weight w counts as the point w times, w = 0 as no point at all: in J, in its gradient and in training."""
    times = data.draw(st.lists(st.integers(0, 3), min_size=case.N, max_size=case.N).filter(any))
    rows = np.repeat(np.arange(case.N), times)
    weighted, repeated = case.network(), case.network()
    g = weighted.gradient(case.X, case.T, sample_weight=times, form=form)
    wanted = repeated.gradient(case.X[rows], case.T[rows], form=form)
    assert close(weighted.loss(case.X, case.T, sample_weight=times, form=form), wanted.loss)
    assert close(g.loss, wanted.loss)
    assert close(g.theta, wanted.theta)
    assert not g.input[np.array(times) == 0].any()
    if case.output not in ("step", "sgn") and (case.output, case.widths[-1]) != ("softmax", 1):  # no learning
        settings = {"optimizer": jn.SGD(lr=0.01), "epochs": 2, "batch_size": None, "form": form, "l2": 0.1}
        one = weighted.fit(case.X, case.T, sample_weight=times, **settings)
        other = repeated.fit(case.X[rows], case.T[rows], **settings)
        assert close(weighted.theta, repeated.theta)
        assert close(one["loss"], other["loss"])


@given(small_cases(None), st.floats(0.1, 10), form_names)
def test_sum_and_mean(case: Case, factor: float, form: str) -> None:
    """The sum is the weights' sum (n without weights) times the mean; a factor on all weights changes the sum alone."""
    total = case.N if case.weight is None else case.weight.sum()
    scaled = np.full(case.N, factor) if case.weight is None else case.weight * factor
    g = {
        r: case.network(reduction=r).gradient(case.X, case.T, sample_weight=case.weight, form=form)
        for r in ("sum", "mean")
    }
    for reduction, power in (("sum", 1.0), ("mean", 0.0)):
        net = case.network(reduction=reduction)
        other = net.gradient(case.X, case.T, sample_weight=scaled, form=form)
        for name in ("loss", "theta", "input"):
            assert close(getattr(other, name), np.asarray(getattr(g[reduction], name)) * factor**power)
            assert close(getattr(g["sum"], name), np.asarray(getattr(g["mean"], name)) * total)


@given(small_cases(None), form_names)
def test_the_sum_over_points_is_a_sum(case: Case, form: str) -> None:
    """J of all points is J of the first added to J of the others; so is the gradient."""
    net = case.network(reduction="sum")
    parts = [slice(0, 1), slice(1, None)] if case.N > 1 else [slice(0, 1)]
    whole = net.gradient(case.X, case.T, sample_weight=case.weight, form=form)
    if case.weight is not None and not all(case.weight[part].any() for part in parts):
        return
    g = [
        net.gradient(case.X[p], case.T[p], sample_weight=None if case.weight is None else case.weight[p], form=form)
        for p in parts
    ]
    assert close(whole.loss, sum(part.loss for part in g))
    assert close(whole.theta, sum(part.theta for part in g))
    assert close(whole.input, np.vstack([part.input for part in g]))


@dtypes
@forms
def test_a_point_of_weight_zero_does_nothing(form: str, dtype: str) -> None:
    """Not even where its outputs and its loss are infinite: J, gradient, evaluation, validation and training."""
    rng = np.random.default_rng(3)
    X, T, weight = rng.normal(size=(6, 2)), rng.random((6, 1)), np.array([1.0, 0.0, 2.0, 1.0, 0.0, 1.0])
    X[weight == 0] = 1e6  # whose exponential is infinite
    kept = weight > 0

    def network() -> jn.Network:
        positive = ([[[0.5, 0.3], [0.2, 0.1], [-0.3, -0.2]], [[0.4, 0.5, 0.1]]], None)
        return jn.Network([2, 3, 1], activation="exponential", output="identity", init=positive, dtype=dtype)

    net, other = network(), network()
    with np.errstate(over="ignore"):
        assert np.isinf(net.loss(X, T, form=form))
    assert net.loss(X, T, sample_weight=weight, form=form) == pytest.approx(
        other.loss(X[kept], T[kept], sample_weight=weight[kept], form=form), rel=4 * EPS[dtype]
    )
    g = net.gradient(X, T, sample_weight=weight, form=form)
    wanted = other.gradient(X[kept], T[kept], sample_weight=weight[kept], form=form)
    assert g.loss == pytest.approx(wanted.loss, rel=4 * EPS[dtype])
    assert relative(g.theta, wanted.theta) <= 8 * EPS[dtype]
    assert relative(g.input[kept], wanted.input) <= 8 * EPS[dtype]
    assert not g.input[~kept].any()
    ours, theirs = (
        net_.evaluate(X[rows], T[rows], sample_weight=weight[rows])
        for net_, rows in ((net, weight >= 0), (other, kept))
    )
    assert ours == pytest.approx(theirs, rel=1e-5)
    settings = {"optimizer": jn.SGD(lr=0.01), "epochs": 3, "batch_size": None, "form": form}
    ours = net.fit(X, T, sample_weight=weight, validation=(X, T, weight), **settings)
    theirs = other.fit(X[kept], T[kept], sample_weight=weight[kept], **settings)
    assert relative(net.theta, other.theta) <= 1e-5 if dtype == "float32" else 1e-12
    assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-5)
    assert np.isfinite(ours["val_loss"]).all()


@forms
def test_weights_in_mini_batches(form: str) -> None:
    """A step's mean is over its own weights; an epoch's loss is the mean of its steps' by their weights."""
    X, T, weight = np.zeros((5, 1)), np.arange(1.0, 6.0)[:, None], np.array([1.0, 3.0, 2.0, 2.0, 4.0])
    net = jn.Network([1, 1], init="zeros", dtype="float64", loss="squared_error")
    history = net.fit(X, T, optimizer=jn.SGD(lr=0.0), epochs=1, batch_size=2, sample_weight=weight, form=form)
    assert history["loss"][0] == pytest.approx(np.average(T[:, 0] ** 2, weights=weight), rel=1e-15)
    net.fit(X, T, optimizer=jn.SGD(lr=0.1), steps=1, batch_size=2, sample_weight=weight, form=form, shuffle=False)
    assert net.b[0] == pytest.approx([0.1 * 2 * (1 * 1 + 3 * 2) / 4], rel=1e-15)


# --- settings -------------------------------------------------------------------------------------------------------


def test_names() -> None:
    """Case, hyphens and spaces do not matter; the notes' and other houses' names are known."""
    assert jn.Loss("Squared-Error") == jn.Loss("square") == jn.Loss("squared error")
    for alias, name in losses.ALIASES.items():
        assert jn.Loss(alias) == jn.Loss(name)
    assert len({row.code for row in losses.TABLE.values()} | {losses.CUSTOM_LOSS}) == len(losses.TABLE) + 1


def test_parameters() -> None:
    assert jn.Loss("huber").parameter == 1.0
    assert jn.Loss("huber", delta=2).parameter == 2.0
    assert jn.Loss("quantile").parameter == 0.5
    assert jn.Loss("quantile", q=0.9).parameter == 0.9
    assert jn.Loss("log_cosh").parameter == 0.0


def test_the_median_is_half_the_absolute_error() -> None:
    y, t = np.linspace(-3, 3, 7), np.zeros(7)
    for half, whole in zip(
        loss_and_delta("plain", "quantile", "identity", y, t),
        loss_and_delta("plain", "linear", "identity", y, t),
        strict=True,
    ):
        assert (2 * half).tolist() == whole.tolist()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "hubber"}, r"loss: unknown name 'hubber' \(did you mean 'huber'\?\); known: absolute_error"),
        ({"name": "huber", "q": 0.5}, "loss 'huber': has no parameter 'q'"),
        ({"name": "huber", "delta": 0.0}, "loss 'huber': delta: 0.0 given, a number > 0 is wanted"),
        ({"name": "huber", "delta": math.inf}, "loss 'huber': delta: inf given, a finite number is wanted"),
        ({"name": "quantile", "q": 1.0}, "loss 'quantile': q: 1.0 given, a number < 1 is wanted"),
        ({"name": "quantile", "q": 0}, "loss 'quantile': q: 0 given, a number > 0 is wanted"),
        ({"name": "mine", "value": max}, "loss 'mine': a pair of functions value and derivative is wanted"),
        ({"name": "mine", "value": max, "derivative": max, "q": 0.5}, "loss 'mine': a pair of functions has no delta"),
    ],
)
def test_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(jn.InputError, match=message):
        jn.Loss(**arguments)


def test_what_goes_together() -> None:
    """Logarithms want probabilities or positive numbers; everything else goes with everything."""
    wanted = {
        "binary_cross_entropy": {"sigmoid", "own"},
        "cross_entropy": {"softmax"},
        "poisson": {"exponential", "softplus", "own"},
    }
    for name, loss in LOSSES.items():
        taken = {output for output, activation in OUTPUTS.items() if accepts(loss, activation)}
        assert taken == wanted.get(name, set(OUTPUTS))
    matched = {(losses.NAMES[loss], activations.NAMES[output]) for loss, output in losses.MATCHED}
    assert matched == {
        ("half_squared_error", "identity"),
        ("binary_cross_entropy", "sigmoid"),
        ("cross_entropy", "softmax"),
        ("poisson", "exponential"),
    }


@pytest.mark.parametrize(
    ("loss", "output", "message"),
    [
        (
            "binary_cross_entropy",
            "softmax",
            "loss 'binary_cross_entropy' with output 'softmax': wanted is output='sigm",
        ),
        ("binary_cross_entropy", "identity", "loss 'binary_cross_entropy' with output 'identity': wanted is output="),
        ("cross_entropy", "sigmoid", "loss 'cross_entropy' with output 'sigmoid': wanted is output='softmax'"),
        ("cross_entropy", OWN, "loss 'cross_entropy' with output 'own': wanted is output='softmax'"),
        ("poisson", "relu", "loss 'poisson' with output 'relu': wanted is output='exponential' or 'softplus'"),
        (3.0, "relu", "loss: float given, a name or a jitnet.Loss is wanted"),
        (
            jn.Loss("mine", value=lambda y, t: y.x, derivative=lambda y, t: y),
            "relu",
            "loss 'mine': value: Numba cannot",
        ),
    ],
)
def test_refused_by_networks(loss: Any, output: Any, message: str) -> None:
    with pytest.raises(jn.InputError, match=message):
        jn.Network([2, 2], loss=loss, output=output)
