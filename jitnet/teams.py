"""Threads that go through the same steps together, and meet between the parts of a step.

To begin and to end a parallel region takes Numba 2-3 us with OpenMP, a tenth of a step of a small network and more of
one with many threads. A team goes through all steps of a call in one region; when its members meet, that takes 0.1 us.

Nobody promises that all threads are there at once: OpenMP may have fewer than it was asked for, and then one goes
through the region for two, first for the one and then for the other. So a team is who has come when the first has
waited for a while, and who comes later finds the door closed and leaves. What is shared out is shared out among the
members, and no result depends on how many they are.

`meeting` is an array of WORDS intp, zeros at first, that `open_door` makes ready before a region. All for compiled code
only.
"""

from __future__ import annotations

import ctypes
import os
import platform
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import types

from jitnet._jit import inline_function
from jitnet.layout import CACHE_LINE, Ints
from jitnet.registers import call_llvm, element, intrinsic

_LINE = CACHE_LINE // 8
DOOR, MEMBERS, ARRIVED, ROUND, MISSED = 0, _LINE, 2 * _LINE, 3 * _LINE, 4 * _LINE
"""Words on cache lines of their own: who has come in, and CLOSED more when the door is; members, once it is; who has
arrived at this meeting; how many meetings there were; whether the last team had to go without some."""
WORDS = 5 * _LINE

CLAIM = _LINE
"""Words from the count of one share's claims to the next one's."""

CLOSED = 1 << 20

SPINS = 2_000
"""Times that a thread looks again before it lets others have its core, 40 ns each: threads that share a core would wait
for each other's turn to end."""

PATIENCE = SPINS + 3_000
"""Times that the first member looks for the others: some 5 ms, when a sleeping thread wakes in a tenth of one. After a
team that had to go without some it is SPINS."""

_yields = ctypes.CDLL(None).sched_yield if os.name == "posix" else ctypes.WinDLL("kernel32").SwitchToThread
llvm.add_symbol("jitnet_yield", ctypes.cast(_yields, ctypes.c_void_p).value)


@intrinsic
def atomic_load(typingctx: Any, words: Any, at: Any) -> Any:
    """words[at], and all that was written before it was."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load_atomic(element(context, builder, words, *args), "acquire", 8)

    return types.intp(words, types.intp), code


@intrinsic
def atomic_store(typingctx: Any, words: Any, at: Any, value: Any) -> Any:
    """words[at] = value, after all that was written before."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store_atomic(args[2], element(context, builder, words, *args[:2]), "release", 8)
        return context.get_dummy_value()

    return types.void(words, types.intp, types.intp), code


@intrinsic
def atomic_add(typingctx: Any, words: Any, at: Any, value: Any) -> Any:
    """words[at] += value in one; what was there before."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.atomic_rmw("add", element(context, builder, words, *args[:2]), args[2], "seq_cst")

    return types.intp(words, types.intp, types.intp), code


@intrinsic
def pause(typingctx: Any) -> Any:
    """A moment for the core's other thread."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        machine = platform.machine().lower()
        if machine in ("x86_64", "amd64"):
            call_llvm(builder, "llvm.x86.sse2.pause", ir.VoidType())
        elif machine in ("arm64", "aarch64"):
            builder.asm(ir.FunctionType(ir.VoidType(), []), "yield", "", [], side_effect=True)
        return context.get_dummy_value()

    return types.void(), code


@intrinsic
def yield_core(typingctx: Any) -> Any:
    """Let another thread have this core, if one waits for it."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        call_llvm(builder, "jitnet_yield", ir.IntType(32))
        return context.get_dummy_value()

    return types.void(), code


@inline_function
def wait(times: int) -> None:
    """Before one looks again, who has looked so many times."""
    if times < SPINS:
        pause()
    else:
        yield_core()


@inline_function
def open_door(meeting: Ints) -> None:
    """For a new team, when the last one has gone."""
    for word in (DOOR, MEMBERS, ARRIVED, ROUND):
        meeting[word] = 0


@inline_function
def join(meeting: Ints, wanted: int) -> tuple[int, int]:
    """A member's number 0, 1, ... and how many they are; the number is negative for who comes too late."""
    member, times = atomic_add(meeting, DOOR, 1), 0
    if member >= CLOSED:
        return -1, 0
    if member == 0:
        patience = SPINS if meeting[MISSED] == 1 else PATIENCE
        while atomic_load(meeting, DOOR) < wanted and times < patience:
            wait(times)
            times += 1
        members = atomic_add(meeting, DOOR, CLOSED)
        meeting[MISSED] = 1 if members < wanted else 0
        atomic_store(meeting, MEMBERS, members)
    while atomic_load(meeting, MEMBERS) == 0:
        wait(times)
        times += 1
    return member, atomic_load(meeting, MEMBERS)


@inline_function
def meet(meeting: Ints, members: int) -> None:
    """Go on when all members are here: what each wrote before is there for all."""
    if members == 1:
        return
    round_, times = atomic_load(meeting, ROUND), 0
    if atomic_add(meeting, ARRIVED, 1) == members - 1:
        atomic_store(meeting, ARRIVED, 0)
        atomic_store(meeting, ROUND, round_ + 1)
    else:
        while atomic_load(meeting, ROUND) == round_:
            wait(times)
            times += 1


@inline_function
def claim(claims: Ints, share: int, members: int) -> int:
    """0, 1, 2, ... of a share: every number once, whichever member asks. claims[share * CLAIM] counts them."""
    if members > 1:
        return atomic_add(claims, np.intp(share * CLAIM), 1)
    claims[share * CLAIM] += 1
    return claims[share * CLAIM] - 1


@inline_function
def no_claims(claims: Ints) -> None:
    """Begin all shares anew: between meetings at which nobody claims."""
    for k in range(0, len(claims), CLAIM):
        claims[k] = 0
