"""Register tiles as Numba values: the accumulators of a product of matrices.

LLVM keeps the accumulators of plain loops in memory. Here a `Tile` is `rows` x `vectors` vectors held as ONE value that
LLVM splits into registers, so that a product of matrices stays a loop of three lines:

    acc = tile_zeros(C, TILE_ROWS, TILE_VECTORS)
    for r in range(n):
        acc = tile_add_outer(acc, A, a + r * step, stride, inside, B, b + r * width)    # C_pq += A_pr B_rq
    tile_store(acc, C, c, ldc, inside)

Of a tile at the lower edge of C only the first `inside` rows are there. The rows below repeat the last of them: they
read what it reads and write what it writes, so that an edge needs no other code and no padding. Only where the whole
lower half of a tile is not there, it is not multiplied and not written: ten neurons are a tile and a half.

p, q, v    row of a tile, column of a tile, vector of a row (column q is lane q % lanes of vector q // lanes)
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core.errors import TypingError
from numba.extending import register_model

from jitnet.registers import (
    EXPLICIT,
    PrimitiveModel,
    Vector,
    element,
    first_lanes,
    intrinsic,
    lane_sums_code,
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


def _starts(builder: Any, rows: int, at: Any, stride: Any, inside: Any) -> list[Any]:
    """at + p * stride of every row p, the last one inside for those below it: no work in a loop that it is fixed in.

    Of columns too, where these are vectors.
    """
    last = builder.sub(inside, ir.Constant(inside.type, 1))
    starts = []
    for p in range(rows):
        row = ir.Constant(last.type, p)
        row = builder.select(builder.icmp_signed("<", row, last), row, last)
        starts.append(builder.add(at, builder.mul(stride, row)))
    return starts


def _halves(tile: Tile) -> tuple[range, range]:
    """The rows of a tile's upper half and of its lower one, which smaller tiles have not: 16 registers would not do."""
    half = tile.rows // 2 if tile.rows == 8 else tile.rows
    return range(half), range(half, tile.rows)


def _reaches(builder: Any, inside: Any, lower: range) -> Any:
    """Whether any row of the lower half is inside."""
    return builder.icmp_signed(">", inside, ir.Constant(inside.type, lower.start))


def _column(context: Any, builder: Any, array: Any, value: Any, starts: list[Any], lanes: int) -> list[Any]:
    """One element of every row, broadcast."""
    return [spread(builder, builder.load(element(context, builder, array, value, at)), lanes) for at in starts]


@intrinsic(prefer_literal=True)
def tile_zeros(typingctx: Any, like: Any, rows: Any, vectors: Any) -> Any:
    """A tile of zeros of the dtype of `like`; rows and vectors are constants (usually TILE_ROWS and TILE_VECTORS)."""
    tile = _tile_like(like, rows, vectors)

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return ir.Constant(context.get_value_type(tile), None)

    return tile(like, rows, vectors), code


@intrinsic(prefer_literal=True)
def tile_from_column(typingctx: Any, A: Any, a: Any, stride: Any, inside: Any, rows: Any, vectors: Any) -> Any:
    """The tile whose row p is A[a + p * stride] in every column: a bias for each row."""
    tile = _tile_like(A, rows, vectors)

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        starts = _starts(builder, tile.rows, *args[1:4])
        column = _column(context, builder, A, args[0], starts, tile.vector.lanes)
        value = ir.Constant(context.get_value_type(tile), ir.Undefined)
        for p, _, place in tile.places():
            value = builder.insert_value(value, column[p], place)
        return value

    return tile(A, types.intp, types.intp, types.intp, rows, vectors), code


def _places_of_row(builder: Any, tile: Tile, start: Any) -> list[Any]:
    return [builder.add(start, ir.Constant(start.type, v * tile.vector.lanes)) for v in range(tile.vectors)]


@intrinsic(prefer_literal=True)
def tile_load(typingctx: Any, C: Any, c: Any, stride: Any, inside: Any, rows: Any, vectors: Any) -> Any:
    """The tile C[c + p * stride + q], its last row inside repeated: what `tile_store` wrote, to go on with."""
    tile = _tile_like(C, rows, vectors)

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        value = ir.Constant(context.get_value_type(tile), ir.Undefined)
        for p, start in enumerate(_starts(builder, tile.rows, *args[1:4])):
            for v, at in enumerate(_places_of_row(builder, tile, start)):
                loaded = load_code(builder, tile.vector, element(context, builder, C, args[0], at))
                value = builder.insert_value(value, loaded, p * tile.vectors + v)
        return value

    return tile(C, types.intp, types.intp, types.intp, rows, vectors), code


@intrinsic
def tile_store(typingctx: Any, acc: Any, C: Any, c: Any, stride: Any, inside: Any) -> Any:
    """C[c + p * stride + q] = acc[p, q] for the rows inside, as many as acc was made with."""
    tile = _tile(acc)
    same_dtype(tile.vector, C, writable=True)

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        starts = _starts(builder, tile.rows, *args[2:])

        def store(rows: range) -> None:
            for p in rows:
                for v, at in enumerate(_places_of_row(builder, tile, starts[p])):
                    value = builder.extract_value(args[0], p * tile.vectors + v)
                    store_code(builder, tile.vector, element(context, builder, C, args[1], at), value)

        upper, lower = _halves(tile)
        store(upper)
        if lower:
            with builder.if_then(_reaches(builder, args[4], lower)):
                store(lower)
        return context.get_dummy_value()

    return types.void(acc, C, types.intp, types.intp, types.intp), code


@intrinsic
def tile_add_outer(typingctx: Any, acc: Any, A: Any, a: Any, stride: Any, inside: Any, B: Any, b: Any) -> Any:
    """acc[p, q] + A[a + p * stride] * B[b + q], one rounding each where the host has the instruction.

    A lower half that is not inside stays as it is.
    """
    tile = _tile(acc)
    same_dtype(tile.vector, A, B)

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        acc, A_value, a, stride, inside, B_value, b = args
        places = _places_of_row(builder, tile, b)
        y = [load_code(builder, tile.vector, element(context, builder, B, B_value, at)) for at in places]
        starts = _starts(builder, tile.rows, a, stride, inside)

        def add(acc: Any, rows: range) -> Any:
            column = _column(context, builder, A, A_value, [starts[p] for p in rows], tile.vector.lanes)
            for p, w in zip(rows, column, strict=True):
                for v in range(tile.vectors):
                    place = p * tile.vectors + v
                    total = multiply_add_code(builder, tile.vector, w, y[v], builder.extract_value(acc, place))
                    acc = builder.insert_value(acc, total, place)
            return acc

        upper, lower = _halves(tile)
        acc = add(acc, upper)
        if not lower:
            return acc
        without = builder.block
        with builder.if_then(_reaches(builder, inside, lower)):
            whole, with_lower = add(acc, lower), builder.block
        either = builder.phi(acc.type)
        either.add_incoming(acc, without)
        either.add_incoming(whole, with_lower)
        return either

    return acc(acc, A, types.intp, types.intp, types.intp, B, types.intp), code


@intrinsic
def tile_add_products(
    typingctx: Any, acc: Any, A: Any, a: Any, a_stride: Any, rows: Any, B: Any, b: Any, b_stride: Any, columns: Any
) -> Any:
    """acc[p, v] + A[a + p * a_stride ...] * B[b + v * b_stride ...], lane by lane: the lanes are parts of one sum.

    Of the tile's rows p and vectors v only the first `rows` and `columns` are there; the others repeat the last.
    """
    tile = _tile(acc)
    same_dtype(tile.vector, A, B)

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        acc, A_value, a, a_stride, rows, B_value, b, b_stride, columns = args
        left, right = (
            [load_code(builder, tile.vector, element(context, builder, array, value, at)) for at in starts]
            for array, value, starts in (
                (A, A_value, _starts(builder, tile.rows, a, a_stride, rows)),
                (B, B_value, _starts(builder, tile.vectors, b, b_stride, columns)),
            )
        )
        for p, v, place in tile.places():
            total = multiply_add_code(builder, tile.vector, left[p], right[v], builder.extract_value(acc, place))
            acc = builder.insert_value(acc, total, place)
        return acc

    intp = types.intp
    return acc(acc, A, intp, intp, intp, B, intp, intp, intp), code


@intrinsic
def tile_add_rows(typingctx: Any, acc: Any, B: Any, b: Any, stride: Any, columns: Any) -> Any:
    """acc[0, v] + B[b + v * stride ...], lane by lane, for a tile of one row; `columns` as in `tile_add_products`."""
    tile = _tile(acc)
    same_dtype(tile.vector, B)
    if tile.rows != 1:
        raise TypingError(f"{tile}: a tile of one row is wanted")

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        acc, B_value, b, stride, columns = args
        for v, at in enumerate(_starts(builder, tile.vectors, b, stride, columns)):
            row = load_code(builder, tile.vector, element(context, builder, B, B_value, at))
            acc = builder.insert_value(acc, builder.fadd(builder.extract_value(acc, v), row, flags=EXPLICIT), v)
        return acc

    return acc(acc, B, types.intp, types.intp, types.intp), code


@intrinsic
def tile_store_lane_sums(typingctx: Any, acc: Any, C: Any, c: Any, stride: Any, rows: Any, columns: Any) -> Any:
    """C[c + p * stride + v] = the sum of the lanes of acc[p, v], for the `rows` and `columns` inside.

    As many vectors as there are lanes become one, or all if they are fewer, whose lane l is the sum of the l-th:
    log2(lanes) rounds, of which round s adds lanes s apart. The order is that of `lane_sum`, always.
    """
    tile = _tile(acc)
    same_dtype(tile.vector, C, writable=True)
    count = tile.rows * tile.vectors
    block = min(tile.vector.lanes, count)  # vectors that become one
    part = Vector(tile.vector.dtype, min(block, tile.vectors))  # of it what lies side by side in C
    if tile.rows & (tile.rows - 1) or tile.vectors & (tile.vectors - 1):
        raise TypingError(f"{tile}: rows and vectors that are powers of two are wanted")

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        acc, C_value, c, stride, rows, columns = args
        starts = _starts(builder, tile.rows, c, stride, rows)

        def store(sums: Any, first: int, masked: bool) -> None:
            for lane in range(0, block, part.lanes):
                p, v = divmod(first + lane, tile.vectors)
                lanes = ir.Constant(ir.VectorType(ir.IntType(32), part.lanes), list(range(lane, lane + part.lanes)))
                column = ir.Constant(c.type, v)
                address = element(context, builder, C, C_value, builder.add(starts[p], column))
                mask = first_lanes(builder, part, builder.sub(columns, column)) if masked else None
                store_code(builder, part, address, builder.shuffle_vector(sums, sums, lanes), mask)

        whole = builder.icmp_signed("==", columns, ir.Constant(c.type, tile.vectors))
        for first in range(0, count, block):
            sums = lane_sums_code(builder, tile.vector, [builder.extract_value(acc, first + k) for k in range(block)])
            with builder.if_else(whole) as (plainly, with_masks):  # which some hosts have no fast instruction for
                with plainly:
                    store(sums, first, masked=False)
                with with_masks:
                    store(sums, first, masked=True)
        return context.get_dummy_value()

    intp = types.intp
    return types.void(acc, C, intp, intp, intp, intp), code
