"""The index formulas F1-F12 blocked into register tiles (forms/__init__.py has the arguments of the kernels).

    n data point   m layer   i neuron of layer m   j neuron of layer m-1   k neuron of layer m+1

The same sums as in plain.py, of TILE_ROWS neurons times `width` data points (or neurons below) at once. Two layouts:

    panel    (neurons, width): the numbers of `width` data points lie side by side, along the vector lanes
    strip    (points, width): a data point's numbers of `width` neurons lie side by side

A panel row times a weight is F1 and F9, with W where and as it lies in theta; a strip row times a sensitivity is F7.
Nothing is packed: on one AVX-512 core F1 takes 97 % of the time that its multiplications take alone.

Panels and strips are padded, the last tile of a layer repeats its last row: no edge has code of its own. Every sum runs
over its index in order, one accumulator a number, so that a result depends on no thread count and no block of points.

M layers   S neurons of all layers   d inputs   N data points   width = TILE_VECTORS * lanes
y panels of one block of points (d + S, width): rows 0..d-1 are the inputs; x and delta panels (S, width)
"""

from __future__ import annotations

import math

import numpy as np
from numba import prange

from jitnet._jit import inline_function, kernel
from jitnet.activations import SOFTMAX
from jitnet.forms import formulas as formulas
from jitnet.forms.tiled_weights import (
    TiledWork,
    clip_item,
    gradient_item,
    penalty_item,
    update_item,
)
from jitnet.forms.tiled_weights import work as work
from jitnet.layout import Array, Data, Dropout, Net, Rule, all_finite, biases, parameters, silence_number
from jitnet.panels import (
    gather_columns,
    gather_points,
    gather_strip,
    layer_of_panel,
    panel_to_strips,
    panel_width,
    scatter_columns,
)
from jitnet.registers import TILE_ROWS, TILE_VECTORS, lanes
from jitnet.tiles import tile_add_outer, tile_from_column, tile_store, tile_zeros
from jitnet.vectorfunctions import (
    activate_range,
    loss_panel,
    output_delta_panel,
    slope_range,
    softmax_back_panel,
    softmax_panel,
)

# --- one panel: `width` data points ---------------------------------------------------------------------------------


@inline_function
def weighted_sums(net: Net, theta: Array, m: int, y_below: Array, x: Array, bias: bool) -> None:
    """F1 of layer m: the panel x of the layer from the panel y of the layer below."""
    n_in, n_out, width = net.widths[m], net.widths[m + 1], panel_width(theta)
    W, b = net.W_at[m], net.b_at[m]
    for i in range(0, n_out, TILE_ROWS):
        rows = min(TILE_ROWS, n_out - i)
        if bias:
            acc = tile_from_column(theta, b + i, 1, rows, TILE_ROWS, TILE_VECTORS)
        else:
            acc = tile_zeros(theta, TILE_ROWS, TILE_VECTORS)
        for j in range(n_in):  # F1  x_i = Σ_j W_ij y_j + b_i
            acc = tile_add_outer(acc, theta, W + i * n_in + j, n_in, rows, y_below, j * width)
        tile_store(acc, x, i * width, width, rows)


@inline_function
def sums_over_layer_above(net: Net, theta: Array, m: int, delta: Array, out: Array) -> None:
    """F9 (F11 for m = 0): the panel of ∂L/∂y of the neurons j below layer m, from the panel of layer m's delta."""
    n_in, n_out, width = net.widths[m], net.widths[m + 1], panel_width(theta)
    W = net.W_at[m]
    for j in range(0, n_in, TILE_ROWS):
        rows = min(TILE_ROWS, n_in - j)
        acc = tile_zeros(theta, TILE_ROWS, TILE_VECTORS)
        for k in range(n_out):  # F9  ∂L/∂y_j = Σ_k δ_k W_kj
            acc = tile_add_outer(acc, theta, W + k * n_in + j, 1, rows, delta, k * width)
        tile_store(acc, out, j * width, width, rows)


@inline_function
def sigma(net: Net, m: int, x: Array, y: Array) -> None:
    """F2: y_i = σ(x_i) for the panel of layer m."""
    if net.activation[m] == SOFTMAX:
        softmax_panel(x, y, 0, net.widths[m + 1], panel_width(x))
    else:
        activate_range(net.activation[m], net.activation_parameter[m], net.g_address[m], x, y, 0, len(x))


@inline_function
def through_sigma(net: Net, m: int, x: Array, y: Array, delta: Array) -> None:
    """F5, F5' for the panel of layer m: delta_i ← Σ_r delta_r ∂y_r/∂x_i."""
    if net.activation[m] == SOFTMAX:
        softmax_back_panel(y, delta, 0, net.widths[m + 1], panel_width(x))
    else:
        slope_range(net.activation[m], net.activation_parameter[m], net.dg_address[m], x, y, delta, 0, len(x))


@inline_function
def kept(net: Net, dropout: Dropout, m: int, n: int, i: int) -> float:
    """The factor of neuron i of layer m of the batch's data point n: 0 with probability p, else 1 / (1 - p)."""
    p = dropout.rates[m]
    u = silence_number(dropout.key, np.uint64(n), np.uint64(net.y_at[m] + i), np.uint64(net.y_at[-1]))
    return 0.0 if u < p else 1.0 / (1.0 - p)


@inline_function
def silence(net: Net, dropout: Dropout, m: int, n: int, y: Array) -> None:
    """Dropout of the panel of layer m, whose first data point is the batch's n-th."""
    width = panel_width(y)
    for i in range(net.widths[m + 1]):
        for q in range(width):
            y[i * width + q] *= kept(net, dropout, m, n + q, i)


@inline_function
def through_silence(net: Net, dropout: Dropout, m: int, n: int, x: Array, y: Array, delta: Array) -> None:
    """F5 under dropout: y = factor σ(x), and σ' is written from σ(x). What is silent gets 0."""
    width = panel_width(y)
    for i in range(net.widths[m + 1]):
        for q in range(width):
            factor = kept(net, dropout, m, n + q, i)
            if factor > 0.0:
                y[i * width + q] /= factor
                delta[i * width + q] *= factor
    through_sigma(net, m, x, y, delta)
    for i in range(net.widths[m + 1]):
        for q in range(width):
            if kept(net, dropout, m, n + q, i) == 0.0:
                delta[i * width + q] = 0


@inline_function
def forward_panel(net: Net, theta: Array, dropout: Dropout, n: int, inputs: Array, x: Array, y: Array) -> None:
    """F1 and F2 for m = 1..M; the panel's first data point is the batch's n-th."""
    y_below = inputs
    for m in range(len(net.W_at)):
        x_m, y_m = layer_of_panel(net, x, m), layer_of_panel(net, y, m)
        weighted_sums(net, theta, m, y_below, x_m, net.bias)
        sigma(net, m, x_m, y_m)
        if dropout.rates[m] > 0.0:
            silence(net, dropout, m, n, y_m)
        y_below = y_m


@inline_function
def deltas_below(net: Net, theta: Array, dropout: Dropout, n: int, x: Array, y: Array, delta: Array) -> None:
    """F9 and F5 for m = M-1..1, from the output layer's delta."""
    for m in range(len(net.W_at) - 2, -1, -1):
        x_m, y_m, delta_m = layer_of_panel(net, x, m), layer_of_panel(net, y, m), layer_of_panel(net, delta, m)
        sums_over_layer_above(net, theta, m + 1, layer_of_panel(net, delta, m + 1), delta_m)
        if dropout.rates[m] > 0.0:
            through_silence(net, dropout, m, n, x_m, y_m, delta_m)
        else:
            through_sigma(net, m, x_m, y_m, delta_m)


@inline_function
def losses_of_panel(net: Net, x: Array, y: Array, t: Array, L: Array, first: int, count: int) -> None:
    """F3: L[first + q] of the first `count` data points of a panel."""
    m = len(net.W_at) - 1
    loss_panel(
        net.loss, net.activation[m], net.loss_parameter, net.loss_address, layer_of_panel(net, x, m),
        layer_of_panel(net, y, m), t, 0, net.widths[-1], panel_width(x), L, first, count,
    )  # fmt: skip


@inline_function
def output_deltas(net: Net, x: Array, y: Array, t: Array, c: Array, delta: Array) -> None:
    """F6 where loss and output match, else F4 and F5 (F5'); c (width,) each point's factor; 0 where c is 0."""
    m = len(net.W_at) - 1
    output_delta_panel(
        net.loss, net.activation[m], net.loss_parameter, net.activation_parameter[m], net.dloss_address,
        net.dg_address[m], net.matched, layer_of_panel(net, x, m), layer_of_panel(net, y, m), t, c, 0,
        layer_of_panel(net, delta, m), 0, net.widths[-1], panel_width(x),
    )  # fmt: skip


# --- a training step ------------------------------------------------------------------------------------------------


@inline_function
def train_panel(
    net: Net, theta: Array, data: Data, dropout: Dropout, share: float, first: int, N: int, block: int, worker: int,
    w: TiledWork,
) -> None:  # fmt: skip
    """Region 1: the data points block * width, ... of the batch, forward and backward; their neurons as strips."""
    d, n_out, width = net.widths[0], net.widths[-1], panel_width(theta)
    n = block * width
    count = min(width, N - n)
    inputs, x, y, t, c, delta = w.inputs[worker], w.x[worker], w.y[worker], w.t[worker], w.c[worker], w.delta[block]
    gather_points(data.X, d, data.order, first + n, count, inputs)
    gather_points(data.T, n_out, data.order, first + n, count, t)
    for q in range(width):
        c[q] = data.weight[data.order[first + n + q]] * share if q < count else 0.0
    forward_panel(net, theta, dropout, n, inputs, x, y)
    losses_of_panel(net, x, y, t, w.L, n, count)
    for q in range(count):
        w.L[n + q] = c[q] * w.L[n + q] if c[q] > 0.0 else 0.0
    output_deltas(net, x, y, t, c, delta)
    if d % width > 0:
        whole = d - d % width
        gather_strip(data.X, d, whole, d - whole, data.order, first + n, count, w.strips, n * width)
    for m in range(len(net.W_at) - 1):
        y_m, at = layer_of_panel(net, y, m), w.strips_at[m + 1] * w.height * width
        panel_to_strips(y_m, net.widths[m + 1], w.strips, at, n, w.height)
    deltas_below(net, theta, dropout, n, x, y, delta)


@inline_function
def share_of_worker(total: int, worker: int, workers: int) -> int:
    """Where the share of a worker begins when `total` things are divided evenly."""
    return total * worker // workers


@inline_function
def train_panels(
    net: Net, theta: Array, data: Data, dropout: Dropout, share: float, first: int, N: int, worker: int, workers: int,
    w: TiledWork,
) -> None:  # fmt: skip
    """A worker's panels of region 1."""
    width = panel_width(theta)
    blocks = (N + width - 1) // width
    for block in range(share_of_worker(blocks, worker, workers), share_of_worker(blocks, worker + 1, workers)):
        train_panel(net, theta, data, dropout, share, first, N, block, worker, w)


PENALTY, GRADIENT_AND_UPDATE, GRADIENT, LIMIT, UPDATE = range(5)
"""What a region does with the weights."""


@inline_function
def train_weights(
    what: int, net: Net, theta: Array, data: Data, rule: Rule, s: int, scale: float, first: int, N: int, worker: int,
    workers: int, w: TiledWork,
) -> None:  # fmt: skip
    """A worker's items (blocks of weights) of a region: those whose first tile falls into its share of all tiles."""
    tiles = w.tiles_before[-1]
    begin, end = share_of_worker(tiles, worker, workers), share_of_worker(tiles, worker + 1, workers)
    for item in range(len(w.items)):
        if begin <= w.tiles_before[item] < end:
            if what == PENALTY:
                w.partial[item] = penalty_item(net, theta, rule, item, w)
            elif what == LIMIT:
                w.partial[item] = clip_item(net, rule, item, w)
            elif what == UPDATE:
                update_item(net, theta, rule, s, scale, item, w)
            else:
                gradient_item(net, theta, data, rule, s, first, N, item, worker, what == GRADIENT_AND_UPDATE, w)


@kernel(work=lambda net, theta, data, rule, work: data.batch * len(theta))
def steps(net: Net, theta: Array, data: Data, rule: Rule, work: TiledWork) -> int:
    """Training steps over the data points `data.order`, `data.batch` of them a step; theta moves in place.

    Each step has two regions: all data points (F1-F6, F9), then all weights, with their sums over the data points
    (F7, F8) and their update (F10). Where gradients are clipped the update is a region of its own. Returns how many
    steps were taken; fewer than there are when a step's loss is not finite, or a parameter (the loss is then NaN):
    that step's parameters are then in `theta`, those of the step before in `work.before`. A rule that only judges
    takes no step and writes down the loss of the first.
    """
    width = panel_width(theta)
    clips = rule.clip_value < np.inf or rule.clip_norm < np.inf
    penalises = rule.l1 > 0.0 or rule.l2 > 0.0
    item_workers = min(work.workers, len(work.items))
    for s in range(len(rule.coefficients)):
        first = s * data.batch
        N = min(data.batch, len(data.order) - first)
        dropout = Dropout(rule.dropout_rates, rule.dropout_keys[s])
        total_weight = 0.0
        for n in range(N):
            total_weight += data.weight[data.order[first + n]]
        share = 1.0 / total_weight if rule.mean and total_weight > 0.0 else 1.0
        workers = min(work.workers, (N + width - 1) // width)
        for worker in prange(workers):
            train_panels(net, theta, data, dropout, share, first, N, worker, workers, work)
        J = 0.0
        for n in range(N):
            J += work.L[n]  # F3  J = Σ_n c L(t, ŷ)
        if penalises:
            for worker in prange(item_workers):
                train_weights(PENALTY, net, theta, data, rule, s, 1.0, first, N, worker, item_workers, work)
            for item in range(len(work.items)):
                J += work.partial[item]
        # The loss may be finite behind a saturated neuron. No weight is infinite where the sums x are finite.
        if workers > 0 and not all_finite(work.x[0, : net.y_at[-1] * width : width]) and not all_finite(theta):
            J = math.nan
        work.loss[s] = J
        work.loss_weight[s] = total_weight if rule.mean else 1.0
        if not math.isfinite(J) or rule.judge:
            return s
        what = GRADIENT if clips else GRADIENT_AND_UPDATE
        for worker in prange(item_workers):
            train_weights(what, net, theta, data, rule, s, 1.0, first, N, worker, item_workers, work)
        if clips:
            for worker in prange(item_workers):
                train_weights(LIMIT, net, theta, data, rule, s, 1.0, first, N, worker, item_workers, work)
            squares = 0.0
            for item in range(len(work.items)):
                squares += work.partial[item]
            scale = rule.clip_norm / math.sqrt(squares) if squares > rule.clip_norm**2 else 1.0
            for worker in prange(item_workers):
                train_weights(UPDATE, net, theta, data, rule, s, scale, first, N, worker, item_workers, work)
    return len(rule.coefficients)


# --- the kernels: all data points, or all weights -------------------------------------------------------------------

MOST_CHUNKS = 64
"""Chunks of data points that have buffers of their own in one call; more than any machine here has threads to share."""


@inline_function
def chunk(blocks: int, part: int) -> tuple[int, int]:
    """The first block of chunk `part`, and the one behind its last."""
    chunks = min(blocks, MOST_CHUNKS)
    return share_of_worker(blocks, part, chunks), share_of_worker(blocks, part + 1, chunks)


@inline_function
def buffer(rows: int, like: Array) -> Array:
    """A panel of so many rows, and those to spare."""
    return np.empty((rows + lanes(like)) * panel_width(like), like.dtype)


@inline_function
def no_dropout(net: Net) -> Dropout:
    """Every neuron speaks."""
    return Dropout(np.zeros(len(net.W_at)), np.uint64(0))


@inline_function
def forward_chunk(
    net: Net, theta: Array, X: Array, part: int, x: Array, y: Array, Y: Array, T: Array, L: Array
) -> None:
    """Of a chunk of data points: rows of x, y (N, S), of the outputs Y (N, n_out), and L (N,); what is empty is not.

    They stand in one function so that F1 and F2 are compiled once.
    """
    N, d, S, n_out, width = len(X), net.widths[0], net.y_at[-1], net.widths[-1], panel_width(theta)
    x_b, y_b, inputs, t = buffer(S, theta), buffer(S, theta), buffer(d, theta), buffer(n_out, theta)
    begin, end = chunk((N + width - 1) // width, part)
    for block in range(begin, end):
        n = block * width
        count = min(width, N - n)
        gather_columns(X, d, 0, d, n, count, inputs)
        forward_panel(net, theta, no_dropout(net), n, inputs, x_b, y_b)
        if len(x) > 0:
            scatter_columns(x_b, S, x, S, 0, n, count)
            scatter_columns(y_b, S, y, S, 0, n, count)
        if len(Y) > 0:
            scatter_columns(layer_of_panel(net, y_b, len(net.W_at) - 1), n_out, Y, n_out, 0, n, count)
        if len(L) > 0:
            gather_columns(T, n_out, 0, n_out, n, count, t)
            losses_of_panel(net, x_b, y_b, t, L, n, count)


@kernel(work=lambda net, theta, X: len(X) * len(theta))
def forward(net: Net, theta: Array, X: Array) -> tuple[Array, Array]:
    """F1, F2: x and y (N, S) of every neuron for the data points X (N, d)."""
    x, y = np.empty((len(X), net.y_at[-1]), theta.dtype), np.empty((len(X), net.y_at[-1]), theta.dtype)
    Y, L = np.empty((0, 0), theta.dtype), np.empty(0)
    width = panel_width(theta)
    for part in prange(min((len(X) + width - 1) // width, MOST_CHUNKS)):
        forward_chunk(net, theta, X, part, x, y, Y, X, L)
    return x, y


@kernel(work=lambda net, theta, X: len(X) * len(theta))
def outputs(net: Net, theta: Array, X: Array) -> Array:
    """F1, F2: ŷ (N, n_out) alone, without room for the neurons between."""
    Y, none, L = np.empty((len(X), net.widths[-1]), theta.dtype), np.empty((0, 0), theta.dtype), np.empty(0)
    width = panel_width(theta)
    for part in prange(min((len(X) + width - 1) // width, MOST_CHUNKS)):
        forward_chunk(net, theta, X, part, none, none, Y, X, L)
    return Y


@kernel(work=lambda net, theta, X, T: len(X) * len(theta))
def outputs_and_losses(net: Net, theta: Array, X: Array, T: Array) -> tuple[Array, Array]:
    """F1-F3: ŷ (N, n_out), and L (N,) float64 of every data point."""
    Y, none, L = np.empty((len(X), net.widths[-1]), theta.dtype), np.empty((0, 0), theta.dtype), np.empty(len(X))
    width = panel_width(theta)
    for part in prange(min((len(X) + width - 1) // width, MOST_CHUNKS)):
        forward_chunk(net, theta, X, part, none, none, Y, T, L)
    return Y, L


@inline_function
def losses_chunk(net: Net, x: Array, y: Array, T: Array, part: int, L: Array) -> None:
    """F3 of a chunk of data points."""
    N, S, n_out, width = len(x), net.y_at[-1], net.widths[-1], panel_width(x)
    x_b, y_b, t = buffer(S, x), buffer(S, x), buffer(n_out, x)
    begin, end = chunk((N + width - 1) // width, part)
    for block in range(begin, end):
        n = block * width
        count = min(width, N - n)
        gather_columns(x, S, 0, S, n, count, x_b)
        gather_columns(y, S, 0, S, n, count, y_b)
        gather_columns(T, n_out, 0, n_out, n, count, t)
        losses_of_panel(net, x_b, y_b, t, L, n, count)


@kernel(work=lambda net, x, y, T: 10 * T.size)
def losses(net: Net, x: Array, y: Array, T: Array) -> Array:
    """F3: L (N,) float64 of every data point."""
    L = np.empty(len(T))
    width = panel_width(x)
    for part in prange(min((len(T) + width - 1) // width, MOST_CHUNKS)):
        losses_chunk(net, x, y, T, part, L)
    return L


@inline_function
def backward_chunk(
    net: Net, theta: Array, x: Array, y: Array, T: Array, c: Array, U: Array, part: int, delta: Array
) -> None:
    """Rows of delta (N, S) of a chunk of data points: from the loss where c is not empty, else from ∂L/∂ŷ = U."""
    N, S, n_out, width = len(x), net.y_at[-1], net.widths[-1], panel_width(theta)
    x_b, y_b, delta_b, t, c_b = (
        buffer(S, theta), buffer(S, theta), buffer(S, theta), buffer(n_out, theta), buffer(1, theta)
    )  # fmt: skip
    begin, end = chunk((N + width - 1) // width, part)
    m = len(net.W_at) - 1
    for block in range(begin, end):
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


@kernel(work=lambda net, theta, x, y, T, c: len(T) * len(theta))
def backward(net: Net, theta: Array, x: Array, y: Array, T: Array, c: Array) -> Array:
    """F4-F6, then F9 and F5 downward: delta (N, S) of every neuron."""
    delta = np.empty_like(x)
    width = panel_width(theta)
    for part in prange(min((len(T) + width - 1) // width, MOST_CHUNKS)):
        backward_chunk(net, theta, x, y, T, c, T, part, delta)
    return delta


@kernel(work=lambda net, theta, x, y, U: len(U) * len(theta))
def vjp(net: Net, theta: Array, x: Array, y: Array, U: Array) -> Array:
    """F12, reverse accumulation: delta (N, S) of Σ_i u_i ŷ_i, that is F5 from ∂L/∂ŷ = U (N, n_out), then F9 and F5."""
    delta, none = np.empty_like(x), np.empty(0, x.dtype)
    width = panel_width(theta)
    for part in prange(min((len(U) + width - 1) // width, MOST_CHUNKS)):
        backward_chunk(net, theta, x, y, U, none, U, part, delta)
    return delta


@inline_function
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


@inline_function
def strips_of(net: Net, like: Array, m: int) -> int:
    """Strips of the neurons below layer m."""
    width = panel_width(like)
    return (net.widths[m] + width - 1) // width


@kernel(work=lambda net, X, y, delta: len(X) * parameters(net))
def gradient(net: Net, X: Array, y: Array, delta: Array) -> Array:
    """F7, F8: g (P,), the gradient of the weights and biases, laid out as theta."""
    g = np.empty(parameters(net), delta.dtype)
    width = panel_width(g)
    for m in range(len(net.W_at)):
        for strip in prange(strips_of(net, g, m)):
            gradient_strip(net, X, y, delta, m, strip * width, g)
    return g


@inline_function
def input_gradient_chunk(net: Net, theta: Array, delta: Array, part: int, dX: Array) -> None:
    """F11 of a chunk of data points."""
    N, S, d, width = len(delta), net.y_at[-1], net.widths[0], panel_width(theta)
    delta_b, dX_b = buffer(net.widths[1], theta), buffer(d, theta)
    begin, end = chunk((N + width - 1) // width, part)
    for block in range(begin, end):
        n = block * width
        count = min(width, N - n)
        gather_columns(delta, S, 0, net.widths[1], n, count, delta_b)
        sums_over_layer_above(net, theta, 0, delta_b, dX_b)  # F11  ∂L/∂(input)_j = Σ_i δ_i W_ij
        scatter_columns(dX_b, d, dX, d, 0, n, count)


@kernel(work=lambda net, theta, delta: len(delta) * net.widths[0] * net.widths[1])
def input_gradient(net: Net, theta: Array, delta: Array) -> Array:
    """F11: ∂L/∂(input)_j = Σ_i δ_i W_ij at layer 1, (N, d)."""
    dX = np.empty((len(delta), net.widths[0]), delta.dtype)
    width = panel_width(theta)
    for part in prange(min((len(delta) + width - 1) // width, MOST_CHUNKS)):
        input_gradient_chunk(net, theta, delta, part, dX)
    return dX


@inline_function
def jvp_chunk(net: Net, theta: Array, x: Array, y: Array, V: Array, part: int, out: Array) -> None:
    """Forward accumulation of a chunk of data points: xdot becomes ydot in its place."""
    N, d, S, n_out, width = len(x), net.widths[0], net.y_at[-1], net.widths[-1], panel_width(theta)
    x_b, y_b, dot, V_b = buffer(S, theta), buffer(S, theta), buffer(S, theta), buffer(d, theta)
    begin, end = chunk((N + width - 1) // width, part)
    for block in range(begin, end):
        n = block * width
        count = min(width, N - n)
        gather_columns(x, S, 0, S, n, count, x_b)
        gather_columns(y, S, 0, S, n, count, y_b)
        gather_columns(V, d, 0, d, n, count, V_b)
        below = V_b
        for m in range(len(net.W_at)):
            dot_m = layer_of_panel(net, dot, m)
            weighted_sums(net, theta, m, below, dot_m, False)  # F12  ẋ_i = Σ_j W_ij ẏ_j
            through_sigma(net, m, layer_of_panel(net, x_b, m), layer_of_panel(net, y_b, m), dot_m)  # ẏ_i = σ'(x_i) ẋ_i
            below = dot_m
        scatter_columns(below, n_out, out, n_out, 0, n, count)


@kernel(work=lambda net, theta, x, y, V: len(V) * len(theta))
def jvp(net: Net, theta: Array, x: Array, y: Array, V: Array) -> Array:
    """F12, forward accumulation: ẏ of the output (N, n_out) when the inputs move along V (N, d)."""
    out = np.empty((len(V), net.widths[-1]), x.dtype)
    width = panel_width(theta)
    for part in prange(min((len(V) + width - 1) // width, MOST_CHUNKS)):
        jvp_chunk(net, theta, x, y, V, part, out)
    return out


@inline_function
def jacobian_chunk(net: Net, theta: Array, x: Array, y: Array, part: int, J: Array) -> None:
    """One reverse accumulation for each output r of a chunk of data points."""
    N, d, S, n_out, width = len(x), net.widths[0], net.y_at[-1], net.widths[-1], panel_width(theta)
    x_b, y_b, delta_b, dX_b = buffer(S, theta), buffer(S, theta), buffer(S, theta), buffer(d, theta)
    begin, end = chunk((N + width - 1) // width, part)
    m = len(net.W_at) - 1
    for block in range(begin, end):
        n = block * width
        count = min(width, N - n)
        gather_columns(x, S, 0, S, n, count, x_b)
        gather_columns(y, S, 0, S, n, count, y_b)
        for r in range(n_out):
            at_output = layer_of_panel(net, delta_b, m)
            at_output[:] = 0
            at_output[r * width : (r + 1) * width] = 1
            through_sigma(net, m, layer_of_panel(net, x_b, m), layer_of_panel(net, y_b, m), at_output)
            deltas_below(net, theta, no_dropout(net), n, x_b, y_b, delta_b)
            sums_over_layer_above(net, theta, 0, layer_of_panel(net, delta_b, 0), dX_b)  # F11 with L = ŷ_r
            scatter_columns(dX_b, d, J, n_out * d, r * d, n, count)


@kernel(work=lambda net, theta, x, y: len(x) * net.widths[-1] * len(theta))
def jacobian(net: Net, theta: Array, x: Array, y: Array) -> Array:
    """F12: ∂ŷ_r/∂(input)_j (N, n_out, d), one reverse accumulation a row r."""
    J = np.empty((len(x), net.widths[-1], net.widths[0]), x.dtype)
    width = panel_width(theta)
    for part in prange(min((len(x) + width - 1) // width, MOST_CHUNKS)):
        jacobian_chunk(net, theta, x, y, part, J)
    return J
