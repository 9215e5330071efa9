"""Networks, data and measures that several test files draw from; seeded, so that a failure can be repeated."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import jitnet as jn
from jitnet import activations, losses
from jitnet.forms import get_form
from jitnet.layout import Data

Array = NDArray[Any]


def relative(a: Any, b: Any) -> float:
    """max|a - b| / max|b| over one array (0 where both are 0): what every "relative" of these tests means.

    One measure for the array, not one for each element, because a sum that happens to cancel is only as good as its
    terms. NaN or inf anywhere gives NaN or inf, which no bound admits.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    assert a.shape == b.shape
    if a.size == 0 or not (a.any() or b.any()):
        return 0.0
    with np.errstate(all="ignore"):
        return float(np.max(abs(a - b)) / np.max(abs(b)))


# --- a user's own activation and loss -------------------------------------------------------------------------------


def own_activation(x: float) -> float:
    """½ + arctan(x) / 4, inside (0, 1): as an output it goes with every loss of single outputs."""
    return 0.5 + 0.25 * math.atan(x)


def own_activation_slope(x: float) -> float:
    return 0.25 / (1.0 + x * x)


def own_loss(y: float, t: float) -> float:
    """|y - t|³ / 3."""
    return abs(y - t) ** 3 / 3.0


def own_loss_slope(y: float, t: float) -> float:
    return (y - t) * abs(y - t)


OWN = jn.Activation("own", g=own_activation, dg=own_activation_slope)
OWN_LOSS = jn.Loss("own", value=own_loss, derivative=own_loss_slope)

# --- all of them ----------------------------------------------------------------------------------------------------

OUTPUTS = {**{name: jn.Activation(name) for name in activations.TABLE}, "own": OWN}
"""Every activation of the table, and a user's own."""

HIDDEN = {
    **OUTPUTS,
    "leaky_relu(0.3)": jn.Activation("leaky_relu", slope=0.3),
    "elu(0.7)": jn.Activation("elu", alpha=0.7),
}
"""The same, and those with a parameter once more."""

LOSSES = {
    **{name: jn.Loss(name) for name in losses.TABLE},
    "huber": jn.Loss("huber", delta=0.4),
    "quantile": jn.Loss("quantile", q=0.2),
    "own": OWN_LOSS,
}
"""Every loss of the table, and a user's own."""

KINKS = {"relu": (0.0,), "leaky_relu": (0.0,), "hard_tanh": (-1.0, 1.0), "step": (0.0,), "sgn": (0.0,)}
"""Where σ has no derivative."""

BENDS = {**KINKS, "elu": (0.0,), "selu": (0.0,), "softsign": (0.0,)}
"""Where it has no second derivative, so that a difference across it is no approximation of σ' to second order."""


def accepts(loss: jn.Loss, output: jn.Activation) -> bool:
    """Whether the network takes this loss with this output."""
    try:
        loss.check_output(output)
    except jn.InputError:
        return False
    return True


PAIRS = [(loss, output) for loss in LOSSES for output in OUTPUTS if accepts(LOSSES[loss], OUTPUTS[output])]
"""Every loss with every output that makes sense, by name."""


# --- networks with data ---------------------------------------------------------------------------------------------


def targets(rng: np.random.Generator, kind: str, N: int, n_out: int) -> Array:
    """Targets (N, n_out) of the kind that a loss wants, those at the ends of their range included."""
    if kind == "distribution":
        soft = rng.multinomial(64, np.ones(n_out) / n_out, N) / 64  # which sums to 1 in float32 too
        return np.where(rng.random((N, 1)) < 0.5, np.eye(n_out)[rng.integers(0, n_out, N)], soft)
    if kind == "probability":
        return np.where(rng.random((N, n_out)) < 0.5, rng.integers(0, 2, (N, n_out)), rng.random((N, n_out)))
    if kind == "count":
        return rng.poisson(1.5, (N, n_out)).astype(float)
    return rng.normal(0.0, 1.5, (N, n_out))


@dataclass(frozen=True)
class Case:
    """A network with its numbers and data; every number is one of float32, so that both dtypes solve one problem."""

    widths: list[int]
    activation: list[str]  # names of HIDDEN, one a hidden layer
    output: str
    loss: str
    reduction: str
    bias: bool
    W: list[Array]
    b: list[Array]
    X: Array
    T: Array
    weight: Array | None

    @property
    def N(self) -> int:
        return len(self.X)

    def network(self, dtype: str = "float64", **changes: Any) -> jn.Network:
        settings: dict[str, Any] = {
            "activation": [HIDDEN[name] for name in self.activation],
            "output": OUTPUTS[self.output],
            "loss": LOSSES[self.loss],
            "reduction": self.reduction,
            "bias": self.bias,
            "init": (self.W, self.b if self.bias else None),
        }
        return jn.Network(self.widths, dtype=dtype, **{**settings, **changes})

    def __str__(self) -> str:
        weighted = "weighted" if self.weight is not None else "not weighted"
        return f"{self.network()}; bias {self.bias}, {self.N} points, {weighted}"


def draw(
    rng: np.random.Generator,
    *,
    widths: list[int],
    N: int,
    activation: list[str],
    output: str,
    loss: str,
    reduction: str | None = None,
    bias: bool | None = None,
    weighted: bool | None = None,
) -> Case:
    """A case with random numbers; what is None is drawn too.

    Weights of size (½ + 1/n) / sqrt(n) for n inputs keep most towers of three exponentials finite.
    """

    def single(array: Array) -> Array:
        return array.astype(np.float32).astype(np.float64)

    def choose(given: Any, options: tuple[Any, Any]) -> Any:
        return options[rng.integers(2)] if given is None else given

    weight = rng.uniform(0.1, 2.0, N) * (rng.random(N) < 0.8)
    weight[rng.integers(N)] = 1.0
    T = single(targets(rng, LOSSES[loss].targets, N, widths[-1]))
    return Case(
        widths=widths,
        activation=activation,
        output=output,
        loss=loss,
        reduction=choose(reduction, ("mean", "sum")),
        bias=choose(bias, (True, False)),
        W=[single(rng.normal(0.0, 0.5 + 1 / n, (m, n)) / math.sqrt(n)) for n, m in pairwise(widths)],
        b=[single(rng.normal(0.0, 0.5, m)) for m in widths[1:]],
        X=single(rng.normal(0.0, 1.0, (N, widths[0]))),
        T=T,
        weight=single(weight) if choose(weighted, (True, False)) else None,
    )


def random_case(rng: np.random.Generator, *, widths: list[int], N: int) -> Case:
    """A case with any activation in each layer and any loss that its output takes."""
    loss, output = PAIRS[rng.integers(len(PAIRS))]
    hidden = [str(name) for name in rng.choice(list(HIDDEN), len(widths) - 2)]
    return draw(rng, widths=widths, N=N, activation=hidden, output=output, loss=loss)


def layer_columns(net: jn.Network, rows: Array) -> Iterator[Array]:
    """The columns of x, y or delta (N, S), layer by layer, by the widths alone."""
    return iter(np.split(rows, np.cumsum(net.widths[1:-1]), axis=1))


def smooth(case: Case, margin: float) -> bool:
    """Whether every neuron and every residual is further than `margin` from each bend of its function."""
    net = case.network()
    x, y = get_form("matrix").forward(net.layout, net.theta, case.X)
    for x_m, activation in zip(layer_columns(net, x), net.activations, strict=True):
        if any((abs(x_m - kink) < margin).any() for kink in BENDS.get(activation.name, ())):
            return False
    residual = abs(y[:, -net.n_out :] - case.T)
    bends = {"absolute_error": (0.0,), "quantile": (0.0,), "huber": (0.4,), "own": (0.0,)}.get(case.loss, ())
    return not any((abs(residual - bend) < margin).any() for bend in bends)


# --- everything that a form computes --------------------------------------------------------------------------------


def everything(case: Case, form: str, dtype: str, *, jacobian: bool = True) -> dict[str, Array]:
    """Every number of one form, by name; x, y, delta and the gradients layer by layer."""
    net, rng = case.network(dtype), np.random.default_rng(case.N)
    f = get_form(form)
    X, T = case.X.astype(dtype), case.T.astype(dtype)
    weight = np.ones(case.N) if case.weight is None else case.weight
    c = (weight / weight.sum() if case.reduction == "mean" else weight).astype(dtype)
    V, U = rng.normal(size=X.shape).astype(np.float32), rng.normal(size=T.shape).astype(np.float32)

    x, y = f.forward(net.layout, net.theta, X)
    delta = f.backward(net.layout, net.theta, x, y, T, c)
    g = net.gradient(X, T, sample_weight=case.weight, form=form)
    vjp = net.vjp(X, U, form=form)
    numbers = {
        "loss": net.loss(X, T, sample_weight=case.weight, form=form),
        "loss beside gradient": g.loss,
        "losses": f.losses(net.layout, x, y, T),
        "predict": net.predict(X, form=form),
        "input gradient": g.input,
        "jvp": net.jvp(X, V, form=form),
        "vjp": vjp.input,
    }
    layered = {"x": layer_columns(net, x), "y": layer_columns(net, y), "delta": layer_columns(net, delta)}
    layered |= {"dW": g.W, "db": g.b, "vjp dW": vjp.W, "vjp db": vjp.b}
    for name, arrays in layered.items():
        numbers |= {f"{name} of layer {m}": array for m, array in enumerate(arrays, 1)}
    if jacobian:
        numbers["jacobian"] = net.jacobian(X[:3], form=form)
    return {name: np.asarray(array) for name, array in numbers.items()}


def worst(ours: dict[str, Array], theirs: dict[str, Array]) -> tuple[float, str]:
    """The largest relative difference over all arrays, and of which; NaN counts as the largest."""
    assert ours.keys() == theirs.keys()
    found = [(relative(ours[name], theirs[name]), name) for name in ours]
    return max(found, key=lambda pair: math.inf if math.isnan(pair[0]) else pair[0])


# --- data with zeros ------------------------------------------------------------------------------------------------

KINDS = ("dense", "zeros skipped", "sparse rows")
"""How the tiled form's steps take the same data, with the same bits."""
WAYS = (*KINDS, "group by group")
"""And, of narrow networks, with sums in another order."""


def silence(net: jn.Network, X: Array, speaking: float = 0.1) -> None:
    """Biases with which that share of each hidden layer's sums x is above 0: by default so few on every host that the
    tiled form predicts by sums over them.
    """
    for m in range(len(net.W) - 1):
        x = get_form("matrix").forward(net.layout, net.theta, X)[0][:, net.layout.y_at[m] : net.layout.y_at[m + 1]]
        net.b[m][:] -= np.quantile(x, 1 - speaking)


def with_zeros(X: Array, share: float = 0.6) -> Array:
    """X with so many zeros, -0 among them; the first row and the first column have no other numbers."""
    rng = np.random.default_rng(X.size)
    X = np.where(rng.random(X.shape) < share, np.where(rng.random(X.shape) < 0.1, -0.0, 0.0), X).astype(X.dtype)
    X[0] = X[:, 0] = 0
    return X


def of_kind(data: Data, kind: str) -> tuple[Data, dict[str, Any]]:
    """Dense data in one of WAYS, and what the tiled form's `work` is told of it."""
    if kind in ("dense", "group by group"):
        return data, {"narrow": kind != "dense"}
    if kind == "zeros skipped":
        return data._replace(skip_zeros=True), {"skip_zeros": True}
    rows, columns = np.nonzero(data.X)
    lengths = np.bincount(rows, minlength=len(data.X))
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.intp)
    entries = np.ascontiguousarray(data.X[rows, columns][:, None])
    return (
        data._replace(X=entries, columns=columns.astype(np.int32), starts=starts),
        {"entries": data.batch * int(lengths.max())},
    )


def refused(net: jn.Network, ask: Callable[[jn.Network], Any], says: str) -> None:
    """`ask` of a network that has trained: InputError in one line that matches, and nothing of the network changes."""
    before, rows, stopped, memory = net.theta.tobytes(), len(net.history), net.history.stopped, net.continuation
    assert memory is not None
    state, step = memory.state.tobytes(), memory.step
    with pytest.raises(jn.InputError, match=says) as error:
        ask(net)
    assert "\n" not in str(error.value)
    assert net.theta.tobytes() == before
    assert (len(net.history), net.history.stopped) == (rows, stopped)
    assert net.continuation is memory
    assert (memory.state.tobytes(), memory.step) == (state, step)
