"""L-BFGS: the minimum of convex problems, against SciPy and scikit-learn, and how it goes on and ends."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import jitnet as jn
from jitnet.training import Run

scipy_optimize = pytest.importorskip("scipy.optimize")


@pytest.fixture
def classes() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(2)
    X = rng.normal(size=(80, 4))
    return X, (X @ [1.0, -2.0, 0.5, 0.0] + rng.normal(size=80) > 0.3).astype(float)


def logistic(**settings: Any) -> jn.Network:
    """A single neuron is logistic regression (seed 002)."""
    return jn.Network(
        [4, 1],
        **{"output": "sigmoid", "loss": "binary_cross_entropy", "reduction": "sum", "dtype": "float64", **settings},
    )


EXACT = jn.LBFGS(loss_tolerance=0.0, gradient_tolerance=1e-8)


@pytest.mark.parametrize("form", ["plain", "tiled", "matrix"])
def test_logistic_regression_is_scikit_learns(form: str, classes: Any) -> None:
    sk = pytest.importorskip("sklearn.linear_model")
    net = logistic()
    history = net.fit(*classes, optimizer=EXACT, epochs=200, l2=0.5, form=form)
    known = sk.LogisticRegression(C=2.0, tol=1e-10, max_iter=10_000).fit(*classes)
    np.testing.assert_allclose(net.W[0], known.coef_, rtol=1e-6)
    np.testing.assert_allclose(net.b[0], known.intercept_, rtol=1e-6)
    assert "CONVERGENCE" in str(history.stopped)
    assert len(history) < 200


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_the_minimum_of_the_weighted_penalised_loss(reduction: str, classes: Any) -> None:
    X, T = classes
    c = np.random.default_rng(0).uniform(0, 2, 80)
    net = logistic(reduction=reduction)
    net.fit(X, T, optimizer=EXACT, epochs=300, l2=0.1, sample_weight=c)

    def J(theta: np.ndarray) -> float:
        x = X @ theta[:4] + theta[4]
        total = (c * (np.logaddexp(0, x) - T * x)).sum() / (c.sum() if reduction == "mean" else 1)
        return float(total + 0.05 * (theta[:4] ** 2).sum())

    known = scipy_optimize.minimize(J, np.zeros(5), method="BFGS", options={"gtol": 1e-8})
    np.testing.assert_allclose(net.theta, known.x, rtol=1e-4, atol=1e-5)
    assert net.history["loss"][-1] == pytest.approx(J(net.theta), rel=1e-12)
    assert net.history["loss"][-1] <= known.fun + 1e-12


def test_linear_least_squares_are_solved() -> None:
    rng = np.random.default_rng(0)
    X, T = rng.normal(size=(50, 3)), rng.normal(size=(50, 2))
    net = jn.Network([3, 2], dtype="float64")
    net.fit(X, T, optimizer=EXACT, epochs=100)
    known = np.linalg.lstsq(np.c_[X, np.ones(50)], T, rcond=None)[0]
    np.testing.assert_allclose(net.W[0], known[:3].T, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(net.b[0], known[3], rtol=1e-6, atol=1e-8)


def test_l1_is_in_its_loss() -> None:
    rng = np.random.default_rng(0)
    X, T = rng.normal(size=(50, 3)), rng.normal(size=(50, 2))
    net = jn.Network([3, 2], dtype="float64")
    history = net.fit(X, T, optimizer="lbfgs", epochs=5, l1=0.3)
    assert history["loss"][-1] == pytest.approx(net.loss(X, T) + 0.3 * abs(net.W[0]).sum(), rel=1e-12)


def test_forms_agree(classes: Any) -> None:
    thetas = []
    for form in ("plain", "tiled", "matrix"):
        net = jn.Network([4, 5, 1], activation="tanh", dtype="float64")
        net.fit(*classes, optimizer="lbfgs", epochs=8, form=form)
        thetas.append(net.theta)
    for theta in thetas[1:]:
        np.testing.assert_allclose(theta, thetas[0], rtol=1e-8)


def test_float32_trains_too(classes: Any) -> None:
    net = jn.Network([4, 8, 1], activation="tanh", output="sigmoid", loss="binary_cross_entropy")
    before = net.loss(*classes)
    net.fit(*classes, optimizer="lbfgs", epochs=50)
    assert net.theta.dtype == np.float32
    assert net.loss(*classes) < before / 3


def test_each_iteration_is_an_epoch_and_the_loss_never_rises(classes: Any) -> None:
    net, thetas = jn.Network([4, 5, 1], activation="tanh", dtype="float64"), []

    def note(run: Run) -> None:
        thetas.append(run.net.theta.copy())
        assert run.row["loss"] == pytest.approx(run.net.loss(*classes), rel=1e-12)

    history = net.fit(*classes, optimizer="lbfgs", epochs=15, callbacks=[note], metrics=["mse"], validation=classes)
    assert history["epoch"] == list(range(15))
    assert history["step"] == list(range(1, 16))
    assert np.all(np.diff(history["loss"]) < 0)
    assert np.isnan(history["lr"]).all()
    assert history["val_loss"] == pytest.approx(history["loss"], rel=1e-12)
    assert history.stopped == "all epochs done"
    np.testing.assert_array_equal(net.theta, thetas[-1])


def test_it_goes_on_from_where_it_was(classes: Any) -> None:
    net = jn.Network([4, 5, 1], activation="tanh", dtype="float64")
    net.fit(*classes, optimizer="lbfgs", epochs=5)
    middle = net.loss(*classes)
    history = net.fit(*classes, optimizer="lbfgs", epochs=5)
    assert history["epoch"] == [5, 6, 7, 8, 9]
    assert history["loss"][0] < middle
    net.fit(*classes, optimizer="adam", epochs=1)
    assert net.history["epoch"] == list(range(11))


def test_callbacks_stop_it(classes: Any) -> None:
    full = jn.Network([4, 5, 1], activation="tanh", dtype="float64").fit(*classes, optimizer="lbfgs", epochs=20)
    for callback, says in (
        (jn.StopAtLoss(full["loss"][6]), "loss"),
        (lambda run: run.epoch == 6, "callback <lambda>"),
    ):
        net = jn.Network([4, 5, 1], activation="tanh", dtype="float64")
        history = net.fit(*classes, optimizer="lbfgs", epochs=20, callbacks=[callback])
        assert history["loss"] == full["loss"][:7]
        assert str(history.stopped).startswith(says)


def test_early_stopping_restores(classes: Any) -> None:
    X, T = classes
    net = jn.Network([4, 20, 1], activation="tanh", dtype="float64")
    history = net.fit(
        X[:15],
        T[:15],
        optimizer="lbfgs",
        epochs=100,
        validation=(X[15:], T[15:]),
        callbacks=[jn.EarlyStopping(patience=4)],
    )
    assert history.best_epoch == int(np.argmin(history["val_loss"])) < len(history) - 1
    assert net.loss(X[15:], T[15:]) == min(history["val_loss"])


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_error_in_a_callback_comes_through(error: type[BaseException], classes: Any) -> None:
    net = jn.Network([4, 5, 1], activation="tanh", dtype="float64")

    def fails(run: Run) -> None:
        if run.epoch == 3:
            raise error

    with pytest.raises(error):
        net.fit(*classes, optimizer="lbfgs", epochs=20, callbacks=[fails])
    assert len(net.history) == 4
    assert net.history["loss"][-1] == pytest.approx(net.loss(*classes), rel=1e-12)
    assert net.fit(*classes, optimizer="lbfgs", epochs=2)["epoch"] == [4, 5]


def test_no_epochs_and_a_start_at_the_minimum(classes: Any) -> None:
    net = logistic()
    assert len(net.fit(*classes, optimizer="lbfgs", epochs=0)) == 0
    net.fit(*classes, optimizer=EXACT, epochs=500, l2=0.5)
    before = net.theta.copy()
    history = net.fit(*classes, optimizer="lbfgs", epochs=5, l2=0.5)
    assert len(history) == 0
    assert "CONVERGENCE" in str(history.stopped)
    np.testing.assert_array_equal(net.theta, before)


@pytest.mark.parametrize("fit", [{"dropout": 0.1}, {"clip_value": 1.0}, {"clip_norm": 1.0}, {"steps": 5}])
def test_what_a_line_search_cannot_have(fit: dict[str, Any], classes: Any) -> None:
    net = jn.Network([4, 5, 1])
    with pytest.raises(jn.InputError, match=f"{next(iter(fit))}: given with LBFGS"):
        net.fit(*classes, optimizer="lbfgs", **fit)
    assert net.continuation is None


def test_without_scipy_the_extra_is_named(classes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    with pytest.raises(jn.MissingExtraError, match=r"pip install 'jitnet\[scipy\]'"):
        logistic().fit(*classes, optimizer="lbfgs")
