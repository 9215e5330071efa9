"""`jn.compare`: what it reports is what it measured."""

from __future__ import annotations

import numpy as np
import pytest

import jitnet as jn
from jitnet.forms import matrix


def digits_like(dtype: str) -> tuple[jn.Network, np.ndarray, np.ndarray]:
    net = jn.Network([7, 5, 3], activation="tanh", output="softmax", loss="cross_entropy", dtype=dtype, seed=1)
    rng = np.random.default_rng(0)
    return net, rng.standard_normal((11, 7)), rng.integers(0, 3, 11)


@pytest.mark.parametrize(("dtype", "most"), [("float64", 1e-13), ("float32", 1e-5)])
def test_forms_agree_and_the_network_is_left_alone(dtype: str, most: float) -> None:
    net, X, T = digits_like(dtype)
    theta = net.theta.copy()
    found = jn.compare(net, X, T, rounds=2, differences=1000, sample_weight=np.arange(11.0))
    assert [row.layer for row in found.layers] == [1, 2]
    assert 0 <= found.relative < most
    assert found.loss < most
    assert found.input_gradient < most
    assert found.tried == net.size
    assert 0 < found.differences < 1e-6
    assert set(found.seconds) == {"tiled", "matrix"}
    assert all(seconds > 0 for seconds in found.seconds.values())
    np.testing.assert_array_equal(net.theta, theta)
    text = str(found)
    assert "tiled" in text
    assert "dJ/dW" in text
    assert dtype in text


def test_a_wrong_form_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    net, X, T = digits_like("float64")
    right = matrix.gradient

    def wrong(*args: np.ndarray) -> np.ndarray:
        g = right(*args).copy()
        g[7 * 5 + 2] += 0.25  # a bias of layer 1
        return g

    monkeypatch.setattr(matrix, "gradient", wrong)
    first, second = jn.compare(net, X, T, rounds=1, differences=0).layers
    assert first.biases == pytest.approx(0.25)
    assert first.relative > 0.1
    assert first.weights < 1e-13
    assert second.relative < 1e-13


def test_a_wrong_derivative_is_remarked_on() -> None:
    right = jn.Activation("square", g=lambda x: x * x, dg=lambda x: 2 * x)
    wrong = jn.Activation("square", g=lambda x: x * x, dg=lambda x: 3 * x)
    _, X, T = digits_like("float64")
    for square in (right, wrong):
        net = jn.Network([7, 4, 1], activation=square, dtype="float64", seed=1)
        assert ("a derivative is wrong" in str(jn.compare(net, X, T / 3, rounds=1))) == (square is wrong)


def test_refusals() -> None:
    net, X, T = digits_like("float64")
    with pytest.raises(jn.InputError, match="form"):
        jn.compare(net, X, T, form="matrix")
    with pytest.raises(jn.InputError, match="rounds"):
        jn.compare(net, X, T, rounds=0)
    with pytest.raises(jn.InputError, match="X: shape"):
        jn.compare(net, X[:, :3], T)
