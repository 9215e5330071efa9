"""Forward and reverse accumulation on a scalar expression, one node an operation (seed 003).

    >>> x, y, z = Variable("x", -2), Variable("y", 5), Variable("z", -4)
    >>> f = (x + y) * z
    >>> forward_accumulation(f, x)
    -4.0
    >>> [reverse_accumulation(f)[v] for v in (x, y, z)]
    [-4.0, -4.0, 3.0]
    >>> print(trace(f))
    node  formula  value  ∂f/∂node
    x                 -2        -4
    y                  5        -4
    [1]   x + y        3        -4
    z                 -4         3
    [2]   [1] * z    -12         1

A value is computed as its expression is written down, together with the derivatives ∂w/∂u of a node w by each of its
parents u. The two accumulations multiply these local derivatives along the graph, from the inputs or from the output.
In the formulas below `w` is the node, `u` and `v` are its parents. All numbers are Python floats (float64).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from jitnet.errors import InputError, real, whole

Operand: TypeAlias = "Node | float"


@dataclass(frozen=True, eq=False)
class Node:
    """One value w of an expression graph. Read only: for another point, write the expression again.

    Attributes: ``formula`` (how w is written, with a ``{}`` for each parent), ``value`` (finite), ``parents`` and
    ``partials`` (∂w/∂parent, finite, in the order of ``parents``). Nodes are compared by identity. An operand that is
    not a node must be a finite real number. An operation raises InputError, which names it and its operands, where it
    has no finite value or no finite local derivative.
    """

    formula: str
    value: float
    parents: tuple[Node, ...] = field(default=(), repr=False)
    partials: tuple[float, ...] = ()

    def __add__(self, other: Operand) -> Node:
        """w = u + v; ∂w/∂u = 1, ∂w/∂v = 1. The gradient distributor: both parents get the gradient of the sum."""
        return _apply("{} + {}", (self, other), lambda u, v: u + v, lambda u, v: (1.0, 1.0))

    def __sub__(self, other: Operand) -> Node:
        """w = u - v; ∂w/∂u = 1, ∂w/∂v = -1."""
        return _apply("{} - {}", (self, other), lambda u, v: u - v, lambda u, v: (1.0, -1.0))

    def __mul__(self, other: Operand) -> Node:
        """w = u v; ∂w/∂u = v, ∂w/∂v = u. The gradient switcher: each parent gets the gradient times the other."""
        return _apply("{} * {}", (self, other), lambda u, v: u * v, lambda u, v: (v, u))

    def __truediv__(self, other: Operand) -> Node:
        """w = u / v, v ≠ 0; ∂w/∂u = 1 / v, ∂w/∂v = -u / v²."""
        return _apply("{} / {}", (self, other), lambda u, v: u / v, lambda u, v: (1 / v, -u / v / v))

    def __pow__(self, other: Operand) -> Node:
        """w = u^c for a number c; ∂w/∂u = c u^(c-1). For a node v, w = exp(v log u), u > 0; ∂w/∂v = w log u."""
        exponent = _node(other)
        if not isinstance(exponent, Constant):
            return _apply(
                "{} ** {}", (self, exponent), math.pow, lambda u, v: (_slope(u, v), math.pow(u, v) * math.log(u))
            )
        c = exponent.value
        return _apply(f"{{}} ** {exponent.formula}", (self,), lambda u: math.pow(u, c), lambda u: (_slope(u, c),))

    def __neg__(self) -> Node:
        """w = -u; ∂w/∂u = -1."""
        return _apply("-{}", (self,), lambda u: -u, lambda u: (-1.0,))

    def __radd__(self, other: float) -> Node:
        """A number + a node."""
        return _node(other) + self

    def __rsub__(self, other: float) -> Node:
        """A number - a node."""
        return _node(other) - self

    def __rmul__(self, other: float) -> Node:
        """A number times a node."""
        return _node(other) * self

    def __rtruediv__(self, other: float) -> Node:
        """A number / a node."""
        return _node(other) / self

    def __rpow__(self, other: float) -> Node:
        """A number > 0 to the power of a node."""
        return _node(other) ** self


class Variable(Node):
    """An input of the expression: its name (a string that is not empty) and its value (a finite real number)."""

    def __init__(self, name: str, value: float) -> None:
        if not isinstance(name, str) or not name:
            raise InputError(f"name of a variable: {name!r} given, a string that is not empty is wanted")
        super().__init__(name, real(f"variable {name}", value))

    @property
    def name(self) -> str:
        """The name as given."""
        return self.formula


class Constant(Node):
    """A number in an expression; numbers beside a node become constants by themselves."""

    def __init__(self, value: float) -> None:
        number = real("constant in an expression", value)
        super().__init__(f"{number:.15g}", number)


def exp(u: Operand) -> Node:
    """w = e^u; ∂w/∂u = e^u."""
    return _apply("exp({})", (u,), math.exp, lambda u: (math.exp(u),))


def log(u: Operand) -> Node:
    """w = log u (natural), u > 0; ∂w/∂u = 1 / u."""
    return _apply("log({})", (u,), math.log, lambda u: (1 / u,))


def reciprocal(u: Operand) -> Node:
    """w = 1 / u, u ≠ 0; ∂w/∂u = -1 / u²."""
    return _apply("1 / {}", (u,), lambda u: 1 / u, lambda u: (-1 / u / u,))


def square(u: Operand) -> Node:
    """w = u²; ∂w/∂u = 2 u."""
    return _apply("square({})", (u,), lambda u: u * u, lambda u: (2 * u,))


def sigmoid(u: Operand) -> Node:
    """w = σ(u) = 1 / (1 + e^-u); ∂w/∂u = σ(u) (1 - σ(u)), where 1 - σ(u) = σ(-u)."""

    def s(u: float) -> float:
        # e^-u overflows for u < -709, e^u does not.
        return 1 / (1 + math.exp(-u)) if u >= 0 else math.exp(u) / (1 + math.exp(u))

    return _apply("sigmoid({})", (u,), s, lambda u: (s(u) * s(-u),))


def tanh(u: Operand) -> Node:
    """w = tanh u; ∂w/∂u = 1 - tanh² u."""
    return _apply("tanh({})", (u,), math.tanh, lambda u: (1 - math.tanh(u) ** 2,))


def maximum(u: Operand, v: Operand) -> Node:
    """w = max(u, v); ∂w/∂u = 1[u ≥ v], ∂w/∂v = 1[u < v]. The gradient router: the larger parent gets it all.

    At a tie it is the first, so that ReLU written as ``maximum(0, x)`` has the derivative 0 at 0, as everywhere here.
    """
    return _apply("maximum({}, {})", (u, v), max, lambda u, v: (1.0, 0.0) if u >= v else (0.0, 1.0))


def forward_accumulation(f: Node, variable: Node) -> float:
    """∂f/∂x by one sweep from the inputs to f (F12): dw/dx = Σ_u ∂w/∂u · du/dx, and dx/dx = 1.

    One sweep for each input. Without branches this is the chain of the notes, dw_i/dx = dw_i/dw_{i-1} · dw_{i-1}/dx.
    ``variable`` may be any node, and the derivative is 0 where f does not depend on it. InputError where an argument
    is no node or a product of derivatives overflows.
    """
    _require_node("variable", variable)
    dw: dict[Node, float] = {}
    for w in _parents_first(f):
        if w is variable:
            dw[w] = 1.0
        else:
            dw[w] = sum((partial * dw[u] for u, partial in zip(w.parents, w.partials, strict=True)), 0.0)
    return _finite(dw)[f]


def reverse_accumulation(f: Node) -> dict[Variable, float]:
    """∂f/∂x for every variable x of f by one sweep for all; see `sensitivities`, which does it."""
    return {w: df for w, df in sensitivities(f).items() if isinstance(w, Variable)}


def sensitivities(f: Node) -> dict[Node, float]:
    """∂f/∂u for every node u, by one sweep from f to the inputs: ∂f/∂u = Σ_w ∂f/∂w · ∂w/∂u, and ∂f/∂f = 1.

    w runs over the nodes that use u (F9, the law of total derivatives). Without branches this is the chain of the
    notes, dy/dw_i = dy/dw_{i+1} · dw_{i+1}/dw_i. The nodes come in the order of evaluation, parents first.
    InputError where f is no node or a product of derivatives overflows.
    """
    order = _parents_first(f)
    df = dict.fromkeys(order, 0.0)
    df[f] = 1.0
    for w in reversed(order):
        for u, partial in zip(w.parents, w.partials, strict=True):
            df[u] += df[w] * partial
    return _finite(df)


def trace(f: Node, digits: int = 4) -> str:
    """The figures of the notes as a table: every node with its formula, its value and ∂f/∂node, parents first.

    ``digits`` (whole, at least 1) counts the significant ones. Operations are numbered, [1], [2], ...; constants
    stand in the formulas. Errors as in `sensitivities`.
    """
    whole("digits", digits, least=1)
    rows = [("node", "formula", "value", "∂f/∂node")]
    label: dict[Node, str] = {}
    operations = 0
    for w, df in sensitivities(f).items():
        label[w] = w.formula
        if isinstance(w, Constant):
            continue
        written = ""
        if w.parents:
            operations += 1
            label[w] = f"[{operations}]"
            written = w.formula.format(*(label[u] for u in w.parents))
        rows.append((label[w], written, f"{w.value:.{digits}g}", f"{df:.{digits}g}"))
    node, formula, value, gradient = (max(map(len, column)) for column in zip(*rows, strict=True))
    return "\n".join(f"{a:<{node}}  {b:<{formula}}  {c:>{value}}  {d:>{gradient}}" for a, b, c, d in rows)


def _apply(
    formula: str,
    operands: tuple[Operand, ...],
    value: Callable[..., float],
    partials: Callable[..., tuple[float, ...]],
) -> Node:
    """The node of an operation, from w and ∂w/∂u as functions of the values of the parents."""
    parents = tuple(map(_node, operands))
    at = [u.value for u in parents]
    try:
        node = Node(formula, value(*at), parents, partials(*at))
    except (ValueError, ArithmeticError) as error:
        raise InputError(f"{_written(formula, at)}: no finite value with finite derivatives ({error})") from error
    if not all(map(math.isfinite, (node.value, *node.partials))):
        raise InputError(f"{_written(formula, at)}: value {node.value} or derivatives {node.partials} not finite")
    return node


def _written(formula: str, at: list[float]) -> str:
    """The operation and its operands for a message: ``u / v at u = 1.0, v = 0.0``."""
    operands = ", ".join(f"{name} = {value}" for name, value in zip("uv", at, strict=False))
    return f"{formula.format('u', 'v')} at {operands}"


def _node(operand: Operand) -> Node:
    return operand if isinstance(operand, Node) else Constant(operand)


def _slope(u: float, c: float) -> float:
    """c u^(c-1), which is 0 for c = 0 also where u^-1 does not exist."""
    return c * math.pow(u, c - 1) if c else 0.0


def _require_node(argument: str, given: object) -> None:
    if not isinstance(given, Node):
        raise InputError(f"{argument}: {given!r} ({type(given).__name__}) given, a node of an expression is wanted")


def _parents_first(f: Node) -> list[Node]:
    """The nodes that f is made of, each once and after its parents.

    With a stack of its own: a recursive walk would end at Python's recursion limit, 1000 nodes deep.
    """
    _require_node("f", f)
    done: dict[Node, None] = {}
    stack = [f]
    while stack:
        waiting = [u for u in stack[-1].parents if u not in done]
        if waiting:
            stack.extend(reversed(waiting))
        else:
            done[stack.pop()] = None
    return list(done)


def _finite(derivatives: dict[Node, float]) -> dict[Node, float]:
    for w, derivative in derivatives.items():
        if not math.isfinite(derivative):
            at = _written(w.formula, [u.value for u in w.parents]) if w.parents else w.formula
            raise InputError(f"{at}: the accumulated derivative is {derivative}, a finite one is wanted")
    return derivatives
