"""Training takes parameters x (1 + optimiser state + 1) and the batch's activations, besides the data."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

import jitnet as jn
from jitnet import layout
from jitnet._jit import use_threads
from jitnet.forms import tiled
from jitnet.forms.tiled_narrow import GROUP_POINTS
from jitnet.optimizers import UpdateRule
from jitnet.panels import width_of
from jitnet.registers import TILE_VECTORS
from jitnet.training import MOST_STEPS, bare_rule

NETWORKS = [
    ([784, 1024, 1024, 10], 256), ([784, 512, 512, 10], 128), ([784, 128, 10], 128), ([100, 300, 10], 1000),
    ([4, 32, 16, 4], 10_000),
]  # fmt: skip


def activations(widths: list[int], batch: int, dtype: str) -> int:
    """Bytes of what a step knows of its batch: inputs, targets, x, y, delta, and y once more as strips.

    Data points are padded to whole panels; a panel has `lanes` rows to spare, a strip `width` neurons.
    """
    width = width_of(dtype)
    lanes = width // TILE_VECTORS
    neurons, hidden = sum(widths[1:]), widths[1:-1]
    panels = (widths[0] + lanes) + (widths[-1] + lanes) + 3 * (neurons + lanes)
    strips = sum(-(-n // width) * width for n in hidden)
    points = -(-batch // width) * width
    return points * (panels + strips) * np.dtype(dtype).itemsize


def touched(work: tiled.TiledWork) -> int:
    """Bytes of the memory that training writes to: all but g, and what two buffers share once."""
    arrays = [each for name, each in work._asdict().items() if isinstance(each, np.ndarray) and name != "g"]
    owners = [each if each.base is None else each.base for each in arrays]
    return sum({id(each): each.nbytes for each in owners}.values())


@pytest.mark.parametrize("optimizer", [jn.SGD(), jn.Momentum(), jn.Adam(), jn.AMSGrad()])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("widths", "batch"), NETWORKS)
@pytest.mark.parametrize("kind", ["dense", "zeros skipped", "sparse"])
def test_buffers(kind: str, widths: list[int], batch: int, dtype: str, optimizer: UpdateRule) -> None:
    """Where zeros are skipped, W of the first layer is there once more, and of sparse rows the batch's entries."""
    entries = batch * widths[0] // 10
    keywords = {"dense": {}, "zeros skipped": {"skip_zeros": True}, "sparse": {"entries": entries}}[kind]
    net = jn.Network(widths, init="zeros", dtype=dtype)
    with use_threads(2):
        work = tiled.work(net.layout, batch, MOST_STEPS, net.dtype, **keywords)
    state = optimizer.initial_state(net.size, net.dtype)
    parameters = net.theta.nbytes
    took = net.theta.nbytes + state.nbytes + touched(work)
    bound = parameters * (1 + len(state) + 1) + activations(widths, batch, dtype)
    if work.narrow:
        bound += -(-batch // GROUP_POINTS) * parameters
    if kind != "dense":
        width = width_of(dtype)
        wide = 4 * width if widths[1] > width else width  # blocks of so many neurons
        bound += (widths[0] + width) * -(-widths[1] // wide) * wide * net.dtype.itemsize
    if kind == "sparse":
        bound += entries * (8 + net.dtype.itemsize) + 8 * (widths[0] + 1)
    assert took <= bound


def test_no_gradient_is_kept() -> None:
    """`g` is address space alone: no page of it is touched where nothing is clipped."""
    net = jn.Network([5, 40, 3], dtype="float32", seed=0)
    X, T, weight = net.checked(np.ones((70, 5)), np.ones((70, 3)))
    work = tiled.work(net.layout, 35, 2, net.dtype)
    work.g[:] = np.nan
    before = net.theta.copy()
    data = layout.Data(X, T, weight, order=np.arange(70), batch=35)
    assert tiled.steps(net.layout, net.theta, data, bare_rule(net, jn.Adam(), 2), work) == 2
    assert (net.theta != before).any()
    assert np.isnan(work.g).all()


def test_fit() -> None:
    """All of `Network.fit`, as Python allocates it, and `g`, which is never touched."""
    widths, batch, points = [784, 300, 200, 10], 200, 800
    rng = np.random.default_rng(0)
    net = jn.Network(widths, output="softmax", loss="cross_entropy", dtype="float32", seed=0)
    X, labels = rng.standard_normal((points, widths[0]), dtype=np.float32), rng.integers(0, 10, points)
    net.fit(X, labels, optimizer="sgd", epochs=1, batch_size=batch, threads=2)  # compiled
    net = jn.Network(widths, output="softmax", loss="cross_entropy", dtype="float32", seed=0)
    tracemalloc.start()
    net.fit(X, labels, optimizer="adam", epochs=2, batch_size=batch, threads=2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    parameters, slots = net.theta.nbytes, 2
    targets_weights_order = points * (4 * widths[-1] + 4 + 2 * 8)
    bound = parameters * (1 + slots + 1) + activations(widths, batch, "float32") + targets_weights_order
    took = peak  # theta was there before, g is never touched, and they are of one size
    assert took <= bound
