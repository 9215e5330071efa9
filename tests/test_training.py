"""`fit`: each step against a loop written by hand; the order of points, penalties, clipping, dropout, schedules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import jitnet as jn
from jitnet import training
from jitnet.forms import matrix
from jitnet.layout import Dropout
from jitnet.optimizers import OPTIMIZERS, UpdateRule

FORMS = ("plain", "tiled", "matrix")
N, D, HIDDEN, OUT = 23, 3, 4, 2


def network(**settings: Any) -> jn.Network:
    return jn.Network([D, HIDDEN, OUT], **{"activation": "tanh", "dtype": "float64", "init": "gaussian", **settings})


@pytest.fixture
def data() -> tuple[np.ndarray, np.ndarray]:
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


# --- steps ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_full_batch_gradient_descent_is_F10(form: str, data: Any) -> None:
    net = network()
    theta, losses = descend(net.theta, *data, [np.arange(N)] * 30, lambda t: 0.3)
    history = net.fit(*data, optimizer=jn.GD(lr=0.3), batch_size=None, epochs=30, form=form)
    np.testing.assert_allclose(net.theta, theta, rtol=1e-11, atol=1e-14)
    np.testing.assert_allclose(history["loss"], losses, rtol=1e-12)
    assert history["step"] == list(range(1, 31))
    assert history["epoch"] == list(range(30))


def test_full_batch_descent_of_a_sum_is_that_of_the_mean_with_a_rate_n_times_as_large(data: Any) -> None:
    mean, total = network(), network(reduction="sum")
    a = mean.fit(*data, optimizer=jn.SGD(lr=0.1), batch_size=None, epochs=20)
    b = total.fit(*data, optimizer=jn.SGD(lr=0.1 / N), batch_size=None, epochs=20)
    np.testing.assert_allclose(mean.theta, total.theta, rtol=1e-11)
    np.testing.assert_allclose(np.array(a["loss"]) * N, b["loss"], rtol=1e-12)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("batch", [1, 4, 23])
def test_mini_batches_in_order_with_a_short_last_one(form: str, batch: int, data: Any) -> None:
    """Single points (seed 001), and 23 points in fours: the last batch has 3, and the mean is over those 3."""
    net = network()
    rows = [np.arange(at, min(at + batch, N)) for at in range(0, N, batch)] * 2
    theta, losses = descend(net.theta, *data, rows, lambda t: 0.05)
    history = net.fit(*data, optimizer=jn.SGD(lr=0.05), batch_size=batch, shuffle=False, epochs=2, form=form)
    np.testing.assert_allclose(net.theta, theta, rtol=1e-11, atol=1e-14)
    sizes = [len(r) for r in rows]
    each = np.array(losses) * sizes  # an epoch's loss is the mean over its data points
    half = len(rows) // 2
    np.testing.assert_allclose(history["loss"], [each[:half].sum() / N, each[half:].sum() / N], rtol=1e-12)


def settings_of(**fit: Any) -> training.Settings:
    """What `fit` makes of its arguments."""
    seen = []
    look = lambda run: seen.append(run.settings)  # noqa: E731
    network().fit(np.ones((N, D)), np.ones((N, OUT)), epochs=1, callbacks=[look], **fit)
    return seen[0]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("replacement", [False, True])
def test_shuffled_and_drawn_batches(form: str, replacement: bool, data: Any) -> None:
    net = network()
    fit: dict[str, Any] = {"batch_size": 5, "replacement": replacement, "seed": 9}
    settings = settings_of(**fit)
    orders = [training.epoch_order(N, settings, epoch) for epoch in range(3)]
    batches = [order[at : at + 5] for order in orders for at in range(0, len(order), 5)]
    theta, _ = descend(net.theta, *data, batches, lambda t: 0.05)
    net.fit(*data, optimizer=jn.SGD(lr=0.05), epochs=3, form=form, **fit)
    np.testing.assert_allclose(net.theta, theta, rtol=1e-11, atol=1e-14)


def test_a_shuffled_epoch_has_every_data_point_once_and_an_order_of_its_own() -> None:
    settings = settings_of(batch_size=5, seed=1)
    orders = [training.epoch_order(N, settings, epoch) for epoch in range(20)]
    for order in orders:
        assert sorted(order) == list(range(N))
    assert len({tuple(order) for order in orders}) == 20
    first = np.array([training.epoch_order(6, settings, epoch)[0] for epoch in range(3000)])
    assert abs(np.bincount(first, minlength=6) - 500).max() < 100  # 5 standard deviations of a fair die


def test_draws_with_replacement_are_uniform_and_fill_whole_batches() -> None:
    settings = settings_of(batch_size=5, replacement=True, seed=1)
    orders = [training.epoch_order(N, settings, epoch) for epoch in range(400)]
    assert {len(order) for order in orders} == {25}  # ceil(23 / 5) steps of 5
    counts = np.bincount(np.concatenate(orders), minlength=N)
    assert len(counts) == N
    chi2 = ((counts - counts.mean()) ** 2 / counts.mean()).sum()
    assert 5 < chi2 < 55  # 22 degrees of freedom: outside about once in 10,000
    assert any(len(set(order)) < len(order) for order in orders)


def test_the_seed_decides_the_order(data: Any) -> None:
    def theta(seed: int | None, **fit: Any) -> np.ndarray:
        net = network(seed=3)
        net.fit(*data, epochs=2, batch_size=5, seed=seed, **fit)
        return net.theta

    np.testing.assert_array_equal(theta(1), theta(1))
    np.testing.assert_array_equal(theta(None), theta(3))  # the network's
    assert not np.array_equal(theta(1), theta(2))
    np.testing.assert_array_equal(theta(1, shuffle=False), theta(2, shuffle=False))


def test_the_full_batch_is_summed_in_order_whatever_the_seed(data: Any) -> None:
    nets = [network() for _ in range(3)]
    for seed, net in enumerate(nets):
        net.fit(*data, batch_size=None, epochs=3, seed=seed)
        np.testing.assert_array_equal(net.theta, nets[0].theta)


def test_a_batch_larger_than_the_data_is_clipped_with_a_warning(data: Any) -> None:
    a, b = network(), network()
    with pytest.warns(UserWarning, match="batch_size: 24 given for 23 data points, 23 is used") as caught:
        a.fit(*data, batch_size=24, epochs=2)
    assert caught[0].filename == __file__
    b.fit(*data, batch_size=None, epochs=2)
    np.testing.assert_array_equal(a.theta, b.theta)
    with pytest.warns(UserWarning, match="batch_size"):  # no buffers for what is not there
        assert settings_of(batch_size=10**12).batch_size == N


def test_the_batch_is_32_or_all_by_default(data: Any) -> None:
    X, T = np.tile(data[0], (5, 1)), np.tile(data[1], (5, 1))
    assert network().fit(X, T, epochs=1)["step"] == [4]
    assert network().fit(*data, epochs=1)["step"] == [1]


def test_how_many_steps_python_asks_for_at_once_changes_no_bit(data: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock decides when Python looks on; neither parameters nor the recorded loss may follow it."""
    for optimizer in (jn.NAdam(lr=jn.Cosine(0.01, 500)), jn.Adam(lr=0.01)):
        runs = []
        for look_every, ahead in ((1e-9, 64), (1e9, 64), (1e-9, 0), (1e9, 5)):
            monkeypatch.setattr(training, "LOOK_EVERY", look_every)
            monkeypatch.setattr(training, "STEPS_AHEAD", ahead)
            net = network()
            history = net.fit(*data, batch_size=1, epochs=30, dropout=0.1, optimizer=optimizer)
            runs.append((net.theta, history["loss"], history["lr"]))
        for run in runs[1:]:
            for a, b in zip(run, runs[0], strict=True):
                np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("batch", [5, None])
def test_a_schedule_is_asked_for_no_step_that_does_not_come(batch: int | None, data: Any) -> None:
    """The user's function may fail there; and each step is asked for once, but for the first one's check."""
    asked = []
    fit: dict[str, Any] = {"batch_size": batch, "optimizer": jn.SGD(lr=lambda t: asked.append(t) or 0.1)}
    network().fit(*data, steps=17, **fit)
    assert asked == [0, *range(17)]


# --- sample weights -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_a_weight_of_3_is_a_data_point_three_times(form: str, reduction: str, data: Any) -> None:
    c = np.random.default_rng(1).integers(0, 4, N)
    X, T = (np.repeat(each, c, axis=0) for each in data)
    a, b = network(reduction=reduction), network(reduction=reduction)
    one = a.fit(*data, sample_weight=c, optimizer=jn.SGD(lr=0.003), batch_size=None, epochs=10, form=form)
    two = b.fit(X, T, optimizer=jn.SGD(lr=0.003), batch_size=None, epochs=10, form=form)
    np.testing.assert_allclose(a.theta, b.theta, rtol=1e-11, atol=1e-14)
    np.testing.assert_allclose(one["loss"], two["loss"], rtol=1e-12)


@pytest.mark.parametrize("form", FORMS)
def test_weights_in_mini_batches(form: str, data: Any) -> None:
    """A step's loss is the weighted mean of its batch; an epoch's loss counts each step by its weight."""
    net = network()
    c = np.random.default_rng(1).uniform(0, 2, N)
    theta, total = net.theta.copy(), 0.0
    for at in range(0, N, 6):
        J, g = gradient_by_hand(theta, data[0][at : at + 6], data[1][at : at + 6], c[at : at + 6])
        total += J * c[at : at + 6].sum()
        theta -= 0.1 * g
    fit: dict[str, Any] = {"optimizer": jn.SGD(lr=0.1), "batch_size": 6, "shuffle": False, "epochs": 1, "form": form}
    history = net.fit(*data, sample_weight=c, **fit)
    np.testing.assert_allclose(net.theta, theta, rtol=1e-11)
    assert history["loss"][0] == pytest.approx(total / c.sum(), rel=1e-12)


@pytest.mark.parametrize("form", FORMS)
def test_a_batch_without_weight_moves_nothing(form: str, data: Any) -> None:
    net, c = network(), np.zeros(N)
    c[:4] = 1
    after_first = network()
    fit: dict[str, Any] = {"optimizer": jn.SGD(lr=0.1), "batch_size": 4, "shuffle": False, "form": form}
    after_first.fit(*data, sample_weight=c, steps=1, **fit)
    history = net.fit(*data, sample_weight=c, epochs=1, **fit)
    np.testing.assert_array_equal(net.theta, after_first.theta)
    assert history["loss"] == after_first.history["loss"]


@pytest.mark.parametrize("form", FORMS)
def test_weights_of_any_size_are_shares(form: str, data: Any) -> None:
    """Under "mean" only the ratios of the weights count, even where their sum does not fit into float32."""
    thetas = []
    for size in (1.0, 1e38):
        net = network(dtype="float32")
        net.fit(*data, sample_weight=np.full(N, size), epochs=3, form=form)
        thetas.append(net.theta)
    np.testing.assert_allclose(*thetas, rtol=1e-4)
    assert not np.array_equal(thetas[0], network(dtype="float32").theta)


# --- penalties, decay, clipping -------------------------------------------------------------------------------------


def step_taken(net: jn.Network, data: Any, **fit: Any) -> np.ndarray:
    """What one full-batch SGD step with rate 1 takes off θ: the gradient as `fit` sees it."""
    before = net.theta.copy()
    net.fit(*data, optimizer=jn.SGD(lr=1.0), batch_size=None, epochs=1, **fit)
    taken = before - net.theta
    net.theta[:] = before
    return taken


def is_bias(net: jn.Network) -> np.ndarray:
    return np.concatenate([np.r_[np.zeros(W.size), np.ones(b.size)] for W, b in zip(net.W, net.b, strict=True)]) > 0


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("l1", "l2"), [(0.0, 0.7), (0.3, 0.0), (0.2, 0.5)])
def test_penalties_are_in_the_gradient_and_in_the_recorded_loss(form: str, l1: float, l2: float, data: Any) -> None:
    net = network()
    on = ~is_bias(net)

    def penalised(theta: np.ndarray) -> float:
        return gradient_by_hand(theta, *data)[0] + float(l1 * abs(theta[on]).sum() + 0.5 * l2 * (theta[on] ** 2).sum())

    taken = step_taken(net, data, l1=l1, l2=l2, form=form)
    h = 1e-6
    differences = [(penalised(net.theta + h * e) - penalised(net.theta - h * e)) / (2 * h) for e in np.eye(net.size)]
    np.testing.assert_allclose(taken, differences, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(taken[~on], step_taken(net, data, form=form)[~on], rtol=1e-13)  # biases are free
    assert net.history["loss"][0] == pytest.approx(penalised(net.theta), rel=1e-12)
    assert net.loss(*data) == pytest.approx(gradient_by_hand(net.theta, *data)[0], rel=1e-12)  # without penalties


@pytest.mark.parametrize("form", FORMS)
def test_l1_leaves_a_weight_of_0_alone(form: str, data: Any) -> None:
    net = network(init="zeros")
    net.b[0], net.b[1] = np.ones(HIDDEN), np.ones(OUT)
    np.testing.assert_array_equal(step_taken(net, data, l1=0.5, form=form), step_taken(net, data, form=form))


def test_a_penalty_counts_once_a_step_also_for_a_sum(data: Any) -> None:
    net = network(reduction="sum")
    taken = step_taken(net, data, l2=0.5) - step_taken(net, data)
    np.testing.assert_allclose(taken, np.where(is_bias(net), 0, 0.5 * net.theta), rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("form", FORMS)
def test_weight_decay_is_decoupled(form: str, data: Any) -> None:
    """θ ← (1 - η λ) θ - η g, weights and biases alike; with Adam the gradient's running means do not see it."""
    net = network()
    g = gradient_by_hand(net.theta, *data)[1]
    wanted = (1 - 0.1 * 0.3) * net.theta - 0.1 * g
    history = net.fit(*data, optimizer=jn.SGD(lr=0.1, weight_decay=0.3), batch_size=None, epochs=1, form=form)
    np.testing.assert_allclose(net.theta, wanted, rtol=1e-12)
    assert history["loss"][0] == pytest.approx(gradient_by_hand(network().theta, *data)[0], rel=1e-12)
    a, b = network(), network()
    a.fit(*data, optimizer=jn.Adam(lr=0.1, weight_decay=0.3), batch_size=None, epochs=1, form=form)
    b.fit(*data, optimizer=jn.Adam(lr=0.1), batch_size=None, epochs=1, form=form)
    np.testing.assert_allclose(b.theta - a.theta, 0.03 * network().theta, rtol=1e-9, atol=1e-15)
    c = network()
    c.fit(*data, optimizer=jn.AdamW(lr=0.1, weight_decay=0.3), batch_size=None, epochs=1, form=form)
    np.testing.assert_array_equal(a.theta, c.theta)


@pytest.mark.parametrize("form", FORMS)
def test_clipping_by_value_and_then_by_norm(form: str, data: Any) -> None:
    net = network()
    g = step_taken(net, data, l2=0.1, form=form)
    cut, norm = np.median(abs(g)), np.linalg.norm(g)
    assert norm > 2 * cut
    by_value = np.clip(g, -cut, cut)
    wanted = {
        (cut, None): by_value,
        (None, norm / 3): g / 3,
        (cut, norm / 3): by_value * min(1, norm / 3 / np.linalg.norm(by_value)),
        (None, norm * 1.1): g,
        (2 * abs(g).max(), None): g,
        (cut, np.linalg.norm(by_value) / 2): by_value / 2,
    }
    for (clip_value, clip_norm), step in wanted.items():
        taken = step_taken(net, data, l2=0.1, clip_value=clip_value, clip_norm=clip_norm, form=form)
        np.testing.assert_allclose(taken, step, rtol=1e-9, atol=1e-13)
    other_order = np.clip(g / 3, -cut / 3, cut / 3)  # the order can be told apart
    assert not np.allclose(other_order, wanted[cut, norm / 3])


# --- dropout --------------------------------------------------------------------------------------------------------


def mean_output_under_dropout(form: str, rate: float, steps: int = 3000) -> np.ndarray:
    """History of the loss |ŷ - 0| of one positive linear unit over five hidden ones, 8 data points a step."""
    net = jn.Network(
        [1, 5, 1], activation="identity", loss="absolute_error", dtype="float64",
        init=([np.ones((5, 1)), [[1.0, 2.0, 3.0, 4.0, 5.0]]], None),
    )  # fmt: skip
    fit: dict[str, Any] = {"optimizer": jn.SGD(lr=0.0), "dropout": rate, "batch_size": 8, "form": form}
    return np.array(net.fit(np.ones((8, 1)), np.zeros(8), epochs=steps, **fit)["loss"])


@pytest.mark.parametrize("rate", [0.2, 0.5, 0.9])
def test_dropout_keeps_the_mean_and_has_the_variance_of_a_fair_coin(rate: float) -> None:
    losses = mean_output_under_dropout("tiled", rate)
    variance = rate / (1 - rate) * 55 / 8  # Σ w² p / (1 - p), over 8 independent data points
    assert losses.mean() == pytest.approx(15, abs=5 * np.sqrt(variance / len(losses)))
    assert losses.var() == pytest.approx(variance, rel=0.2)
    assert abs(np.corrcoef(losses[:-1], losses[1:])[0, 1]) < 5 / np.sqrt(len(losses))


def test_dropout_is_the_same_in_every_form(data: Any) -> None:
    losses = [mean_output_under_dropout(form, 0.3, 200) for form in FORMS]
    for other in losses[1:]:
        np.testing.assert_allclose(other, losses[0], rtol=1e-12)
    nets = [jn.Network([D, 6, 5, OUT], activation=["tanh", "sigmoid"], dtype="float64") for _ in FORMS]
    for net, form in zip(nets, FORMS, strict=True):
        net.fit(*data, dropout=[0.4, 0.2], batch_size=5, epochs=10, form=form, optimizer=jn.SGD(lr=0.1))
    for net in nets[1:]:
        np.testing.assert_allclose(net.theta, nets[0].theta, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("form", FORMS)
def test_the_gradient_under_dropout_is_that_of_the_same_silent_neurons(form: str, data: Any) -> None:
    net = jn.Network([D, 6, 5, OUT], activation=["tanh", "silu"], dtype="float64", init="gaussian", scale=0.5)
    key = training.dropout_keys(net.seed, 0, 1)[0]
    dropout = Dropout(np.array([0.4, 0.2, 0.0]), key)

    def J(theta: np.ndarray) -> float:
        x, y = matrix.forward(net.layout, theta, data[0], dropout)
        return float(matrix.losses(net.layout, x, y, data[1]).mean())

    h = 1e-6
    differences = [(J(net.theta + h * e) - J(net.theta - h * e)) / (2 * h) for e in np.eye(net.size)]
    taken = step_taken(net, data, dropout=[0.4, 0.2], form=form)
    np.testing.assert_allclose(taken, differences, rtol=1e-5, atol=1e-9)
    assert net.history["loss"][0] == pytest.approx(J(net.theta), rel=1e-12)
    assert abs(taken - step_taken(net, data, form=form)).max() > 1e-3


@pytest.mark.parametrize("form", FORMS)
def test_dropout_of_rate_0_is_none(form: str, data: Any) -> None:
    thetas = []
    for dropout in (0.0, [0.0], 0):
        net = network()
        net.fit(*data, dropout=dropout, epochs=3, batch_size=5, form=form)
        thetas.append(net.theta)
    without = network()
    without.fit(*data, epochs=3, batch_size=5, form=form)
    for theta in thetas:
        np.testing.assert_array_equal(theta, without.theta)


def test_dropout_is_off_outside_of_training(data: Any) -> None:
    net = network()
    before, loss = net.predict(data[0]), net.loss(*data)
    history = net.fit(
        *data, dropout=0.5, optimizer=jn.SGD(lr=0.0), epochs=3, validation=data, metrics=["mse"], batch_size=None
    )
    np.testing.assert_array_equal(net.predict(data[0]), before)
    assert history["val_loss"] == [loss] * 3
    assert len(set(history["mse"])) == 1
    assert len(set(history["loss"])) == 3  # but on in each step


def test_each_hidden_layer_has_its_own_rate(data: Any) -> None:
    """With the second layer's rate alone, the first layer's gradient is that of the whole first layer."""
    net = jn.Network([D, 4, 300, OUT], activation="identity", dtype="float64")
    fit: dict[str, Any] = {"optimizer": jn.SGD(lr=1.0), "batch_size": None, "epochs": 1}
    for dropout, silent in (([0.5, 0.0], 0), ([0.0, 0.5], 1)):
        copied = net.copy()
        copied.fit(*data, dropout=dropout, **fit)
        # A silent neuron takes no part in a data point; with one data point alone its weights stay as they are.
        one = net.copy()
        one.fit(data[0][:1], data[1][:1], dropout=dropout, **fit)
        stayed = [(one.W[m] == net.W[m]).all(axis=1).mean() for m in range(2)]
        assert 0.15 < stayed[silent] < 0.85
        if silent == 1:
            assert stayed[0] == 0
        assert not np.array_equal(copied.theta, net.theta)


def test_the_seed_decides_who_is_silent(data: Any) -> None:
    def losses(seed: int) -> list[float]:
        return network().fit(*data, dropout=0.5, optimizer=jn.SGD(lr=0.0), batch_size=None, epochs=3, seed=seed)["loss"]

    assert losses(1) == losses(1)
    assert losses(1) != losses(2)


# --- schedules ------------------------------------------------------------------------------------------------------

SCHEDULES: dict[str, Callable[[int], float]] = {
    "constant": jn.Constant(0.1),
    "inverse": jn.InverseScaling(0.5, power=0.7),
    "step": jn.StepDecay(0.2, every=4, factor=0.5),
    "exponential": jn.Exponential(0.3, 0.9),
    "cosine": jn.Cosine(0.3, 12, lr_min=0.01),
    "one cycle": jn.OneCycle(0.3, 20),
    "warm-up": jn.WarmUp(5, jn.Cosine(0.2, 10)),
    "own": lambda t: 0.2 / (1 + t) + 0.01 * (t % 3),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_drive_the_rate_of_each_step(name: str, form: str, data: Any) -> None:
    eta, net = SCHEDULES[name], network()
    rows = [np.arange(at, min(at + 5, N)) for at in range(0, N, 5)] * 4
    theta, _ = descend(net.theta, *data, rows, eta)
    history = net.fit(*data, optimizer=jn.SGD(lr=eta), batch_size=5, shuffle=False, epochs=4, form=form)
    np.testing.assert_allclose(net.theta, theta, rtol=1e-11, atol=1e-14)
    np.testing.assert_allclose(history["lr"], [eta(4), eta(9), eta(14), eta(19)], rtol=1e-14)


def test_reduce_on_plateau_lowers_the_rate_by_the_validation_loss(data: Any) -> None:
    """Far too large a rate for validation on other targets: the loss there rises, the rate falls by halves."""
    net = network()
    rate = jn.ReduceOnPlateau(0.2, factor=0.5, patience=1, lr_min=0.02)
    history = net.fit(*data, optimizer=jn.SGD(lr=rate), epochs=12, batch_size=None, validation=(data[0], -10 * data[1]))
    assert np.all(np.diff(history["val_loss"]) > 0)
    state, wanted = rate.start(), []
    for loss in history["val_loss"]:
        wanted.append(state.rate)
        state.observe(loss)
    assert history["lr"] == wanted
    assert wanted == [0.2, 0.2, 0.2, 0.1, 0.1, 0.05, 0.05, 0.025, 0.025, 0.02, 0.02, 0.02]


def test_reduce_on_plateau_watches_the_training_loss_without_validation(data: Any) -> None:
    net = network()
    rate = jn.ReduceOnPlateau(0.0, patience=0)
    net.fit(*data, optimizer=jn.SGD(lr=rate), epochs=3)
    assert net.continuation is not None
    assert net.continuation.plateau is not None
    assert net.continuation.plateau.best == net.history["loss"][0]


@pytest.mark.parametrize("bad", [-0.1, float("nan"), float("inf"), "0.1", None, True])
def test_a_bad_rate_is_refused_with_its_step(bad: Any, data: Any) -> None:
    net = network()
    with pytest.raises(jn.InputError, match="SGD lr at step 7"):
        net.fit(*data, optimizer=jn.SGD(lr=lambda t: bad if t == 7 else 0.1), batch_size=5, epochs=5)
    assert np.isfinite(net.theta).all()
    net.fit(*data, optimizer="sgd", epochs=1)


def test_a_bad_rate_of_the_first_step_is_refused_before_anything_changes(data: Any) -> None:
    net = network()
    net.fit(*data, epochs=2)
    before, memory = net.theta.copy(), net.continuation
    with pytest.raises(jn.InputError, match="SGD lr at step 0"):
        net.fit(*data, optimizer=jn.SGD(lr=lambda t: -1.0))
    np.testing.assert_array_equal(net.theta, before)
    assert net.continuation is memory
    assert net.history.stopped == "all epochs done"


# --- going on -------------------------------------------------------------------------------------------------------

RULES = {name: rule for name, rule in OPTIMIZERS.items() if issubclass(rule, UpdateRule) and name != "gd"}
SETTINGS: dict[str, dict[str, Any]] = {"rmsprop": {"momentum": 0.5, "centered": True}}


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("form", FORMS)
def test_5_epochs_and_5_more_are_10_to_the_bit(name: str, form: str, data: Any) -> None:
    rule: Any = RULES[name]
    steady = name in ("delta_bar_delta", "rprop")
    settings = {**SETTINGS.get(name, {}), **({} if steady else {"lr": jn.WarmUp(4, jn.Exponential(0.01, 0.99))})}
    fit: dict[str, Any] = {
        "batch_size": None if rule.full_batch_only else 5, "dropout": 0.2, "l2": 0.01, "validation": data, "form": form,
    }  # fmt: skip
    once, twice = network(), network()
    once.fit(*data, optimizer=rule(**settings), epochs=10, **fit)
    twice.fit(*data, optimizer=rule(**settings), epochs=5, **fit)
    middle = twice.theta.copy()
    second = twice.fit(*data, optimizer=rule(**settings), epochs=5, **fit)  # equal settings, another object
    np.testing.assert_array_equal(once.theta, twice.theta)
    assert not np.array_equal(middle, twice.theta)
    for column in ("epoch", "step", "loss", "lr", "val_loss"):
        assert once.history[column] == twice.history[column]
        assert second[column] == once.history[column][5:]


def test_draws_go_on(data: Any) -> None:
    once, twice = network(), network()
    once.fit(*data, epochs=4, batch_size=5, replacement=True)
    for epochs in (3, 1):
        twice.fit(*data, epochs=epochs, batch_size=5, replacement=True)
    np.testing.assert_array_equal(once.theta, twice.theta)
    shuffled = network()
    shuffled.fit(*data, epochs=4, batch_size=5)
    assert not np.array_equal(once.theta, shuffled.theta)


def test_reduce_on_plateau_goes_on(data: Any) -> None:
    rate = jn.ReduceOnPlateau(0.2, factor=0.5, patience=1)
    fit: dict[str, Any] = {"batch_size": 5, "validation": (data[0], -10 * data[1])}
    once, twice = network(), network()
    once.fit(*data, optimizer=jn.Momentum(lr=rate), epochs=10, **fit)
    for epochs in (1, 4, 5):
        twice.fit(*data, optimizer=jn.Momentum(lr=rate), epochs=epochs, **fit)
    np.testing.assert_array_equal(once.theta, twice.theta)
    assert once.history["lr"] == twice.history["lr"]
    assert len(set(once.history["lr"])) > 2


def test_without_an_optimiser_the_last_one_goes_on(data: Any) -> None:
    a, b = network(), network()
    a.fit(*data, optimizer=jn.RMSProp(), epochs=2)
    a.fit(*data, epochs=2)
    b.fit(*data, optimizer=jn.RMSProp(), epochs=4)
    np.testing.assert_array_equal(a.theta, b.theta)
    first = network()
    first.fit(*data, epochs=1)
    assert first.continuation is not None
    assert first.continuation.optimizer == jn.Adam(lr=1e-3)


def test_another_optimiser_starts_afresh_but_epochs_count_on(data: Any) -> None:
    a = network()
    a.fit(*data, optimizer=jn.Adam(), epochs=3, batch_size=5)
    b = network()
    b.theta[:] = a.theta
    a.fit(*data, optimizer=jn.Adam(lr=0.01), epochs=2, batch_size=None)
    b.fit(*data, optimizer=jn.Adam(lr=0.01), epochs=2, batch_size=None)
    np.testing.assert_array_equal(a.theta, b.theta)
    assert a.history["epoch"] == [0, 1, 2, 3, 4]
    assert a.history["step"] == [5, 10, 15, 16, 17]


def test_data_and_settings_may_change_between_fits(data: Any) -> None:
    net = network()
    net.fit(*data, epochs=1, batch_size=5)
    net.fit(data[0][:7], data[1][:7], epochs=1, batch_size=None, dropout=0.5, l2=0.1, metrics=["mse"])
    assert len(net.history["loss"]) == 2
    assert np.isnan(net.history["mse"][0])
    assert net.history["mse"][1] > 0


# --- what may not be combined ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["delta_bar_delta", "lbfgs"])
def test_full_batch_optimisers_refuse_anything_else(optimizer: str, data: Any) -> None:
    if optimizer == "lbfgs":
        pytest.importorskip("scipy")
    net = network()
    drawn = {"replacement": True}
    for fit in ({"batch_size": 22}, {"batch_size": 1}, drawn, {**drawn, "batch_size": None}):
        with pytest.raises(jn.InputError, match="full batch"):
            net.fit(*data, optimizer=optimizer, **fit)
    np.testing.assert_array_equal(net.theta, network().theta)
    for batch_size in ("auto", None, N):
        assert len(net.fit(*data, optimizer=optimizer, epochs=1, batch_size=batch_size)) == 1


def test_an_output_without_a_slope_is_warned_of(data: Any) -> None:
    for output in ("step", "sgn"):
        net = network(output=output)
        with pytest.warns(UserWarning, match=f"output '{output}' has derivative 0"):
            net.fit(*data, epochs=1)
