"""What happens before the first step: imports, compiling, the cache."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest
from numba.core.caching import NullCache

import jitnet as jn
from jitnet import _compile, _jit
from jitnet.forms import tiled

ROOT = Path(__file__).resolve().parent.parent

IMPORT = """
import sys
import numba
of_numba = set(sys.modules)  # SciPy, where it is there
import jitnet
from jitnet.forms import tiled
optional = {"scipy", "sklearn", "polars", "matplotlib", "rich", "typer", "torch", "jax"} & set(sys.modules) - of_numba
assert not optional, optional
assert not tiled.steps.serial.signatures
assert not tiled.steps.parallel.signatures
"""


def test_importing_pulls_in_no_optional_package_and_compiles_nothing() -> None:
    subprocess.run([sys.executable, "-c", IMPORT], check=True, cwd=ROOT)


def test_another_architecture_compiles_nothing() -> None:
    """Nor do data with zeros, for training."""
    rng = np.random.default_rng(0)

    def fit(widths: list[int], activation: str, zeros: int = 100) -> None:
        X, T = rng.normal(size=(9, widths[0])), rng.normal(size=(9, widths[-1]))
        X[:, zeros:] = 0
        jn.Network(widths, activation=activation, dtype="float32").fit(X, T, epochs=1, batch_size=5)

    fit([2, 3, 1], "tanh")
    before = list(tiled.steps.serial.signatures)
    fit([4, 5, 6, 7, 2], "relu")
    fit([50, 300, 150, 2], "relu", zeros=3)
    assert before
    assert tiled.steps.serial.signatures == before


@numba.njit(no_cpython_wrapper=True)
def inner(x: float) -> float:
    return x + 1.0


@numba.njit
def callable_from_python(x: float) -> float:
    return 2.0 * x


def test_what_a_kernel_calls_waits_and_is_finished_when_somebody_wants_it() -> None:
    if not _compile.KNOWN:
        pytest.skip("Numba is built otherwise")

    @_jit.kernel(work=lambda x: 0.0)
    def outer(x: float) -> float:
        return inner(x) + callable_from_python(x)

    outer.serial._cache = NullCache()  # compiled here, also where an earlier run left its code
    assert outer.serial(1.0) == 4.0
    assert callable_from_python(1.5) == 3.0
    (code,) = inner.overloads.values()
    assert isinstance(code.library, _compile.WaitingLibrary)
