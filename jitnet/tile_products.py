"""The product of two matrices as a loop over register tiles: C_pq = Σ_r A_pr B_rq, the loop that F1, F7 and F9 are.

Each tile of C stays in registers while r runs, and the sum over r is made in the order of the rows of B, whatever else
is cut into blocks. Rows of B and C are contiguous; A may have any strides, as its elements are broadcast one by one.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from jitnet._jit import function
from jitnet.layout import Array
from jitnet.registers import (
    TILE_ROWS,
    TILE_VECTORS,
    lanes,
    tile_add_outer,
    tile_add_outer_first,
    tile_from_column,
    tile_load,
    tile_load_first,
    tile_store,
    tile_store_first,
)

DEPTH = 256
"""Rows of B that are multiplied before the next tile of C comes: what of B a tile reads should stay in the cache."""


class Matrix(NamedTuple):
    """A matrix inside a flat array: element (p, q) is array[at + p * down + q * right]."""

    array: Array
    at: int
    down: int
    right: int


def _tile(rows: int, vectors: int) -> Any:
    """A function that adds the terms r0 .. r1 - 1 to the tile of C whose corner is (p, q).

    They are added to what is in C with `add`, else to `start_p`.
    """

    @function
    def add_terms(A: Matrix, B: Matrix, C: Matrix, start: Matrix, p: int, q: int, r0: int, r1: int, add: bool) -> None:
        a, b, c = A.at + p * A.down + r0 * A.right, B.at + r0 * B.down + q, C.at + p * C.down + q
        if add:
            acc = tile_load(C.array, c, C.down, rows, vectors)
        else:
            acc = tile_from_column(start.array, start.at + p * start.down, start.down, rows, vectors)
        for _r in range(r0, r1):
            acc = tile_add_outer(acc, A.array, a, A.down, B.array, b)  # C_pq += A_pr B_rq
            a += A.right
            b += B.down
        tile_store(acc, C.array, c, C.down)

    return add_terms


def _narrow_tile(rows: int) -> Any:
    """The same for one vector of columns, of which `columns` are inside."""

    @function
    def add_terms(
        A: Matrix, B: Matrix, C: Matrix, start: Matrix, p: int, q: int, r0: int, r1: int, add: bool, columns: int
    ) -> None:
        a, b, c = A.at + p * A.down + r0 * A.right, B.at + r0 * B.down + q, C.at + p * C.down + q
        if add:
            acc = tile_load_first(C.array, c, C.down, rows, columns, rows, 1)
        else:
            acc = tile_from_column(start.array, start.at + p * start.down, start.down, rows, 1)
        for _r in range(r0, r1):
            acc = tile_add_outer_first(acc, A.array, a, A.down, B.array, b, columns)  # C_pq += A_pr B_rq
            a += A.right
            b += B.down
        tile_store_first(acc, C.array, c, C.down, rows, columns)

    return add_terms


def _panel(vectors: int) -> Any:
    """A function that adds terms to `vectors` vectors of columns of C, all rows."""
    many, two, one = (_tile(rows, vectors) for rows in (TILE_ROWS, 2, 1))

    @function
    def add_terms(A: Matrix, B: Matrix, C: Matrix, start: Matrix, P: int, q: int, r0: int, r1: int, add: bool) -> None:
        p = 0
        while p + TILE_ROWS <= P:
            many(A, B, C, start, p, q, r0, r1, add)
            p += TILE_ROWS
        while p + 2 <= P:
            two(A, B, C, start, p, q, r0, r1, add)
            p += 2
        if p < P:
            one(A, B, C, start, p, q, r0, r1, add)

    return add_terms


wide = _panel(TILE_VECTORS)
double = _panel(2)
narrow_many, narrow_two, narrow_one = (_narrow_tile(rows) for rows in (TILE_ROWS, 2, 1))


@function
def narrow(
    A: Matrix, B: Matrix, C: Matrix, start: Matrix, P: int, q: int, r0: int, r1: int, add: bool, columns: int
) -> None:
    """Add terms to one vector of columns of C, of which `columns` are inside, all rows."""
    p = 0
    while p + TILE_ROWS <= P:
        narrow_many(A, B, C, start, p, q, r0, r1, add, columns)
        p += TILE_ROWS
    while p + 2 <= P:
        narrow_two(A, B, C, start, p, q, r0, r1, add, columns)
        p += 2
    if p < P:
        narrow_one(A, B, C, start, p, q, r0, r1, add, columns)


@function
def product(A: Matrix, B: Matrix, C: Matrix, start: Matrix, P: int, Q: int, R: int, add: bool) -> None:
    """C_pq = start_p + Σ_r A_pr B_rq for p < P, q < Q, r < R; with `add`, what is in C takes the place of start_p."""
    width = lanes(B.array)
    for r0 in range(0, R, DEPTH):
        r1, more = min(R, r0 + DEPTH), add or r0 > 0
        q = 0
        while q + TILE_VECTORS * width <= Q:
            wide(A, B, C, start, P, q, r0, r1, more)
            q += TILE_VECTORS * width
        while q + 2 * width <= Q:
            double(A, B, C, start, P, q, r0, r1, more)
            q += 2 * width
        while q < Q:
            narrow(A, B, C, start, P, q, r0, r1, more, min(width, Q - q))
            q += width
