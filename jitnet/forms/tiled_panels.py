"""The tiled form's sums for panels of `width` data points: F1-F6 and F9, layer by layer (tiled.py has the letters)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from jitnet._jit import inline_function
from jitnet.activations import SOFTMAX
from jitnet.forms.tiled_few import are_few, weighted_sums_of_few
from jitnet.layout import Array, Dropout, Ints, Net, silence_number
from jitnet.panels import layer_of_panel, panel_width
from jitnet.registers import TILE_ROWS, TILE_VECTORS, lanes, prefetch
from jitnet.tiles import tile_add_outer, tile_from_column, tile_store, tile_zeros
from jitnet.vectorfunctions import (
    activate_range,
    loss_panel,
    output_delta_panel,
    slope_range,
    softmax_back_panel,
    softmax_panel,
)

ROWS_NEAR = 64 // TILE_ROWS * TILE_ROWS
"""Rows of W, whole tiles, that all panels are multiplied by before the next rows: up to 4096 neurons below they stay in
a second cache of a megabyte."""


class Wanted(NamedTuple):
    """Data points that come next: their rows lie anywhere in X (points, columns), and in far memory."""

    X: Array
    order: Ints
    first: int  # they are order[first], ...
    points: int


class Few(NamedTuple):
    """Data points of a panel, perhaps few, and what their sums are made in."""

    points: int
    room: Array  # (room_for_few,)


@inline_function
def ask_for(wanted: Wanted, columns: int, begin: int, end: int) -> None:
    """Let the rows begin, ..., end - 1 of those wanted come nearer."""
    for n in range(begin, end):
        row = wanted.order[wanted.first + n] * columns
        for j in range(0, columns, lanes(wanted.X)):
            prefetch(wanted.X, row + j)


@inline_function
def weighted_sums(
    net: Net, theta: Array, m: int, panels: int, y_below: Array, y_step: int, x: Array, x_step: int, bias: bool,
    wanted: Wanted | None,
) -> None:  # fmt: skip
    """F1 of layer m: the panels x of the layer from the panels y of the layer below.

    y_below and x are those of the first panel; another's begin y_step and x_step numbers behind. With each tile of the
    first layer it asks for a part of the inputs that are `wanted` next.
    """
    n_in, n_out, width = net.widths[m], net.widths[m + 1], panel_width(theta)
    W, b, tiles, tile = net.W_at[m], net.b_at[m], panels * ((n_out + TILE_ROWS - 1) // TILE_ROWS), 0
    for near in range(0, n_out, ROWS_NEAR):
        for panel in range(panels):
            below, above = panel * y_step, panel * x_step
            for i in range(near, min(near + ROWS_NEAR, n_out), TILE_ROWS):
                rows = min(TILE_ROWS, n_out - i)
                if wanted is not None and m == 0 and wanted.points > 0:
                    ask_for(wanted, n_in, tile * wanted.points // tiles, (tile + 1) * wanted.points // tiles)
                    tile += 1
                if bias:
                    acc = tile_from_column(theta, b + i, 1, rows, TILE_ROWS, TILE_VECTORS)
                else:
                    acc = tile_zeros(theta, TILE_ROWS, TILE_VECTORS)
                for j in range(n_in):  # F1  x_i = Σ_j W_ij y_j + b_i
                    acc = tile_add_outer(acc, theta, W + i * n_in + j, n_in, rows, y_below, below + j * width)
                tile_store(acc, x, above + i * width, width, rows)


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
def hear(net: Net, dropout: Dropout, m: int, n: int, y: Array, delta: Array) -> None:
    """F5 under dropout begins with this: y = factor σ(x) becomes σ(x), of which σ' is written, and delta its factor's.

    What is silent stays.
    """
    width = panel_width(y)
    for i in range(net.widths[m + 1]):
        for q in range(width):
            factor = kept(net, dropout, m, n + q, i)
            if factor > 0.0:
                y[i * width + q] /= factor
                delta[i * width + q] *= factor


@inline_function
def hush(net: Net, dropout: Dropout, m: int, n: int, delta: Array) -> None:
    """... and ends with this: what is silent has no sensitivity."""
    width = panel_width(delta)
    for i in range(net.widths[m + 1]):
        for q in range(width):
            if kept(net, dropout, m, n + q, i) == 0.0:
                delta[i * width + q] = 0


@inline_function
def forward_panels(
    net: Net, theta: Array, dropout: Dropout, n: int, panels: int, inputs: Array, at: int, x: Array, x_at: int,
    y: Array, begun: bool, wanted: Wanted | None, few: Few,
) -> None:  # fmt: skip
    """F1 and F2 for m = 1..M of some panels; the first one's first data point is the batch's n-th.

    They are inputs[at], y[at], x[x_at] and those that follow. `begun`: F1 of layer 1 is done. `wanted`: what comes
    next. `few`: how many data points these panels have.
    """
    width, y_below, step = panel_width(theta), inputs[at], inputs.shape[1]
    for m in range(len(net.W_at)):
        if m > 0 or not begun:
            x_m = layer_of_panel(net, x[x_at], m)
            if are_few(few.points, net.widths[m], net.widths[m + 1], width):
                weighted_sums_of_few(net, theta, m, few.points, y_below, few.room, x_m)
            else:
                weighted_sums(net, theta, m, panels, y_below, step, x_m, x.shape[1], net.bias, wanted)
        for panel in range(panels):
            y_m = layer_of_panel(net, y[at + panel], m)
            sigma(net, m, layer_of_panel(net, x[x_at + panel], m), y_m)
            if dropout.rates[m] > 0.0:
                silence(net, dropout, m, n + panel * width, y_m)
        y_below, step = layer_of_panel(net, y[at], m), y.shape[1]


@inline_function
def through_layer(net: Net, dropout: Dropout, m: int, n: int, x: Array, y: Array, delta: Array) -> None:
    """F5, F5' of a hidden layer m, with its dropout."""
    x_m, y_m, delta_m = layer_of_panel(net, x, m), layer_of_panel(net, y, m), layer_of_panel(net, delta, m)
    some_silent = dropout.rates[m] > 0.0
    if some_silent:
        hear(net, dropout, m, n, y_m, delta_m)
    through_sigma(net, m, x_m, y_m, delta_m)
    if some_silent:
        hush(net, dropout, m, n, delta_m)


@inline_function
def deltas_below(net: Net, theta: Array, dropout: Dropout, n: int, x: Array, y: Array, delta: Array) -> None:
    """F9 and F5 for m = M-1..1, from the output layer's delta."""
    for m in range(len(net.W_at) - 2, -1, -1):
        sums_over_layer_above(net, theta, m + 1, layer_of_panel(net, delta, m + 1), layer_of_panel(net, delta, m))
        through_layer(net, dropout, m, n, x, y, delta)


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
