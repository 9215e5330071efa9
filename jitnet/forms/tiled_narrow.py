"""F7 and F8 of narrow networks, group by group of data points (tiled.py has the letters).

Where layers are narrow, a strip of neurons leaves most of a register tile idle: of the 32 columns that AVX-512 has in
float32, a layer above 4 neurons fills 4. Here data points lie along the lanes as in F1 and F9: rows of delta's panels
times rows of y's, and a tile is the sums of SUM_ROWS x SUM_COLUMNS weights, lane by lane.

    ∂J/∂W_ij = Σ_groups Σ_lanes Σ_panels δ_i y_j

A group is GROUP_POINTS data points. The worker that went through its panels, forward and backward, sums them up while
they are in its cache, so that nothing is kept of a batch but a gradient for each group. Groups do not depend on the
number of threads, and neither do bits. Places behind the batch's last data point are 0 in y and delta.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from jitnet._jit import callable_from_kernels, inline_function, vector_function
from jitnet.layout import Array, Net
from jitnet.panels import padded, panel_width, width_of
from jitnet.registers import TILE_ROWS, TILE_VECTORS, lanes, load, store
from jitnet.tiles import tile_add_products, tile_add_rows, tile_store_lane_sums, tile_zeros

GROUP_POINTS = 256
"""Data points of a group. More would share a batch out among fewer threads, fewer would need more lane sums."""

GROUP_BYTES = 1 << 19
"""Inputs, y and delta of a group take no more: half of a megabyte, the second cache of today's cores or less."""

SUM_ROWS, SUM_COLUMNS = (4, 4) if TILE_ROWS == 8 else (2, 4)
"""Weights of a tile of lane sums: 16 accumulators and 8 operands for 32 registers, 8 and 6 for 16."""

MOST_PARAMETERS = 4096
"""A narrow network has no more: each group has a gradient of its own."""


def group_panels(width: int) -> int:
    """Panels of a group."""
    return GROUP_POINTS // width


def groups_of(N: int) -> int:
    """How many groups N data points are."""
    return (N + GROUP_POINTS - 1) // GROUP_POINTS


callable_from_kernels(group_panels, groups_of)


def is_narrow(widths: Sequence[int], batch: int, dtype: Any) -> bool:
    """Whether groups are faster than strips, for a dense batch: by the vector products that each takes.

    A lane sum and its way to memory is about six of them (four where one product starts a cycle, eight where two do),
    and to make a vector of a strip about three.
    """
    width, pairs = width_of(dtype), list(pairwise(widths))
    lanes_, numbers = width // TILE_VECTORS, widths[0] + 2 * sum(widths[1:])
    if sum((n_in + 1) * n_out for n_in, n_out in pairs) > MOST_PARAMETERS:
        return False
    if GROUP_POINTS * numbers * np.dtype(dtype).itemsize > GROUP_BYTES:
        return False
    sums = sum(padded(n_out, SUM_ROWS) * padded(n_in, SUM_COLUMNS) for n_in, n_out in pairs)
    strips = sum((padded(n_out, TILE_ROWS) + 3) * padded(n_in, width) for n_in, n_out in pairs)
    return sums * (batch / lanes_ + 6 * groups_of(batch)) < strips * batch / lanes_


@vector_function
def sum_over_lanes(
    panels: int, delta: Array, at: int, rows: int, y: Array, y_at: int, columns: int, out: Array, out_at: int,
    stride: int,
) -> None:  # fmt: skip
    """F7 for a tile of weights from consecutive rows of delta and y: out[out_at + p * stride + v], rows x columns."""
    width, size = panel_width(out), lanes(out)
    acc = tile_zeros(out, SUM_ROWS, SUM_COLUMNS)
    for panel in range(panels):
        here, below = panel * delta.shape[1] + at, panel * y.shape[1] + y_at
        for q in range(0, width, size):  # F7  ∂J/∂W_ij = Σ_n δ_i y_j
            acc = tile_add_products(acc, delta, here + q, width, rows, y, below + q, width, columns)
    tile_store_lane_sums(acc, out, out_at, stride, rows, columns)


@vector_function
def sum_of_biases(panels: int, delta: Array, at: int, neurons: int, out: Array, out_at: int) -> None:
    """F8 of consecutive neurons."""
    width, size = panel_width(out), lanes(out)
    for i in range(0, neurons, SUM_COLUMNS):
        columns = min(SUM_COLUMNS, neurons - i)
        acc = tile_zeros(out, 1, SUM_COLUMNS)
        for panel in range(panels):
            here = panel * delta.shape[1] + at + i * width
            for q in range(0, width, size):  # F8  ∂J/∂b_i = Σ_n δ_i
                acc = tile_add_rows(acc, delta, here + q, width, columns)
        tile_store_lane_sums(acc, out, out_at + i, 0, 1, columns)


@inline_function
def gradient_of_group(net: Net, panels: int, first: int, inputs: Array, y: Array, delta: Array, out: Array) -> None:
    """F7, F8 of all layers from the panels first, first + 1, ... of a group: out, laid out as theta."""
    width = panel_width(out)
    below, below_at = inputs, first * inputs.shape[1]
    for m in range(len(net.W_at)):
        n_in, n_out, W = net.widths[m], net.widths[m + 1], net.W_at[m]
        at = first * delta.shape[1] + net.y_at[m] * width
        for i in range(0, n_out, SUM_ROWS):
            for j in range(0, n_in, SUM_COLUMNS):
                rows, columns = min(SUM_ROWS, n_out - i), min(SUM_COLUMNS, n_in - j)
                delta_at, y_at = at + i * width, below_at + j * width
                sum_over_lanes(panels, delta, delta_at, rows, below, y_at, columns, out, W + i * n_in + j, n_in)
        if net.bias:
            sum_of_biases(panels, delta, at, n_out, out, net.b_at[m])
        below, below_at = y, first * y.shape[1] + net.y_at[m] * width


@vector_function
def sum_of_groups(groups: int, gradients: Array, at: int, count: int, out: Array) -> None:
    """out[q] = Σ_groups gradients[group, at + q] for q < count, and anything behind; groups >= 1."""
    size, length = lanes(out), gradients.shape[1]
    for q in range(0, count, size):
        total = load(gradients, at + q)
        for group in range(1, groups):
            total = total + load(gradients, group * length + at + q)
        store(total, out, q)
