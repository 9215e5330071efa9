"""Sums over what is not 0: inputs of dense and of sparse data, sensitivities. They have the bits of the dense sums."""

from __future__ import annotations

import gc
import sys
import tracemalloc
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from cases import KINDS, WAYS, Array, of_kind, with_zeros

import jitnet as jn
from jitnet import _jit, inputs, training
from jitnet.forms import matrix, tiled
from jitnet.forms.tiled_nonzeros import FEW
from jitnet.forms.tiled_weights import MOST_TOGETHER
from jitnet.inputs import SparseRows
from jitnet.layout import Data, weights
from jitnet.optimizers import UpdateRule
from jitnet.panels import PANELS_TOGETHER, width_of
from jitnet.training import bare_rule

DTYPES = ("float32", "float64")

# --- kernels --------------------------------------------------------------------------------------------------------

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
    for widths, N, _ in SHAPES:
        net = network(widths, dtype, activation)
        X, T, weight = numbers(net, N)
        data = Data(DATA[content](X), T, weight, np.arange(N), N)
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


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("infinite", [np.inf, -np.inf, np.nan])
def test_a_weight_that_is_not_finite_ends_the_steps_though_nothing_is_multiplied_with_it(
    infinite: float, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where zeros are multiplied, in the first step that begins with it. A ReLU hides it from the loss."""
    monkeypatch.setattr(_jit, "threads", lambda: workers)
    net = network([70, 40, 3], "float64")
    X, T, weight = numbers(net, 20)
    for j in (0, 33, 69):
        empty = X.copy()
        empty[:, j] = 0
        data = Data(empty, T, weight, np.arange(20), 10)
        for kind in WAYS:
            given, keywords = of_kind(data, kind)
            bad, how = net.copy(), bare_rule(net, jn.Adam(), 2)
            bad.W[0].flat[17 * 70 + j] = infinite
            work = tiled.work(net.layout, 10, 2, net.dtype, **keywords)
            assert tiled.steps.serial(net.layout, bad.theta, given, how, work) == 0, (kind, j)
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
            monkeypatch.setattr(_jit, "threads", lambda workers=workers: workers)
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
        monkeypatch.setattr(_jit, "threads", lambda workers=workers: workers)
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
    exact = matrix.outputs(net.layout, net.theta, X)
    np.testing.assert_allclose(wanted, exact, 1e-3 if dtype == "float32" else 1e-10, abs(exact).max() * 1e-5)
    for kind in KINDS:
        data, _ = of_kind(Data(X, T, weight, np.arange(N), N), kind)
        for part in (tiled.outputs_and_losses_skipping_zeros.serial, tiled.outputs_and_losses_skipping_zeros.parallel):
            assert part(net.layout, net.theta, data)[0].tobytes() == wanted.tobytes(), kind
    assert tiled.outputs(net.layout, net.theta, X).tobytes() == wanted.tobytes()
    x, y = tiled.forward(net.layout, net.theta, X)
    assert np.ascontiguousarray(y[:, -LARGE[-1] :]).tobytes() == wanted.tobytes()
    exact_x, exact_y = matrix.forward(net.layout, net.theta, X)
    for ours, theirs in ((x, exact_x), (y, exact_y)):
        np.testing.assert_allclose(ours, theirs, 1e-3, abs(theirs).max() * 1e-5)


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


# --- sparse X -------------------------------------------------------------------------------------------------------

N, D, CLASSES = 90, 70, 4
rng = np.random.default_rng(5)
WHOLE = with_zeros(rng.integers(-9, 10, (N, D)).astype(float), 0.9)
LABELS = rng.integers(0, CLASSES, N)
WEIGHT = (np.arange(N) % 3).astype(float)


def classifier(dtype: str = "float64") -> jn.Network:
    return jn.Network([D, 66, CLASSES], output="softmax", loss="cross_entropy", dtype=dtype, seed=3)


def everything(X: Any, dtype: str = "float64", **fit: Any) -> list[Any]:
    """The bits of all that sparse data go to."""
    net = classifier(dtype)
    settings = {"epochs": 3, "batch_size": 20, "dropout": 0.2, "l2": 1e-3, "clip_norm": 1.0, **fit}
    history = net.fit(
        X, LABELS, sample_weight=WEIGHT, validation=(X, LABELS, WEIGHT + 1), metrics=["accuracy"], **settings
    )
    said = {name: history[name] for name in ("loss", "val_loss", "accuracy", "val_accuracy")}
    return [
        net.theta.tobytes(), said, net.predict(X).tobytes(), net.classify(X).tobytes(), net.loss(X, LABELS),
        net.loss(X, LABELS, sample_weight=WEIGHT), net.evaluate(X, LABELS, sample_weight=WEIGHT),
    ]  # fmt: skip


FORMATS = ("csr_matrix", "csr_array", "csc_matrix", "csc_array", "coo_matrix", "coo_array", "lil_array", "bsr_array")


@pytest.mark.parametrize("dtype", DTYPES)
def test_formats_give_the_bits_of_dense_data(dtype: str) -> None:
    wanted = everything(WHOLE, dtype)
    for name in FORMATS:
        assert everything(getattr(sp, name)(WHOLE), dtype) == wanted, name


@pytest.mark.parametrize(
    "fit", [{"replacement": True}, {"batch_size": None}, {"batch_size": 1, "epochs": 1}, {"threads": 2}]
)
def test_batches_of_every_kind(fit: dict[str, Any]) -> None:
    assert everything(sp.csr_array(WHOLE), **fit) == everything(WHOLE, **fit)


def test_room_for_a_batch_is_that_of_its_longest_rows() -> None:
    """Not that of the longest row, times the batch, but where a point may be drawn again and again."""
    net = network([50, 3], "float64")
    X = SparseRows(np.ones((59, 1)), np.array([*range(50), *range(9)], np.int32), np.array([0, 50, *range(51, 60)]), 50)
    for replacement, wanted in ((False, 50 + 3), (True, 4 * 50)):
        work = inputs.work(tiled, net.layout, X, 4, 1, net.dtype, True, replacement)
        assert len(work.entries) == len(work.entry_points) == wanted


def with_data(dtype: Any) -> Any:
    """Float16 too, which SciPy makes no matrix of."""
    X = sp.csr_array(WHOLE)
    return sp.csr_array((X.data.astype(dtype), X.indices, X.indptr), shape=X.shape)


def duplicated() -> Any:
    """Each entry twice, of half the size."""
    X = sp.coo_array(WHOLE)
    row, column = X.coords
    both = np.concatenate([X.data, X.data]) / 2, (np.concatenate([row, row]), np.concatenate([column, column]))
    return sp.coo_array(both, shape=X.shape)


def duplicated_rows() -> Any:
    X = sp.csr_array(WHOLE)
    return sp.csr_array((np.repeat(X.data / 2, 2), np.repeat(X.indices, 2), 2 * X.indptr), shape=X.shape)


def unsorted() -> Any:
    X = sp.csr_array(WHOLE)
    within = np.concatenate([np.arange(a, b)[::-1] for a, b in zip(X.indptr[:-1], X.indptr[1:], strict=True)])
    return sp.csr_array((X.data[within], X.indices[within], X.indptr), shape=X.shape)


def with_stored_zeros() -> Any:
    X = sp.csr_array(np.where(WHOLE == 0, 77, WHOLE))
    X.data[X.data == 77] = 0
    return X


def with_indices_of(dtype: Any) -> Any:
    X = sp.csr_array(WHOLE)
    X.indices, X.indptr = X.indices.astype(dtype), X.indptr.astype(dtype)
    return X


def read_only() -> Any:
    X = sp.csr_array(WHOLE)
    for array in (X.data, X.indices, X.indptr):
        array.flags.writeable = False
    return X


def with_room_to_spare() -> Any:
    X = sp.csr_array(WHOLE)
    X.data, X.indices = np.append(X.data, np.nan), np.append(X.indices, 10**6).astype(np.int32)
    return X


ODD: dict[str, Callable[[], Any]] = {
    **{str(np.dtype(dtype)): lambda dtype=dtype: with_data(dtype) for dtype in ("f2", "f4", "i1", "i8", "g")},
    "duplicates": duplicated,
    "duplicates in rows": duplicated_rows,
    "unsorted": unsorted,
    "stored zeros": with_stored_zeros,
    "int64 indices": lambda: with_indices_of(np.int64),
    "read-only": read_only,
    "room to spare": with_room_to_spare,
}


def test_odd_but_good_matrices_give_the_same_bits_and_compile_nothing() -> None:
    wanted = everything(WHOLE)
    kernels = [each for each in vars(tiled).values() if isinstance(each, _jit.Kernel)]
    everything(sp.csr_array(WHOLE))
    compiled = [len(kernel.serial.signatures) for kernel in kernels]
    for name, make in ODD.items():
        X = make()
        parts = [X.coords[0], X.coords[1]] if X.format == "coo" else [X.indices, X.indptr]
        before = [each.tobytes() for each in (X.data, *parts)]
        assert everything(X) == wanted, name
        assert [each.tobytes() for each in (X.data, *parts)] == before, name
        assert [len(kernel.serial.signatures) for kernel in kernels] == compiled, name


def test_booleans_are_0_and_1() -> None:
    assert everything(sp.csr_array(WHOLE > 0)) == everything(WHOLE > 0)


def test_float16_duplicates_are_summed() -> None:
    """SciPy itself refuses to."""
    X = sp.csr_array((np.ones(3, np.float16), np.array([1, 1, 0]), np.array([0, 3])), shape=(1, 3))
    net = jn.Network([3, 2], dtype="float64")
    np.testing.assert_array_equal(net.predict(X), net.predict([[1.0, 2.0, 0.0]]))


def test_data_point_without_entries() -> None:
    net = classifier()
    empty = sp.csr_array((7, D))
    assert net.predict(empty).tobytes() == net.predict(np.zeros((7, D))).tobytes()
    alike = classifier()
    for each, X in ((net, empty), (alike, np.zeros((7, D)))):
        each.fit(X, LABELS[:7], epochs=2)
    assert net.theta.tobytes() == alike.theta.tobytes()


def test_rows_are_picked() -> None:
    X = classifier().checked(sp.csr_array(WHOLE), LABELS, form="auto").X
    assert isinstance(X, SparseRows)
    assert (len(X), X.shape) == (N, (N, D))
    np.testing.assert_array_equal(X.toarray(), WHOLE)
    for rows in (WEIGHT > 0, np.zeros(N, bool), np.array([5, 5, 0, N - 1]), np.array([], int)):
        picked = X[rows]
        np.testing.assert_array_equal(picked.toarray(), WHOLE[rows])
        assert picked.entries.flags.c_contiguous
        assert (picked.columns.dtype, picked.starts.dtype) == (np.int32, np.intp)


def test_sparse_and_dense_go_together() -> None:
    results = []
    for X, V in ((WHOLE, WHOLE), (sp.csr_array(WHOLE), WHOLE), (WHOLE, sp.csr_array(WHOLE))):
        net = classifier()
        results.append((net.fit(X, LABELS, validation=(V, LABELS), epochs=2)["val_loss"], net.theta.tobytes()))
    assert results[1:] == results[:1] * 2


def test_a_run_of_2_epochs_and_another_are_one_of_4() -> None:
    whole, parts, X = classifier(), classifier(), sp.csr_array(WHOLE)
    whole.fit(X, LABELS, epochs=4)
    for given in (X, WHOLE):  # dense data go on where sparse ones left off
        parts.fit(given, LABELS, epochs=2)
    assert parts.theta.tobytes() == whole.theta.tobytes()


# --- what is refused ------------------------------------------------------------------------------------------------


def spoilt(**changes: Any) -> Any:
    """A matrix with one number of data, indices or indptr replaced, after SciPy has looked at it."""
    X = sp.csr_array(WHOLE)
    for name, (at, value) in changes.items():
        getattr(X, name)[at] = value
    return X


BAD: dict[str, tuple[Callable[[], Any], str]] = {
    "NaN": (lambda: spoilt(data=(3, np.nan)), r"\.data: nan at \[3\] given, finite numbers"),
    "inf": (lambda: spoilt(data=(3, -np.inf)), r"\.data: -inf at \[3\] given, finite numbers"),
    "complex": (lambda: sp.csr_array(WHOLE).astype(complex), r"\.data: dtype complex128 given, real numbers"),
    "too few columns": (lambda: sp.csr_array(WHOLE)[:, :5], rf": shape \(90, 5\) given, \(n, {D}\) is wanted"),
    "no rows": (lambda: sp.csr_array((0, D)), rf": shape \(0, {D}\) given, \(n, {D}\) is wanted, n >= 1"),
    "one dimension": (lambda: sp.coo_array(WHOLE[1]), rf": shape \({D},\) given"),
    "a column too far": (lambda: spoilt(indices=(2, D)), rf"\.indices: {D} at \[2\] given, columns 0..{D - 1} are"),
    "a negative column": (lambda: spoilt(indices=(2, -1)), r"\.indices: -1 at \[2\] given"),
    "a row behind all entries": (lambda: spoilt(indptr=(N, 10**6)), r"\.indptr: 91 numbers that rise from 0 to at"),
    "a row that ends before it begins": (lambda: spoilt(indptr=(50, 0)), r"\.indptr: "),
    "a first row that is not the first": (lambda: spoilt(indptr=(0, 1)), r"\.indptr: "),
}

ASK: dict[str, Callable[[jn.Network, Any], Any]] = {
    "predict": lambda net, X: net.predict(X),
    "classify": lambda net, X: net.classify(X),
    "loss": lambda net, X: net.loss(X, LABELS),
    "evaluate": lambda net, X: net.evaluate(X, LABELS),
    "fit": lambda net, X: net.fit(X, LABELS),
    "validation": lambda net, X: net.fit(WHOLE, LABELS, validation=(X, LABELS)),
}


def refused(ask: Callable[[jn.Network], Any], says: str) -> None:
    """InputError in one line that matches, and nothing of the network changed."""
    net = classifier()
    net.fit(WHOLE, LABELS, epochs=1)
    theta, rows, memory = net.theta.tobytes(), len(net.history), net.continuation
    assert memory is not None
    state, step = memory.state.tobytes(), memory.step
    with pytest.raises(jn.InputError, match=says) as error:
        ask(net)
    assert "\n" not in str(error.value)
    assert (net.theta.tobytes(), len(net.history), net.history.stopped) == (theta, rows, "all epochs done")
    assert net.continuation is memory
    assert (memory.state.tobytes(), memory.step) == (state, step)


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("ask", ASK)
def test_bad_matrices(ask: str, bad: str) -> None:
    make, says = BAD[bad]
    X = make()
    refused(lambda net: ASK[ask](net, X), f"^{'validation X' if ask == 'validation' else 'X'}{says}")


@pytest.mark.parametrize("form", ["plain", "matrix"])
@pytest.mark.parametrize("ask", ["predict", "loss", "fit", "validation"])
def test_forms_that_know_no_sparse_rows(ask: str, form: str) -> None:
    X, given = sp.csr_array(WHOLE), {"form": form}
    asked: dict[str, Callable[[jn.Network], Any]] = {
        "predict": lambda net: net.predict(X, **given),
        "loss": lambda net: net.loss(X, LABELS, **given),
        "fit": lambda net: net.fit(X, LABELS, **given),
        "validation": lambda net: net.fit(WHOLE, LABELS, validation=(X, LABELS), **given),
    }
    refused(asked[ask], f"^form: '{form}' given for sparse X, 'auto' or 'tiled' is wanted")


def test_what_wants_dense_data() -> None:
    X = sp.csr_array(WHOLE)
    dense = "a sparse matrix given, a dense array is wanted"
    refused(lambda net: net.gradient(X, LABELS), f"^X: {dense}")
    refused(lambda net: net.jacobian(X), f"^x: {dense}")
    refused(lambda net: net.jvp(X, WHOLE), f"^x: {dense}")
    refused(lambda net: net.jvp(WHOLE, X), f"^v: {dense}")
    refused(lambda net: net.vjp(X, LABELS), f"^x: {dense}")
    refused(lambda net: jn.compare(net, X, LABELS), f"^X: {dense}")
    refused(lambda net: net.fit(WHOLE, sp.csr_array(np.eye(CLASSES)[LABELS])), f"^T: {dense}")
    refused(lambda net: net.fit(X, LABELS, optimizer=jn.LBFGS()), "^optimizer: LBFGS given for sparse X")
    stop = jn.StopAtGradientNorm(1.0)
    refused(lambda net: net.fit(X, LABELS, callbacks=[stop]), "^callbacks: StopAtGradientNorm given for sparse X")


# --- memory ---------------------------------------------------------------------------------------------------------


def test_nothing_is_made_dense(monkeypatch: pytest.MonkeyPatch) -> None:
    matrices = [getattr(sp, name)(WHOLE) for name in ("csr_matrix", "csc_array", "coo_array")]

    def never(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("made dense")

    for each in {SparseRows, *(base for X in matrices for base in type(X).__mro__)}:
        for name in {"toarray", "todense", "__array__"} & vars(each).keys():
            monkeypatch.setattr(each, name, never)
    with pytest.raises(AssertionError, match="made dense"):
        matrices[0].todense()
    for X in matrices:
        everything(X)


def test_many_inputs_take_no_dense_memory() -> None:
    """Of 400,000,000 numbers 80,000 are stored."""
    rng = np.random.default_rng(0)
    entries = rng.normal(size=80_000).astype(np.float32), rng.integers(0, 20_000, 80_000), 4 * np.arange(20_001)
    X = sp.csr_array(entries, shape=(20_000, 20_000))
    net = jn.Network([20_000, 3], dtype="float32")
    net.fit(X, np.ones((20_000, 3)), epochs=1, batch_size=500)  # compiled
    net.predict(X)
    tracemalloc.start()
    net.fit(X, np.ones((20_000, 3)), epochs=1, batch_size=500)
    net.predict(X)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6


@pytest.mark.parametrize("threads", [1, 2])
def test_references_are_given_back(threads: int) -> None:
    """The steps count none: as many are there afterwards as before, of what was trained on and of what was trained."""
    X, dense = sp.csr_array(WHOLE), np.ascontiguousarray(WHOLE)
    X.sum_duplicates()
    T, weight = np.eye(CLASSES)[LABELS], np.ones(N)
    net = jn.Network([D, 300, CLASSES], output="softmax", loss="cross_entropy", dtype="float64")  # parallel steps
    arrays = [X.data, X.indices, X.indptr, dense, T, weight, net.theta, *net.W, *net.b, net.layout.widths]
    for each in (X, dense):
        net.fit(each, T, sample_weight=weight, epochs=1, batch_size=45, threads=threads)
    before = [sys.getrefcount(each) for each in arrays]
    for _ in range(20):
        for each in (X, dense):
            net.fit(each, T, sample_weight=weight, epochs=1, batch_size=45, threads=threads)
    assert [sys.getrefcount(each) for each in arrays] == before


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


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
@pytest.mark.parametrize("make", [np.asarray, sp.csr_array])
def test_memory_does_not_grow(make: Callable[[Array], Any]) -> None:
    """200 fits: a kept order of the data points alone would be 1.6 MB, W of each network 3.7 MB."""
    X, T = make(np.tile(WHOLE, (11, 1))), np.tile(LABELS, 11)

    def fit(times: int) -> tuple[int, int]:
        for _ in range(times):
            classifier("float32").fit(X, T, epochs=1, batch_size=256, threads=1)
        gc.collect()
        return tracemalloc.get_traced_memory()[0], resident()

    tracemalloc.start()
    before = fit(20)
    traced, kept = np.subtract(fit(200), before)
    tracemalloc.stop()
    assert traced < 300e3
    assert kept < 2.5e6


# --- numbers that run away ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("settings", [{"batch_size": None}, {"batch_size": 20}, {"clip_value": 1e300, "l2": 0.1}])
def test_divergence_keeps_finite_parameters(dtype: str, settings: dict[str, Any]) -> None:
    said = []
    for X in (WHOLE, sp.csr_array(WHOLE)):
        net = jn.Network([D, 66, 2], dtype=dtype, seed=1)
        before = net.theta.tobytes()
        with pytest.raises(jn.DivergenceError) as error:
            net.fit(X, WHOLE[:, 1:3], optimizer=jn.SGD(lr=10), epochs=30, **settings)
        assert np.isfinite(net.theta).all()
        assert np.isfinite(net.predict(X)).all()
        assert net.theta.tobytes() != before
        assert net.history.stopped == "DivergenceError"
        said.append((str(error.value), net.theta.tobytes(), error.value.step, error.value.layer))
        net.theta[:] = 0
        net.fit(X, WHOLE[:, 1:3], optimizer=jn.SGD(lr=1e-6), epochs=1)  # goes on
    assert said[0] == said[1]


def test_divergence_makes_few_rows_dense_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the batch that failed may be all."""
    made, toarray = [], SparseRows.toarray
    monkeypatch.setattr(training, "DENSE_AT_ONCE", 7 * D)
    monkeypatch.setattr(SparseRows, "toarray", lambda rows: made.append(len(rows)) or toarray(rows))
    said = []
    for X in (WHOLE, sp.csr_array(WHOLE)):
        net = jn.Network([D, 66, 2], dtype="float64", seed=1)
        with pytest.raises(jn.DivergenceError) as error:
            net.fit(X, WHOLE[:, 1:3], optimizer=jn.SGD(lr=10), epochs=30, batch_size=None)
        said.append(str(error.value))
    assert said[0] == said[1]
    assert made == [7] * 12 + [6]
