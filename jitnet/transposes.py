"""Blocks of lanes x lanes transposed in registers: how rows of memory become columns of a panel, and the way back.

p, q    row, column of a block of A (column, row of one of B)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core.errors import TypingError

from jitnet.registers import (
    BITS,
    Vector,
    element,
    first_lanes,
    intrinsic,
    load_code,
    same_dtype,
    store_code,
    vector_like,
)

_I32 = ir.IntType(32)


def _exchange(n: int, s: int) -> tuple[list[int], list[int]]:
    """Which lanes of two vectors, of n each, make the two in which lanes s apart of both have met.

    Lane l of the new ones is l and l + s of the first where bit s of l is not set, else l - s and l of the second.
    """
    low = [lane if not lane & s else n + (lane ^ s) for lane in range(n)]
    high = [lane | s if not lane & s else n + lane for lane in range(n)]
    return low, high


def _exchange_blocks(builder: Any, block: list[Any], lanes: int) -> None:
    """Transpose, in place, each block of as many lanes as there are vectors."""
    s = len(block) // 2
    while s:
        upper, lower = _exchange(lanes, s)
        for p in (p for p in range(len(block)) if not p & s):
            pair = block[p], block[p + s]
            for row, picks in ((p, upper), (p + s, lower)):
                block[row] = builder.shuffle_vector(*pair, ir.Constant(ir.VectorType(_I32, lanes), picks))
        s //= 2


def _transposed(
    context: Any, builder: Any, vector: Vector, A: Any, A_value: Any, starts: list[Any], rows: Any, columns: Any,
    B: Any, B_value: Any, b: Any, width: Any, masked: bool,
) -> None:  # fmt: skip
    """The code of the three functions below: row p of A begins at starts[p]."""
    n = vector.lanes

    def mask(p: int, rows: Any, columns: Any) -> Any:
        inside = first_lanes(builder, vector, columns)
        row_inside = builder.icmp_signed("<", ir.Constant(rows.type, p), rows)
        return builder.select(row_inside, inside, ir.Constant(inside.type, None))

    block = []
    for p, start in enumerate(starts):
        block.append(load_code(builder, vector, element(context, builder, A, A_value, start), mask(p, rows, columns)))
    _exchange_blocks(builder, block, n)
    for q in range(n):
        at = builder.add(b, builder.mul(ir.Constant(width.type, q), width))
        address = element(context, builder, B, B_value, at)
        store_code(builder, vector, address, block[q], mask(q, columns, rows) if masked else None)


def _transpose(masked: bool) -> Callable[..., Any]:
    """The typing function of `transpose`, and of `transpose_inside` with masked stores."""

    def typing(typingctx: Any, A: Any, a: Any, stride: Any, rows: Any, columns: Any, B: Any, b: Any, width: Any) -> Any:
        vector = vector_like(A)
        same_dtype(vector, B, writable=True)

        def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            A_value, a, stride, rows, columns, B_value, b, width = args
            starts = [builder.add(a, builder.mul(ir.Constant(stride.type, p), stride)) for p in range(vector.lanes)]
            _transposed(context, builder, vector, A, A_value, starts, rows, columns, B, B_value, b, width, masked)
            return context.get_dummy_value()

        intp = types.intp
        return types.void(A, intp, intp, intp, intp, B, intp, intp), code

    return typing


@intrinsic
def transpose(typingctx: Any, A: Any, a: Any, stride: Any, rows: Any, columns: Any, B: Any, b: Any, width: Any) -> Any:
    """B[b + q * width + p] = A[a + p * stride + q] for one block of lanes x lanes, in registers.

    Of A, only `rows` x `columns` are read and the rest counts as zero; B is written whole. log2(lanes) rounds, of which
    round s exchanges the off-diagonal s x s blocks of rows p and p + s: 0.16 ns an element in float32 with AVX-512.
    """
    return _transpose(masked=False)(typingctx, A, a, stride, rows, columns, B, b, width)


@intrinsic
def transpose_inside(
    typingctx: Any, A: Any, a: Any, stride: Any, rows: Any, columns: Any, B: Any, b: Any, width: Any
) -> Any:
    """`transpose` that writes only the `columns` x `rows` of B that come from inside A."""
    return _transpose(masked=True)(typingctx, A, a, stride, rows, columns, B, b, width)


@intrinsic
def transpose_rows(
    typingctx: Any, A: Any, order: Any, first: Any, stride: Any, column: Any, rows: Any, columns: Any, B: Any, b: Any,
    width: Any,
) -> Any:  # fmt: skip
    """`transpose` of rows that lie anywhere: row p is A[order[first + p] * stride + column], ...; rows >= 1."""
    vector = vector_like(A)
    same_dtype(vector, B, writable=True)
    if not isinstance(order, types.Array) or order.dtype != types.intp:
        raise TypingError(f"{order}: an array of whole numbers is wanted")

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        A_value, order_value, first, stride, column, rows, columns, B_value, b, width = args
        last = builder.sub(rows, ir.Constant(rows.type, 1))
        starts = []
        for p in range(vector.lanes):
            row = ir.Constant(last.type, p)
            row = builder.add(first, builder.select(builder.icmp_signed("<", row, last), row, last))
            row = builder.load(element(context, builder, order, order_value, row))
            starts.append(builder.add(builder.mul(row, stride), column))
        _transposed(context, builder, vector, A, A_value, starts, rows, columns, B, B_value, b, width, masked=False)
        return context.get_dummy_value()

    intp = types.intp
    return types.void(A, order, intp, intp, intp, intp, intp, B, intp, intp), code


SHORT = min(4, BITS // 64)
"""Numbers of a row that `transpose_short_rows` takes at most: 4, but on hosts whose vectors have 2 of float64."""


@intrinsic
def transpose_short_rows(
    typingctx: Any, A: Any, order: Any, first: Any, stride: Any, column: Any, rows: Any, columns: Any, B: Any, b: Any,
    width: Any,
) -> Any:  # fmt: skip
    """`transpose_rows` of at most SHORT columns, which writes SHORT rows of B; rows and columns >= 1.

    A vector is put together from the rows k, k + SHORT, k + 2 SHORT, ... of A, and then blocks of SHORT x SHORT are
    transposed in all of them at once: a few shuffles where `transpose_rows` has lanes * log2(lanes).
    """
    vector = vector_like(A)
    same_dtype(vector, B, writable=True)
    if not isinstance(order, types.Array) or order.dtype != types.intp:
        raise TypingError(f"{order}: an array of whole numbers is wanted")
    part = Vector(vector.dtype, SHORT)

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        A_value, order_value, first, stride, column, rows, columns, B_value, b, width = args
        last = builder.sub(rows, ir.Constant(rows.type, 1))
        inside = first_lanes(builder, part, columns)

        def row_of(p: int) -> Any:
            row = ir.Constant(last.type, p)
            row = builder.add(first, builder.select(builder.icmp_signed("<", row, last), row, last))
            row = builder.load(element(context, builder, order, order_value, row))
            at = builder.add(builder.mul(row, stride), column)
            return load_code(builder, part, element(context, builder, A, A_value, at), inside)

        block = []
        for k in range(SHORT):
            pieces = [row_of(p) for p in range(k, vector.lanes, SHORT)]
            while len(pieces) > 1:
                size = 2 * pieces[0].type.count
                all_lanes = ir.Constant(ir.VectorType(_I32, size), list(range(size)))
                halves = zip(pieces[::2], pieces[1::2], strict=True)
                pieces = [builder.shuffle_vector(low, high, all_lanes) for low, high in halves]
            block.append(pieces[0])
        _exchange_blocks(builder, block, vector.lanes)
        there = first_lanes(builder, vector, rows)
        for q in range(SHORT):
            at = builder.add(b, builder.mul(ir.Constant(width.type, q), width))
            value = builder.select(there, block[q], ir.Constant(vector.llvm, None))
            store_code(builder, vector, element(context, builder, B, B_value, at), value)
        return context.get_dummy_value()

    intp = types.intp
    return types.void(A, order, intp, intp, intp, intp, intp, B, intp, intp), code
