"""Sparse X: what it may be, what is refused, its memory. It gives the bits of dense data."""

from __future__ import annotations

import gc
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cases
import numpy as np
import pytest
import scipy.sparse as sp
from cases import Array, with_zeros

import jitnet as jn
from jitnet import _jit, inputs, training
from jitnet.forms import tiled
from jitnet.inputs import SparseRows

DTYPES = ("float32", "float64")

# --- good matrices ----------------------------------------------------------------------------------------------------

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
    net = jn.Network([50, 3], dtype="float64")
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


def with_entry(row: int, column: int, value: float) -> Any:
    X = sp.lil_array(WHOLE)
    X[row, column] = value
    return X.tocsr()


BAD: dict[str, tuple[Callable[[], Any], str]] = {
    "NaN": (lambda: with_entry(7, 2, np.nan), r": nan at \[7, 2\] given, finite numbers"),
    "inf": (lambda: with_entry(0, 0, -np.inf), r": -inf at \[0, 0\] given, finite numbers"),
    "NaN in a matrix of columns": (
        lambda: with_entry(N - 1, D - 1, np.nan).tocsc(),
        rf": nan at \[{N - 1}, {D - 1}\] given",
    ),
    "a sum that is NaN": (
        lambda: sp.coo_array(([1, np.inf, 2, -np.inf], ([4, 5, 6, 5], [1, 2, 3, 2])), shape=(N, D)),
        r": nan at \[5, 2\] given",
    ),
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
    assert net.history.stopped == "all epochs done"
    cases.refused(net, ask, says)


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
    gc.collect()  # the first fit may have compiled, and what that leaves behind held them too
    before = [sys.getrefcount(each) for each in arrays]
    for _ in range(20):
        for each in (X, dense):
            net.fit(each, T, sample_weight=weight, epochs=1, batch_size=45, threads=threads)
    gc.collect()
    assert [sys.getrefcount(each) for each in arrays] == before


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
