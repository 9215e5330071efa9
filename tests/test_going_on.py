"""A `fit` goes on where the last one ended."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from by_hand import FORMS, make_data, network

import jitnet as jn
from jitnet.optimizers import OPTIMIZERS, UpdateRule


@pytest.fixture
def data() -> tuple[np.ndarray, np.ndarray]:
    return make_data()


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


def test_one_fit_of_a_network_at_a_time():
    """Neither from another thread nor from a callback; a copy may be trained there, and the network afterwards."""
    X, T = np.random.default_rng(0).standard_normal((40, 3)), np.zeros((40, 2))
    net, seen = jn.Network([3, 4, 2], seed=0), []

    def fit_again(this):
        with pytest.raises(jn.InputError, match=r"fit: this network is being trained already"):
            net.fit(X, T, epochs=1)
        seen.append(net.copy().fit(X, T, epochs=1)["loss"])

    net.fit(X, T, epochs=2, callbacks=[fit_again])
    assert len(seen) == 2
    with pytest.raises(RuntimeError, match="stop"):
        net.fit(X, T, epochs=1, callbacks=[raises])
    net.fit(X, T, epochs=1)


def raises(this):
    raise RuntimeError("stop")
