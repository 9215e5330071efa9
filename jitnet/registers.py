"""Vector registers and register tiles as Numba values.

Plain scalar loops reach an eighth of what a core can do: LLVM keeps their accumulators in memory and picks short
vectors. Here a `Vector` is one register, and a `Tile` is `rows` x `vectors` of them held as ONE value that LLVM splits
into registers, so that a product of matrices stays a loop of three lines:

    acc = tile_zeros(C, TILE_ROWS, TILE_VECTORS)
    for r in range(n):
        acc = tile_add_outer(acc, A, a + r * step, stride, B, b + r * width)    # C_pq += A_pr B_rq
    tile_store(acc, C, c, ldc)

Vectors take +, -, *, /, unary minus, comparisons (which give a `Mask`; masks take &, | and ~) and the functions below;
a number beside a vector is broadcast. Arrays are C-contiguous and are read and written through their data pointer: `at`
counts elements from the first one, whatever the array's shape, and nothing is checked (Numba's own `A[i]` adds a test
for a negative index). All functions here are for compiled code only.

lanes      elements of one vector: BITS / 64 float64, BITS / 32 float32
p, q, v    row of a tile, column of a tile, vector of a row (column q is lane q % lanes of vector q // lanes)
"""

from __future__ import annotations

import operator
import platform
from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import extending, types
from numba.core import config
from numba.core.errors import TypingError
from numba.extending import models, register_model


def _host_features() -> set[str]:
    """The instruction sets that Numba compiles for: NUMBA_CPU_FEATURES if set, else the host's."""
    chosen: str | None = getattr(config, "CPU_FEATURES", None)
    if chosen is not None:
        return {name[1:] for name in chosen.split(",") if name.startswith("+")}
    hidden = () if getattr(config, "ENABLE_AVX", True) else ("avx", "fma")
    return {name for name, there in llvm.get_host_cpu_features().items() if there and not name.startswith(hidden)}


def _shape_of_host(features: set[str], machine: str) -> tuple[int, bool, int, int]:
    """Bits of a register, whether it multiplies and adds in one rounding, and the tile's rows and vectors.

    A tile leaves room for the vectors of one row of B, one broadcast element of A, and little to spare.
    """
    if "avx512f" in features:
        return 512, True, 6, 4  # 32 registers: 24 + 4 + 1; 8 x 3 is close, 12 x 2 and 14 x 2 are worse
    if machine.lower() in ("arm64", "aarch64"):
        return 128, True, 8, 3  # 32 registers: 24 + 3 + 1
    if {"avx2", "fma"} <= features:
        return 256, True, 6, 2  # 16 registers: 12 + 2 + 1
    return 128, False, 4, 2  # 16 registers, and every product needs one of its own before it is added


BITS, FUSED, TILE_ROWS, TILE_VECTORS = _shape_of_host(_host_features(), platform.machine())
"""Bits of a register; whether `multiply_add` rounds once; rows and vectors of the tile that fills the registers."""

EXPLICIT = ("afn",)
"""The flag of every instruction here. It has no effect on arithmetic, and that is its use: Numba adds the caller's
fast-math flags to instructions that have none, and under `reassoc` (x + c) - c becomes x, which breaks `vectormath`."""

# Numba's own types of these describe the typing side of an intrinsic, not the call of it in compiled code.
intrinsic: Any = extending.intrinsic
_lower_builtin: Any = extending.lower_builtin
_type_callable: Any = extending.type_callable
_PrimitiveModel: Any = models.PrimitiveModel

_I32 = ir.IntType(32)


# --- types ----------------------------------------------------------------------------------------------------------


class Vector(types.Type):
    """`lanes` elements of `dtype` (float32 or float64): one register."""

    def __init__(self, dtype: types.Float) -> None:
        self.dtype, self.bits, self.lanes = dtype, dtype.bitwidth, BITS // dtype.bitwidth
        super().__init__(f"Vector({dtype} x {self.lanes})")

    @property
    def llvm(self) -> ir.VectorType:
        """The vector as LLVM's type."""
        return ir.VectorType(ir.FloatType() if self.bits == 32 else ir.DoubleType(), self.lanes)

    @property
    def llvm_bits(self) -> ir.VectorType:
        """The integers of the same width, for work on exponents and signs."""
        return ir.VectorType(ir.IntType(self.bits), self.lanes)

    @property
    def suffix(self) -> str:
        """How LLVM's intrinsics name the type."""
        return f"v{self.lanes}f{self.bits}"


class Mask(types.Type):
    """`lanes` truth values: what a comparison of vectors gives."""

    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        super().__init__(f"Mask({lanes})")


class Tile(types.Type):
    """`rows` x `vectors` vectors of `dtype`: the accumulators of a product of matrices, all in registers."""

    def __init__(self, dtype: types.Float, rows: int, vectors: int) -> None:
        self.vector, self.rows, self.vectors = Vector(dtype), rows, vectors
        super().__init__(f"Tile({dtype}, {rows} x {vectors} x {self.vector.lanes})")

    def places(self) -> list[tuple[int, int, int]]:
        """(row, vector, place in the value) of every vector."""
        return [(p, v, p * self.vectors + v) for p in range(self.rows) for v in range(self.vectors)]


@register_model(Vector)
class _VectorModel(_PrimitiveModel):
    def __init__(self, manager: Any, vector: Vector) -> None:
        super().__init__(manager, vector, vector.llvm)


@register_model(Mask)
class _MaskModel(_PrimitiveModel):
    def __init__(self, manager: Any, mask: Mask) -> None:
        super().__init__(manager, mask, ir.VectorType(ir.IntType(1), mask.lanes))


@register_model(Tile)
class _TileModel(_PrimitiveModel):
    def __init__(self, manager: Any, tile: Tile) -> None:
        super().__init__(manager, tile, ir.ArrayType(tile.vector.llvm, tile.rows * tile.vectors))


# --- what intrinsics share ------------------------------------------------------------------------------------------


def vector_of(*arguments: Any) -> Vector:
    """The type of operands that are vectors of one type and numbers, for typing."""
    vector = _common(*arguments)
    if vector is None:
        raise TypingError(f"{arguments}: vectors of one type and numbers are wanted")
    return vector


def _common(*arguments: Any) -> Vector | None:
    """The same, or None where the operands are something else."""
    vectors = {each for each in arguments if isinstance(each, Vector)}
    others = [each for each in arguments if not isinstance(each, Vector)]
    return vectors.pop() if len(vectors) == 1 and all(isinstance(each, types.Number) for each in others) else None


def _vector_like(like: Any, writable: bool = False) -> Vector:
    """The vector type of the elements of an array (or of a float, or the vector itself)."""
    if isinstance(like, types.Array) and (like.layout != "C" or (writable and not like.mutable)):
        raise TypingError(f"{like}: a C-contiguous{' writable' if writable else ''} array is wanted")
    dtype = getattr(like, "dtype", like)
    if dtype not in (types.float32, types.float64):
        raise TypingError(f"{like}: registers hold float32 or float64")
    return Vector(dtype)


def _same_dtype(vector: Vector, *arrays: Any, writable: bool = False) -> None:
    for array in arrays:
        if not isinstance(array, types.Array) or _vector_like(array, writable) != vector:
            raise TypingError(f"{array}: an array of {vector.dtype} is wanted")


def constant(vector: Vector, value: float) -> ir.Constant:
    """A vector whose lanes are all `value`, for code generation."""
    return ir.Constant(vector.llvm, [ir.Constant(vector.llvm.element, value)] * vector.lanes)


def operands(context: Any, builder: Any, signature: Any, args: Any, vector: Vector) -> list[Any]:
    """The arguments as vectors, numbers broadcast, for code generation."""
    return [
        value if kind == vector else _spread(builder, context.cast(builder, value, kind, vector.dtype), vector.lanes)
        for kind, value in zip(signature.args, args, strict=True)
    ]


def elementwise(vector: Vector, emit: Callable[..., Any]) -> Callable[..., Any]:
    """The code generator emit(builder, *operands)."""
    return lambda context, builder, signature, args: emit(builder, *operands(context, builder, signature, args, vector))


def call_llvm(builder: Any, name: str, result: Any, *args: Any) -> Any:
    """Call the LLVM intrinsic `name`, for code generation."""
    known = builder.module.globals.get(name)
    kind = ir.FunctionType(result, [each.type for each in args])
    return builder.call(known if known is not None else ir.Function(builder.module, kind, name), args)


def multiply_add_code(builder: Any, vector: Vector, a: Any, b: Any, c: Any) -> Any:
    """a * b + c, for code generation; see `multiply_add`."""
    if FUSED:
        return call_llvm(builder, f"llvm.fma.{vector.suffix}", vector.llvm, a, b, c)
    return builder.fadd(builder.fmul(a, b, flags=EXPLICIT), c, flags=EXPLICIT)


def _spread(builder: Any, scalar: Any, lanes: int) -> Any:
    undefined = ir.Constant(ir.VectorType(scalar.type, lanes), ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.Constant(_I32, 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(_I32, lanes), [0] * lanes))


def _address(context: Any, builder: Any, array: Any, value: Any, at: Any) -> Any:
    return builder.gep(context.make_array(array)(context, builder, value).data, [at])


def _first_lanes(builder: Any, vector: Vector, count: Any) -> Any:
    """The mask of lanes 0 .. count - 1."""
    bits = vector.llvm_bits
    count = builder.trunc(count, bits.element) if count.type.width > vector.bits else count
    return builder.icmp_signed("<", ir.Constant(bits, list(range(vector.lanes))), _spread(builder, count, vector.lanes))


def _load(builder: Any, vector: Vector, address: Any, mask: Any = None) -> Any:
    align = vector.bits // 8
    address = builder.bitcast(address, vector.llvm.as_pointer())
    if mask is None:
        loaded = builder.load(address)
        loaded.align = align
        return loaded
    name, rest = f"llvm.masked.load.{vector.suffix}.p0", ir.Constant(vector.llvm, None)
    return call_llvm(builder, name, vector.llvm, address, ir.Constant(_I32, align), mask, rest)


def _store(builder: Any, vector: Vector, address: Any, value: Any, mask: Any = None) -> None:
    align = vector.bits // 8
    address = builder.bitcast(address, vector.llvm.as_pointer())
    if mask is None:
        builder.store(value, address).align = align
    else:
        name = f"llvm.masked.store.{vector.suffix}.p0"
        call_llvm(builder, name, ir.VoidType(), value, address, ir.Constant(_I32, align), mask)


# --- vectors: memory ------------------------------------------------------------------------------------------------


@intrinsic
def lanes(typingctx: Any, like: Any) -> Any:
    """Elements of a vector of the dtype of `like` (an array, a float or a vector), as a constant."""
    count = _vector_like(like).lanes
    return types.intp(like), lambda context, builder, signature, args: context.get_constant(types.intp, count)


@intrinsic
def broadcast(typingctx: Any, value: Any, like: Any) -> Any:
    """The vector of the dtype of `like` (an array, a float or a vector) whose lanes are all the number `value`."""
    vector = _vector_like(like)

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _spread(builder, context.cast(builder, args[0], signature.args[0], vector.dtype), vector.lanes)

    return vector(value, like), code


@intrinsic
def load(typingctx: Any, A: Any, at: Any) -> Any:
    """A[at], A[at + 1], ...: as many as a vector has lanes."""
    vector = _vector_like(A)

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _load(builder, vector, _address(context, builder, A, *args))

    return vector(A, types.intp), code


@intrinsic
def load_first(typingctx: Any, A: Any, at: Any, count: Any) -> Any:
    """Lanes 0 .. count - 1 from A[at] on, zeros behind; memory behind is not touched. Any count below 2^31 will do."""
    vector = _vector_like(A)

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        mask = _first_lanes(builder, vector, args[2])
        return _load(builder, vector, _address(context, builder, A, *args[:2]), mask)

    return vector(A, types.intp, types.intp), code


@intrinsic
def store(typingctx: Any, x: Any, A: Any, at: Any) -> Any:
    """A[at + lane] = x[lane] for all lanes."""
    vector = vector_of(x)
    _same_dtype(vector, A, writable=True)

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _store(builder, vector, _address(context, builder, A, *args[1:]), args[0])
        return context.get_dummy_value()

    return types.void(x, A, types.intp), code


@intrinsic
def store_first(typingctx: Any, x: Any, A: Any, at: Any, count: Any) -> Any:
    """A[at + lane] = x[lane] for lanes 0 .. count - 1; memory behind is not touched. Any count below 2^31 will do."""
    vector = vector_of(x)
    _same_dtype(vector, A, writable=True)

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        mask = _first_lanes(builder, vector, args[3])
        _store(builder, vector, _address(context, builder, A, *args[1:3]), args[0], mask)
        return context.get_dummy_value()

    return types.void(x, A, types.intp, types.intp), code


# --- vectors: arithmetic --------------------------------------------------------------------------------------------


def _teach(
    op: Callable[..., Any], typer: Callable[..., Any], code: Callable[..., Any], *kinds: tuple[Any, ...]
) -> None:
    """Teach Numba a Python operator for these kinds of operands."""
    _type_callable(op)(lambda context: typer)
    for each in kinds:
        _lower_builtin(op, *each)(code)


def _teach_binary(op: Callable[..., Any], emit: Callable[..., Any], compares: bool = False) -> None:
    def typer(a: Any, b: Any) -> Any:
        vector = _common(a, b)
        return Mask(vector.lanes) if vector is not None and compares else vector

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return emit(builder, *operands(context, builder, signature, args, vector_of(*signature.args)))

    _teach(op, typer, code, (Vector, Vector), (Vector, types.Number), (types.Number, Vector))


def _comparison(sign: str) -> Callable[..., Any]:
    """Ordered (false for NaN), but for !=."""
    kind = "fcmp_unordered" if sign == "!=" else "fcmp_ordered"
    return lambda builder, a, b: getattr(builder, kind)(sign, a, b, flags=EXPLICIT)


def _same(kind: type) -> Callable[..., Any]:
    return lambda a, b=None: a if isinstance(a, kind) and (b is None or a == b) else None


def _instruction(name: str, **options: Any) -> Callable[..., Any]:
    return lambda context, builder, signature, args: getattr(builder, name)(*args, **options)


_teach_binary(operator.add, lambda builder, a, b: builder.fadd(a, b, flags=EXPLICIT))
_teach_binary(operator.sub, lambda builder, a, b: builder.fsub(a, b, flags=EXPLICIT))
_teach_binary(operator.mul, lambda builder, a, b: builder.fmul(a, b, flags=EXPLICIT))
_teach_binary(operator.truediv, lambda builder, a, b: builder.fdiv(a, b, flags=EXPLICIT))
_teach_binary(operator.lt, _comparison("<"), compares=True)
_teach_binary(operator.le, _comparison("<="), compares=True)
_teach_binary(operator.gt, _comparison(">"), compares=True)
_teach_binary(operator.ge, _comparison(">="), compares=True)
_teach_binary(operator.eq, _comparison("=="), compares=True)
_teach_binary(operator.ne, _comparison("!="), compares=True)
_teach(operator.neg, _same(Vector), _instruction("fneg"), (Vector,))
_teach(operator.and_, _same(Mask), _instruction("and_"), (Mask, Mask))
_teach(operator.or_, _same(Mask), _instruction("or_"), (Mask, Mask))
_teach(operator.invert, _same(Mask), _instruction("not_"), (Mask,))


@intrinsic
def multiply_add(typingctx: Any, a: Any, b: Any, c: Any) -> Any:
    """a * b + c. One rounding where the host has the instruction (`FUSED`), two where it has not.

    LLVM would call a library function for each lane of a fused product on such a host.
    """
    vector = vector_of(a, b, c)
    return vector(a, b, c), elementwise(vector, lambda builder, *abc: multiply_add_code(builder, vector, *abc))


@intrinsic
def select(typingctx: Any, mask: Any, a: Any, b: Any) -> Any:
    """a where the mask holds, b elsewhere; one of a and b may be a number."""
    vector = vector_of(a, b)
    if mask != Mask(vector.lanes):
        raise TypingError(f"{mask}: a mask of {vector.lanes} lanes is wanted")

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.select(args[0], *operands(context, builder, vector(a, b), args[1:], vector))

    return vector(mask, a, b), code


def _bounded(sign: str) -> Callable[..., Any]:
    """Selects `bound` where it lies on the given side of x: one instruction, as x86's min and max do the same."""
    return lambda builder, x, bound: builder.select(_comparison(sign)(builder, bound, x), bound, x)


@intrinsic
def minimum(typingctx: Any, x: Any, bound: Any) -> Any:
    """`bound` where bound < x, else x: a NaN in x stays, one in `bound` is passed over."""
    vector = vector_of(x, bound)
    return vector(x, bound), elementwise(vector, _bounded("<"))


@intrinsic
def maximum(typingctx: Any, x: Any, bound: Any) -> Any:
    """`bound` where bound > x, else x: a NaN in x stays, one in `bound` is passed over."""
    vector = vector_of(x, bound)
    return vector(x, bound), elementwise(vector, _bounded(">"))


def _named(name: str, vector: Vector) -> Callable[..., Any]:
    full = f"llvm.{name}.{vector.suffix}"
    return elementwise(vector, lambda builder, *args: call_llvm(builder, full, vector.llvm, *args))


@intrinsic
def absolute(typingctx: Any, x: Any) -> Any:
    """|x|: the sign bit cleared."""
    vector = vector_of(x)
    return vector(x), _named("fabs", vector)


@intrinsic
def sqrt(typingctx: Any, x: Any) -> Any:
    """The square root, rounded correctly; NaN below zero."""
    vector = vector_of(x)
    return vector(x), _named("sqrt", vector)


@intrinsic
def copy_sign(typingctx: Any, x: Any, sign: Any) -> Any:
    """|x| with the sign of `sign`."""
    vector = vector_of(x, sign)
    return vector(x, sign), _named("copysign", vector)


# --- vectors: across the lanes --------------------------------------------------------------------------------------


def _halve(builder: Any, x: Any, combine: Callable[[Any, Any, Any], Any]) -> Any:
    """Combine lane l with lane l + half until one is left: the same order always."""
    while x.type.count > 1:
        half = x.type.count // 2
        undefined = ir.Constant(x.type, ir.Undefined)
        low, high = (
            builder.shuffle_vector(
                x, undefined, ir.Constant(ir.VectorType(_I32, half), list(range(first, first + half)))
            )
            for first in (0, half)
        )
        x = combine(builder, low, high)
    return builder.extract_element(x, ir.Constant(_I32, 0))


@intrinsic
def lane_sum(typingctx: Any, x: Any) -> Any:
    """The sum of the lanes, in pairs (l, l + lanes/2), then (l, l + lanes/4), ...: the same order always."""
    vector = vector_of(x)

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _halve(builder, args[0], lambda builder, a, b: builder.fadd(a, b, flags=EXPLICIT))

    return vector.dtype(x), code


@intrinsic
def lane_maximum(typingctx: Any, x: Any) -> Any:
    """The largest lane; NaN if a lane is NaN."""
    vector = vector_of(x)

    def larger(builder: Any, a: Any, b: Any) -> Any:
        a_stays = builder.or_(builder.fcmp_ordered(">=", a, b, flags=EXPLICIT), builder.fcmp_unordered("uno", a, a))
        return builder.select(a_stays, a, b)

    return vector.dtype(x), lambda context, builder, signature, args: _halve(builder, args[0], larger)


@intrinsic
def any_lane(typingctx: Any, mask: Any) -> Any:
    """Whether the mask holds anywhere."""
    if not isinstance(mask, Mask):
        raise TypingError(f"{mask}: a mask is wanted")
    together = ir.IntType(mask.lanes)

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.icmp_unsigned("!=", builder.bitcast(args[0], together), ir.Constant(together, 0))

    return types.boolean(mask), code


def _transpose(masked: bool) -> Callable[..., Any]:
    """The typing function of `transpose`, and of `transpose_inside` with masked stores."""

    def typing(typingctx: Any, A: Any, a: Any, stride: Any, rows: Any, columns: Any, B: Any, b: Any, width: Any) -> Any:
        vector = _vector_like(A)
        _same_dtype(vector, B, writable=True)

        def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            A_value, a, stride, rows, columns, B_value, b, width = args
            n = vector.lanes

            def mask(p: int, rows: Any, columns: Any) -> Any:
                inside = _first_lanes(builder, vector, columns)
                row_inside = builder.icmp_signed("<", ir.Constant(rows.type, p), rows)
                return builder.select(row_inside, inside, ir.Constant(inside.type, None))

            block = []
            for p in range(n):
                at = builder.add(a, builder.mul(ir.Constant(stride.type, p), stride))
                address = _address(context, builder, A, A_value, at)
                block.append(_load(builder, vector, address, mask(p, rows, columns)))
            s = n // 2
            while s:
                upper = [lane if not lane & s else n + (lane ^ s) for lane in range(n)]
                lower = [lane | s if not lane & s else n + lane for lane in range(n)]
                for p in (p for p in range(n) if not p & s):
                    pair = block[p], block[p + s]
                    for row, picks in ((p, upper), (p + s, lower)):
                        block[row] = builder.shuffle_vector(*pair, ir.Constant(ir.VectorType(_I32, n), picks))
                s //= 2
            for q in range(n):
                at = builder.add(b, builder.mul(ir.Constant(width.type, q), width))
                address = _address(context, builder, B, B_value, at)
                _store(builder, vector, address, block[q], mask(q, columns, rows) if masked else None)
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


# --- tiles ----------------------------------------------------------------------------------------------------------


def _tile_like(array: Any, rows: Any, vectors: Any) -> Tile:
    for number in (rows, vectors):
        if not isinstance(number, types.IntegerLiteral):
            raise TypingError(f"{number}: the rows and vectors of a tile are constants")
    return Tile(_vector_like(array).dtype, rows.literal_value, vectors.literal_value)


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
        return _address(context, builder, array, value, index)

    return address


def _tile_masks(builder: Any, tile: Tile, rows: Any, columns: Any) -> Callable[[int, int], Any]:
    """A function from (p, v) to the mask of what lies inside the first `rows` x `columns`."""

    def mask(p: int, v: int) -> Any:
        count = builder.sub(columns, ir.Constant(columns.type, v * tile.vector.lanes))
        inside = _first_lanes(builder, tile.vector, count)
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
        row = [_load(builder, tile.vector, address(0, v)) for v in range(tile.vectors)]
        return _build(context, builder, tile, lambda p, v: row[v])

    return tile(A, types.intp, rows, vectors), code


@intrinsic(prefer_literal=True)
def tile_from_column(typingctx: Any, A: Any, a: Any, stride: Any, rows: Any, vectors: Any) -> Any:
    """The tile whose row p is A[a + p * stride] in every column: a bias for each row."""
    tile = _tile_like(A, rows, vectors)

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        address = _tile_address(context, builder, tile, A, *args[:3])
        column = [_spread(builder, builder.load(address(p, 0)), tile.vector.lanes) for p in range(tile.rows)]
        return _build(context, builder, tile, lambda p, v: column[p])

    return tile(A, types.intp, types.intp, rows, vectors), code


@intrinsic(prefer_literal=True)
def tile_load(typingctx: Any, A: Any, a: Any, stride: Any, rows: Any, vectors: Any) -> Any:
    """The tile A[a + p * stride + q]."""
    tile = _tile_like(A, rows, vectors)

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        address = _tile_address(context, builder, tile, A, *args[:3])
        return _build(context, builder, tile, lambda p, v: _load(builder, tile.vector, address(p, v)))

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
        return _build(context, builder, tile, lambda p, v: _load(builder, tile.vector, address(p, v), mask(p, v)))

    intp = types.intp
    return tile(A, intp, intp, intp, intp, rows, vectors), code


@intrinsic
def tile_store(typingctx: Any, acc: Any, C: Any, c: Any, stride: Any) -> Any:
    """C[c + p * stride + q] = acc[p, q]."""
    tile = _tile(acc)
    _same_dtype(tile.vector, C, writable=True)

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        address = _tile_address(context, builder, tile, C, *args[1:])
        for p, v, place in tile.places():
            _store(builder, tile.vector, address(p, v), builder.extract_value(args[0], place))
        return context.get_dummy_value()

    return types.void(acc, C, types.intp, types.intp), code


@intrinsic
def tile_store_first(
    typingctx: Any, acc: Any, C: Any, c: Any, stride: Any, rows_inside: Any, columns_inside: Any
) -> Any:
    """`tile_store` of the first rows_inside x columns_inside; memory outside is not touched."""
    tile = _tile(acc)
    _same_dtype(tile.vector, C, writable=True)

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        address = _tile_address(context, builder, tile, C, *args[1:4])
        mask = _tile_masks(builder, tile, *args[4:])
        for p, v, place in tile.places():
            _store(builder, tile.vector, address(p, v), builder.extract_value(args[0], place), mask(p, v))
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
        y = [_load(builder, vector, row(0, v), mask_of(builder, args)) for v in range(tile.vectors)]
        for p in range(tile.rows):
            w = _spread(builder, builder.load(column(p, 0)), vector.lanes)
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
    _same_dtype(tile.vector, A, B)
    code = _add_outer(tile, lambda builder, args: None)
    return acc(acc, A, types.intp, types.intp, B, types.intp), code


@intrinsic
def tile_add_outer_first(typingctx: Any, acc: Any, A: Any, a: Any, stride: Any, B: Any, b: Any, count: Any) -> Any:
    """`tile_add_outer` of a tile one vector wide, of whose columns `count` are inside B; no others are read."""
    tile = _tile(acc)
    if tile.vectors != 1:
        raise TypingError(f"{tile}: a tile one vector wide is wanted")
    _same_dtype(tile.vector, A, B)
    code = _add_outer(tile, lambda builder, args: _first_lanes(builder, tile.vector, args[6]))
    return acc(acc, A, types.intp, types.intp, B, types.intp, types.intp), code
