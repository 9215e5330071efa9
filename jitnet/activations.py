"""Activations σ and their derivatives σ', one pair of scalar functions each, and the table of their names.

A derivative is given x and y = σ(x) and may use either (sigmoid and tanh: y, which is already there). The functions
are plain Python on one number; forms/plain.py compiles them. The matrix form has NumPy lines of its own.

To add one: write the pair, add its line to `activate` and to `slope`, its row to the table, and its NumPy line to
forms/matrix.py. The tests find it by themselves.

At a kink ReLU'(0) = 0, as in PyTorch, JAX and scikit-learn; step(0) = sgn(0) = 1, as in the notes. NaN goes through;
at ±inf a function has its limit, or NaN where its formula says inf · 0 or inf / inf.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from jitnet.errors import InputError, real, unknown_name


def step(x: float) -> float:
    """1 where x >= 0, else 0 (seed 002, eq. 7.32); its derivative is 0."""
    return x if x != x else (1.0 if x >= 0.0 else 0.0)


def sgn(x: float) -> float:
    """1 where x >= 0, else -1 (seed 004); its derivative is 0."""
    return x if x != x else (1.0 if x >= 0.0 else -1.0)


def relu(x: float) -> float:
    """max(0, x) (eq. 7.35)."""
    return 0.0 if x <= 0.0 else x


def relu_slope(x: float) -> float:
    """step(x), and 0 at 0."""
    return 1.0 if x > 0.0 else 0.0


def leaky_relu(x: float, a: float) -> float:
    """x where x > 0, else a x."""
    return a * x if x <= 0.0 else x


def leaky_relu_slope(x: float, a: float) -> float:
    """1 where x > 0, else a."""
    return 1.0 if x > 0.0 else a


def sigmoid(x: float) -> float:
    """1 / (1 + exp(-x)) (eq. 7.38), without overflow for large negative x."""
    if x >= 0.0:
        return 1.0 / (1.0 + math.exp(-x))
    e = math.exp(x)
    return e / (1.0 + e)


def sigmoid_slope(y: float) -> float:
    """y (1 - y) (eq. 7.37)."""
    return y * (1.0 - y)


def tanh_slope(y: float) -> float:
    """1 - y² (eq. 7.40), as (1 - y)(1 + y)."""
    return (1.0 - y) * (1.0 + y)


def elu(x: float, a: float) -> float:
    """x where x > 0, else a (exp(x) - 1) (Clevert et al. 2015)."""
    return a * math.expm1(x) if x <= 0.0 else x


def elu_slope(x: float, a: float) -> float:
    """1 where x > 0, else a exp(x)."""
    return 1.0 if x > 0.0 else a * math.exp(x)


SELU_ALPHA = 1.6732632423543772
SELU_SCALE = 1.0507009873554805


def selu(x: float) -> float:
    """The ELU that keeps mean 0 and variance 1 (Klambauer et al. 2017, appendix A.1)."""
    return SELU_SCALE * elu(x, SELU_ALPHA)


def selu_slope(x: float) -> float:
    """SELU's scale times ELU's slope."""
    return SELU_SCALE * elu_slope(x, SELU_ALPHA)


def normal_cdf(x: float) -> float:
    """Φ(x), the normal distribution function, exact in the far left tail too."""
    return 0.5 * math.erfc(-x * 0.7071067811865476)


def gelu(x: float) -> float:
    """x Φ(x) (Hendrycks, Gimpel 2016), exact, not the tanh approximation."""
    return x * normal_cdf(x)


def gelu_slope(x: float) -> float:
    """Φ(x) + x φ(x), with φ(x) = exp(-x²/2) / sqrt(2π)."""
    return normal_cdf(x) + x * math.exp(-0.5 * x * x) * 0.3989422804014327


def silu(x: float) -> float:
    """x sigmoid(x), also called swish (Elfwing et al. 2017)."""
    return x * sigmoid(x)


def silu_slope(x: float) -> float:
    """s + x s (1 - s), with s = sigmoid(x)."""
    s = sigmoid(x)
    return s * (1.0 + x * (1.0 - s))


def softplus(x: float) -> float:
    """log(1 + exp(x)), without overflow."""
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def softsign(x: float) -> float:
    """x / (1 + |x|)."""
    return x / (1.0 + abs(x))


def softsign_slope(x: float) -> float:
    """1 / (1 + |x|)²."""
    return 1.0 / ((1.0 + abs(x)) * (1.0 + abs(x)))


def hard_tanh(x: float) -> float:
    """x, clipped to [-1, 1]."""
    return -1.0 if x < -1.0 else (1.0 if x > 1.0 else x)


def hard_tanh_slope(x: float) -> float:
    """1 inside (-1, 1), else 0."""
    return 1.0 if -1.0 < x < 1.0 else 0.0


def mish(x: float) -> float:
    """x tanh(softplus(x)) (Misra 2019)."""
    return x * math.tanh(softplus(x))


def mish_slope(x: float) -> float:
    """u + x (1 - u²) sigmoid(x), with u = tanh(softplus(x))."""
    u = math.tanh(softplus(x))
    return u + x * (1.0 - u) * (1.0 + u) * sigmoid(x)


# Codes: what a kernel knows an activation by.
IDENTITY, STEP, SGN, RELU, LEAKY_RELU, SIGMOID, TANH, SOFTMAX, ELU = 0, 1, 2, 3, 4, 5, 6, 7, 8
SELU, GELU, SILU, SOFTPLUS, SOFTSIGN, HARD_TANH, MISH, EXPONENTIAL, CUSTOM = 9, 10, 11, 12, 13, 14, 15, 16, 17


def activate(code: int, x: float, a: float) -> float:
    """F2: y = σ(x) of the element-wise activation `code` with parameter a."""
    if code == IDENTITY:
        return x
    elif code == STEP:
        return step(x)
    elif code == SGN:
        return sgn(x)
    elif code == RELU:
        return relu(x)
    elif code == LEAKY_RELU:
        return leaky_relu(x, a)
    elif code == SIGMOID:
        return sigmoid(x)
    elif code == TANH:
        return math.tanh(x)
    elif code == ELU:
        return elu(x, a)
    elif code == SELU:
        return selu(x)
    elif code == GELU:
        return gelu(x)
    elif code == SILU:
        return silu(x)
    elif code == SOFTPLUS:
        return softplus(x)
    elif code == SOFTSIGN:
        return softsign(x)
    elif code == HARD_TANH:
        return hard_tanh(x)
    elif code == MISH:
        return mish(x)
    elif code == EXPONENTIAL:
        return math.exp(x)
    return math.nan


def slope(code: int, x: float, y: float, a: float) -> float:
    """σ'(x) of F5, from x and y = σ(x), of the element-wise activation `code` with parameter a."""
    if code == IDENTITY:
        return 1.0
    elif code in (STEP, SGN):
        return 0.0
    elif code == RELU:
        return relu_slope(x)
    elif code == LEAKY_RELU:
        return leaky_relu_slope(x, a)
    elif code == SIGMOID:
        return sigmoid_slope(y)
    elif code == TANH:
        return tanh_slope(y)
    elif code == ELU:
        return elu_slope(x, a)
    elif code == SELU:
        return selu_slope(x)
    elif code == GELU:
        return gelu_slope(x)
    elif code == SILU:
        return silu_slope(x)
    elif code == SOFTPLUS:
        return sigmoid(x)
    elif code == SOFTSIGN:
        return softsign_slope(x)
    elif code == HARD_TANH:
        return hard_tanh_slope(x)
    elif code == MISH:
        return mish_slope(x)
    elif code == EXPONENTIAL:
        return y
    return math.nan


SCALARS: tuple[Callable[..., Any], ...] = (
    step, sgn, relu, relu_slope, leaky_relu, leaky_relu_slope, sigmoid, sigmoid_slope, tanh_slope, elu, elu_slope, selu,
    selu_slope, normal_cdf, gelu, gelu_slope, silu, silu_slope, softplus, softsign, softsign_slope, hard_tanh,
    hard_tanh_slope, mish, mish_slope, activate, slope,
)  # fmt: skip
"""The functions above, for the forms that compile them."""


@dataclass(frozen=True)
class Row:
    """A row of the table: the code, the parameter it may have with its default, the initialisation that suits it."""

    code: int
    parameter: str | None = None
    default: float = 0.0
    suits: str = "glorot_uniform"


TABLE: dict[str, Row] = {
    "identity": Row(IDENTITY),
    "step": Row(STEP),
    "sgn": Row(SGN),
    "relu": Row(RELU, suits="he_normal"),
    "leaky_relu": Row(LEAKY_RELU, "slope", 0.01, suits="he_normal"),
    "sigmoid": Row(SIGMOID),
    "tanh": Row(TANH),
    "softmax": Row(SOFTMAX),
    "elu": Row(ELU, "alpha", 1.0, suits="he_normal"),
    "selu": Row(SELU, suits="lecun_normal"),
    "gelu": Row(GELU, suits="he_normal"),
    "silu": Row(SILU, suits="he_normal"),
    "softplus": Row(SOFTPLUS, suits="he_normal"),
    "softsign": Row(SOFTSIGN),
    "hard_tanh": Row(HARD_TANH),
    "mish": Row(MISH, suits="he_normal"),
    "exponential": Row(EXPONENTIAL),
}

ALIASES = {
    "linear": "identity", "heaviside": "step", "sign": "sgn", "swish": "silu", "logistic": "sigmoid",
    "exp": "exponential", "hardtanh": "hard_tanh", "leakyrelu": "leaky_relu",
}  # fmt: skip

NAMES = {row.code: name for name, row in TABLE.items()}
"""Code to name."""


def _name_in_table(name: str) -> str:
    """As the table writes it, if it has it."""
    known = str(name).lower().replace("-", "_").replace(" ", "_")
    return ALIASES.get(known, known)


@dataclass(frozen=True)
class Activation:
    """One layer's activation: a name of the table, or a pair of functions of your own.

    Parameters
    ----------
    name : a name of the table (`jitnet.activations.TABLE`), or, with `g` and `dg`, a name for yours.
    slope, alpha : leaky ReLU's slope (default 0.01), ELU's alpha (default 1).
    g, dg : your own element-wise σ and σ', each a function of one number x that Numba can compile
        (`math` and `numpy` functions, `if`, loops). `g` is also called with plain floats by the matrix form.

    Raises InputError for an unknown name, a parameter the activation does not have, or half a pair.
    """

    name: str
    slope: float | None = None
    alpha: float | None = None
    g: Callable[[float], float] | None = field(default=None, compare=True)
    dg: Callable[[float], float] | None = field(default=None, compare=True)

    def __post_init__(self) -> None:
        if self.g is not None or self.dg is not None:
            if not (callable(self.g) and callable(self.dg)):
                raise InputError(f"activation {self.name!r}: a pair of functions g and dg is wanted")
            if self.slope is not None or self.alpha is not None:
                raise InputError(f"activation {self.name!r}: a pair of functions has no slope or alpha")
            return
        if callable(self.slope) or callable(self.alpha):
            raise InputError(f"activation {self.name!r}: functions given by place, g=... and dg=... are wanted")
        known = _name_in_table(self.name)
        if known not in TABLE:
            raise unknown_name("activation", self.name, TABLE)
        object.__setattr__(self, "name", known)
        for parameter in ("slope", "alpha"):
            value = getattr(self, parameter)
            if value is not None:
                if TABLE[known].parameter != parameter:
                    raise InputError(f"activation {known!r}: has no parameter {parameter!r}")
                object.__setattr__(self, parameter, real(f"activation {known!r}: {parameter}", value))

    @property
    def code(self) -> int:
        """The integer by which kernels know it."""
        return TABLE[self.name].code if self.g is None else CUSTOM

    @property
    def parameter(self) -> float:
        """Its slope or alpha; 0 where it has none."""
        if self.g is not None:
            return 0.0
        given = [value for value in (self.slope, self.alpha) if value is not None]
        return given[0] if given else TABLE[self.name].default

    @property
    def suits(self) -> str:
        """The initialisation that `init="auto"` picks for its layer."""
        return TABLE[self.name].suits if self.g is None else "glorot_uniform"


def as_activation(given: str | Activation, argument: str = "activation") -> Activation:
    """An `Activation` from one, or from its name; errors name the argument."""
    if isinstance(given, Activation):
        return given
    if not isinstance(given, str):
        raise InputError(f"{argument}: {type(given).__name__} given, a name or a jitnet.Activation is wanted")
    if _name_in_table(given) not in TABLE:
        raise unknown_name(argument, given, TABLE)
    return Activation(given)
