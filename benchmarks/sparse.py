"""What do zeros save: skipped in dense X, or X as sparse rows, against multiplied like any number? float32."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

from benchmarks.common import (
    ADAM,
    MIDDLE,
    NETWORKS,
    REPEAT,
    ROUNDS,
    THREADS,
    Case,
    Training,
    assert_close,
    by_profile,
    function_of,
    get_form,
    lacking,
    lay_out,
    make_data,
    make_network,
    once,
    pin,
)

version = 1

KINDS = ["dense", "zeros skipped", "sparse rows"]
DENSITIES = by_profile([0.1], [0.5, 0.1, 0.01], [0.5, 0.1, 0.01])
MANY_INPUTS = Case([20_000, 128, 10], 128, "relu", "softmax", "cross_entropy", ADAM)
ROWS = 10_000


def inputs_of_this_commit() -> ModuleType:
    """`jitnet.inputs`."""
    try:
        from jitnet import inputs
    except ImportError as error:
        raise lacking("sums over non-zeros") from error
    return inputs


def data_with_zeros(case: Case, net: Any, points: int, density: float) -> tuple[Any, Any, Any]:
    """X, T, weight as `make_data` makes them, with so many numbers of X left."""
    X, T, weight = make_data(case, net, points)
    X[np.random.default_rng(3).random(X.shape, np.float32) >= density] = 0
    return X, T, weight


def of_kind(X: Any, kind: str) -> tuple[Any, bool]:
    """X as the form's kernels take it, and whether its zeros are skipped."""
    if kind != "sparse rows":
        return X, kind == "zeros skipped"
    rows, columns = np.nonzero(X)
    starts = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(X)))]).astype(np.intp)
    entries = np.ascontiguousarray(X[rows, columns][:, None])
    return inputs_of_this_commit().SparseRows(entries, columns.astype(np.int32), starts, X.shape[1]), True


class TrainingWithZeros(Training):
    """Dense data are checked against the matrix form, the other kinds against them, bit for bit."""

    def __init__(self, case: Case, form: str, kind: str, density: float, steps: int) -> None:
        self.kind, self.density = kind, density
        super().__init__(case, form, "float32", steps=steps)

    def prepare(self, order: Any) -> tuple[Any, Any]:
        """The data in their kind, and the buffers for it."""
        inputs, form, batch = inputs_of_this_commit(), get_form(self.form), self.case.batch
        X, T, weight = data_with_zeros(self.case, self.net, len(order), self.density)
        X, skips = of_kind(X, self.kind)
        work = inputs.work(form, self.net.layout, X, batch, self.steps, self.net.dtype, skips)
        return inputs.as_data(X, T, weight, order, batch, skips), work

    def compare(self, dtype: str) -> None:
        """The same steps of the matrix form, or on dense data."""
        if self.kind == "dense":
            twin = TrainingWithZeros(self.case, "matrix", self.kind, self.density, self.steps)
            assert_close(self.losses, twin.losses, dtype, "losses")
            self.assert_moved_as(twin, dtype)
        else:
            dense = TrainingWithZeros(self.case, self.form, "dense", self.density, self.steps)
            assert np.array_equal(self.after, dense.after)
            assert np.array_equal(self.losses, dense.losses)


class TrainingStep:
    """A call does eight steps of 784-128-10 on batches of 128, each of its own."""

    params = (DENSITIES, KINDS, THREADS)
    param_names = ("density", "kind", "threads")
    timeout = 300
    rounds, repeat, warmup_time = ROUNDS, REPEAT, 0.0

    def setup(self, density: float, kind: str, threads: int) -> None:
        """Compiled and checked."""
        pin(threads)
        key = "step", density, kind, threads
        self.training = once(key, lambda: TrainingWithZeros(NETWORKS[MIDDLE], "tiled", kind, density, 8))
        self.training.reset()

    def time_eight_steps(self, density: float, kind: str, threads: int) -> None:
        """Gather, forward, backward, gradient and update, eight times."""
        self.training.run()


class ManyInputs:
    """A call does two steps of 20000-128-10 on batches of 128 whose numbers are 0 but for one in a thousand."""

    params = (["dense", "sparse rows"], THREADS)
    param_names = ("kind", "threads")
    timeout = 300
    rounds, repeat, warmup_time = ROUNDS, REPEAT, 0.0

    def setup(self, kind: str, threads: int) -> None:
        """Compiled and checked."""
        pin(threads)
        self.training = once(
            ("many inputs", kind, threads), lambda: TrainingWithZeros(MANY_INPUTS, "tiled", kind, 0.001, 2)
        )
        self.training.reset()

    def time_two_steps(self, kind: str, threads: int) -> None:
        """Gather, forward, backward, gradient and update, twice."""
        self.training.run()


class Predict:
    """The outputs of 10,000 checked rows by 784-128-10."""

    params = (DENSITIES, KINDS, THREADS)
    param_names = ("density", "kind", "threads")
    timeout = 300
    rounds, repeat, warmup_time = 1, REPEAT, 0.0

    def setup(self, density: float, kind: str, threads: int) -> None:
        """Compiled; dense data checked against the matrix form, the other kinds against them, bit for bit."""
        pin(threads)
        self.net, self.data, self.outputs = once(("predict", density, kind), lambda: self.prepared(density, kind))

    def prepared(self, density: float, kind: str) -> tuple[Any, Any, Any]:
        """Network, data and kernel."""
        case, inputs = NETWORKS[MIDDLE], inputs_of_this_commit()
        net = make_network(case, "float32")
        X, T, weight = data_with_zeros(case, net, ROWS, density)
        dense = function_of("tiled", "outputs")(net.layout, net.theta, X)
        if kind == "dense":
            assert_close(dense, function_of("matrix", "outputs")(net.layout, net.theta, X), "float32", kind)
            return net, lay_out(X), function_of("tiled", "outputs")
        rows, skips = of_kind(X, kind)
        data = lay_out(inputs.as_data(rows, T[:0], weight, np.arange(ROWS), ROWS, skips))
        outputs = function_of("tiled", "outputs_and_losses_skipping_zeros")
        assert np.array_equal(outputs(net.layout, net.theta, data)[0], dense)
        return net, data, outputs

    def time_predict(self, density: float, kind: str, threads: int) -> None:
        """All rows in one call."""
        self.outputs(self.net.layout, self.net.theta, self.data)
