"""The second half of a tiled training step: F7, F8 and F10 for blocks of weights.

A block of weights (an item) is some rows i of one layer's W from some strips of neurons j below. Its sum over the data
points runs in their order and is used up at once: the optimiser moves the block while it is in the cache. So there is
no gradient to keep, and weights go through memory once a step. (The groups of a narrow network each have a gradient,
tiled_narrow.py, which is added up here. Its items are ranges of theta: whole vectors, where rows would fill a part.)

A ReLU's σ' is 0 for every other data point or more, and what is silent has no sensitivity: where δ has few non-zeros,
F7 is summed over these alone. Terms that are 0 change no sum, so the result has the same bits.

n data point   m layer   i neuron of layer m   j neuron of layer m-1   width = TILE_VECTORS * lanes
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from jitnet._jit import inline_function, outlined_function, vector_function
from jitnet.forms.tiled_narrow import groups_of, sum_of_groups
from jitnet.forms.tiled_nonzeros import (
    STRIPS_OF_AN_ITEM,
    add_nonzeros,
    add_nonzeros_of_half,
    few_for_gradient,
    gradient_of_entries,
    strips_in_a_row,
)
from jitnet.forms.tiled_work import COLUMN, LAYER, ROW, ROW_END, ROWS_OF_AN_ITEM, TiledWork
from jitnet.layout import Array, Data, Ints, Net, Rule
from jitnet.losses import sign
from jitnet.optimizers import (
    CODE_ADADELTA,
    CODE_ADAGRAD,
    CODE_ADAM,
    CODE_AMSGRAD,
    CODE_DELTA_BAR_DELTA,
    CODE_MOMENTUM,
    CODE_NADAM,
    CODE_NESTEROV,
    CODE_RMSPROP,
    CODE_RPROP,
    CODE_SGD,
    adadelta,
    adagrad,
    adam,
    amsgrad,
    delta_bar_delta,
    momentum,
    nadam,
    nesterov,
    rmsprop,
    rprop,
    sgd,
)
from jitnet.panels import gather_strip, load_some, padded, panel_width, store_some
from jitnet.registers import (
    TILE_ROWS,
    TILE_VECTORS,
    broadcast,
    count_bits,
    lane_sum,
    lanes,
    load,
    prefetch,
    prefetch_to_write,
    store,
)
from jitnet.tiles import tile_add_outer, tile_load, tile_store, tile_zeros

FAR = 1 << 14
"""Parameters that a network has at least where they come from far memory."""


# --- F7, F8 ---------------------------------------------------------------------------------------------------------


class Coming(NamedTuple):
    """The weights that a sum over the data points is for: their rows in `theta`, which F10 will move next to `after`.

    They come from far memory while the sum is busy in the near one: with each panel it asks for a part of them.
    """

    theta: Array
    state: Array  # what the optimiser remembers of each
    after: Array
    at: int  # of the first weight
    stride: int  # from row to row
    columns: int  # of a row; 0: they are near, or F10 does not come at once


@vector_function
def fetch(coming: Coming, row: int, begin: int, end: int) -> None:
    """Ask for the weights begin, ..., end - 1 of a row, and what goes with them."""
    for q in range(begin, min(end, coming.columns), lanes(coming.theta)):
        k = coming.at + row * coming.stride + q
        prefetch(coming.theta, k)
        prefetch_to_write(coming.after, k)  # others read it a step ago
        for slot in range(coming.state.shape[0]):
            prefetch(coming.state, slot * coming.state.shape[1] + k)


@vector_function
def sum_over_points(
    N: int, delta: Array, block: int, at: int, rows: int, A: Array, a: int, coming: Coming, out: Array, out_at: int
) -> None:
    """F7 for a tile of weights and N data points: out[out_at + p * wide + q] = Σ_n δ[p, n] A[a + n * width + q].

    The first is panel number `block`'s, whose row p is delta[block, at + p * width]. With data points before it the sum
    goes on from theirs, in `out`.
    """
    width, panel = panel_width(out), delta.shape[1]
    blocks = (N + width - 1) // width
    if block > 0:
        acc = tile_load(out, out_at, STRIPS_OF_AN_ITEM * width, rows, TILE_ROWS, TILE_VECTORS)
    else:
        acc = tile_zeros(out, TILE_ROWS, TILE_VECTORS)
    for b in range(blocks):
        n0, here = b * width, (block + b) * panel + at
        if coming.columns > 0 and block == 0:
            r = b
            while r < rows:  # every row with one of the panels
                fetch(coming, r, 0, width)
                r += blocks
        for n in range(min(width, N - n0)):  # F7  ∂J/∂W_ij = Σ_n δ_i y_j
            acc = tile_add_outer(acc, delta, here + n, width, rows, A, a + (n0 + n) * width)
    tile_store(acc, out, out_at, STRIPS_OF_AN_ITEM * width, rows)


@inline_function
def gradient_strip(
    net: Net, data: Data, first: int, N: int, m: int, i: int, rows: int, j: int, delta: Array, strips: Array,
    strips_at: Ints, height: int, below: Array, coming: Coming, out: Array, out_at: int,
) -> None:  # fmt: skip
    """F7 for the weights of layer m to neurons i, ... (`rows` of them) from a strip of neurons j, ... below.

    Inputs are copied, of as many data points at a time as `below` has room for: in the data their rows lie anywhere,
    across cache lines.
    """
    width, d, n = panel_width(out), net.widths[0], 0
    points = STRIPS_OF_AN_ITEM * width if m == 0 else N
    while n < N or n == 0:  # the sum over no data points is 0
        count = min(points, N - n)
        if m == 0:
            A, a = below, 0
            gather_strip(data.X, d, j, d - j, data.order, first + n, count, below, 0)
        else:
            A, a = strips, (strips_at[m] + j // width) * height * width
        for r in range(0, rows, TILE_ROWS):
            here = Coming(
                coming.theta, coming.state, coming.after, coming.at + r * coming.stride, coming.stride, coming.columns
            )  # fmt: skip
            sum_over_points(
                count, delta, n // width, (net.y_at[m] + i + r) * width, min(TILE_ROWS, rows - r), A, a, here, out,
                out_at + r * STRIPS_OF_AN_ITEM * width,
            )  # fmt: skip
        n += max(count, 1)


@inline_function
def has_few(N: int, nonzero: Ints, y_at: int, n_out: int, i: int, columns: int, like: Array) -> bool:
    """Whether a sum over the non-zeros of delta is the faster one for neuron i and others, and so many neurons below.

    It looks at as many rows as an item has at most: the answer is not to depend on the number of threads, as an item's
    rows do, for where a y is infinite 0 times it makes a difference.
    """
    count, width = 0, panel_width(like)
    begin = i // ROWS_OF_AN_ITEM * ROWS_OF_AN_ITEM
    end = min(begin + ROWS_OF_AN_ITEM, n_out)
    few = few_for_gradient((columns + width - 1) // width, like) * (end - begin) * N
    if few == 0.0:
        return False
    for block in range((N + width - 1) // width):
        for row in range(y_at + begin, y_at + end):
            count += count_bits(nonzero[block, row])
    return count < few


@vector_function
def gather_rows(
    A: Array, order: Ints, first: int, count: int, stride: int, column: int, step: int, columns: int, strips: int,
    rows: Array,
) -> None:  # fmt: skip
    """rows[(n * strips + s) * width + q] = A[order[first + n] * stride + column + s * step + q].

    Of the `columns` that there are; zeros stand for others.
    """
    width, size = panel_width(A), lanes(A)
    for n in range(count):
        for strip in range(strips):
            at, to = order[first + n] * stride + column + strip * step, (n * strips + strip) * width
            for q in range(0, width, size):
                left = columns - strip * width - q  # no load where there is none: it may lie outside of memory
                store(load_some(A, at + q, left) if left > 0 else broadcast(0.0, A), rows, to + q)


@outlined_function
def sum_over_nonzeros(
    net: Net, data: Data, first: int, N: int, m: int, i: int, rows: int, j: int, columns: int, w: TiledWork,
    below: Array, coming: Coming, out: Array,
) -> None:  # fmt: skip
    """F7 for neurons i, ... and neurons j, ... below (`columns` of them), over the δ that are not 0."""
    width = panel_width(out)
    strips = strips_in_a_row((columns + width - 1) // width)
    wide, panel, neuron = STRIPS_OF_AN_ITEM * width, w.delta.shape[1], net.y_at[m] + i
    share = padded((wide * width + N - 1) // N, lanes(out))
    for n in range(0, N, width):
        count = min(width, N - n)
        if m == 0:
            gather_rows(data.X, data.order, first + n, count, net.widths[0], j, width, columns, strips, below)
        else:
            strip = w.strips_at[m] * w.height * width + j * w.height
            gather_rows(w.strips, w.in_order, n, count, width, strip, w.height * width, columns, strips, below)
        block = n // width
        for r in range(rows):  # F7  ∂J/∂W_ij = Σ_n δ_i y_j, where δ_i is not 0
            fetch(coming, r, block * share, (block + 1) * share)
            bits, at = w.nonzero[block, neuron + r], block * panel + (neuron + r) * width
            if strips == STRIPS_OF_AN_ITEM:
                add_nonzeros(bits, w.delta, at, below, 0, n > 0, out, r * wide)
            else:
                add_nonzeros_of_half(bits, w.delta, at, below, 0, n > 0, out, r * wide)


@vector_function
def gradient_biases(N: int, delta: Array, at: int, neurons: int, out: Array, out_at: int) -> None:
    """F8 for consecutive neurons, from delta[0, at] on: lane by lane over the panels, then over the lanes."""
    width, size = panel_width(out), lanes(out)
    for r in range(neurons):
        total = broadcast(0.0, out)
        for block in range((N + width - 1) // width):
            here = block * delta.shape[1] + at + r * width
            for q in range(0, width, size):
                total = total + load(delta, here + q)  # F8  ∂J/∂b_i = Σ_n δ_i; 0 behind the last data point
        out[out_at + r] = lane_sum(total)


# --- items: which parameters they are -------------------------------------------------------------------------------


class Block(NamedTuple):
    """Parameters of an item or a piece: `rows` rows in theta, `stride` apart."""

    at: int
    stride: int
    rows: int
    columns: int


@inline_function
def blocks_of(net: Net, items: Ints, item: int, narrow: bool, wide: int) -> tuple[Block, Block]:
    """An item's (or piece's) weights, and its biases: the first strip's rows have them, elsewhere they are none.

    A narrow network's items are ranges of theta: of these the first block is weights and biases.
    """
    m, i, end, j = items[item, LAYER], items[item, ROW], items[item, ROW_END], items[item, COLUMN]
    if narrow:
        return Block(i, 0, 1, end - i), Block(0, 0, 0, 0)
    n_in, rows = net.widths[m], end - i
    biases = rows if j == 0 and net.bias else 0
    return (
        Block(net.W_at[m] + i * n_in + j, n_in, rows, min(wide, n_in - j)),
        Block(net.b_at[m] + i, 0, min(biases, 1), biases),
    )


@inline_function
def weights_in_range(net: Net, m: int, block: Block) -> tuple[int, int]:
    """The first of layer m's weights in a range of theta, and how many there are: 0 or less if none."""
    first = max(block.at, net.W_at[m])
    return first, min(block.at + block.columns, net.W_at[m] + net.widths[m] * net.widths[m + 1]) - first


# --- penalties and limits -------------------------------------------------------------------------------------------


@vector_function
def penalty_of(theta: Array, at: int, stride: int, rows: int, columns: int, l1: float, l2: float) -> float:
    """Σ l1 |W_ij| + l2 W_ij² / 2 of a block of weights."""
    penalty = 0.0
    for p in range(rows):
        for q in range(columns):
            W = theta[at + p * stride + q]
            penalty += l1 * abs(W) + 0.5 * l2 * W * W
    return penalty


@vector_function
def add_penalty(
    theta: Array, at: int, stride: int, rows: int, columns: int, l1: float, l2: float, tile: Array, tile_at: int,
    width: int,
) -> None:  # fmt: skip
    """Add the penalty's derivative l1 sign(W_ij) + l2 W_ij to a tile of the gradient, `width` columns a row."""
    for p in range(rows):
        for q in range(columns):
            W = theta[at + p * stride + q]
            tile[tile_at + p * width + q] += l1 * sign(W) + l2 * W


@inline_function
def penalty_of_piece(net: Net, theta: Array, block: Block, narrow: bool, l1: float, l2: float) -> float:
    """The penalty of a piece's weights."""
    if not narrow:
        return penalty_of(theta, block.at, block.stride, block.rows, block.columns, l1, l2)
    penalty = 0.0
    for m in range(len(net.W_at)):
        first, count = weights_in_range(net, m, block)
        penalty += penalty_of(theta, first, 0, 1, count, l1, l2)
    return penalty


@inline_function
def add_penalty_of_item(
    net: Net, theta: Array, block: Block, narrow: bool, l1: float, l2: float, tile: Array, wide: int
) -> None:
    """`add_penalty` for an item's weights; its gradient is in `tile`."""
    if narrow:
        for m in range(len(net.W_at)):
            first, count = weights_in_range(net, m, block)
            add_penalty(theta, first, 0, 1, count, l1, l2, tile, first - block.at, 0)
    else:
        add_penalty(theta, block.at, block.stride, block.rows, block.columns, l1, l2, tile, 0, wide)


@vector_function
def clip_range(g: Array, at: int, count: int, limit: float) -> float:
    """Cut some numbers of the gradient to [-limit, limit]; return their sum of squares."""
    squares = 0.0
    for p in range(at, at + count):
        g[p] = min(max(g[p], -limit), limit)
        squares += np.float64(g[p]) * g[p]
    return squares


@inline_function
def clip_piece(g: Array, blocks: tuple[Block, Block], limit: float) -> float:
    """Cut a piece's gradient to [-limit, limit]; return its sum of squares."""
    block, biases = blocks
    squares = clip_range(g, biases.at, biases.columns, limit)
    for r in range(block.rows):
        squares += clip_range(g, block.at + r * block.stride, block.columns, limit)
    return squares


# --- F10 ------------------------------------------------------------------------------------------------------------


@inline_function
def load_slot(state: Array, slot: int, k: int, count: int) -> Any:
    """What the optimiser remembers in a slot of parameters k, k + 1, ...; zeros of a slot that it does not have.

    A branch, not a mask without lanes: where such a mask points outside of memory, Zen 4 takes 0.1 us to see that.
    """
    if slot < state.shape[0]:
        return load_some(state, slot * state.shape[1] + k, count)
    return broadcast(0.0, state)


@inline_function
def store_slot(value: Any, state: Array, slot: int, k: int, count: int) -> None:
    """Write it down again."""
    if slot < state.shape[0]:
        store_some(value, state, slot * state.shape[1] + k, count)


@outlined_function
def update_tile(
    theta: Array, block: Block, g: Array, g_at: int, g_stride: int, scale: float, code: int, row: Array, state: Array,
    after: Array,
) -> None:  # fmt: skip
    """F10 for a block of parameters: `after` has the optimiser's formula of θ, ∂J/∂θ and what it remembers of each."""
    size = lanes(theta)
    c = (
        broadcast(row[0], theta), broadcast(row[1], theta), broadcast(row[2], theta), broadcast(row[3], theta),
        broadcast(row[4], theta), broadcast(row[5], theta), broadcast(row[6], theta),
    )  # fmt: skip
    for p in range(block.rows):
        for q in range(0, block.columns, size):
            k, count = block.at + p * block.stride + q, block.columns - q
            t, G = load_some(theta, k, count), load_some(g, g_at + p * g_stride + q, count) * scale
            s0, s1, s2 = load_slot(state, 0, k, count), load_slot(state, 1, k, count), load_slot(state, 2, k, count)
            if code == CODE_SGD:
                (t,) = sgd(t, G, c)
            elif code == CODE_MOMENTUM:
                t, s0 = momentum(t, G, s0, c)
            elif code == CODE_NESTEROV:
                t, s0 = nesterov(t, G, s0, c)
            elif code == CODE_ADAGRAD:
                t, s0 = adagrad(t, G, s0, c)
            elif code == CODE_ADAM:
                t, s0, s1 = adam(t, G, s0, s1, c)
            elif code == CODE_NADAM:
                t, s0, s1 = nadam(t, G, s0, s1, c)
            elif code == CODE_ADADELTA:
                t, s0, s1 = adadelta(t, G, s0, s1, c)
            elif code == CODE_DELTA_BAR_DELTA:
                t, s0, s1 = delta_bar_delta(t, G, s0, s1, c)
            elif code == CODE_RPROP:
                t, s0, s1 = rprop(t, G, s0, s1, c)
            elif code == CODE_RMSPROP:
                t, s0, s1, s2 = rmsprop(t, G, s0, s1, s2, c)
            elif code == CODE_AMSGRAD:
                t, s0, s1, s2 = amsgrad(t, G, s0, s1, s2, c)
            store_some(t, after, k, count)
            store_slot(s0, state, 0, k, count)
            store_slot(s1, state, 1, k, count)
            store_slot(s2, state, 2, k, count)


@inline_function
def gradient_item(
    net: Net, theta: Array, data: Data, rule: Rule, s: int, first: int, N: int, item: int, worker: int, updates: bool,
    after: Array, w: TiledWork,
) -> None:  # fmt: skip
    """F7 and F8 for an item, and F10 to `after` if `updates`; else the gradient goes to w.g."""
    m, i0, j = w.items[item, LAYER], w.items[item, ROW], w.items[item, COLUMN]
    width, tile = panel_width(theta), w.tile[worker]
    wide = STRIPS_OF_AN_ITEM * width
    parts = blocks_of(net, w.items, item, w.narrow, wide)
    block, biases = parts
    rows, columns = block.rows, block.columns
    coming = Coming(
        theta, rule.state, after, block.at, block.stride, columns if updates and len(theta) >= FAR else 0
    )  # fmt: skip
    if w.narrow:
        sum_of_groups(groups_of(N), w.gradients, block.at, columns, tile)
    elif m == 0 and data.starts is not None:
        gradient_of_entries(
            data.starts, i0, rows, j, columns, w.column_starts, w.entry_points, w.entries, w.delta_strips, w.height,
            w.below[worker], tile,
        )  # fmt: skip
    elif has_few(N, w.nonzero, net.y_at[m], net.widths[m + 1], i0, columns, theta):
        sum_over_nonzeros(net, data, first, N, m, i0, rows, j, columns, w, w.below[worker], coming, tile)
    else:
        for q in range(0, columns, width):
            here = Coming(theta, rule.state, after, block.at + q, block.stride, coming.columns - q)
            gradient_strip(
                net, data, first, N, m, i0, rows, j + q, w.delta, w.strips, w.strips_at, w.height, w.below[worker],
                here, tile, q,
            )  # fmt: skip
    # Behind the rows in the tile: after them, as gradient_of_entries writes whole vectors of rows.
    gradient_biases(N, w.delta, (net.y_at[m] + i0) * width, biases.columns, tile, rows * wide)
    if rule.l1 > 0.0 or rule.l2 > 0.0:
        add_penalty_of_item(net, theta, block, w.narrow, rule.l1, rule.l2, tile, wide)
    for k in range(2):
        part, tile_at = parts[k], k * rows * wide
        if updates and part.columns > 0:
            update_tile(theta, part, tile, tile_at, wide, 1.0, rule.optimizer, rule.coefficients[s], rule.state, after)
        elif not updates:
            for p in range(part.rows):
                for q in range(part.columns):
                    w.g[part.at + p * part.stride + q] = tile[tile_at + p * wide + q]
