"""Register tiles against NumPy, where they end and where memory does."""

from __future__ import annotations

import hosts
import numpy as np
import pytest
from hosts import DTYPES, NAN, compiled, end_of_memory, lanes_of, random
from numba.core.errors import TypingError

from jitnet.forms.tiled_narrow import SUM_COLUMNS, SUM_ROWS
from jitnet.registers import TILE_ROWS, TILE_VECTORS, lane_sum, lanes, load
from jitnet.tiles import (
    tile_add_outer,
    tile_add_products,
    tile_add_rows,
    tile_from_column,
    tile_load,
    tile_store,
    tile_store_lane_sums,
    tile_zeros,
)


@compiled
def outer(A, a, stride, inside, row, out):
    """out_pq = A_p + A_p row_q, all rows of the tile."""
    acc = tile_from_column(A, a, stride, inside, TILE_ROWS, TILE_VECTORS)
    tile_store(tile_add_outer(acc, A, a, stride, inside, row, 0), out, 0, TILE_VECTORS * lanes(A), TILE_ROWS)


@compiled
def outer_inside(A, a, stride, inside, row, out, c, ldc):
    """The same in the rows of `out` that are inside."""
    acc = tile_from_column(A, a, stride, inside, TILE_ROWS, TILE_VECTORS)
    tile_store(tile_add_outer(acc, A, a, stride, inside, row, 0), out, c, ldc, inside)


@compiled
def store_rows(A, C, c, stride, inside):
    """The first row of A in the `inside` rows of C, and what is below in none."""
    acc = tile_zeros(A, TILE_ROWS, TILE_VECTORS)
    for p in range(1):
        acc = tile_add_outer(acc, np.ones(TILE_ROWS, A.dtype), 0, 1, TILE_ROWS, A, p)
    tile_store(acc, C, c, stride, inside)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("inside", range(1, TILE_ROWS + 1))
def test_rows_of_tiles_inside(dtype, inside):
    """The rows behind the last one inside repeat it: nothing else is read, and nothing else written.

    A lower half without a row inside is not multiplied.
    """
    width = TILE_VECTORS * lanes_of(dtype)
    A = np.full((TILE_ROWS + 1, 5), NAN, dtype)
    A[:inside, 2] = random(dtype, inside)
    row, out = random(dtype, width), np.full((TILE_ROWS, width), 7, dtype)
    outer(A, 2, 5, inside, row, out)
    last, half = np.minimum(np.arange(TILE_ROWS), inside - 1), 4 if TILE_ROWS == 8 else TILE_ROWS
    want = A[last, 2][:, None] * (1 + row)
    if inside <= half:
        want[half:] = A[inside - 1, 2]
    np.testing.assert_allclose(out, want, rtol=8 * np.finfo(dtype).eps, atol=8 * np.finfo(dtype).eps)
    C = np.full((TILE_ROWS + 2, width + 3), 7, dtype)
    outer_inside(A, 2, 5, inside, row, C, C.shape[1] + 2, C.shape[1])
    np.testing.assert_array_equal(C[1 : 1 + inside, 2 : 2 + width], out[:inside])
    C[1 : 1 + inside, 2 : 2 + width] = 7
    assert (C == 7).all()
    C = np.full((TILE_ROWS + 2, width + 3), 7, dtype)
    store_rows(out, C, C.shape[1] + 2, C.shape[1], inside)
    np.testing.assert_array_equal(C[1 : 1 + inside, 2 : 2 + width], np.tile(out[0], (inside, 1)))
    C[1 : 1 + inside, 2 : 2 + width] = 7
    assert (C == 7).all()


@compiled
def load_rows(C, c, stride, inside, out):
    tile_store(tile_load(C, c, stride, inside, TILE_ROWS, TILE_VECTORS), out, 0, TILE_VECTORS * lanes(C), TILE_ROWS)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("inside", range(1, TILE_ROWS + 1))
def test_tiles_loaded(dtype, inside):
    """What `tile_store` wrote; the rows behind the last one inside repeat it, and nothing else is read."""
    width = TILE_VECTORS * lanes_of(dtype)
    C, out = np.full((TILE_ROWS + 2, width + 3), NAN, dtype), np.full((TILE_ROWS, width), 7, dtype)
    C[1 : 1 + inside, 2 : 2 + width] = random(dtype, inside, width)
    load_rows(C, C.shape[1] + 2, C.shape[1], inside, out)
    np.testing.assert_array_equal(out, C[1 + np.minimum(np.arange(TILE_ROWS), inside - 1), 2 : 2 + width])


@compiled
def product_in_parts(A, B, n, C):
    """C += A B, a factor at a time, as in `product` without a bias."""
    width = TILE_VECTORS * lanes(C)
    for r in range(n):
        acc = tile_load(C, 0, width, TILE_ROWS, TILE_ROWS, TILE_VECTORS)
        tile_store(tile_add_outer(acc, A, r, n, TILE_ROWS, B, r * width), C, 0, width, TILE_ROWS)


@compiled
def product(A, step, stride, B, n, bias, C):
    """C_pq = bias_p + sum_r A_pr B_rq, with A read either along its rows or along its columns."""
    width = TILE_VECTORS * lanes(C)
    if len(bias) == 0:
        acc = tile_zeros(C, TILE_ROWS, TILE_VECTORS)
    else:
        acc = tile_from_column(bias, 0, 1, TILE_ROWS, TILE_ROWS, TILE_VECTORS)
    for r in range(n):
        acc = tile_add_outer(acc, A, r * step, stride, TILE_ROWS, B, r * width)
    tile_store(acc, C, 0, width, TILE_ROWS)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("biases", [0, TILE_ROWS])
def test_products(dtype, biases):
    n, width = 57, TILE_VECTORS * lanes_of(dtype)
    A, B, C = random(dtype, TILE_ROWS, n), random(dtype, n, width), np.empty((TILE_ROWS, width), dtype)
    bias = random(dtype, biases)
    want = A.astype("f8") @ B.astype("f8") + (bias[:, None] if biases else 0)
    product(A, 1, n, B, n, bias, C)
    np.testing.assert_allclose(C, want, atol=n * 4 * np.finfo(dtype).eps)
    again = np.empty_like(C)
    product(A.T.copy(), TILE_ROWS, 1, B, n, bias, again)
    np.testing.assert_array_equal(again, C)
    again[:] = bias[:, None] if biases else 0
    product_in_parts(A, B, n, again)
    np.testing.assert_array_equal(again, C)


@compiled
def lane_sums(A, a, step, rows, B, b, stride, columns, n, C, c, ldc):
    """C_pv = the sum over `n` vectors of A's row p times B's row v."""
    acc = tile_zeros(A, SUM_ROWS, SUM_COLUMNS)
    for r in range(n):
        at = r * lanes(A)
        acc = tile_add_products(acc, A, a + at, step, rows, B, b + at, stride, columns)
    tile_store_lane_sums(acc, C, c, ldc, rows, columns)


@compiled
def row_sums(B, b, stride, columns, n, C, c):
    """C_v = the sum over `n` vectors of B's row v."""
    acc = tile_zeros(B, 1, SUM_COLUMNS)
    for r in range(n):
        acc = tile_add_rows(acc, B, b + r * lanes(B), stride, columns)
    tile_store_lane_sums(acc, C, c, 0, 1, columns)


@compiled
def lane_sum_of(x, at):
    return lane_sum(load(x, at))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("columns", range(1, SUM_COLUMNS + 1))
@pytest.mark.parametrize("rows", range(1, SUM_ROWS + 1))
def test_lane_sums(rows, columns, dtype):
    """Of the rows and columns inside: what is around them is neither read nor written."""
    w = lanes_of(dtype)
    A, B = np.full((SUM_ROWS + 2, 3 * w + 2), NAN, dtype), np.full((SUM_COLUMNS + 2, 3 * w + 3), NAN, dtype)
    A[1 : 1 + rows, 1:-1], B[1 : 1 + columns, 2:-1] = random(dtype, rows, 3 * w), random(dtype, columns, 3 * w)[::-1]
    C = np.full((SUM_ROWS + 2, SUM_COLUMNS + 3), 7, dtype)
    sA, sB, sC = A.shape[1], B.shape[1], C.shape[1]
    lane_sums(A, sA + 1, sA, rows, B, sB + 2, sB, columns, 3, C, sC + 2, sC)
    a, b = A[1 : 1 + rows, 1:-1].astype("f8"), B[1 : 1 + columns, 2:-1].astype("f8")
    np.testing.assert_allclose(C[1 : 1 + rows, 2 : 2 + columns], a @ b.T, atol=12 * w * np.finfo(dtype).eps)
    C[1 : 1 + rows, 2 : 2 + columns] = 7
    assert (C == 7).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_lane_sums_are_added_in_one_order(dtype):
    """That of `lane_sum`."""
    w = lanes_of(dtype)
    A, B, C = random(dtype, SUM_ROWS, w), np.ones((SUM_COLUMNS, w), dtype), np.empty((SUM_ROWS, SUM_COLUMNS), dtype)
    lane_sums(A, 0, w, SUM_ROWS, B, 0, w, SUM_COLUMNS, 1, C, 0, SUM_COLUMNS)
    for p in range(SUM_ROWS):
        assert (C[p] == lane_sum_of(A, p * w)).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("columns", range(1, SUM_COLUMNS + 1))
def test_sums_of_rows(columns, dtype):
    """As `lane_sum` adds, of the rows inside alone, though they may fill no vector."""
    w = lanes_of(dtype)
    B, C = np.full((SUM_COLUMNS + 1, w + 2), NAN, dtype), np.full(SUM_COLUMNS + 2, 7, dtype)
    B[1 : 1 + columns, 1:-1] = random(dtype, columns, w)
    row_sums(B, w + 3, w + 2, columns, 1, C, 1)
    assert list(C[1 : 1 + columns]) == [lane_sum_of(B, (1 + v) * (w + 2) + 1) for v in range(columns)]
    assert (np.delete(C, range(1, 1 + columns)) == 7).all()
    twice = np.concatenate([B[1:, 1:-1]] * 2, axis=1)
    row_sums(twice, 0, 2 * w, columns, 2, C, 1)
    assert list(C[1 : 1 + columns]) == [2 * lane_sum_of(twice, v * 2 * w) for v in range(columns)]


@pytest.mark.parametrize("dtype", DTYPES)
def test_tiles_at_the_end_of_memory(dtype):
    """A tile's rows below repeat the last one inside."""
    with end_of_memory(dtype) as x:
        n, width = x.size, TILE_VECTORS * lanes_of(dtype)
        for inside in range(1, TILE_ROWS + 1):
            out = np.zeros((TILE_ROWS, width), dtype)
            outer(x, n - (inside - 1) * 3 - 1, 3, inside, np.ones(width, dtype), out)
            assert (out[:inside] == 2).all()
            store_rows(out, x, n - inside * width, width, inside)
            assert (x[n - inside * width :] == 2).all()
            load_rows(x, n - inside * width, width, inside, out)
            assert (out == 2).all()
            x[:] = 1


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("columns", range(1, SUM_COLUMNS + 1))
@pytest.mark.parametrize("rows", range(1, SUM_ROWS + 1))
def test_lane_sums_at_the_end_of_memory(rows, columns, dtype):
    """Nothing is read below the rows and columns inside, and nothing written behind the last sum."""
    with end_of_memory(dtype) as x:
        w, ones = lanes_of(dtype), np.ones((max(SUM_ROWS, SUM_COLUMNS), lanes_of(dtype)), dtype)
        C = np.zeros((SUM_ROWS, SUM_COLUMNS), dtype)
        lane_sums(x, x.size - rows * w, w, rows, ones, 0, w, columns, 1, C, 0, SUM_COLUMNS)
        assert (C[:rows, :columns] == w).all()
        C[:] = 0
        lane_sums(ones, 0, w, rows, x, x.size - columns * w, w, columns, 1, C, 0, SUM_COLUMNS)
        assert (C[:rows, :columns] == w).all()
        row_sums(x, x.size - columns * w, w, columns, 1, C, 0)
        assert (C[0, :columns] == w).all()
        lane_sums(ones, 0, w, rows, ones, 0, w, columns, 1, x, x.size - rows * columns, columns)
        assert (x[-rows * columns :] == w).all()
        assert (x[: -rows * columns] == 1).all()


@compiled
def row_sums_of_two_rows(A):
    tile_add_rows(tile_zeros(A, 2, 2), A, 0, 0, 1)


@compiled
def three_sums(A):
    tile_store_lane_sums(tile_zeros(A, 3, 1), A, 0, 1, 3, 1)


@pytest.mark.parametrize(("wrong", "says"), [(row_sums_of_two_rows, "one row"), (three_sums, "powers of two")])
def test_tiles_of_other_shapes_are_refused(wrong, says):
    with pytest.raises(TypingError, match=says):
        wrong(random("float32", 64))


@compiled
def unknown_shape(A, rows):
    tile_store(tile_zeros(A, rows, 2), A, 0, 0, 1)


def test_a_tile_has_a_constant_shape():
    with pytest.raises(TypingError, match="constants"):
        unknown_shape(random("float32", 64), 2)


# --- the same on other hosts ----------------------------------------------------------------------------------------


def test_registers_are_what_the_host_has():
    hosts.assert_registers_are_as_told()


@hosts.has_other_hosts
@pytest.mark.parametrize("host", ["avx2", "generic"])
def test_other_hosts(host):
    hosts.run_on(host, __file__)
