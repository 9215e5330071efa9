"""How parameters start: the variances and bounds of their papers, given arrays, and seeds."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import jitnet as jn
from jitnet import activations, initializers

N_IN, N_OUT = 300, 200
"""60,000 weights: the standard error of their variance is under 1 % of it."""

VARIANCE = {"glorot": 2 / (N_IN + N_OUT), "xavier": 2 / (N_IN + N_OUT), "he": 2 / N_IN, "lecun": 1 / N_IN}
"""Glorot, Bengio 2010; He et al. 2015; LeCun et al. 1998."""


def layer(**settings: Any) -> np.ndarray:
    net = jn.Network([N_IN, N_OUT], dtype="float64", **settings)
    assert not net.b[0].any() or settings["init"] == "gaussian"
    return net.W[0]


@pytest.mark.parametrize("rule", VARIANCE)
@pytest.mark.parametrize("shape", ["normal", "uniform"])
def test_variance_bound_and_shape(rule: str, shape: str) -> None:
    W = layer(init=f"{rule}_{shape}")
    deviation = math.sqrt(VARIANCE[rule])
    assert W.var() == pytest.approx(VARIANCE[rule], rel=0.03)
    assert abs(W.mean()) < 5 * deviation / math.sqrt(W.size)
    if shape == "uniform":
        bound = math.sqrt(3) * deviation
        assert 0.999 * bound < abs(W).max() <= bound
        assert (W**4).mean() == pytest.approx(1.8 * VARIANCE[rule] ** 2, rel=0.05)
    else:
        assert abs(W).max() > 3.5 * deviation
        assert (W**4).mean() == pytest.approx(3 * VARIANCE[rule] ** 2, rel=0.1)
    rows, columns = W.var(axis=1), W.var(axis=0)  # no row or column has a scale of its own
    assert rows.max() < 1.6 * VARIANCE[rule]
    assert columns.max() < 1.8 * VARIANCE[rule]


@pytest.mark.parametrize("scale", [None, 0.5, 3])
def test_gaussian_has_the_given_scale_in_weights_and_biases(scale: float | None) -> None:
    net = jn.Network([N_IN, 2000], init="gaussian", scale=scale, dtype="float64")
    wanted = 0.1 if scale is None else scale
    for part in (net.W[0], net.b[0]):
        assert part.std() == pytest.approx(wanted, rel=0.06)
        assert abs(part.mean()) < 5 * wanted / math.sqrt(part.size)
    assert not jn.Network([3, 2], init="gaussian", scale=0).theta.any()


def test_zeros() -> None:
    net = jn.Network([4, 3, 2], init="zeros")
    assert not net.theta.any()
    assert not net.predict(np.ones((2, 4))).any()


@pytest.mark.parametrize("name", [*activations.TABLE, "own"])
def test_auto_suits_the_activation(name: str) -> None:
    """He for ReLU and its kin (gain 2), LeCun for SELU, Glorot for what is like the identity at 0."""
    own = jn.Activation("own", g=lambda x: 2 * x, dg=lambda x: 2.0)
    auto = jn.Network([30, 20, 10], activation=own if name == "own" else name, dtype="float64")
    kin = {"relu", "leaky_relu", "elu", "gelu", "silu", "softplus", "mish"}
    rule = "he_normal" if name in kin else "lecun_normal" if name == "selu" else "glorot_uniform"
    named = jn.Network([30, 20, 10], init=rule, dtype="float64")
    np.testing.assert_array_equal(auto.W[0], named.W[0])
    output = jn.Network([30, 10], output="tanh", dtype="float64")  # the output layer has its own
    assert abs(output.W[0]).max() <= math.sqrt(6 / 40)


def test_each_layer_has_its_own_fan() -> None:
    net = jn.Network([100, 400, 50], init="he_normal", dtype="float64")
    assert [W.var() for W in net.W] == [pytest.approx(2 / 100, rel=0.05), pytest.approx(2 / 400, rel=0.05)]


def test_layers_differ() -> None:
    net = jn.Network([5, 5, 5], init="he_normal")
    assert not np.array_equal(net.W[0], net.W[1])


@pytest.mark.parametrize("init", [name for name in initializers.NAMES if name != "zeros"])
def test_the_seed_decides(init: str) -> None:
    def theta(seed: int, **settings: Any) -> np.ndarray:
        return jn.Network([4, 5, 3], init=init, seed=seed, **settings).theta

    np.testing.assert_array_equal(theta(3), theta(3))
    assert not np.array_equal(theta(3), theta(4))
    np.testing.assert_array_equal(theta(3), theta(3, dtype="float64").astype(np.float32))
    np.testing.assert_array_equal(theta(2**70), theta(2**70))


def test_the_seed_of_numpy_has_no_part_in_it() -> None:
    theta = []
    for seed in (1, 2):
        np.random.seed(seed)  # noqa: NPY002 - that is what must not matter
        theta.append(jn.Network([4, 3]).theta)
    np.testing.assert_array_equal(*theta)


def test_names_in_any_usual_spelling() -> None:
    for spelling in ("he_normal", "He-Normal", "HE_NORMAL"):
        np.testing.assert_array_equal(
            jn.Network([4, 3], init=spelling).theta, jn.Network([4, 3], init="he_normal").theta
        )
    np.testing.assert_array_equal(
        jn.Network([4, 3], init="xavier_uniform").theta, jn.Network([4, 3], init="glorot_uniform").theta
    )


def test_given_arrays() -> None:
    W = [np.arange(6).reshape(3, 2), [[1.0, 2.0, 3.0]]]
    b = [np.array([1, 2, 3], np.int8), [4.5]]
    net = jn.Network([2, 3, 1], init=(W, b), dtype="float64")
    np.testing.assert_array_equal(net.theta, [0, 1, 2, 3, 4, 5, 1, 2, 3, 1, 2, 3, 4.5])
    W[0][0, 0] = 99
    assert net.theta[0] == 0
    np.testing.assert_array_equal(jn.Network([2, 3, 1], init=(W, None)).b[0], 0)
    np.testing.assert_array_equal(jn.Network([2, 3, 1], init=(W, None), bias=False).theta[6:], [1, 2, 3])


@pytest.mark.parametrize(
    ("init", "says"),
    [
        ("he", "unknown name 'he'"),
        (3, "a name, or a pair"),
        (([np.ones((3, 2))], None), "1 arrays W given, 2 are wanted"),
        (([np.ones((3, 2)), np.ones((1, 3))], [np.ones(3)]), "1 arrays b given, 2 are wanted"),
        (([np.ones((2, 3)), np.ones((1, 3))], None), r"W\[0\]: shape \(2, 3\) given, \(3, 2\) is wanted"),
        (([np.ones((3, 2)), np.ones((1, 3))], [np.ones(3), np.ones(2)]), r"b\[1\]: shape \(2,\) given, \(1,\)"),
        (([np.ones((3, 2)), np.full((1, 3), np.inf)], None), r"W\[1\]: inf at \[0, 0\]"),
        (([np.ones((3, 2)), [["a", "b", "c"]]], None), r"W\[1\]: dtype"),
        ((5, None), "list"),
        ((None, None), "list"),
        (([np.ones((3, 2)), np.ones((1, 3))], 5), "list"),
    ],
)
def test_what_is_refused(init: Any, says: str) -> None:
    with pytest.raises(jn.InputError, match=f"init.*{says}"):
        jn.Network([2, 3, 1], init=init)


def test_scale_belongs_to_gaussian() -> None:
    for settings in (
        {"init": "he_normal", "scale": 0.1},
        {"scale": 0.1},
        {"init": ([np.ones((1, 2))], None), "scale": 1},
    ):
        with pytest.raises(jn.InputError, match=r"scale.*gaussian"):
            jn.Network([2, 1], **settings)
    for scale in (-1, float("nan"), float("inf"), "a", True):
        with pytest.raises(jn.InputError, match="scale"):
            jn.Network([2, 1], init="gaussian", scale=scale)
