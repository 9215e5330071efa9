"""How long does each activation take, forward (F2) and backward (F5)?

A network 1-512-1 has one product for each activation in F1 and in F9: what is left of the time is σ, or σ'.
"""

from __future__ import annotations

import numpy as np

from benchmarks.common import (
    FORMS,
    REPEAT,
    Case,
    assert_close,
    by_profile,
    function_of,
    lacking,
    lay_out,
    make_data,
    make_network,
    once,
    pin,
)

version = 1

ACTIVATIONS = (
    "identity", "step", "sgn", "relu", "leaky_relu", "sigmoid", "tanh", "softmax", "elu", "selu", "gelu", "silu",
    "softplus", "softsign", "hard_tanh", "mish", "exponential",
)  # fmt: skip
"""Every name of jitnet's table (`tests/test_benchmarks.py` holds them together)."""

POINTS = 256


class Activations:
    """256 data points of 512 neurons, one thread."""

    params = (
        by_profile(["tanh"], ["relu", "sigmoid", "tanh", "softmax", "gelu", "mish"], list(ACTIVATIONS)),
        FORMS,
        by_profile(["float32"], ["float32"], ["float32", "float64"]),
    )
    param_names = ("activation", "form", "dtype")
    rounds, repeat, warmup_time = 1, REPEAT, 0.0

    def setup(self, activation: str, form: str, dtype: str) -> None:
        """Both kernels compiled, and compared with the matrix form."""
        pin(1)
        self.forward, self.backward = once((activation, form, dtype), lambda: self.kernels(activation, form, dtype))

    def kernels(self, activation: str, form: str, dtype: str) -> tuple[object, object]:
        """The calls that are timed."""
        case = Case([1, 512, 1], POINTS, activation, "identity", "squared_error", "SGD()")
        try:
            net = make_network(case, dtype)
        except ValueError as error:
            raise lacking(activation) from error
        X, T, _ = make_data(case, net, POINTS)
        n, theta, c = net.layout, net.theta, np.ones(POINTS, dtype)
        x, y = function_of("matrix", "forward")(n, theta, X)
        delta = function_of("matrix", "backward")(n, theta, x, y, T, c)
        forward, backward = function_of(form, "forward"), function_of(form, "backward")
        assert_close(forward(n, theta, X)[1], y, dtype, activation)
        assert_close(backward(n, theta, x, y, T, c), delta, dtype, f"{activation}'")
        n, theta, X, x, y, T, c = lay_out((n, theta, X, x, y, T, c))
        return (lambda: forward(n, theta, X)), (lambda: backward(n, theta, x, y, T, c))

    def time_forward(self, activation: str, form: str, dtype: str) -> None:
        """F1 of one product, F2."""
        self.forward()

    def time_backward(self, activation: str, form: str, dtype: str) -> None:
        """F4, F9 of one product, F5."""
        self.backward()
