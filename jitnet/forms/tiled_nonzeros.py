"""The tiled form's sums over what is not 0 (tiled.py has the letters): F1, F9, and F7 of compressed sparse rows.

A panel's data points have their zeros in different places, so that these sums run over the non-zeros of one row at a
time, with `wide` neurons of the result along the vector lanes. A row is a data point's inputs, its y, or its delta.
F9 has W as it wants it, rows k of neurons j. For F1 W is transposed first, `wide` neurons i after another:

    transposed[(i // wide * d' + j) * wide + i % wide] = W_ij      d' = n_in rounded up to whole vectors

There wide = STRIPS_OF_A_BLOCK * width; a layer of at most `width` neurons has one block, of `width`: sparse data often
have many inputs and few outputs.

Terms that are 0 change no sum and the order of the others is that of the dense sums: so are the bits (but for the sign
of a 0 where a bias is -0, and for an infinite weight times 0, which the steps look for by themselves).

wide = STRIPS_OF_AN_ITEM * width in F9 and F7
Rows lie anywhere: their number j is A[order[first + n] * stride + j // width * step + j % width].
bits[j + n] has a bit for each of the numbers j, ..., j + width - 1 of row n, for every width-th j
"""

from __future__ import annotations

import functools
from typing import Any

from jitnet._jit import callable_from_kernels, inline_function, outlined_function, vector_function
from jitnet.layout import Array, Data, Ints, Net
from jitnet.panels import load_some, padded, panel_width, width_of
from jitnet.registers import (
    INTEL_SINCE_ICE_LAKE,
    TILE_VECTORS,
    broadcast,
    count_bits,
    lane_sum,
    lanes,
    load,
    lowest_bit,
    mask_bits,
    prefetch,
    store,
)
from jitnet.tiles import tile_add_outer, tile_load, tile_store, tile_zeros
from jitnet.transposes import transpose, transpose_inside

STRIPS_OF_A_BLOCK = 4
"""Strips side by side in a row of F1's sums: a sum over the non-zeros wants as many products a factor under way."""

STRIPS_OF_AN_ITEM = 8 if INTEL_SINCE_ICE_LAKE else STRIPS_OF_A_BLOCK
"""Strips side by side in a row of F7's and F9's sums. More would not stay in the first cache with what they are of."""

STRIPS_OF_HALF_AN_ITEM = STRIPS_OF_AN_ITEM // 2
"""Strips side by side where F7 has no more: 64 inputs of float32 on Zen 4."""

FEW = 0.6 if INTEL_SINCE_ICE_LAKE else 0.7
"""Share of non-zeros below which a sum over them is faster than one over all: 0.72 to 0.79 on Zen 4, 0.65 on a Xeon."""

FEW_BELOW = (0.4, 0.2) if INTEL_SINCE_ICE_LAKE else (0.7, 0.7)
"""The same for F1 from a hidden layer, float32 and float64: 0.41 and 0.18 on a Xeon (a prediction of 784-512-512-10).

Its rows have STRIPS_OF_A_BLOCK strips, not STRIPS_OF_AN_ITEM, so that a loop over the bits of a word does less; and a
word of float64 has half as many bits.
"""

FEW_OF_HALF = (0.4, 0.2) if INTEL_SINCE_ICE_LAKE else (0.65, 0.4)
"""The same for F7 in rows of STRIPS_OF_HALF_AN_ITEM: on Zen 4 0.75 for batches of 32, 0.68 of 128; float64 0.5. On a
Xeon, where it was not measured, as FEW_BELOW, whose rows have as many strips."""

COST_OF_NONZERO = 2.4 if INTEL_SINCE_ICE_LAKE else 1.5
"""Time of F1 over the non-zeros of dense inputs, for each of them, over that of the dense sum for each number."""

BLOCK_VECTORS = STRIPS_OF_A_BLOCK * TILE_VECTORS
"""Vectors of a row of F1's."""


def skipping_pays(share: float, n_1: int, points: int, dtype: Any) -> bool:
    """Whether F1 over the non-zeros of dense inputs is faster: a `share` of all, `n_1` neurons, `points` at a time.

    In units of the dense sum's time, measured with AVX-512: COST_OF_NONZERO a lane, of which the last block of `wide`
    may leave some idle; the time of 12 data points for turning W round; a tenth for looking.
    """
    wide = STRIPS_OF_A_BLOCK * width_of(dtype)
    if n_1 <= width_of(dtype):
        return False
    return COST_OF_NONZERO * share * (-(-n_1 // wide) * wide / n_1) + 12 / points + 0.1 < 0.95


def few_below(like: Array) -> float:
    """FEW_BELOW for numbers like these."""
    return FEW_BELOW[0] if like.itemsize == 4 else FEW_BELOW[1]


def strips_in_a_row(strips: int) -> int:
    """Strips side by side in F7 over non-zeros where there are so many: its rows have one of two lengths."""
    return STRIPS_OF_HALF_AN_ITEM if strips <= STRIPS_OF_HALF_AN_ITEM else STRIPS_OF_AN_ITEM


def few_for_gradient(strips: int, like: Array) -> float:
    """Share of non-zeros below which F7 over them is faster than over all, for so many strips and numbers like these.

    0 for the only strip: it has too few products under way.
    """
    if strips == 1:
        return 0.0
    of_half = FEW_OF_HALF[0] if like.itemsize == 4 else FEW_OF_HALF[1]
    few = of_half if strips <= STRIPS_OF_HALF_AN_ITEM else FEW
    return few * strips / strips_in_a_row(strips)


callable_from_kernels(few_below, strips_in_a_row, few_for_gradient)


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


@functools.cache
def _adder_of_nonzeros(strips: int) -> Any:
    """add(bits, a, at, B, b, begun, out, out_at) for rows of so many strips: a tile has a constant shape.

    out[out_at + q] += Σ_n a[at + n] B[b + n * wide + q] over the n in `bits`, for q < wide = strips * width; what stood
    in `out` does not count if the sum has not `begun`
    """
    vectors = strips * TILE_VECTORS

    @vector_function
    def add_nonzeros(bits: int, a: Array, at: int, B: Array, b: int, begun: bool, out: Array, out_at: int) -> None:
        wide = strips * panel_width(out)
        if begun:
            acc = tile_load(out, out_at, 0, 1, 1, vectors)
        else:
            acc = tile_zeros(out, 1, vectors)
        while bits != 0:
            n = lowest_bit(bits)
            acc = tile_add_outer(acc, a, at + n, 0, 1, B, b + n * wide)
            bits &= bits - 1
        tile_store(acc, out, out_at, 0, 1)

    return add_nonzeros


@functools.cache
def _adder_of_entries(strips: int) -> Any:
    """add(begin, end, entries, columns, B, b, out, out_at), the same over the entries of a sparse row.

    out[out_at + q] += Σ_k X_k B[b + columns[k] * wide + q] over begin <= k < end, for q < wide = strips * width
    """
    vectors = strips * TILE_VECTORS

    @vector_function
    def add_entries(
        begin: int, end: int, entries: Array, columns: Array, B: Array, b: int, out: Array, out_at: int
    ) -> None:
        wide = strips * panel_width(out)
        acc = tile_load(out, out_at, 0, 1, 1, vectors)
        for k in range(begin, end):
            acc = tile_add_outer(acc, entries, k, 0, 1, B, b + columns[k] * wide)
        tile_store(acc, out, out_at, 0, 1)

    return add_entries


add_nonzeros, add_nonzeros_of_half = _adder_of_nonzeros(STRIPS_OF_AN_ITEM), _adder_of_nonzeros(STRIPS_OF_HALF_AN_ITEM)
add_nonzeros_of_block, add_nonzeros_narrow = _adder_of_nonzeros(STRIPS_OF_A_BLOCK), _adder_of_nonzeros(1)
add_entries, add_entries_narrow = _adder_of_entries(STRIPS_OF_A_BLOCK), _adder_of_entries(1)


@vector_function
def note_nonzeros(panel: Array, rows: int, count: int, nonzero: Ints, at: int) -> None:
    """nonzero[at + i] of row i of a panel: which of its first `count` numbers are not 0."""
    width = panel_width(panel)
    for i in range(rows):
        nonzero[at + i] = nonzero_bits(panel, i * width, width) & ((1 << count) - 1)


@outlined_function
def note_rows(A: Array, order: Ints, first: int, count: int, numbers: int, stride: int, step: int, bits: Ints) -> int:
    """The bits of `count` rows; returns how many of their `numbers` are not 0. Row by row, as they lie in memory."""
    width, total = panel_width(A), 0
    for n in range(count):
        for j in range(0, numbers, width):
            at = order[first + n] * stride + j // width * step
            bits[j + n] = nonzero_bits(A, at, min(width, numbers - j))
            total += count_bits(bits[j + n])
    return total


@outlined_function
def sums_to_panel(sums: Array, first: int, wide: int, rows: int, panel: Array, at: int) -> None:
    """panel[at + q * width + n] = sums[first + n * wide + q] for q < rows, and nothing behind these rows."""
    width, size = panel_width(sums), lanes(sums)
    for q in range(0, min(wide, rows), size):
        for half in range(0, width, size):
            begin, to = first + half * wide + q, at + q * width + half
            if rows - q >= size:
                transpose(sums, begin, wide, size, size, panel, to, width)
            else:
                transpose_inside(sums, begin, wide, size, rows - q, panel, to, width)


# --- F1 -------------------------------------------------------------------------------------------------------------


def block_width(n_out: int, width: int) -> int:
    """Neurons of a block of `transposed` in a layer of `n_out`."""
    return width if n_out <= width else STRIPS_OF_A_BLOCK * width


callable_from_kernels(block_width)


@inline_function
def transposed_size(net: Net, m: int, like: Array) -> int:
    """How many numbers W of layer m has in `transposed`."""
    wide = block_width(net.widths[m + 1], panel_width(like))
    return (net.widths[m + 1] + wide - 1) // wide * padded(net.widths[m], lanes(like)) * wide


@outlined_function
def finite_range(A: Array, begin: int, end: int) -> bool:
    """Whether A[begin], ..., A[end - 1] are finite: x - x is 0 for those alone."""
    size, total = lanes(A), broadcast(0.0, A)
    for at in range(begin, end, size):
        x = load_some(A, at, end - at)
        total = total + (x - x)
    return lane_sum(total) == 0.0


@outlined_function
def transpose_weights(net: Net, theta: Array, m: int, begin: int, end: int, transposed: Array, t: int) -> None:
    """W of layer m to transposed[t], from the neurons begin, ..., end - 1 below; begin is a multiple of lanes."""
    n_in, n_out, size = net.widths[m], net.widths[m + 1], lanes(theta)
    wide = block_width(n_out, panel_width(theta))
    for i in range(0, n_out, size):
        block = i // wide * padded(n_in, size)
        for j in range(begin, end, size):
            at = net.W_at[m] + i * n_in + j
            transpose(theta, at, n_in, n_out - i, n_in - j, transposed, t + (block + j) * wide + i % wide, wide)


@inline_function
def start_sums(net: Net, theta: Array, m: int, i: int, wide: int, sums: Array) -> None:
    """The biases of the neurons i, ... of layer m for each data point of a panel, or zeros."""
    size = lanes(theta)
    for q in range(0, wide, size):
        b = load_some(theta, net.b_at[m] + i + q, net.widths[m + 1] - i - q) if net.bias else broadcast(0.0, theta)
        for n in range(panel_width(theta)):
            store(b, sums, n * wide + q)


@outlined_function
def weighted_sums_of_nonzeros(
    net: Net, theta: Array, m: int, A: Array, order: Ints, first: int, count: int, stride: int, step: int, bits: Ints,
    transposed: Array, t: int, sums: Array, x: Array, following: int, behind: int,
) -> None:  # fmt: skip
    """F1 of layer m from `count` rows with known bits: the panel x. `sums` (width * wide) is a buffer.

    Meanwhile it asks for the rows that come next, order[following], ..., `behind` at most: they may lie in far memory.
    """
    n_in, n_out, width = net.widths[m], net.widths[m + 1], panel_width(theta)
    wide = block_width(n_out, width)
    for i in range(0, n_out, wide):
        block = i // wide * padded(n_in, lanes(theta))
        start_sums(net, theta, m, i, wide, sums)
        for j in range(0, n_in, width):  # `width` of W's columns for all data points, then the next
            for n in range(count):  # F1  x_i = Σ_j W_ij y_j + b_i, where y_j is not 0
                if i == 0 and n < behind:
                    at = order[following + n] * stride + j // width * step
                    for q in range(0, width, lanes(A)):
                        prefetch(A, at + q)
                if bits[j + n] != 0:
                    at = order[first + n] * stride + j // width * step
                    b = t + (block + j) * wide
                    if wide > width:
                        add_nonzeros_of_block(bits[j + n], A, at, transposed, b, True, sums, n * wide)
                    else:
                        add_nonzeros_narrow(bits[j + n], A, at, transposed, b, True, sums, n * wide)
        sums_to_panel(sums, 0, wide, n_out - i, x, i * width)


@outlined_function
def weighted_sums_of_entries(
    net: Net, theta: Array, data: Data, starts: Ints, first: int, count: int, transposed: Array, sums: Array, x: Array
) -> None:
    """F1 of the first layer from sparse rows, order[first] and on: the panel x. `sums` (width * wide) is a buffer."""
    n_out, width = net.widths[1], panel_width(theta)
    wide = block_width(n_out, width)
    for i in range(0, n_out, wide):
        block = i // wide * padded(net.widths[0], lanes(theta))
        start_sums(net, theta, 0, i, wide, sums)
        for n in range(count):  # F1  x_i = Σ_j W_ij y_j + b_i over the entries of each row
            row = data.order[first + n]
            begin, end = starts[row], starts[row + 1]
            if wide > width:
                add_entries(begin, end, data.X, data.columns, transposed, block * wide, sums, n * wide)
            else:
                add_entries_narrow(begin, end, data.X, data.columns, transposed, block * wide, sums, n * wide)
        sums_to_panel(sums, 0, wide, n_out - i, x, i * width)


@inline_function
def weighted_sums_skipping_zeros(
    net: Net, theta: Array, data: Data, starts: Ints | None, first: int, count: int, following: int, transposed: Array,
    bits: Ints, sums: Array, x: Array,
) -> None:  # fmt: skip
    """F1 of the first layer, X sparse or dense, for the data points order[first], ...: the panel x.

    Those that come next are order[following], .... `starts` are the data's: of an argument Numba knows before it
    compiles whether it is None.
    """
    d, width = net.widths[0], panel_width(theta)
    if starts is not None:
        weighted_sums_of_entries(net, theta, data, starts, first, count, transposed, sums, x)
    else:
        note_rows(data.X, data.order, first, count, d, d, width, bits)
        weighted_sums_of_nonzeros(
            net, theta, 0, data.X, data.order, first, count, d, width, bits, transposed, 0, sums, x,
            following, max(0, min(width, len(data.order) - following)),
        )  # fmt: skip


# --- F9 -------------------------------------------------------------------------------------------------------------


@outlined_function
def sums_over_nonzeros_above(
    net: Net, theta: Array, m: int, count: int, rows: Array, bits: Ints, first: int, W: Array, sums: Array, out: Array,
    out_step: int,
) -> None:  # fmt: skip
    """F9: panels of ∂L/∂y of the neurons j below layer m, from its delta of `count` data points.

    Each panel's delta stand as strips in rows[first], rows[first + 1], ..., their bits in `bits`. `out` is the first
    panel, another's begins out_step numbers behind. Buffers: `W` (width * wide), and as much in `sums` for each panel.
    """
    n_in, n_out, width, size = net.widths[m], net.widths[m + 1], panel_width(theta), lanes(theta)
    wide = STRIPS_OF_AN_ITEM * width
    for j in range(0, n_in, wide):
        for q in range(0, padded(count, width) * wide, size):
            store(broadcast(0.0, theta), sums, q)
        for k in range(0, n_out, width):
            for r in range(min(width, n_out - k)):  # copied: n_in apart, few of them would stay in the cache
                for q in range(0, min(wide, n_in - j), size):
                    at = net.W_at[m] + (k + r) * n_in + j + q
                    store(load_some(theta, at, n_in - j - q), W, r * wide + q)
            for n in range(count):  # F9  ∂L/∂y_j = Σ_k δ_k W_kj, where δ_k is not 0
                row, q = first + n // width, n % width
                if bits[row, k + q] != 0:
                    at = row * rows.shape[1] + (k + q) * width
                    add_nonzeros(bits[row, k + q], rows, at, W, 0, True, sums, n * wide)
        for panel in range((count + width - 1) // width):
            sums_to_panel(sums, panel * width * wide, wide, n_in - j, out, panel * out_step + j * width)


# --- F7 of compressed sparse rows -----------------------------------------------------------------------------------


@outlined_function
def sort_entries(
    data: Data, starts: Ints | None, columns: Array | None, first: int, N: int, column_starts: Ints, points: Ints,
    values: Array,
) -> None:  # fmt: skip
    """The entries of the data points order[first], ..., by column, and in each column in the order of the points.

    Those of column j are column_starts[j], ..., column_starts[j + 1] - 1 of `points` and `values`. Nothing if `starts`
    and `columns`, the data's, are None.
    """
    if starts is None or columns is None:
        return
    for j in range(len(column_starts)):
        column_starts[j] = 0
    for n in range(N):
        row = data.order[first + n]
        for k in range(starts[row], starts[row + 1]):
            column_starts[columns[k] + 1] += 1
    for j in range(1, len(column_starts)):
        column_starts[j] += column_starts[j - 1]
    for n in range(N):
        row = data.order[first + n]
        for k in range(starts[row], starts[row + 1]):
            j = columns[k]
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


@outlined_function
def gradient_of_entries(
    starts: Ints | None, i: int, rows: int, j: int, columns: int, column_starts: Ints, points: Ints, values: Array,
    delta: Array, height: int, below: Array, out: Array,
) -> None:  # fmt: skip
    """F7 for neurons i, ... (a multiple of width) and inputs j, ...: out[p * wide + q], by way of `below` (q, p).

    Nothing if `starts`, the data's, are None.
    """
    if starts is None:
        return
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
