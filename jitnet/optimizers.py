"""Optimisers: how a step turns the gradient g into new parameters theta.

A step of every optimiser here treats each parameter alone. So one formula on one number says everything, and it can
be run on whole NumPy arrays (the matrix form) or, compiled, inside the loop over the weights (the plain and the
tiled form). An optimiser is four things:

1. `code`, a whole number by which compiled code picks the formula, and `slots`, how many numbers it remembers for
   each parameter (0 to 3);
2. `initial_state(size, dtype)`, those numbers before the first step, an array (slots, size and some to spare);
3. `coefficients(t, eta)`, all that depends on the step but not on the parameter (rates, bias corrections, 1 - beta),
   in float64, for many steps at once: an array (steps, COEFFICIENTS), column 0 always the weight decay's factor
   1 - eta lambda. A training loop computes them before it starts and casts them to the network's dtype;
4. the formula, a module-level function `name(theta, g, *state, c) -> (theta, *state)`, where c is one row of 3.

A formula holds no literal number: next to a literal, Numba would carry a float32 network in float64. Even 0 and 1
come from c. It uses only +, -, *, / and sqrt, abs, sign, maximum, minimum, which mean the same on arrays and on
compiled scalars (`np.where` does not: compiled, it makes an array of its scalars). Compiled loops need
error_model="numpy": Numba's default looks for a division by zero at every parameter, and then the loop does not
vectorise (Adam: 2.4 ns a parameter against 0.33, AVX-512, in cache).

Weight decay is decoupled in every optimiser (Loshchilov and Hutter 2019): theta is first multiplied by 1 - eta lambda,
weights and biases alike, and the gradient does not see it. Letters: eta rate, g gradient, t 0-based step, s = t + 1.
Defaults are PyTorch's where PyTorch has the same setting, except SGD's rate (0.01, PyTorch 0.001).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from functools import partial
from typing import Annotated, Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

from jitnet.errors import InputError, real, unknown_name
from jitnet.layout import aligned, whole_lines
from jitnet.schedules import (
    Count,
    Floats,
    NotNegative,
    PlateauState,
    Rate,
    ReduceOnPlateau,
    Settings,
    Share,
    Steps,
    evaluate,
)

COEFFICIENTS = 7
"""Columns of every `coefficients` array: the most that a formula needs (RMSProp, NAdam, Rprop)."""

N: TypeAlias = Any
"""A number of a formula: an array of float32 or float64, or one compiled scalar of either."""


# ---- the formulas ----------------------------------------------------------------------------------------------------


def sgd(theta: N, g: N, c: N) -> tuple[N]:
    """F10: theta <- theta - eta g. c = decay, eta."""
    theta = c[0] * theta - c[1] * g
    return (theta,)


def momentum(theta: N, g: N, v: N, c: N) -> tuple[N, N]:
    """Heavy ball (Polyak 1964): v <- beta v + g, theta <- theta - eta v. c = decay, eta, beta."""
    v = c[2] * v + g
    theta = c[0] * theta - c[1] * v
    return theta, v


def nesterov(theta: N, g: N, v: N, c: N) -> tuple[N, N]:
    """Nesterov (1983), as Sutskever et al. (2013): v <- beta v + g, theta <- theta - eta (g + beta v).

    c = decay, eta, beta.
    """
    v = c[2] * v + g
    theta = c[0] * theta - c[1] * (g + c[2] * v)
    return theta, v


def delta_bar_delta(theta: N, g: N, d: N, r: N, c: N) -> tuple[N, N, N]:
    """Jacobs (1988): the rate r grows by kappa where g has the sign of its running mean d, shrinks by phi r where not.

    r <- r + kappa, r - phi r or r;  theta <- theta - r g;  d <- (1 - theta_d) g + theta_d d, the mean of earlier steps
    having been used. c = decay, kappa, phi, theta_d, 1 - theta_d, 0.
    """
    agreement = np.sign(d) * np.sign(g)
    r = r + c[1] * np.maximum(agreement, c[5]) + c[2] * r * np.minimum(agreement, c[5])
    theta = c[0] * theta - r * g
    d = c[4] * g + c[3] * d
    return theta, d, r


def adagrad(theta: N, g: N, s: N, c: N) -> tuple[N, N]:
    """Duchi, Hazan and Singer (2011): s <- s + g^2, theta <- theta - eta g / (sqrt(s) + eps). c = decay, eta, eps."""
    s = s + g * g
    theta = c[0] * theta - c[1] * g / (np.sqrt(s) + c[2])
    return theta, s


def rmsprop(theta: N, g: N, v: N, a: N, m: N, c: N) -> tuple[N, N, N, N]:
    """Tieleman and Hinton (2012), centred as Graves (2013), with momentum.

    v and a are running means of g^2 and g; m <- mu m + g / (sqrt(v - a^2) + eps), theta <- theta - eta m.
    c = decay, eta, alpha, 1 - alpha, eps, mu, and 1 - alpha again if centred, else 0 (then a stays 0).
    """
    v = c[2] * v + c[3] * g * g
    a = a + c[6] * (g - a)
    # v >= a^2 but for rounding: a gradient that stands still brings v - a^2 to 0 and as often below it.
    m = c[5] * m + g / (np.sqrt(np.abs(v - a * a)) + c[4])
    theta = c[0] * theta - c[1] * m
    return theta, v, a, m


def adadelta(theta: N, g: N, v: N, u: N, c: N) -> tuple[N, N, N]:
    """Zeiler (2012), algorithm 1, with a rate: d = g sqrt(u + eps) / sqrt(v + eps), theta <- theta - eta d.

    v and u are running means of g^2 and d^2. c = decay, eta, rho, 1 - rho, eps.
    """
    v = c[2] * v + c[3] * g * g
    d = np.sqrt(u + c[4]) / np.sqrt(v + c[4]) * g
    u = c[2] * u + c[3] * d * d
    theta = c[0] * theta - c[1] * d
    return theta, v, u


def adam(theta: N, g: N, m: N, v: N, c: N) -> tuple[N, N, N]:
    """Kingma and Ba (2015), algorithm 1, bias corrections moved into the rate and eps (their section 2, last lines).

    m and v are running means of g and g^2; theta <- theta - eta_s m / (sqrt(v) + eps_s) with
    eta_s = eta sqrt(1 - beta2^s) / (1 - beta1^s) and eps_s = eps sqrt(1 - beta2^s): algorithm 1 exactly, one division.
    c = decay, eta_s, 1 - beta1, beta2, 1 - beta2, eps_s.
    """
    m = m + c[2] * (g - m)
    v = c[3] * v + c[4] * g * g
    theta = c[0] * theta - c[1] * m / (np.sqrt(v) + c[5])
    return theta, m, v


def nadam(theta: N, g: N, m: N, v: N, c: N) -> tuple[N, N, N]:
    """Dozat (2016), algorithm 2: Adam whose m looks one step ahead, with the momentum schedule mu.

    theta <- theta - (eta_g g + eta_m m) / (sqrt(v) + eps_s); the rates are in `NAdam`.
    c = decay, eta_g, eta_m, 1 - beta1, beta2, 1 - beta2, eps_s.
    """
    m = m + c[3] * (g - m)
    v = c[4] * v + c[5] * g * g
    theta = c[0] * theta - (c[1] * g + c[2] * m) / (np.sqrt(v) + c[6])
    return theta, m, v


def amsgrad(theta: N, g: N, m: N, v: N, w: N, c: N) -> tuple[N, N, N, N]:
    """Reddi, Kale and Kumar (2018): `adam` divided by the largest v so far, w; with PyTorch's bias corrections.

    c = decay, eta_s, 1 - beta1, beta2, 1 - beta2, eps_s.
    """
    m = m + c[2] * (g - m)
    v = c[3] * v + c[4] * g * g
    w = np.maximum(w, v)
    theta = c[0] * theta - c[1] * m / (np.sqrt(w) + c[5])
    return theta, m, v, w


def rprop(theta: N, g: N, p: N, r: N, c: N) -> tuple[N, N, N]:
    """Riedmiller and Braun (1993), without weight backtracking (Rprop-, as PyTorch): only the sign of g counts.

    p is the sign of the step before. Same sign: r grows by eta_plus; other sign: r shrinks by eta_minus and this step
    is left out (p <- 0). theta <- theta - r sign(g). c = decay, eta_plus - 1, 1 - eta_minus, r_min, r_max, 0, 1.
    """
    s = np.sign(g)
    same = np.maximum(s * p, c[5])
    other = np.minimum(s * p, c[5])
    r = np.minimum(np.maximum(r * (c[6] + c[1] * same + c[2] * other), c[3]), c[4])
    p = s * (c[6] + other)
    theta = c[0] * theta - r * p
    return theta, p, r


FORMULAS: tuple[Callable[..., tuple[N, ...]], ...] = (
    sgd,
    momentum,
    nesterov,
    delta_bar_delta,
    adagrad,
    rmsprop,
    adadelta,
    adam,
    nadam,
    amsgrad,
    rprop,
)
"""The formula of each code."""

# The codes by name, for the if/elif of compiled code: whole numbers that Numba takes as constants.
(
    CODE_SGD,
    CODE_MOMENTUM,
    CODE_NESTEROV,
    CODE_DELTA_BAR_DELTA,
    CODE_ADAGRAD,
    CODE_RMSPROP,
    CODE_ADADELTA,
    CODE_ADAM,
    CODE_NADAM,
    CODE_AMSGRAD,
    CODE_RPROP,
) = range(len(FORMULAS))


# ---- the settings ----------------------------------------------------------------------------------------------------


def _flag(argument: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise InputError(f"{argument}: {value!r} ({type(value).__name__}) given, True or False is wanted")
    return value


Flag: TypeAlias = Annotated[bool, _flag]
# Zero gradients are met every day, and 0 / (sqrt(0) + eps) needs eps > 0 in float32 too, times a bias correction of
# 1.05e-8 at least: the tiled form's steps take what is below the smallest normal number, 1.2e-38, as 0.
Epsilon: TypeAlias = Annotated[float, partial(real, least=1e-29)]


@dataclass(frozen=True)
class Optimizer(Settings):
    """Base of all optimisers. `full_batch_only`: a gradient that changes with the mini-batch would mislead it."""

    full_batch_only: ClassVar[bool] = False


@dataclass(frozen=True)
class UpdateRule(Optimizer, ABC):
    """An optimiser that is a formula for one parameter (all but `LBFGS`); see the head of this file.

    `lr` is the rate eta, a number >= 0 or a schedule (`jitnet.schedules`). `weight_decay` is lambda >= 0, by keyword.
    Every setting is checked at construction; `InputError` names the one that is wrong.
    """

    code: ClassVar[int]
    slots: ClassVar[int]

    lr: Rate = 1e-2
    _: KW_ONLY
    weight_decay: NotNegative = 0.0

    def initial_state(self, size: int, dtype: DTypeLike) -> NDArray[Any]:
        """What is remembered before the first step, of `dtype`: one row an argument of the formula.

        Rows are as long as `layout.whole_lines` says; what stands behind their first `size` numbers means nothing.
        """
        state = aligned((self.slots, whole_lines(size, dtype)), dtype)
        for row, number in zip(state, self._start(), strict=True):
            row[:] = number
        return state

    def _start(self) -> tuple[float, ...]:
        """The number that each row of the state begins with."""
        return (0.0,) * self.slots

    def coefficients(self, t: Steps, eta: Floats) -> Floats:
        """One row of c for each step: t (n,) whole numbers from 0, eta (n,) their rates; float64 (n, COEFFICIENTS).

        Columns that a formula does not use are 0. A row depends on its own t and eta only, so a run can be resumed
        at any step.
        """
        c = np.zeros((len(t), COEFFICIENTS))
        for k, column in enumerate((1.0 - eta * self.weight_decay, *self._terms(np.asarray(t, np.float64) + 1.0, eta))):
            c[:, k] = column
        return c

    @abstractmethod
    def _terms(self, s: Floats, eta: Floats) -> tuple[float | Floats, ...]:
        """Columns 1, 2, ... of `coefficients`; s = t + 1 counts from 1."""


@dataclass(frozen=True)
class SGD(UpdateRule):
    """Gradient descent, on the full batch (the notes' GD) or on mini-batches. Formula: `sgd`."""

    code: ClassVar[int] = CODE_SGD
    slots: ClassVar[int] = 0

    def _terms(self, s: Floats, eta: Floats) -> tuple[float | Floats, ...]:
        return (eta,)


GD = SGD


@dataclass(frozen=True)
class Momentum(UpdateRule):
    """SGD with momentum `beta` in [0, 1). Formula: `momentum`."""

    code: ClassVar[int] = CODE_MOMENTUM
    slots: ClassVar[int] = 1

    beta: Share = 0.9

    def _terms(self, s: Floats, eta: Floats) -> tuple[float | Floats, ...]:
        return eta, self.beta


@dataclass(frozen=True)
class Nesterov(Momentum):
    """SGD with Nesterov's momentum `beta` in [0, 1). Formula: `nesterov`."""

    code: ClassVar[int] = CODE_NESTEROV


@dataclass(frozen=True)
class DeltaBarDelta(UpdateRule):
    """A rate for each parameter, from its gradient's history; for the full batch. Formula: `delta_bar_delta`.

    `lr` is the rate that all start from, a number: the rates then go their own way. `kappa` is added where the sign
    stays, a share `phi` taken off where it turns, `theta` is the memory of the running mean of the gradient.
    """

    code: ClassVar[int] = CODE_DELTA_BAR_DELTA
    slots: ClassVar[int] = 2
    full_batch_only: ClassVar[bool] = True

    lr: NotNegative = 1e-2
    kappa: NotNegative = 1e-2
    phi: Share = 0.1
    theta: Share = 0.7

    def _start(self) -> tuple[float, ...]:
        """Rows: the running mean d = 0, the rates r = lr."""
        return 0.0, self.lr

    def _terms(self, s: Floats, eta: Floats) -> tuple[float | Floats, ...]:
        return self.kappa, self.phi, self.theta, 1.0 - self.theta, 0.0


@dataclass(frozen=True)
class AdaGrad(UpdateRule):
    """Rates that fall with the sum of squared gradients. Formula: `adagrad`."""

    code: ClassVar[int] = CODE_ADAGRAD
    slots: ClassVar[int] = 1

    eps: Epsilon = 1e-10

    def _terms(self, s: Floats, eta: Floats) -> tuple[float | Floats, ...]:
        return eta, self.eps


@dataclass(frozen=True)
class RMSProp(UpdateRule):
    """AdaGrad with a running mean (memory `alpha`) in place of the sum. Formula: `rmsprop`.

    `centered` divides by the standard deviation of the gradient instead of its root mean square.
    """

    code: ClassVar[int] = CODE_RMSPROP
    slots: ClassVar[int] = 3

    alpha: Share = 0.99
    eps: Epsilon = 1e-8
    momentum: Share = 0.0
    centered: Flag = False

    def _terms(self, s: Floats, eta: Floats) -> tuple[float | Floats, ...]:
        rest = 1.0 - self.alpha
        return eta, self.alpha, rest, self.eps, self.momentum, rest if self.centered else 0.0


@dataclass(frozen=True)
class Adadelta(UpdateRule):
    """Steps scaled by the running size of earlier steps over that of the gradient. Formula: `adadelta`."""

    code: ClassVar[int] = CODE_ADADELTA
    slots: ClassVar[int] = 2

    lr: Rate = 1.0
    rho: Share = 0.9
    eps: Epsilon = 1e-6

    def _terms(self, s: Floats, eta: Floats) -> tuple[float | Floats, ...]:
        return eta, self.rho, 1.0 - self.rho, self.eps


def _factors_to_nothing(beta: float) -> float:
    """How many factors beta make a product of at most 2^-60: 1 less that is 1."""
    return float(math.ceil(-60.0 / math.log2(beta))) if beta > 0.0 else 1.0


def _bias_correction(beta: float, s: Floats) -> Floats:
    """1 - beta^s; a power that underflows would take ten times as long."""
    power: Floats = beta ** np.minimum(s, _factors_to_nothing(beta))
    return 1.0 - power


@dataclass(frozen=True)
class Adam(UpdateRule):
    """Running means of gradient (`beta1`) and squared gradient (`beta2`), bias-corrected. Formula: `adam`."""

    code: ClassVar[int] = CODE_ADAM
    slots: ClassVar[int] = 2

    lr: Rate = 1e-3
    beta1: Share = 0.9
    beta2: Share = 0.999
    eps: Epsilon = 1e-8

    def _terms(self, s: Floats, eta: Floats) -> tuple[float | Floats, ...]:
        root = np.sqrt(_bias_correction(self.beta2, s))
        return (
            eta * root / _bias_correction(self.beta1, s),
            1.0 - self.beta1,
            self.beta2,
            1.0 - self.beta2,
            self.eps * root,
        )


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with weight decay 0.01 (Loshchilov and Hutter 2019); decay is decoupled in `Adam` already."""

    _: KW_ONLY
    weight_decay: NotNegative = 1e-2


@dataclass(frozen=True)
class AMSGrad(Adam):
    """Adam whose denominator never falls. Formula: `amsgrad`."""

    code: ClassVar[int] = CODE_AMSGRAD
    slots: ClassVar[int] = 3


@dataclass(frozen=True)
class NAdam(Adam):
    """Adam with Nesterov's look ahead. Formula: `nadam`.

    With mu(s) = beta1 (1 - 0.96^(s psi) / 2), psi = `momentum_decay`, and P(s) = mu(1) ... mu(s), the rates are
    eta_g = eta (1 - mu(s)) / (1 - P(s)) and eta_m = eta mu(s+1) / (1 - P(s+1)), both times sqrt(1 - beta2^s).
    """

    code: ClassVar[int] = CODE_NADAM

    lr: Rate = 2e-3
    momentum_decay: NotNegative = 4e-3

    def _terms(self, s: Floats, eta: Floats) -> tuple[float | Floats, ...]:
        def mu(s: Floats) -> Floats:
            return self.beta1 * (1.0 - 0.5 * 0.96 ** (s * self.momentum_decay))

        # mu < beta1, so 1 - P is 1 after as many factors as for beta1, and a long run needs no long product.
        factors = min(s.max(initial=1.0) + 1.0, _factors_to_nothing(self.beta1))
        product = np.cumprod(mu(np.arange(1.0, factors + 1.0)), dtype=np.float64)

        def rest(s: Floats) -> Floats:
            return 1.0 - product[np.minimum(s, product.size).astype(np.intp) - 1]

        root = np.sqrt(_bias_correction(self.beta2, s))
        eta_g = eta * root * (1.0 - mu(s)) / rest(s)
        eta_m = eta * root * mu(s + 1.0) / rest(s + 1.0)
        return eta_g, eta_m, 1.0 - self.beta1, self.beta2, 1.0 - self.beta2, self.eps * root


@dataclass(frozen=True)
class Rprop(UpdateRule):
    """Steps of their own length for each parameter, from the gradient's signs alone. Formula: `rprop`.

    `lr` is the length that all start from, a number: the lengths then go their own way, between `step_min` and
    `step_max`. Meant for the full batch.
    """

    code: ClassVar[int] = CODE_RPROP
    slots: ClassVar[int] = 2

    lr: NotNegative = 1e-2
    eta_minus: Annotated[float, partial(real, above=0.0, below=1.0)] = 0.5
    eta_plus: Annotated[float, partial(real, above=1.0)] = 1.2
    step_min: NotNegative = 1e-6
    step_max: Annotated[float, partial(real, above=0.0)] = 50.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.step_min > self.step_max:
            raise InputError(
                f"Rprop step_min: {self.step_min!r} given, a number <= step_max = {self.step_max!r} is wanted"
            )

    def _start(self) -> tuple[float, ...]:
        """Rows: the sign before p = 0, the lengths r = lr."""
        return 0.0, self.lr

    def _terms(self, s: Floats, eta: Floats) -> tuple[float | Floats, ...]:
        return self.eta_plus - 1.0, 1.0 - self.eta_minus, self.step_min, self.step_max, 0.0, 1.0


@dataclass(frozen=True)
class LBFGS(Optimizer):
    """Settings of SciPy's L-BFGS-B (Liu and Nocedal 1989), which needs the full batch; there is no rate to set.

    `history` pairs of steps and gradient changes are kept (`maxcor`), a line search evaluates the loss at most
    `line_search` times (`maxls`). It ends where the loss falls by less than `loss_tolerance` of its size in a step
    (`ftol`) or no |dJ/dtheta| exceeds `gradient_tolerance` (`gtol`).
    """

    full_batch_only: ClassVar[bool] = True

    history: Count = 10
    line_search: Count = 20
    loss_tolerance: NotNegative = 2.220446049250313e-9
    gradient_tolerance: NotNegative = 1e-5


# ---- what training calls ---------------------------------------------------------------------------------------------

OPTIMIZERS: dict[str, type[Optimizer]] = {
    "sgd": SGD,
    "gd": GD,
    "momentum": Momentum,
    "nesterov": Nesterov,
    "delta_bar_delta": DeltaBarDelta,
    "adagrad": AdaGrad,
    "rmsprop": RMSProp,
    "adadelta": Adadelta,
    "adam": Adam,
    "adamw": AdamW,
    "nadam": NAdam,
    "amsgrad": AMSGrad,
    "rprop": Rprop,
    "lbfgs": LBFGS,
}
"""The optimisers by name, as the command line and `as_optimizer` know them."""


def as_optimizer(name_or_instance: str | Optimizer) -> Optimizer:
    """An optimiser as given, or the named one with its defaults; case does not matter. `InputError` if neither."""
    if isinstance(name_or_instance, Optimizer):
        return name_or_instance
    if not isinstance(name_or_instance, str):
        raise InputError(
            f"optimizer: {name_or_instance!r} ({type(name_or_instance).__name__}) given, "
            "a name or an optimiser such as Adam(lr=0.001) is wanted"
        )
    if name_or_instance.lower() not in OPTIMIZERS:
        raise unknown_name("optimizer", name_or_instance, OPTIMIZERS)
    return OPTIMIZERS[name_or_instance.lower()]()


def rates(optimizer: UpdateRule, t: Steps, plateau: PlateauState | None = None) -> Floats:
    """The rates eta of the steps t (n,), float64 (n,).

    `plateau` is the run's memory where `lr` is a `ReduceOnPlateau`; without it the rate is the one before any loss
    was seen. `InputError` names the step and the value where a schedule gives something that is not a rate.
    """
    lr = optimizer.lr
    if isinstance(lr, ReduceOnPlateau):
        lr = (plateau or lr.start()).rate
    return evaluate(lr, t, f"{type(optimizer).__name__} lr")


def update_arrays(code: int, theta: NDArray[Any], g: NDArray[Any], state: NDArray[Any], c: NDArray[Any]) -> None:
    """One step on whole arrays, in place: theta (size,) and `initial_state`'s state change, g (size,) does not.

    `code` is the optimiser's, c one row of its `coefficients`; theta, g, state and c are of one dtype.
    """
    state = state[:, : len(theta)]
    theta[:], *remembered = FORMULAS[code](theta, g, *state, c)
    for k, row in enumerate(remembered):
        state[k] = row
