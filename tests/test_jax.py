"""An oracle that shares nothing with jitnet: JAX's automatic differentiation, in float64, of the plain definitions.

Nothing here knows a derivative. The formulas are those of the notes and papers as printed, not the rearranged ones
that keep their digits for large numbers: the networks here are small enough for them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from cases import HIDDEN, LOSSES, OUTPUTS, PAIRS, Case, draw, relative

import jitnet as jn
from jitnet import activations, losses
from jitnet.forms import FORMS

jax = pytest.importorskip("jax")
import jax.numpy as jnp  # noqa: E402

SHAPES = (([3, 5, 4, 2], 6), ([2, 4, 3, 3, 5], 3), ([4, 3], 5), ([2, 3, 4, 1], 4))
"""Widths and numbers of points: few, because JAX compiles every operation for every shape."""

BOUND = 1e-11

QUICKLY = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
"""Compile in a third of the time what runs only 264 times."""


@pytest.fixture(autouse=True, scope="module")
def double_precision_on_the_cpu() -> Iterator[None]:
    before = jax.config.jax_enable_x64
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", before)


SIGMA: dict[str, Callable[[Any, float], Any]] = {
    "identity": lambda x, a: x,
    "step": lambda x, a: jnp.where(x >= 0, 1.0, 0.0),
    "sgn": lambda x, a: jnp.where(x >= 0, 1.0, -1.0),
    "relu": lambda x, a: jnp.where(x > 0, x, 0.0),
    "leaky_relu": lambda x, a: jnp.where(x > 0, x, a * x),
    "sigmoid": lambda x, a: 1 / (1 + jnp.exp(-x)),
    "tanh": lambda x, a: (jnp.exp(x) - jnp.exp(-x)) / (jnp.exp(x) + jnp.exp(-x)),
    "softmax": lambda x, a: jnp.exp(x) / jnp.exp(x).sum(axis=1, keepdims=True),
    "elu": lambda x, a: jnp.where(x > 0, x, a * (jnp.exp(x) - 1)),
    "selu": lambda x, a: 1.0507009873554805 * jnp.where(x > 0, x, 1.6732632423543772 * (jnp.exp(x) - 1)),
    "gelu": lambda x, a: x * (1 + jax.scipy.special.erf(x / math.sqrt(2))) / 2,
    "silu": lambda x, a: x / (1 + jnp.exp(-x)),
    "softplus": lambda x, a: jnp.log(1 + jnp.exp(x)),
    "softsign": lambda x, a: x / (1 + abs(x)),
    "hard_tanh": lambda x, a: jnp.where(x < -1, -1.0, jnp.where(x > 1, 1.0, x)),
    "mish": lambda x, a: x * jnp.tanh(jnp.log(1 + jnp.exp(x))),
    "exponential": lambda x, a: jnp.exp(x),
    "own": lambda x, a: 0.5 + jnp.arctan(x) / 4,
}


def t_log(t: Any, y: Any) -> Any:
    """t log y, without its 0 · inf."""
    return jnp.where(t == 0, 0.0, t * jnp.log(y))


LOSS: dict[str, Callable[[Any, Any, float], Any]] = {
    "squared_error": lambda y, t, a: (y - t) ** 2,
    "half_squared_error": lambda y, t, a: (y - t) ** 2 / 2,
    "absolute_error": lambda y, t, a: abs(y - t),
    "binary_cross_entropy": lambda y, t, a: -t_log(t, y) - t_log(1 - t, 1 - y),
    "cross_entropy": lambda y, t, a: -t_log(t, y),
    "huber": lambda y, t, a: jnp.where(abs(y - t) <= a, (y - t) ** 2 / 2, a * (abs(y - t) - a / 2)),
    "quantile": lambda y, t, a: jnp.where(y >= t, (1 - a) * (y - t), a * (t - y)),
    "poisson": lambda y, t, a: y - t_log(t, y),
    "log_cosh": lambda y, t, a: jnp.log(jnp.cosh(y - t)),
    "own": lambda y, t, a: abs(y - t) ** 3 / 3,
}


def test_every_function_is_defined_here() -> None:
    assert set(SIGMA) == {*activations.TABLE, "own"}
    assert set(LOSS) == {*losses.TABLE, "own"}


def apply(functions: dict[str, Callable[..., Any]], which: Any, *args: Any) -> Any:
    """The function with this number: chosen while the compiled code runs, so that one compilation serves all."""
    return jax.lax.switch(which, tuple(functions.values()), *args)


def number(functions: dict[str, Any], name: str) -> int:
    return list(functions).index(name)


def output(parameters: Any, chosen: Any) -> Any:
    """ŷ (N, n_out): F1 and F2, layer by layer."""
    W, b, y = parameters
    for m, (which, a) in enumerate(chosen["activations"]):
        y = apply(SIGMA, which, y @ W[m].T + b[m], a)
    return y


def objective(parameters: Any, chosen: Any) -> Any:
    """J = Σ c L: F3."""
    which, a = chosen["loss"]
    return (chosen["c"] * apply(LOSS, which, output(parameters, chosen), chosen["T"], a).sum(axis=1)).sum()


def as_jax(case: Case) -> tuple[Any, Any]:
    """The parameters (W, b, X), to differentiate by, and what was chosen."""
    layers = [HIDDEN[name] for name in case.activation] + [OUTPUTS[case.output]]
    loss = LOSSES[case.loss]
    weight = np.ones(case.N) if case.weight is None else case.weight
    chosen = {
        "activations": [(number(SIGMA, each.name), each.parameter) for each in layers],
        "loss": (number(LOSS, loss.name), loss.parameter),
        "T": case.T,
        "c": weight / weight.sum() if case.reduction == "mean" else weight,
    }
    return (case.W, [b if case.bias else 0 * b for b in case.b], case.X), chosen


def some(k: int, shapes: int) -> Case:
    """The k-th random network: the k-th pair of loss and output, one of the first `shapes`, any hidden activations."""
    rng = np.random.default_rng([20, k])
    loss, output = PAIRS[k % len(PAIRS)]
    if output == "softmax":
        shapes = min(shapes, 3)  # of one number softmax is 1, and its derivative in JAX is rounding, not 0
    widths, N = SHAPES[rng.integers(shapes)]
    hidden = [str(name) for name in rng.choice(list(HIDDEN), len(widths) - 2)]
    return draw(rng, widths=widths, N=N, activation=hidden, output=output, loss=loss)


def check_gradient(ours: jn.Gradient, theirs: Any, case: Case) -> None:
    dW, db, dX = theirs
    assert relative(ours.input, dX) <= BOUND, str(case)
    for m in range(len(case.W)):
        assert relative(ours.W[m], dW[m]) <= BOUND, (m, str(case))
        if case.bias:
            assert relative(ours.b[m], db[m]) <= BOUND, (m, str(case))


def test_gradients() -> None:
    """J, and its gradient by every weight, bias and input, of 264 random networks: each loss with each output twice."""
    oracle = jax.jit(jax.value_and_grad(objective), compiler_options=QUICKLY)
    for k in range(264):
        case = some(k, len(SHAPES))
        J, theirs = oracle(*as_jax(case))
        for form in FORMS:
            net, known = case.network(), {"sample_weight": case.weight, "form": form}
            ours = net.gradient(case.X, case.T, **known)
            assert ours.loss == pytest.approx(float(J), rel=BOUND)
            assert net.loss(case.X, case.T, **known) == pytest.approx(float(J), rel=BOUND)
            check_gradient(ours, theirs, case)


def test_jacobians_and_their_products() -> None:
    """Jacobian by jacrev and jacfwd, jvp and vjp, of 66 networks, every activation among them."""

    def everything(parameters: Any, chosen: Any, V: Any, U: Any) -> Any:
        W, b, X = parameters

        def one(x: Any) -> Any:
            return output((W, b, x[None, :]), chosen)[0]

        _, Jv = jax.jvp(lambda X: output((W, b, X), chosen), (X,), (V,))
        Y, pull = jax.vjp(lambda parameters: output(parameters, chosen), parameters)
        return Y, jax.jacrev(one)(X[0]), jax.jacfwd(one)(X[0]), Jv, pull(U)[0]

    oracle, seen = jax.jit(everything, compiler_options=QUICKLY), set()
    for k in range(66):
        case = some(2 * k + 1, 1)
        seen |= {*case.activation, case.output}
        rng, net = np.random.default_rng(k), case.network()
        V, U = rng.normal(size=case.X.shape), rng.normal(size=case.T.shape)
        Y, reverse, forward, Jv, theirs = oracle(*as_jax(case), V, U)
        for form in FORMS:
            assert relative(net.predict(case.X, form=form), Y) <= BOUND, str(case)
            assert relative(net.jacobian(case.X[0], form=form), reverse) <= BOUND, str(case)
            assert relative(net.jacobian(case.X, form=form)[0], forward) <= BOUND, str(case)
            assert relative(net.jvp(case.X, V, form=form), Jv) <= BOUND, str(case)
            check_gradient(net.vjp(case.X, U, form=form), theirs, case)
    assert seen >= set(SIGMA)
