"""Index form against matrix form against finite differences, on a network and data of the user's."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jitnet import layout
from jitnet._jit import use_threads
from jitnet.errors import InputError, whole
from jitnet.forms import get_form
from jitnet.optimizers import SGD
from jitnet.training import bare_rule

if TYPE_CHECKING:
    from types import ModuleType

    from jitnet.network import Network

Array = NDArray[Any]

SUSPICIOUS = 1e-3
"""A relative difference from central differences that is remarked on: theirs are 1e-6 and less, but at kinks."""


@dataclass(frozen=True)
class LayerDifference:
    """The largest |index - matrix| in layer `layer` (1..M), over what is compared there.

    `relative` is the same divided by the largest |matrix| of that array, the largest of all these quotients.
    """

    layer: int
    outputs: float
    deltas: float
    weights: float
    biases: float
    relative: float


@dataclass(frozen=True)
class Comparison:
    """What `compare` found; ``str()`` of it is a table.

    Attributes: `layers`; `loss`, |index - matrix| of J; `input_gradient`, the largest |index - matrix| of ∂J/∂X;
    `differences`, the largest |index - central difference| of ∂J/∂θ over the largest |∂J/∂θ|, in float64, over the
    parameters that were tried (`tried` of them); `seconds`, the median time of a training step of each form, by name;
    `points`, the data points of that step; `dtype`.
    """

    layers: list[LayerDifference]
    loss: float
    input_gradient: float
    differences: float
    tried: int
    seconds: dict[str, float]
    points: int
    dtype: str

    @property
    def relative(self) -> float:
        """The largest relative difference between the forms over all layers."""
        return max(row.relative for row in self.layers)

    def __str__(self) -> str:
        heads = ("layer", "outputs", "deltas", "dJ/dW", "dJ/db", "relative")
        rows = [
            (f"{r.layer}", *(f"{v:.1e}" for v in (r.outputs, r.deltas, r.weights, r.biases, r.relative)))
            for r in self.layers
        ]
        lines = [f"largest |index - matrix| a layer, {self.dtype}"]
        lines += ["".join(f"{cell:>10}" for cell in row) for row in (heads, *rows)]
        lines.append(f"loss {self.loss:.1e}, input gradient {self.input_gradient:.1e}")
        lines.append(f"against central differences (float64, {self.tried} parameters): {self.differences:.1e} relative")
        if self.differences > SUSPICIOUS:
            lines.append(
                "that is more than rounding: a derivative is wrong, or a neuron is at a kink of its activation"
            )
        slowest = max(self.seconds.values())
        for form, seconds in self.seconds.items():
            speed = f"{seconds * 1e6:9.1f} us   ({slowest / seconds:.2f}x)"
            lines.append(f"one training step a call, {self.points} data points, {form:>6}: {speed}")
        return "\n".join(lines)


def compare(
    net: Network,
    X: ArrayLike,
    T: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    form: str = "auto",
    rounds: int = 30,
    differences: int = 40,
    threads: int | None = None,
    seed: int = 0,
) -> Comparison:
    """Compare an index form with the matrix form and with central differences; `net` is left as it is.

    Parameters
    ----------
    X, T, sample_weight : data as for `Network.loss`; all of it is one step.
    form : the index form. Default the one that `fit` uses.
    rounds : interleaved training steps of each form that are timed, after one that is not; the median is reported.
    differences : how many parameters, drawn by `seed`, are also differentiated numerically.
    threads : None for as many as Numba has.

    Raises InputError as `Network.gradient` does.
    """
    rounds, differences = whole("rounds", rounds, least=1), whole("differences", differences)
    index, matrix = get_form(form), get_form("matrix")
    if index is matrix:
        raise InputError("form: 'matrix' given, an index form is wanted to compare it with")
    with use_threads(threads):
        points = net.checked(X, T, sample_weight).counting()
        data = layout.Data(points.dense, points.T, points.weight, order=np.arange(len(points.X)), batch=len(points.X))
        ours, theirs = (_everything(net, f, data) for f in (index, matrix))
        return Comparison(
            layers=_by_layer(net, ours, theirs),
            loss=abs(ours.loss - theirs.loss),
            input_gradient=_largest(ours.input_gradient - theirs.input_gradient),
            differences=_against_differences(net, X, T, sample_weight, form, differences, seed),
            tried=min(differences, net.size),
            seconds=_times(net, {index.__name__.rpartition(".")[2]: index, "matrix": matrix}, data, rounds),
            points=len(data.X),
            dtype=str(net.dtype),
        )


@dataclass(frozen=True)
class _Everything:
    """All that one form says about a batch."""

    y: Array
    delta: Array
    g: Array
    input_gradient: Array
    loss: float


def _everything(net: Network, f: ModuleType, data: layout.Data) -> _Everything:
    n, c = net.layout, net.shares(data.weight)
    x, y = f.forward(n, net.theta, data.X)
    delta = f.backward(n, net.theta, x, y, data.T, c)
    loss = float(np.dot(c, f.losses(n, x, y, data.T)))
    return _Everything(y, delta, f.gradient(n, data.X, y, delta), f.input_gradient(n, net.theta, delta), loss)


def _largest(array: Array) -> float:
    return float(abs(array).max(initial=0.0))


def _by_layer(net: Network, ours: _Everything, theirs: _Everything) -> list[LayerDifference]:
    rows = []
    for m in range(len(net.W)):
        columns = slice(net.layout.y_at[m], net.layout.y_at[m + 1])
        pairs = [
            (ours.y[:, columns], theirs.y[:, columns]),
            (ours.delta[:, columns], theirs.delta[:, columns]),
            *((part(net.layout, ours.g, m), part(net.layout, theirs.g, m)) for part in (layout.weights, layout.biases)),
        ]
        outputs, deltas, W, b = largest = [_largest(a - b) for a, b in pairs]
        relative = max(d / (_largest(b) or 1.0) for d, (_, b) in zip(largest, pairs, strict=True))
        rows.append(LayerDifference(m + 1, outputs, deltas, W, b, relative))
    return rows


def _against_differences(
    net: Network, X: ArrayLike, T: ArrayLike, sample_weight: ArrayLike | None, form: str, count: int, seed: int
) -> float:
    """(J(θ + h) - J(θ - h)) / 2h against ∂J/∂θ, in float64."""
    twin = net.astype("float64")
    g = twin.gradient(X, T, sample_weight=sample_weight, form=form).theta
    worst = 0.0
    for p in np.random.default_rng(seed).permutation(net.size)[:count]:
        at, h = twin.theta[p], 1e-6 * max(1.0, abs(twin.theta[p]))
        J = []
        for sign in (1.0, -1.0):
            twin.theta[p] = at + sign * h
            J.append(twin.loss(X, T, sample_weight=sample_weight, form="matrix"))
        twin.theta[p] = at
        worst = max(worst, abs((J[0] - J[1]) / (2 * h) - g[p]))
    return worst / (_largest(g) or 1.0)


def _times(net: Network, forms: dict[str, ModuleType], data: layout.Data, rounds: int) -> dict[str, float]:
    """Median seconds of a whole training step (SGD) of each form, taken in turn."""
    rule = bare_rule(net, SGD(lr=1e-6), steps=1)
    work = {name: f.work(net.layout, data.batch, 1, net.dtype) for name, f in forms.items()}
    seconds: dict[str, list[float]] = {name: [] for name in forms}
    for _ in range(rounds + 1):
        for name, f in forms.items():
            theta = net.theta.copy()
            began = time.perf_counter()
            f.steps(net.layout, theta, data, rule, work[name])
            seconds[name].append(time.perf_counter() - began)
    return {name: float(np.median(values[1:])) for name, values in seconds.items()}
