"""The worked numbers and formulas of the notes that a network serves, in every form (DERIVATION.md names the seeds)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import jitnet as jn
from jitnet import layout
from jitnet.forms import get_form

forms = pytest.mark.parametrize("form", ["plain", "tiled", "matrix"])


def network(widths: list[int], W: Any, b: Any = None, **settings: Any) -> jn.Network:
    """A float64 network with these parameters, without biases where none are given; the loss summed over points."""
    return jn.Network(
        widths,
        init=(W, b),
        bias=b is not None,
        dtype="float64",
        **{"reduction": "sum", "loss": "squared_error", **settings},
    )


def rounded(array: Any, places: int = 2) -> list[Any]:
    return np.round(np.asarray(array), places).tolist()


# --- seed 003 -------------------------------------------------------------------------------------------------------


@forms
def test_squared_norm_of_a_product(form: str) -> None:
    """f = ||Wq||²: one identity layer without bias, squared error, t = 0. Also +0.104, where the notes print -0.104."""
    W, x = [[0.1, 0.5], [-0.3, 0.8]], [[0.2, 0.4]]
    net = network([2, 2], [W])
    g = net.gradient(x, [[0.0, 0.0]], form=form)
    assert net.predict(x, form=form)[0] == pytest.approx([0.22, 0.26], rel=1e-14)
    assert net.loss(x, [[0.0, 0.0]], form=form) == pytest.approx(0.116, rel=1e-14)
    assert g.loss == pytest.approx(0.116, rel=1e-14)
    assert g.W[0] == pytest.approx(np.array([[0.088, 0.176], [0.104, 0.208]]), rel=1e-14)
    assert g.input[0] == pytest.approx([-0.112, 0.636], rel=1e-14)
    assert g.b[0].shape == (0,)


@forms
def test_sigmoid_neuron(form: str) -> None:
    """w = (2, -3, -3), x = (-1, -2), a 2-1 network: y = 0.7311, and every gradient to the notes' two places."""
    net = network([2, 1], [[[2.0, -3.0]]], [[-3.0]], output="sigmoid")
    x = [-1.0, -2.0]
    assert rounded(net.predict([x], form=form), 4) == [[0.7311]]

    reverse = net.vjp(x, [1.0], form=form)
    assert rounded(reverse.W[0]) == [[-0.20, -0.39]]
    assert rounded(reverse.b[0]) == [0.20]
    assert rounded(reverse.input) == [0.39, -0.59]
    assert rounded(reverse.b[0], 4) == [0.1966]  # ∂y/∂(w0 x0 + w1 x1 + w2)

    assert rounded(net.jacobian(x, form=form)) == [[0.39, -0.59]]
    forward = [net.jvp(x, v, form=form)[0] for v in ([1.0, 0.0], [0.0, 1.0])]
    assert rounded(forward) == [0.39, -0.59]
    assert forward == pytest.approx(reverse.input, rel=1e-15)

    slope = math.exp(-1) / (1 + math.exp(-1)) ** 2
    assert reverse.theta == pytest.approx([-slope, -2 * slope, slope], rel=1e-14)
    assert reverse.input == pytest.approx([2 * slope, -3 * slope], rel=1e-14)


@forms
def test_mean_over_data_points(form: str) -> None:
    """Seed 003 averages J over the data points, seeds 000 and 004 sum it."""
    X, T = np.array([[1.0], [2.0], [4.0]]), np.array([[0.0], [1.0], [0.0]])
    J = {r: network([1, 1], [[[0.5]]], reduction=r).gradient(X, T, form=form) for r in ("sum", "mean")}
    assert J["sum"].loss == 0.25 + 0.0 + 4.0
    assert J["sum"].W[0].item() == 2 * (0.5 * 1 + 0.0 * 2 + 2.0 * 4)
    assert J["mean"].loss == pytest.approx(J["sum"].loss / 3, rel=1e-15)
    assert J["mean"].theta == pytest.approx(J["sum"].theta / 3, rel=1e-15)


def test_cross_entropy_is_a_logarithm() -> None:
    """-E[log p(y given x)], where the notes print -E[p(y given x)]; with the minus that seed 002's eq. 7.3 lacks."""
    X = np.log([[0.7, 0.2, 0.1]])  # whose softmax is the same numbers without the logarithm
    net = network([3, 3], [np.eye(3)], output="softmax", loss="cross_entropy")
    for label, p in enumerate([0.7, 0.2, 0.1]):
        assert net.loss(X, [label]) == pytest.approx(-math.log(p), rel=1e-14)


# --- seed 002 -------------------------------------------------------------------------------------------------------


@forms
def test_square_as_activation(form: str) -> None:
    """σ(z) = z², an activation of the user's own, at (1, 2, 3): the Jacobian is diag(2, 4, 6)."""
    square = jn.Activation("square", g=lambda z: z * z, dg=lambda z: 2 * z)
    net = network([3, 3], [np.eye(3)], output=square)
    assert net.predict([[1.0, 2.0, 3.0]], form=form).tolist() == [[1, 4, 9]]
    assert net.jacobian([1.0, 2.0, 3.0], form=form).tolist() == np.diag([2, 4, 6]).tolist()
    assert net.jvp([1.0, 2.0, 3.0], [1.0, 1.0, 1.0], form=form).tolist() == [2, 4, 6]
    assert net.vjp([1.0, 2.0, 3.0], [1.0, 1.0, 1.0], form=form).input.tolist() == [2, 4, 6]


@forms
def test_activations_of_the_notes(form: str) -> None:
    """Eq. 7.32 to 7.40 at -1, 0, 1: step(0) = 1, sgn(0) = 1; and step' = 0, which eq. 7.33 calls ReLU's."""
    X = [[-1.0, 0.0, 1.0]]
    e = math.e
    values = {
        "step": [0, 1, 1], "sgn": [-1, 1, 1], "relu": [0, 0, 1], "sigmoid": [1 / (1 + e), 0.5, 1 / (1 + 1 / e)],
        "tanh": [-(e - 1 / e) / (e + 1 / e), 0, (e - 1 / e) / (e + 1 / e)],
        "softmax": [w / (1 / e + 1 + e) for w in (1 / e, 1, e)],
    }  # fmt: skip
    s = np.array(values["softmax"])
    slopes = {
        "step": [0, 0, 0], "sgn": [0, 0, 0], "relu": [0, 0, 1], "sigmoid": [y * (1 - y) for y in values["sigmoid"]],
        "tanh": [1 - y**2 for y in values["tanh"]],
    }  # fmt: skip
    for name, y in values.items():
        net = network([3, 3], [np.eye(3)], output=name)
        assert net.predict(X, form=form)[0] == pytest.approx(y, rel=1e-14)
        wanted = np.diag(s) - np.outer(s, s) if name == "softmax" else np.diag(slopes[name])
        assert net.jacobian(X[0], form=form) == pytest.approx(wanted, rel=1e-13, abs=1e-17)


@forms
def test_logistic_regression_is_one_neuron(form: str) -> None:
    """A linear logistic classifier (seed 002): the gradient of the negative log-likelihood is (g - y) x."""
    X, t = np.array([[0.5, -1.0], [2.0, 0.25], [-0.5, 1.5]]), np.array([1.0, 0.0, 1.0])
    W, b = np.array([[0.3, -0.7]]), np.array([0.1])
    net = network([2, 1], [W], [b], output="sigmoid", loss="nll")
    p = 1 / (1 + np.exp(-(X @ W[0] + b)))
    g = net.gradient(X, t, form=form)
    assert g.loss == pytest.approx(-(t * np.log(p) + (1 - t) * np.log(1 - p)).sum(), rel=1e-14)
    assert g.W[0][0] == pytest.approx((p - t) @ X, rel=1e-14)
    assert g.b[0] == pytest.approx([(p - t).sum()], rel=1e-14)


# --- seed 001 -------------------------------------------------------------------------------------------------------


def test_parameters_of_the_network_of_the_figure() -> None:
    """2-3-4-1: (2·3 + 3) + (3·4 + 4) + (4·1 + 1) = 30."""
    net = jn.Network([2, 3, 4, 1])
    assert net.size == len(net.theta) == 30
    assert [W.size + b.size for W, b in zip(net.W, net.b, strict=True)] == [9, 16, 5]
    assert jn.Network([2, 3, 4, 1], bias=False).size == 22


@forms
def test_backpropagation_through_two_layers(form: str) -> None:
    """∂L/∂z = a - y for sigmoid and BCE; below it ((a - y) W ⊙ g'(z)) aᵀ: g', where the notes print g."""
    rng = np.random.default_rng(1)
    W = [rng.normal(size=(3, 2)), rng.normal(size=(4, 3)), rng.normal(size=(1, 4))]
    b = [rng.normal(size=3), rng.normal(size=4), rng.normal(size=1)]
    net = network([2, 3, 4, 1], W, b, activation="relu", output="sigmoid", loss="binary_cross_entropy")
    x, y = np.array([0.8, -0.3]), 1.0
    z1 = W[0] @ x + b[0]
    a1 = np.maximum(z1, 0)
    z2 = W[1] @ a1 + b[1]
    a2 = np.maximum(z2, 0)
    a3 = 1 / (1 + np.exp(-(W[2] @ a2 + b[2])))
    assert 0 < (z2 > 0).sum() < 4  # g' and g differ, and neither is all 0 or all 1
    v3 = a3 - y
    v2 = (v3 @ W[2]) * (z2 > 0)
    v1 = (v2 @ W[1]) * (z1 > 0)
    g = net.gradient(x[None, :], [[y]], form=form)
    for m, (v, a) in enumerate(((v1, x), (v2, a1), (v3, a2))):
        assert g.W[m] == pytest.approx(np.outer(v, a), rel=1e-13)
        assert g.b[m] == pytest.approx(v, rel=1e-13)
    assert g.input[0] == pytest.approx(v1 @ W[0], rel=1e-13)


# --- seed 000 -------------------------------------------------------------------------------------------------------


@forms
def test_sensitivities_with_sigmoid_and_squared_error(form: str) -> None:
    """V_L = -2 (Y - A) A (1 - A), V_l = A (1 - A) ⊙ WᵀV: a (1 - a), where a line of the notes shows a (1 - a²).

    The notes have data points in columns and no biases; Y are the targets, A the outputs.
    """
    rng = np.random.default_rng(0)
    W, X, Y = [rng.normal(size=(4, 3)), rng.normal(size=(2, 4))], rng.normal(size=(5, 3)), rng.random((5, 2))
    net = network([3, 4, 2], W, activation="sigmoid", output="sigmoid")
    A1 = 1 / (1 + np.exp(-(W[0] @ X.T)))
    A2 = 1 / (1 + np.exp(-(W[1] @ A1)))
    V2 = -2 * (Y.T - A2) * A2 * (1 - A2)
    V1 = A1 * (1 - A1) * (W[1].T @ V2)

    f = get_form(form)
    x, y = f.forward(net.layout, net.theta, X)
    assert y == pytest.approx(np.vstack([A1, A2]).T, rel=1e-13)
    delta = f.backward(net.layout, net.theta, x, y, Y, np.ones(5))
    assert delta == pytest.approx(np.vstack([V1, V2]).T, rel=1e-13)
    g = net.gradient(X, Y, form=form)
    assert g.W[1] == pytest.approx(V2 @ A1.T, rel=1e-13)
    assert g.W[0] == pytest.approx(V1 @ X, rel=1e-13)
    assert g.loss == pytest.approx(((Y.T - A2) ** 2).sum(), rel=1e-14)


@forms
def test_the_update_has_a_minus(form: str) -> None:
    """W ← W - η ∂J/∂W (F10), where the notes print a plus: one step of gradient descent, and J is smaller."""
    rng = np.random.default_rng(2)
    X, T = rng.normal(size=(9, 3)), rng.normal(size=(9, 2))
    net = jn.Network([3, 4, 2], activation="tanh", dtype="float64", reduction="sum", seed=3)
    g, before, J = net.gradient(X, T, form=form).theta, net.theta.copy(), net.loss(X, T)
    net.fit(X, T, optimizer=jn.GD(lr=1e-3), epochs=1, batch_size=None, form=form)
    assert net.theta == pytest.approx(before - 1e-3 * g, rel=1e-14)
    assert net.loss(X, T) < J


# --- seed 004 -------------------------------------------------------------------------------------------------------


@forms
def test_weights_of_a_layer_lead_to_it(form: str) -> None:
    """W^(m)_ij connects output j of layer m-1 with neuron i of layer m, and y^(m) = σ(x^(m)): one numbering."""
    net = jn.Network([2, 3, 1], activation="identity", dtype="float64", init="zeros")
    assert [W.shape for W in net.W] == [(3, 2), (1, 3)]
    net.W[0][2, 1] = 5.0
    net.b[0][2] = 1.0
    net.W[1][0, 2] = 7.0
    assert net.predict([[10.0, 1.0]], form=form).tolist() == [[7.0 * (5.0 * 1.0 + 1.0)]]
    assert layout.weights(net.layout, net.theta, 0)[2, 1] == 5.0
    x, y = get_form(form).forward(net.layout, net.theta, np.array([[10.0, 1.0]]))
    assert x.tolist() == y.tolist() == [[0.0, 0.0, 6.0, 42.0]]


@forms
def test_gradient_of_seed_004(form: str) -> None:
    """∂L/∂W_ij = ∂L/∂y_i σ'(x_i) y_j, and ∂L/∂y_j = Σ_k ∂L/∂y_k σ'(x_k) W_kj, written out neuron by neuron."""
    rng = np.random.default_rng(4)
    net = jn.Network(
        [2, 3, 2], activation="tanh", output="sigmoid", loss="square", dtype="float64", reduction="sum", seed=1
    )
    X, T = rng.normal(size=(3, 2)), rng.random((3, 2))
    dW = [np.zeros((3, 2)), np.zeros((2, 3))]
    for y0, t in zip(X, T, strict=True):
        y1 = [math.tanh(sum(net.W[0][i, j] * y0[j] for j in range(2)) + net.b[0][i]) for i in range(3)]
        y2 = [1 / (1 + math.exp(-sum(net.W[1][i, j] * y1[j] for j in range(3)) - net.b[1][i])) for i in range(2)]
        dy2 = [2 * (y2[i] - t[i]) for i in range(2)]
        delta2 = [dy2[i] * y2[i] * (1 - y2[i]) for i in range(2)]
        dy1 = [sum(delta2[k] * net.W[1][k, j] for k in range(2)) for j in range(3)]
        for i in range(2):
            for j in range(3):
                dW[1][i, j] += delta2[i] * y1[j]
        for i in range(3):
            for j in range(2):
                dW[0][i, j] += dy1[i] * (1 - y1[i] ** 2) * y0[j]
    g = net.gradient(X, T, form=form)
    for computed, by_hand in zip(g.W, dW, strict=True):
        assert computed == pytest.approx(by_hand, rel=1e-13)


def test_losses_of_the_notes() -> None:
    """The factor 1, ½ or none: each has its name."""
    X, T = [[1.0, 3.0]], [[0.0, 0.5]]
    wanted = {"square": 1 + 6.25, "half_squared_error": 0.5 + 3.125, "linear": 1 + 2.5}
    for name, J in wanted.items():
        assert network([2, 2], [np.eye(2)], loss=name).loss(X, T) == J
