"""How long do the formulas take, F1-F9, F11 and F12, kernel by kernel, by form and shape? A call is one batch.

A form's kernels hold several formulas each. Alone stand F1 and F9 (a layer without activation; F9's sum over k is that
of F11, `input_gradient`), F7 (the same without biases; F7 with F8 beside it), and F4, F6 and F5' (an output layer as
wide as the network's first). F2 and the slopes of F5 are timed in activations.py, F10 in optimizers.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.common import (
    DTYPES,
    FORMS,
    MIDDLE,
    NETWORKS,
    REPEAT,
    SMALL,
    WIDE,
    Case,
    assert_close,
    by_profile,
    function_of,
    lay_out,
    make_data,
    make_network,
    once,
    pin,
)

version = 1

SHAPES = by_profile([SMALL[1]], [SMALL[1], MIDDLE], [*SMALL, MIDDLE, WIDE, list(NETWORKS)[-1]])
KERNELS = {
    "forward: F1, F2": "forward",
    "losses: F3": "losses",
    "backward: F4-F6, F9, F5": "backward",
    "gradient: F7, F8": "gradient",
    "input_gradient: F11": "input_gradient",
    "jvp: F12": "jvp",
    "vjp: F12": "vjp",
    "jacobian: F12": "jacobian",
    "one layer: F1": "forward",
    "one layer: F7": "gradient",
    "one layer: F7, F8": "gradient",
    "one layer: F9": "input_gradient",
    "output layer: F4": "backward",
    "output layer: F6": "backward",
    "output layer: F5' after F4": "backward",
}
SHOWN = by_profile(
    [name for name in KERNELS if KERNELS[name] in ("forward", "backward", "gradient", "input_gradient")],
    list(KERNELS),
    list(KERNELS),
)


def alone(kernel: str, case: Case) -> Case:
    """The network in which a kernel does this formula alone: the case's own, or a single layer."""
    d, n_out, *_ = case.widths
    if kernel.startswith("one layer"):
        bias = kernel != "one layer: F7"
        return case._replace(widths=[d, n_out], output="identity", loss="half_squared_error", bias=bias)
    if kernel == "output layer: F4":
        return case._replace(widths=[1, d], output="identity", loss="log_cosh")
    if kernel == "output layer: F6":
        return case._replace(widths=[1, d], output="softmax", loss="cross_entropy")
    if kernel == "output layer: F5' after F4":
        return case._replace(widths=[1, d], output="softmax", loss="squared_error")
    return case


def arguments(case: Case, dtype: str) -> dict[str, tuple[Any, ...]]:
    """What each kernel is called with: a batch, and what the matrix form makes of it."""
    net = make_network(case, dtype)
    X, T, _ = make_data(case, net, case.batch)
    n, theta, c = net.layout, net.theta, np.full(case.batch, 1 / case.batch, dtype)
    x, y = function_of("matrix", "forward")(n, theta, X)
    delta = function_of("matrix", "backward")(n, theta, x, y, T, c)
    rng = np.random.default_rng(2)
    V, U = (rng.standard_normal(shape).astype(dtype) for shape in (X.shape, T.shape))
    few = min(case.batch, 32)  # a Jacobian has n_out x d numbers a data point
    given = {
        "forward": (n, theta, X),
        "losses": (n, x, y, T),
        "backward": (n, theta, x, y, T, c),
        "gradient": (n, X, y, delta),
        "input_gradient": (n, theta, delta),
        "jvp": (n, theta, x, y, V),
        "vjp": (n, theta, x, y, U),
        "jacobian": (n, theta, x[:few], y[:few]),
    }
    return {name: lay_out(each) for name, each in given.items()}


def prepared(name: str, case: Case, form: str, dtype: str) -> Callable[[], Any]:
    """The kernel with its arguments: compiled with the exact signature, and checked against the matrix form."""
    given = once((repr(case), dtype), lambda: arguments(case, dtype))[name]
    kernel = function_of(form, name)
    ours, theirs = kernel(*given), function_of("matrix", name)(*given)
    pairs = zip(ours, theirs, strict=True) if isinstance(ours, tuple) else [(ours, theirs)]
    for mine, its in pairs:
        assert_close(mine, its, dtype, name)
    return lambda: kernel(*given)


class Kernels:
    """One thread, float32 (full: float64 too); the batch is the network's."""

    params = (SHOWN, SHAPES, FORMS, by_profile(["float32"], ["float32"], DTYPES))
    param_names = ("kernel", "network", "form", "dtype")
    timeout = 300
    rounds, repeat, warmup_time = 1, REPEAT, 0.0

    def setup(self, kernel: str, network: str, form: str, dtype: str) -> None:
        """Arguments from the matrix form; result compared with it."""
        pin(1)
        case, name = alone(kernel, NETWORKS[network]), KERNELS[kernel]
        self.call = once((kernel, network, form, dtype), lambda: prepared(name, case, form, dtype))

    def time_kernel(self, kernel: str, network: str, form: str, dtype: str) -> None:
        """A batch once; of the Jacobian 32 data points at most."""
        self.call()
