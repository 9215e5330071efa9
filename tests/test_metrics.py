"""Metrics: against scikit-learn's, weighted and not, a user's own, and in the history."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import jitnet as jn
from jitnet.metrics import METRICS


@pytest.fixture(params=[None, 0], ids=["unweighted", "weighted"])
def case(request: pytest.FixtureRequest) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    T = rng.normal(size=(40, 3))
    weight = np.ones(40) if request.param is None else rng.integers(0, 3, 40).astype(float)
    return T, T + rng.normal(size=(40, 3)) * [0.1, 1.0, 3.0], weight


def test_against_scikit_learn(case: Any) -> None:
    sk = pytest.importorskip("sklearn.metrics")
    T, Y, weight = case
    assert METRICS["mse"](T, Y, weight) == pytest.approx(sk.mean_squared_error(T, Y, sample_weight=weight))
    assert METRICS["mae"](T, Y, weight) == pytest.approx(sk.mean_absolute_error(T, Y, sample_weight=weight))
    assert METRICS["r2"](T, Y, weight) == pytest.approx(sk.r2_score(T, Y, sample_weight=weight))
    one = METRICS["rmse"](T[:, :1], Y[:, :1], weight)
    assert one == pytest.approx(sk.root_mean_squared_error(T[:, 0], Y[:, 0], sample_weight=weight))
    labels, said = T.argmax(axis=1), Y.argmax(axis=1)
    wanted = sk.accuracy_score(labels, said, sample_weight=weight)
    assert 0.3 < wanted < 0.9
    assert METRICS["accuracy"](np.eye(3)[labels], Y, weight) == pytest.approx(wanted)


def test_by_hand() -> None:
    T, Y, one = np.array([[1.0], [2.0], [4.0]]), np.array([[1.5], [2.0], [3.0]]), np.ones(3)
    assert METRICS["mse"](T, Y, one) == pytest.approx(1.25 / 3)
    assert METRICS["rmse"](T, Y, one) == pytest.approx((1.25 / 3) ** 0.5)
    assert METRICS["mae"](T, Y, one) == pytest.approx(0.5)
    assert METRICS["r2"](T, Y, one) == pytest.approx(1 - 1.25 / (42 / 9))
    weight = np.array([0.0, 1.0, 3.0])
    assert METRICS["mae"](T, Y, weight) == pytest.approx(0.75)
    binary = np.array([[0.0], [1.0], [1.0], [0.0]])
    assert (
        METRICS["accuracy"](binary, np.array([[0.2], [0.7], [0.4], [0.5]]), np.ones(4)) == 0.75
    )  # ½ is not more than ½
    assert METRICS["accuracy"](binary, np.array([[0.2], [0.7], [0.4], [0.5]]), np.array([0, 0, 2, 2])) == 0.5


def test_r2_of_a_constant_target_and_beyond_float32() -> None:
    one = np.ones(3)
    assert METRICS["r2"](np.full((3, 1), 2.0), np.full((3, 1), 2.0), one) == 1
    assert METRICS["r2"](np.full((3, 1), 2.0), np.full((3, 1), 1.0), one) == 0
    large = np.array([[1e30], [2e30], [4e30]], np.float32)
    assert METRICS["mse"](large, large / 2, one) == pytest.approx(21e60 / 12, rel=1e-6)
    assert METRICS["r2"](large, large, one) == 1


def network(**settings: Any) -> jn.Network:
    return jn.Network([3, 4, 2], **{"activation": "tanh", "dtype": "float64", **settings})


def worst(T: np.ndarray, Y: np.ndarray) -> float:
    return float(abs(T - Y).max())


class Share:
    """A callable object has the name of its class."""

    def __call__(self, T: np.ndarray, Y: np.ndarray) -> int:
        return int((Y > T).sum())


def test_own_metrics_see_targets_as_rows_and_outputs(case: Any) -> None:
    X, _, _ = case
    labels = np.arange(40) % 2
    seen = []

    def look(T: np.ndarray, Y: np.ndarray) -> float:
        seen.append((T.copy(), Y.copy()))
        return 0.0

    net = network(output="softmax", loss="cross_entropy")
    said = net.evaluate(X, labels, metrics=[look, worst, "accuracy", Share()])
    assert list(said) == ["loss", "look", "worst", "accuracy", "Share"]
    np.testing.assert_array_equal(seen[0][0], np.eye(2)[labels])
    np.testing.assert_array_equal(seen[0][1], net.predict(X))
    assert said["worst"] == worst(np.eye(2)[labels], net.predict(X))
    assert isinstance(said["Share"], float)


def test_metrics_in_the_history(case: Any) -> None:
    X, Y, _ = case
    T = Y[:, :2]
    net = network()
    history = net.fit(X[:30], T[:30], epochs=3, metrics=["mae", worst], validation=(X[30:], T[30:]))
    assert list(history) == [
        "epoch",
        "step",
        "loss",
        "lr",
        "seconds",
        "mae",
        "worst",
        "val_loss",
        "val_mae",
        "val_worst",
    ]
    assert history["worst"][-1] == worst(T[:30], net.predict(X[:30]))
    assert history["val_worst"][-1] == worst(T[30:], net.predict(X[30:]))
    assert history["mae"][-1] == net.evaluate(X[:30], T[:30])["mae"]
    assert len(set(history["val_mae"])) == 3


def test_defaults_follow_the_targets(case: Any) -> None:
    X, Y, _ = case
    assert list(network().evaluate(X, Y[:, :2])) == ["loss", "mae", "r2"]
    assert list(network().evaluate(X, Y[:, :2], metrics=[])) == ["loss"]
    bce = network(output="sigmoid", loss="binary_cross_entropy")
    assert list(bce.evaluate(X, Y[:, :2] > 0)) == ["loss", "accuracy"]


@pytest.mark.parametrize(
    ("metrics", "says"),
    [
        ("mse", "a list of names or functions"),
        (5, "a list of names or functions"),
        (worst, "a list of names or functions"),
        (["msse"], "unknown name 'msse'.*did you mean 'mse'.*known: accuracy"),
        ([["mse"]], "unknown name"),
        ([None], "unknown name"),
        (["mse", "mse"], "a second column 'mse'"),
        ([worst, lambda T, Y: 0.0, lambda T, Y: 1.0], "a second column '<lambda>'"),
    ],
)
def test_what_is_refused(metrics: Any, says: str, case: Any) -> None:
    X, Y, _ = case
    net = network()
    for ask in (net.fit, net.evaluate):
        with pytest.raises(jn.InputError, match=f"metrics.*{says}"):
            ask(X, Y[:, :2], metrics=metrics)
    np.testing.assert_array_equal(net.theta, network().theta)


def test_a_metric_may_not_take_the_place_of_a_column(case: Any) -> None:
    X, Y, _ = case

    def loss(T: np.ndarray, Y: np.ndarray) -> float:
        return 1e9

    for ask in (network().fit, network().evaluate):
        with pytest.raises(jn.InputError, match="metrics: a second column 'loss'"):
            ask(X, Y[:, :2], metrics=[loss])


def test_a_metric_that_gives_no_number_is_named(case: Any) -> None:
    X, Y, _ = case
    for value in (np.ones(3), None, "x"):

        def mine(T: np.ndarray, Y: np.ndarray, value: Any = value) -> Any:
            return value

        with pytest.raises(jn.InputError, match=f"metrics: mine returned {type(value).__name__}, a number is wanted"):
            network().evaluate(X, Y[:, :2], metrics=[mine])


def test_independent_outputs_are_judged_one_by_one() -> None:
    """binary_cross_entropy with several outputs: each is a yes or no of its own."""
    net = jn.Network([3, 3], output="sigmoid", loss="binary_cross_entropy", init=([np.eye(3)], None), dtype="float64")
    X = [[3.0, 5.0, -4.0], [-3.0, -5.0, -4.0], [1.0, 2.0, 3.0]]
    T = [[1, 1, 0], [0, 0, 0], [1, 1, 1]]
    np.testing.assert_array_equal(net.classify(X), T)
    assert net.evaluate(X, T)["accuracy"] == 1.0
    T[0] = [0, 1, 0]
    assert net.evaluate(X, T)["accuracy"] == pytest.approx(8 / 9)


def test_a_name_that_a_validation_column_has_is_refused() -> None:
    def val_accuracy(T: np.ndarray, Y: np.ndarray) -> float:
        return 0.0

    with pytest.raises(jn.InputError, match="val_accuracy"):
        jn.Network([1, 1]).fit([[1.0]], [[1.0]], metrics=[val_accuracy])


@pytest.mark.parametrize("output", [("softmax", "cross_entropy"), ("sigmoid", "binary_cross_entropy")])
def test_outputs_of_nan_are_no_answers(output: tuple[str, str]) -> None:
    """Though NaN would be the largest: the first class, and no."""
    net = jn.Network(
        [2, 2, 2], activation="identity", output=output[0], loss=output[1],
        init=([[[1, 1], [1, 1]], [[1, -1], [-1, 1]]], None), dtype="float32",
    )  # fmt: skip
    X, T = np.array([[1.0, 1.0], [3e38, 3e38], [1.0, 0.0]]), np.array([[1, 0], [1, 0], [1, 0]])
    T = 1 - T if output[0] == "sigmoid" else T
    with np.errstate(all="ignore"):
        Y = net.predict(X)
    assert np.isnan(Y).any(axis=1).tolist() == [False, True, False]
    judged = net.evaluate(X, T)
    assert np.isnan(judged["loss"])
    rest = net.evaluate(X[[0, 2]], T[[0, 2]])["accuracy"]
    assert judged["accuracy"] == pytest.approx(rest * 2 / 3)
    assert rest > 0
    with pytest.raises(jn.InputError, match=r"^X: row 1 given, whose outputs are NaN, numbers whose sums float32 can"):
        net.classify(X)
