"""Numbers that run away: an error with epoch, step and layer, finite parameters with a finite loss kept, no warnings.

Warnings are errors in this suite, so each test also says that NumPy's did not leak.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import jitnet as jn

FORMS = ("plain", "tiled", "matrix")
rng = np.random.default_rng(4)
X, T = rng.normal(size=(20, 3)), rng.normal(size=(20, 2))


def network(widths: tuple[int, ...] = (3, 4, 2), **settings: Any) -> jn.Network:
    return jn.Network(list(widths), **{"activation": "tanh", "dtype": "float64", **settings})


def diverges(net: jn.Network, X: Any = X, T: Any = T, **fit: Any) -> jn.DivergenceError:
    """Train until it fails; the network must be usable afterwards."""
    with pytest.raises(jn.DivergenceError) as caught:
        net.fit(X, T, **fit)
    assert np.isfinite(net.theta).all()
    if fit.get("batch_size", "auto") in (None, "auto"):  # of a mini-batch only its own loss is known to be finite
        assert np.isfinite(net.loss(X, T, form=fit.get("form", "auto")))
    assert np.isfinite(net.history["loss"] if len(net.history) else [0]).all()
    assert net.history.stopped == "DivergenceError"
    return caught.value


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("batch", [None, 3])
def test_a_huge_rate(form: str, dtype: str, batch: int | None) -> None:
    net = network(activation="relu", dtype=dtype)
    error = diverges(net, optimizer=jn.SGD(lr=1e6), epochs=100, batch_size=batch, form=form, seed=1)
    steps = 1 if batch is None else 7
    assert (error.epoch, error.step) == (len(net.history), error.step)
    assert error.epoch * steps <= error.step < (error.epoch + 1) * steps
    assert error.layer in (1, 2)
    said = re.search(r"epoch (\d+), step (\d+): the loss is (\w+).*in layer (\d).*it was 1e\+06", str(error))
    assert said is not None
    assert said.groups()[:2] == (str(error.epoch), str(error.step))
    assert said[3] in ("nan", "inf")
    assert int(said[4]) == error.layer


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("steps_in_all", [3, 8])
def test_the_step_is_the_first_whose_loss_is_not_finite(form: str, steps_in_all: int) -> None:
    """The rate is 0.1 but for one step; the loss of the next one is the first that is not finite."""

    def eta(t: int) -> float:
        return 1e200 if t == 2 else 0.1

    net, same = network(activation="identity"), network(activation="identity")
    fit: dict[str, Any] = {"batch_size": 5, "shuffle": False, "form": form}
    error = diverges(net, optimizer=jn.SGD(lr=eta), steps=steps_in_all, **fit)
    assert (error.epoch, error.step) == (0, 3)
    same.fit(X, T, optimizer=jn.SGD(lr=0.1), steps=2, **fit)
    np.testing.assert_array_equal(net.theta, same.theta)  # those that the bad step began with


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("rate", "theta_is_finite"), [(1e300, True), (1e308, False)])
def test_the_last_step_of_a_fit(form: str, rate: float, theta_is_finite: bool) -> None:
    """No step follows to see what it made: parameters that are not finite, or finite ones of an infinite loss."""
    net = network(activation="identity")
    before = net.theta.copy()
    with np.errstate(all="ignore"):
        step = net.theta - rate * net.gradient(X, 1e3 * T).theta
    assert np.isfinite(step).all() == theta_is_finite
    error = diverges(net, T=1e3 * T, optimizer=jn.SGD(lr=rate), steps=1, batch_size=None, form=form)
    assert (error.epoch, error.step) == (0, 1)
    np.testing.assert_array_equal(net.theta, before)


@pytest.mark.parametrize("form", FORMS)
def test_the_last_step_after_good_ones(form: str) -> None:
    net, same = network(activation="identity"), network(activation="identity")
    rate = lambda t: 1e300 if t == 11 else 0.01  # noqa: E731
    error = diverges(net, optimizer=jn.SGD(lr=rate), epochs=3, batch_size=5, form=form)
    assert (error.epoch, error.step) == (2, 12)
    same.fit(X, T, optimizer=jn.SGD(lr=0.01), steps=11, batch_size=5, form=form)
    np.testing.assert_array_equal(net.theta, same.theta)
    assert len(net.history) == 3


@pytest.mark.parametrize("form", FORMS)
def test_infinite_weights_behind_a_saturated_output(form: str) -> None:
    """σ(±inf) is 1 or 0, so the loss stays finite while W grows beyond all numbers, in the middle of a call."""
    net = network((3, 2), output="sigmoid", loss="squared_error")
    optimizer = jn.Momentum(lr=1e308, beta=0.999)
    diverges(net, abs(X), np.ones((20, 2)), optimizer=optimizer, batch_size=1, shuffle=False, epochs=10, form=form)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "optimizer",
    [
        jn.SGD(lr=1e40), jn.Momentum(lr=1e300), jn.Adam(lr=1e45), jn.Adadelta(lr=1e60), jn.SGD(weight_decay=1e45),
        jn.DeltaBarDelta(lr=1e40), jn.DeltaBarDelta(kappa=1e40), jn.Rprop(lr=1e40, step_max=1e45),
    ],
    ids=repr,
)  # fmt: skip
def test_settings_beyond_float32(form: str, optimizer: jn.SGD) -> None:
    diverges(network(dtype="float32"), optimizer=optimizer, batch_size=None, epochs=10, form=form)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("penalty", [{"l1": 1e300}, {"l2": 1e300}, {"l2": 1e38}])
def test_huge_penalties(form: str, penalty: dict[str, float]) -> None:
    diverges(network(dtype="float32"), optimizer="sgd", epochs=10, form=form, **penalty)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("clip", [{"clip_value": 1e300}, {"clip_norm": 1e300}, {"clip_norm": 1e-300}])
def test_clipping_beyond_float32_is_no_clipping_or_no_step(form: str, clip: dict[str, float]) -> None:
    net, same = network(dtype="float32"), network(dtype="float32")
    net.fit(X, T, optimizer="sgd", epochs=2, form=form, **clip)
    if clip.get("clip_norm") != 1e-300:
        same.fit(X, T, optimizer="sgd", epochs=2, form=form)
    np.testing.assert_array_equal(net.theta, same.theta)


@pytest.mark.parametrize("form", FORMS)
def test_clipping_prevents_it(form: str) -> None:
    net = network(activation="identity")
    history = net.fit(X, 1e3 * T, optimizer=jn.SGD(lr=100.0), clip_norm=1e-3, epochs=100, form=form)
    assert np.isfinite(history["loss"]).all()


@pytest.mark.parametrize("form", FORMS)
def test_data_that_no_finite_loss_comes_of(form: str) -> None:
    """The very first loss is infinite: the parameters stay as they were."""
    net = network(activation="relu")
    before = net.theta.copy()
    with pytest.raises(jn.DivergenceError) as caught:
        net.fit(X, 1e200 * T, form=form)
    assert (caught.value.epoch, caught.value.step, caught.value.layer) == (0, 0, None)
    assert "the loss is inf. Likely" in str(caught.value)
    np.testing.assert_array_equal(net.theta, before)


@pytest.mark.parametrize("form", FORMS)
def test_the_layer_is_the_first_whose_numbers_are_not_finite(form: str) -> None:
    for huge in range(3):
        net = network((3, 4, 5, 2), activation="identity", dtype="float32", init="gaussian")
        net.W[huge] = net.W[huge] * 1e38
        for m in range(3):
            net.b[m] = np.ones(len(net.b[m]))
        with pytest.raises(jn.DivergenceError) as caught:
            net.fit(1e3 * X, T, form=form)
        assert caught.value.layer == huge + 1
        assert f"in layer {huge + 1}" in str(caught.value)


@pytest.mark.parametrize("form", FORMS)
def test_own_functions_that_give_nan(form: str) -> None:
    nan = jn.Activation("hole", g=lambda x: np.nan if x > 3 else x, dg=lambda x: 1.0)
    net = network(activation=nan)
    error = diverges(net, optimizer=jn.SGD(lr=2.0), epochs=500, form=form)
    assert error.layer == 1


def test_it_can_train_on_with_another_rate() -> None:
    net = network(activation="relu")
    net.fit(X, T, optimizer=jn.Momentum(lr=0.01), epochs=5)
    rate = lambda t: 0.01 if t < 3 else 1e200  # noqa: E731
    assert diverges(net, optimizer=jn.Momentum(lr=rate), epochs=100).epoch >= 5
    same = net.copy()
    loss = net.loss(X, T)
    # What the optimiser remembered is gone: it may not be finite.
    assert net.continuation is not None
    assert net.continuation.optimizer_step == 0
    assert not net.continuation.state.any()
    for each in (net, same):
        each.fit(X, T, optimizer=jn.Momentum(lr=1e-3), epochs=50)
    assert net.loss(X, T) < loss
    np.testing.assert_array_equal(net.theta, same.theta)


def test_callbacks_are_told_of_the_end_and_early_stopping_keeps_the_best() -> None:
    ended = []

    class End(jn.Callback):
        def end(self, run: Any) -> None:
            ended.append(run.stopped)

    net = network(activation="identity")
    rate = lambda t: 0.05 if t < 6 else 1e200  # noqa: E731
    with pytest.raises(jn.DivergenceError):
        net.fit(
            X, T, optimizer=jn.SGD(lr=rate), epochs=20, batch_size=None, validation=(X, T),
            callbacks=[End(), jn.EarlyStopping()],
        )  # fmt: skip
    assert ended == ["DivergenceError"]
    assert np.isfinite(net.theta).all()
    assert net.history.best_epoch == 5
    assert net.loss(X, T) == net.history["val_loss"][5]


def test_early_stopping_never_brings_back_what_diverged() -> None:
    """The last step's validation loss is infinite before the error is raised."""
    net = network(activation="identity")
    before = net.theta.copy()
    with pytest.raises(jn.DivergenceError):
        net.fit(
            X,
            T,
            optimizer=jn.SGD(lr=1e300),
            epochs=1,
            batch_size=None,
            validation=(X, T),
            callbacks=[jn.EarlyStopping()],
        )
    np.testing.assert_array_equal(net.theta, before)


def test_weights_of_zero_keep_a_wild_data_point_out() -> None:
    wild, c = T.copy(), np.ones(20)
    wild[3], c[3] = 1e200, 0
    for form in FORMS:
        net, same = network(), network()
        net.fit(X, wild, sample_weight=c, epochs=3, form=form)
        same.fit(X, T, sample_weight=c, epochs=3, form=form)
        np.testing.assert_array_equal(net.theta, same.theta)


@pytest.mark.parametrize("form", FORMS)
def test_lbfgs(form: str) -> None:
    pytest.importorskip("scipy")
    net = network(activation="relu", output="exponential", loss="poisson", dtype="float32")
    before = net.theta.copy()
    with pytest.raises(jn.DivergenceError) as caught:
        net.fit(1e3 * X, 1e3 * abs(T), optimizer="lbfgs", epochs=30, form=form)
    error = caught.value
    assert error.epoch == error.step == len(net.history)
    assert re.search(rf"epoch {error.epoch}, step {error.step}: the loss is (inf|nan)", str(error))
    assert np.isfinite(net.theta).all()
    if error.epoch == 0:
        np.testing.assert_array_equal(net.theta, before)
    else:
        assert np.isfinite(net.loss(1e3 * X, 1e3 * abs(T)))
    net.fit(X, abs(T), epochs=1)


@pytest.mark.parametrize("form", FORMS)
def test_lbfgs_after_some_iterations(form: str) -> None:
    """A function whose line search runs into a wall of NaN after a while."""
    pytest.importorskip("scipy")
    wall = jn.Loss("wall", value=lambda y, t: np.nan if y > 3 else (y - 4) ** 2, derivative=lambda y, t: 2 * (y - 4))
    net = network((1, 1), loss=wall, init=([[[0.0]]], None))
    error = diverges(net, np.ones((5, 1)), np.ones((5, 1)), optimizer="lbfgs", epochs=50, form=form)
    assert error.step == len(net.history)


@pytest.mark.parametrize("form", FORMS)
def test_what_is_asked_of_a_network_does_not_warn(form: str) -> None:
    """Overflow gives inf or NaN in what is said, in both forms without a warning."""
    net = network((3, 4, 4, 2), activation="relu", dtype="float32")
    for m in range(3):
        net.W[m] = net.W[m] * 1e20
    for value in (
        net.predict(X, form=form), net.gradient(X, T, form=form).theta, net.gradient(X, T, form=form).input,
        net.jacobian(X, form=form), net.jvp(X, X, form=form), net.vjp(X, T, form=form).theta, net.loss(X, T, form=form),
    ):  # fmt: skip
        assert not np.isfinite(value).all()
    assert not np.isfinite(net.evaluate(X, T, metrics=["mse", "rmse", "mae", "r2"])["loss"])
