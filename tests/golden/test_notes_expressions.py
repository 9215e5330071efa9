"""The worked numbers of the notes that a scalar expression serves (seed 003; one of seed 002)."""

from __future__ import annotations

import math

import pytest

from jitnet.expression import (
    Node,
    Variable,
    exp,
    forward_accumulation,
    reciprocal,
    reverse_accumulation,
    sensitivities,
    sigmoid,
    square,
    trace,
)

# y = σ(1), and dσ = σ(1) (1 - σ(1)), with all their digits; the notes print 0.20 for it.
Y = 1 / (1 + math.exp(-1))
D_SIGMA = math.exp(-1) / (1 + math.exp(-1)) ** 2


def test_product_of_a_sum() -> None:
    """f = (x + y) z at (-2, 5, -4): q = 3, f = -12, ∂f/∂q = -4, ∂f/∂z = 3, the gradient is (-4, -4, 3)."""
    x, y, z = Variable("x", -2), Variable("y", 5), Variable("z", -4)
    q = x + y
    f = q * z
    assert (q.value, f.value) == (3, -12)
    assert q.partials == (1, 1)
    assert f.partials == (z.value, q.value) == (-4, 3)
    assert reverse_accumulation(f) == {x: -4, y: -4, z: 3}
    assert [forward_accumulation(f, v) for v in (x, y, z)] == [-4, -4, 3]
    assert sensitivities(f) == {x: -4, y: -4, q: -4, z: 3, f: 1}


def test_trace_of_the_product_of_a_sum() -> None:
    """The numbers above and below the wires of the figure, as a table."""
    x, y, z = Variable("x", -2), Variable("y", 5), Variable("z", -4)
    assert trace((x + y) * z).splitlines() == [
        "node  formula  value  ∂f/∂node",
        "x                 -2        -4",
        "y                  5        -4",
        "[1]   x + y        3        -4",
        "z                 -4         3",
        "[2]   [1] * z    -12         1",
    ]


def neuron(form: str) -> tuple[list[Variable], Node, list[Node]]:
    """The variables (w0, x0, w1, x1, w2), the sum, and the nodes after it, the output last."""
    w0, x0, w1, x1, w2 = inputs = [
        Variable(name, value) for name, value in (("w0", 2), ("x0", -1), ("w1", -3), ("x1", -2), ("w2", -3))
    ]
    s = w0 * x0 + w1 * x1 + w2
    if form == "one node":
        return inputs, s, [sigmoid(s)]
    negated = -1 * s
    e = exp(negated)
    denominator = e + 1
    return inputs, s, [negated, e, denominator, reciprocal(denominator)]


@pytest.mark.parametrize("form", ["composed", "one node"])
def test_sigmoid_neuron(form: str) -> None:
    """1 / (1 + exp(-(w0 x0 + w1 x1 + w2))), w = (2, -3, -3), x = (-1, -2): the sum is 1, y = 0.7311, dσ = 0.1966.

    The notes multiply the rounded 0.20, so that they print (2.00)(0.20) = 0.40 for x0, which is 0.39.
    """
    inputs, s, after = neuron(form)
    y = after[-1]
    assert s.value == 1
    assert y.value == pytest.approx(Y, rel=1e-15)
    assert round(y.value, 4) == 0.7311
    derivative = sensitivities(y)
    assert derivative[s] == pytest.approx(D_SIGMA, rel=1e-14)
    assert round(derivative[s], 4) == 0.1966
    reverse = reverse_accumulation(y)
    forward = {v: forward_accumulation(y, v) for v in inputs}
    for gradient in (reverse, forward):
        assert [round(gradient[v], 2) for v in inputs] == [-0.20, 0.39, -0.39, -0.59, 0.20]
        assert [gradient[v] for v in inputs] == pytest.approx([d * D_SIGMA for d in (-1, 2, -2, -3, 1)], rel=1e-14)


def test_nodes_of_the_sigmoid_neuron() -> None:
    """Back through the four rules of the notes: -1/x² of 1/x, 1 of c + x, e^x, a of a x; then add and multiply."""
    (w0, x0, w1, x1, w2), s, (negated, e, denominator, y) = neuron("composed")
    (products, w2_again), (wx0, wx1) = s.parents, s.parents[0].parents
    assert w2_again is w2
    assert (wx0.value, wx1.value, products.value) == (-2, 6, 4)
    assert [round(w.value, 2) for w in (negated, e, denominator, y)] == [-1.00, 0.37, 1.37, 0.73]
    derivative = sensitivities(y)
    assert [round(derivative[w], 2) for w in (y, denominator, e, negated, s)] == [1.00, -0.53, -0.53, -0.20, 0.20]
    # add distributes, multiply switches
    assert derivative[wx0] == derivative[wx1] == derivative[products] == derivative[w2] == derivative[s]
    assert derivative[w0] == derivative[wx0] * x0.value
    assert derivative[x0] == derivative[wx0] * w0.value
    assert derivative[w1] == derivative[wx1] * x1.value
    assert derivative[x1] == derivative[wx1] * w1.value


def test_squared_norm_of_a_product() -> None:
    """f = ||Wx||²: q = (0.22, 0.26), f = 0.116, ∇_q = 2 q, ∇_W = 2 q xᵀ, ∇_x = 2 Wᵀ q.

    The notes print -0.104 for the third entry of ∇_W; 2 q_2 x_1 = 2 · 0.26 · 0.2 is positive.
    """
    w11, w12, w21, w22 = w = [
        Variable(name, value) for name, value in (("W11", 0.1), ("W12", 0.5), ("W21", -0.3), ("W22", 0.8))
    ]
    x1, x2 = x = [Variable("x1", 0.2), Variable("x2", 0.4)]
    q = [w11 * x1 + w12 * x2, w21 * x1 + w22 * x2]
    f = square(q[0]) + square(q[1])
    assert [node.value for node in (*q, f)] == pytest.approx([0.22, 0.26, 0.116], rel=1e-14)
    derivative = sensitivities(f)
    assert [derivative[q_i] for q_i in q] == pytest.approx([0.44, 0.52], rel=1e-14)
    gradient = [0.088, 0.176, 0.104, 0.208, -0.112, 0.636]
    assert [derivative[v] for v in w + x] == pytest.approx(gradient, rel=1e-14)
    assert [forward_accumulation(f, v) for v in w + x] == pytest.approx(gradient, rel=1e-14)


def test_square_as_activation() -> None:
    """Seed 002: f(z) = z² at (1, 2, 3) has the Jacobian diag(2, 4, 6)."""
    z = [Variable(f"z{i}", i) for i in (1, 2, 3)]
    a = [square(z_i) for z_i in z]
    assert [a_i.value for a_i in a] == [1, 4, 9]
    assert [[forward_accumulation(a_i, z_j) for z_j in z] for a_i in a] == [[2, 0, 0], [0, 4, 0], [0, 0, 6]]
    assert [reverse_accumulation(a_i) for a_i in a] == [{z[0]: 2}, {z[1]: 4}, {z[2]: 6}]
