"""Rows that become columns, where they end and where memory does."""

from __future__ import annotations

import mmap

import hosts
import numpy as np
import pytest
from hosts import DTYPES, compiled, end_of_memory, lanes_of, random
from numba.core.errors import TypingError

from jitnet.transposes import SHORT, transpose, transpose_inside, transpose_rows, transpose_short_rows


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


@pytest.mark.parametrize("dtype", DTYPES)
def test_transposes_at_the_end_of_memory(dtype):
    """The last row ends where memory does."""
    with end_of_memory(dtype) as x:
        n, w = x.size, lanes_of(dtype)
        block = np.zeros((w, w), dtype)
        for rows, columns in [(1, 2), (2, 1), (w - 1, w - 1), (w, w)]:
            a = n - (rows - 1) * 2 * w - columns
            transpose_block(x, a, 2 * w, rows, columns, block, 0, w)
            assert block.sum() == rows * columns
            order = np.arange(rows - 1, -1, -1)  # shorter than a vector has lanes
            transpose_block_rows(x, order, 0, 2 * w, a, rows, columns, block, 0, w)
            assert block.sum() == rows * columns
            transpose_block_inside(np.ones((w, w), dtype), 0, w, columns, rows, x, a, 2 * w)
            assert (x == 1).all()


# --- the same on other hosts ----------------------------------------------------------------------------------------


def test_registers_are_what_the_host_has():
    hosts.assert_registers_are_as_told()


@hosts.has_other_hosts
@pytest.mark.parametrize("host", ["avx2", "generic"])
def test_other_hosts(host):
    hosts.run_on(host, __file__)
