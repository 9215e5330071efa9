"""The tiled form: what its tiles, panels and strips may touch, and the same on processors with other registers."""

from __future__ import annotations

import inspect
import timeit
from pathlib import Path
from typing import Any

import hosts
import numpy as np
import pytest
from cases import KINDS, OWN, OWN_LOSS, Array, everything, of_kind, random_case, silence, with_zeros, worst
from tiled_cases import DTYPES, GROUPS, PARTS, RULES, SHAPES, as_bytes, filled, network, numbers, training

import jitnet as jn
from jitnet import _jit
from jitnet.forms import matrix, tiled
from jitnet.forms.tiled_few import LEAST_WIDTH, SHARE_OF_FEW
from jitnet.forms.tiled_work import MOST_TOGETHER
from jitnet.layout import Data
from jitnet.optimizers import Rprop, UpdateRule
from jitnet.panels import width_of

FUNCTIONS = (("tanh", "cross_entropy"), ("softmax", "log_cosh"), (OWN, OWN_LOSS))
"""Activations of the hidden layers, and losses."""

KERNELS = {
    name: each
    for name, each in vars(tiled).items()
    if isinstance(each, _jit.Kernel) and name not in ("steps", "outputs_and_losses_skipping_zeros")
}


# --- what may be touched --------------------------------------------------------------------------------------------

GUARD = 1 << 16
"""Elements before and behind each array: more than a panel of any network here, a tile, a block of lanes x lanes."""


class Guarded:
    """Copies of arrays that lie between NaN, or between numbers that no index may be."""

    def __init__(self) -> None:
        self.around: list[Array] = []

    def __call__(self, array: Array) -> Array:
        wild = np.nan if array.dtype.kind == "f" else np.iinfo(array.dtype).max // 2
        whole = np.full(array.size + 2 * GUARD, wild, array.dtype)
        inside = whole[GUARD:-GUARD].reshape(array.shape)
        inside[...] = array
        self.around += [whole[:GUARD], whole[-GUARD:]]
        return inside

    def intact(self) -> bool:
        return all(
            (np.isnan(part) if part.dtype.kind == "f" else part == np.iinfo(part.dtype).max // 2).all()
            for part in self.around
        )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", KERNELS)
def test_kernels_touch_nothing_around_their_arrays(name: str, dtype: str) -> None:
    """NaN before and behind every array changes no result, and stays NaN."""
    kernel = KERNELS[name].serial
    for widths, N in SHAPES:
        for functions in FUNCTIONS:
            known, guarded = numbers(network(widths, dtype, *functions), N), Guarded()
            args = [known[parameter] for parameter in inspect.signature(KERNELS[name].py_func).parameters]
            between = [guarded(each) if isinstance(each, np.ndarray) else each for each in args]
            assert as_bytes(kernel(*between)) == as_bytes(kernel(*args)), (widths, N, functions)
            assert guarded.intact()
            for ours, given in zip(between, args, strict=True):
                if isinstance(given, np.ndarray):
                    np.testing.assert_array_equal(ours, given)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS[1:])
def test_outputs_skipping_zeros_touch_nothing_around_their_arrays(kind: str, dtype: str) -> None:
    """And have the bits of those that skip none."""
    relu = "relu", "half_squared_error"
    for widths, N in (*SHAPES, *WIDE):
        for functions, few_speak in (*((each, False) for each in FUNCTIONS), (relu, False), (relu, True)):
            net, guarded = network(widths, dtype, *functions), Guarded()
            known = numbers(net, N)
            X, T = with_zeros(known["X"]), known["T"]
            if few_speak:
                silence(net, X)
            data, _ = of_kind(Data(X, T, known["c"], np.arange(N), N), kind)
            names = [name for name in ("X", "T", "order", "columns", "starts") if getattr(data, name) is not None]
            between = data._replace(**{each: guarded(getattr(data, each)) for each in names})
            given = as_bytes(tuple(getattr(between, each) for each in names))
            got = tiled.outputs_and_losses_skipping_zeros.serial(net.layout, guarded(net.theta), between)
            assert as_bytes(got) == as_bytes(tiled.outputs_and_losses(net.layout, net.theta, X, T)), (widths, functions)
            assert guarded.intact()
            assert as_bytes(tuple(getattr(between, each) for each in names)) == given


@pytest.mark.parametrize("name", [name for name in KERNELS if name != "gradient"])
def test_many_data_points_have_the_bits_of_few(name: str) -> None:
    """More panels than there are chunks, whoever takes which: both builds give what parts of the data points do."""
    net, kernel = network([3, 5, 2], "float32"), KERNELS[name]
    N, few = (2 * tiled.MOST_CHUNKS + 3) * width_of("float32") + 5, 3000
    known = numbers(net, N)
    args = [known[parameter] for parameter in inspect.signature(kernel.py_func).parameters]

    def part(first: int, call: Any) -> list[bytes]:
        cut = [each[first : first + few] if isinstance(each, np.ndarray) and len(each) == N else each for each in args]
        return as_bytes(call(*cut))

    parts = [part(first, kernel.serial) for first in range(0, N, few)]
    wanted = [b"".join(each) for each in zip(*parts, strict=True)]
    for call in (kernel.serial, kernel.parallel):
        assert as_bytes(call(*args)) == wanted


@pytest.mark.parametrize("name", [name for name in KERNELS if name != "gradient"])
def test_a_single_panel_runs_serially(name: str) -> None:
    """A parallel region would wait for all threads, which have nothing to do. A Jacobian has a column an output."""
    net, kernel = network([600, 900, 1 if name == "jacobian" else 800], "float32"), KERNELS[name]
    for N, several in ((1, False), (width_of("float32"), False), (width_of("float32") + 1, True)):
        known = numbers(net, N)
        work = kernel.work(*(known[each] for each in inspect.signature(kernel.py_func).parameters))
        assert (work > 0) == several


def test_a_gradient_of_more_strips_than_there_are_chunks() -> None:
    net = network([(tiled.MOST_CHUNKS + 3) * width_of("float32") + 5, 2], "float32")
    known = numbers(net, 7)
    args = net.layout, known["X"], known["y"], known["delta"]
    assert as_bytes(tiled.gradient.parallel(*args)) == as_bytes(tiled.gradient.serial(*args))
    np.testing.assert_allclose(tiled.gradient.serial(*args), matrix.gradient(*args), 1e-5, 1e-6)


def steps_between_guards(
    widths: list[int], N: int, dtype: str, rule: UpdateRule, *, clips: bool, kind: str,
    activation: str = "tanh", guards: bool,
) -> list[bytes]:  # fmt: skip
    """What three steps write, with NaN around their arrays and in their buffers, or zeros in these."""
    net, guarded = network(widths, dtype, activation), Guarded()
    guard = guarded if guards else lambda array: array
    data, how = training(net, N, rule, clips=clips)
    data, keywords = of_kind(data._replace(X=with_zeros(data.X)), kind)
    names = [name for name in data._fields if isinstance(getattr(data, name), np.ndarray) and len(getattr(data, name))]
    data = data._replace(**{name: guard(getattr(data, name)) for name in names})
    how.state[:, net.size :] = np.nan  # what a row has to spare
    how = how._replace(state=guard(how.state), coefficients=guard(how.coefficients))
    theta = guard(net.theta)
    unchanged = [getattr(data, name) for name in names] + [how.coefficients]
    before = as_bytes(tuple(unchanged))
    work = filled(tiled.work(net.layout, data.batch, 3, dtype, **keywords), np.nan if guards else 0.0)
    work = work._replace(**{name: guard(getattr(work, name)) for name in BUFFERS if getattr(work, name).size})
    if widths is LARGE[0]:
        assert work.together == MOST_TOGETHER
    assert tiled.steps.serial(net.layout, theta, data, how, work) == 3
    assert guarded.intact(), (rule, widths, N)
    assert np.isnan(how.state[:, net.size :]).all()
    assert as_bytes(tuple(unchanged)) == before
    return as_bytes((theta, how.state, work.loss, work.loss_weight, work.before))


BUFFERS = (
    "inputs", "x", "y", "t", "c", "delta", "strips", "transposed", "bits", "rows", "sums", "column_starts",
    "entry_points", "entries", "delta_strips", "nonzero", "below", "tile", "gradients",
)  # fmt: skip
"""Those of panels, of sums over what is not 0, and of groups."""

WIDE = (([130, 200, 150, 2], 40), ([257, 129, 3], 9), ([270, 300, 280, 2], 40))
"""Where F7 of a ReLU network is over the sensitivities that are not 0."""

LARGE = ([520, 600, 300, 2], 270)
"""Where several panels of a worker's go through the layers side by side, if it has four of a batch's 136 points."""


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("clips", [True, False])
@pytest.mark.parametrize("kind", ["dense", "group by group"])
def test_steps_touch_nothing_around_their_arrays(
    kind: str, dtype: str, clips: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor do they read from their buffers what they have not written: these are full of NaN, or of zeros."""
    monkeypatch.setattr(_jit, "threads_for", lambda work: 3)
    for rule in RULES:
        for widths, N in (*SHAPES, *(GROUPS + PARTS if rule is jn.Adam else ())):
            results = [
                steps_between_guards(widths, N, dtype, rule(), clips=clips, kind=kind, guards=guards)
                for guards in (True, False)
            ]
            assert results[0] == results[1], (rule, widths, N)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("clips", [True, False])
def test_sums_over_nonzeros_touch_nothing_around_their_arrays(
    dtype: str, clips: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of inputs, dense and sparse, and of sensitivities; and all three give the same bits."""
    for widths, N in (*SHAPES, *WIDE, LARGE):
        monkeypatch.setattr(_jit, "threads_for", lambda work, widths=widths: 1 if widths is LARGE[0] else 2)
        settings: dict[str, Any] = {"clips": clips, "activation": "relu"}
        wanted = steps_between_guards(widths, N, dtype, jn.Adam(), kind="dense", guards=False, **settings)
        for kind in KINDS:
            got = steps_between_guards(widths, N, dtype, jn.Adam(), kind=kind, guards=True, **settings)
            assert got == wanted, (kind, widths, N)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_data_points_numbers_do_not_depend_on_its_neighbours(dtype: str) -> None:
    """Alone, in another place, among NaN: every output and every loss has the same bits."""
    width = width_of(dtype)
    net = network([9, 33, 5], dtype, "gelu", "huber")
    known = numbers(net, 3 * width + 5)
    X, T = known["X"], known["T"]
    Y, L = tiled.outputs_and_losses(net.layout, net.theta, X, T)
    np.testing.assert_array_equal(tiled.outputs(net.layout, net.theta, X), Y)
    for n in (0, 1, width - 1, width, 2 * width + 3, len(X) - 1):
        alone, loss = tiled.outputs_and_losses(net.layout, net.theta, X[n : n + 1], T[n : n + 1])
        assert as_bytes((alone[0], loss)) == as_bytes((Y[n], L[n : n + 1]))
        among = np.full_like(X, np.nan)
        among[len(X) - 1 - n] = X[n]
        elsewhere = tiled.outputs(net.layout, net.theta, among)
        np.testing.assert_array_equal(elsewhere[len(X) - 1 - n], Y[n])
        assert np.isnan(np.delete(elsewhere, len(X) - 1 - n, axis=0)).all()


FEW = ([1, 33], [8, 33, 40], [3, 65, 40, 2], [65, 97, 33], [96, 130, 64, 5])
"""Widths of layers that few data points go through neuron by neuron, and of others."""


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
def test_few_data_points_have_the_bits_of_many(dtype: str, bias: bool) -> None:
    """A last panel with 1, 2, ... data points, alone or behind another one: neurons along the lanes, or they."""
    width = width_of(dtype)
    for widths in FEW:
        net = jn.Network(widths, activation="tanh", bias=bias, dtype=dtype, seed=3)
        for b in net.b:
            b[:] = np.linspace(-0.5, 0.5, len(b))
        X = np.random.default_rng(1).normal(size=(2 * width, widths[0])).astype(dtype)
        x, y = tiled.forward(net.layout, net.theta, X)
        for n in (*range(1, width // SHARE_OF_FEW + 2), *range(width, width + width // SHARE_OF_FEW + 2)):
            assert as_bytes(tiled.forward(net.layout, net.theta, X[:n])) == as_bytes((x[:n], y[:n])), (widths, n)


@pytest.mark.parametrize("dtype", DTYPES)
def test_steps_of_few_data_points_have_the_bits_of_many(dtype: str) -> None:
    """Of batches of a few, which those of a whole panel are too if the others in it have no weight."""
    width, steps = width_of(dtype), 3
    for widths in FEW:
        for few in (1, width // SHARE_OF_FEW, width // SHARE_OF_FEW + 1):
            thetas = []
            for batch in (few, width):
                net = network(widths, dtype)
                _, how = training(net, 4, jn.Adam(lr=1e-2), steps)
                rng = np.random.default_rng(2)
                X, T = (rng.normal(size=(steps, width, n))[:, :batch].astype(dtype) for n in (net.n_in, net.n_out))
                weight = np.tile(np.arange(batch) < few, steps).astype(dtype)
                data = Data(X.reshape(-1, net.n_in), T.reshape(-1, net.n_out), weight, np.arange(steps * batch), batch)
                work = tiled.work(net.layout, batch, steps, net.dtype, narrow=False)
                assert tiled.steps(net.layout, net.theta, data, how, work) == steps
                thetas.append(net.theta)
            np.testing.assert_array_equal(*thetas, err_msg=f"{widths} {few}")


@pytest.mark.parametrize("dtype", DTYPES)
def test_one_data_point_takes_less_than_a_panel(dtype: str) -> None:
    if width_of(dtype) < LEAST_WIDTH:
        pytest.skip("narrower panels have no few data points")
    net, width = network([512, 512], dtype), width_of(dtype)
    X = np.ones((width, 512), dtype)

    def fastest(rows: int) -> float:
        return min(timeit.repeat(lambda: tiled.outputs.serial(net.layout, net.theta, X[:rows]), number=1, repeat=50))

    assert fastest(1) < 0.75 * fastest(width)


# --- hosts ------------------------------------------------------------------------------------------------------------


def test_registers_are_those_of_this_host() -> None:
    hosts.assert_registers_are_as_told()


@pytest.mark.parametrize("dtype", DTYPES)
def test_everything_agrees_with_the_matrix_form(dtype: str) -> None:
    """On this host; `test_other_hosts` runs it with the registers of others."""
    rng, done = np.random.default_rng(21), 0
    while done < 60:
        widths, N = SHAPES[done % len(SHAPES)]
        case = random_case(rng, widths=widths, N=N)
        with np.errstate(all="ignore"):
            exact = {each: everything(case, "matrix", each, jacobian=widths[-1] <= 17) for each in DTYPES}
        if not worst(exact["float32"], exact["float64"])[0] <= 3e-6:
            continue
        difference, where = worst(everything(case, "tiled", dtype, jacobian=widths[-1] <= 17), exact[dtype])
        assert difference <= (1e-12 if dtype == "float64" else 2e-5), (where, str(case))
        done += 1


@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("rule", RULES)
def test_steps_agree_with_the_matrix_form(rule: type[UpdateRule], narrow: bool) -> None:
    """On this host; `test_other_hosts` runs it with the registers of others."""
    for widths, N in (*SHAPES, *GROUPS, *PARTS):
        thetas = []
        for form, keywords in ((tiled, {"narrow": narrow}), (matrix, {})):
            net = network(widths, "float64")
            data, how = training(net, N, rule(), clips=rule is not Rprop)
            work = form.work(net.layout, data.batch, 3, net.dtype, **keywords)
            assert form.steps(net.layout, net.theta, data, how, work) == 3
            thetas.append(net.theta)
        np.testing.assert_allclose(*thetas, rtol=1e-9, atol=1e-11)


@pytest.mark.slow
@hosts.has_other_hosts
@pytest.mark.parametrize("host", hosts.SETTINGS)
def test_other_hosts(host: str) -> None:
    """All of this file and of the steps' with narrower registers, without fused products, and with another AVX-512."""
    hosts.run_on(host, __file__, str(Path(__file__).with_name("test_tiled_steps.py")))
