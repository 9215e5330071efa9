from __future__ import annotations

import ctypes
import mmap
import os
import subprocess
import sys

import numba
import numpy as np
import pytest
from numba.core.errors import TypingError

from jitnet import registers
from jitnet._jit import FLAGS
from jitnet.forms.tiled_narrow import SUM_COLUMNS, SUM_ROWS
from jitnet.registers import (
    TILE_ROWS,
    TILE_VECTORS,
    absolute,
    any_lane,
    broadcast,
    copy_sign,
    count_bits,
    lane_maximum,
    lane_sum,
    lanes,
    load,
    load_first,
    lowest_bit,
    mask_bits,
    maximum,
    minimum,
    multiply_add,
    prefetch,
    select,
    store,
    store_first,
)
from jitnet.tiles import (
    tile_add_outer,
    tile_add_products,
    tile_from_column,
    tile_load,
    tile_store,
    tile_store_lane_sums,
    tile_zeros,
)
from jitnet.transposes import SHORT, transpose, transpose_inside, transpose_rows, transpose_short_rows

HOSTS = {  # Numba's settings, and the bits of a register that they mean on this kind of processor
    "avx2": ({"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+sse4.2,+avx,+avx2,+fma,+bmi2"}, 256),
    "generic": ({"NUMBA_CPU_NAME": "generic"}, 128),
}
DTYPES = ("float32", "float64")
compiled = numba.njit(fastmath=FLAGS)  # as the kernels are
NAN, INF = float("nan"), float("inf")


def lanes_of(dtype: str) -> int:
    return registers.BITS // (8 * np.dtype(dtype).itemsize)


def random(dtype: str, *shape: int) -> np.ndarray:
    return np.random.default_rng(5).normal(size=shape).astype(dtype)


# --- vectors --------------------------------------------------------------------------------------------------------


@compiled
def arithmetic(x, y, out):
    a, b, w = load(x, 0), load(y, 0), lanes(x)
    store(a + b, out, 0)
    store(a - b, out, w)
    store(a * b, out, 2 * w)
    store(a / b, out, 3 * w)
    store(-a, out, 4 * w)
    store(2.0 * a + 1 - b / 4, out, 5 * w)
    store(multiply_add(a, b, 0.5), out, 6 * w)
    store(absolute(a), out, 7 * w)
    store(copy_sign(a, b), out, 8 * w)
    store(broadcast(0.1, x), out, 9 * w)
    store((a + 1e30) - 1e30, out, 10 * w)
    return w


@pytest.mark.parametrize("dtype", DTYPES)
def test_arithmetic(dtype):
    w = lanes_of(dtype)
    x, y, out = random(dtype, w), random(dtype, 2, w)[1], np.empty(11 * w, dtype)
    assert arithmetic(x, y, out) == w
    got = out.reshape(11, w)
    want = [x + y, x - y, x * y, x / y, -x, 2 * x + 1 - y / 4, None, abs(x), np.copysign(x, y)]
    for k, values in enumerate(want):
        if values is not None:
            np.testing.assert_array_equal(got[k], values)
    np.testing.assert_allclose(got[6], x.astype("f8") * y + 0.5, atol=8 * np.finfo(dtype).eps)
    np.testing.assert_array_equal(got[9], np.full(w, 0.1, dtype))
    # FLAGS has "reassoc", under which (a + c) - c would be a
    np.testing.assert_array_equal(got[10], np.zeros(w, dtype))


@compiled
def square_roots(x, out):
    for at in range(0, len(x), lanes(x)):
        store(np.sqrt(load(x, at)), out, at)


@pytest.mark.parametrize("dtype", DTYPES)
def test_square_roots(dtype):
    """Correctly rounded, but for float32 with AVX-512: there at most 1 ulp, over all exponents."""
    kind, rng = np.finfo(dtype), np.random.default_rng(3)
    exponents = np.arange(kind.minexp - kind.nmant, kind.maxexp)
    x = np.ldexp(rng.uniform(1, 2, (64, len(exponents))), exponents).astype(dtype)
    x[0] = np.ldexp(np.ones(1, dtype), exponents)
    x[1] = np.nextafter(x[0], np.dtype(dtype).type(0))
    ends = np.array([0.0, -0.0, np.inf, np.nan, -1.0, -np.inf, kind.max, kind.tiny, kind.smallest_subnormal], dtype)
    x = np.concatenate([x.ravel(), ends, np.zeros(-(x.size + ends.size) % lanes_of(dtype), dtype)])
    out = np.empty_like(x)
    square_roots(x, out)
    with np.errstate(invalid="ignore"):
        want = np.sqrt(x.astype(np.longdouble))
    np.testing.assert_array_equal(np.isnan(out), np.isnan(want))
    np.testing.assert_array_equal(np.signbit(out[x == 0]), np.signbit(x[x == 0]))
    usual = np.isfinite(want) & (want > 0)
    np.testing.assert_array_equal(out[~usual & ~np.isnan(want)], x[~usual & ~np.isnan(want)])
    error = np.abs(out[usual] - want[usual]) / np.spacing(want[usual].astype(dtype))
    assert error.max() <= (1 if dtype == "float32" and registers.BITS == 512 else 0.5)


@compiled
def one_rounding(x, y, out):
    store(multiply_add(load(x, 0), load(x, 0), -load(y, 0)), out, 0)


def test_multiply_add_rounds_once_where_the_host_can():
    w = lanes_of("float64")
    x = np.full(w, 1 + 2.0**-30)
    out = np.empty(w)
    one_rounding(x, x * x, out)
    np.testing.assert_array_equal(out, np.full(w, 2.0**-60 if registers.FUSED else 0.0))


@compiled
def comparisons(x, y, out):
    a, b, w = load(x, 0), load(y, 0), lanes(x)
    store(select(a < b, 1.0, broadcast(0.0, x)), out, 0)
    store(select(a <= b, 1.0, broadcast(0.0, x)), out, w)
    store(select(a > b, 1.0, broadcast(0.0, x)), out, 2 * w)
    store(select(a >= b, 1.0, broadcast(0.0, x)), out, 3 * w)
    store(select(a == b, 1.0, broadcast(0.0, x)), out, 4 * w)
    store(select(a != b, 1.0, broadcast(0.0, x)), out, 5 * w)
    store(select((a < b) & ~(a < 0.0) | (b != b), a, b), out, 6 * w)
    store(minimum(a, b), out, 7 * w)
    store(maximum(a, b), out, 8 * w)
    return any_lane(a == 77.0), any_lane(a < INF)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.filterwarnings("ignore:invalid value")
def test_comparisons_and_bounds_with_nan(dtype):
    w = lanes_of(dtype)
    values = [0.0, -0.0, 1.0, -1.0, INF, -INF, NAN]
    for first in range(0, 49, w):
        pairs = [(values[k % 49 // 7], values[k % 7]) for k in range(first, first + w)]
        x, y = (np.array(column, dtype) for column in zip(*pairs, strict=True))
        out = np.empty(9 * w, dtype)
        none, some = comparisons(x, y, out)
        got = out.reshape(9, w)
        for k, values_k in enumerate([x < y, x <= y, x > y, x >= y, x == y, x != y]):
            np.testing.assert_array_equal(got[k], values_k.astype(dtype))
        np.testing.assert_array_equal(got[6], np.where((x < y) & ~(x < 0) | (y != y), x, y))
        np.testing.assert_array_equal(got[7], np.where(y < x, y, x))
        np.testing.assert_array_equal(got[8], np.where(y > x, y, x))
        assert (none, some) == (False, bool((x < INF).any()))


@compiled
def bits_of_mask(x):
    a = load(x, 0)
    return mask_bits(a != 0.0), mask_bits(a < 0.0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_masks_as_bits(dtype):
    """Bit l is lane l; neither 0 counts, NaN does."""
    w = lanes_of(dtype)
    values = np.array([0.0, -0.0, 1.0, -1.0, NAN, np.finfo(dtype).smallest_subnormal, -INF, 0.0], dtype)
    for first in range(8):
        x = np.roll(np.resize(values, max(w, 8)), first)[:w]
        nonzero, negative = bits_of_mask(x)
        assert nonzero == sum(1 << l for l in range(w) if x[l] != 0)
        assert negative == sum(1 << l for l in range(w) if x[l] < 0)
    assert bits_of_mask(np.ones(w, dtype)) == ((1 << w) - 1, 0)


@compiled
def bits_of_number(bits):
    return lowest_bit(bits), count_bits(bits)


def test_bits_of_numbers():
    for place in range(64):
        one = (1 << place) - (1 << 64 if place == 63 else 0)
        assert bits_of_number(one) == (place, 1)
        assert bits_of_number(-1 << place) == (place, 64 - place)
    assert bits_of_number(0b101101000) == (3, 4)
    assert bits_of_number(0)[1] == 0  # which has no lowest bit


def test_only_masks_have_bits():
    @compiled
    def bits_of_vector(x):
        return mask_bits(load(x, 0))

    with pytest.raises(TypingError, match="a mask is wanted"):
        bits_of_vector(random("float32", 64))


@compiled
def across(x):
    a = load(x, 0)
    return lane_sum(a), lane_maximum(a)


@pytest.mark.parametrize("dtype", DTYPES)
def test_reductions_have_one_order(dtype):
    x = random(dtype, lanes_of(dtype)) * 1e6
    tree = x
    while tree.size > 1:
        tree = tree[: tree.size // 2] + tree[tree.size // 2 :]
    total, largest = across(x)
    assert total == tree[0]
    assert largest == x.max()
    for lane in range(x.size):
        with_nan = x.copy()
        with_nan[lane] = NAN
        assert np.isnan(across(with_nan)).all()


# --- memory ---------------------------------------------------------------------------------------------------------


@compiled
def copy_first(x, at, out, to, count):
    store_first(load_first(x, at, count), out, to, count)


@compiled
def load_some(x, at, count, out):
    store(load_first(x, at, count), out, 0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_masked_copies_touch_nothing_behind(dtype):
    w = lanes_of(dtype)
    x = random(dtype, 3 * w)
    for count in range(-1, w + 3):
        copied = min(max(count, 0), w)
        out = np.full(3 * w, 7, dtype)
        copy_first(x, w + 1, out, w, count)
        np.testing.assert_array_equal(out[w : w + copied], x[w + 1 : w + 1 + copied])
        assert (out[:w] == 7).all()
        assert (out[w + copied :] == 7).all()
        load_some(x, w, count, out)
        np.testing.assert_array_equal(out[:copied], x[w : w + copied])
        assert not out[copied:w].any()


@compiled
def ask(x, at):
    prefetch(x, at)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs mprotect")
@pytest.mark.parametrize("dtype", DTYPES)
def test_masked_access_at_the_end_of_memory(dtype):
    """The page behind the array may not be touched: a load or store that did would end the process."""
    memory = mmap.mmap(-1, 2 * mmap.PAGESIZE)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    protect = ctypes.CDLL(None).mprotect
    second = ctypes.c_void_p(start + mmap.PAGESIZE)
    assert protect(second, ctypes.c_size_t(mmap.PAGESIZE), 0) == 0
    x = np.frombuffer(memory, dtype, mmap.PAGESIZE // np.dtype(dtype).itemsize)
    x[:] = 1
    n = x.size
    ask(x, n)
    for count in range(lanes_of(dtype)):
        copy_first(x, n - count, x, n - count, count)
    w, width = lanes_of(dtype), TILE_VECTORS * lanes_of(dtype)
    block = np.zeros((w, w), dtype)
    for rows, columns in [(1, 2), (2, 1), (w - 1, w - 1), (w, w)]:  # the last row ends where the page does
        a = n - (rows - 1) * 2 * w - columns
        transpose_block(x, a, 2 * w, rows, columns, block, 0, w)
        assert block.sum() == rows * columns
        order = np.arange(rows - 1, -1, -1)  # shorter than a vector has lanes
        transpose_block_rows(x, order, 0, 2 * w, a, rows, columns, block, 0, w)
        assert block.sum() == rows * columns
        transpose_block_inside(np.ones((w, w), dtype), 0, w, columns, rows, x, a, 2 * w)
        assert (x == 1).all()
    for inside in range(1, TILE_ROWS + 1):  # a tile's rows below repeat the last one inside
        out = np.zeros((TILE_ROWS, width), dtype)
        outer(x, n - (inside - 1) * 3 - 1, 3, inside, np.ones(width, dtype), out)
        assert (out == 2).all()
        store_rows(out, x, n - inside * width, width, inside)
        assert (x[n - inside * width :] == 2).all()
        load_rows(x, n - inside * width, width, inside, out)
        assert (out == 2).all()
        x[:] = 1
    protect(second, ctypes.c_size_t(mmap.PAGESIZE), 3)


def test_wrong_arrays_are_refused():
    x = random("float32", 64)
    for bad in (x.astype("int32"), x[::2], x.astype("float16")):
        with pytest.raises(TypingError):
            across(bad)
    with pytest.raises(TypingError):
        copy_first(x, 0, x.astype("float64"), 0, 1)
    read_only = x.copy()
    read_only.flags.writeable = False
    copy_first(read_only, 0, x, 0, 1)
    with pytest.raises(TypingError):
        copy_first(x, 0, read_only, 0, 1)


# --- tiles ----------------------------------------------------------------------------------------------------------


@compiled
def outer(A, a, stride, inside, row, out):
    """out_pq = A_p + A_p row_q."""
    acc = tile_from_column(A, a, stride, inside, TILE_ROWS, TILE_VECTORS)
    tile_store(tile_add_outer(acc, A, a, stride, inside, row, 0), out, 0, TILE_VECTORS * lanes(A), TILE_ROWS)


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
    """The rows behind the last one inside repeat it: nothing else is read, and nothing else written."""
    width = TILE_VECTORS * lanes_of(dtype)
    A = np.full((TILE_ROWS + 1, 5), NAN, dtype)
    A[:inside, 2] = random(dtype, inside)
    row, out = random(dtype, width), np.full((TILE_ROWS, width), 7, dtype)
    outer(A, 2, 5, inside, row, out)
    last = np.minimum(np.arange(TILE_ROWS), inside - 1)
    want = A[last, 2][:, None] * (1 + row)
    np.testing.assert_allclose(out, want, rtol=8 * np.finfo(dtype).eps, atol=8 * np.finfo(dtype).eps)
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


@compiled
def transpose_block(A, a, stride, rows, columns, B, b, width):
    transpose(A, a, stride, rows, columns, B, b, width)


@pytest.mark.parametrize("dtype", DTYPES)
def test_transpose(dtype):
    w = lanes_of(dtype)
    A = random(dtype, w + 2, w + 3)
    for rows, columns in [(w, w), (1, w), (w, 1), (w - 1, 2), (0, 0)]:
        B = np.full((w + 2, w + 4), 7, dtype)
        transpose_block(A, A.shape[1] + 2, A.shape[1], rows, columns, B, B.shape[1] + 1, B.shape[1])
        block = np.zeros((w, w), dtype)
        block[:columns, :rows] = A[1 : 1 + rows, 2 : 2 + columns].T
        np.testing.assert_array_equal(B[1 : 1 + w, 1 : 1 + w], block)
        B[1 : 1 + w, 1 : 1 + w] = 7
        assert (B == 7).all()


@compiled
def transpose_block_inside(A, a, stride, rows, columns, B, b, width):
    transpose_inside(A, a, stride, rows, columns, B, b, width)


@pytest.mark.parametrize("dtype", DTYPES)
def test_transpose_inside(dtype):
    """Of B only what comes from inside A is written."""
    w = lanes_of(dtype)
    A = random(dtype, w + 2, w + 3)
    for rows, columns in [(w, w), (1, w), (w, 1), (w - 1, 2), (0, 0), (0, 3), (9 * w, 99)]:
        B = np.full((w + 2, w + 4), 7, dtype)
        transpose_block_inside(A, A.shape[1] + 2, A.shape[1], rows, columns, B, B.shape[1] + 1, B.shape[1])
        rows, columns = min(rows, w), min(columns, w)
        part = B[1 : 1 + columns, 1 : 1 + rows]
        np.testing.assert_array_equal(part, A[1 : 1 + rows, 2 : 2 + columns].T)
        part[:] = 7
        assert (B == 7).all()


@compiled
def transpose_block_rows(A, order, first, stride, column, rows, columns, B, b, width):
    transpose_rows(A, order, first, stride, column, rows, columns, B, b, width)


@pytest.mark.parametrize("dtype", DTYPES)
def test_transpose_rows(dtype):
    """Rows that lie anywhere, twice the same ones too; of `order` nothing behind the last row's place is read."""
    w, rng = lanes_of(dtype), np.random.default_rng(6)
    A = random(dtype, 40, w + 3)
    for rows, columns in [(w, w), (1, w), (w, 1), (w - 1, 2), (9 * w, 2 * w)]:
        here = min(rows, w)
        order = np.concatenate([[-(10**15)], rng.integers(0, 40, here), np.full(w, 10**15)])
        B = np.full((w + 2, w + 4), 7, dtype)
        given = order[: 1 + here] if rows <= w else order
        transpose_block_rows(A, given, 1, A.shape[1], 2, rows, columns, B, B.shape[1] + 1, B.shape[1])
        block = np.zeros((w, w), dtype)
        picked = A[order[1 : 1 + here], 2 : 2 + min(columns, w)]
        block[: picked.shape[1], :here] = picked.T
        np.testing.assert_array_equal(B[1 : 1 + w, 1 : 1 + w], block)
        B[1 : 1 + w, 1 : 1 + w] = 7
        assert (B == 7).all()
    with pytest.raises(TypingError):
        transpose_block_rows(A, np.zeros(3), 0, 1, 0, 1, 1, B, 0, w)


@compiled
def transpose_block_short_rows(A, order, first, stride, column, rows, columns, B, b, width):
    transpose_short_rows(A, order, first, stride, column, rows, columns, B, b, width)


@pytest.mark.parametrize("dtype", DTYPES)
def test_transpose_short_rows(dtype):
    """As `transpose_rows`, of at most SHORT columns; so many rows of B are written, and nothing is read behind A."""
    w, short, rng = lanes_of(dtype), SHORT, np.random.default_rng(6)
    for columns in range(1, short + 1):
        memory = mmap.mmap(-1, 2 * mmap.PAGESIZE)  # the last row ends with a page, behind which NaN stands
        size = 40 * (columns + 1)
        numbers = np.frombuffer(memory, dtype)
        numbers[:] = np.nan
        end = mmap.PAGESIZE // numbers.itemsize
        A = numbers[end - size : end].reshape(40, columns + 1)
        A[:] = random(dtype, 40, columns + 1)
        for rows in (1, 2, w - 1, w, 9 * w):
            here = min(rows, w)
            order = np.concatenate([[-(10**15)], rng.integers(0, 40, here), np.full(w, 10**15)])
            order[here] = 39
            B = np.full((short + 2, w + 4), 7, dtype)
            given = order[: 1 + here] if rows <= w else order
            transpose_block_short_rows(A, given, 1, columns + 1, 1, rows, columns, B, B.shape[1] + 1, B.shape[1])
            block = np.zeros((short, w), dtype)
            block[:columns, :here] = A[order[1 : 1 + here], 1:].T
            np.testing.assert_array_equal(B[1 : 1 + short, 1 : 1 + w], block)
            B[1 : 1 + short, 1 : 1 + w] = 7
            assert (B == 7).all()
    with pytest.raises(TypingError):
        transpose_block_short_rows(A, np.zeros(3), 0, 1, 0, 1, 1, B, 0, w)


@compiled
def unknown_shape(A, rows):
    tile_store(tile_zeros(A, rows, 2), A, 0, 0, 1)


def test_a_tile_has_a_constant_shape():
    with pytest.raises(TypingError, match="constants"):
        unknown_shape(random("float32", 64), 2)


# --- hosts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("features", "machine", "shape"),
    [
        ({"avx2", "fma", "avx512f"}, "x86_64", (512, True, 8, 2)),
        ({"avx2", "fma"}, "AMD64", (256, True, 6, 2)),
        ({"avx", "sse4.2"}, "x86_64", (128, False, 4, 2)),
        (set(), "arm64", (128, True, 8, 2)),
        ({"neon"}, "aarch64", (128, True, 8, 2)),
        (set(), "riscv64", (128, False, 4, 2)),
    ],
)
def test_shapes_of_hosts(features, machine, shape):
    assert registers._shape_of_host(features, machine) == shape
    bits, _, rows, vectors = shape
    known = 32 if bits == 512 or machine in ("arm64", "aarch64") else 16
    assert rows * vectors + vectors + 1 <= known


def test_registers_are_what_the_host_has():
    expected = os.environ.get("JITNET_TEST_BITS")
    assert registers.BITS in (128, 256, 512)
    assert expected is None or int(expected) == registers.BITS


@pytest.mark.skipif(registers.BITS < 256, reason="this host has no AVX2, or is itself the other host")
@pytest.mark.parametrize("host", HOSTS)
def test_other_hosts(host):
    settings, bits = HOSTS[host]
    environment = {**os.environ, **settings, "JITNET_TEST_BITS": str(bits)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__, "-k", "not other_hosts"]
    run = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-1000:]


@pytest.mark.parametrize(
    ("features", "is_one"),
    [
        ({"avx512f", "gfni"}, True),
        ({"avx512f"}, False),  # Skylake, Cascade Lake: 32 KB
        ({"avx512f", "gfni", "sse4a"}, False),  # Zen 4
        ({"avx2", "fma", "gfni"}, False),
        (set(), False),
    ],
)
def test_which_hosts_are_intels_since_ice_lake(features, is_one):
    assert registers._is_intel_since_ice_lake(features) == is_one
