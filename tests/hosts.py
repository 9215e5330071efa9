"""What tests of code for registers share: the registers of this host and of others, arrays, the end of memory."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import subprocess
import sys
from collections.abc import Iterator

import numba
import numpy as np
import pytest

from jitnet import registers
from jitnet._jit import FLAGS

DTYPES = ("float32", "float64")
NAN, INF = float("nan"), float("inf")
AVX512 = "+avx512f,+avx512cd,+avx512dq,+avx512bw,+avx512vl,+avx,+avx2,+fma,+f16c,+bmi,+bmi2,+lzcnt,+popcnt" + (
    "" if registers.INTEL_SINCE_ICE_LAKE else ",+gfni"
)
"""AVX-512 with rows of sums over non-zeros that are not those of this host."""
SETTINGS = {
    "avx512": {"NUMBA_CPU_NAME": "skylake-avx512", "NUMBA_CPU_FEATURES": AVX512},
    "avx2": {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+sse4.2,+avx,+avx2,+fma,+bmi2"},
    "generic": {"NUMBA_CPU_NAME": "generic"},
}
"""Numba's, that make another host of this kind of processor."""
BITS = {"avx512": 512, "avx2": 256, "generic": 128}
"""Of a register there."""

compiled = numba.njit(fastmath=FLAGS)  # as the kernels are
has_other_hosts = pytest.mark.skipif(registers.BITS < 256, reason="this host has no AVX2, or is itself the other host")


def lanes_of(dtype: str) -> int:
    return registers.BITS // (8 * np.dtype(dtype).itemsize)


def random(dtype: str, *shape: int) -> np.ndarray:
    return np.random.default_rng(5).normal(size=shape).astype(dtype)


def assert_registers_are_as_told() -> None:
    """In the process that `run_on` starts, those of the other host."""
    told = os.environ.get("JITNET_TEST_BITS")
    assert registers.BITS in (128, 256, 512)
    assert told is None or int(told) == registers.BITS


def run_on(host: str, *files: str, but: str = "other_hosts") -> None:
    """All tests of some files, but for these, in a process that takes this host for another one."""
    if BITS[host] > registers.BITS:
        pytest.skip("this host has no AVX-512")
    environment = {**os.environ, **SETTINGS[host], "JITNET_TEST_BITS": str(BITS[host])}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files, "-k", f"not {but}"]
    run = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-1000:]


@contextlib.contextmanager
def end_of_memory(dtype: str) -> Iterator[np.ndarray]:
    """Ones up to a page that may not be touched: a load or store that did would end the process."""
    if not sys.platform.startswith("linux"):
        pytest.skip("needs mprotect")
    memory = mmap.mmap(-1, 2 * mmap.PAGESIZE)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    protect = ctypes.CDLL(None).mprotect
    second = ctypes.c_void_p(start + mmap.PAGESIZE)
    assert protect(second, ctypes.c_size_t(mmap.PAGESIZE), 0) == 0
    x = np.frombuffer(memory, dtype, mmap.PAGESIZE // np.dtype(dtype).itemsize)
    x[:] = 1
    try:
        yield x
    finally:
        protect(second, ctypes.c_size_t(mmap.PAGESIZE), 3)
