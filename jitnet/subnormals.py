"""Numbers too small to be normal: whether this thread of the processor computes with them, or takes them as 0.

Below 1.2e-38 (float64: 2.2e-308) an instruction of an x86 may take a hundred cycles. An optimiser's running means come
there where a neuron is silent for long, and stay: 0.9 times the smallest numbers is, rounded, the same again.

For compiled code only. On other processors than x86 nothing is changed.
"""

from __future__ import annotations

import platform
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from jitnet.registers import call_llvm, intrinsic

_I32 = ir.IntType(32)
_X86 = platform.machine().lower() in ("x86_64", "amd64")
_FLUSH = 0x8040
"""The bits of MXCSR that make results (0x8000) and operands (0x40) below the smallest normal number 0."""


def _mode_code(builder: Any) -> tuple[Any, Any]:
    """A place in memory with this thread's mode, and the mode, for code generation."""
    place = cgutils.alloca_once(builder, _I32)
    call_llvm(builder, "llvm.x86.sse.stmxcsr", ir.VoidType(), builder.bitcast(place, ir.IntType(8).as_pointer()))
    return place, builder.load(place)


def _unless_flushing(builder: Any, before: Any, place: Any, mode: Any) -> None:
    """Where numbers that small were numbers before: change this thread's mode."""
    flush = ir.Constant(_I32, _FLUSH)
    with builder.if_then(builder.icmp_unsigned("!=", builder.and_(before, flush), flush)):
        builder.store(mode, place)
        call_llvm(builder, "llvm.x86.sse.ldmxcsr", ir.VoidType(), builder.bitcast(place, ir.IntType(8).as_pointer()))


@intrinsic
def flush_subnormals(typingctx: Any) -> Any:
    """From here on, on this thread, numbers too small to be normal are 0; returns the mode before, to be restored."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if not _X86:
            return ir.Constant(_I32, _FLUSH)
        place, mode = _mode_code(builder)
        _unless_flushing(builder, mode, place, builder.or_(mode, ir.Constant(_I32, _FLUSH)))
        return mode

    return types.int32(), code


@intrinsic
def restore_subnormals(typingctx: Any, mode: Any) -> Any:
    """Put this thread's mode back to what `flush_subnormals` returned."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if _X86:
            _unless_flushing(builder, args[0], cgutils.alloca_once(builder, _I32), args[0])
        return context.get_dummy_value()

    return types.void(types.int32), code
