"""How many threads steps get, on machines made up here and on this one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import pytest

import jitnet as jn
from jitnet import pace as paces
from jitnet import training
from jitnet.forms.tiled_work import TiledWork
from jitnet.pace import LONGEST_PAUSE, SPELL, TRIAL, Pace

Machine = Callable[[int], tuple[float, float]]  # threads -> seconds a step, share of the time that they slept


def alone(threads: int) -> tuple[float, float]:
    return 1e-3 / threads, 0.0


def beside(busy: int, cores: int) -> Machine:
    """A machine where so many cores are busy: whoever gets one of these keeps all others waiting."""

    def machine(threads: int) -> tuple[float, float]:
        return (3e-3, 0.6) if threads > cores - busy else (1e-3 / threads, 0.0)

    return machine


def few_panels(threads: int) -> tuple[float, float]:
    """More threads than a part of the step has work for: they sleep, and are of use in the other part."""
    return 1e-3 / min(threads, 4) + 1e-4 / threads, 0.3 if threads > 4 else 0.0


def run(pace: Pace, machine: Machine, seconds: float, *, call: float = 0.2) -> tuple[list[int], int]:
    """The threads of each call, and how many steps were taken in so much time."""
    threads, taken, now = [], 0, 0.0
    while now < seconds:
        a_step, slept = machine(pace.threads)
        steps = int(max(1, min(call / a_step, pace.steps)))
        threads.append(pace.threads)
        taken, now = taken + steps, now + steps * a_step
        pace.learn(steps, steps * a_step, slept)
    return threads, taken


def test_nobody_is_sent_away_where_nobody_sleeps() -> None:
    for most in (1, 2, 16):
        assert set(run(Pace(most, 32), alone, 100)[0]) == {most}


def test_one_thread_has_nothing_to_try() -> None:
    assert set(run(Pace(1, 32), lambda _: (1e-3, 1.0), 10)[0]) == {1}


@pytest.mark.parametrize("call", [1e-3, 0.2, 3.0])
@pytest.mark.parametrize(("cores", "busy", "best"), [(2, 1, 1), (4, 1, 3), (16, 1, 15), (16, 4, 12), (16, 15, 1)])
def test_fewer_where_others_are_busy_and_all_when_they_are_not(cores: int, busy: int, best: int, call: float) -> None:
    pace = Pace(cores, 32)
    threads, taken = run(pace, beside(busy, cores), 60, call=call)
    assert threads[0] == cores
    assert threads[-1] == best or threads.count(best) > 0.9 * len(threads)
    at_best = 60 * best / 1e-3
    assert taken > (0.9 if call < 1 else 0.5) * at_best
    assert run(pace, alone, 60, call=call)[0][-1] == cores


def test_trials_in_vain_cost_little() -> None:
    for machine in (few_panels, beside(1, 2)):
        pace = Pace(16 if machine is few_panels else 2, 32)
        run(pace, machine, 20)
        best = max(1 / machine(threads)[0] for threads in (1, 2, 4, 8, 12, 15, 16) if threads <= pace.most)
        assert run(pace, machine, 100)[1] > 0.98 * 100 * best


def test_a_trial_has_few_steps() -> None:
    pace = Pace(2, 32)
    assert pace.steps == np.inf
    pace.learn(100, 2 * SPELL, 0.5)
    assert (pace.threads, pace.steps) == (1, int(TRIAL / (2 * SPELL / 100)))
    pace.learn(1, 10 * TRIAL, 0.0)  # slower
    assert (pace.threads, pace.steps) == (2, np.inf)


def test_short_calls_make_a_spell_together() -> None:
    pace = Pace(2, 32)
    for _ in range(9):
        pace.learn(1, SPELL / 10, 0.5)
        assert pace.threads == 2
    pace.learn(0, 0.0, 0.0)  # a call that took no step
    pace.learn(1, SPELL / 5, 0.5)
    assert pace.threads == 1


def test_pauses_end() -> None:
    pace, spells = Pace(2, 32), []
    for _ in range(10):
        spells.append(0)
        while pace.threads == 2:
            pace.learn(10, SPELL, 1.0)
            spells[-1] += 1
        pace.learn(1, 1.0, 0.0)
    assert spells == [min(2**k, LONGEST_PAUSE) for k in range(10)]


# --- of a training --------------------------------------------------------------------------------------------------


@pytest.fixture
def data() -> Any:
    rng = np.random.default_rng(0)
    return rng.standard_normal((640, 70)).astype("f4"), rng.standard_normal((640, 5)).astype("f4")


def fitted(data: Any, fits: int = 1, **fit: Any) -> jn.Network:
    net = jn.Network([70, 300, 5], dtype="float32", seed=0)
    for _ in range(fits):
        net.fit(*data, **{"optimizer": "adam", "epochs": 6, "batch_size": 160, **fit})
    return net


several = pytest.mark.skipif(numba.config.NUMBA_NUM_THREADS < 2, reason="there is one thread")


@several
def test_bits_do_not_depend_on_what_is_tried(data: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = fitted(data, threads=1).theta
    used: list[int] = []
    learn = Pace.learn

    def note(self: Pace, steps: int, seconds: float, slept: float) -> None:
        used.append(self.threads)
        learn(self, steps, seconds, 1.0)

    monkeypatch.setattr(Pace, "learn", note)
    monkeypatch.setattr(paces, "SPELL", 0.0)
    monkeypatch.setattr(paces, "TRIAL", 0.0)
    np.testing.assert_array_equal(fitted(data).theta, wanted)
    assert len(set(used)) > 1
    assert max(used) == numba.get_num_threads()  # and it is what it was


@several
def test_the_next_fit_knows_what_the_last_has_learnt(data: Any) -> None:
    net = fitted(data)
    place: Any = net.continuation
    assert place.pace.most == numba.get_num_threads()
    first = place.pace
    net.fit(*data, optimizer="adam", epochs=1, batch_size=160)
    assert net.continuation is place
    assert place.pace is first
    for other in ({"batch_size": 320}, {"threads": 1, "batch_size": 160}):
        net.fit(*data, optimizer="adam", epochs=1, **other)
        assert place.pace is not first
        assert place.pace.most == other.get("threads", first.most)


@several
def test_a_call_says_how_much_its_threads_slept(data: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[float] = []
    monkeypatch.setattr(Pace, "learn", lambda self, steps, seconds, slept: told.append(slept))
    fitted(data)
    assert told
    assert all(0 <= slept <= 1 for slept in told)
    told.clear()
    monkeypatch.setattr(TiledWork, "share_slept", lambda self, seconds: self.workers / 100)
    fitted(data)
    assert set(told) == {numba.get_num_threads() / 100}
    told.clear()
    for elsewhere in ({"threads": 1}, {"form": "plain"}, {"form": "matrix"}):  # no team, so that nobody is asked
        fitted(data, **elsewhere)
    assert set(told) == {0.0}


def test_how_many_steps_a_call_has_stays_a_small_number(data: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []
    steps = training._take_steps
    monkeypatch.setattr(
        training,
        "_take_steps",
        lambda net, form, data, *rest: asked.append(len(data.order)) or steps(net, form, data, *rest),
    )
    fitted(data, epochs=40)
    assert max(asked) == 640
    assert asked[-1] == 640
