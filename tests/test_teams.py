"""Threads that go through a loop together."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
from numba import prange

import jitnet as jn
from jitnet import teams
from jitnet._jit import kernel, outlined_function, use_threads
from jitnet.forms.tiled_steps import steps
from jitnet.layout import aligned
from jitnet.teams import CLAIM, WORDS, atomic_add, claim, join, meet, no_claims, open_door

IN_PARALLEL = False
THREADS = sorted({1, 2, min(4, numba.config.NUMBA_NUM_THREADS)} & set(range(1, numba.config.NUMBA_NUM_THREADS + 1)))


def words(count: int) -> Any:
    """Zeros on cache lines."""
    array = aligned((count,), np.intp)
    array[:] = 0
    return array


@outlined_function
def rounds(meeting: Any, wanted: Any, turns: Any, written: Any, seen: Any) -> None:
    """In every turn a member writes its number of turns, and adds up what all have written after they have met."""
    member, members = join(meeting, wanted)
    if member < 0:
        seen[-1, 1] += 1
        return
    seen[member, 0] = members
    for turn in range(1, turns + 1):
        written[member * CLAIM] = turn
        meet(meeting, members)
        for k in range(members):
            seen[member, 1] += written[k * CLAIM]
        meet(meeting, members)  # before anybody writes the next


@kernel(work=lambda *_: 1e9)
def team(meeting: Any, wanted: Any, turns: Any, written: Any, seen: Any) -> Any:
    open_door(meeting)
    for _ in prange(wanted):
        rounds(meeting, wanted, turns, written, seen)
    return IN_PARALLEL


@pytest.mark.parametrize("threads", THREADS)
def test_members_see_what_others_wrote_before_they_met(threads: int) -> None:
    turns, meeting = 2000, words(WORDS)
    with use_threads(threads):
        for _ in range(5):
            seen = np.zeros((threads + 1, 2), np.intp)
            assert team(meeting, threads, turns, words(threads * CLAIM), seen) is True
            members = seen[0, 0]
            assert 1 <= members <= threads
            assert list(seen[:members, 0]) == [members] * members
            assert list(seen[:members, 1]) == [members * turns * (turns + 1) // 2] * members
            assert seen[-1, 1] == threads - members


def test_a_team_does_without_who_does_not_come() -> None:
    """One thread goes through the region for three: it is a team of one, and finds the door closed then."""
    meeting = words(WORDS)
    for _ in range(2):
        seen = np.zeros((4, 2), np.intp)
        assert team.serial(meeting, 3, 10, words(3 * CLAIM), seen) is False
        assert seen.tolist() == [[1, 55], [0, 0], [0, 0], [0, 2]]
        assert meeting[teams.MISSED] == 1
    team.serial(meeting, 1, 10, words(CLAIM), seen)
    assert meeting[teams.MISSED] == 0


@outlined_function
def take(meeting: Any, wanted: Any, claims: Any, shares: Any, times: Any) -> None:
    member, members = join(meeting, wanted)
    if member < 0:
        return
    for k in range(len(shares)):
        share = (member + k) % len(shares)
        number = claim(claims, share, members)
        while number < shares[share]:
            atomic_add(times, share * 1000 + number, 1)
            number = claim(claims, share, members)


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
    from concurrent.futures import ThreadPoolExecutor

    rng = np.random.default_rng(0)
    X, T = rng.standard_normal((640, 70)).astype("f4"), rng.standard_normal((640, 5)).astype("f4")

    def fitted(_: int) -> bytes:
        net = jn.Network([70, 300, 5], dtype="float32", seed=0)
        net.fit(X, T, optimizer="adam", epochs=3, batch_size=160)
        return net.theta.tobytes()

    alone = fitted(0)
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(fitted, range(4))) == [alone] * 4
