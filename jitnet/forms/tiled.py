"""The index formulas F1-F12 blocked into register tiles (forms/__init__.py has the arguments of the kernels).

    n data point   m layer   i neuron of layer m   j neuron of layer m-1   k neuron of layer m+1

The same sums as in plain.py, of TILE_ROWS neurons times `width` data points (or neurons below) at once. Two layouts:

    panel    (neurons, width): the numbers of `width` data points lie side by side, along the vector lanes
    strip    (points, width): a data point's numbers of `width` neurons lie side by side

A panel row times a weight is F1 and F9, with W where and as it lies in theta; a strip row times a sensitivity is F7
(but F1 of few data points, tiled_few.py, and F7 in steps of narrow networks, tiled_narrow.py).
W is not packed: on one AVX-512 core F1 takes 97 % of the time that its multiplications take alone.

Panels and strips are padded, the last tile of a layer repeats its last row: no edge has code of its own. Every sum runs
over its index in order, one accumulator a number, so that a result depends on no thread count and no block of points;
in narrow networks F7 has an order of its own, as fixed.

M layers   S neurons of all layers   d inputs   N data points   width = TILE_VECTORS * lanes
y panels of one block of points (d + S, width): rows 0..d-1 are the inputs; x and delta panels (S, width)

The sums of one panel are in tiled_panels.py, the training step in tiled_steps.py and tiled_weights.py, its buffers in
tiled_work.py. Here are the kernels that go over all data points, or all weights, once.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange

from jitnet._jit import array_function, callable_from_kernels, inline_function, kernel
from jitnet.activations import RELU
from jitnet.forms import formulas as formulas
from jitnet.forms.tiled_few import room_for_few
from jitnet.forms.tiled_nonzeros import (
    BLOCK_VECTORS,
    few_below,
    finite_range,
    note_rows,
    padded,
    transpose_weights,
    transposed_size,
    weighted_sums_of_nonzeros,
    weighted_sums_skipping_zeros,
)
from jitnet.forms.tiled_nonzeros import skipping_pays as skipping_pays
from jitnet.forms.tiled_panels import (
    Few,
    deltas_below,
    forward_panels,
    losses_of_panel,
    output_deltas,
    sigma,
    sums_over_layer_above,
    through_sigma,
    weighted_sums,
)
from jitnet.forms.tiled_steps import steps as steps
from jitnet.forms.tiled_work import work as work
from jitnet.layout import CACHE_LINE, Array, Data, Dropout, Ints, Net, biases, parameters
from jitnet.panels import (
    PANELS_TOGETHER,
    gather_columns,
    gather_points,
    gather_strip,
    layer_of_panel,
    panel_to_strips,
    panel_width,
    panels_together,
    scatter_columns,
    share_of_worker,
    width_of,
)
from jitnet.registers import TILE_ROWS, TILE_VECTORS, lanes
from jitnet.teams import claim
from jitnet.tiles import tile_add_outer, tile_store, tile_zeros

MOST_CHUNKS = 64
"""Chunks that the panels of one call are cut into at most; more than any machine here has threads to share them."""

SHOWS_BAD_INPUTS = True
"""Outputs of data points whose inputs are not all finite are NaN: who wants outputs alone need not look beforehand, if
the activations are the package's own."""


def work_of_panels(points: int, dtype: Any, work: float) -> float:
    """The `work` of a parallel loop over panels, if there are several: a single one would only wait for all threads."""
    return work if points > width_of(dtype) else 0.0


@inline_function
def blocks_of(N: int, like: Array) -> int:
    """Panels of N data points, strips of N neurons."""
    return (N + panel_width(like) - 1) // panel_width(like)


@inline_function
def turns(blocks: int) -> int:
    """Rounds of a parallel loop over so many blocks.

    In each somebody takes chunks until there are none, so that a thread has one round to speak of. What was shared out
    beforehand would wait for the thread that another process keeps from its core.
    """
    return min(blocks, MOST_CHUNKS)


@array_function
def nothing_taken() -> Ints:
    """How many chunks are taken, before a loop of `turns`."""
    return np.zeros(1, np.intp)


@inline_function
def next_blocks(taken: Ints, block: int, end: int, blocks: int, together: int) -> tuple[int, int]:
    """The next of all `blocks`, and the end of its chunk: `block`, if that is before the `end` of the chunk at hand.

    Else the first one of a chunk that nobody has taken; two equal numbers if there is none. Chunks are whole groups of
    `together` blocks, but that the last group may be smaller.
    """
    if block < end:
        return block, end
    groups = (blocks + together - 1) // together
    chunks = min(groups, MOST_CHUNKS)
    part = claim(taken, 0, 0, chunks, 2)
    if part == chunks:
        return blocks, blocks
    begin, end = share_of_worker(groups, part, chunks), share_of_worker(groups, part + 1, chunks)
    return begin * together, min(end * together, blocks)


@inline_function
def side_by_side(net: Net, blocks: int, like: Array) -> int:
    """Panels that go through the layers together, where there are so many for every chunk."""
    return panels_together(net.widths, like.itemsize) if blocks >= MOST_CHUNKS * PANELS_TOGETHER else 1


@array_function
def numbers(count: int, like: Array) -> Array:
    """`layout.aligned` for kernels: numbers that begin on a cache line. A vector in two lines takes two loads."""
    room = np.empty(count + CACHE_LINE // like.itemsize, like.dtype)
    start = -room.ctypes.data % CACHE_LINE // like.itemsize
    return room[start : start + count]


@array_function
def buffer(rows: int, like: Array) -> Array:
    """A panel of so many rows, and those to spare."""
    return numbers((rows + lanes(like)) * panel_width(like), like)


@array_function
def buffers(panels: int, rows: int, like: Array) -> Array:
    """The same for several panels."""
    return numbers(panels * (rows + lanes(like)) * panel_width(like), like).reshape(panels, -1)


@array_function
def no_dropout(net: Net) -> Dropout:
    """Every neuron speaks."""
    return Dropout(np.zeros(len(net.W_at)), np.uint64(0))


@array_function
def show_bad_inputs(X: Array, x: Array, first: int, count: int, Y: Array) -> None:
    """Outputs of NaN for those of `count` data points whose inputs are not all finite.

    `x` is their panel of layer 1: no sum over such inputs is finite, so its first row says whether to look for them.
    """
    if finite_range(x, 0, panel_width(x)):
        return
    d = X.shape[1]
    for n in range(first, first + count):
        if not finite_range(X, n * d, (n + 1) * d):
            Y[n] = np.nan


@array_function
def forward_chunks(
    net: Net, theta: Array, X: Array, taken: Ints, x: Array, y: Array, Y: Array, T: Array, L: Array
) -> None:
    """Of chunks of data points: rows of x, y (N, S), of the outputs Y (N, n_out), and L (N,); what is empty is not.

    They stand in one function so that F1 and F2 are compiled once.
    """
    N, d, S, n_out, width = len(X), net.widths[0], net.y_at[-1], net.widths[-1], panel_width(theta)
    blocks = blocks_of(N, theta)
    together = side_by_side(net, blocks, theta)
    block, end = next_blocks(taken, 0, 0, blocks, together)
    if block == end:
        return
    x_b, y_b, inputs, t = (
        buffers(together, S, theta),
        buffers(together, S, theta),
        buffers(together, d, theta),
        buffer(n_out, theta),
    )
    room = numbers(room_for_few(panel_width(theta)), theta)
    while block < end:
        panels = min(together, end - block)
        for p in range(panels):
            n = (block + p) * width
            gather_columns(X, d, 0, d, n, min(width, N - n), inputs[p])
        few = Few(min(panels * width, N - block * width), room)
        forward_panels(net, theta, no_dropout(net), block * width, panels, inputs, 0, x_b, 0, y_b, False, None, few)
        for p in range(panels):
            n = (block + p) * width
            count = min(width, N - n)
            if len(x) > 0:
                scatter_columns(x_b[p], S, x, S, 0, n, count)
                scatter_columns(y_b[p], S, y, S, 0, n, count)
            if len(Y) > 0:
                scatter_columns(layer_of_panel(net, y_b[p], len(net.W_at) - 1), n_out, Y, n_out, 0, n, count)
                show_bad_inputs(X, x_b[p], n, count, Y)
            if len(L) > 0:
                gather_columns(T, n_out, 0, n_out, n, count, t)
                losses_of_panel(net, x_b[p], y_b[p], t, L, n, count)
        block, end = next_blocks(taken, block + together, end, blocks, together)


@kernel(work=lambda net, theta, X: work_of_panels(len(X), theta.dtype, len(X) * len(theta)))
def forward(net: Net, theta: Array, X: Array) -> tuple[Array, Array]:
    """F1, F2: x and y (N, S) of every neuron for the data points X (N, d)."""
    x, y = np.empty((len(X), net.y_at[-1]), theta.dtype), np.empty((len(X), net.y_at[-1]), theta.dtype)
    Y, L = np.empty((0, 0), theta.dtype), np.empty(0)
    taken = nothing_taken()
    for _ in prange(turns(blocks_of(len(X), theta))):
        forward_chunks(net, theta, X, taken, x, y, Y, X, L)
    return x, y


@kernel(work=lambda net, theta, X: work_of_panels(len(X), theta.dtype, len(X) * len(theta)))
def outputs(net: Net, theta: Array, X: Array) -> Array:
    """F1, F2: ŷ (N, n_out) alone, without room for the neurons between."""
    Y, none, L = np.empty((len(X), net.widths[-1]), theta.dtype), np.empty((0, 0), theta.dtype), np.empty(0)
    taken = nothing_taken()
    for _ in prange(turns(blocks_of(len(X), theta))):
        forward_chunks(net, theta, X, taken, none, none, Y, X, L)
    return Y


@kernel(work=lambda net, theta, X, T: work_of_panels(len(X), theta.dtype, len(X) * len(theta)))
def outputs_and_losses(net: Net, theta: Array, X: Array, T: Array) -> tuple[Array, Array]:
    """F1-F3: ŷ (N, n_out), and L (N,) float64 of every data point."""
    Y, none, L = np.empty((len(X), net.widths[-1]), theta.dtype), np.empty((0, 0), theta.dtype), np.empty(len(X))
    taken = nothing_taken()
    for _ in prange(turns(blocks_of(len(X), theta))):
        forward_chunks(net, theta, X, taken, none, none, Y, T, L)
    return Y, L


def wide_relus_below(net: Net, m: int, wide: int) -> bool:
    """Whether F1 of layer m > 0 may run over the non-zeros of ReLUs: both layers have at least `wide` neurons."""
    return net.activation[m - 1] == RELU and net.widths[m] >= wide and net.widths[m + 1] >= wide


callable_from_kernels(wide_relus_below)


@inline_function
def looks_for_zeros(net: Net, data: Data, m: int, like: Array) -> bool:
    """Whether F1 of layer m may run over non-zeros: of X as `data` says, else of a wide layer of ReLUs."""
    if m == 0:
        return data.skip_zeros or data.starts is not None
    return wide_relus_below(net, m, BLOCK_VECTORS * lanes(like))


@array_function
def skipping_chunks(net: Net, theta: Array, data: Data, transposed: Array, taken: Ints, Y: Array, L: Array) -> None:
    """Chunks of data points: rows of the outputs Y (N, n_out), and L (N,) if there are targets."""
    N, S, d, n_out, width = len(data.order), net.y_at[-1], net.widths[0], net.widths[-1], panel_width(theta)
    gathers, sparse = not looks_for_zeros(net, data, 0, theta), data.starts is not None
    widest = 0
    for m in range(len(net.W_at)):
        widest = max(widest, padded(net.widths[m + 1], width))
    blocks = blocks_of(N, theta)
    together = side_by_side(net, blocks, theta)
    block, end = next_blocks(taken, 0, 0, blocks, together)
    if block == end:
        return
    bits = np.empty((together, max(widest, 0 if gathers or sparse else padded(d, width))), np.intp)
    inputs, sums, rows = (
        buffers(together, d if gathers else 0, theta),
        buffer(BLOCK_VECTORS * lanes(Y), theta),
        buffers(together, widest, theta),
    )
    x_b, y_b, t = buffers(together, S, theta), buffers(together, S, theta), buffer(n_out, theta)
    points = np.arange(width)
    while block < end:
        panels, first = min(together, end - block), block * width
        y_below, step, at = inputs[0], inputs.shape[1], 0
        for m in range(len(net.W_at)):
            n_in, looks, few = net.widths[m], looks_for_zeros(net, data, m, theta), False
            if looks and m > 0:
                nonzeros = 0
                for p in range(panels):
                    count = min(width, N - first - p * width)
                    panel_to_strips(layer_of_panel(net, y_b[p], m - 1), n_in, rows[p], 0, 0, width)
                    nonzeros += note_rows(rows[p], points, 0, count, n_in, width, width * width, bits[p])
                few = nonzeros < few_below(theta) * min(panels * width, N - first) * n_in
            for p in range(panels):
                x_m, n = layer_of_panel(net, x_b[p], m), first + p * width
                count = min(width, N - n)
                if few:
                    weighted_sums_of_nonzeros(
                        net, theta, m, rows[p], points, 0, count, width, width * width, bits[p], transposed, at, sums,
                        x_m, 0, 0,
                    )  # fmt: skip
                elif looks and m == 0:
                    weighted_sums_skipping_zeros(
                        net, theta, data, data.starts, n, count, n + count, transposed, bits[p], sums, x_m
                    )  # fmt: skip
                elif m == 0:
                    gather_columns(data.X, d, 0, d, n, count, inputs[p])
            if not few and not (looks and m == 0):
                weighted_sums(
                    net, theta, m, panels, y_below, step, layer_of_panel(net, x_b[0], m), x_b.shape[1], net.bias, None
                )  # fmt: skip
            at += transposed_size(net, m, theta) if looks else 0
            for p in range(panels):
                sigma(net, m, layer_of_panel(net, x_b[p], m), layer_of_panel(net, y_b[p], m))
            y_below, step = layer_of_panel(net, y_b[0], m), y_b.shape[1]
        for p in range(panels):
            n = first + p * width
            count = min(width, N - n)
            scatter_columns(layer_of_panel(net, y_b[p], len(net.W_at) - 1), n_out, Y, n_out, 0, n, count)
            if not sparse:
                show_bad_inputs(data.X, x_b[p], n, count, Y)
            if len(L) > 0:
                gather_columns(data.T, n_out, 0, n_out, n, count, t)
                losses_of_panel(net, x_b[p], y_b[p], t, L, n, count)
        block, end = next_blocks(taken, block + together, end, blocks, together)


@kernel(work=lambda net, theta, data: work_of_panels(len(data.order), theta.dtype, len(data.order) * len(theta)))
def outputs_and_losses_skipping_zeros(net: Net, theta: Array, data: Data) -> tuple[Array, Array]:
    """`outputs_and_losses` of all data points 0, 1, ..., F1 over what is not 0; L (0,) without T."""
    N, width, size = len(data.order), panel_width(theta), 0
    Y, L = np.empty((N, net.widths[-1]), theta.dtype), np.empty(len(data.T))
    for m in range(len(net.W_at)):
        size += transposed_size(net, m, theta) if looks_for_zeros(net, data, m, theta) else 0
    transposed = numbers(size, theta)
    transposed[:] = 0  # the lanes behind a layer's last neuron are multiplied too
    at = 0
    for m in range(len(net.W_at)):
        if looks_for_zeros(net, data, m, theta):
            for part in prange(blocks_of(net.widths[m], theta)):
                j = part * width
                transpose_weights(net, theta, m, j, min(j + width, net.widths[m]), transposed, at)
            at += transposed_size(net, m, theta)
    taken = nothing_taken()
    for _ in prange(turns(blocks_of(N, theta))):
        skipping_chunks(net, theta, data, transposed, taken, Y, L)
    return Y, L


def looks_for_hidden_zeros(net: Net, dtype: Any) -> bool:
    """Whether there are hidden layers whose zeros `outputs_and_losses_skipping_zeros` looks for."""
    wide = BLOCK_VECTORS * width_of(dtype) // TILE_VECTORS
    return any(wide_relus_below(net, m, wide) for m in range(1, len(net.W_at)))


@array_function
def losses_of_chunks(net: Net, x: Array, y: Array, T: Array, taken: Ints, L: Array) -> None:
    """F3 of chunks of data points."""
    N, S, n_out, width = len(x), net.y_at[-1], net.widths[-1], panel_width(x)
    blocks = blocks_of(N, x)
    block, end = next_blocks(taken, 0, 0, blocks, 1)
    if block == end:
        return
    x_b, y_b, t = buffer(S, x), buffer(S, x), buffer(n_out, x)
    while block < end:
        n = block * width
        count = min(width, N - n)
        gather_columns(x, S, 0, S, n, count, x_b)
        gather_columns(y, S, 0, S, n, count, y_b)
        gather_columns(T, n_out, 0, n_out, n, count, t)
        losses_of_panel(net, x_b, y_b, t, L, n, count)
        block, end = next_blocks(taken, block + 1, end, blocks, 1)


@kernel(work=lambda net, x, y, T: work_of_panels(len(T), T.dtype, 10 * T.size))
def losses(net: Net, x: Array, y: Array, T: Array) -> Array:
    """F3: L (N,) float64 of every data point."""
    L = np.empty(len(T))
    taken = nothing_taken()
    for _ in prange(turns(blocks_of(len(T), x))):
        losses_of_chunks(net, x, y, T, taken, L)
    return L


@array_function
def backward_chunks(
    net: Net, theta: Array, x: Array, y: Array, T: Array, c: Array, U: Array, taken: Ints, delta: Array
) -> None:
    """Rows of delta (N, S) of chunks of data points: from the loss where c is not empty, else from ∂L/∂ŷ = U."""
    N, S, n_out, width = len(x), net.y_at[-1], net.widths[-1], panel_width(theta)
    blocks = blocks_of(N, theta)
    block, end = next_blocks(taken, 0, 0, blocks, 1)
    if block == end:
        return
    x_b, y_b, delta_b, t, c_b = (
        buffer(S, theta), buffer(S, theta), buffer(S, theta), buffer(n_out, theta), buffer(1, theta)
    )  # fmt: skip
    m = len(net.W_at) - 1
    while block < end:
        n = block * width
        count = min(width, N - n)
        gather_columns(x, S, 0, S, n, count, x_b)
        gather_columns(y, S, 0, S, n, count, y_b)
        if len(c) > 0:
            gather_columns(T, n_out, 0, n_out, n, count, t)
            for q in range(width):
                c_b[q] = c[n + q] if q < count else 0.0
            output_deltas(net, x_b, y_b, t, c_b, delta_b)
        else:
            at_output = layer_of_panel(net, delta_b, m)
            gather_columns(U, n_out, 0, n_out, n, count, at_output)
            through_sigma(net, m, layer_of_panel(net, x_b, m), layer_of_panel(net, y_b, m), at_output)
        deltas_below(net, theta, no_dropout(net), n, x_b, y_b, delta_b)
        scatter_columns(delta_b, S, delta, S, 0, n, count)
        block, end = next_blocks(taken, block + 1, end, blocks, 1)


@kernel(work=lambda net, theta, x, y, T, c: work_of_panels(len(T), theta.dtype, len(T) * len(theta)))
def backward(net: Net, theta: Array, x: Array, y: Array, T: Array, c: Array) -> Array:
    """F4-F6, then F9 and F5 downward: delta (N, S) of every neuron."""
    delta = np.empty_like(x)
    taken = nothing_taken()
    for _ in prange(turns(blocks_of(len(T), theta))):
        backward_chunks(net, theta, x, y, T, c, T, taken, delta)
    return delta


@kernel(work=lambda net, theta, x, y, U: work_of_panels(len(U), theta.dtype, len(U) * len(theta)))
def vjp(net: Net, theta: Array, x: Array, y: Array, U: Array) -> Array:
    """F12, reverse accumulation: delta (N, S) of Σ_i u_i ŷ_i, that is F5 from ∂L/∂ŷ = U (N, n_out), then F9 and F5."""
    delta, none = np.empty_like(x), np.empty(0, x.dtype)
    taken = nothing_taken()
    for _ in prange(turns(blocks_of(len(U), theta))):
        backward_chunks(net, theta, x, y, U, none, U, taken, delta)
    return delta


@array_function
def gradient_strip(net: Net, X: Array, y: Array, delta: Array, m: int, j: int, g: Array) -> None:
    """F7 for the weights of layer m from the neurons j, j + 1, ... of one strip, and F8 with the first strip."""
    N, S, n_in, n_out, width = len(X), net.y_at[-1], net.widths[m], net.widths[m + 1], panel_width(g)
    columns, at = min(width, n_in - j), net.y_at[m]
    tile, strip, order = buffer(TILE_ROWS, g), np.empty(N * width, g.dtype), np.arange(N)
    if m == 0:
        gather_strip(X, n_in, j, columns, order, 0, N, strip, 0)
    else:
        gather_strip(y, S, net.y_at[m - 1] + j, columns, order, 0, N, strip, 0)
    for i in range(0, n_out, TILE_ROWS):
        rows = min(TILE_ROWS, n_out - i)
        acc = tile_zeros(g, TILE_ROWS, TILE_VECTORS)
        for n in range(N):  # F7  ∂J/∂W_ij = Σ_n δ_i y_j
            acc = tile_add_outer(acc, delta, n * S + at + i, 1, rows, strip, n * width)
        tile_store(acc, tile, 0, width, TILE_ROWS)
        for p in range(rows):
            for q in range(columns):
                g[net.W_at[m] + (i + p) * n_in + j + q] = tile[p * width + q]
    if j == 0 and net.bias:
        db = biases(net, g, m)
        db[:] = 0
        for n in range(N):
            for i in range(n_out):
                db[i] += delta[n, at + i]  # F8  ∂J/∂b_i = Σ_n δ_i


@array_function
def gradient_strips(net: Net, X: Array, y: Array, delta: Array, m: int, taken: Ints, g: Array) -> None:
    """`gradient_strip` of those strips of layer m that nobody has taken."""
    strips, width = blocks_of(net.widths[m], g), panel_width(g)
    strip, end = next_blocks(taken, 0, 0, strips, 1)
    while strip < end:
        gradient_strip(net, X, y, delta, m, strip * width, g)
        strip, end = next_blocks(taken, strip + 1, end, strips, 1)


@kernel(work=lambda net, X, y, delta: len(X) * parameters(net))
def gradient(net: Net, X: Array, y: Array, delta: Array) -> Array:
    """F7, F8: g (P,), the gradient of the weights and biases, laid out as theta."""
    g = np.empty(parameters(net), delta.dtype)
    for m in range(len(net.W_at)):
        taken = nothing_taken()
        for _ in prange(turns(blocks_of(net.widths[m], g))):
            gradient_strips(net, X, y, delta, m, taken, g)
    return g


@array_function
def input_gradient_chunks(net: Net, theta: Array, delta: Array, taken: Ints, dX: Array) -> None:
    """F11 of chunks of data points."""
    N, S, d, width = len(delta), net.y_at[-1], net.widths[0], panel_width(theta)
    blocks = blocks_of(N, theta)
    block, end = next_blocks(taken, 0, 0, blocks, 1)
    if block == end:
        return
    delta_b, dX_b = buffer(net.widths[1], theta), buffer(d, theta)
    while block < end:
        n = block * width
        count = min(width, N - n)
        gather_columns(delta, S, 0, net.widths[1], n, count, delta_b)
        sums_over_layer_above(net, theta, 0, delta_b, dX_b)  # F11  ∂L/∂(input)_j = Σ_i δ_i W_ij
        scatter_columns(dX_b, d, dX, d, 0, n, count)
        block, end = next_blocks(taken, block + 1, end, blocks, 1)


@kernel(
    work=lambda net, theta, delta: work_of_panels(len(delta), theta.dtype, len(delta) * net.widths[0] * net.widths[1])
)
def input_gradient(net: Net, theta: Array, delta: Array) -> Array:
    """F11: ∂L/∂(input)_j = Σ_i δ_i W_ij at layer 1, (N, d)."""
    dX = np.empty((len(delta), net.widths[0]), delta.dtype)
    taken = nothing_taken()
    for _ in prange(turns(blocks_of(len(delta), theta))):
        input_gradient_chunks(net, theta, delta, taken, dX)
    return dX


@array_function
def jvp_chunks(net: Net, theta: Array, x: Array, y: Array, V: Array, taken: Ints, out: Array) -> None:
    """Forward accumulation of chunks of data points: xdot becomes ydot in its place."""
    N, d, S, n_out, width = len(x), net.widths[0], net.y_at[-1], net.widths[-1], panel_width(theta)
    blocks = blocks_of(N, theta)
    block, end = next_blocks(taken, 0, 0, blocks, 1)
    if block == end:
        return
    x_b, y_b, dot, V_b = buffer(S, theta), buffer(S, theta), buffer(S, theta), buffer(d, theta)
    while block < end:
        n = block * width
        count = min(width, N - n)
        gather_columns(x, S, 0, S, n, count, x_b)
        gather_columns(y, S, 0, S, n, count, y_b)
        gather_columns(V, d, 0, d, n, count, V_b)
        below = V_b
        for m in range(len(net.W_at)):
            dot_m = layer_of_panel(net, dot, m)
            weighted_sums(net, theta, m, 1, below, 0, dot_m, 0, False, None)  # F12  ẋ_i = Σ_j W_ij ẏ_j
            through_sigma(net, m, layer_of_panel(net, x_b, m), layer_of_panel(net, y_b, m), dot_m)  # ẏ_i = σ'(x_i) ẋ_i
            below = dot_m
        scatter_columns(below, n_out, out, n_out, 0, n, count)
        block, end = next_blocks(taken, block + 1, end, blocks, 1)


@kernel(work=lambda net, theta, x, y, V: work_of_panels(len(V), theta.dtype, len(V) * len(theta)))
def jvp(net: Net, theta: Array, x: Array, y: Array, V: Array) -> Array:
    """F12, forward accumulation: ẏ of the output (N, n_out) when the inputs move along V (N, d)."""
    out = np.empty((len(V), net.widths[-1]), x.dtype)
    taken = nothing_taken()
    for _ in prange(turns(blocks_of(len(V), theta))):
        jvp_chunks(net, theta, x, y, V, taken, out)
    return out


@array_function
def jacobian_chunks(net: Net, theta: Array, x: Array, y: Array, taken: Ints, J: Array) -> None:
    """Reverse accumulations of chunks of pairs, a data point n and an output r each: rows n * n_out + r of J."""
    d, S, n_out, width = net.widths[0], net.y_at[-1], net.widths[-1], panel_width(theta)
    pairs = len(x) * n_out
    blocks = blocks_of(pairs, theta)
    block, end = next_blocks(taken, 0, 0, blocks, 1)
    if block == end:
        return
    x_b, y_b, delta_b, dX_b = buffer(S, theta), buffer(S, theta), buffer(S, theta), buffer(d, theta)
    points, m = np.empty(width, np.intp), len(net.W_at) - 1
    while block < end:
        first = block * width
        count = min(width, pairs - first)
        at_output = layer_of_panel(net, delta_b, m)
        at_output[:] = 0
        for q in range(count):
            points[q], r = divmod(first + q, n_out)
            at_output[r * width + q] = 1
        gather_points(x, S, points, 0, count, x_b)
        gather_points(y, S, points, 0, count, y_b)
        through_sigma(net, m, layer_of_panel(net, x_b, m), layer_of_panel(net, y_b, m), at_output)
        deltas_below(net, theta, no_dropout(net), first, x_b, y_b, delta_b)
        sums_over_layer_above(net, theta, 0, layer_of_panel(net, delta_b, 0), dX_b)  # F11 with L = ŷ_r
        scatter_columns(dX_b, d, J, d, 0, first, count)
        block, end = next_blocks(taken, block + 1, end, blocks, 1)


@kernel(
    work=lambda net, theta, x, y: work_of_panels(
        len(x) * net.widths[-1], theta.dtype, len(x) * net.widths[-1] * len(theta)
    )
)
def jacobian(net: Net, theta: Array, x: Array, y: Array) -> Array:
    """F12: ∂ŷ_r/∂(input)_j (N, n_out, d), one reverse accumulation a row r."""
    J = np.empty((len(x), net.widths[-1], net.widths[0]), x.dtype)
    taken = nothing_taken()
    for _ in prange(turns(blocks_of(len(x) * net.widths[-1], theta))):
        jacobian_chunks(net, theta, x, y, taken, J)
    return J
