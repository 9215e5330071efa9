"""The tiled form's F1 of few data points (tiled.py has the letters): neurons, not data points, along the vector lanes.

Of a panel with a single data point one lane of 32 would multiply what anybody wants. Here strips of W are turned round,
`lanes` columns at a time, and each data point multiplies them by its own numbers:

    turned[p * width + q] = W[i + q, j + p]

Each sum has the terms of `weighted_sums` in the same order, one accumulator a neuron, and so the same bits.
"""

from __future__ import annotations

from typing import Any

from jitnet._jit import callable_from_kernels, inline_function, outlined_function
from jitnet.forms.tiled_nonzeros import start_sums, sums_to_panel
from jitnet.layout import Array, Net
from jitnet.panels import panel_width
from jitnet.registers import TILE_VECTORS, lanes
from jitnet.tiles import tile_add_outer, tile_load, tile_store
from jitnet.transposes import transpose

SHARE_OF_FEW = 4
"""A panel of at most width / SHARE_OF_FEW data points has few. A layer of 512 x 512 weights with AVX-512: a data point
takes 48 us where it took 156, eight 94 (float32); one 74, four 120 in float64. Where there are not even as many neurons
below, such as 2 inputs, to turn round whole blocks takes more than it saves."""

LEAST_WIDTH = 16
"""Narrower panels have no few: of 8, with AVX2 in float64, two data points take 1.25 of the time, and one all of it."""


def are_few(points: int, n_in: int, n_out: int, width: int) -> bool:
    """Whether F1 of a layer goes neuron by neuron: for few data points, some inputs, and more neurons than a strip."""
    return width >= LEAST_WIDTH and points * SHARE_OF_FEW <= width <= n_in * SHARE_OF_FEW and n_out > width


def room_for_few(width: int) -> int:
    """How many numbers the buffer of `weighted_sums_of_few` has."""
    return width * width + width // TILE_VECTORS * width


callable_from_kernels(are_few, room_for_few)


@inline_function
def add_terms(acc: Any, terms: int, y_below: Array, y: int, room: Array, turned: int) -> Any:
    """F1: acc and the next `terms` of the sums x_i = Σ_j W_ij y_j + b_i."""
    width = panel_width(room)
    for p in range(terms):
        acc = tile_add_outer(acc, y_below, y + p * width, 0, 1, room, turned + p * width)
    return acc


@outlined_function
def weighted_sums_of_few(net: Net, theta: Array, m: int, count: int, y_below: Array, room: Array, x: Array) -> None:
    """F1 of layer m: the panel x of `count` data points from the panel of the layer below.

    `room` is a buffer for `room_for_few` numbers. What stands in x behind these data points is the bias.
    """
    n_in, n_out, width, size = net.widths[m], net.widths[m + 1], panel_width(theta), lanes(theta)
    turned = width * width  # where it begins in `room`, behind the sums
    for i in range(0, n_out, width):
        start_sums(net, theta, m, i, width, room)
        for j in range(0, n_in, size):
            for q in range(0, width, size):
                at = net.W_at[m] + (i + q) * n_in + j
                transpose(theta, at, n_in, n_out - i - q, n_in - j, room, turned + q, width)
            for n in range(count):
                acc, y = tile_load(room, n * width, 0, 1, 1, TILE_VECTORS), j * width + n
                if n_in - j >= size:  # a constant: no loop is left
                    acc = add_terms(acc, size, y_below, y, room, turned)
                else:
                    acc = add_terms(acc, n_in - j, y_below, y, room, turned)
                tile_store(acc, room, n * width, 0, 1)
        sums_to_panel(room, 0, width, n_out - i, x, i * width)
