"""`fit` with a rate that changes from step to step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from by_hand import FORMS, N, descend, make_data, network

import jitnet as jn


@pytest.fixture
def data() -> tuple[np.ndarray, np.ndarray]:
    return make_data()


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
