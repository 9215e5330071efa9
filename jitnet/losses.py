"""Losses L(t, ŷ), their derivatives ∂L/∂ŷ (F4), and which outputs each goes with.

A loss is summed over the outputs i of a data point; the network's `reduction` sums or averages over data points.
The functions are plain Python on one output; forms/plain.py compiles them. The matrix form has its own NumPy lines.

Logarithms of an output are taken from its pre-activation x, never from a y that may have been rounded to 0 or 1.
Where loss and output match (`MATCHED`), the sensitivity is F6: δ = ŷ - t.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from jitnet.activations import CUSTOM, EXPONENTIAL, IDENTITY, SIGMOID, SOFTMAX, SOFTPLUS, Activation, sigmoid, softplus
from jitnet.errors import InputError, real, unknown_name


def sign(d: float) -> float:
    """-1, 0 or 1: the derivative of |d|, with 0 at 0; NaN goes through."""
    return 1.0 if d > 0.0 else (-1.0 if d < 0.0 else d)


def huber(d: float, delta: float) -> float:
    """½ d² where |d| <= δ, else δ (|d| - ½ δ) (Huber 1964), d = ŷ - t."""
    return 0.5 * d * d if abs(d) <= delta else delta * (abs(d) - 0.5 * delta)


def huber_slope(d: float, delta: float) -> float:
    """d, clipped to [-δ, δ]."""
    return d if abs(d) <= delta else delta * sign(d)


def quantile(d: float, q: float) -> float:
    """The pinball loss: q |d| where ŷ is too small, (1 - q) |d| where it is too large (Koenker, Bassett 1978)."""
    return (1.0 - q) * d if d >= 0.0 else -q * d


def quantile_slope(d: float, q: float) -> float:
    """1 - q above the target, -q below it, 0 on it."""
    return 1.0 - q if d > 0.0 else (-q if d < 0.0 else d)


def log_cosh(d: float) -> float:
    """log cosh d: log(1 + 2 sinh²(d/2)) near 0, where d²/2 is left of it; without overflow further out."""
    if abs(d) < 1.0:
        s = math.sinh(0.5 * d)
        return math.log1p(2.0 * s * s)
    return abs(d) + math.log1p(math.exp(-2.0 * abs(d))) - 0.6931471805599453


def log_sigmoid(x: float) -> float:
    """log sigmoid(x) = -softplus(-x)."""
    return -softplus(-x)


def log_softplus(x: float) -> float:
    """log softplus(x); far to the left softplus(x) = exp(x) to rounding."""
    return x if x < -40.0 else math.log(softplus(x))


def softplus_slope_ratio(x: float) -> float:
    """softplus'(x) / softplus(x); 1 far to the left, where both are exp(x)."""
    return 1.0 if x < -40.0 else sigmoid(x) / softplus(x)


# Codes: what a kernel knows a loss by.
SQUARED, HALF_SQUARED, ABSOLUTE, BINARY_CROSS_ENTROPY, CROSS_ENTROPY = 0, 1, 2, 3, 4
HUBER, QUANTILE, POISSON, LOG_COSH, CUSTOM_LOSS = 5, 6, 7, 8, 9


def log_output(output: int, x: float, y: float) -> float:
    """log ŷ from x where the output activation allows it. Softmax has log ŷ_i = x_i - log Σ exp(x): not here."""
    if output == SIGMOID:
        return log_sigmoid(x)
    elif output == SOFTPLUS:
        return log_softplus(x)
    elif output == EXPONENTIAL:
        return x
    return math.log(y)


def log_one_minus_output(output: int, x: float, y: float) -> float:
    """log(1 - ŷ) from x where the output is a sigmoid."""
    return log_sigmoid(-x) if output == SIGMOID else math.log1p(-y)


def loss_value(code: int, output: int, x: float, y: float, t: float, a: float) -> float:
    """F3: L of one output with pre-activation x, value y and target t; `a` is the loss's parameter.

    Cross-entropy is not here: its log Σ exp runs over all outputs.
    """
    if code == SQUARED:
        return (y - t) * (y - t)
    elif code == HALF_SQUARED:
        return 0.5 * (y - t) * (y - t)
    elif code == ABSOLUTE:
        return abs(y - t)
    elif code == BINARY_CROSS_ENTROPY:
        # A term with factor 0 is left out: 0 log 0 = 0.
        hit = 0.0 if t == 0.0 else t * log_output(output, x, y)
        miss = 0.0 if t == 1.0 else (1.0 - t) * log_one_minus_output(output, x, y)
        return -(hit + miss)
    elif code == HUBER:
        return huber(y - t, a)
    elif code == QUANTILE:
        return quantile(y - t, a)
    elif code == POISSON:
        return y if t == 0.0 else y - t * log_output(output, x, y)
    elif code == LOG_COSH:
        return log_cosh(y - t)
    return math.nan


def loss_slope(code: int, y: float, t: float, a: float) -> float:
    """F4: ∂L/∂ŷ of one output; `a` is the loss's parameter."""
    if code == SQUARED:
        return 2.0 * (y - t)
    elif code == HALF_SQUARED:
        return y - t
    elif code == ABSOLUTE:
        return sign(y - t)
    elif code == BINARY_CROSS_ENTROPY:
        return (0.0 if t == 1.0 else (1.0 - t) / (1.0 - y)) - (0.0 if t == 0.0 else t / y)
    elif code == HUBER:
        return huber_slope(y - t, a)
    elif code == QUANTILE:
        return quantile_slope(y - t, a)
    elif code == POISSON:
        return 1.0 if t == 0.0 else 1.0 - t / y
    elif code == LOG_COSH:
        return math.tanh(y - t)
    return math.nan


SCALARS: tuple[Callable[..., Any], ...] = (
    sign, huber, huber_slope, quantile, quantile_slope, log_cosh, log_sigmoid, log_softplus, softplus_slope_ratio,
    log_output, log_one_minus_output, loss_value, loss_slope,
)  # fmt: skip
"""The functions above, for the forms that compile them."""


@dataclass(frozen=True)
class Row:
    """A row of the table: the code, the parameter with its default and bounds, the outputs it goes with (None: all),
    and what its targets must be ("any", "probability", "distribution", "count").
    """

    code: int
    parameter: str | None = None
    default: float = 0.0
    outputs: tuple[int, ...] | None = None
    targets: str = "any"


TABLE: dict[str, Row] = {
    "squared_error": Row(SQUARED),
    "half_squared_error": Row(HALF_SQUARED),
    "absolute_error": Row(ABSOLUTE),
    "binary_cross_entropy": Row(BINARY_CROSS_ENTROPY, outputs=(SIGMOID, CUSTOM), targets="probability"),
    "cross_entropy": Row(CROSS_ENTROPY, outputs=(SOFTMAX,), targets="distribution"),
    "huber": Row(HUBER, "delta", 1.0),
    "quantile": Row(QUANTILE, "q", 0.5),
    "poisson": Row(POISSON, outputs=(EXPONENTIAL, SOFTPLUS, CUSTOM), targets="count"),
    "log_cosh": Row(LOG_COSH),
}

ALIASES = {
    "square": "squared_error", "linear": "absolute_error", "nll": "binary_cross_entropy", "nllm": "cross_entropy",
    "bce": "binary_cross_entropy", "categorical_cross_entropy": "cross_entropy", "pinball": "quantile",
}  # fmt: skip

NAMES = {row.code: name for name, row in TABLE.items()}
"""Code to name."""

MATCHED = {
    (HALF_SQUARED, IDENTITY), (BINARY_CROSS_ENTROPY, SIGMOID), (CROSS_ENTROPY, SOFTMAX), (POISSON, EXPONENTIAL),
}  # fmt: skip
"""Pairs of loss and output activation for which F6 holds."""

_WANTED = {
    "binary_cross_entropy": "output='sigmoid' (or an activation of your own with values in (0, 1)); "
    "for classes that exclude one another use output='softmax' with loss='cross_entropy'",
    "cross_entropy": "output='softmax'; for yes/no outputs use output='sigmoid' with loss='binary_cross_entropy'",
    "poisson": "output='exponential' or 'softplus' (or an activation of your own with positive values)",
}


@dataclass(frozen=True)
class Loss:
    """A loss: a name of the table, or a pair of functions of your own.

    Parameters
    ----------
    name : a name of the table (`jitnet.losses.TABLE`), or, with `value` and `derivative`, a name for yours.
    delta : Huber's threshold, > 0 (default 1).
    q : the quantile, in (0, 1) (default 0.5).
    value, derivative : your own L(ŷ, t) and ∂L/∂ŷ(ŷ, t) of one output, each a function of two numbers that Numba can
        compile; L is summed over the outputs. They are also called with plain floats by the matrix form.

    Raises InputError for an unknown name, a parameter the loss does not have or out of bounds, or half a pair.
    """

    name: str
    delta: float | None = None
    q: float | None = None
    value: Callable[[float, float], float] | None = None
    derivative: Callable[[float, float], float] | None = None

    def __post_init__(self) -> None:
        if self.value is not None or self.derivative is not None:
            if not (callable(self.value) and callable(self.derivative)):
                raise InputError(f"loss {self.name!r}: a pair of functions value and derivative is wanted")
            if self.delta is not None or self.q is not None:
                raise InputError(f"loss {self.name!r}: a pair of functions has no delta or q")
            return
        if callable(self.delta) or callable(self.q):
            raise InputError(f"loss {self.name!r}: functions given by place, value=... and derivative=... are wanted")
        known = str(self.name).lower().replace("-", "_").replace(" ", "_")
        known = ALIASES.get(known, known)
        if known not in TABLE:
            raise unknown_name("loss", self.name, TABLE)
        object.__setattr__(self, "name", known)
        for parameter, most in (("delta", None), ("q", 1.0)):
            value = getattr(self, parameter)
            if value is not None:
                if TABLE[known].parameter != parameter:
                    raise InputError(f"loss {known!r}: has no parameter {parameter!r}")
                value = real(f"loss {known!r}: {parameter}", value, above=0.0, below=most)
                object.__setattr__(self, parameter, value)

    @property
    def code(self) -> int:
        """The integer by which kernels know it."""
        return TABLE[self.name].code if self.value is None else CUSTOM_LOSS

    @property
    def parameter(self) -> float:
        """Its delta or q; 0 where it has none."""
        if self.value is not None:
            return 0.0
        given = [value for value in (self.delta, self.q) if value is not None]
        return given[0] if given else TABLE[self.name].default

    @property
    def targets(self) -> str:
        """What targets must be: "any", "probability" ([0, 1]), "distribution" (or labels), "count" (>= 0)."""
        return TABLE[self.name].targets if self.value is None else "any"

    def check_output(self, output: Activation) -> None:
        """Refuse an output activation whose values this loss has no meaning for."""
        outputs = None if self.value is not None else TABLE[self.name].outputs
        if outputs is not None and output.code not in outputs:
            raise InputError(f"loss {self.name!r} with output {output.name!r}: wanted is {_WANTED[self.name]}")


def as_loss(given: str | Loss) -> Loss:
    """A `Loss` from one, or from its name."""
    if isinstance(given, Loss):
        return given
    if isinstance(given, str):
        return Loss(given)
    raise InputError(f"loss: {type(given).__name__} given, a name or a jitnet.Loss is wanted")
