"""The tiled form's sums over inputs that are not 0: F1 and F7 of the first layer (tiled.py has the letters).

A panel's data points have their non-zeros in different places, so that F1 runs over those of one data point at a time,
with the neurons i along the vector lanes. W is wanted with i innermost for that: it is transposed once a step, blocks
of `wide` neurons one after another, into `transposed`.

    transposed[(i // wide * d' + j) * wide + i % wide] = W_ij      d' = d rounded up to whole vectors

Terms that are 0 change no sum and the order of the others is that of the dense sums: so are the bits.

wide = STRIPS_OF_AN_ITEM * width
"""

from __future__ import annotations

from typing import Any

from jitnet._jit import callable_from_kernels, inline_function, vector_function
from jitnet.layout import Array, Data, Ints, Net
from jitnet.panels import load_some, panel_width, width_of
from jitnet.registers import (
    TILE_VECTORS,
    broadcast,
    lanes,
    load,
    lowest_bit,
    mask_bits,
    store,
    transpose,
)
from jitnet.tiles import tile_add_outer, tile_load, tile_store, tile_zeros

STRIPS_OF_AN_ITEM = 4
"""Strips side by side in a row of sums: a sum over the non-zeros wants as many products a factor under way."""

ITEM_VECTORS = STRIPS_OF_AN_ITEM * TILE_VECTORS
"""Vectors of such a row."""


def skipping_pays(share: float, n_1: int, points: int, dtype: Any) -> bool:
    """Whether F1 over the non-zeros of dense inputs is faster: a `share` of all, `n_1` neurons, `points` at a time.

    In units of the dense sum's time, measured with AVX-512: 1.5 a non-zero and lane, of which the last block of `wide`
    may leave some idle; the time of 12 data points for turning W round; a tenth for looking.
    """
    wide = STRIPS_OF_AN_ITEM * width_of(dtype)
    return 1.5 * share * (-(-n_1 // wide) * wide / n_1) + 12 / points + 0.1 < 0.95


@inline_function
def nonzero_bits(A: Array, at: int, count: int) -> int:
    """Bit q says whether A[at + q] is other than 0, for `count` numbers, at most a panel's width."""
    bits, width, size = 0, panel_width(A), lanes(A)
    if count == width:
        for q in range(0, width, size):
            bits |= mask_bits(load(A, at + q) != 0.0) << q
    else:
        for q in range(0, count, size):
            bits |= mask_bits(load_some(A, at + q, count - q) != 0.0) << q
    return bits


@vector_function
def add_nonzeros(bits: int, a: Array, at: int, B: Array, b: int, out: Array, out_at: int) -> None:
    """out[out_at + q] += Σ_n a[at + n] B[b + n * wide + q] over the n in `bits`, for q < wide."""
    wide = STRIPS_OF_AN_ITEM * panel_width(out)
    acc = tile_load(out, out_at, 0, 1, 1, ITEM_VECTORS)
    while bits != 0:
        n = lowest_bit(bits)
        acc = tile_add_outer(acc, a, at + n, 0, 1, B, b + n * wide)
        bits &= bits - 1
    tile_store(acc, out, out_at, 0, 1)


@vector_function
def add_entries(
    begin: int, end: int, entries: Array, columns: Array, B: Array, b: int, out: Array, out_at: int
) -> None:
    """out[out_at + q] += Σ_k X_k B[b + columns[k] * wide + q] over the entries k of a sparse row, for q < wide."""
    wide = STRIPS_OF_AN_ITEM * panel_width(out)
    acc = tile_load(out, out_at, 0, 1, 1, ITEM_VECTORS)
    for k in range(begin, end):
        acc = tile_add_outer(acc, entries, k, 0, 1, B, b + columns[k] * wide)
    tile_store(acc, out, out_at, 0, 1)


@vector_function
def note_nonzeros(panel: Array, rows: int, count: int, nonzero: Ints, at: int) -> None:
    """nonzero[at + i] of row i of a panel: which of its first `count` numbers are not 0."""
    width = panel_width(panel)
    for i in range(rows):
        nonzero[at + i] = nonzero_bits(panel, i * width, width) & ((1 << count) - 1)


# --- F1 -------------------------------------------------------------------------------------------------------------


def padded(d: int, size: int) -> int:
    """d': how many neurons below a block of `transposed` has; vectors have `size` lanes."""
    return (d + size - 1) // size * size


callable_from_kernels(padded)


@inline_function
def transpose_weights(net: Net, theta: Array, begin: int, end: int, transposed: Array) -> None:
    """W of the first layer into `transposed`, from neurons begin, ..., end - 1 below; begin is a multiple of lanes."""
    d, n_out, size = net.widths[0], net.widths[1], lanes(theta)
    wide = STRIPS_OF_AN_ITEM * panel_width(theta)
    for i in range(0, n_out, size):
        block = i // wide * padded(d, size)
        for j in range(begin, end, size):
            at = net.W_at[0] + i * d + j
            transpose(theta, at, d, n_out - i, d - j, transposed, (block + j) * wide + i % wide, wide)


@inline_function
def weighted_sums_of_nonzeros(
    net: Net, theta: Array, data: Data, order: Ints, first: int, count: int, transposed: Array, bits: Ints, sums: Array,
    x: Array,
) -> None:  # fmt: skip
    """F1 of the first layer for the data points order[first], ...: the panel x.

    Buffers: `sums` (width * wide), and `bits` with room for `width` numbers for every `width` inputs.
    """
    d, n_out, size, width = net.widths[0], net.widths[1], lanes(theta), panel_width(theta)
    wide, sparse = STRIPS_OF_AN_ITEM * width, len(data.starts) > 0
    if not sparse:  # row by row, as they lie in memory
        for n in range(count):
            for j in range(0, d, width):
                bits[j + n] = nonzero_bits(data.X, order[first + n] * d + j, min(width, d - j))
    for i in range(0, n_out, wide):
        block = i // wide * padded(d, size)
        for q in range(0, wide, size):
            b = load_some(theta, net.b_at[0] + i + q, n_out - i - q) if net.bias else broadcast(0.0, theta)
            for n in range(count):
                store(b, sums, n * wide + q)
        if sparse:  # F1  x_i = Σ_j W_ij y_j + b_i over the entries of each row
            for n in range(count):
                row = order[first + n]
                begin, end = data.starts[row], data.starts[row + 1]
                add_entries(begin, end, data.X, data.columns, transposed, block * wide, sums, n * wide)
        else:  # over the inputs that are not 0, `width` of them for all data points, then the next
            for j in range(0, d, width):
                for n in range(count):
                    if bits[j + n] != 0:
                        at = order[first + n] * d + j
                        add_nonzeros(bits[j + n], data.X, at, transposed, (block + j) * wide, sums, n * wide)
        for q in range(0, min(wide, n_out - i), size):
            for half in range(0, width, size):
                at = (i + q) * width + half
                transpose(sums, half * wide + q, wide, count - half, n_out - i - q, x, at, width)


# --- F7 of compressed sparse rows -----------------------------------------------------------------------------------


@inline_function
def sort_entries(data: Data, first: int, N: int, column_starts: Ints, points: Ints, values: Array) -> None:
    """The entries of the data points order[first], ..., by column, and in each column in the order of the points.

    Those of column j are column_starts[j], ..., column_starts[j + 1] - 1 of `points` and `values`.
    """
    column_starts[:] = 0
    for n in range(N):
        row = data.order[first + n]
        for k in range(data.starts[row], data.starts[row + 1]):
            column_starts[data.columns[k] + 1] += 1
    for j in range(1, len(column_starts)):
        column_starts[j] += column_starts[j - 1]
    for n in range(N):
        row = data.order[first + n]
        for k in range(data.starts[row], data.starts[row + 1]):
            j = data.columns[k]
            points[column_starts[j]] = n
            values[column_starts[j]] = data.X[k, 0]
            column_starts[j] += 1  # where column j + 1 begins, when all of j's are in their places
    for j in range(len(column_starts) - 1, 0, -1):
        column_starts[j] = column_starts[j - 1]
    column_starts[0] = 0


@vector_function
def sum_over_entries(
    begin: int, end: int, points: Ints, values: Array, delta: Array, strip: int, out: Array, out_at: int
) -> None:
    """F7 from one neuron j below to a strip of neurons: out[out_at + q] = Σ_n X_nj δ[strip + n * width + q]."""
    width = panel_width(out)
    acc = tile_zeros(out, 1, TILE_VECTORS)
    for k in range(begin, end):  # F7  ∂J/∂W_ij = Σ_n δ_i y_j over the entries of column j
        acc = tile_add_outer(acc, values, k, 0, 1, delta, strip + points[k] * width)
    tile_store(acc, out, out_at, 0, 1)


@inline_function
def gradient_of_entries(
    i: int, rows: int, j: int, columns: int, column_starts: Ints, points: Ints, values: Array, delta: Array,
    height: int, below: Array, out: Array,
) -> None:  # fmt: skip
    """F7 for neurons i, ... (a multiple of width) and inputs j, ...: out[p * wide + q], by way of `below` (q, p)."""
    size, width = lanes(out), panel_width(out)
    wide, stride = STRIPS_OF_AN_ITEM * width, (rows + width - 1) // width * width
    for q in range(columns):
        begin, end = column_starts[j + q], column_starts[j + q + 1]
        for p in range(0, rows, width):
            strip = (i + p) // width * height * width
            sum_over_entries(begin, end, points, values, delta, strip, below, q * stride + p)
    for q in range(0, columns, size):
        for p in range(0, rows, size):
            transpose(below, q * stride + p, stride, columns - q, size, out, p * wide + q, wide)
