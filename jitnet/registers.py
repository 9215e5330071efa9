"""Vector registers as Numba values.

Plain scalar loops reach an eighth of what a core can do: LLVM picks short vectors for them, or none. Here a `Vector` is
one register; `tiles.py` makes register tiles of them.

Vectors take +, -, *, /, unary minus, comparisons (which give a `Mask`; masks take &, | and ~), NumPy's sqrt, abs, sign,
maximum and minimum, and the functions below; a number beside a vector is broadcast. Arrays are C-contiguous and are
read and written through their data pointer: `at` counts elements from the first one, whatever the array's shape, and
nothing is checked (Numba's own `A[i]` adds a test for a negative index). All functions here are for compiled code only.

lanes      elements of one vector: BITS / 64 float64, BITS / 32 float32
"""

from __future__ import annotations

import math
import operator
import platform
from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
import numpy as np
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

    A tile leaves room for the vectors of one row of B and one broadcast element of A, and has at least as many
    accumulators as products are under way at once. It is two vectors wide, so that few points or neurons fill it.
    """
    if "avx512f" in features:
        return 512, True, 8, 2  # 113-118 of 118 GFLOP/s in F1 of 128 to 1024 neurons, as 6 x 4 and 8 x 3; 12 x 2: 84
    if machine.lower() in ("arm64", "aarch64"):
        return 128, True, 8, 2  # 32 registers: 16 + 2 + 1
    if {"avx2", "fma"} <= features:
        return 256, True, 6, 2  # 16 registers: 12 + 2 + 1
    return 128, False, 4, 2  # 16 registers, and every product needs one of its own before it is added


BITS, FUSED, TILE_ROWS, TILE_VECTORS = _shape_of_host(_host_features(), platform.machine())
"""Bits of a register; whether `multiply_add` rounds once; rows and vectors of the tile that fills the registers."""


def _is_intel_since_ice_lake(features: set[str]) -> bool:
    """Whether the host is an Intel with AVX-512 and 48 KB of first cache. Its servers start two such products a cycle.

    There a product whose operand comes from memory takes 1.5 times as long as one of registers (a Xeon with AMX: 0.20,
    0.135 ns), so that a sum over non-zeros gains less than on Zen 4, which starts one of either kind a cycle.
    """
    return {"avx512f", "gfni"} <= features and "sse4a" not in features  # which AMD's have


INTEL_SINCE_ICE_LAKE = _is_intel_since_ice_lake(_host_features())
"""Whether sums over non-zeros, and blocks of weights, are as on Intel's servers."""

EXPLICIT = ("afn",)
"""The flag of every instruction here. It has no effect on arithmetic, and that is its use: Numba adds the caller's
fast-math flags to instructions that have none, and under `reassoc` (x + c) - c becomes x, which breaks `vectormath`."""

# Numba's own types of these describe the typing side of an intrinsic, not the call of it in compiled code.
intrinsic: Any = extending.intrinsic
_lower_builtin: Any = extending.lower_builtin
_type_callable: Any = extending.type_callable
PrimitiveModel: Any = models.PrimitiveModel

_I32, _I64 = ir.IntType(32), ir.IntType(64)


# --- types ----------------------------------------------------------------------------------------------------------


class Vector(types.Type):
    """`lanes` elements of `dtype` (float32 or float64): one register, or with `lanes` given a part of one."""

    def __init__(self, dtype: types.Float, lanes: int | None = None) -> None:
        self.dtype, self.bits, self.lanes = dtype, dtype.bitwidth, lanes or BITS // dtype.bitwidth
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


@register_model(Vector)
class _VectorModel(PrimitiveModel):
    def __init__(self, manager: Any, vector: Vector) -> None:
        super().__init__(manager, vector, vector.llvm)


@register_model(Mask)
class _MaskModel(PrimitiveModel):
    def __init__(self, manager: Any, mask: Mask) -> None:
        super().__init__(manager, mask, ir.VectorType(ir.IntType(1), mask.lanes))


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


def vector_like(like: Any, writable: bool = False) -> Vector:
    """The vector type of the elements of an array (or of a float, or the vector itself)."""
    if isinstance(like, types.Array) and (like.layout != "C" or (writable and not like.mutable)):
        raise TypingError(f"{like}: a C-contiguous{' writable' if writable else ''} array is wanted")
    dtype = getattr(like, "dtype", like)
    if dtype not in (types.float32, types.float64):
        raise TypingError(f"{like}: registers hold float32 or float64")
    return Vector(dtype)


def same_dtype(vector: Vector, *arrays: Any, writable: bool = False) -> None:
    """Refuse what is no array of the vector's elements, for typing."""
    for array in arrays:
        if not isinstance(array, types.Array) or vector_like(array, writable) != vector:
            raise TypingError(f"{array}: an array of {vector.dtype} is wanted")


def constant(vector: Vector, value: float) -> ir.Constant:
    """A vector whose lanes are all `value`, for code generation."""
    return ir.Constant(vector.llvm, [ir.Constant(vector.llvm.element, value)] * vector.lanes)


def operands(context: Any, builder: Any, signature: Any, args: Any, vector: Vector) -> list[Any]:
    """The arguments as vectors, numbers broadcast, for code generation."""
    return [
        value if kind == vector else spread(builder, context.cast(builder, value, kind, vector.dtype), vector.lanes)
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


def spread(builder: Any, scalar: Any, lanes: int) -> Any:
    """A number in all lanes, for code generation."""
    undefined = ir.Constant(ir.VectorType(scalar.type, lanes), ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.Constant(_I32, 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(_I32, lanes), [0] * lanes))


def element(context: Any, builder: Any, array: Any, value: Any, at: Any) -> Any:
    """The address of array[at], for code generation."""
    place = context.data_model_manager[array].get_field_position("data")
    return builder.gep(builder.extract_value(value, place), [at])


def first_lanes(builder: Any, vector: Vector, count: Any) -> Any:
    """The mask of lanes 0 .. count - 1."""
    bits = vector.llvm_bits
    count = builder.trunc(count, bits.element) if count.type.width > vector.bits else count
    return builder.icmp_signed("<", ir.Constant(bits, list(range(vector.lanes))), spread(builder, count, vector.lanes))


def load_code(builder: Any, vector: Vector, address: Any, mask: Any = None) -> Any:
    """The vector at an address, zeros where a mask does not hold, for code generation."""
    align = vector.bits // 8
    address = builder.bitcast(address, vector.llvm.as_pointer())
    if mask is None:
        loaded = builder.load(address)
        loaded.align = align
        return loaded
    name, rest = f"llvm.masked.load.{vector.suffix}.p0", ir.Constant(vector.llvm, None)
    return call_llvm(builder, name, vector.llvm, address, ir.Constant(_I32, align), mask, rest)


def store_code(builder: Any, vector: Vector, address: Any, value: Any, mask: Any = None) -> None:
    """Write a vector to an address, where a mask holds, for code generation."""
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
    count = vector_like(like).lanes
    return types.intp(like), lambda context, builder, signature, args: context.get_constant(types.intp, count)


@intrinsic
def broadcast(typingctx: Any, value: Any, like: Any) -> Any:
    """The vector of the dtype of `like` (an array, a float or a vector) whose lanes are all the number `value`."""
    vector = vector_like(like)

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return spread(builder, context.cast(builder, args[0], signature.args[0], vector.dtype), vector.lanes)

    return vector(value, like), code


@intrinsic
def load(typingctx: Any, A: Any, at: Any) -> Any:
    """A[at], A[at + 1], ...: as many as a vector has lanes."""
    vector = vector_like(A)

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return load_code(builder, vector, element(context, builder, A, *args))

    return vector(A, types.intp), code


@intrinsic
def load_first(typingctx: Any, A: Any, at: Any, count: Any) -> Any:
    """Lanes 0 .. count - 1 from A[at] on, zeros behind; memory behind is not touched. Any count below 2^31 will do."""
    vector = vector_like(A)

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        mask = first_lanes(builder, vector, args[2])
        return load_code(builder, vector, element(context, builder, A, *args[:2]), mask)

    return vector(A, types.intp, types.intp), code


@intrinsic
def store(typingctx: Any, x: Any, A: Any, at: Any) -> Any:
    """A[at + lane] = x[lane] for all lanes."""
    vector = vector_of(x)
    same_dtype(vector, A, writable=True)

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        store_code(builder, vector, element(context, builder, A, *args[1:]), args[0])
        return context.get_dummy_value()

    return types.void(x, A, types.intp), code


@intrinsic
def store_first(typingctx: Any, x: Any, A: Any, at: Any, count: Any) -> Any:
    """A[at + lane] = x[lane] for lanes 0 .. count - 1; memory behind is not touched. Any count below 2^31 will do."""
    vector = vector_of(x)
    same_dtype(vector, A, writable=True)

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        mask = first_lanes(builder, vector, args[3])
        store_code(builder, vector, element(context, builder, A, *args[1:3]), args[0], mask)
        return context.get_dummy_value()

    return types.void(x, A, types.intp, types.intp), code


def _prefetch(to_write: bool) -> Callable[..., Any]:
    """The typing function of the two below."""

    def typing(typingctx: Any, A: Any, at: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            address = builder.bitcast(element(context, builder, A, *args), ir.IntType(8).as_pointer())
            kind, second_cache, data = (ir.Constant(_I32, choice) for choice in (int(to_write), 2, 1))
            call_llvm(builder, "llvm.prefetch.p0", ir.VoidType(), address, kind, second_cache, data)
            return context.get_dummy_value()

        return types.void(A, types.intp), code

    return typing


@intrinsic
def prefetch(typingctx: Any, A: Any, at: Any) -> Any:
    """Ask for the cache line of A[at], so that it lies in the second cache when it is wanted. Nothing is read yet."""
    return _prefetch(to_write=False)(typingctx, A, at)


@intrinsic
def prefetch_to_write(typingctx: Any, A: Any, at: Any) -> Any:
    """`prefetch` of a line that will be written: no other core keeps what it has of it."""
    return _prefetch(to_write=True)(typingctx, A, at)


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
def copy_sign(typingctx: Any, x: Any, sign: Any) -> Any:
    """|x| with the sign of `sign`."""
    vector = vector_of(x, sign)
    return vector(x, sign), _named("copysign", vector)


def _all_lanes(x: Any, number: float) -> ir.Constant:
    return ir.Constant(x.type, [ir.Constant(x.type.element, number)] * x.type.count)


def _sign(builder: Any, x: Any) -> Any:
    """-1, 0 or 1; NaN and the zeros stay."""
    zero, one = ir.Constant(x.type, None), _all_lanes(x, 1.0)
    inside = builder.or_(_comparison("<")(builder, x, zero), _comparison(">")(builder, x, zero))
    return builder.select(inside, call_llvm(builder, f"llvm.copysign.{_suffix(x)}", x.type, one, x), x)


def _suffix(x: Any) -> str:
    return f"v{x.type.count}f{32 if x.type.element == ir.FloatType() else 64}"


def _teach_unary(op: Callable[..., Any], emit: Callable[..., Any]) -> None:
    _teach(op, _same(Vector), lambda context, builder, signature, args: emit(builder, *args), (Vector,))


def _sqrt(builder: Any, x: Any) -> Any:
    """The square root: rounded correctly, but for float32 with AVX-512, where it is within 1 ulp.

    There an estimate r of 1 / sqrt(x) to 14 bits and a round of Goldschmidt's, s = x r, s + s (1/2 - s r / 2), leave
    the divider to the optimiser's division.
    """
    if BITS < 512 or x.type.element != ir.FloatType():
        return call_llvm(builder, f"llvm.sqrt.{_suffix(x)}", x.type, x)
    fma, half = f"llvm.fma.{_suffix(x)}", _all_lanes(x, 0.5)
    whole = ir.Constant(ir.IntType(x.type.count), -1)  # the mask: all lanes
    r = call_llvm(builder, "llvm.x86.avx512.rsqrt14.ps.512", x.type, x, ir.Constant(x.type, None), whole)
    s = builder.fmul(x, r, flags=EXPLICIT)
    rest = call_llvm(builder, fma, x.type, builder.fneg(s), builder.fmul(r, half, flags=EXPLICIT), half)
    root = call_llvm(builder, fma, x.type, s, rest, s)
    same = builder.or_(*(_comparison("==")(builder, x, _all_lanes(x, end)) for end in (0.0, math.inf)))
    return builder.select(same, x, root)  # r is infinite and 0 there


# The formulas of optimizers.py know these by NumPy's names.
_teach_unary(np.sqrt, _sqrt)
_teach_unary(np.abs, lambda builder, x: call_llvm(builder, f"llvm.fabs.{_suffix(x)}", x.type, x))
_teach_unary(np.sign, _sign)
_teach_binary(np.maximum, _bounded(">"))
_teach_binary(np.minimum, _bounded("<"))


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


def lane_sums_code(builder: Any, vector: Vector, block: list[Any]) -> Any:
    """One vector whose lane l is the sum of the lanes of block[l], added as `lane_sum` adds.

    The block has as many vectors as these have lanes, or fewer; both are powers of two. In round s lanes s apart meet:
    two vectors become one by a blend and a permutation, and the last meets itself.
    """
    n, count = vector.lanes, len(block)

    def picked(lanes: list[int], a: Any, b: Any) -> Any:
        return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(_I32, len(lanes)), lanes))

    s = n // 2
    while s:
        half = max(1, len(block) // 2)
        pairs = zip(block[:half], block[half:] or block, strict=True)
        here = [lane + n if lane & s else lane for lane in range(n)]  # of the second vector where bit s is set
        there = [lane ^ s for lane in here]
        block = [builder.fadd(picked(here, *pair), picked(there, *pair), flags=EXPLICIT) for pair in pairs]
        s //= 2
    return picked(list(range(0, n, n // count)), block[0], block[0])


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


@intrinsic
def mask_bits(typingctx: Any, mask: Any) -> Any:
    """The mask as a whole number: bit l says whether it holds in lane l."""
    if not isinstance(mask, Mask):
        raise TypingError(f"{mask}: a mask is wanted")

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.zext(builder.bitcast(args[0], ir.IntType(mask.lanes)), _I64)

    return types.int64(mask), code


@intrinsic
def lowest_bit(typingctx: Any, bits: Any) -> Any:
    """The place of the lowest bit that is set in a whole number other than 0."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return call_llvm(builder, "llvm.cttz.i64", _I64, args[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.int64), code


@intrinsic
def count_bits(typingctx: Any, bits: Any) -> Any:
    """How many bits are set in a whole number."""
    return types.int64(types.int64), lambda context, builder, signature, args: call_llvm(
        builder, "llvm.ctpop.i64", _I64, args[0]
    )
