"""Threads that go through the same steps together, and meet between the parts of a step.

To begin and to end a parallel region takes Numba 2-3 us with OpenMP, a tenth of a step of a small network and more of
one with many threads. A team goes through all steps of a call in one region; when two members meet, that takes 0.1 us.

Nobody promises that all threads are there at once: one may still sleep, or OpenMP have fewer than it was asked for, and
then a thread goes through the region for two, first for the one and then for the other. So the first who comes waits
for a moment and begins with those who are there. Who comes later is let in when the next step begins, and who comes
when all is done leaves. What is shared out is shared out among the members, and no result depends on how many they are.

`meeting` is an array of WORDS intp, zeros at first, that `open_door` makes ready before a region. All for compiled code
only. No member may end before the others (as NUMBA_BOUNDSCHECK's errors do: there a team is one).
"""

from __future__ import annotations

import ctypes
import os
import platform
import time
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils

from jitnet._jit import inline_function
from jitnet.layout import CACHE_LINE, Ints
from jitnet.registers import call_llvm, element, intrinsic

_LINE = 2 * CACHE_LINE // 8  # pairs of lines are fetched together, or are one on some processors
COME, MEMBERS, BEGINS, AFTER, DONE, ARRIVED, ROUND, WAITED, OPENED, MISSED = range(0, 10 * _LINE, _LINE)
"""Words on cache lines of their own: how many have come; how many of these are members; the step that the latest begin
with, and after which round of meetings; whether all is done; who has arrived at this meeting; rounds of meetings so
far; for how long members waited, all together, and when the door was opened, in ticks; whether the last team began
without some."""
WORDS = 10 * _LINE

CLAIM = _LINE
"""Words from the count of one share's claims to the next one's."""

SPINS, YIELDS = 2_000, 1_000
"""Times that a member looks before it lets others have its core in between, and then before it sleeps in between. A
look takes 5 to 50 ns, by processor; one that yields 0.4 us, where nobody else wants the core."""

NAP = 50 if os.name == "posix" else 1
"""That sleep: microseconds (Windows: milliseconds)."""

CLOCK = time.CLOCK_MONOTONIC if os.name == "posix" else 0
TICK = 1e-9 if os.name == "posix" else time.get_clock_info("perf_counter").resolution
"""Seconds: of POSIX's clock of that number, of Windows' counter."""

PATIENCE = (20_000, 4_000)
"""Times that the first who comes looks for the others, 0.1 to 1 ms; and where the last team began without some."""

_LIBRARY: Any = ctypes.CDLL(None) if os.name == "posix" else ctypes.WinDLL("kernel32")
for _name, _function in (
    ("jitnet_yield", _LIBRARY.sched_yield if os.name == "posix" else _LIBRARY.SwitchToThread),
    ("jitnet_nap", _LIBRARY.usleep if os.name == "posix" else _LIBRARY.Sleep),
    ("jitnet_clock", _LIBRARY.clock_gettime if os.name == "posix" else _LIBRARY.QueryPerformanceCounter),
):
    llvm.add_symbol(_name, ctypes.cast(_function, ctypes.c_void_p).value)


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
        return builder.atomic_rmw("add", element(context, builder, words, *args[:2]), args[2], "acq_rel")

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


@intrinsic
def nap(typingctx: Any) -> Any:
    """Sleep for NAP."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        call_llvm(builder, "jitnet_nap", ir.IntType(32), ir.Constant(ir.IntType(32), NAP))
        return context.get_dummy_value()

    return types.void(), code


@intrinsic
def clock(typingctx: Any) -> Any:
    """Ticks of a clock that only goes forward."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        word, zero, one = ir.IntType(64), ir.Constant(ir.IntType(32), 0), ir.Constant(ir.IntType(32), 1)
        moment = cgutils.alloca_once(builder, ir.ArrayType(word, 2))
        first, second = (builder.gep(moment, [zero, k], inbounds=True) for k in (zero, one))
        if os.name != "posix":
            call_llvm(builder, "jitnet_clock", ir.IntType(32), first)
            return builder.load(first)
        call_llvm(builder, "jitnet_clock", ir.IntType(32), ir.Constant(ir.IntType(32), CLOCK), first)
        return builder.add(builder.mul(builder.load(first), ir.Constant(word, 10**9)), builder.load(second))

    return types.intp(), code


@inline_function
def wait(times: int) -> None:
    """Before one looks again, who has looked so many times."""
    if times < SPINS:
        pause()
    elif times < SPINS + YIELDS:
        yield_core()
    else:
        nap()


@inline_function
def wait_for_round(meeting: Ints, wanted: int) -> None:
    """Go on when there were so many rounds of meetings."""
    times, began = 0, 0
    while atomic_load(meeting, ROUND) < wanted:
        if times == SPINS:
            began = clock()
        wait(times)
        times += 1
    if times > SPINS:
        atomic_add(meeting, WAITED, clock() - began)


@inline_function
def open_door(meeting: Ints) -> None:
    """For a new team, when the last one has gone."""
    for word in range(0, MISSED, _LINE):
        meeting[word] = 0
    meeting[OPENED] = clock()


@inline_function
def join(meeting: Ints, wanted: int) -> tuple[int, int]:
    """A member's number 0, 1, ..., and the step that it begins with; a negative number for who comes too late."""
    member, times = atomic_add(meeting, COME, 1), 0
    if member == 0:
        patience = PATIENCE[1] if meeting[MISSED] == 1 else PATIENCE[0]
        while atomic_load(meeting, COME) < wanted and times < patience:
            pause()
            times += 1
        members = atomic_load(meeting, COME)
        meeting[MISSED] = 1 if members < wanted else 0
        atomic_store(meeting, MEMBERS, members)
        return 0, 0
    while atomic_load(meeting, MEMBERS) <= member:
        if atomic_load(meeting, DONE) == 1:
            atomic_add(meeting, WAITED, clock() - meeting[OPENED])
            return -1, 0
        wait(times)
        times += 1
    if meeting[BEGINS] > 0:
        atomic_add(meeting, WAITED, clock() - meeting[OPENED])
    wait_for_round(meeting, meeting[AFTER])
    return member, meeting[BEGINS]


@inline_function
def members_of(meeting: Ints) -> int:
    """How many go through this step: before its first meeting."""
    return atomic_load(meeting, MEMBERS)


@inline_function
def meet(meeting: Ints, members: int) -> None:
    """Go on when all members are here: what each wrote before is there for all."""
    if members == 1:
        return
    round_ = atomic_load(meeting, ROUND)
    if atomic_add(meeting, ARRIVED, 1) == members - 1:
        atomic_store(meeting, ARRIVED, 0)
        atomic_store(meeting, ROUND, round_ + 1)
    else:
        wait_for_round(meeting, round_ + 1)


@inline_function
def meet_and_let_in(meeting: Ints, member: int, members: int, step: int) -> None:
    """`meet`, after which those who have come meanwhile are members too: they begin with this step."""
    if member == 0:
        meeting[BEGINS], meeting[AFTER] = step, meeting[ROUND] + (1 if members > 1 else 0)
        atomic_store(meeting, MEMBERS, atomic_load(meeting, COME))
    meet(meeting, members)


@inline_function
def leave(meeting: Ints, member: int) -> None:
    """When all is done: nobody is let in any more."""
    if member == 0:
        atomic_store(meeting, DONE, 1)


@inline_function
def claim(claims: Ints, share: int, begin: int, end: int, members: int) -> int:
    """Of the things begin, ..., end - 1 of a share the next that nobody has claimed, whichever member asks; else `end`.

    claims[share * CLAIM] counts them.
    """
    at = share * CLAIM
    if begin + atomic_load(claims, at) >= end:
        return end
    if members > 1:
        return min(begin + atomic_add(claims, at, 1), end)
    claims[at] += 1
    return begin + claims[at] - 1


@inline_function
def no_claims(claims: Ints) -> None:
    """Begin all shares anew: between meetings at which nobody claims."""
    for at in range(0, len(claims), CLAIM):
        claims[at] = 0
