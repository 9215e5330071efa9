"""PyTorch: eager with its fused optimiser, and the same with the network and its loss compiled."""

from __future__ import annotations

from typing import Any

from .cases import Array, Problem
from .peer import Peer


class Eager(Peer):
    """`torch.nn` modules, index_select for each batch, `torch.optim` with fused=True."""

    name = "PyTorch eager"

    def __init__(self, problem: Problem, threads: int) -> None:
        import torch
        from torch import nn

        super().__init__(problem)
        torch.set_num_threads(threads)
        case = problem.case
        self.torch = torch
        self.X, self.T = torch.from_numpy(problem.X), torch.from_numpy(problem.T)
        activation = {"relu": nn.ReLU, "tanh": nn.Tanh}[case.activation]
        modules: list[Any] = []
        for m, W in enumerate(problem.W):
            modules += [activation()] if m else []
            modules.append(nn.Linear(W.shape[1], W.shape[0], dtype=getattr(torch, problem.dtype)))
        self.model = nn.Sequential(*modules)
        self.linears = [module for module in modules if isinstance(module, nn.Linear)]
        self.loss = self.prepare(self._loss())

    def _loss(self) -> Any:
        """The mean over data points of jitnet's loss, from the output's pre-activations."""
        F, model = self.torch.nn.functional, self.model
        if self.problem.case.loss == "cross_entropy":
            return lambda x, t: F.cross_entropy(model(x), t)
        factor = 0.5 if self.problem.case.loss == "half_squared_error" else 1.0
        factor *= self.problem.case.widths[-1]  # PyTorch's mean is over outputs too
        return lambda x, t: factor * F.mse_loss(model(x), t)

    def prepare(self, loss: Any) -> Any:
        """Eager: as it is."""
        return loss

    def start(self) -> None:
        torch, case = self.torch, self.problem.case
        with torch.no_grad():
            for linear, W, b in zip(self.linears, self.problem.W, self.problem.b, strict=True):
                linear.weight.copy_(torch.from_numpy(W))
                linear.bias.copy_(torch.from_numpy(b))
        rule = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}[case.optimizer]
        self.optimizer = rule(self.model.parameters(), lr=case.lr, fused=True)
        self.optimizer.zero_grad()

    def train(self, steps: int) -> None:
        torch, loss_of, optimizer, losses = self.torch, self.loss, self.optimizer, []
        X, T = self.X, self.T
        for order in self.problem.orders(steps):
            for at in torch.from_numpy(order).split(self.problem.case.batch):
                x, t = (X, T) if self.problem.full_batch else (X.index_select(0, at), T.index_select(0, at))
                optimizer.zero_grad()
                loss = loss_of(x, t)
                loss.backward()
                optimizer.step()
                losses.append(loss.detach())
        self.losses = torch.stack(losses).numpy()

    def parameters(self) -> tuple[list[Array], list[Array]]:
        W = [each.weight.detach().numpy().copy() for each in self.linears]
        return W, [each.bias.detach().numpy().copy() for each in self.linears]

    def predict(self) -> Array:
        with self.torch.inference_mode():
            y = self.model(self.X)
            return (y.softmax(1) if self.problem.case.output == "softmax" else y).numpy()


class Compiled(Eager):
    """`torch.compile` of network and loss; PyTorch differentiates and compiles the way back with it."""

    name = "PyTorch compiled"

    def prepare(self, loss: Any) -> Any:
        return self.torch.compile(loss, dynamic=False)
