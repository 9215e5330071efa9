"""How many threads steps get, on machines made up here and on this one."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import pytest

import jitnet as jn
from jitnet import pace as paces
from jitnet import training
from jitnet.forms import tiled
from jitnet.forms.tiled_work import TiledWork
from jitnet.pace import BEGINS, LONGEST_PAUSE, SPELL, TRIAL, TRIALS_APART, Pace
from jitnet.teams import TICK, WAITED

Machine = Callable[[int], tuple[float, float]]  # threads -> seconds a step, share of the time that they waited


def alone(threads: int) -> tuple[float, float]:
    return 1e-3 / threads, 0.0


def beside(busy: int, cores: int) -> Machine:
    """A machine where so many cores are busy: whoever gets one of these keeps all others waiting."""

    def machine(threads: int) -> tuple[float, float]:
        return (3e-3, 0.6) if threads > cores - busy else (1e-3 / threads, 0.0)

    return machine


def few_panels(threads: int) -> tuple[float, float]:
    """More threads than a part of the step has work for: they wait, and are of use in the other part."""
    return 1e-3 / min(threads, 4) + 1e-4 / threads, 0.3 if threads > 4 else 0.0


def slower(machine: Machine, times: float) -> Machine:
    return lambda threads: (machine(threads)[0] * times, machine(threads)[1])


def paced(most: int) -> Pace:
    """After its first call."""
    pace = Pace(most)
    pace.learn(1, 100.0, 1.0)
    assert pace.threads == most
    return pace


def run(pace: Pace, machine: Machine, seconds: float, *, call: float = 0.2) -> tuple[list[int], int]:
    """The threads of each call, and how many steps were taken in so much time; calls grow as those of a `fit` do."""
    threads, taken, now, at_once = [], 0, 0.0, 1
    while now < seconds:
        a_step, waited = machine(pace.threads)
        steps = int(min(at_once, pace.steps))
        threads.append(pace.threads)
        taken, now = taken + steps, now + steps * a_step
        pace.learn(steps, steps * a_step, waited)
        if steps * a_step > call:
            at_once = max(1, at_once // 2)
        elif steps * a_step < call / 2 and steps == at_once:
            at_once *= 2
    return threads, taken


def test_nobody_is_sent_away_where_nobody_waits() -> None:
    for most in (1, 2, 16):
        assert set(run(paced(most), alone, 100)[0]) == {most}


def test_one_thread_has_nothing_to_try() -> None:
    assert set(run(paced(1), lambda _: (1e-3, 1.0), 10)[0]) == {1}


@pytest.mark.parametrize("call", [1e-3, 0.2, 3.0])
@pytest.mark.parametrize("cores", [2, 3, 6, 16, 96])
def test_fewer_where_others_are_busy_and_all_when_they_are_not(cores: int, call: float) -> None:
    """Whatever number of cores is free, threads come near it, and back."""
    for busy in sorted({1, cores // 3, cores // 2, cores - 1} - {0}):
        pace, machine = paced(cores), beside(busy, cores)
        at_best = 60 / (1e-3 / (cores - busy))
        assert run(pace, machine, 60 * max(1, call), call=call)[0][0] == cores
        assert run(pace, machine, 60, call=call)[1] > 0.75 * at_best, busy
        assert run(pace, alone, 60 * max(1, call), call=call)[0][-1] == cores, busy


@pytest.mark.parametrize("times", [1, 1000, 10_000])
def test_trials_in_vain_cost_little(times: float) -> None:
    """Where threads wait for good reasons, and where few are best; for steps of a millisecond and of ten seconds."""
    for machine, most in ((few_panels, 16), (beside(1, 2), 2)):
        pace, slow = paced(most), slower(machine, times)
        run(pace, slow, 30 * times)
        best = max(1 / slow(threads)[0] for threads in range(1, most + 1))
        assert run(pace, slow, 100 * times)[1] > (0.97 if times == 1 else 0.85) * 100 * times * best


def test_all_threads_are_back_soon_whatever_a_step_takes() -> None:
    for times in (1, 1000):
        pace = paced(2)
        run(pace, slower(beside(1, 2), times), 100 * times)
        threads = run(pace, slower(alone, times), 100 * times, call=0.2 * times)[0]
        assert threads.index(2) < 0.5 * len(threads)
        assert threads[-1] == 2


def test_noise_costs_little() -> None:
    """Every fourth call takes up to twice as long, by chance."""
    rng = np.random.default_rng(0)

    def noisy(machine: Machine) -> Machine:
        return lambda threads: (machine(threads)[0] * (1 + (rng.random() < 0.25) * rng.random()), machine(threads)[1])

    for machine, most, best in ((few_panels, 16, 16), (beside(1, 2), 2, 1), (beside(5, 16), 16, 11)):
        taken = run(paced(most), noisy(machine), 300)[1]
        assert taken > 0.93 * 300 / (machine(best)[0] * (1 + 0.25 / 2))


def test_a_trial_has_few_steps_and_goes_on_where_it_is_faster() -> None:
    pace = paced(2)
    assert pace.steps == math.inf
    pace.learn(1000, 1.0, 0.5)  # a millisecond each
    assert (pace.threads, pace.steps) == (1, int(TRIAL / BEGINS / 1e-3))
    pace.learn(1, 1.5e-3, 0.0)
    assert (pace.threads, pace.steps) == (1, int((TRIAL - 1.5e-3) / 1.5e-3))
    pace.learn(20, 20 * 1.5e-3, 0.0)
    assert (pace.threads, pace.steps) == (2, math.inf)  # in vain
    pace.learn(1000, 1.0, 0.5)
    assert pace.threads == 1
    pace.learn(30, 30 * 0.95e-3, 0.0)  # hardly faster is not enough for fewer
    assert pace.threads == 2
    pace.learn(1000, 1.0, 0.5)
    pace.learn(30, 30 * 0.8e-3, 0.0)
    assert (pace.threads, pace.steps) == (1, int((SPELL - 24e-3) / 0.8e-3))
    pace.learn(40, 40 * 0.8e-3, 0.0)
    assert (pace.threads, pace.steps) == (1, math.inf)
    pace.learn(100, 0.08, 0.0)  # nobody waits, and more are tried
    assert pace.threads == 2
    pace.learn(100, 0.95 * 0.08, 0.0)
    assert (pace.threads, pace.steps) == (2, math.inf)  # faster at all


@pytest.mark.parametrize("times", [3, 12, 50, 200])
def test_a_trial_is_short_however_slow_it_is(times: float) -> None:
    """Two threads that take so many times as long as one, steps of 50 us; what waits long is tried seldom."""

    def machine(threads: int) -> tuple[float, float]:
        return (times * 50e-6, 0.6) if threads == 2 else (50e-6, 0.0)

    pace = paced(2)
    run(pace, machine, 10)
    assert run(pace, machine, 100)[1] > (0.97 if times < 100 else 0.94) * 100 / 50e-6
    longest, now = 0.0, 0.0
    while now < 100:
        a_step, waited = machine(pace.threads)
        steps = int(min(4096, pace.steps))
        longest = max(longest, steps * a_step if pace.threads == 2 else 0.0)
        now += steps * a_step
        pace.learn(steps, steps * a_step, waited)
    assert 0 < longest <= max(SPELL, 1.01 * times * TRIAL / BEGINS)


def test_a_copy_has_learnt_nothing() -> None:
    pace = Pace(2, ("tiled", 32))
    pace.learn(1, 1.0, 0.0)
    pace.learn(1000, 1.0, 0.5)
    assert pace.threads == 1
    for other in (copy.deepcopy(pace), pickle.loads(pickle.dumps(pace))):
        assert other.knows(pace)
        assert vars(other) == vars(Pace(2, ("tiled", 32)))


def test_what_is_usual_is_what_the_last_spell_took() -> None:
    pace = paced(2)
    pace.learn(10, 1.0, 0.0)
    pace.learn(1000, 1.0, 0.5)  # a millisecond each; both spells together, two
    pace.learn(30, 30 * 1.5e-3, 0.0)
    assert pace.threads == 2


def test_the_first_call_says_nothing() -> None:
    """It may compile."""
    pace = Pace(2)
    pace.learn(1, 11.0, 1.0)
    assert (pace.threads, pace.steps) == (2, math.inf)


def test_short_calls_make_a_spell_together() -> None:
    pace = paced(2)
    for _ in range(9):
        pace.learn(1, SPELL / 10, 0.5)
        assert pace.threads == 2
    pace.learn(0, 0.0, 0.0)  # a call that took no step, or no time
    pace.learn(1, 0.0, 1.0)
    pace.learn(1, SPELL / 5, 0.5)
    assert pace.threads == 1


def test_pauses_grow_and_end() -> None:
    pace, pauses = paced(2), []
    for _ in range(12):
        pauses.append(0.0)
        while pace.threads == 2:
            pace.learn(10, SPELL, 1.0)
            pauses[-1] += SPELL
        pace.learn(1, TRIAL * 1.01, 0.0)
    shortest = TRIALS_APART * TRIAL
    wanted = [0.0, *(min(max(SPELL * 2**k, shortest), LONGEST_PAUSE) for k in range(1, 12))]
    np.testing.assert_allclose(pauses, wanted, atol=2 * SPELL)
    pace.learn(100, LONGEST_PAUSE, 1.0)
    pace.learn(1, 10.0, 0.0)  # a trial that takes long is paid for before the next
    for _ in range(19):
        pace.learn(100, 10.0, 1.0)
        assert pace.threads == 2
    pace.learn(100, 11.0, 1.0)
    assert pace.threads == 1


# --- of a training --------------------------------------------------------------------------------------------------


@pytest.fixture
def data() -> Any:
    rng = np.random.default_rng(0)
    return rng.standard_normal((640, 70)).astype("f4"), rng.standard_normal((640, 5)).astype("f4")


def fitted(data: Any, **fit: Any) -> jn.Network:
    net = jn.Network([70, 300, 5], dtype="float32", seed=0)
    net.fit(*data, **{"optimizer": "adam", "epochs": 6, "batch_size": 160, **fit})
    return net


THREADS = numba.config.NUMBA_NUM_THREADS
several = pytest.mark.skipif(THREADS < 2, reason="there is one thread")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int, int]]:
    """Of each call of `steps`: the workers that it has buffers for, the threads that there are, its steps."""
    made: list[tuple[int, int, int]] = []
    steps = tiled.steps

    def note(net: Any, theta: Any, given: Any, rule: Any, work: Any) -> int:
        made.append((work.workers, numba.get_num_threads(), len(rule.coefficients)))
        return steps(net, theta, given, rule, work)

    monkeypatch.setattr(tiled, "steps", note)
    return made


@several
def test_steps_have_the_threads_that_pace_says_and_bits_do_not_depend_on_it(
    data: Any, calls: list[tuple[int, int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = fitted(data, threads=1).theta
    assert {call[:2] for call in calls} == {(1, 1)}
    calls.clear()
    said: list[int] = []
    rng = np.random.default_rng(0)

    def anything(self: Pace, steps: int, seconds: float, waited: float) -> None:
        self._usual, self._now = 1e-3, int(rng.integers(1, THREADS + 1))
        said.append(self._now)

    monkeypatch.setattr(Pace, "learn", anything)
    np.testing.assert_array_equal(fitted(data).theta, wanted)
    assert len(set(said)) > 1
    assert [call[:2] for call in calls[1:]] == [(threads, threads) for threads in said]  # the judging call too
    assert calls[0][:2] == (THREADS, THREADS)
    assert numba.get_num_threads() == THREADS


@several
def test_a_fit_tries_fewer_threads_where_these_wait(
    data: Any, calls: list[tuple[int, int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TiledWork, "seconds_waited", lambda self: 1e9)
    monkeypatch.setattr(paces, "SPELL", 1e-9)
    fitted(data)
    assert {workers for workers, _, _ in calls} > {THREADS}
    trials = [steps for workers, _, steps in calls if workers < THREADS]
    assert trials
    monkeypatch.setattr(TiledWork, "seconds_waited", lambda self: 0.0)
    calls.clear()
    fitted(data)
    assert {workers for workers, _, _ in calls} == {THREADS}


@several
def test_a_trial_of_a_fit_has_few_steps(
    data: Any, calls: list[tuple[int, int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Pace, "steps", property(lambda self: 3))
    fitted(data, batch_size=32)
    assert max(steps for _, _, steps in calls[:-1]) == 3


@several
def test_what_pace_is_told(data: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, float, float]] = []
    monkeypatch.setattr(Pace, "learn", lambda self, *what: told.append(what))
    waits = []

    def seconds_waited(self: TiledWork) -> float:
        waits.append(seconds_of(self))
        return waits[-1]

    seconds_of = TiledWork.seconds_waited
    monkeypatch.setattr(TiledWork, "seconds_waited", seconds_waited)
    fitted(data)
    assert sum(steps for steps, _, _ in told) == 24
    for (_, seconds, waited), wait in zip(told, waits, strict=True):
        assert waited == wait / (THREADS * seconds)
        assert 0 <= waited <= 1
    told.clear()
    for elsewhere in ({"threads": 1}, {"form": "plain"}, {"form": "matrix"}):  # no team, so that nobody is asked
        fitted(data, **elsewhere)
    assert told == []


def test_seconds_waited() -> None:
    net = jn.Network([70, 300, 5])
    work = tiled.work(net.layout, 160, 1, "float32")
    assert work.seconds_waited() == 0
    work.meeting[WAITED] = 5_000_000
    assert work.seconds_waited() == 5_000_000 * TICK


@several
def test_the_next_fit_knows_what_the_last_has_learnt(data: Any) -> None:
    net = fitted(data)
    place: Any = net.continuation
    first = place.pace
    assert first.most == THREADS
    fit = {"optimizer": "adam", "epochs": 1, "batch_size": 160}
    net.fit(*data, **fit)
    assert net.continuation is place
    assert place.pace is first
    for other in ({"batch_size": 320}, {"threads": 1}, {"form": "matrix"}):
        net.fit(*data, **fit)
        before = place.pace
        net.fit(*data, **{**fit, **other})
        assert place.pace is not before
        assert place.pace.most == (THREADS if "batch_size" in other else 1)


def test_how_many_steps_a_call_has(
    data: Any, calls: list[tuple[int, int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many as take the time between two looks, and never more than there is room for."""
    monkeypatch.setattr(training, "LOOK_EVERY", 1e9)
    monkeypatch.setattr(training, "MOST_STEPS", 5)
    monkeypatch.setattr(Pace, "learn", lambda self, *what: None)
    fitted(data, batch_size=32, epochs=2)
    assert [steps for _, _, steps in calls[:-1]] == [1, 2, 4, 5, 5, 3, 5, 5, 5, 5]
    calls.clear()
    monkeypatch.setattr(training, "LOOK_EVERY", 1e-9)
    fitted(data, batch_size=32, epochs=2)
    assert {steps for _, _, steps in calls} == {1}
