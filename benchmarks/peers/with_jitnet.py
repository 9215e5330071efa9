"""jitnet itself through its public interface, and its NumPy twin, the matrix form."""

from __future__ import annotations

import numpy as np

import jitnet as jn

from .cases import Array, Problem
from .peer import Peer


class Jitnet(Peer):
    """`Network.fit` and `Network.predict`, with everything that Python does around the compiled steps."""

    name = "jitnet"
    losses_by_epoch = True

    def __init__(self, problem: Problem, threads: int, form: str = "auto") -> None:
        super().__init__(problem)
        self.form, self.threads = form, threads
        self.optimizer = {"adam": jn.Adam, "sgd": jn.SGD}[problem.case.optimizer](lr=problem.case.lr)

    def start(self) -> None:
        self.net = self.problem.network()

    def train(self, steps: int) -> None:
        history = self.net.fit(
            self.problem.X, self.problem.T, optimizer=self.optimizer, steps=steps, batch_size=self.problem.case.batch,
            form=self.form, threads=self.threads,
        )  # fmt: skip
        self.losses = np.array(history["loss"])

    def parameters(self) -> tuple[list[Array], list[Array]]:
        return [W.copy() for W in self.net.W], [b.copy() for b in self.net.b]

    def predict(self) -> Array:
        return self.net.predict(self.problem.X, form=self.form, threads=self.threads)


class Matrix(Jitnet):
    """The matrix form: NumPy, whose BLAS has the threads that its environment says."""

    name = "NumPy matrices"

    def __init__(self, problem: Problem, threads: int) -> None:
        super().__init__(problem, threads, form="matrix")
