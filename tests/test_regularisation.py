"""`fit` with penalties, weight decay, clipping and dropout."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from by_hand import FORMS, HIDDEN, OUT, D, gradient_by_hand, make_data, network

import jitnet as jn
from jitnet import training
from jitnet.forms import matrix
from jitnet.layout import Dropout


@pytest.fixture
def data() -> tuple[np.ndarray, np.ndarray]:
    return make_data()


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
