"""`Network`: its parameters, what can be asked of it, and a user's own activations and losses."""

from __future__ import annotations

import copy
import json
import math
import pickle
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import jitnet as jn


def network(widths: tuple[int, ...] = (3, 5, 4, 2), **settings: Any) -> jn.Network:
    return jn.Network(list(widths), **{"activation": "tanh", "dtype": "float64", **settings})


def points(n: int = 7, d: int = 3, n_out: int = 2, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)), rng.normal(size=(n, n_out))


def by_hand(net: jn.Network, X: np.ndarray) -> np.ndarray:
    """F1, F2 of tanh layers with an identity output."""
    Y = X
    for m in range(len(net.W)):
        Y = Y @ net.W[m].T + (net.b[m] if net.bias else 0.0)
        if m < len(net.W) - 1:
            Y = np.tanh(Y)
    return Y


# --- shapes and parameters ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("widths", [(1, 1), (3, 2), (2, 3, 4, 1), (5, 1, 7), (4, 4, 4, 4, 4)])
@pytest.mark.parametrize("bias", [True, False])
def test_shapes(widths: tuple[int, ...], bias: bool) -> None:
    net = network(widths, bias=bias)
    assert [W.shape for W in net.W] == [(n_out, n_in) for n_in, n_out in pairwise(widths)]
    assert [b.shape for b in net.b] == [(n_out if bias else 0,) for n_out in widths[1:]]
    assert (net.n_in, net.n_out, net.widths) == (widths[0], widths[-1], list(widths))
    assert net.size == len(net.theta) == sum(W.size for W in net.W) + sum(b.size for b in net.b)


def test_number_of_parameters_of_the_notes() -> None:
    """Seed 001: the 2-3-4-1 network has (2·3+3) + (3·4+4) + (4·1+1) = 30."""
    assert network((2, 3, 4, 1)).size == 30
    assert network((2, 3, 4, 1), bias=False).size == 22


def test_theta_holds_W_row_by_row_and_then_b_of_each_layer() -> None:
    net = network((2, 3, 1))
    net.theta[:] = np.arange(13)
    np.testing.assert_array_equal(net.W[0], [[0, 1], [2, 3], [4, 5]])
    np.testing.assert_array_equal(net.b[0], [6, 7, 8])
    np.testing.assert_array_equal(net.W[1], [[9, 10, 11]])
    np.testing.assert_array_equal(net.b[1], [12])


@pytest.mark.parametrize("dtype", ["float32", "float64", np.float32, np.dtype("float64"), float])
def test_dtype(dtype: Any) -> None:
    net = network(dtype=dtype)
    X, T = points()
    g = net.gradient(X, T)
    for array in (net.theta, net.W[0], net.b[1], net.predict(X), g.theta, g.W[0], g.input, net.jacobian(X)):
        assert array.dtype == np.dtype(dtype)


def test_float32_is_the_default() -> None:
    assert jn.Network([2, 1]).theta.dtype == np.float32


def test_widths_may_be_an_array() -> None:
    assert jn.Network(np.array([2, 3, 1])).widths == [2, 3, 1]


def test_one_activation_for_all_hidden_layers_or_one_each() -> None:
    names = [a.name for a in network(activation=["relu", jn.Activation("elu", alpha=2.0)]).activations]
    assert names == ["relu", "elu", "identity"]
    assert [a.name for a in network(activation="sigmoid", output="tanh").activations] == ["sigmoid", "sigmoid", "tanh"]


def test_W_and_b_are_read_and_written_in_place() -> None:
    net, (X, _) = network(), points()
    before = net.predict(X)
    net.W[0][1, 2] = 5.0
    net.b[2][0] += 3.0
    assert net.theta[1 * 3 + 2] == 5.0
    assert net.theta[-2] == 3.0
    after = net.predict(X)
    assert not np.array_equal(before, after)
    np.testing.assert_allclose(after, by_hand(net, X), rtol=1e-13)
    net.theta[0] = -1.5
    assert net.W[0][0, 0] == -1.5


def test_W_and_b_are_written_by_assignment() -> None:
    net, (X, _) = network(), points()
    theta, W1 = net.theta, np.arange(20.0).reshape(4, 5) / 10
    net.W[1] = W1
    net.b[1] = [1, 2, 3, 4]  # a list of whole numbers
    net.W[-1] = W1[:2, :4].astype(np.float32).T.copy().T  # Fortran order, another dtype
    W1[:] = 0  # the network has a copy
    assert net.theta is theta
    np.testing.assert_array_equal(net.W[1], np.arange(20.0).reshape(4, 5) / 10)
    np.testing.assert_array_equal(net.b[1], [1, 2, 3, 4])
    np.testing.assert_array_equal(net.W[2], net.W[1][:2, :4].astype(np.float32))
    np.testing.assert_allclose(net.predict(X), by_hand(net, X), rtol=1e-13)


@pytest.mark.parametrize(
    "given", [3.0, np.ones((5, 4)), np.ones(20), np.full((4, 5), np.nan), np.full((4, 5), 1e300), [["a"] * 5] * 4]
)
def test_a_wrong_assignment_is_refused_and_changes_nothing(given: Any) -> None:
    net = network(dtype="float32")
    before = net.theta.copy()
    with pytest.raises(jn.InputError, match=r"W\[1\]"):
        net.W[1] = given
    np.testing.assert_array_equal(net.theta, before)
    with pytest.raises(IndexError):
        net.W[3] = np.ones((2, 2))


def test_theta_in_place_is_seen_and_a_replaced_theta_is_never_mistaken() -> None:
    net, (X, _) = network(), points()
    net.theta *= 2.0
    np.testing.assert_allclose(net.predict(X), by_hand(net, X), rtol=1e-13)
    replace: tuple[Callable[[np.ndarray], np.ndarray], ...] = (
        np.zeros_like, np.copy, lambda a: a[:3], lambda a: a[::-1], lambda a: a.view(np.float32),
        lambda a: a.astype(np.float32),
    )  # fmt: skip
    for other in replace:
        copied = net.copy()
        copied.theta = other(copied.theta)  # W and b would still be views of the old one
        with pytest.raises(jn.InputError, match=r"theta.*net\.theta\[:\]"):
            copied.predict(X)


def test_layers_are_a_sequence() -> None:
    net = network()
    assert len(net.W) == 3
    assert [W.shape for W in net.W] == [(5, 3), (4, 5), (2, 4)]
    assert net.W[-1] is net.W[2]
    assert [W.shape for W in net.W[1:]] == [(4, 5), (2, 4)]
    assert repr(net.W) == "<W: (5, 3), (4, 5), (2, 4)>"
    assert repr(net.b) == "<b: (5,), (4,), (2,)>"


def test_repr() -> None:
    net = jn.Network([64, 32, 10], output="softmax", loss="cross_entropy", reduction="sum")
    assert repr(net) == "<Network 64 -> 32 relu -> 10 softmax; cross_entropy, sum; 2410 parameters, float32>"


def test_describe_says_how_to_make_it_again() -> None:
    net = network(
        activation=["tanh", jn.Activation("leaky_relu", slope=0.3)], output="sigmoid", loss=jn.Loss("huber", delta=2.5),
        reduction="sum", bias=False, dtype="float32", seed=5,
    )  # fmt: skip
    about = json.loads(json.dumps(net.describe()))
    about["activation"] = [jn.Activation(**row) for row in about["activation"]]
    again = jn.Network(
        **{**about, "output": jn.Activation(**about["output"]), "loss": jn.Loss(**about["loss"])},
    )
    assert repr(again) == repr(net)
    assert again.describe() == net.describe()
    np.testing.assert_array_equal(again.theta, net.theta)
    X, T = points()
    assert again.loss(X, T) == net.loss(X, T)


# --- copies ---------------------------------------------------------------------------------------------------------

COPIES: dict[str, Callable[[jn.Network], jn.Network]] = {
    "copy": jn.Network.copy,
    "deepcopy": copy.deepcopy,
    **{
        f"pickle {p}": lambda net, p=p: pickle.loads(pickle.dumps(net, protocol=p))  # type: ignore[misc]
        for p in range(2, pickle.HIGHEST_PROTOCOL + 1)
    },
}


@pytest.mark.parametrize("how", COPIES)
def test_a_copy_is_whole_and_its_own(how: str) -> None:
    net, (X, T) = network(), points()
    net.fit(X, T, epochs=2, batch_size=3)
    twin = COPIES[how](net)
    np.testing.assert_array_equal(twin.predict(X), net.predict(X))
    assert twin.history.to_dict() == net.history.to_dict()
    before = net.theta.copy()
    twin.W[0] = np.ones((5, 3))
    twin.b[2][1] = 7.0
    np.testing.assert_array_equal(net.theta, before)
    np.testing.assert_array_equal(twin.theta[:15], 1.0)
    assert twin.theta[-1] == 7.0
    twin.fit(X, T, epochs=1)
    np.testing.assert_array_equal(net.theta, before)
    assert len(net.history) == 2
    assert len(twin.history) == 3


@pytest.mark.parametrize("how", COPIES)
def test_a_copy_goes_on_as_the_network_itself_would(how: str) -> None:
    net, (X, T) = network(), points()
    settings: dict[str, Any] = {"optimizer": jn.Adam(lr=0.01), "batch_size": 3, "dropout": 0.2}
    net.fit(X, T, epochs=2, **settings)
    twin = COPIES[how](net)
    net.fit(X, T, epochs=3, **settings)
    twin.fit(X, T, epochs=3, **settings)
    np.testing.assert_array_equal(twin.theta, net.theta)


# --- what it says ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["plain", "tiled", "matrix", "auto"])
@pytest.mark.parametrize("bias", [True, False])
def test_predict_is_F1_and_F2(form: str, bias: bool) -> None:
    net, (X, _) = network(bias=bias), points()
    Y = net.predict(X, form=form)
    assert Y.shape == (7, 2)
    np.testing.assert_allclose(Y, by_hand(net, X), rtol=1e-13)


def test_predict_in_blocks_is_predict_at_once() -> None:
    """5 million data points of a 1-1 network need two blocks of rows."""
    net = network((1, 1))
    net.W[0], net.b[0] = [[2.0]], [1.0]
    X = np.arange(5_000_000.0)[:, None]
    Y = net.predict(X, form="matrix")
    np.testing.assert_array_equal(Y, 2 * X + 1)
    T = Y + 2
    assert net.loss(X, T, form="matrix") == 2.0


def test_predict_gives_a_new_array() -> None:
    net, (X, _) = network((3, 3), init=([np.eye(3)], None)), points()
    Y = net.predict(X)
    Y[:] = 0
    assert X.all()
    assert net.predict(X).all()


def test_classify() -> None:
    X, _ = points(50)
    net = network(output="softmax", loss="cross_entropy")
    np.testing.assert_array_equal(net.classify(X), net.predict(X).argmax(axis=1))
    one = network((3, 1), output="sigmoid", loss="binary_cross_entropy")
    np.testing.assert_array_equal(one.classify(X), one.predict(X)[:, 0] > 0.5)
    assert set(one.classify(X)) == {0, 1}


@pytest.mark.parametrize("form", ["plain", "tiled", "matrix"])
def test_loss_is_F3_with_its_reduction_and_weights(form: str) -> None:
    X, T = points()
    c = np.array([0.5, 2, 0, 1, 3, 1, 1])
    L = ((by_hand(network(), X) - T) ** 2).sum(axis=1) / 2
    mean, total = network(), network(reduction="sum")
    assert mean.loss(X, T, form=form) == pytest.approx(L.mean(), rel=1e-13)
    assert total.loss(X, T, form=form) == pytest.approx(L.sum(), rel=1e-13)
    assert mean.loss(X, T, sample_weight=c, form=form) == pytest.approx((c * L).sum() / c.sum(), rel=1e-13)
    assert total.loss(X, T, sample_weight=c, form=form) == pytest.approx((c * L).sum(), rel=1e-13)


def test_labels_are_one_hot_rows() -> None:
    X, _ = points()
    labels = np.array([0, 3, 1, 2, 2, 0, 3])
    net = network((3, 5, 4), output="softmax", loss="cross_entropy")
    for given in (labels, labels.astype(float), labels.tolist(), labels[:, None], labels.astype(np.uint8)):
        assert net.loss(X, given) == net.loss(X, np.eye(4)[labels])
    assert net.loss(X, labels) == pytest.approx(-np.log(net.predict(X)[np.arange(7), labels]).mean(), rel=1e-13)


def test_one_output_takes_targets_of_one_dimension() -> None:
    net, (X, T) = network((3, 4, 1)), points(n_out=1)
    assert net.loss(X, T[:, 0]) == net.loss(X, T)


@pytest.mark.parametrize("form", ["plain", "tiled", "matrix"])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("bias", [True, False])
def test_gradient_is_the_derivative_of_loss(form: str, reduction: str, bias: bool) -> None:
    net, (X, T) = network(reduction=reduction, bias=bias), points()
    c = np.array([0.5, 2, 0, 1, 3, 1, 1])
    g = net.gradient(X, T, sample_weight=c, form=form)
    assert g.loss == pytest.approx(net.loss(X, T, sample_weight=c), rel=1e-13)
    theta = np.concatenate([np.concatenate([W.ravel(), b]) for W, b in zip(g.W, g.b, strict=True)])
    np.testing.assert_array_equal(theta, g.theta)
    assert [W.shape for W in g.W] == [W.shape for W in net.W]
    assert [b.shape for b in g.b] == [b.shape for b in net.b]
    assert g.input.shape == X.shape

    def slope(array: np.ndarray, at: Any) -> float:
        h, here = 1e-6, array[at]
        values = []
        for array[at] in (here + h, here - h):
            values.append(net.loss(X, T, sample_weight=c))
        array[at] = here
        return (values[0] - values[1]) / (2 * h)

    differences = [slope(net.theta, p) for p in range(net.size)]
    np.testing.assert_allclose(g.theta, differences, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(g.input, [[slope(X, (n, j)) for j in range(3)] for n in range(7)], rtol=1e-6, atol=1e-9)
    assert not g.input[2].any()  # the data point without weight


@pytest.mark.parametrize("form", ["plain", "tiled", "matrix"])
def test_jacobian_and_its_products(form: str) -> None:
    net, (X, V) = network(), points(n_out=3)
    U = points()[1]
    J = net.jacobian(X, form=form)
    assert J.shape == (7, 2, 3)
    np.testing.assert_allclose(net.jvp(X, V, form=form), np.einsum("nij,nj->ni", J, V), rtol=1e-12)
    np.testing.assert_allclose(net.vjp(X, U, form=form).input, np.einsum("nij,ni->nj", J, U), rtol=1e-12)
    h = 1e-6
    for j, e in enumerate(np.eye(3)):
        np.testing.assert_allclose(
            J[:, :, j], (net.predict(X + h * e) - net.predict(X - h * e)) / (2 * h), rtol=1e-7, atol=1e-9
        )
    one = net.vjp(X[1], U[1], form=form)
    np.testing.assert_array_equal(net.jacobian(X[1], form=form), net.jacobian(X[1:2], form=form)[0])
    np.testing.assert_array_equal(net.jvp(X[1], V[1], form=form), net.jvp(X[1:2], V[1:2], form=form)[0])
    np.testing.assert_array_equal(one.input, net.vjp(X[1:2], U[1:2], form=form).input[0])
    assert (one.input.shape, net.jvp(X[1], V[1]).shape, net.jacobian(X[1]).shape) == ((3,), (2,), (2, 3))
    assert math.isnan(one.loss)


def test_vjp_has_the_gradient_of_the_parameters_too() -> None:
    """Reverse accumulation of u = ∂L/∂ŷ is the gradient of the loss (reduction sum)."""
    net, (X, T) = network(reduction="sum"), points()
    g, v = net.gradient(X, T), net.vjp(X, net.predict(X) - T)
    np.testing.assert_allclose(v.theta, g.theta, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(v.input, g.input, rtol=1e-12, atol=1e-14)


def test_evaluate() -> None:
    X, T = points()
    net = network()
    Y = net.predict(X)
    said = net.evaluate(X, T)
    assert list(said) == ["loss", "mae", "r2"]
    assert said["loss"] == net.loss(X, T)
    assert said["mae"] == pytest.approx(abs(Y - T).mean(), rel=1e-13)
    labels = np.array([0, 1, 1, 0, 1, 0, 0])
    classes = network(output="softmax", loss="cross_entropy")
    said = classes.evaluate(X, labels, sample_weight=np.arange(7))
    assert list(said) == ["loss", "accuracy"]
    assert said["accuracy"] == pytest.approx(np.average(classes.classify(X) == labels, weights=np.arange(7)))
    assert said["loss"] == classes.loss(X, labels, sample_weight=np.arange(7))


# --- a user's own functions -----------------------------------------------------------------------------------------


def cube_ish(x: float) -> float:
    return x + 0.1 * x * x * x


def cube_ish_slope(x: float) -> float:
    return 1.0 + 0.3 * x * x


def fourth(y: float, t: float) -> float:
    return (y - t) ** 4


def fourth_slope(y: float, t: float) -> float:
    return 4.0 * (y - t) ** 3


OWN = jn.Activation("cube-ish", g=cube_ish, dg=cube_ish_slope)
OWN_LOSS = jn.Loss("fourth", value=fourth, derivative=fourth_slope)


def test_the_square_of_the_notes() -> None:
    """Seed 002: σ(z) = z² at (1, 2, 3) has the Jacobian diag(2, 4, 6)."""
    square = jn.Activation("square", g=lambda x: x * x, dg=lambda x: 2 * x)
    net = network((3, 3), output=square, init=([np.eye(3)], None))
    for form in ("plain", "tiled", "matrix"):
        np.testing.assert_array_equal(net.predict([[1, 2, 3]], form=form), [[1, 4, 9]])
        np.testing.assert_array_equal(net.jacobian([1, 2, 3], form=form), np.diag([2, 4, 6]))


@pytest.mark.parametrize("form", ["plain", "tiled", "matrix"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_own_activation_and_loss(form: str, dtype: str) -> None:
    net, (X, T) = network((3, 4, 2), activation=OWN, loss=OWN_LOSS, dtype=dtype), points()
    tolerance = 1e-12 if dtype == "float64" else 1e-5
    x = X @ net.W[0].T + net.b[0]
    Y = cube_ish(x) @ net.W[1].T + net.b[1]  # type: ignore[arg-type]
    np.testing.assert_allclose(net.predict(X, form=form), Y, rtol=tolerance, atol=tolerance)
    assert net.loss(X, T, form=form) == pytest.approx(((Y - T) ** 4).sum(axis=1).mean(), rel=tolerance)
    delta = 4 * (Y - T) ** 3 / 7
    g = net.gradient(X, T, form=form)
    np.testing.assert_allclose(g.b[1], delta.sum(axis=0), rtol=10 * tolerance)
    below = (delta @ net.W[1]) * cube_ish_slope(x)  # type: ignore[arg-type]
    np.testing.assert_allclose(g.W[0], below.T @ X, rtol=10 * tolerance, atol=tolerance)


def test_own_functions_train_alike_in_every_form() -> None:
    X, T = points()
    nets = [network((3, 4, 2), activation=OWN, loss=OWN_LOSS) for _ in range(3)]
    for net, form in zip(nets, ("plain", "tiled", "matrix"), strict=True):
        history = net.fit(X, T, form=form, epochs=20, optimizer=jn.SGD(lr=0.01), batch_size=3)
        assert history["loss"][-1] < history["loss"][0]
    for net in nets[1:]:
        np.testing.assert_allclose(net.theta, nets[0].theta, rtol=1e-10)


def test_own_functions_of_several_networks_do_not_mix() -> None:
    nets = [
        network((1, 1), init=([[[1.0]]], None), output=jn.Activation("own", g=g, dg=lambda x: 1.0))
        for g in (lambda x: x + 1.0, lambda x: x + 2.0)
    ]
    assert [net.predict([[0.0]])[0, 0] for net in nets] == [1.0, 2.0]
    twin = nets[1].copy()
    assert twin.predict([[0.0]])[0, 0] == 2.0


def test_own_functions_survive_pickle_where_python_can_find_them() -> None:
    net, (X, T) = network(activation=OWN, loss=OWN_LOSS), points()
    twin = copy.deepcopy(net)
    assert twin.loss(X, T) == net.loss(X, T)
    assert twin.activations[0].g is cube_ish


def no_return(x: float) -> None:
    pass


def a_string(x: float) -> str:
    return "x"


def two(x: float, y: float) -> float:
    return x + y


class Unhashable:
    __hash__ = None  # type: ignore[assignment]

    def __call__(self, x: float) -> float:
        return x


@pytest.mark.parametrize("g", [no_return, a_string, two, lambda x: x[0], lambda x: str(x), math.tanh, Unhashable()])
@pytest.mark.parametrize("half", ["g", "dg"])
def test_an_activation_that_numba_cannot_compile_is_refused(g: Any, half: str) -> None:
    pair = {"g": cube_ish, "dg": cube_ish_slope, half: g}
    with pytest.raises(jn.InputError, match=rf"activation 'mine': {half}: Numba cannot compile") as error:
        network(activation=jn.Activation("mine", **pair))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("half", ["value", "derivative"])
def test_a_loss_that_numba_cannot_compile_is_refused(half: str) -> None:
    pair = {"value": fourth, "derivative": fourth_slope, half: lambda y, t: str(y)}
    with pytest.raises(jn.InputError, match=rf"loss 'mine': {half}: Numba cannot compile"):
        network(loss=jn.Loss("mine", **pair))


def test_half_a_pair_is_refused() -> None:
    for make in (
        lambda: jn.Activation("mine", g=cube_ish),
        lambda: jn.Activation("mine", dg=cube_ish),
        lambda: jn.Activation("mine", g=cube_ish, dg=3.0),  # type: ignore[arg-type]
        lambda: jn.Loss("mine", value=fourth),
        lambda: jn.Loss("mine", derivative=fourth),
        lambda: jn.Activation("mine", g=cube_ish, dg=cube_ish, slope=0.1),
        lambda: jn.Loss("mine", value=fourth, derivative=fourth, delta=1.0),
    ):
        with pytest.raises(jn.InputError, match=r"'mine'.*pair of functions"):
            make()


def test_own_functions_that_python_would_raise_in_are_not_finite_numbers() -> None:
    """Compiled code makes NaN or inf of log(-1), exp(1000) and 1 / 0; the matrix form's Python must not raise."""
    net = network((1, 1), init=([[[1.0]]], None))
    for g, x in ((lambda x: math.log(x), -1.0), (lambda x: math.exp(x), 1000.0), (lambda x: 1.0 / x, 0.0)):
        net = network((1, 1), init=([[[1.0]]], None), output=jn.Activation("mine", g=g, dg=g))
        for form in ("plain", "tiled", "matrix"):
            assert not np.isfinite(net.predict([[x]], form=form)).any()


def test_whole_lists_are_assigned_or_nothing() -> None:
    net = jn.Network([2, 3, 1], dtype="float64")
    new = [np.full((3, 2), 2.0), np.full((1, 3), 3.0)]
    net.W, net.b = new, [np.ones(3), np.zeros(1)]
    np.testing.assert_array_equal(net.theta, [2.0] * 6 + [1.0] * 3 + [3.0] * 3 + [0.0])
    before = net.theta.copy()
    for wrong in (new[:1], [new[0], new[0]], None, 3):
        with pytest.raises(jn.InputError, match="W"):
            net.W = wrong
    with pytest.raises(jn.InputError, match="W"):
        net.W[0:2] = new
    with pytest.raises(AttributeError):
        net.activations = ()  # type: ignore[misc]
    np.testing.assert_array_equal(net.theta, before)


@pytest.mark.parametrize(
    ("g", "says"),
    [
        (lambda x: x if x > 0 else None, "returns"),
        (lambda x: (x, x), "returns"),
    ],
)
def test_an_activation_must_give_a_number(g: Any, says: str) -> None:
    with pytest.raises(jn.InputError, match=rf"'mine': g.*{says}"):
        jn.Network([1, 1, 1], activation=jn.Activation("mine", g=g, dg=lambda x: 1.0))


def test_an_activation_that_raises_is_refused() -> None:
    def root(x: float) -> float:
        if x < 0:
            raise ValueError("negative")
        return x**0.5

    with pytest.raises(jn.InputError, match=r"'root': g.*raises"):
        jn.Network([1, 1, 1], activation=jn.Activation("root", g=root, dg=lambda x: 1.0))


def test_a_softmax_of_one_neuron_learns_nothing() -> None:
    net = jn.Network([3, 4, 1], output="softmax", loss="cross_entropy")
    with pytest.raises(jn.InputError, match="softmax of one neuron"):
        net.fit(np.ones((2, 3)), [0, 0])
