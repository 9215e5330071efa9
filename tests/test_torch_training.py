"""Whole networks trained beside PyTorch's modules in float64: same start, same batches, same losses, 100 steps.

A jitnet loss sums over the outputs of a data point and then takes the mean (or the sum) over data points. PyTorch's
means also divide by the number of outputs, so here every one of its losses is taken with reduction="sum" and divided
by the data points of the batch. Half the squared error has ½ where PyTorch has 1. Binary cross-entropy, cross-entropy
and Poisson's loss are PyTorch's from logits: jitnet takes the logarithm from the pre-activation too. PyTorch has no
quantile and no log-cosh loss; their definitions are written in its operations.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import jitnet as jn

torch = pytest.importorskip("torch")

N, BATCH, EPOCHS = 40, 8, 20
STEPS = EPOCHS * N // BATCH
BOUND = 1e-10


@pytest.fixture(autouse=True)
def double() -> Iterator[None]:
    before, threads = torch.get_default_dtype(), torch.get_num_threads()
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    yield
    torch.set_default_dtype(before)
    torch.set_num_threads(threads)


def relative(a: Any, b: Any) -> float:
    return float(abs(np.asarray(a) - np.asarray(b)).max() / abs(np.asarray(b)).max())


ACTIVATIONS: dict[str, tuple[str | jn.Activation, Callable[[], Any]]] = {
    "tanh": ("tanh", torch.nn.Tanh),
    "relu": ("relu", torch.nn.ReLU),
    "leaky_relu": (jn.Activation("leaky_relu", slope=0.2), lambda: torch.nn.LeakyReLU(0.2)),
    "sigmoid": ("sigmoid", torch.nn.Sigmoid),
    "elu": (jn.Activation("elu", alpha=0.7), lambda: torch.nn.ELU(0.7)),
    "selu": ("selu", torch.nn.SELU),
    "gelu": ("gelu", torch.nn.GELU),
    "silu": ("silu", torch.nn.SiLU),
    "softplus": ("softplus", torch.nn.Softplus),
    "softsign": ("softsign", torch.nn.Softsign),
    "hard_tanh": ("hard_tanh", torch.nn.Hardtanh),
    "mish": ("mish", torch.nn.Mish),
    "identity": ("identity", torch.nn.Identity),
    "softmax": ("softmax", lambda: torch.nn.Softmax(dim=1)),
}

F = torch.nn.functional

LOSSES: dict[str, tuple[str | jn.Loss, str, Callable[[Any, Any], Any]]] = {
    "half_squared_error": ("half_squared_error", "identity", lambda x, t: F.mse_loss(x, t, reduction="sum") / 2),
    "squared_error": ("squared_error", "identity", lambda x, t: F.mse_loss(x, t, reduction="sum")),
    "squared_error of sigmoid": (
        "squared_error", "sigmoid", lambda x, t: F.mse_loss(torch.sigmoid(x), t, reduction="sum"),
    ),
    "squared_error of softmax": (
        "squared_error", "softmax", lambda x, t: F.mse_loss(torch.softmax(x, 1), t, reduction="sum"),
    ),
    "absolute_error": ("absolute_error", "identity", lambda x, t: F.l1_loss(x, t, reduction="sum")),
    "binary_cross_entropy": (
        "binary_cross_entropy", "sigmoid", lambda x, t: F.binary_cross_entropy_with_logits(x, t, reduction="sum"),
    ),
    "cross_entropy": ("cross_entropy", "softmax", lambda x, t: F.cross_entropy(x, t, reduction="sum")),
    "huber": (jn.Loss("huber", delta=0.5), "identity", lambda x, t: F.huber_loss(x, t, reduction="sum", delta=0.5)),
    "quantile": (
        jn.Loss("quantile", q=0.3), "identity", lambda x, t: torch.maximum(0.3 * (t - x), -0.7 * (t - x)).sum(),
    ),
    "poisson": ("poisson", "exponential", lambda x, t: F.poisson_nll_loss(x, t, log_input=True, reduction="sum")),
    "poisson of softplus": (
        "poisson", "softplus",
        lambda x, t: F.poisson_nll_loss(F.softplus(x), t, log_input=False, eps=0.0, reduction="sum"),
    ),
    "log_cosh": ("log_cosh", "identity", lambda x, t: (F.softplus(-2 * (x - t)) + (x - t) - math.log(2)).sum()),
}  # fmt: skip

OPTIMIZERS: dict[str, tuple[Any, Callable[[Any], Any]]] = {
    "SGD": (jn.SGD(lr=0.05), lambda p: torch.optim.SGD(p, lr=0.05)),
    "Momentum": (jn.Momentum(lr=0.02, beta=0.8), lambda p: torch.optim.SGD(p, lr=0.02, momentum=0.8)),
    "Nesterov": (jn.Nesterov(lr=0.02, beta=0.8), lambda p: torch.optim.SGD(p, lr=0.02, momentum=0.8, nesterov=True)),
    "AdaGrad": (jn.AdaGrad(lr=0.05), lambda p: torch.optim.Adagrad(p, lr=0.05)),
    "RMSProp": (
        jn.RMSProp(lr=0.005, momentum=0.5, centered=True),
        lambda p: torch.optim.RMSprop(p, lr=0.005, momentum=0.5, centered=True),
    ),
    "Adadelta": (jn.Adadelta(lr=0.5), lambda p: torch.optim.Adadelta(p, lr=0.5)),
    "Adam": (jn.Adam(lr=0.01), lambda p: torch.optim.Adam(p, lr=0.01)),
    "AdamW": (jn.AdamW(lr=0.01, weight_decay=0.1), lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1)),
    "NAdam": (jn.NAdam(lr=0.01), lambda p: torch.optim.NAdam(p, lr=0.01)),
    "AMSGrad": (jn.AMSGrad(lr=0.01), lambda p: torch.optim.Adam(p, lr=0.01, amsgrad=True)),
    "Rprop": (jn.Rprop(lr=0.001, step_max=0.01), lambda p: torch.optim.Rprop(p, lr=0.001, step_sizes=(1e-6, 0.01))),
}


def targets(loss: str, X: np.ndarray) -> np.ndarray:
    """Learnable ones that the loss has a meaning for."""
    rng = np.random.default_rng(1)
    T = np.sin(X[:, :3]) + 0.3 * rng.normal(size=(N, 3))
    if loss == "cross_entropy":
        return T.argmax(axis=1)
    if loss.startswith(("binary", "poisson", "squared_error of")):
        return np.abs(T) / (1.0 if loss.startswith("poisson") else abs(T).max())
    return T


def pair(hidden: str, loss: str, bias: bool = True) -> tuple[jn.Network, Any, Callable[[Any, Any], Any]]:
    """A jitnet network and a PyTorch module (up to the pre-activation of the output) with the same parameters."""
    activation, module = ACTIVATIONS[hidden]
    kind, output, torch_loss = LOSSES[loss]
    net = jn.Network(
        [4, 6, 5, 3], activation=[activation, activation], output=output, loss=kind, bias=bias, dtype="float64", seed=3
    )
    linear = [torch.nn.Linear(n_in, n_out, bias=bias) for n_in, n_out in ((4, 6), (6, 5), (5, 3))]
    with torch.no_grad():
        for m, layer in enumerate(linear):
            layer.weight[:] = torch.from_numpy(net.W[m])
            if bias:
                net.b[m] = np.linspace(-0.3, 0.4, len(net.b[m]))
                layer.bias[:] = torch.from_numpy(net.b[m])
    return net, torch.nn.Sequential(linear[0], module(), linear[1], module(), linear[2]), torch_loss


def compare(
    hidden: str = "tanh", loss: str = "half_squared_error", optimizer: str = "Adam", bias: bool = True,
    form: str = "tiled", change_gradient: Callable[[list[Any]], None] = lambda parameters: None, **fit: Any,
) -> None:  # fmt: skip
    """Train both, and hold parameters, predictions and the recorded losses against each other."""
    X = np.random.default_rng(0).normal(size=(N, 4))
    T = targets(loss, X)
    net, module, torch_loss = pair(hidden, loss, bias)
    ours, make = OPTIMIZERS[optimizer]
    X_, T_ = torch.from_numpy(X), torch.from_numpy(T)
    assert net.loss(X, T) == pytest.approx(torch_loss(module(X_), T_).item() / N, rel=1e-12)
    start = net.theta.copy()
    history = net.fit(X, T, optimizer=ours, epochs=EPOCHS, batch_size=BATCH, shuffle=False, form=form, **fit)
    parameters = list(module.parameters())
    theirs, recorded = make(parameters), []
    for _ in range(EPOCHS):
        losses = []
        for at in range(0, N, BATCH):
            theirs.zero_grad()
            J = torch_loss(module(X_[at : at + BATCH]), T_[at : at + BATCH]) / BATCH
            J.backward()
            change_gradient(parameters)
            theirs.step()
            losses.append(J.item())
        recorded.append(np.mean(losses))
    assert net.history["step"][-1] == STEPS == 100
    theta = np.concatenate([p.detach().numpy().ravel() for p in parameters])
    assert relative(net.theta, theta) <= BOUND
    assert relative(start, theta) > 1e-3  # it did train
    if not fit:
        assert relative(history["loss"], recorded) <= BOUND
    assert net.loss(X, T) == pytest.approx(torch_loss(module(X_), T_).item() / N, rel=1e-9)


@pytest.mark.parametrize("form", ["tiled", "matrix"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimiser(optimizer: str, form: str) -> None:
    compare(optimizer=optimizer, form=form)


@pytest.mark.parametrize("hidden", ACTIVATIONS)
def test_every_activation(hidden: str) -> None:
    compare(hidden=hidden, optimizer="Momentum")


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss(loss: str) -> None:
    compare(loss=loss, optimizer="Adam")
    compare(loss=loss, optimizer="SGD", hidden="sigmoid")


def test_without_biases() -> None:
    compare(loss="cross_entropy", optimizer="AdamW", hidden="relu", bias=False)


def test_l2_is_pytorchs_weight_decay_of_sgd_on_weights_alone() -> None:
    def decay(parameters: list[Any]) -> None:
        for p in parameters:
            if p.ndim == 2:
                p.grad += 0.05 * p.detach()

    compare(optimizer="Momentum", l2=0.05, change_gradient=decay)


def test_clipping() -> None:
    def by_value(parameters: list[Any]) -> None:
        torch.nn.utils.clip_grad_value_(parameters, 0.02)

    def by_norm(parameters: list[Any]) -> None:
        norm = torch.nn.utils.get_total_norm([p.grad for p in parameters])
        for p in parameters:  # PyTorch's own clip_grad_norm_ adds 1e-6 to the norm
            p.grad *= min(1.0, 0.1 / float(norm))

    compare(optimizer="Momentum", clip_value=0.02, change_gradient=by_value)
    compare(optimizer="Momentum", clip_norm=0.1, change_gradient=by_norm)


def test_a_schedule_is_pytorchs() -> None:
    X = np.random.default_rng(0).normal(size=(N, 4))
    T = targets("half_squared_error", X)
    net, module, torch_loss = pair("tanh", "half_squared_error")
    net.fit(X, T, optimizer=jn.SGD(lr=jn.Cosine(0.1, 80, lr_min=0.01)), epochs=EPOCHS, batch_size=BATCH, shuffle=False)
    theirs = torch.optim.SGD(module.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(theirs, 80, eta_min=0.01)
    for step in range(STEPS):
        at = step * BATCH % N
        theirs.zero_grad()
        x, t = torch.from_numpy(X[at : at + BATCH]), torch.from_numpy(T[at : at + BATCH])
        (torch_loss(module(x), t) / BATCH).backward()
        if step >= 80:  # PyTorch's cosine rises again
            theirs.param_groups[0]["lr"] = 0.01
        theirs.step()
        if step < 80:
            schedule.step()
    assert relative(net.theta, np.concatenate([p.detach().numpy().ravel() for p in module.parameters()])) <= BOUND


def test_the_gradient_and_the_jacobian_are_pytorchs() -> None:
    X = np.random.default_rng(0).normal(size=(N, 4))
    T = targets("cross_entropy", X)
    net, module, torch_loss = pair("gelu", "cross_entropy")
    X_ = torch.from_numpy(X).requires_grad_()
    (torch_loss(module(X_), torch.from_numpy(T)) / N).backward()
    g = net.gradient(X, T)
    assert relative(g.theta, np.concatenate([p.grad.numpy().ravel() for p in module.parameters()])) <= 1e-12
    assert relative(g.input, X_.grad.numpy()) <= 1e-12
    J = torch.autograd.functional.jacobian(lambda x: torch.softmax(module(x[None]), 1)[0], torch.from_numpy(X[0]))
    assert relative(net.jacobian(X[0]), J.numpy()) <= 1e-12
