"""JAX: one jit around a scan over the steps, all buffers donated."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from .cases import Array, Problem
from .peer import Peer


class Jax(Peer):
    """Parameters and Adam's means are the scan's carry, the order of the data points what it runs over."""

    name = "JAX"

    def __init__(self, problem: Problem, threads: int) -> None:
        import jax

        super().__init__(problem)
        if problem.dtype == "float64":
            jax.config.update("jax_enable_x64", True)
        self.jax = jax
        self.X, self.T = jax.device_put(problem.X), jax.device_put(problem.one_hot)
        self.run = jax.jit(self._scan, donate_argnums=0)
        self.outputs = jax.jit(self._outputs)

    def _forward(self, parameters: Any, x: Any) -> Any:
        """The output's pre-activations."""
        jnp = self.jax.numpy
        sigma = {"relu": self.jax.nn.relu, "tanh": jnp.tanh}[self.problem.case.activation]
        for m, (W, b) in enumerate(parameters):
            x = (sigma(x) if m else x) @ W.T + b  # W (n_out, n_in): as fast as (n_in, n_out), 64-64-10 12 % faster
        return x

    def _outputs(self, parameters: Any, x: Any) -> Any:
        y = self._forward(parameters, x)
        return self.jax.nn.softmax(y) if self.problem.case.output == "softmax" else y

    def _loss(self, parameters: Any, x: Any, t: Any) -> Any:
        jnp, y = self.jax.numpy, self._forward(parameters, x)
        if self.problem.case.loss == "cross_entropy":
            return -(t * self.jax.nn.log_softmax(y)).sum() / len(x)
        factor = 0.5 if self.problem.case.loss == "half_squared_error" else 1.0
        return factor * jnp.square(y - t).sum() / len(x)

    def _scan(self, carry: Any, X: Any, T: Any, order: Any) -> Any:
        """Steps over the rows of `order` (steps, batch); losses (steps,)."""
        jax, jnp, case, full = self.jax, self.jax.numpy, self.problem.case, self.problem.full_batch
        beta1, beta2, eps = 0.9, 0.999, 1e-8

        def adam(p: Any, g: Any, m: Any, v: Any, rate: Any, root: Any) -> Any:
            m, v = m + (1 - beta1) * (g - m), v + (1 - beta2) * (g * g - v)
            return p - rate * m / (jnp.sqrt(v) + eps * root), m, v

        def step(carry: Any, at: Any) -> Any:
            parameters, mean, square, s = carry
            x, t = (X, T) if full else (X[at], T[at])
            loss, g = jax.value_and_grad(self._loss)(parameters, x, t)
            if case.optimizer == "sgd":
                return (jax.tree.map(lambda p, d: p - case.lr * d, parameters, g), mean, square, s), loss
            s = s + 1
            root = jnp.sqrt(1 - beta2**s)
            new = jax.tree.map(lambda *a: adam(*a, case.lr * root / (1 - beta1**s), root), parameters, g, mean, square)
            parameters, mean, square = jax.tree.transpose(jax.tree.structure(g), jax.tree.structure((0, 0, 0)), new)
            return (parameters, mean, square, s), loss

        return jax.lax.scan(step, carry, order)

    def start(self) -> None:
        put, dtype = self.jax.device_put, self.problem.dtype
        start = list(zip(self.problem.W, self.problem.b, strict=True))
        means: list[Any] = [(), ()]
        if self.problem.case.optimizer == "adam":
            means = [[(np.zeros_like(W), np.zeros_like(b)) for W, b in start] for _ in range(2)]
        # Copied: a donated buffer must not be NumPy's own memory.
        carry = self.jax.tree.map(lambda a: put(a, may_alias=False), (start, *means, np.zeros((), dtype)))
        self.carry = self.jax.block_until_ready(carry)

    def train(self, steps: int) -> None:
        losses = [self._run(orders) for orders in self._stacks(steps)]
        self.losses = np.concatenate([np.asarray(each) for each in losses])

    def _stacks(self, steps: int) -> Iterator[Array]:
        """The orders as (steps, batch) arrays, one for each call; an epoch's smaller last batch has its own."""
        batch, whole = self.problem.case.batch, []
        for order in self.problem.orders(steps):
            if self.problem.full_batch:
                order = order[:1]  # not looked at: it only counts the step
                batch = 1
            end = len(order) - len(order) % batch
            whole.append(order[:end].reshape(-1, batch))
            if end < len(order):
                yield np.concatenate(whole)
                yield order[None, end:]
                whole = []
        if whole:
            yield np.concatenate(whole)

    def _run(self, order: Array) -> Any:
        self.carry, losses = self.run(self.carry, self.X, self.T, order.astype(np.int32))
        return self.jax.block_until_ready(losses)

    def parameters(self) -> tuple[list[Array], list[Array]]:
        return [np.array(W) for W, _ in self.carry[0]], [np.array(b) for _, b in self.carry[0]]

    def predict(self) -> Array:
        return np.asarray(self.outputs(self.carry[0], self.X))
