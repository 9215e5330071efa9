"""Panels and strips: how the tiled form lays out data points and neurons for its register tiles.

    panel    (neurons, width): the numbers of `width` data points lie side by side, along the vector lanes
    strip    (points, width): a data point's numbers of `width` neurons lie side by side

Both are flat arrays. Panels have `lanes` rows to spare behind their last, because blocks of lanes x lanes are written
and read whole; what stands there means nothing. All functions here are for compiled code only.

width = TILE_VECTORS * lanes
"""

from __future__ import annotations

from typing import Any

import numpy as np

from jitnet._jit import callable_from_kernels, inline_function, outlined_function, vector_function, view
from jitnet.layout import Array, Ints, Net
from jitnet.registers import (
    BITS,
    TILE_VECTORS,
    broadcast,
    lanes,
    load,
    load_first,
    store,
    store_first,
)
from jitnet.transposes import SHORT, transpose, transpose_inside, transpose_rows, transpose_short_rows

PANELS_TOGETHER = 4
"""Panels that go through a layer before any goes on to the next, where W is large: in F1, and in F9 over non-zeros, its
rows come from afar once for all of them."""

NEAR_BYTES = 1 << 20
"""A smaller W stays in the second cache from panel to panel, where its companions would only take the room."""


def width_of(dtype: Any) -> int:
    """`panel_width` for Python: 32 float32, 16 float64 with AVX-512."""
    return TILE_VECTORS * BITS // (8 * np.dtype(dtype).itemsize)


def padded(n: int, size: int) -> int:
    """n rounded up to a multiple of `size`."""
    return (n + size - 1) // size * size


callable_from_kernels(padded)


def panels_together(widths: Ints, itemsize: int) -> int:
    """How many panels of a network go through its layers side by side."""
    for m in range(len(widths) - 1):
        if widths[m] * widths[m + 1] * itemsize > NEAR_BYTES:
            return PANELS_TOGETHER
    return 1


callable_from_kernels(panels_together)


@inline_function
def panel_width(like: Array) -> int:
    """Data points of a panel, neurons of a strip: the columns of a register tile."""
    return TILE_VECTORS * lanes(like)


@view
def layer_of_panel(net: Net, panel: Array, m: int) -> Array:
    """The rows of layer m in a panel of all neurons: a view."""
    width = panel_width(panel)
    return panel[net.y_at[m] * width : net.y_at[m + 1] * width]


@inline_function
def share_of_worker(total: int, worker: int, workers: int) -> int:
    """Where the share of a worker begins when `total` things are divided evenly."""
    return total * worker // workers


@vector_function
def gather_points(A: Array, columns: int, order: Ints, first: int, count: int, panel: Array) -> None:
    """The data points order[first], ..., `count` of them, as a panel: panel[j, q] = A[order[first + q], j].

    A is (points, columns). The panel's columns behind `count` are zeros.
    """
    width, size = panel_width(A), lanes(A)
    for half in range(0, width, size):
        if columns <= SHORT and count >= half + size:
            transpose_short_rows(A, order, first + half, columns, 0, size, columns, panel, half, width)
        elif columns <= SHORT and count > half:
            transpose_short_rows(A, order, first + half, columns, 0, count - half, columns, panel, half, width)
        elif count > half:
            for j in range(0, columns, size):
                transpose_rows(
                    A, order, first + half, columns, j, count - half, columns - j, panel, j * width + half, width
                )
        else:
            for j in range(columns):
                store(broadcast(0.0, panel), panel, j * width + half)


@vector_function
def gather_columns(A: Array, stride: int, column: int, columns: int, first: int, count: int, panel: Array) -> None:
    """`gather_points` of the rows first, ..., of some columns of a matrix: panel[j, q] = A[first + q, column + j].

    The rows of A are `stride` apart.
    """
    width, size = panel_width(A), lanes(A)
    for half in range(0, width, size):
        for j in range(0, columns, size):
            at = (first + half) * stride + column + j
            transpose(A, at, stride, count - half, columns - j, panel, j * width + half, width)


@vector_function
def scatter_columns(panel: Array, rows: int, A: Array, stride: int, column: int, first: int, count: int) -> None:
    """The way back: A[first + q, column + r] = panel[r, q] for `rows` rows and `count` data points."""
    width, size = panel_width(A), lanes(A)
    for half in range(0, width, size):
        for r in range(0, rows, size):
            at = (first + half) * stride + column + r
            transpose_inside(panel, r * width + half, width, rows - r, count - half, A, at, stride)


@outlined_function
def panel_to_strips(panel: Array, rows: int, strips: Array, at: int, n: int, height: int) -> None:
    """The data points of a panel as rows n, n + 1, ... of the strips at strips[at], each `height` rows long.

    Strip s has the neurons s * width, s * width + 1, ...; behind the last neuron stands what means nothing.
    """
    width, size = panel_width(panel), lanes(panel)
    for i in range(0, rows, size):
        strip = at + (i // width) * height * width + i % width
        for half in range(0, width, size):
            transpose(panel, i * width + half, width, size, size, strips, strip + (n + half) * width, width)


@vector_function
def gather_strip(
    A: Array, stride: int, column: int, columns: int, order: Ints, first: int, count: int, strip: Array, at: int
) -> None:
    """`width` columns of some rows of a matrix: strip[at + n * width + q] = A[order[first + n], column + q].

    `columns`: how many there are from the first one on; zeros stand for those that are not there.
    """
    width, size = panel_width(A), lanes(A)
    for n in range(count):
        row = order[first + n] * stride + column
        for q in range(0, width, size):
            store(load_some(A, row + q, columns - q), strip, at + n * width + q)


@inline_function
def load_some(A: Array, at: int, count: int) -> Any:
    """`load` where there are enough elements, `load_first` where not; zeros for count <= 0."""
    if count >= lanes(A):
        return load(A, at)
    return load_first(A, at, count)


@inline_function
def store_some(value: Any, A: Array, at: int, count: int) -> None:
    """`store` where there is room, `store_first` where not."""
    if count >= lanes(A):
        store(value, A, at)
    else:
        store_first(value, A, at, count)
