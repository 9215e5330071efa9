"""How fast and how exact are the functions on vector registers?"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np

from benchmarks.common import DTYPES, REPEAT, by_profile, lacking, lay_out, once, pin, skip

version = 1

FUNCTIONS = ("exp", "expm1", "tanh", "sigmoid", "log", "log1p", "softplus", "erf", "normal_cdf")
"""Every function of `jitnet.vectormath` on arrays (`tests/test_benchmarks.py` holds them together)."""
TRUE = {
    "exp": np.exp,
    "expm1": np.expm1,
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "log": np.log,
    "log1p": np.log1p,
    "softplus": lambda x: np.log1p(np.exp(-abs(x))) + np.maximum(x, 0),
    "erf": np.vectorize(math.erf, otypes=[np.float64]),
    "normal_cdf": np.vectorize(lambda x: 0.5 * math.erfc(-x / math.sqrt(2)), otypes=[np.float64]),
}
SIZE, TIMES = 1024, 64  # from L1, often enough that the call from Python counts little


def arguments(name: str, dtype: str, size: int) -> Any:
    """Numbers of the size that networks meet; above 0 for log and log1p.

    From -2 to 2 for normal_cdf: further out the rounding of its true value's argument counts more.
    """
    x = np.random.default_rng(0).uniform(-8, 8, size) * (0.25 if name == "normal_cdf" else 1.0)
    return (abs(x) + 1e-3 if name.startswith("log") else x).astype(dtype)


def compiled(name: str, dtype: str) -> Any:
    """f(x, out, times): the function over an array, `times` times."""
    try:
        from jitnet import vectormath
    except ImportError as error:
        raise lacking("vectormath") from error
    over_array = getattr(vectormath, f"{name}_array", None)
    if over_array is None:
        raise lacking(f"vectormath.{name}_array")

    def loop(x: Any, out: Any, times: int) -> None:
        for _ in range(times):
            over_array(x, out)

    call = numba.njit(loop)
    x = arguments(name, dtype, SIZE)
    out = np.zeros_like(x)
    call(x, out, TIMES)
    error = np.abs(out - TRUE[name](x.astype(np.float64))) / np.abs(TRUE[name](x.astype(np.float64)))
    assert error.max() < 8 * np.finfo(dtype).eps, f"{name}: relative error {error.max():.1e}"
    return call


class VectorMath:
    """One core."""

    params = (by_profile(["exp", "tanh"], list(FUNCTIONS), list(FUNCTIONS)), DTYPES)
    param_names = ("function", "dtype")
    rounds, repeat, warmup_time = 1, REPEAT, 0.0

    def setup(self, function: str, dtype: str) -> None:
        """Compiled, and compared with NumPy in float64."""
        pin(1)
        self.call = once((function, dtype), lambda: compiled(function, dtype))
        self.x, self.out = once((function, dtype, "arrays"), lambda: lay_out((arguments(function, dtype, SIZE),) * 2))

    def time_65536_elements(self, function: str, dtype: str) -> None:
        """1024 elements from L1, 64 times."""
        self.call(self.x, self.out, TIMES)


class VectorMathError:
    """float32 against float64, float64 against the processor's extended precision where there is one."""

    params = VectorMath.params
    param_names = VectorMath.param_names

    def setup(self, function: str, dtype: str) -> None:
        """50,000 numbers and their true values."""
        self.wide = np.longdouble if dtype == "float64" else np.float64
        if dtype == "float64" and (np.finfo(self.wide).eps > 1e-18 or function in ("erf", "normal_cdf")):
            raise skip("no wider numbers to compare with")
        self.call = once((function, dtype), lambda: compiled(function, dtype))
        self.x = arguments(function, dtype, 50_000)

    def track_ulp(self, function: str, dtype: str) -> float:
        """The largest error, in units of the last place of the true value."""
        out = np.empty_like(self.x)
        self.call(self.x, out, 1)
        true = TRUE[function](self.x.astype(self.wide))
        return float((np.abs(out - true) / np.spacing(np.abs(true).astype(dtype))).max())

    track_ulp.unit = "ulp"
