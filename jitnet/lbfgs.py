"""Training with L-BFGS: SciPy's optimiser, our loss and gradient over the full batch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from jitnet import layout
from jitnet.errors import DivergenceError, InputError, require

if TYPE_CHECKING:
    from jitnet.optimizers import LBFGS
    from jitnet.training import Run


def check(*, dropout: NDArray[Any], clip_value: Any, clip_norm: Any, steps: Any) -> None:
    """Refuse what a line search cannot do, and a missing SciPy, before anything starts."""
    require("scipy.optimize", "scipy")
    for name, given in (("dropout", dropout.any()), ("clip_value", clip_value is not None),
                        ("clip_norm", clip_norm is not None), ("steps", steps is not None)):  # fmt: skip
        if given:
            raise InputError(f"{name}: given with LBFGS, which evaluates one fixed function and counts epochs alone")


def run(this: Run) -> None:
    """One iteration an epoch. Parameters go on from one `fit` to the next; the memory of curvatures starts afresh."""
    from scipy.optimize import minimize

    net, settings, data = this.net, this.settings, this.data
    optimizer: LBFGS = settings.optimizer  # type: ignore[assignment]
    f, weight = settings.form, net.shares(data.weight)
    weights_only = layout.weight_mask(net.layout)
    finite = net.theta.copy()

    def loss_and_gradient(theta: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        at = theta.astype(net.dtype)
        x, y = f.forward(net.layout, at, data.X)
        J = float(np.dot(weight, f.losses(net.layout, x, y, data.T)))
        J += float((weights_only * (settings.l1 * abs(theta) + 0.5 * settings.l2 * theta**2)).sum())
        if not math.isfinite(J):
            net.theta[:] = finite
            raise DivergenceError(
                f"training diverged in epoch {this.epoch}, step {this.step}: the loss is {J} in the line search. "
                "Likely causes: inputs or targets that are not scaled. The last parameters with a finite loss are kept",
                epoch=this.epoch, step=this.step, layer=None,
            )  # fmt: skip
        g = f.gradient(net.layout, data.X, y, f.backward(net.layout, at, x, y, data.T, weight)).astype(np.float64)
        return J, g + weights_only * (settings.l1 * np.sign(theta) + settings.l2 * theta)

    def after_iteration(intermediate_result: Any) -> None:
        net.theta[:] = finite[:] = intermediate_result.x
        this.place.step += 1
        this.place.optimizer_step += 1
        this.loss_now = float(intermediate_result.fun)
        this.tell("chunk")
        this.epoch = this.place.epoch
        this.end_epoch(this.loss_now, float("nan"))
        if this.stopped is not None:
            raise StopIteration

    epochs = settings.epochs
    if not epochs:
        return
    result = minimize(
        loss_and_gradient,
        net.theta.astype(np.float64),
        jac=True,
        method="L-BFGS-B",
        callback=after_iteration,
        options={
            "maxiter": epochs,
            "maxfun": epochs * (optimizer.line_search + 1),
            "maxcor": optimizer.history,
            "maxls": optimizer.line_search,
            "ftol": optimizer.loss_tolerance,
            "gtol": optimizer.gradient_tolerance,
        },
    )
    if this.stopped is None and result.nit < epochs:
        this.stop(f"L-BFGS: {result.message}")
