"""Gradients, Jacobians and their products against central differences, in float64."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from cases import HIDDEN, PAIRS, Array, Case, draw, random_case, relative, smooth

import jitnet as jn
from jitnet.forms import FORMS

H = 6e-6
"""Half the distance of a central difference: (J(p + h) - J(p - h)) / 2h is off by h² J'''/6 + ε |J| / h, both about
4e-11, at h = ε^(1/3); a 4e-5th of the bound."""

BOUND = 1e-6


def differences(J: Callable[[], float | Array], p: Array) -> Array:
    """∂J/∂p by central differences, one row of J's shape for each element of the array p, which is put back."""
    rows = []
    for k in range(p.size):
        value = p.flat[k]
        p.flat[k] = value + H
        above = np.asarray(J())
        p.flat[k] = value - H
        below = np.asarray(J())
        p.flat[k] = value
        rows.append((above - below) / (2 * H))
    return np.array(rows)


def small(rng: np.random.Generator, k: int) -> Case:
    """A network of 1 to 4 layers with 1 to 5 neurons each and 1 to 4 points, no neuron or residual near a bend.

    H moves no neuron by 1e-3, so a difference never reaches over a bend, where it approximates nothing to second order.
    Every 132 of them have each loss with each output once.
    """
    loss, output = PAIRS[k % len(PAIRS)]
    names = list(HIDDEN)
    while True:
        widths = [int(w) for w in rng.integers(1, 6, rng.integers(2, 6))]
        hidden = [names[i] for i in rng.integers(0, len(names), len(widths) - 2)]
        case = draw(rng, widths=widths, N=int(rng.integers(1, 5)), activation=hidden, output=output, loss=loss)
        if smooth(case, 1e-3):
            return case


@pytest.mark.parametrize("start", range(0, 280, 40))
def test_gradients(start: int) -> None:
    """∂J/∂W, ∂J/∂b, ∂J/∂X of 280 random networks, of the loss J that `loss` gives: weights and reduction included."""
    for k in range(start, start + 40):
        case = small(np.random.default_rng([10, k]), k)
        net, X = case.network(), case.X.copy()

        def J(net: jn.Network = net, X: Array = X, case: Case = case) -> float:
            return net.loss(X, case.T, sample_weight=case.weight)

        numeric = [differences(J, p).reshape(p.shape) for p in (*net.W, *net.b, X)]
        for form in FORMS:
            g = net.gradient(X, case.T, sample_weight=case.weight, form=form)
            assert g.loss == pytest.approx(J(), rel=1e-13)
            for k, (computed, wanted) in enumerate(zip((*g.W, *g.b, g.input), numeric, strict=True)):
                assert relative(computed, wanted) <= BOUND, (form, k, str(case))


@pytest.mark.parametrize("start", range(0, 120, 40))
def test_jacobians(start: int) -> None:
    """∂ŷ/∂x by differences of `predict`; u (J v) = (u J) v; and vjp's ∂(u ŷ)/∂θ."""
    for k in range(start, start + 40):
        rng = np.random.default_rng([11, k])
        case = small(rng, k)
        net, X = case.network(), case.X.copy()
        V, U = rng.normal(size=X.shape), rng.normal(size=case.T.shape)
        by_input = np.array([differences(lambda net=net, x=x: net.predict(x)[0], x).T for x in X[:, None].copy()])
        by_theta = differences(lambda net=net, X=X, U=U: np.sum(U * net.predict(X)), net.theta)
        for form in FORMS:
            J, Jv, uJ = net.jacobian(X, form=form), net.jvp(X, V, form=form), net.vjp(X, U, form=form)
            assert relative(J, by_input) <= BOUND, (form, str(case))
            assert form == "matrix" or np.array_equal(net.jacobian(X[-1], form=form), J[-1])
            assert relative(Jv, np.einsum("nij,nj->ni", J, V)) <= 1e-12, (form, str(case))
            assert relative(uJ.input, np.einsum("ni,nij->nj", U, J)) <= 1e-12, (form, str(case))
            assert np.sum(U * Jv) == pytest.approx(np.sum(uJ.input * V), rel=1e-10, abs=1e-12 * np.sum(abs(U * Jv)))
            assert relative(uJ.theta, by_theta) <= BOUND, (form, str(case))


def test_directional_derivatives_of_large_networks() -> None:
    """Where a difference for each parameter is too many: along a random direction, to 1e-6."""
    for k in range(20):
        rng = np.random.default_rng([12, k])
        while not smooth(case := random_case(rng, widths=[17, 33, 20, 8], N=10), 1e-5):
            pass
        net = case.network()
        g = net.gradient(case.X, case.T, sample_weight=case.weight).theta
        direction, start = rng.normal(size=net.size), net.theta.copy()
        direction /= np.linalg.norm(direction)
        J = []
        for h in (H, -H):
            net.theta[:] = start + h * direction
            J.append(net.loss(case.X, case.T, sample_weight=case.weight))
        assert (J[0] - J[1]) / (2 * H) == pytest.approx(g @ direction, rel=BOUND, abs=BOUND * np.linalg.norm(g) / 30), k
