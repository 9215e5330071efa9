"""`fit` with sample weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from by_hand import FORMS, N, gradient_by_hand, make_data, network

import jitnet as jn


@pytest.fixture
def data() -> tuple[np.ndarray, np.ndarray]:
    return make_data()


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
