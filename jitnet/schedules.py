"""Schedules eta(t): the learning rate of step t, t = 0, 1, 2, ... counted over all mini-batches of a run.

Anything callable that takes the whole number t and returns a number >= 0 is a schedule. The ones below also have
`at`, the same formula over an array of steps, so that the rates of a whole epoch cost one NumPy expression and a
compiled training loop never calls back into Python. `evaluate` hides the difference.

All are frozen dataclasses and keep nothing between calls: one instance may serve many networks, and a resumed run
finds the rate it would have had. `ReduceOnPlateau` alone depends on what happened in the run; what it saw lives in a
separate `PlateauState`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from typing import Annotated, Any, TypeAlias, get_type_hints

import numpy as np
from numpy.typing import NDArray

from jitnet.errors import InputError, real, whole

Floats: TypeAlias = NDArray[np.float64]
Steps: TypeAlias = NDArray[np.int64]


# ---- settings that check themselves ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Settings:
    """Base of optimisers and schedules: immutable, each setting checked before the object exists (`InputError`).

    A setting's type carries its check: Annotated[type, check], where check(name, value) raises or returns what to keep.
    """

    def __post_init__(self) -> None:
        types = get_type_hints(type(self), include_extras=True)
        for field in fields(self):
            check: Callable[[str, Any], Any] = types[field.name].__metadata__[0]
            checked = check(f"{type(self).__name__} {field.name}", getattr(self, field.name))
            object.__setattr__(self, field.name, checked)


def _steady_or_schedule(argument: str, value: Any) -> float | Callable[[int], float]:
    """The check of a learning rate: a number >= 0 or a function of the step."""
    if isinstance(value, type):
        raise InputError(f"{argument}: the class {value.__name__} given, an instance is wanted: {value.__name__}(...)")
    return value if callable(value) else real(argument, value, least=0.0)


def _not_over(argument: str, value: float, limit_name: str, limit: float) -> None:
    """Refuse `value` > `limit`, where both are settings of one object."""
    if value > limit:
        raise InputError(f"{argument}: {value!r} given, a number <= {limit_name} = {limit!r} is wanted")


NotNegative: TypeAlias = Annotated[float, partial(real, least=0.0)]
Share: TypeAlias = Annotated[float, partial(real, least=0.0, below=1.0)]  # 0 <= share < 1
Factor: TypeAlias = Annotated[float, partial(real, above=0.0, most=1.0)]  # 0 < factor <= 1
Count: TypeAlias = Annotated[int, partial(whole, least=1)]
SteadyOrSchedule: TypeAlias = Annotated[float | Callable[[int], float], _steady_or_schedule]


# ---- functions of the step -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Schedule(Settings, ABC):
    """Base of the schedules that depend on the step alone."""

    def __call__(self, t: int) -> float:
        """The rate of step t >= 0."""
        return float(self.at(np.array([whole(f"{type(self).__name__} t", t)]))[0])

    def at(self, t: Steps) -> Floats:
        """The rates of the steps t (an array of whole numbers >= 0), float64, of t's shape."""
        return self._eta(np.asarray(t, np.float64))

    @abstractmethod
    def _eta(self, t: Floats) -> Floats:
        """The formula; t holds whole numbers."""


@dataclass(frozen=True)
class Constant(Schedule):
    """eta(t) = lr."""

    lr: NotNegative

    def _eta(self, t: Floats) -> Floats:
        return np.full(np.shape(t), self.lr)


@dataclass(frozen=True)
class InverseScaling(Schedule):
    """eta(t) = lr / (t + 1)^power, scikit-learn's "invscaling" counted in steps.

    Robbins and Monro (1951) ask for 0.5 < power <= 1.
    """

    lr: NotNegative
    power: NotNegative = 0.5

    def _eta(self, t: Floats) -> Floats:
        return self.lr / (t + 1.0) ** self.power


@dataclass(frozen=True)
class StepDecay(Schedule):
    """eta(t) = lr factor^floor(t / every): a staircase, one tread `every` steps long."""

    lr: NotNegative
    every: Count
    factor: Factor = 0.1

    def _eta(self, t: Floats) -> Floats:
        return self.lr * self.factor ** (t // self.every)


@dataclass(frozen=True)
class Exponential(Schedule):
    """eta(t) = lr factor^t; 0.999 halves the rate in about 700 steps."""

    lr: NotNegative
    factor: Factor

    def _eta(self, t: Floats) -> Floats:
        return self.lr * self.factor**t


@dataclass(frozen=True)
class Cosine(Schedule):
    """Half a cosine from `lr` at t = 0 down to `lr_min` at t = `steps`, and `lr_min` ever after.

    eta(t) = lr_min + (lr - lr_min) (1 + cos(pi t / steps)) / 2  (Loshchilov and Hutter 2017, without restarts).
    """

    lr: NotNegative
    steps: Count
    lr_min: NotNegative = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _not_over("Cosine lr_min", self.lr_min, "lr", self.lr)

    def _eta(self, t: Floats) -> Floats:
        return _half_cosine(self.lr, self.lr_min, np.minimum(t, self.steps) / self.steps)


@dataclass(frozen=True)
class OneCycle(Schedule):
    """One rise and one fall over `steps` steps, both half cosines (Smith and Topin 2018, in fastai's two phases).

    From lr_max / div_factor up to `lr_max` during the first `start` (a fraction) of the steps, then down to
    lr_max / (div_factor final_div_factor) at the last one, t = steps - 1, and that ever after. The same numbers as
    PyTorch's `OneCycleLR`, whose peak lies at t = start * steps - 1. Momentum is left alone.
    """

    lr_max: NotNegative
    steps: Count
    start: Annotated[float, partial(real, least=0.0, most=1.0)] = 0.3
    div_factor: Annotated[float, partial(real, least=1.0)] = 25.0
    final_div_factor: Annotated[float, partial(real, least=1.0)] = 1e4

    def _eta(self, t: Floats) -> Floats:
        first = self.lr_max / self.div_factor
        last, peak = self.steps - 1, self.start * self.steps - 1.0
        # A phase without length (start * steps = 1, start = 1) is one step at lr_max instead of 0 / 0.
        rise = _half_cosine(first, self.lr_max, t / peak if peak > 0 else np.ones(np.shape(t)))
        fall = _half_cosine(
            self.lr_max, first / self.final_div_factor, (np.minimum(t, last) - peak) / ((last - peak) or 1.0)
        )
        return np.where(t <= peak, rise, fall)


@dataclass(frozen=True)
class WarmUp(Schedule):
    """A straight line up to the rate at which `after` starts, then `after`, with its own t from 0.

    eta(t) = after(0) (t + 1) / (steps + 1) for t < steps, after(t - steps) from then on (Goyal et al. 2017, 2.2).
    `after` is a rate or any function of t; a `ReduceOnPlateau` is no function of t and is refused.
    """

    steps: Count
    after: SteadyOrSchedule

    def _eta(self, t: Floats) -> Floats:
        ramp: Floats = np.minimum((t + 1.0) / (self.steps + 1.0), 1.0)
        return ramp * evaluate(self.after, np.maximum(t - self.steps, 0.0).astype(np.int64), "WarmUp after")


def _half_cosine(start: float, end: float, u: Floats) -> Floats:
    """From `start` at u = 0 to `end` at u = 1, flat at both ends."""
    return end + (start - end) / 2.0 * (1.0 + np.cos(math.pi * u))


# ---- a rate that answers to the loss ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class ReduceOnPlateau(Settings):
    """`lr`, times `factor` whenever the loss has not improved for more than `patience` epochs, never below `lr_min`.

    As PyTorch's `ReduceLROnPlateau` (mode "min"): an epoch improves when its loss is below the best one by more than
    `threshold` times the best one's size. (PyTorch's best * (1 - threshold) is the same for a positive loss; for a
    negative one, as the Poisson loss may be, it would count small losses of ground as improvement.)

    The settings hold no memory; `start` gives a run its own.
    """

    lr: NotNegative
    factor: Annotated[float, partial(real, above=0.0, below=1.0)] = 0.1
    patience: Annotated[int, partial(whole, least=0)] = 10
    threshold: Share = 1e-4
    lr_min: NotNegative = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _not_over("ReduceOnPlateau lr_min", self.lr_min, "lr", self.lr)

    def start(self) -> PlateauState:
        """The memory of one run, nothing seen yet and the rate at `lr`."""
        return PlateauState(self, self.lr)


@dataclass
class PlateauState:
    """What a run's `ReduceOnPlateau` remembers; plain numbers, for a checkpoint to keep.

    `rate` is the rate now, `best` the lowest loss that counted as an improvement, `waited` the epochs since then.
    """

    settings: ReduceOnPlateau
    rate: float
    best: float = math.inf
    waited: int = 0

    def observe(self, loss: float) -> None:
        """Take in the loss at the end of an epoch; `rate` holds from the next step on. NaN is no improvement."""
        wanted = self.best - self.settings.threshold * abs(self.best) if math.isfinite(self.best) else self.best
        if loss < wanted:
            self.best, self.waited = loss, 0
            return
        self.waited += 1
        if self.waited > self.settings.patience:
            self.rate, self.waited = max(self.rate * self.settings.factor, self.settings.lr_min), 0


# ---- what an optimiser's `lr` may be ---------------------------------------------------------------------------------


def _rate(argument: str, value: Any) -> float | Callable[[int], float] | ReduceOnPlateau:
    return value if isinstance(value, ReduceOnPlateau) else _steady_or_schedule(argument, value)


Rate: TypeAlias = Annotated[float | Callable[[int], float] | ReduceOnPlateau, _rate]


def evaluate(schedule: float | Callable[[int], float], t: Steps, argument: str = "lr") -> Floats:
    """The rates of the steps t, float64 of t's shape (n,), from a number or a schedule.

    A schedule with an `at` method is asked once for all steps, any other callable once a step with a Python int.
    `InputError` names `argument`, the step and the value where a rate is not a finite number >= 0.
    """
    if not callable(schedule):
        return np.full(np.shape(t), real(argument, schedule, least=0.0))
    at = getattr(schedule, "at", None)
    if at is None:
        return np.array([real(f"{argument} at step {step}", schedule(step), least=0.0) for step in t.tolist()])
    values = np.asarray(at(t))
    if values.shape != t.shape or values.dtype.kind not in "fiu":
        raise InputError(
            f"{argument}: `at` returned {values.dtype} values of shape {values.shape}, "
            f"real numbers of shape {t.shape} are wanted"
        )
    for k in np.flatnonzero(~(np.isfinite(values) & (values >= 0)))[:1]:
        real(f"{argument} at step {t[k]}", float(values[k]), least=0.0)
    return values.astype(np.float64)
