"""Threads that go through a loop together."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
from numba import prange
from numba.core.caching import NullCache

import jitnet as jn
from jitnet import teams
from jitnet._jit import kernel, outlined_function, use_threads
from jitnet.forms.tiled_steps import steps
from jitnet.layout import aligned
from jitnet.teams import (
    CLAIM,
    WORDS,
    atomic_add,
    claim,
    join,
    leave,
    meet,
    meet_and_let_in,
    members_of,
    nap,
    no_claims,
    open_door,
)

IN_PARALLEL = False
THREADS = [threads for threads in (1, 2, 3, 6) if threads <= numba.config.NUMBA_NUM_THREADS]


def words(count: int) -> Any:
    """Zeros on cache lines."""
    array = aligned((count,), np.intp)
    array[:] = 0
    return array


def uncached(each: Any) -> Any:
    """A kernel of this file alone: the cache knows no other sources than the package's."""
    each.serial._cache = each.parallel._cache = NullCache()
    return each


@outlined_function
def turns_together(meeting: Any, wanted: Any, late: Any, turns: Any, written: Any, counts: Any, seen: Any) -> None:
    """In every turn members write its number, meet, and add up what all have written. Who is `late` sleeps before."""
    for _ in range(late):
        nap()
    member, begins = join(meeting, wanted)
    if member < 0:
        atomic_add(seen, len(seen) - 1, 1)
        return
    for turn in range(begins, turns):
        members = members_of(meeting)
        counts[member, turn] = members
        written[member * CLAIM] = turn + 1
        meet(meeting, members)
        for k in range(members):
            seen[member] += written[k * CLAIM]
        if members < wanted and turn + 1 < turns:
            meet_and_let_in(meeting, member, members, turn + 1)
        else:
            meet(meeting, members)
        if members < wanted:  # a turn then takes as long as each of the naps of who is late
            nap()
    leave(meeting, member)


@uncached
@kernel(work=lambda *_: 1e9)
def team(meeting: Any, wanted: Any, late: Any, turns: Any, written: Any, counts: Any, seen: Any) -> Any:
    open_door(meeting)
    for k in prange(wanted):
        turns_together(meeting, wanted, late * np.intp(k), turns, written, counts, seen)
    return IN_PARALLEL


def run_team(threads: int, *, late: int = 0, turns: int = 2000, call: Any = team) -> tuple[list[int], int]:
    """How many members each turn had, and how many came too late; who was there is checked to have seen all."""
    counts, seen = np.zeros((threads, turns), np.intp), np.zeros(threads + 1, np.intp)
    meeting, written = MEETINGS.setdefault(threads, words(WORDS)), words(threads * CLAIM)
    assert call(meeting, threads, late, turns, written, counts, seen) is (call is not team.serial)
    members = counts[0]
    for member in range(threads):
        there = members > member
        np.testing.assert_array_equal(counts[member], np.where(there, members, 0))
        assert seen[member] == (members * np.arange(1, turns + 1))[there].sum()
    assert (np.diff(members) >= 0).all()
    return members.tolist(), int(seen[-1])


MEETINGS: dict[int, Any] = {}


@pytest.mark.parametrize("threads", THREADS)
def test_members_see_what_others_wrote_before_they_met(threads: int) -> None:
    """And a whole team comes together, sooner or later."""
    with use_threads(threads):
        runs = [run_team(threads) for _ in range(10)]
    assert max(members[-1] for members, _ in runs) == threads
    assert all(members[-1] + late == threads for members, late in runs)


@pytest.mark.skipif(numba.config.NUMBA_NUM_THREADS < 2, reason="there is one thread")
def test_who_comes_later_is_let_in_when_a_step_begins() -> None:
    with use_threads(2):
        runs = [(run_team(2, late=200, turns=1000)[0], MEETINGS[2][teams.MISSED]) for _ in range(5)]
    assert any(members[0] == 1 and members[-1] == 2 for members, _ in runs)
    assert all(missed == (members[0] < 2) for members, missed in runs)


def test_a_team_does_without_who_does_not_come() -> None:
    """One thread goes through the region for three: it is a team of one, and finds that all is done then."""
    for _ in range(2):
        assert run_team(3, turns=10, call=team.serial) == ([1] * 10, 2)
        assert MEETINGS[3][teams.MISSED] == 1
    assert run_team(1, turns=10, call=team.serial) == ([1] * 10, 0)
    assert MEETINGS[1][teams.MISSED] == 0
    assert run_team(1, turns=0, call=team.serial) == ([], 0)


@outlined_function
def wait_for_the_last(meeting: Any, wanted: Any, naps: Any, alone: Any) -> None:
    """The last member comes to the meeting so many naps later."""
    member, _ = join(meeting, wanted)
    if member < 0:
        return
    members = members_of(meeting)
    alone[0] = 1 if members == 1 else 0
    if member == members - 1:
        for _ in range(naps):
            nap()
    meet(meeting, members)
    leave(meeting, member)


@uncached
@kernel(work=lambda *_: 1e9)
def waiters(meeting: Any, wanted: Any, naps: Any, alone: Any) -> None:
    open_door(meeting)
    for _ in prange(wanted):
        wait_for_the_last(meeting, wanted, naps, alone)


@pytest.mark.skipif(numba.config.NUMBA_NUM_THREADS < 2, reason="there is one thread")
def test_waits_are_counted_and_those_of_the_last_call_alone() -> None:
    """Whether a member waits at a meeting, or comes when all is done: the others' naps are its time, 40 ms or more."""
    meeting, alone, naps = words(WORDS), np.zeros(1, np.intp), 800 if os.name == "posix" else 40
    with use_threads(2):
        for _ in range(10):
            began = time.perf_counter()
            waiters(meeting, 2, naps, alone)
            seconds = time.perf_counter() - began
            waited = meeting[teams.WAITED] * teams.TICK
            assert 0.02 < waited <= seconds, alone
    waiters.serial(meeting, 1, naps, alone)
    assert meeting[teams.WAITED] == 0


@outlined_function
def take(meeting: Any, wanted: Any, claims: Any, shares: Any, times: Any) -> None:
    member, _ = join(meeting, wanted)
    if member < 0:
        return
    members = members_of(meeting)
    for k in range(len(shares)):
        share = (member + k) % len(shares)
        number = claim(claims, share, 5, 5 + shares[share], members) - 5
        while number < shares[share]:
            atomic_add(times, share * 1000 + number, 1)
            number = claim(claims, share, 5, 5 + shares[share], members) - 5
    leave(meeting, member)


@uncached
@kernel(work=lambda *_: 1e9)
def take_all(meeting: Any, wanted: Any, claims: Any, shares: Any, times: Any) -> None:
    open_door(meeting)
    no_claims(claims)
    for _ in prange(wanted):
        take(meeting, wanted, claims, shares, times)


@pytest.mark.parametrize("threads", THREADS)
def test_everything_is_claimed_once(threads: int) -> None:
    shares = np.array([1000, 0, 1, 700], np.intp)
    claims, meeting = words(len(shares) * CLAIM), words(WORDS)
    with use_threads(threads):
        for _ in range(20):
            times = np.zeros(4000, np.intp)
            take_all(meeting, threads, claims, shares, times)
            assert [times[k * 1000 : k * 1000 + count].tolist() for k, count in enumerate(shares)] == [
                [1] * count for count in shares
            ]
            assert times.sum() == shares.sum()


def test_the_parallel_build_knows_that_it_is_parallel() -> None:
    assert not steps.serial.py_func.__globals__["IN_PARALLEL"]
    assert steps.parallel.py_func.__globals__["IN_PARALLEL"]
    assert not steps.py_func.__globals__["IN_PARALLEL"]


FIT = """
import sys
import numba
import numpy as np
import jitnet as jn
from jitnet.forms import tiled

net, rng = jn.Network([70, 300, 5], dtype="float32", seed=0), np.random.default_rng(0)
X, T = rng.standard_normal((640, 70)).astype("f4"), rng.standard_normal((640, 5)).astype("f4")
net.fit(X, T, optimizer="adam", epochs=3, batch_size=160, threads=int(sys.argv[1]))
assert tiled.steps.parallel.signatures
print(numba.threading_layer(), net.theta.tobytes().hex())
"""


def theta_of(threads: int, **environment: str) -> list[str]:
    """The threading layer, and the parameters after a `fit` in a process of its own."""
    run = subprocess.run(
        [sys.executable, "-c", FIT, str(threads)], env={**os.environ, "NUMBA_NUM_THREADS": str(threads), **environment},
        capture_output=True, text=True, timeout=300, check=False, cwd=Path(__file__).parent.parent,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    return run.stdout.split()


def test_a_fit_has_the_same_bits_whoever_comes() -> None:
    """One thread; more than there are cores; fewer than were asked for (OpenMP's limit); another threading layer."""
    layer, wanted = theta_of(1)
    assert theta_of(6)[1] == wanted
    assert theta_of(3, NUMBA_THREADING_LAYER="workqueue") == ["workqueue", wanted]
    if layer == "omp":
        assert theta_of(2, OMP_THREAD_LIMIT="1") == ["omp", wanted]


def test_networks_train_side_by_side_in_two_python_threads() -> None:
    """Two teams at once, of more threads than there are cores, do not wait for each other."""
    rng = np.random.default_rng(0)
    X, T = rng.standard_normal((640, 70)).astype("f4"), rng.standard_normal((640, 5)).astype("f4")

    def fitted(_: int) -> bytes:
        net = jn.Network([70, 300, 5], dtype="float32", seed=0)
        net.fit(X, T, optimizer="adam", epochs=3, batch_size=160)
        return net.theta.tobytes()

    alone = fitted(0)
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(fitted, range(4))) == [alone] * 4


@pytest.mark.skipif(numba.config.NUMBA_NUM_THREADS >= 6, reason="this is that process, or has as many by itself")
@pytest.mark.parametrize("file", ["test_teams.py", "test_tiled_steps.py", "test_nonzeros.py"])
def test_teams_of_six(file: str) -> None:
    """More threads than most test machines have cores, so that members come and go as they like."""
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(Path(__file__).parent / file), "-k",
         "team or workers or parallel or member or claimed"],
        env={**os.environ, "NUMBA_NUM_THREADS": "6"}, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout[-4000:]
    assert "passed" in run.stdout
