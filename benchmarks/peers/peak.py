"""The most that the cores can do: fused multiply-adds of registers with registers, nothing else."""

from __future__ import annotations

import statistics
import time

import numba
import numpy as np

from jitnet._jit import use_threads
from jitnet.registers import TILE_ROWS, TILE_VECTORS, lanes
from jitnet.tiles import tile_add_outer, tile_store, tile_zeros

REPEATS = 4_000_000


@numba.njit(parallel=True)
def _multiply_adds(A: np.ndarray, B: np.ndarray, C: np.ndarray, threads: int, repeats: int) -> None:
    """C[thread] += A[0] B[q], `repeats` times: A's number and B's vectors stay in registers, as the sums do."""
    for thread in numba.prange(threads):
        acc = tile_zeros(C, TILE_ROWS, TILE_VECTORS)
        for _ in range(repeats):
            acc = tile_add_outer(acc, A, 0, 0, TILE_ROWS, B, 0)
        first = np.intp(thread) * TILE_ROWS * TILE_VECTORS * lanes(C)
        tile_store(acc, C, first, TILE_VECTORS * lanes(C), TILE_ROWS)


@numba.njit
def _lanes(A: np.ndarray) -> int:
    return lanes(A)


class Peak:
    """The FMA peak in one dtype with so many threads; made (and compiled) once, measured as often as one likes."""

    def __init__(self, dtype: str, threads: int) -> None:
        self.threads = threads
        self.A = np.full(1, 0.5, dtype)
        self.tile = TILE_ROWS * TILE_VECTORS * int(_lanes(self.A))
        self.B = np.full(self.tile // TILE_ROWS, 0.5, dtype)
        self.C = np.zeros(threads * self.tile, dtype)
        self.samples: list[float] = []
        self._run(1)

    def _run(self, repeats: int) -> None:
        with use_threads(self.threads):
            _multiply_adds(self.A, self.B, self.C, self.threads, repeats)

    def measure(self) -> None:
        """One sample, in GFLOP/s (a multiply-add counts as two)."""
        began = time.perf_counter()
        self._run(REPEATS)
        seconds = time.perf_counter() - began
        self.samples.append(2e-9 * self.threads * REPEATS * self.tile / seconds)

    def median(self) -> float:
        """GFLOP/s."""
        return statistics.median(self.samples)
