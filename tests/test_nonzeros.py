"""Sums over what is not 0: inputs of dense and of sparse data, sensitivities. They have the bits of the dense sums."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from cases import KINDS, WAYS, Array, of_kind, silence, with_zeros

import jitnet as jn
from jitnet import _jit, inputs
from jitnet.forms import matrix, tiled
from jitnet.forms.tiled_nonzeros import FEW, STRIPS_OF_HALF_AN_ITEM, few_for_gradient, strips_in_a_row
from jitnet.forms.tiled_work import MOST_TOGETHER
from jitnet.layout import Data, weights
from jitnet.optimizers import UpdateRule
from jitnet.panels import PANELS_TOGETHER, width_of
from jitnet.training import bare_rule

DTYPES = ("float32", "float64")

SHAPES = (
    ([1, 1], 3, 2), ([3, 1, 2], 5, 5), ([17, 3], 40, 33), ([65, 17, 3], 40, 9), ([63, 129, 2], 70, 70),
    ([64, 128, 64, 1], 64, 64), ([127, 65, 3], 33, 17), ([128, 64, 3], 20, 7), ([129, 127, 130, 2], 50, 35),
    ([300, 2], 9, 1), ([5, 130, 257, 3], 40, 33), ([270, 300, 280, 2], 40, 35),
)  # fmt: skip
"""Widths, data points, and those of a batch: edges of every kind, and none."""

LARGE = [520, 600, 500, 2]
"""Widths of a network with layers that several panels go through side by side."""

DATA: dict[str, Callable[[Array], Array]] = {
    "zeros, an empty row, an empty column": with_zeros,
    "one number": lambda X: np.where(np.arange(X.size).reshape(X.shape) == X.size // 2, X, 0),
    "all zero": np.zeros_like,
    "no zero": lambda X: X,
}


def network(widths: list[int], dtype: str, activation: str = "relu", **settings: Any) -> jn.Network:
    net = jn.Network(widths, activation=activation, dtype=dtype, seed=sum(widths), **settings)
    for b in net.b:
        b[:] = np.linspace(-0.5, 0.5, len(b))
    return net


def numbers(net: jn.Network, N: int) -> tuple[Array, Array, Array]:
    rng = np.random.default_rng(N)
    X, T = (rng.normal(size=(N, n)).astype(net.dtype) for n in (net.n_in, net.n_out))
    return X, T, rng.uniform(0.5, 2.0, N).astype(net.dtype)


def train(net: jn.Network, form: Any, data: Data, rule: UpdateRule, **keywords: Any) -> dict[str, Array]:
    """As many steps as `order` has batches: all that they write."""
    steps = -(-len(data.order) // data.batch)
    net, how = net.copy(), bare_rule(net, rule, steps)
    work = form.work(net.layout, data.batch, steps, net.dtype, **keywords)
    assert getattr(form.steps, "serial", form.steps)(net.layout, net.theta, data, how, work) == steps
    return {"theta": net.theta, "state": how.state, "loss": work.loss, "before": work.before}


def orders(N: int, batch: int) -> dict[str, Array]:
    rng = np.random.default_rng(batch)
    return {
        "each once, a last batch of fewer": np.resize(rng.permutation(N), 3 * batch - batch // 2),
        "any, twice too": rng.integers(0, N, 3 * batch),
        "one point": np.full(2 * batch, N - 1),
    }


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("content", DATA)
def test_steps_have_the_bits_of_the_dense_sums(content: str, activation: str, dtype: str) -> None:
    """And are those of the matrix form, to rounding."""
    for widths, N, batch in SHAPES:
        net = network(widths, dtype, activation)
        X, T, weight = numbers(net, N)
        for order in orders(N, batch).values():
            data = Data(DATA[content](X), T, weight, order.astype(np.intp), batch)
            wanted = train(net, tiled, data, jn.Adam(lr=0.01), narrow=False)
            for kind in KINDS[1:]:
                given, keywords = of_kind(data, kind)
                got = train(net, tiled, given, jn.Adam(lr=0.01), **keywords)
                assert [name for name in got if got[name].tobytes() != wanted[name].tobytes()] == [], (kind, widths)
            ours, theirs = (train(net, form, data, jn.Momentum(lr=0.01)) for form in (tiled, matrix))
            for name in ours:
                bound = 1e-12 if dtype == "float64" else 1e-5
                np.testing.assert_allclose(ours[name], theirs[name], bound, bound, err_msg=f"{name} of {widths}")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("content", DATA)
def test_outputs_have_the_bits_of_the_dense_sums(content: str, activation: str, dtype: str) -> None:
    for (widths, N, _), few_speak in itertools.product(SHAPES, (False, True)):
        net = network(widths, dtype, activation)
        X, T, weight = numbers(net, N)
        data = Data(DATA[content](X), T, weight, np.arange(N), N)
        if few_speak:
            silence(net, data.X)
        dense = tiled.outputs_and_losses(net.layout, net.theta, data.X, T)
        for kind in KINDS[1:]:
            for build in (
                tiled.outputs_and_losses_skipping_zeros.serial,
                tiled.outputs_and_losses_skipping_zeros.parallel,
            ):
                given = of_kind(data, kind)[0]
                got = build(net.layout, net.theta, given)
                assert [each.tobytes() for each in got] == [each.tobytes() for each in dense], (kind, widths)
                Y, L = build(net.layout, net.theta, given._replace(T=T[:0]))
                assert (Y.tobytes(), L.shape) == (dense[0].tobytes(), (0,))
        bound = 1e-13 if dtype == "float64" else 2e-6
        for ours, theirs in zip(dense, matrix.outputs_and_losses(net.layout, net.theta, data.X, T), strict=True):
            np.testing.assert_allclose(ours, theirs, 20 * bound, bound * max(1, abs(theirs).max()))


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_narrow_network_comes_to_the_same_by_entries(dtype: str) -> None:
    """In another order of its sums."""
    net = network([20, 16, 3], dtype)
    X, T, weight = numbers(net, 600)
    X = with_zeros(X)
    assert tiled.work(net.layout, 300, 1, net.dtype).narrow
    thetas = []
    for each in (X, sp.csr_array(X)):
        trained = net.copy()
        trained.fit(each, T, sample_weight=weight, optimizer=jn.Momentum(lr=0.01), epochs=3, batch_size=300)
        thetas.append(trained.theta)
    bound = 1e-12 if dtype == "float64" else 1e-5
    np.testing.assert_allclose(*thetas, bound, bound)


@pytest.mark.parametrize("workers", [1, 2, 3, 6])
@pytest.mark.parametrize("infinite", [np.inf, -np.inf, np.nan])
def test_a_weight_that_is_not_finite_ends_the_steps_though_nothing_is_multiplied_with_it(
    infinite: float, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where zeros are multiplied, in the first step that begins with it. A ReLU hides it from the loss."""
    monkeypatch.setattr(_jit, "threads_for", lambda work: workers)
    net = network([70, 40, 3], "float64")
    X, T, weight = numbers(net, 20)
    for j in (0, 33, 69):
        empty = X.copy()
        empty[:, j] = 0
        data = Data(empty, T, weight, np.arange(20), 10)
        for kind in WAYS:
            given, keywords = of_kind(data, kind)
            for steps in (tiled.steps.serial, tiled.steps.parallel):
                bad, how = net.copy(), bare_rule(net, jn.Adam(), 2)
                bad.W[0].flat[17 * 70 + j] = infinite
                work = tiled.work(net.layout, 10, 2, net.dtype, **keywords)
                assert steps(net.layout, bad.theta, given, how, work) == 0, (kind, j)
                assert np.isnan(work.loss[0])


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_parallel_step_has_the_bits_of_a_serial_one(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    net = network([600, 450, 290, 3], dtype)
    X, T, weight = numbers(net, 300)
    data = Data(with_zeros(X), T, weight, np.arange(300), 150)
    results = []
    for kind in KINDS:
        given, keywords = of_kind(data, kind)
        for workers in (1, 2, 3, 5):
            monkeypatch.setattr(_jit, "threads_for", lambda work, workers=workers: workers)
            for steps in (tiled.steps.serial, tiled.steps.parallel):
                after, how = net.copy(), bare_rule(net, jn.Adam(), 2)
                work = tiled.work(net.layout, 150, 2, net.dtype, **keywords)
                assert steps(net.layout, after.theta, given, how, work) == 2
                results.append((after.theta.tobytes(), how.state.tobytes(), work.loss.tobytes()))
    assert len(set(results)) == 1


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_steps_of_panels_side_by_side_have_the_bits_of_single_ones(
    kind: str, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With dropout, and a last batch and last panels that are not full."""
    net, batch = network(LARGE, dtype), 6 * width_of(dtype) - 5
    X, T, weight = numbers(net, batch)
    order = np.random.default_rng(0).integers(0, batch, 2 * batch - width_of(dtype))
    given, keywords = of_kind(Data(with_zeros(X), T, weight, order, batch), kind)
    results = []
    for workers, together in ((1, MOST_TOGETHER), (6, 1)):
        monkeypatch.setattr(_jit, "threads_for", lambda work, workers=workers: workers)
        after, how = net.copy(), bare_rule(net, jn.Adam(), 2)
        how.dropout_rates[:2] = 0.3
        how.dropout_keys[:] = 1, 2
        work = tiled.work(net.layout, batch, 2, net.dtype, **keywords)
        assert work.together == together
        assert tiled.steps.serial(net.layout, after.theta, given, how, work) == 2
        results.append((after.theta.tobytes(), how.state.tobytes(), work.loss.tobytes(), work.before.tobytes()))
    assert results[0] == results[1]


@pytest.mark.parametrize("dtype", DTYPES)
def test_outputs_of_panels_side_by_side_have_the_bits_of_single_ones(dtype: str) -> None:
    """Many data points go through large layers so, few do not; those of the matrix form, to rounding."""
    net, N = network(LARGE, dtype), (tiled.MOST_CHUNKS * PANELS_TOGETHER + 3) * width_of(dtype) + 5
    X, T, weight = numbers(net, N)
    X, few = with_zeros(X), 200
    wanted = np.concatenate(
        [tiled.outputs_and_losses(net.layout, net.theta, X[n : n + few], T[n : n + few])[0] for n in range(0, N, few)]
    )
    for kind in KINDS:
        data, _ = of_kind(Data(X, T, weight, np.arange(N), N), kind)
        for part in (tiled.outputs_and_losses_skipping_zeros.serial, tiled.outputs_and_losses_skipping_zeros.parallel):
            assert part(net.layout, net.theta, data)[0].tobytes() == wanted.tobytes(), kind
    assert tiled.outputs(net.layout, net.theta, X).tobytes() == wanted.tobytes()
    x, y = tiled.forward(net.layout, net.theta, X)
    assert np.ascontiguousarray(y[:, -LARGE[-1] :]).tobytes() == wanted.tobytes()
    exact_x, exact_y = matrix.forward(net.layout, net.theta, X)
    bound = 1e-12 if dtype == "float64" else 1e-5
    for ours, theirs in ((x, exact_x), (y, exact_y)):
        np.testing.assert_allclose(ours, theirs, bound, bound * abs(theirs).max())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("kind", KINDS)
def test_gradient_over_the_sensitivities_that_are_not_0(kind: str, activation: str, dtype: str) -> None:
    """F7 of [600, 300, 280, 5] takes those alone with ReLU, all with tanh; the bits are those of the kernel `gradient`,
    which takes all.
    """
    net, N = network([600, 300, 280, 5], dtype, activation), 70
    X, T, _ = numbers(net, N)
    data, keywords = of_kind(Data(with_zeros(X), T, np.ones(N, dtype), np.arange(N), N), kind)
    work = tiled.work(net.layout, N, 1, net.dtype, **keywords)
    how = bare_rule(net, jn.SGD(lr=1e-3), 1)._replace(clip_norm=1e30)  # so that the gradient is written down
    theta = net.theta.copy()
    assert tiled.steps.serial(net.layout, theta, data, how, work) == 1
    shares = [
        np.bitwise_count(work.nonzero[:, begin:end]).sum() / (N * (end - begin))
        for begin, end in pairwise(net.layout.y_at)
    ]
    noted = slice(1 if kind == "sparse rows" else 0, None)  # of whose first layer the entries are summed over
    wanted_few = [True, True, False] if activation == "relu" else [False] * 3
    assert [share < FEW for share in shares][noted] == wanted_few[noted]
    X, c = with_zeros(X), np.full(N, 1 / N, dtype)
    x, y = tiled.forward(net.layout, net.theta, X)
    wanted = tiled.gradient(net.layout, X, y, tiled.backward(net.layout, net.theta, x, y, T, c))
    exact = net.gradient(X, T, form="matrix").theta
    for m in range(3):
        assert weights(net.layout, work.g, m).tobytes() == weights(net.layout, wanted, m).tobytes()
    bound = 1e-13 if dtype == "float64" else 1e-5
    np.testing.assert_allclose(work.g, exact, bound, bound * abs(exact).max())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("lanes", [(1, 1), (2, -1), (2, 0), (2, 1), (3, 0), (4, -1), (5, 3)])
@pytest.mark.parametrize("layer", [0, 1])
def test_gradient_over_nonzeros_from_few_neurons(layer: int, lanes: tuple[int, int], dtype: str) -> None:
    """F7 from some strips of inputs, or neurons, and a bit less or more: the bits are those of all terms."""
    n_in = lanes[0] * width_of(dtype) + lanes[1]
    net, N = network([n_in, 75, 3] if layer == 0 else [9, n_in, 75, 3], dtype, "relu"), 70
    X, T, _ = numbers(net, N)
    silence(net, X, 0.08)
    how = bare_rule(net, jn.SGD(lr=1e-3), 1)._replace(clip_norm=1e30)  # so that the gradient is written down
    work = tiled.work(net.layout, N, 1, net.dtype, narrow=False)
    assert tiled.steps.serial(net.layout, net.theta.copy(), Data(X, T, np.ones(N, dtype), np.arange(N), N), how, work)
    begin, end = net.layout.y_at[layer : layer + 2]
    share = np.bitwise_count(work.nonzero[:, begin:end]).sum() / (N * (end - begin))
    assert 0.01 < share < min(few_for_gradient(strips, work.g) for strips in (2, 3, 4))
    x, y = tiled.forward(net.layout, net.theta, X)
    delta = tiled.backward(net.layout, net.theta, x, y, T, np.full(N, 1 / N, dtype))
    assert weights(net.layout, work.g, layer).tobytes() == (
        weights(net.layout, tiled.gradient(net.layout, X, y, delta), layer).tobytes()
    )


def test_strips_of_sums_over_nonzeros() -> None:
    """Two strips or four (four or eight on Intel's); what is added to them in vain counts."""
    like, half = np.zeros(1, np.float32), STRIPS_OF_HALF_AN_ITEM
    assert [strips_in_a_row(strips) for strips in (1, half, half + 1, 2 * half)] == [half, half, 2 * half, 2 * half]
    assert few_for_gradient(1, like) == 0.0
    assert few_for_gradient(2 * half, like) == FEW
    assert few_for_gradient(half + 1, like) == pytest.approx(FEW * (half + 1) / (2 * half))


def test_skipping_pays_where_zeros_and_points_are_many() -> None:
    assert tiled.skipping_pays(0.1, 128, 128, np.float32)
    assert not tiled.skipping_pays(0.6, 128, 128, np.float32)
    assert not tiled.skipping_pays(0.1, 128, 8, np.float32)


@pytest.mark.parametrize("share", [0.02, 1.0])
def test_dense_data_are_looked_through(share: float) -> None:
    net, rng = network([50, 64, 2], "float32"), np.random.default_rng(0)
    X = (rng.normal(size=(3000, 50)) * (rng.random((3000, 50)) < share)).astype(np.float32)
    assert inputs.skip_zeros(tiled, net.layout, X, 128, net.dtype) == (share < 1)
    assert not inputs.skip_zeros(matrix, net.layout, X, 128, net.dtype)
    T = rng.normal(size=(3000, 2))
    alike = network([50, 64, 2], "float32")
    net.fit(X, T, epochs=1, batch_size=128)
    alike.fit(sp.csr_array(X), T, epochs=1, batch_size=128)
    assert net.theta.tobytes() == alike.theta.tobytes()
    assert net.predict(X).tobytes() == alike.predict(sp.csr_array(X)).tobytes()


@pytest.mark.usefixtures("buffers_for_all_threads")
@pytest.mark.parametrize("build", ["serial", "parallel"])
@pytest.mark.parametrize("kind", WAYS)
def test_a_call_keeps_no_reference(kind: str, build: str) -> None:
    net = network([70, 66, 3], "float32")
    X, T, weight = numbers(net, 40)
    data, keywords = of_kind(Data(with_zeros(X), T, weight, np.arange(40), 20), kind)
    how, work = bare_rule(net, jn.Adam(), 2), tiled.work(net.layout, 20, 2, net.dtype, **keywords)
    arrays = [each for part in (net.layout, data, how, work) for each in part if isinstance(each, np.ndarray)]
    steps = getattr(tiled.steps, build)
    steps(net.layout, net.theta, data, how, work)
    before = [sys.getrefcount(each) for each in (net.theta, *arrays)]
    for _ in range(20):
        assert steps(net.layout, net.theta, data, how, work) == 2
    assert [sys.getrefcount(each) for each in (net.theta, *arrays)] == before


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("speaking", "activation", "looks"), [(0.1, "relu", True), (0.9, "relu", True), (0.1, "tanh", False)]
)
def test_a_prediction_looks_for_hidden_zeros(
    speaking: float, activation: str, looks: bool, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And comes to the same bits, few or many; few data points, and narrow layers, are not looked at."""
    net = network(LARGE, dtype, activation)
    X = numbers(net, inputs.HIDDEN_FROM + 7)[0]
    silence(net, X, speaking)
    wanted, taken = tiled.outputs(net.layout, net.theta, X), []
    kernel = tiled.outputs_and_losses_skipping_zeros
    monkeypatch.setattr(tiled, "outputs_and_losses_skipping_zeros", lambda *args: taken.append(1) or kernel(*args))
    assert inputs.outputs(tiled, net.layout, net.theta, X).tobytes() == wanted.tobytes()
    assert bool(taken) == looks
    assert inputs.outputs_and_losses(tiled, net.layout, net.theta, X, X[:, : net.n_out].copy())[0].tobytes() == (
        wanted.tobytes()
    )
    assert len(taken) == 2 * looks
    inputs.outputs(tiled, net.layout, net.theta, X[: inputs.HIDDEN_FROM - 1])
    narrow = network([520, 15, 12, 2], dtype, activation)
    inputs.outputs(tiled, narrow.layout, narrow.theta, X)
    assert len(taken) == 2 * looks


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("silent_first", [True, False])
def test_hidden_zeros_of_some_data_points(silent_first: bool, dtype: str) -> None:
    """Neurons are silent for half of the data points alone: groups of panels change from one sum to the other.

    Which sum it was, an infinite weight shows from a neuron that is always silent: times 0 it is NaN.
    """
    net, N = network(LARGE, dtype), 80 * width_of(dtype)
    X = numbers(net, N)[0]
    net.W[0][1:, 0] = 1  # all neurons but the first hear this input
    loud = np.arange(N) >= N // 2 if silent_first else np.arange(N) < N // 2
    X[:, 0] = np.where(loud, 100, -100)
    y = tiled.forward(net.layout, net.theta, X)[1][:, : LARGE[1]]
    assert np.count_nonzero(y[~loud]) < 0.1 * y[~loud].size
    assert np.count_nonzero(y[loud]) > 0.9 * y[loud].size
    data = Data(X, np.empty((0, net.n_out), dtype), np.empty(0, dtype), np.arange(N), N, False)
    net.b[0][3] = -1e6
    wanted = tiled.outputs(net.layout, net.theta, X).tobytes()
    for part in (tiled.outputs_and_losses_skipping_zeros.serial, tiled.outputs_and_losses_skipping_zeros.parallel):
        assert part(net.layout, net.theta, data)[0].tobytes() == wanted
    net.W[1][:, 3] = np.inf
    for part in (tiled.outputs_and_losses_skipping_zeros.serial, tiled.outputs_and_losses_skipping_zeros.parallel):
        shown = np.isnan(part(net.layout, net.theta, data)[0]).any(axis=1)
        assert shown[loud].all()
        assert not shown[~loud].any()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("widths", [[5, 4, 2], [70, 66, 3], LARGE])
def test_outputs_of_inputs_that_are_not_finite_are_nan(widths: list[int], bad: float) -> None:
    """Whatever the activations would make of them, and of no other data points."""
    net, N = network(widths, "float32"), 150
    X, _, weight = numbers(net, N)
    X, spoilt = with_zeros(X), [0, 37, 38, N - 1]
    dense = tiled.outputs(net.layout, net.theta, X)
    X[spoilt, [0, 3, 4, net.n_in - 1]] = bad
    wanted = dense.copy()
    wanted[spoilt] = np.nan
    assert tiled.outputs(net.layout, net.theta, X).tobytes() == wanted.tobytes()
    for skips in (False, True):
        data = Data(X, np.empty((0, net.n_out), "float32"), weight, np.arange(N), N, skips)
        got = tiled.outputs_and_losses_skipping_zeros(net.layout, net.theta, data)[0]
        np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("form", ["tiled", "plain", "matrix"])
@pytest.mark.parametrize(("widths", "N"), [([5, 4, 2], 3), (LARGE, inputs.HIDDEN_FROM)])
def test_sums_of_finite_inputs_that_overflow_are_no_error(widths: list[int], N: int, form: str) -> None:
    net = network(widths, "float32", "sigmoid" if N < inputs.HIDDEN_FROM else "relu", output="sigmoid")
    X = numbers(net, N)[0]
    X[1], net.W[0][0] = 3e38, 1
    with np.errstate(over="ignore", invalid="ignore"):
        assert tiled.forward(net.layout, net.theta, X)[0][1, 0] == np.inf
        Y = net.predict(X, form=form)
    others = np.arange(N) != 1
    np.testing.assert_allclose(Y[others], net.predict(X[others]), 1e-4, 1e-5)
    if N < inputs.HIDDEN_FROM:
        assert np.isfinite(Y).all()
    X[2, 3] = np.nan
    with pytest.raises(jn.InputError, match=r"^X: nan at \[2, 3\] given, finite numbers are wanted"):
        net.predict(X, form=form)


@pytest.mark.parametrize("form", ["auto", "plain", "matrix"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("activation", ["tanh", "relu", "step"])
def test_no_form_predicts_from_what_is_not_finite(activation: str, bad: float, form: str) -> None:
    """Though an activation makes a number of it."""
    net = network([5, 4, 2], "float32", activation, output="sigmoid")
    X = numbers(net, 7)[0]
    X[6, 4] = bad
    with pytest.raises(jn.InputError, match=rf"^X: {bad} at \[6, 4\] given, finite numbers are wanted"):
        net.predict(X, form=form)


def test_a_users_function_sees_no_number_that_is_not_finite(monkeypatch: pytest.MonkeyPatch) -> None:
    """It might not end, or look up a place that is not there."""
    own = jn.Activation("own", g=lambda x: x / 2, dg=lambda x: 0.5)
    net = jn.Network([5, 4, 2], activation=own, dtype="float32")
    X = numbers(net, 7)[0]
    net.predict(X)
    monkeypatch.setattr(tiled, "outputs", None)
    X[6, 4] = np.inf
    with pytest.raises(jn.InputError, match=r"^X: inf at \[6, 4\] given"):
        net.predict(X)


def test_what_was_computed_on_is_what_is_checked() -> None:
    """Not what X has become meanwhile."""

    class Mended:
        dtype, asked = np.dtype("float32"), 0

        def __array__(self, dtype: Any = None, copy: Any = None) -> Array:
            self.asked += 1
            X = np.ones((3, 5), "float32")
            X[1, 2] = np.nan if self.asked == 1 else 0
            return X

    with pytest.raises(jn.InputError, match=r"^X: nan at \[1, 2\] given"):
        network([5, 4, 2], "float32").predict(Mended())
