"""scikit-learn's multi-layer perceptron, where it can be made to do the same steps."""

from __future__ import annotations

import numpy as np

from .cases import Array, Problem
from .peer import LeftOut, Peer


class Sklearn(Peer):
    """`partial_fit` of a whole epoch in the order wanted; the data points are gathered for the epoch at once.

    Its squared loss is half the mean over data points *and* outputs, but its gradient is that of half the sum over
    outputs. So for jitnet's squared error, `slope` times that, SGD takes `slope` times the rate, and Adam, which
    divides the factor out, 1 / `slope` of the epsilon. Its Adam adds the epsilon to the root of a running mean that is
    not yet bias-corrected, the other peers after that: parameters with tiny gradients go another way at first.
    """

    name = "scikit-learn"
    losses_by_epoch = True

    def __init__(self, problem: Problem, threads: int) -> None:
        from sklearn.neural_network import MLPClassifier, MLPRegressor

        super().__init__(problem)
        case = problem.case
        self.classifies = case.loss == "cross_entropy"
        n_out = case.widths[-1]
        squared = {"half_squared_error": 1.0, "squared_error": 2.0}
        if not self.classifies and (case.loss not in squared or case.output != "identity"):
            raise LeftOut(f"scikit-learn has no {case.loss} of {case.output}")
        if self.classifies and n_out == 2:
            raise LeftOut("scikit-learn takes one sigmoid for two classes, not a softmax")
        slope = 1.0 if self.classifies else squared[case.loss]
        self.factor = slope if self.classifies else slope * n_out
        self.tolerance = 0.08 if case.optimizer == "adam" else 0.0  # 0.04 after 20 steps of Fashion-MNIST
        kind = MLPClassifier if self.classifies else MLPRegressor
        adam = case.optimizer == "adam"
        self.settings = {
            "hidden_layer_sizes": case.widths[1:-1], "activation": case.activation, "solver": case.optimizer,
            "alpha": 0.0, "batch_size": min(case.batch, len(problem.X)), "shuffle": False, "momentum": 0.0,
            "learning_rate_init": case.lr if adam else case.lr * slope, "epsilon": 1e-8 / slope,
            "tol": 0.0, "n_iter_no_change": 1_000_000_000,
        }  # fmt: skip
        self.kind = kind

    def start(self) -> None:
        # One step of nothing lays out the arrays; then they are filled and the optimiser made anew.
        self.model = self.kind(**self.settings)
        self.more = {"classes": np.arange(self.problem.case.widths[-1])} if self.classifies else {}
        rows = slice(0, self.problem.case.batch)
        self.model.partial_fit(self.problem.X[rows], self.problem.T[rows], **self.more)
        for m, (W, b) in enumerate(zip(self.problem.W, self.problem.b, strict=True)):
            self.model.coefs_[m][...] = W.T
            self.model.intercepts_[m][...] = b
        del self.model._optimizer

    def train(self, steps: int) -> None:
        X, T, losses = self.problem.X, self.problem.T, []
        for order in self.problem.orders(steps):
            data = (X, T) if self.problem.full_batch else (X[order], T[order])
            self.model.partial_fit(*data, **self.more)
            losses.append(self.model.loss_)
        self.losses = np.array(losses) * self.factor

    def parameters(self) -> tuple[list[Array], list[Array]]:
        return [W.T.copy() for W in self.model.coefs_], [b.copy() for b in self.model.intercepts_]

    def predict(self) -> Array:
        X = self.problem.X
        return self.model.predict_proba(X) if self.classifies else self.model.predict(X)
