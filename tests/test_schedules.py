"""Schedules: against PyTorch's and worked values, and what they refuse."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from jitnet.errors import InputError
from jitnet.schedules import (
    Constant,
    Cosine,
    Exponential,
    InverseScaling,
    OneCycle,
    PlateauState,
    ReduceOnPlateau,
    Schedule,
    StepDecay,
    WarmUp,
    evaluate,
)

SCHEDULES = [
    Constant(0.1),
    InverseScaling(0.1),
    StepDecay(0.1, every=7),
    Exponential(0.1, 0.97),
    Cosine(0.1, steps=30, lr_min=0.01),
    OneCycle(0.1, steps=40),
    WarmUp(5, 0.1),
    WarmUp(5, Cosine(0.1, steps=30)),
    WarmUp(5, lambda t: 0.1 / (1 + t)),
]

# What a type checker would refuse, too.
A_CLASS: Any = Cosine
PLATEAU: Any = ReduceOnPlateau(0.1)


def torch_rates(make: Callable[[Any, Any], Any], lr: float, steps: int) -> NDArray[np.float64]:
    """The rates of the first `steps` steps under `make(torch.optim.lr_scheduler, optimiser)`."""
    torch = pytest.importorskip("torch")
    rule = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)
    scheduler = make(torch.optim.lr_scheduler, rule)
    found = []
    for _ in range(steps):
        found.append(rule.param_groups[0]["lr"])
        rule.step()
        scheduler.step()
    return np.array(found)


@pytest.mark.parametrize(
    ("ours", "make", "lr", "steps"),
    [
        (StepDecay(0.1, every=7), lambda s, r: s.StepLR(r, 7), 0.1, 50),
        (StepDecay(0.1, every=1, factor=0.5), lambda s, r: s.StepLR(r, 1, 0.5), 0.1, 50),
        (Exponential(0.1, 0.97), lambda s, r: s.ExponentialLR(r, 0.97), 0.1, 200),
        (Cosine(0.1, steps=30), lambda s, r: s.CosineAnnealingLR(r, 30), 0.1, 31),
        (Cosine(0.1, steps=30, lr_min=0.02), lambda s, r: s.CosineAnnealingLR(r, 30, 0.02), 0.1, 31),
        (OneCycle(0.5, steps=40), lambda s, r: s.OneCycleLR(r, 0.5, 40), 0.1, 40),
        (
            OneCycle(0.5, steps=33, start=0.5, div_factor=10, final_div_factor=100),
            lambda s, r: s.OneCycleLR(r, 0.5, 33, pct_start=0.5, div_factor=10, final_div_factor=100),
            0.1,
            33,
        ),
        (OneCycle(0.5, steps=20, start=0), lambda s, r: s.OneCycleLR(r, 0.5, 20, pct_start=0.0), 0.1, 20),
        (WarmUp(9, 0.2), lambda s, r: s.LinearLR(r, start_factor=1 / 10, total_iters=9), 0.2, 30),
        (InverseScaling(0.2), lambda s, r: s.LambdaLR(r, lambda t: 1 / math.sqrt(t + 1)), 0.2, 50),
    ],
    ids=lambda value: str(value) if isinstance(value, Schedule) else "",
)
def test_rates_are_pytorchs(ours: Schedule, make: Callable[[Any, Any], Any], lr: float, steps: int) -> None:
    # OneCycleLR also moves the momentum of an optimiser that has one; its rates do not depend on that.
    np.testing.assert_allclose(ours.at(np.arange(steps)), torch_rates(make, lr, steps), rtol=1e-12, atol=1e-17)


def test_worked_values() -> None:
    np.testing.assert_array_equal(Constant(0.25).at(np.arange(3)), [0.25, 0.25, 0.25])
    np.testing.assert_allclose(InverseScaling(1.0).at(np.array([0, 3, 99])), [1, 0.5, 0.1])
    np.testing.assert_allclose(InverseScaling(1.0, power=1).at(np.array([0, 3, 99])), [1, 0.25, 0.01])
    np.testing.assert_allclose(StepDecay(1.0, every=2, factor=0.5).at(np.arange(5)), [1, 1, 0.5, 0.5, 0.25])
    np.testing.assert_allclose(Exponential(1.0, 0.5).at(np.arange(4)), [1, 0.5, 0.25, 0.125])
    np.testing.assert_allclose(Cosine(1.0, 4, lr_min=0.5).at(np.array([0, 2, 4, 5, 10**9])), [1, 0.75, 0.5, 0.5, 0.5])
    np.testing.assert_allclose(WarmUp(3, 1.0).at(np.arange(6)), [0.25, 0.5, 0.75, 1, 1, 1])


def test_warm_up_ends_where_the_next_schedule_begins() -> None:
    after = Exponential(0.8, 0.5)
    np.testing.assert_allclose(WarmUp(3, after).at(np.arange(6)), [0.2, 0.4, 0.6, 0.8, 0.4, 0.2])
    np.testing.assert_allclose(WarmUp(1, WarmUp(1, after)).at(np.arange(4)), [0.2, 0.4, 0.8, 0.4])
    np.testing.assert_array_equal(WarmUp(3, lambda t: 10.0 + t).at(np.arange(3, 6)), [10, 11, 12])


def test_one_cycle_ends_low_and_stays_there() -> None:
    cycle = OneCycle(1.0, steps=10, start=0.3)
    eta = cycle.at(np.arange(20))
    assert eta.argmax() == 2
    assert (eta[0], eta[2]) == (pytest.approx(1 / 25), 1.0)
    np.testing.assert_allclose(eta[9:], 1 / 25 / 1e4)


@pytest.mark.parametrize(("steps", "start"), [(1, 0.3), (1, 1.0), (2, 0.5), (10, 0.1), (10, 0.0), (10, 1.0)])
def test_one_cycle_with_a_phase_of_no_length(steps: int, start: float) -> None:
    eta = OneCycle(1.0, steps, start).at(np.arange(steps + 3))
    assert np.isfinite(eta).all()
    assert (eta > 0).all()
    assert (eta <= 1).all()
    assert start == 0.0 or steps * start < 1 or eta.max() == 1.0


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda value: type(value).__name__)
def test_one_step_at_a_time_or_all_at_once(schedule: Schedule) -> None:
    t = np.arange(60)
    eta = schedule.at(t)
    assert eta.dtype == np.float64
    assert [schedule(k) for k in range(60)] == eta.tolist()
    np.testing.assert_array_equal(schedule.at(t[17:23]), eta[17:23])
    assert schedule.at(t[:0]).shape == (0,)
    for bad in (-1, 1.5, "1", True):
        with pytest.raises(InputError, match=f"{type(schedule).__name__} t: "):
            schedule(bad)  # type: ignore[arg-type]


# ---- plateau ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{}, {"patience": 2, "factor": 0.5}, {"patience": 0, "threshold": 0.01}])
def test_reduce_on_plateau_is_pytorchs(settings: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    rule = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(rule, min_lr=1e-4, eps=0, **settings)
    run = ReduceOnPlateau(0.1, lr_min=1e-4, **settings).start()
    rng = np.random.default_rng(5)
    rates = []
    for epoch in range(120):
        loss = math.exp(-epoch / 20) + 0.1 + 0.05 * rng.random() if epoch % 17 else math.nan
        theirs.step(loss)
        run.observe(loss)
        assert run.rate == pytest.approx(rule.param_groups[0]["lr"], rel=1e-14)
        rates.append(run.rate)
    assert rates[-1] < 0.1  # it did come down


def test_plateau_by_hand() -> None:
    settings = ReduceOnPlateau(1.0, factor=0.5, patience=1, threshold=0.25, lr_min=0.2)
    run, seen = settings.start(), []
    for loss in (8.0, 7.0, 5.0, 4.0, 4.0, 5.0, 4.0, 4.0, 4.0, 4.0, 1.0):
        run.observe(loss)
        seen.append((run.rate, run.best, run.waited))
    assert seen == [
        (1.0, 8.0, 0),  # the first loss is the best
        (1.0, 8.0, 1),  # 7 is not below 8 - 2
        (1.0, 5.0, 0),
        (1.0, 5.0, 1),  # 4 is not below 5 - 1.25
        (0.5, 5.0, 0),  # two epochs without improvement: more than patience
        (0.5, 5.0, 1),
        (0.25, 5.0, 0),
        (0.25, 5.0, 1),
        (0.2, 5.0, 0),  # 0.125 is below lr_min
        (0.2, 5.0, 1),
        (0.2, 1.0, 0),
    ]


def test_plateau_of_a_negative_loss() -> None:
    run = ReduceOnPlateau(1.0, patience=0, factor=0.5, threshold=0.1).start()
    run.observe(-1.0)
    run.observe(-1.2)
    assert (run.rate, run.best) == (1.0, -1.2)
    run.observe(-1.15)  # worse, though above the best by less than the threshold
    assert (run.rate, run.best) == (0.5, -1.2)


def test_one_plateau_serves_two_runs_and_a_checkpoint() -> None:
    settings = ReduceOnPlateau(1.0, patience=0)
    first, second = settings.start(), settings.start()
    for _ in range(3):
        first.observe(1.0)
    assert first.rate == pytest.approx(0.01)
    assert second == PlateauState(settings, 1.0)
    again = pickle.loads(pickle.dumps(first))
    assert again == first
    assert again is not first


# ---- evaluate and refusals -------------------------------------------------------------------------------------------


def test_evaluate() -> None:
    t = np.array([0, 1, 5])
    np.testing.assert_array_equal(evaluate(0.5, t), [0.5, 0.5, 0.5])
    np.testing.assert_array_equal(evaluate(lambda t: t / 2, t), [0, 0.5, 2.5])
    np.testing.assert_array_equal(evaluate(Exponential(1.0, 0.5), t), [1, 0.5, 1 / 32])
    for none in (0.5, lambda t: 1.0, Constant(0.5)):
        assert evaluate(none, t[:0]).dtype == np.float64


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0.1, -0.2, np.nan], r"^lr at step 1: -0\.2 given, a number >= 0 is wanted$"),
        ([0.1, 0.2, np.nan], r"^lr at step 5: nan given, a finite number is wanted$"),
        ([np.inf, 0.2, 0.1], r"^lr at step 0: inf given"),
        ([0.1, 0.2], r"^lr: `at` returned float64 values of shape \(2,\), real numbers of shape \(3,\) are wanted$"),
        ([0.1j, 0.2, 0.1], r"^lr: `at` returned complex128"),
        (["a", "b", "c"], r"^lr: `at` returned <U1"),
        ([True, True, True], r"^lr: `at` returned bool"),
    ],
)
def test_bad_rates_are_named(values: list[Any], message: str) -> None:
    class Given:
        def __call__(self, t: int) -> float:
            raise AssertionError("`at` is there to be used")

        def at(self, t: NDArray[np.int64]) -> NDArray[Any]:
            return np.array(values)

    with pytest.raises(InputError, match=message):
        evaluate(Given(), np.array([0, 1, 5]))


def test_bad_rates_inside_a_warm_up_are_named() -> None:
    with pytest.raises(InputError, match=r"WarmUp after at step 1: -1\.0 given"):
        WarmUp(2, lambda t: 0.0 - t).at(np.arange(4))


@pytest.mark.parametrize("schedule", [*SCHEDULES[:7], ReduceOnPlateau(0.1)], ids=lambda value: type(value).__name__)
def test_every_bad_setting_is_refused(schedule: Any) -> None:
    good = {f.name: getattr(schedule, f.name) for f in fields(schedule)}
    for name, value in good.items():
        bad: list[Any] = [-1, "3", True, None, 1j, math.nan, math.inf]
        bad += [2.5] if type(value) is int else []
        for wrong in bad:
            with pytest.raises(InputError, match=f"^{type(schedule).__name__} {name}: "):
                type(schedule)(**{**good, name: wrong})
    with pytest.raises(AttributeError):
        schedule.lr = 0.5


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: StepDecay(0.1, every=0), r"StepDecay every: 0 given, a whole number >= 1 is wanted"),
        (lambda: StepDecay(0.1, every=5, factor=0), r"StepDecay factor"),
        (lambda: StepDecay(0.1, every=5, factor=1.1), r"StepDecay factor"),
        (lambda: Exponential(0.1, 0), r"Exponential factor"),
        (lambda: Exponential(0.1, 1.01), r"Exponential factor"),
        (lambda: Cosine(0.1, 0), r"Cosine steps"),
        (lambda: Cosine(0.1, 5, lr_min=0.2), r"Cosine lr_min: 0\.2 given, a number <= lr = 0\.1 is wanted"),
        (lambda: OneCycle(0.1, 10, start=1.5), r"OneCycle start"),
        (lambda: OneCycle(0.1, 10, div_factor=0.5), r"OneCycle div_factor"),
        (lambda: OneCycle(0.1, 10, final_div_factor=0), r"OneCycle final_div_factor"),
        (lambda: WarmUp(0, 0.1), r"WarmUp steps"),
        (lambda: WarmUp(5, A_CLASS), r"WarmUp after: the class Cosine given"),
        (lambda: WarmUp(5, PLATEAU), r"WarmUp after: ReduceOnPlateau\(.*\) \(ReduceOnPlateau\) given"),
        (lambda: ReduceOnPlateau(0.1, factor=1), r"ReduceOnPlateau factor"),
        (lambda: ReduceOnPlateau(0.1, threshold=1), r"ReduceOnPlateau threshold"),
        (lambda: ReduceOnPlateau(0.1, lr_min=0.2), r"ReduceOnPlateau lr_min: 0\.2 given, a number <= lr = 0\.1"),
    ],
)
def test_settings_out_of_range_are_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()
