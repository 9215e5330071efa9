"""Scalar expressions: forward and reverse accumulation against differences, deep and shared graphs, errors."""

from __future__ import annotations

import doctest
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import jitnet.expression
from jitnet.errors import InputError
from jitnet.expression import (
    Constant,
    Node,
    Variable,
    exp,
    forward_accumulation,
    log,
    maximum,
    reciprocal,
    reverse_accumulation,
    sensitivities,
    sigmoid,
    square,
    tanh,
    trace,
)

Function = Callable[[Sequence[Node]], Node]


def central_difference(function: Function, at: Sequence[float], i: int, h: float = 1e-3) -> float:
    """∂f/∂x_i with an error of order h⁴, from the values alone."""

    def f(step: float) -> float:
        moved = [value + step * (j == i) for j, value in enumerate(at)]
        return function([Variable(f"x{j}", value) for j, value in enumerate(moved)]).value

    return (8 * (f(h) - f(-h)) - (f(2 * h) - f(-2 * h))) / (12 * h)


# ---- each operation: its value and derivatives against another source of the same numbers


@pytest.mark.parametrize(
    ("function", "at", "value"),
    [
        (lambda v: v[0] + v[1], (1.5, -0.7), 0.8),
        (lambda v: v[0] - v[1], (1.5, -0.7), 2.2),
        (lambda v: v[0] * v[1], (1.5, -0.7), -1.05),
        (lambda v: v[0] / v[1], (1.5, -0.7), -15 / 7),
        (lambda v: v[0] ** v[1], (1.5, -0.7), math.exp(-0.7 * math.log(1.5))),
        (lambda v: v[0] ** 3, (-1.5,), -3.375),
        (lambda v: v[0] ** -2, (-1.5,), 1 / 2.25),
        (lambda v: v[0] ** 0.5, (1.5,), math.sqrt(1.5)),
        (lambda v: v[0] ** 0, (0.0,), 1.0),
        (lambda v: v[0] ** 1, (0.0,), 0.0),
        (lambda v: -v[0], (1.5,), -1.5),
        (lambda v: 2 + v[0], (1.5,), 3.5),
        (lambda v: 2 - v[0], (1.5,), 0.5),
        (lambda v: 2 * v[0], (1.5,), 3.0),
        (lambda v: 2 / v[0], (1.5,), 4 / 3),
        (lambda v: 2 ** v[0], (1.5,), 2 * math.sqrt(2)),
        (lambda v: exp(v[0]), (-0.7,), math.exp(-0.7)),
        (lambda v: log(v[0]), (1.5,), math.log(1.5)),
        (lambda v: reciprocal(v[0]), (-0.7,), -1 / 0.7),
        (lambda v: square(v[0]), (-0.7,), 0.49),
        (lambda v: sigmoid(v[0]), (-0.7,), 1 / (1 + math.exp(0.7))),
        (lambda v: sigmoid(v[0]), (1.5,), 1 / (1 + math.exp(-1.5))),
        (lambda v: tanh(v[0]), (-0.7,), (1 - math.exp(1.4)) / (1 + math.exp(1.4))),
        (lambda v: maximum(v[0], v[1]), (1.5, -0.7), 1.5),
        (lambda v: maximum(v[1], v[0]), (1.5, -0.7), 1.5),
        (lambda v: maximum(v[0], 2), (1.5,), 2.0),
    ],
)
def test_operation(function: Function, at: tuple[float, ...], value: float) -> None:
    variables = [Variable(f"x{i}", x) for i, x in enumerate(at)]
    f = function(variables)
    assert f.value == pytest.approx(value, rel=1e-14)
    reverse = reverse_accumulation(f)
    for i, x in enumerate(variables):
        assert reverse[x] == pytest.approx(central_difference(function, at, i), rel=1e-9, abs=1e-9)
        assert forward_accumulation(f, x) == reverse[x]


def test_patterns_in_backflow() -> None:
    """add distributes the gradient, max routes it, mul switches the factors."""
    u, v = Variable("u", 3), Variable("v", 7)
    assert reverse_accumulation(5 * (u + v)) == {u: 5, v: 5}
    assert reverse_accumulation(5 * maximum(u, v)) == {u: 0, v: 5}
    assert reverse_accumulation(5 * (u * v)) == {u: 35, v: 15}


def test_relu_at_zero_has_derivative_zero() -> None:
    x = Variable("x", 0)
    assert forward_accumulation(maximum(0, x), x) == 0


@pytest.mark.parametrize("x", [-745.0, -40.0, 40.0, 800.0])
def test_sigmoid_far_out(x: float) -> None:
    """No overflow, and the derivative keeps the digits that 1 - σ would lose: σ' = e^-|x| / (1 + e^-|x|)²."""
    y = sigmoid(Variable("x", x))
    e = math.exp(-abs(x))
    assert y.value == pytest.approx((1 if x >= 0 else e) / (1 + e), rel=1e-14, abs=0)
    assert y.partials[0] == pytest.approx(e / (1 + e) ** 2, rel=1e-14, abs=0)


# ---- random graphs

# Every one is defined everywhere and tame, so that any drawn graph has values and differences that can be trusted.
OPERATIONS: list[Callable[[Node, Node], Node]] = [
    lambda u, v: 0.5 * (u + v),
    lambda u, v: u - 0.5 * v,
    lambda u, v: tanh(u) * v,
    lambda u, v: u / (1 + square(v)),
    lambda u, v: (1 + square(u)) ** tanh(v),
    lambda u, v: 3 - sigmoid(u) ** 3,
    lambda u, v: exp(-square(u)) + v,
    lambda u, v: log(1 + u * u) - v,
    lambda u, v: reciprocal(2 + tanh(u)) * 2 ** sigmoid(v),
    maximum,
]


@st.composite
def programs(draw: st.DrawFn) -> tuple[list[float], list[tuple[int, int, int]]]:
    """Values of one to four variables, and steps (operation, first operand, second operand) over all nodes so far."""
    at = draw(st.lists(st.floats(-1.5, 1.5).map(lambda x: round(x, 3)), min_size=1, max_size=4))
    index = [st.integers(0, len(at) + step - 1) for step in range(10)]
    length = draw(st.integers(1, 10))
    return at, [(draw(st.integers(0, len(OPERATIONS) - 1)), draw(index[k]), draw(index[k])) for k in range(length)]


@given(program=programs())
@settings(max_examples=150, derandomize=True, deadline=None, database=None)
def test_random_graphs(program: tuple[list[float], list[tuple[int, int, int]]]) -> None:
    at, steps = program

    def function(variables: Sequence[Node]) -> Node:
        nodes = list(variables)
        for operation, i, j in steps:
            nodes.append(OPERATIONS[operation](nodes[i], nodes[j]))
        return nodes[-1]

    variables = [Variable(f"x{i}", value) for i, value in enumerate(at)]
    f = function(variables)
    for w in sensitivities(f):
        if w.formula == "maximum({}, {})" and w.parents[0] is not w.parents[1]:
            # Differences taken across the kink say nothing about the derivative on either side.
            assume(abs(w.parents[0].value - w.parents[1].value) > 0.05)
    reverse = reverse_accumulation(f)
    for i, x in enumerate(variables):
        forward = forward_accumulation(f, x)
        assert reverse.get(x, 0.0) == pytest.approx(forward, rel=1e-11, abs=1e-12)
        assert forward == pytest.approx(central_difference(function, at, i), rel=1e-6, abs=1e-6)


# ---- shared and deep graphs


def test_shared_nodes_sum_over_all_uses() -> None:
    """f = q² + q x with q = 3 x, written with q and x shared: f = 12 x², f' = 24 x."""
    x = Variable("x", 5)
    q = 3 * x
    f = q * q + q * x
    assert f.value == 300
    assert sensitivities(f)[q] == 2 * q.value + x.value == 35
    assert reverse_accumulation(f) == {x: 120}
    assert forward_accumulation(f, x) == 120


def test_one_visit_a_node() -> None:
    """60 doublings have 2^60 paths from x to f but 61 nodes; a walk along the paths would never end."""
    x = Variable("x", 1)
    f: Node = x
    for _ in range(60):
        f = f + f
    assert len(sensitivities(f)) == 61
    assert reverse_accumulation(f) == {x: 2.0**60}
    assert forward_accumulation(f, x) == 2.0**60


def test_deep_chain() -> None:
    """w <- 1.0001 w, 50,000 times: 1.0001^50000, far beyond Python's recursion limit; so do the table and the end."""
    assert sys.getrecursionlimit() < 50_000
    x = Variable("x", 1)
    f: Node = x
    for _ in range(50_000):
        f = 1.0001 * f
    exact = math.exp(50_000 * math.log1p(0.0001))
    assert forward_accumulation(f, x) == pytest.approx(exact, rel=1e-9)
    assert reverse_accumulation(f)[x] == pytest.approx(exact, rel=1e-9)
    assert len(trace(f).splitlines()) == 50_002
    assert repr(f).startswith("Node(formula='{} * {}', value=148.")
    del f


def test_variables_of_the_same_name_are_two() -> None:
    a, b = Variable("x", 2), Variable("x", 2)
    assert reverse_accumulation(a * a + 3 * b) == {a: 4, b: 3}


def test_derivative_by_an_inner_node_and_by_a_stranger() -> None:
    x, stranger = Variable("x", 2), Variable("y", 2)
    q = x * x
    f = q * 3 + x
    assert forward_accumulation(f, q) == 3
    assert forward_accumulation(f, f) == 1
    assert forward_accumulation(f, stranger) == 0
    assert stranger not in reverse_accumulation(f)
    assert reverse_accumulation(x) == {x: 1}
    assert reverse_accumulation(Constant(3) * 2) == {}


# ---- what is printed


def test_docstring_example() -> None:
    outcome = doctest.testmod(jitnet.expression)
    assert outcome.attempted >= 5
    assert outcome.failed == 0


def test_trace_of_every_way_to_write_a_node() -> None:
    x = Variable("x", 0.25)
    f = maximum(-(log(x) ** 2), 0.1) / sigmoid(x)
    assert trace(f, digits=3).splitlines() == [
        "node  formula            value  ∂f/∂node",
        "x                         0.25   -0.0779",
        "[1]   log(x)             -1.39         0",
        "[2]   [1] ** 2            1.92         0",
        "[3]   -[2]               -1.92         0",
        "[4]   maximum([3], 0.1)    0.1      1.78",
        "[5]   sigmoid(x)         0.562    -0.316",
        "[6]   [4] / [5]          0.178         1",
    ]


def test_variable_keeps_its_name_and_cannot_change() -> None:
    x = Variable("weight {0}", 2)
    assert x.name == "weight {0}"
    assert "weight {0} * 3" in trace(x * 3)
    with pytest.raises(FrozenInstanceError):
        x.value = 3  # type: ignore[misc]


# ---- errors

X = Variable("x", 2.0)


def bad(value: object) -> Any:
    """A value of a type that the hints forbid."""
    return value


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        (lambda: log(X - 2), r"log\(u\) at u = 0\.0"),
        (lambda: log(-X), r"log\(u\) at u = -2\.0"),
        (lambda: X / (X - 2), r"u / v at u = 2\.0, v = 0\.0"),
        (lambda: X / 0, r"u / v at u = 2\.0, v = 0\.0"),
        (lambda: 1 / (X - 2), r"u / v at u = 1\.0, v = 0\.0"),
        (lambda: reciprocal(X - 2), r"1 / u at u = 0\.0"),
        (lambda: reciprocal(X * 1e-200), r"1 / u at u = 2e-200: value 5e\+199 or derivatives \(-inf,\) not finite"),
        (lambda: exp(500 * X), r"exp\(u\) at u = 1000\.0"),
        (lambda: square(1e200 * X), r"square\(u\) at u = 2e\+200: value inf"),
        (lambda: 1e308 * X, r"u \* v at u = 1e\+308, v = 2\.0: value inf"),
        (lambda: 1.7e308 + X * 5e307, r"u \+ v at .*: value inf"),
        (lambda: (-X) ** 0.5, r"u \*\* 0\.5 at u = -2\.0"),
        (lambda: (X - 2) ** -1, r"u \*\* -1 at u = 0\.0"),
        (lambda: (X - 2) ** 0.5, r"u \*\* 0\.5 at u = 0\.0"),
        (lambda: X**5000, r"u \*\* 5000 at u = 2\.0"),
        (lambda: (-X) ** X, r"u \*\* v at u = -2\.0, v = 2\.0"),
        (lambda: X + math.nan, "constant in an expression: nan given"),
        (lambda: maximum(math.inf, X), "constant in an expression: inf given"),
        (lambda: X * bad("3"), "constant in an expression: '3' .* a real number is wanted"),
        (lambda: bad(None) - X, "constant in an expression: None .* a real number is wanted"),
        (lambda: X + bad(1j), "constant in an expression: 1j .* a real number is wanted"),
        (lambda: Variable("x", math.nan), "variable x: nan given"),
        (lambda: Variable("x", -math.inf), "variable x: -inf given"),
        (lambda: Variable("x", bad("2")), "variable x: '2' .* a real number is wanted"),
        (lambda: Variable("", 2), "name of a variable: '' given"),
        (lambda: Variable(bad(2), 2), "name of a variable: 2 given"),
        (lambda: forward_accumulation(X * 2, bad("x")), r"variable: 'x' \(str\) given"),
        (lambda: forward_accumulation(bad(2), X), r"f: 2 \(int\) given"),
        (lambda: reverse_accumulation(bad("f")), r"f: 'f' \(str\) given"),
        (lambda: sensitivities(bad(2.0)), r"f: 2\.0 \(float\) given"),
        (lambda: trace(bad(None)), r"f: None \(NoneType\) given"),
        (lambda: trace(X, digits=0), "digits: 0 given"),
        (lambda: trace(X, digits=bad(2.5)), r"digits: 2\.5 \(float\) given"),
    ],
)
def test_input_errors(expression: Callable[[], object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        expression()


def test_overflow_of_the_chain_is_an_error() -> None:
    """Every local derivative is finite, their product 1e400 is not."""
    x = Variable("x", 0)
    f = 1e200 * (1e200 * x)
    for accumulate in (lambda: forward_accumulation(f, x), lambda: reverse_accumulation(f), lambda: trace(f)):
        with pytest.raises(InputError, match=r"accumulated derivative is inf"):
            accumulate()
