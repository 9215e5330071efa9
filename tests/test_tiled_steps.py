"""A training step of the tiled form: its workers, its items, what it allocates, how it ends."""

from __future__ import annotations

import itertools
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
from cases import WAYS, Array, of_kind, with_zeros
from numba.core.runtime import _nrt_python, rtsys
from tiled_cases import DTYPES, GROUPS, PARTS, SHAPES, as_bytes, filled, network, training

import jitnet as jn
from jitnet import _jit
from jitnet.forms import matrix, plain, tiled
from jitnet.forms.tiled_nonzeros import STRIPS_OF_AN_ITEM
from jitnet.forms.tiled_work import ROW, ROW_END, ROWS_OF_AN_ITEM, TiledWork
from jitnet.layout import Data, Rule
from jitnet.panels import width_of
from jitnet.teams import MEMBERS
from jitnet.training import bare_rule


@pytest.fixture
def counted() -> Iterator[Callable[[], int]]:
    """How many arrays compiled code has made so far."""
    before = _nrt_python.memsys_stats_enabled()
    _nrt_python.memsys_enable_stats()
    yield lambda: int(rtsys.get_allocation_stats().alloc)
    if not before:
        _nrt_python.memsys_disable_stats()


@pytest.mark.usefixtures("buffers_for_all_threads")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("build", ["serial", "parallel"])
@pytest.mark.parametrize("kind", WAYS)
def test_a_step_allocates_nothing(kind: str, dtype: str, build: str, counted: Callable[[], int]) -> None:
    """A call of 40 steps makes as many arrays as one of 2."""
    steps = getattr(tiled.steps, build)
    for widths, N in SHAPES:
        for clips in (True, False):
            counts = []
            for count in (2, 2, 40):  # the first call compiles
                net = network(widths, dtype)
                data, how = training(net, N, jn.Adam(), count, clips=clips)
                data, keywords = of_kind(data._replace(X=with_zeros(data.X)), kind)
                work = tiled.work(net.layout, data.batch, count, dtype, **keywords)
                before = counted()
                assert steps(net.layout, net.theta, data, how, work) == count
                counts.append(counted() - before)
            assert counts[1] == counts[2], (widths, N, clips)


def test_allocations_are_counted(counted: Callable[[], int]) -> None:
    """The test above could not fail otherwise."""
    net = network([7, 65, 3], "float64")
    before = counted()
    tiled.outputs.serial(net.layout, net.theta, np.ones((5, 7)))
    assert counted() > before


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", WAYS)
def test_any_number_of_workers_gives_the_same_bits(dtype: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """More workers than data points or weights too; the buffers are made for the threads that there are. Teams of
    threads, most of them whole in one of some tries, also where gradients are not clipped; and more workers than there
    are threads.
    """
    most = numba.config.NUMBA_NUM_THREADS
    teams = [(tiled.steps.parallel, threads) for threads in (2, 3, 5, 6, 64) if threads in (64, *range(1, most + 1))]
    for (widths, N), clips in itertools.product((*SHAPES, *GROUPS, *PARTS), (True, False)):
        results = []
        for steps, workers in ((tiled.steps.serial, 1), (tiled.steps.serial, 64), *teams):
            monkeypatch.setattr(_jit, "threads_for", lambda work, workers=workers: workers)
            for _ in range(10):
                net = network(widths, dtype)
                data, how = training(net, N, jn.AMSGrad(), clips=clips)
                data, keywords = of_kind(data._replace(X=with_zeros(data.X)), kind)
                work = tiled.work(net.layout, data.batch, 3, dtype, **keywords)
                assert work.workers == workers
                assert steps(net.layout, net.theta, data, how, work) == 3
                results.append(as_bytes((net.theta, how.state, work.loss, work.before)))
                if work.meeting[MEMBERS] == workers or workers > most:
                    break
        assert all(result == results[0] for result in results), (widths, N)


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_an_infinite_neuron_makes_does_not_depend_on_workers(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those above are silent: 0 times its y is NaN in F7, but in sums over non-zeros, which all workers choose alike.

    The first 64 of every 128 neurons speak, so that items of other rows would choose otherwise.
    """
    widths, N, results, rows = [64, 128, 128, 3], 128, [], set()
    for workers in (1, 2, 3, 6, 64):
        monkeypatch.setattr(_jit, "threads_for", lambda work, workers=workers: workers)
        net, rng = jn.Network(widths, activation="relu", dtype=dtype, seed=0), np.random.default_rng(0)
        X, T = 0.1 * rng.normal(size=(N, widths[0])), rng.normal(size=(N, widths[-1]))
        X[:, 0], X[5] = 0, 0
        X[5, 0] = 1e38 if dtype == "float32" else 1e308
        net.W[0][:, 0], net.W[0][0, 0], net.W[1][:, 0] = 0, 10, -1
        net.b[1][:] = np.where(np.arange(widths[2]) % 128 < 64, 3, -50)
        X, T, weight = net.checked(X, T)
        work = tiled.work(net.layout, N, 1, net.dtype)
        rows.add(int((work.items[:, ROW_END] - work.items[:, ROW]).max()))
        how = bare_rule(net, jn.SGD(lr=1e-6), 1)
        tiled.steps.serial(net.layout, net.theta, Data(X, T, weight, np.arange(N), N), how, work)
        assert not np.isfinite(tiled.forward.serial(net.layout, net.theta, X)[0]).all()
        results.append(as_bytes((net.theta, work.loss)))
    assert len(rows) > 1
    assert all(result == results[0] for result in results)


def test_items_are_shorter_where_so_many_threads_are_done_sooner(monkeypatch: pytest.MonkeyPatch) -> None:
    """But what is summed piece by piece does not know how many there are, and a small step has one."""
    wide, several = [784, 128, 10], (1, 2, 64)

    def of_several(widths: list[int], batch: int) -> list[TiledWork]:
        layout, made = jn.Network(widths, dtype="float32").layout, []
        for threads in several:
            monkeypatch.setattr(_jit, "threads", lambda threads=threads: threads)
            made.append(tiled.work(layout, batch, 1, "float32"))
        return made

    def rows(work: TiledWork) -> int:
        return int((work.items[:, ROW_END] - work.items[:, ROW]).max())

    large = of_several(wide, 128)
    assert [work.workers for work in large] == list(several)
    assert rows(large[0]) == min(ROWS_OF_AN_ITEM, 128)
    assert rows(large[2]) < rows(large[0])
    for work in large:
        np.testing.assert_array_equal(work.pieces, large[0].pieces)
        shares = np.diff(work.first_items)
        assert shares.sum() == len(work.items)
        assert len(shares) == min(work.workers, len(work.items))
        inside = np.zeros(wide[0] * wide[1] + wide[1] * wide[2], int)  # every weight is in one item
        for m, i, end, j in work.items:
            at, n_in = m * wide[0] * wide[1], wide[m]
            W = inside[at : at + n_in * wide[m + 1]].reshape(-1, n_in)
            W[i:end, j : j + STRIPS_OF_AN_ITEM * width_of("float32")] += 1
        assert (inside == 1).all()
    assert [work.workers for work in of_several([64, 64, 10], 32)] == [1, 1, 1]


@pytest.mark.parametrize("dtype", DTYPES)
def test_narrow_networks_are_summed_group_by_group(dtype: str) -> None:
    """And keep nothing of a batch but a gradient for each group. Wide ones, or few points, are not."""

    def work(widths: list[int], batch: int) -> Any:
        return tiled.work(jn.Network(widths, dtype=dtype).layout, batch, 1, dtype)

    assert work([2, 3, 4, 2], 32).narrow
    assert work([4, 32, 16, 4], 10_000).narrow
    assert work([4, 32, 16, 4], 64).narrow
    assert not work([4, 32, 16, 4], 16).narrow
    assert not work([32, 32, 8], 32).narrow
    assert not work([1, 1000, 1], 10_000).narrow  # a group of it would leave the cache
    assert not work([64, 64, 64, 10], 10_000).narrow  # a gradient for each group would be much
    ranges = work([4, 32, 16, 4], 64).items[:, [ROW, ROW_END]]  # of theta's 756: every parameter is in one
    np.testing.assert_array_equal(ranges, [[0, 256], [256, 512], [512, 756]])
    few, many = (work([4, 32, 16, 4], batch) for batch in (10_240, 20_480))
    groups = many.gradients.nbytes - few.gradients.nbytes
    grown = sum(each.nbytes for each in many if isinstance(each, np.ndarray))
    grown -= sum(each.nbytes for each in few if isinstance(each, np.ndarray))
    assert grown == groups + 16 * 10_240  # and L, and the order of points


@pytest.mark.parametrize("rate", [0.0, 0.5])
@pytest.mark.parametrize("narrow", [False, True])
def test_places_behind_the_last_data_point_count_nothing(narrow: bool, rate: float) -> None:
    """A panel's idle places have inputs 0: here their e^x is inf, while that of every data point is about 1."""
    thetas = []
    for form, keywords in ((tiled, {"narrow": narrow}), (matrix, {})):
        net = jn.Network([2, 3, 4, 1], activation=["exponential", "tanh"], dtype="float32", seed=0)
        net.W[0][:], net.b[0][:] = -100, 200
        rng = np.random.default_rng(0)
        X, T = (1 + 1e-3 * rng.standard_normal((26, n)).astype("float32") for n in (2, 1))
        data = Data(X, T, np.ones(26, "float32"), np.arange(26), 26)
        how = bare_rule(net, jn.SGD(lr=0.01), 1)._replace(dropout_rates=np.array([rate, rate, 0.0]))
        assert form.steps(net.layout, net.theta, data, how, form.work(net.layout, 26, 1, net.dtype, **keywords)) == 1
        thetas.append(net.theta)
    np.testing.assert_allclose(*thetas, rtol=1e-5, atol=1e-6)


def test_a_rule_that_judges_takes_no_step() -> None:
    for form in (tiled, matrix, plain):
        net = network([5, 9, 2], "float64")
        data, how = training(net, 40, jn.Adam(), 1, dropout=0.0)
        work, theta = form.work(net.layout, data.batch, 1, net.dtype), net.theta.copy()
        how = how._replace(judge=True, l1=0.0, l2=0.0)
        assert form.steps(net.layout, net.theta, data, how, work) == 0
        rows = data.order[: data.batch]
        wanted = net.loss(data.X[rows], data.T[rows], sample_weight=data.weight[rows])
        assert work.loss[0] == pytest.approx(wanted, rel=1e-13)
        np.testing.assert_array_equal(net.theta, theta)
        assert not how.state.any()


@pytest.mark.usefixtures("buffers_for_all_threads")
@pytest.mark.parametrize("penalty", [0.0, 1e-3])
@pytest.mark.parametrize("clip_norm", [np.inf, 0.05])
@pytest.mark.parametrize("narrow", [False, True])
def test_the_parallel_build_takes_the_serial_builds_steps(narrow: bool, clip_norm: float, penalty: float) -> None:
    """Each part of a step may be there or not."""
    for widths, N in (*SHAPES, *GROUPS):
        results = []
        for build in ("serial", "parallel"):
            net = network(widths, "float64")
            data, how = training(net, N, jn.Adam(), clips=False, dropout=0.0)
            how = how._replace(clip_norm=clip_norm, l1=0.0, l2=penalty)
            work = filled(tiled.work(net.layout, data.batch, 3, net.dtype, narrow=narrow), 200.0)
            assert work.workers == _jit.threads()
            assert getattr(tiled.steps, build)(net.layout, net.theta, data, how, work) == 3
            results.append(as_bytes((net.theta, how.state, work.loss)))
        assert results[0] == results[1], (widths, N)


@numba.njit(parallel=True)
def halves(x: Array, out: Array) -> None:
    for worker in numba.prange(len(out)):
        out[worker] = x[worker] / 2


@pytest.mark.skipif(platform.machine().lower() not in ("x86_64", "amd64"), reason="a mode of x86")
@pytest.mark.usefixtures("buffers_for_all_threads")
@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("build", ["serial", "parallel"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_steps_take_subnormal_numbers_as_zero(dtype: str, build: str, narrow: bool) -> None:
    """Adam's mean of a weight without gradient gets there, stays, and is slow; other threads' numbers are let be."""
    net, small = network([40, 70, 3], dtype), np.finfo(dtype).smallest_subnormal
    ways = ((np.inf, 0.0, 1), (1.0, 0.0, 1), (1.0, 1e-3, 1), (np.inf, 0.0, 0), (np.inf, 0.0, "no"))
    for clip_norm, l2, taken in ways:
        data, how = training(net, 128, jn.Adam(), 1, clips=False, dropout=0.0)
        data.X[:] = 0
        if taken == "no":
            data.T[:] = np.nan  # no loss is finite
        how = how._replace(clip_norm=clip_norm, l1=0.0, l2=l2, judge=taken == 0)
        how.state[:] = 5 * small
        work = tiled.work(net.layout, data.batch, 1, net.dtype, narrow=narrow)
        assert work.workers == _jit.threads()
        assert getattr(tiled.steps, build)(net.layout, net.theta.copy(), data, how, work) == (taken == 1)
        if taken == 1 and l2 == 0.0:
            assert not how.state[:, : 40 * 70].any()
            assert how.state[:, net.layout.b_at[0] : net.size].any()
        after = np.zeros(1000, dtype)
        halves(np.full(1000, 4 * small, dtype), after)
        np.testing.assert_array_equal(after, 2 * small)


FIRST_PARALLEL_CALL = """
import sys
import numpy as np
import jitnet as jn
sys.path.insert(0, sys.argv[1])
import test_tiled_steps

net = jn.Network([200, 128, 3], dtype="float32", seed=0)
net.fit(np.ones((2000, 200), np.float32), np.ones((2000, 3), np.float32), optimizer="adam", epochs=1, batch_size=1000)
small, after = np.finfo(np.float32).smallest_subnormal, np.zeros(1000, np.float32)
test_tiled_steps.halves(np.full(1000, 4 * small, np.float32), after)
assert (after == 2 * small).all(), f"{(after == 0).sum()} of 1000 numbers are taken as 0"
"""


@pytest.mark.skipif(platform.machine().lower() not in ("x86_64", "amd64"), reason="a mode of x86")
def test_threads_made_by_the_first_fit_know_subnormal_numbers() -> None:
    """OpenMP's threads inherit the mode of the thread that makes them."""
    script = [sys.executable, "-c", FIRST_PARALLEL_CALL, str(Path(__file__).parent)]
    done = subprocess.run(script, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.usefixtures("buffers_for_all_threads")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("build", ["serial", "parallel"])
def test_steps_that_end_in_infinity_leave_the_last_two_parameters(build: str, dtype: str) -> None:
    """A team leaves together, at any step of a call; theta and before are those of as many single steps."""
    net = network([40, 70, 3], dtype)
    data, _ = training(net, 128, jn.Adam(), 5, clips=False, dropout=0.0)
    data = data._replace(order=np.arange(5 * 20), batch=20)
    steps = getattr(tiled.steps, build)

    def rule(first: int, count: int, bad: int) -> Rule:
        how = training(net, 128, jn.Adam(), 5, clips=False, dropout=0.0)[1]
        rows = how.coefficients.copy()
        if bad < 5:
            rows[bad, 0] = np.inf  # the step size
        keys = how.dropout_keys[first : first + count]
        return how._replace(coefficients=rows[first : first + count], dropout_keys=keys)

    def ended(calls: list[tuple[int, int]], bad: int) -> tuple[list[int], list[bytes]]:
        theta, work, taken = net.theta.copy(), tiled.work(net.layout, 20, 5, net.dtype), []
        assert work.workers == _jit.threads()
        work.before[:] = 7
        state = rule(0, 5, bad).state
        for first, count in calls:
            how = rule(first, count, bad)._replace(state=state)
            part = data._replace(order=data.order[first * 20 : (first + count) * 20])
            taken.append(int(steps(net.layout, theta, part, how, work)))
            if taken[-1] < count:
                break
        return taken, as_bytes((theta, work.before))

    for bad in range(4):  # the step after it sees its loss
        _, wanted = ended([(k, 1) for k in range(5)], bad)
        assert ended([(0, 5)], bad) == ([bad + 1], wanted)
        assert ended([(0, bad + 1), (bad + 1, 4 - bad)], bad) == ([bad + 1, 0], wanted)
    single, wanted = ended([(k, 1) for k in range(5)], 5)
    assert single == [1] * 5
    assert ended([(0, 5)], 5) == ([5], wanted)
    assert ended([(0, 3), (3, 2)], 5) == ([3, 2], wanted)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("N", [9, 65, 300])
def test_equal_weights_need_no_looking(N: int, dtype: str) -> None:
    """Weights of 1 give the same bits whether `Data.equal` says that they are, or each is looked at."""
    net, rule = network([3, 5, 2], dtype), jn.Adam(1e-2)
    data, _ = training(net, N, rule)
    data = data._replace(weight=np.ones_like(data.weight))
    seen = []
    for equal in (False, True):
        theta, how = net.theta.copy(), training(net, N, rule)[1]
        work = tiled.work(net.layout, data.batch, 3, dtype)
        assert tiled.steps.serial(net.layout, theta, data._replace(equal=equal), how, work) == 3
        seen.append(as_bytes((theta, how.state, work.loss, work.loss_weight)))
    assert seen[0] == seen[1]


def test_fit_says_where_weights_are_equal(monkeypatch: pytest.MonkeyPatch) -> None:
    """`fit` says so of weights that are all 1, given or not, and of no others."""
    said, steps = [], tiled.steps
    monkeypatch.setattr(
        tiled, "steps", lambda net, theta, data, *rest: said.append(data.equal) or steps(net, theta, data, *rest)
    )
    X, T = np.eye(3), np.eye(3)
    for weight in (None, np.ones(3), [1, 1, 2]):
        said.clear()
        jn.Network([3, 3]).fit(X, T, epochs=1, sample_weight=weight, form="tiled")
        assert set(said) == {weight is None or set(weight) == {1}}
