"""The buffers of a tiled training step, and how its weights are shared out: everything that is made once a `fit`.

A block of weights (an item) is some rows i of one layer's W from some strips of neurons j below; of a narrow network,
where rows would fill a part of a vector, a range of theta.

m layer   i neuron of layer m   j neuron of layer m-1   width = TILE_VECTORS * lanes
"""

from __future__ import annotations

import heapq
import math
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from jitnet import _jit
from jitnet.forms.tiled_narrow import group_panels, groups_of, is_narrow
from jitnet.forms.tiled_nonzeros import STRIPS_OF_AN_ITEM, block_width
from jitnet.layout import Array, Ints, Net, aligned, parameters, whole_lines
from jitnet.panels import padded, panels_together, width_of
from jitnet.registers import INTEL_SINCE_ICE_LAKE, TILE_ROWS, TILE_VECTORS
from jitnet.teams import CLAIM, TICK, WAITED, WORDS

TEAM_GAIN = 1.6
"""Steps are worth a parallel region for less work than other kernels are: it is one for all of them."""

ROWS_OF_AN_ITEM = 64 if INTEL_SINCE_ICE_LAKE else 128
"""Rows of W in an item at most: what is copied of the layer below is copied once for all of them.

128 in place of 64 on Zen 4: 784-512-512-10 takes 0.97 of the time, 784-128-10 too.
"""

FEWEST_ROWS = 32
"""Rows of an item at least, where it is shorter so that threads have as much to do. Whole strips."""

ROWS_OF_A_COPY = 10
"""Rows of an item that take as long as to copy what they are of (784-128-10)."""

MOST_TOGETHER = 2
"""Panels that go through the layers of a step side by side at most: x and y of four would be more than memory is for
(784-1024-1024-10: 1 to 5 % faster, and 1.5 MB)."""

LAYER, ROW, ROW_END, COLUMN = range(4)
"""The columns of `TiledWork.items`."""

RANGE_OF_AN_ITEM = 256
"""Parameters of an item of a narrow network at most: a range of theta, whatever layers it is of. Whole vectors, that an
item's tile has room for."""


Item = tuple[int, int, int, int]
"""A row of `TiledWork.items`."""


class TiledWork(NamedTuple):
    """Buffers that every step uses again, for batches of up to B data points; width, panel, strip as in panels.py."""

    workers: int  # of a team at most: as many as there are threads, or one where a step is not worth a region
    together: int  # panels of a worker that go through the layers side by side; 1 in a narrow network, whose W are near
    inputs: Array  # (workers * together, d rows of a panel)
    x: Array  # (workers * together, S rows of a panel) pre-activations of the panels under way
    y: Array  # (workers * together, S rows of a panel)
    t: Array  # (workers * together, n_out rows of a panel) targets
    c: Array  # (workers, width) factors of the data points' losses
    delta: Array  # (blocks, S rows of a panel) sensitivities of the batch
    narrow: bool  # F7 goes group by group (tiled_narrow.py): inputs, y, delta hold the panels of each worker's group
    gradients: Array  # (groups, P and some to spare) if narrow, else empty
    strips: Array  # flat: of each hidden layer (strips, height, width); empty if narrow
    strips_at: Ints  # (M + 1,) how many strips come before those of the neurons below layer m
    height: int  # rows of a strip: B rounded up to whole panels
    in_order: Ints  # (height,) 0, 1, 2, ...
    nonzero: Ints  # (blocks, S), or empty: bit q says whether the panel's number q of a neuron's delta is other than 0
    tile: Array  # (workers, ROWS_OF_AN_ITEM * (STRIPS_OF_AN_ITEM * width + 1)) an item's gradient, where `inputs` were
    items: Ints  # (items, 4) layer, first row, row behind the last, first column; of a range: 0, its ends in theta, 0
    pieces: Ints  # the same of blocks that know nothing of threads: penalties and norms are summed piece by piece
    first_items: Ints  # (item workers + 1,) the first item of each worker's share
    below: Array  # (workers, ...) what a sum runs over, copied: strips, rows of W (F9, F1); an item on its side
    transposed: Array  # flat: W of the first layer, where zeros of X are skipped (tiled_nonzeros.py); else empty
    finite: Array  # (workers,) bool: whether what each looked at is: sums x, and weights where zeros are skipped
    bits: Ints  # (workers * together, most neurons of a layer looked through) where a panel's rows are not 0; or empty
    rows: Array  # (workers * together, ...) a wide layer's delta of a panel as strips: `inputs` again, if not narrow
    sums: Array  # (workers, ...) of rows over non-zeros: F9's of the panels side by side, F1's of one; or empty
    column_starts: Ints  # (d + 1,) of a batch's entries by column, where X is sparse; else empty, and the next three
    entry_points: Ints  # (entries of a batch,) the data point of each
    entries: Array  # (entries of a batch,)
    delta_strips: Array  # flat: the first layer's delta as strips
    L: Array  # (B,) float64 loss of each data point
    meeting: Ints  # (WORDS,) where the threads of a team meet (teams.py)
    panels_claimed: Ints  # (workers * CLAIM,) how many panels, or groups, of each worker's share are begun
    items_claimed: Ints  # (item workers * CLAIM,) how many items of each share
    taken: Ints  # (1,) steps of the last call
    partial: Array  # (pieces,) float64 a piece's share of the penalty, of the squared norm
    g: Array  # (P,) gradient, where it is clipped; else never touched
    before: Array  # (P,) the parameters before the last step, of finite loss; steps write to it and theta in turn
    loss: Array  # (steps,) float64 loss of each step with its penalty, before the step is taken
    loss_weight: Array  # (steps,) float64 what each step's loss counts in the epoch's mean

    def seconds_waited(self) -> float:
        """How long the threads of the last call waited for each other, or were waited for when it began, in all."""
        return float(self.meeting[WAITED]) * TICK


def team_work(batch: int, P: int) -> float:
    """What a step of so many data points is worth as a kernel's work."""
    return TEAM_GAIN * batch * P


def work(
    net: Net, batch: int, steps: int, dtype: Any, *, skip_zeros: bool = False, entries: int | None = None,
    narrow: bool | None = None,
) -> TiledWork:  # fmt: skip
    """Buffers for up to `batch` data points and `steps` steps a call, and the workers of the build that runs them now.

    `skip_zeros`: as in Data. `entries`: of sparse X, how many a batch has at most. `narrow`: whether F7 goes group by
    group, of dense X alone; by default where it is faster.
    """
    width, d, S, n_out = width_of(dtype), int(net.widths[0]), int(net.y_at[-1]), int(net.widths[-1])
    P, lanes_ = int(parameters(net)), width // TILE_VECTORS
    workers = _jit.threads_for(team_work(batch, P))
    blocks, wide, n_1 = -(-batch // width), STRIPS_OF_AN_ITEM * width, int(net.widths[1])
    skips, block = skip_zeros or entries is not None, block_width(n_1, width)
    if narrow is None:
        narrow = is_narrow([int(n) for n in net.widths], batch, dtype)
    narrow = narrow and not skips
    groups = groups_of(batch)
    in_groups = min(workers, groups) * min(blocks, group_panels(width))
    together = min(MOST_TOGETHER, panels_together(net.widths, np.dtype(dtype).itemsize))
    if narrow or blocks < 2 * together * workers:  # the only two panels of a worker do not gain
        together = 1
    above = max((int(n) for m, n in enumerate(net.widths) if m > 1 and min(net.widths[m - 1], n) >= wide), default=0)

    def panel(count: int, rows: int) -> Array:
        return aligned((count, (rows + lanes_) * width), dtype)

    # One buffer: inputs have gone through the first layer when delta is written as strips, and these are done with when
    # the gradients of tiles come. But a narrow network sums up its inputs themselves.
    d_kept, strip_rows, panels = 0 if skips else d, padded(above, width), in_groups if narrow else workers * together
    in_part_1 = panels * ((d_kept if narrow else max(d_kept, strip_rows)) + lanes_) * width
    in_part_2 = workers * ROWS_OF_AN_ITEM * (wide + 1)  # with its biases
    shared = aligned((max(in_part_1, in_part_2),), dtype)
    inputs, tile = shared[:in_part_1].reshape(panels, -1), shared[:in_part_2].reshape(workers, -1)

    below = [0, *(0 if narrow else -(-int(n) // width) for n in net.widths[1:-1])]
    strips_at = np.concatenate([[0], np.cumsum(below)]).astype(np.intp)
    if narrow:
        pieces = items = [(0, at, min(at + RANGE_OF_AN_ITEM, P), 0) for at in range(0, P, RANGE_OF_AN_ITEM)]
        costs = [end - at for _, at, end, _ in items]
    else:
        pieces, items = _blocks(net, ROWS_OF_AN_ITEM, wide), _items(net, workers, width)
        costs = _costs(net, items, width)
    before = np.concatenate([[0], np.cumsum(costs)])  # the work of the items before
    item_workers = min(workers, len(items))
    shares = before[-1] * np.arange(item_workers + 1) / item_workers
    nearest = np.abs(before - shares[:, None]).argmin(1)  # a share ends where the item ends that is nearest to its end
    meeting = aligned((WORDS,), np.intp)
    meeting[:] = 0
    transposed = aligned((-(-n_1 // block) * padded(d, lanes_) * block if skips else 0,), dtype)
    transposed[:] = 0  # the lanes behind the last neuron are multiplied too
    return TiledWork(
        workers=workers,
        together=together,
        inputs=inputs,
        x=panel(workers * together, S),
        y=panel(in_groups if narrow else workers * together, S),
        t=panel(workers * together, n_out),
        c=aligned((workers, width), dtype),
        delta=panel(in_groups if narrow else blocks, S),
        narrow=narrow,
        gradients=aligned((groups if narrow else 0, whole_lines(P, dtype)), dtype),
        strips=aligned((int(strips_at[-1]) * blocks * width * width,), dtype),
        strips_at=strips_at,
        height=blocks * width,
        in_order=np.arange(blocks * width, dtype=np.intp),
        nonzero=np.empty((0 if narrow else blocks, S), np.intp),
        tile=tile,
        below=aligned((workers, wide * (width if entries is None else max(width, ROWS_OF_AN_ITEM))), dtype),
        transposed=transposed,
        finite=np.ones(workers, np.bool_),
        bits=np.empty((workers * together, padded(max(above, d if skip_zeros else 0), width)), np.intp),
        rows=aligned((workers, strip_rows * width), dtype) if narrow else inputs,
        sums=aligned((workers, max(together * wide if above else 0, block if skips else 0) * width), dtype),
        column_starts=np.empty(0 if entries is None else d + 1, np.intp),
        entry_points=np.empty(entries or 0, np.intp),
        entries=np.empty(entries or 0, dtype),
        delta_strips=aligned((0 if entries is None else -(-n_1 // width) * blocks * width * width,), dtype),
        items=np.array(items, np.intp),
        pieces=np.array(pieces, np.intp),
        first_items=nearest.astype(np.intp),
        L=np.empty(batch),
        meeting=meeting,
        panels_claimed=aligned((workers * CLAIM,), np.intp),
        items_claimed=aligned((item_workers * CLAIM,), np.intp),
        taken=np.zeros(1, np.intp),
        partial=np.empty(len(pieces)),
        g=np.empty(P, dtype),
        before=aligned((P,), dtype),
        loss=np.empty(steps),
        loss_weight=np.empty(steps),
    )


def _items(net: Net, workers: int, width: int) -> list[Item]:
    """Blocks as large as they may be, or shorter ones where so many workers are done sooner with these."""
    rows, soonest, items = ROWS_OF_AN_ITEM, math.inf, []
    while rows >= FEWEST_ROWS:
        blocks = _blocks(net, rows, STRIPS_OF_AN_ITEM * width)
        loads = [0] * workers
        for cost in _costs(net, blocks, width):
            heapq.heapreplace(loads, loads[0] + cost)  # who is done first takes the next
        if max(loads) < soonest:
            soonest, items = max(loads), blocks
        rows //= 2
    return items


def _costs(net: Net, items: list[Item], width: int) -> list[int]:
    """The time that each item takes, in rows of one strip."""
    return [(padded(end - i, TILE_ROWS) + ROWS_OF_A_COPY) * _strips(net, m, j, width) for m, i, end, j in items]


def _strips(net: Net, m: int, j: int, width: int) -> int:
    """The strips of an item that begins with neuron j below layer m."""
    return min(-(-(int(net.widths[m]) - j) // width), STRIPS_OF_AN_ITEM)


def _blocks(net: Net, rows: int, columns: int) -> list[Item]:
    """Blocks of so many rows and columns at most."""
    widths = [int(n) for n in net.widths]
    return [
        (m, i, min(i + rows, n_out), j)
        for m, (n_in, n_out) in enumerate(pairwise(widths))
        for j in range(0, n_in, columns)
        for i in range(0, n_out, rows)
    ]
