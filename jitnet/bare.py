"""Arrays as a step's functions hand them on: a pointer and the lengths.

Numba's array is seven words, and nine with two dimensions: who owns it, how many bytes, all strides. A step has some
sixty of them, in tuples that go from function to function, and each function took all those words apart and put them
together again: a third of what LLVM was given to read. `bare` makes of an array, or of a tuple with arrays in it, the
same with pointers and lengths alone. Code that takes one takes the other: A[i], A[i, j], A[i] as a row, A[i:j], len(A),
A.shape and A.itemsize mean the same, with NUMBA_BOUNDSCHECK too. Whatever else an array can do ends in an error of the
compiler.

Nobody owns a bare array. It is for the arrays of whoever called the kernel; one that a kernel makes may be gone when
its own name is not used any more.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, TypeVar

from llvmlite import ir
from numba import types
from numba.core.cgutils import do_boundscheck, unpack_tuple
from numba.core.errors import TypingError
from numba.core.imputils import impl_ret_borrowed
from numba.cpython.slicing import fix_slice, get_slice_length
from numba.extending import lower_builtin, lower_cast, lower_getattr, models, register_model

from jitnet.registers import intrinsic

T = TypeVar("T")


class BareArray(types.Array):
    """A C-contiguous array of which only the data's address and the lengths are known."""

    def __init__(self, dtype: Any, ndim: int, readonly: bool = False) -> None:
        kind = "bare readonly array" if readonly else "bare array"
        super().__init__(dtype, ndim, "C", readonly=readonly, name=f"{kind}({dtype}, {ndim}d)")

    def copy(  # type: ignore[override]
        self, dtype: Any = None, ndim: Any = None, layout: Any = None, readonly: Any = None
    ) -> BareArray:
        """Numba's way to name the type of a row, or of a slice."""
        if layout not in (None, "C"):
            raise TypingError(f"{self}: its parts have to be C-contiguous too")
        return BareArray(
            self.dtype if dtype is None else dtype,
            self.ndim if ndim is None else ndim,
            not self.mutable if readonly is None else readonly,
        )

    def unify(self, typingctx: Any, other: Any) -> BareArray | None:
        """Of two branches: the same type only. (Numba's array takes this for one of its own; see `_no_cast`.)"""
        return self if self == other else None

    def can_convert_to(self, typingctx: Any, other: Any) -> None:
        """To no other type."""
        return


@register_model(BareArray)
class _BareArrayModel(models.StructModel):
    def __init__(self, manager: Any, array: BareArray) -> None:
        members = [("data", types.CPointer(array.dtype)), ("shape", types.UniTuple(types.intp, array.ndim))]
        super().__init__(manager, array, members)


@lower_cast(BareArray, types.Array)
@lower_cast(types.Array, BareArray)
def _no_cast(context: Any, builder: Any, given: Any, wanted: Any, value: Any) -> Any:
    if given == wanted:
        return value
    raise TypingError(f"{given} is no {wanted}: a name is the one or the other")


def _bare_type(given: Any) -> Any:
    """The type with bare arrays in place of arrays; what is no array, and has none, stays."""
    if isinstance(given, types.Array) and not isinstance(given, BareArray):
        if given.layout != "C" or not given.aligned:
            raise TypingError(f"{given}: a C-contiguous array is wanted")
        return BareArray(given.dtype, given.ndim, not given.mutable)
    if isinstance(given, types.BaseTuple):
        parts = [_bare_type(each) for each in given.types]
        return types.BaseTuple.from_types(parts, getattr(given, "instance_class", None))
    return given


def _bare_value(context: Any, builder: Any, given: Any, wanted: Any, value: Any) -> Any:
    if given == wanted:
        return value
    result = ir.Constant(context.get_value_type(wanted), ir.Undefined)
    if isinstance(given, types.Array):
        places = context.data_model_manager[given]
        for k, name in enumerate(("data", "shape")):
            result = builder.insert_value(result, builder.extract_value(value, places.get_field_position(name)), k)
        return result
    for k, (part, bare_part) in enumerate(zip(given.types, wanted.types, strict=True)):
        one = _bare_value(context, builder, part, bare_part, builder.extract_value(value, k))
        result = builder.insert_value(result, one, k)
    return result


@intrinsic
def _bare(typingctx: Any, given: Any) -> Any:
    wanted = _bare_type(given)

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        value = _bare_value(context, builder, given, wanted, args[0])
        return impl_ret_borrowed(context, builder, wanted, value)  # of what is no array, in the tuple, one owner more

    return wanted(given), code


bare: Callable[[T], T] = _bare
"""An array, or a tuple with arrays in it, with pointers and lengths in place of arrays. For compiled code only."""


def _place(context: Any, builder: Any, array: BareArray, value: Any, kinds: Any, indices: Any) -> Any:
    """The address of A[i], A[i, j], ...; a negative index counts from the end."""
    at = None
    for axis in range(array.ndim):
        length = builder.extract_value(value, (1, axis))
        if at is not None:
            at = builder.mul(at, length)
        if axis < len(indices):
            index = context.cast(builder, indices[axis], kinds[axis], types.intp)
            if kinds[axis].signed:
                below = builder.icmp_signed("<", index, ir.Constant(index.type, 0))
                index = builder.select(below, builder.add(index, length), index)
            if context.enable_boundscheck:
                do_boundscheck(context, builder, index, length, axis)
            at = index if at is None else builder.add(at, index)
    return builder.gep(builder.extract_value(value, 0), [at], inbounds=True)


def _indices(builder: Any, kind: Any, value: Any) -> tuple[Any, Any]:
    if isinstance(kind, types.BaseTuple):
        return kind.types, unpack_tuple(builder, value, len(kind))
    return (kind,), (value,)


def _rows(context: Any, builder: Any, kind: BareArray, data: Any, lengths: list[Any]) -> Any:
    """A bare array of these lengths."""
    value = builder.insert_value(ir.Constant(context.get_value_type(kind), ir.Undefined), data, 0)
    for axis, length in enumerate(lengths):
        value = builder.insert_value(value, length, (1, axis))
    return value


@lower_builtin(operator.getitem, BareArray, types.Integer)
@lower_builtin(operator.getitem, BareArray, types.BaseTuple)
def _get(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    array, index = signature.args
    kinds, indices = _indices(builder, index, args[1])
    place = _place(context, builder, array, args[0], kinds, indices)
    if not isinstance(signature.return_type, BareArray):
        return context.unpack_value(builder, array.dtype, place)
    lengths = unpack_tuple(builder, builder.extract_value(args[0], 1), array.ndim)
    return _rows(context, builder, signature.return_type, place, lengths[len(indices) :])


@lower_builtin(operator.getitem, BareArray, types.SliceType)
def _slice(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    array, index = signature.args
    first, *rest = unpack_tuple(builder, builder.extract_value(args[0], 1), array.ndim)
    part = context.make_helper(builder, index, args[1])
    fix_slice(builder, part, first)
    at = part.start
    for length in rest:
        at = builder.mul(at, length)
    data = builder.gep(builder.extract_value(args[0], 0), [at], inbounds=True)
    return _rows(context, builder, signature.return_type, data, [get_slice_length(builder, part), *rest])


@lower_builtin(operator.setitem, BareArray, types.Any, types.Any)
def _set(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    array, index, kind = signature.args
    kinds, indices = _indices(builder, index, args[1])
    if len(indices) != array.ndim or not all(isinstance(each, types.Integer) for each in kinds):
        raise TypingError(f"{array}: one number is written at a time")
    value = context.cast(builder, args[2], kind, array.dtype)
    context.pack_value(builder, array.dtype, value, _place(context, builder, array, args[0], kinds, indices))
    return context.get_dummy_value()


@lower_builtin(len, BareArray)
def _length(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    return builder.extract_value(args[0], (1, 0))


@lower_getattr(BareArray, "shape")
def _shape(context: Any, builder: Any, array: BareArray, value: Any) -> Any:
    return builder.extract_value(value, 1)


@lower_getattr(BareArray, "itemsize")
def _itemsize(context: Any, builder: Any, array: BareArray, value: Any) -> Any:
    return context.get_constant(types.intp, context.get_abi_sizeof(context.get_data_type(array.dtype)))
