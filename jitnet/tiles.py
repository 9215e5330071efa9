"""Register tiles as Numba values: the accumulators of a product of matrices.

LLVM keeps the accumulators of plain loops in memory. Here a `Tile` is `rows` x `vectors` vectors held as ONE value that
LLVM splits into registers, so that a product of matrices stays a loop of three lines:

    acc = tile_zeros(C, TILE_ROWS, TILE_VECTORS)
    for r in range(n):
        acc = tile_add_outer(acc, A, a + r * step, stride, B, b + r * width)    # C_pq += A_pr B_rq
    tile_store(acc, C, c, ldc)

p, q, v    row of a tile, column of a tile, vector of a row (column q is lane q % lanes of vector q // lanes)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core.errors import TypingError
from numba.extending import register_model

from jitnet.registers import (
    PrimitiveModel,
    Vector,
    element,
    first_lanes,
    intrinsic,
    load_code,
    multiply_add_code,
    same_dtype,
    spread,
    store_code,
    vector_like,
)


class Tile(types.Type):
    """`rows` x `vectors` vectors of `dtype`: the accumulators of a product of matrices, all in registers."""

    def __init__(self, dtype: types.Float, rows: int, vectors: int) -> None:
        self.vector, self.rows, self.vectors = Vector(dtype), rows, vectors
        super().__init__(f"Tile({dtype}, {rows} x {vectors} x {self.vector.lanes})")

    def places(self) -> list[tuple[int, int, int]]:
        """(row, vector, place in the value) of every vector."""
        return [(p, v, p * self.vectors + v) for p in range(self.rows) for v in range(self.vectors)]


@register_model(Tile)
class _TileModel(PrimitiveModel):
    def __init__(self, manager: Any, tile: Tile) -> None:
        super().__init__(manager, tile, ir.ArrayType(tile.vector.llvm, tile.rows * tile.vectors))


def _tile_like(array: Any, rows: Any, vectors: Any) -> Tile:
    for number in (rows, vectors):
        if not isinstance(number, types.IntegerLiteral):
            raise TypingError(f"{number}: the rows and vectors of a tile are constants")
    return Tile(vector_like(array).dtype, rows.literal_value, vectors.literal_value)


def _tile(value: Any) -> Tile:
    if not isinstance(value, Tile):
        raise TypingError(f"{value}: a tile is wanted")
    return value


def _build(context: Any, builder: Any, tile: Tile, vector_at: Callable[[int, int], Any]) -> Any:
    value = ir.Constant(context.get_value_type(tile), ir.Undefined)
    for p, v, place in tile.places():
        value = builder.insert_value(value, vector_at(p, v), place)
    return value


def _tile_address(context: Any, builder: Any, tile: Tile, array: Any, value: Any, at: Any, stride: Any) -> Any:
    """A function from (p, v) to the address of array[at + p * stride + v * lanes]."""

    def address(p: int, v: int) -> Any:
        index = builder.add(at, builder.mul(stride, ir.Constant(stride.type, p)))
        index = builder.add(index, ir.Constant(at.type, v * tile.vector.lanes))
        return element(context, builder, array, value, index)

    return address


def _tile_masks(builder: Any, tile: Tile, rows: Any, columns: Any) -> Callable[[int, int], Any]:
    """A function from (p, v) to the mask of what lies inside the first `rows` x `columns`."""

    def mask(p: int, v: int) -> Any:
        count = builder.sub(columns, ir.Constant(columns.type, v * tile.vector.lanes))
        inside = first_lanes(builder, tile.vector, count)
        row_inside = builder.icmp_signed("<", ir.Constant(rows.type, p), rows)
        return builder.select(row_inside, inside, ir.Constant(inside.type, None))

    return mask


@intrinsic(prefer_literal=True)
def tile_zeros(typingctx: Any, like: Any, rows: Any, vectors: Any) -> Any:
    """A tile of zeros of the dtype of `like`; rows and vectors are constants (usually TILE_ROWS and TILE_VECTORS)."""
    tile = _tile_like(like, rows, vectors)

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return ir.Constant(context.get_value_type(tile), None)

    return tile(like, rows, vectors), code


@intrinsic(prefer_literal=True)
def tile_from_row(typingctx: Any, A: Any, a: Any, rows: Any, vectors: Any) -> Any:
    """The tile whose rows are all A[a], A[a + 1], ...: a bias for each column."""
    tile = _tile_like(A, rows, vectors)

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        none = ir.Constant(args[1].type, 0)
        address = _tile_address(context, builder, tile, A, args[0], args[1], none)
        row = [load_code(builder, tile.vector, address(0, v)) for v in range(tile.vectors)]
        return _build(context, builder, tile, lambda p, v: row[v])

    return tile(A, types.intp, rows, vectors), code


@intrinsic(prefer_literal=True)
def tile_from_column(typingctx: Any, A: Any, a: Any, stride: Any, rows: Any, vectors: Any) -> Any:
    """The tile whose row p is A[a + p * stride] in every column: a bias for each row."""
    tile = _tile_like(A, rows, vectors)

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        address = _tile_address(context, builder, tile, A, *args[:3])
        column = [spread(builder, builder.load(address(p, 0)), tile.vector.lanes) for p in range(tile.rows)]
        return _build(context, builder, tile, lambda p, v: column[p])

    return tile(A, types.intp, types.intp, rows, vectors), code


@intrinsic(prefer_literal=True)
def tile_load(typingctx: Any, A: Any, a: Any, stride: Any, rows: Any, vectors: Any) -> Any:
    """The tile A[a + p * stride + q]."""
    tile = _tile_like(A, rows, vectors)

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        address = _tile_address(context, builder, tile, A, *args[:3])
        return _build(context, builder, tile, lambda p, v: load_code(builder, tile.vector, address(p, v)))

    return tile(A, types.intp, types.intp, rows, vectors), code


@intrinsic(prefer_literal=True)
def tile_load_first(
    typingctx: Any, A: Any, a: Any, stride: Any, rows_inside: Any, columns_inside: Any, rows: Any, vectors: Any
) -> Any:
    """`tile_load` of the first rows_inside x columns_inside, zeros elsewhere; memory outside is not touched."""
    tile = _tile_like(A, rows, vectors)

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        address = _tile_address(context, builder, tile, A, *args[:3])
        mask = _tile_masks(builder, tile, *args[3:5])
        return _build(context, builder, tile, lambda p, v: load_code(builder, tile.vector, address(p, v), mask(p, v)))

    intp = types.intp
    return tile(A, intp, intp, intp, intp, rows, vectors), code


@intrinsic
def tile_store(typingctx: Any, acc: Any, C: Any, c: Any, stride: Any) -> Any:
    """C[c + p * stride + q] = acc[p, q]."""
    tile = _tile(acc)
    same_dtype(tile.vector, C, writable=True)

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        address = _tile_address(context, builder, tile, C, *args[1:])
        for p, v, place in tile.places():
            store_code(builder, tile.vector, address(p, v), builder.extract_value(args[0], place))
        return context.get_dummy_value()

    return types.void(acc, C, types.intp, types.intp), code


@intrinsic
def tile_store_first(
    typingctx: Any, acc: Any, C: Any, c: Any, stride: Any, rows_inside: Any, columns_inside: Any
) -> Any:
    """`tile_store` of the first rows_inside x columns_inside; memory outside is not touched."""
    tile = _tile(acc)
    same_dtype(tile.vector, C, writable=True)

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        address = _tile_address(context, builder, tile, C, *args[1:4])
        mask = _tile_masks(builder, tile, *args[4:])
        for p, v, place in tile.places():
            store_code(builder, tile.vector, address(p, v), builder.extract_value(args[0], place), mask(p, v))
        return context.get_dummy_value()

    intp = types.intp
    return types.void(acc, C, intp, intp, intp, intp), code


def _add_outer(tile: Tile, mask_of: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """The code of acc[p, q] + A[a + p * stride] * B[b + q], B loaded under a mask or whole."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        acc, A_value, a, stride, B_value, b = args[:6]
        A, B, vector = signature.args[1], signature.args[4], tile.vector
        row = _tile_address(context, builder, tile, B, B_value, b, ir.Constant(b.type, 0))
        column = _tile_address(context, builder, tile, A, A_value, a, stride)
        y = [load_code(builder, vector, row(0, v), mask_of(builder, args)) for v in range(tile.vectors)]
        for p in range(tile.rows):
            w = spread(builder, builder.load(column(p, 0)), vector.lanes)
            for v in range(tile.vectors):
                place = p * tile.vectors + v
                total = multiply_add_code(builder, vector, w, y[v], builder.extract_value(acc, place))
                acc = builder.insert_value(acc, total, place)
        return acc

    return code


@intrinsic
def tile_add_outer(typingctx: Any, acc: Any, A: Any, a: Any, stride: Any, B: Any, b: Any) -> Any:
    """acc[p, q] + A[a + p * stride] * B[b + q], one rounding each where the host has the instruction."""
    tile = _tile(acc)
    same_dtype(tile.vector, A, B)
    code = _add_outer(tile, lambda builder, args: None)
    return acc(acc, A, types.intp, types.intp, B, types.intp), code


@intrinsic
def tile_add_outer_first(typingctx: Any, acc: Any, A: Any, a: Any, stride: Any, B: Any, b: Any, count: Any) -> Any:
    """`tile_add_outer` of a tile one vector wide, of whose columns `count` are inside B; no others are read."""
    tile = _tile(acc)
    if tile.vectors != 1:
        raise TypingError(f"{tile}: a tile one vector wide is wanted")
    same_dtype(tile.vector, A, B)
    code = _add_outer(tile, lambda builder, args: first_lanes(builder, tile.vector, args[6]))
    return acc(acc, A, types.intp, types.intp, B, types.intp, types.intp), code
