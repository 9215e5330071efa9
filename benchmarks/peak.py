"""What can the cores do at most? Fused multiply-adds on registers alone, with nothing of jitnet in it.

The same code at every commit, so that a fraction of the peak compares between them. Without fused products on this
machine (`fma` on x86) products and sums are two instructions, and count as such.
"""

from __future__ import annotations

import functools
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import llvmlite.binding as llvm
import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from benchmarks.common import DTYPES, THREADS, pin

version = 1

_FEATURES = llvm.get_host_cpu_features()
BITS = 512 if _FEATURES.get("avx512f") else 256 if _FEATURES.get("avx2") else 128
CHAINS = 24 if BITS == 512 else 12
"""Independent chains: more than latency x units, and they fit the registers."""


@intrinsic
def fma_chains(typingctx: Any, x: Any, a: Any, b: Any, count: Any) -> Any:
    """`count` times acc = a acc + b on CHAINS vectors that begin with x; their sum's first lane."""
    if not isinstance(x, types.Float):
        return None
    lanes = BITS // x.bitwidth

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        scalar = ir.FloatType() if x.bitwidth == 32 else ir.DoubleType()
        vector, i32 = ir.VectorType(scalar, lanes), ir.IntType(32)

        def spread(value: Any) -> Any:
            one = builder.insert_element(ir.Constant(vector, ir.Undefined), value, i32(0))
            return builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(i32, lanes), [0] * lanes))

        start, factor, term = (spread(value) for value in args[:3])
        begin, loop, after = builder.block, builder.append_basic_block("chains"), builder.append_basic_block("sum")
        name, signature_of_fma = f"llvm.fma.v{lanes}f{x.bitwidth}", ir.FunctionType(vector, [vector] * 3)
        fma = builder.module.globals.get(name) or ir.Function(builder.module, signature_of_fma, name)
        builder.branch(loop)
        builder.position_at_end(loop)
        n = builder.phi(args[3].type)
        n.add_incoming(args[3].type(0), begin)
        accumulators = [builder.phi(vector) for _ in range(CHAINS)]
        moved = [builder.call(fma, (factor, acc, term)) for acc in accumulators]
        for acc, value in zip(accumulators, moved, strict=True):
            acc.add_incoming(start, begin)
            acc.add_incoming(value, loop)
        following = builder.add(n, args[3].type(1))
        n.add_incoming(following, loop)
        builder.cbranch(builder.icmp_signed("<", following, args[3]), loop, after)
        builder.position_at_end(after)
        total = functools.reduce(builder.fadd, moved)
        return builder.extract_element(total, i32(0))

    return x(x, x, x, types.intp), code


@numba.njit(nogil=True)
def _run(x: Any, a: Any, b: Any, count: int) -> Any:
    return fma_chains(x, a, b, count)


def fma_peak(dtype: str, threads: int, seconds: float = 0.1) -> float:
    """FLOP/s of `threads` cores together: the best of several runs of a few milliseconds."""
    number = np.dtype(dtype).type
    x, a, b, count = number(1), number(0.5), number(0.5), 400_000
    assert _run(x, a, b, 10) == CHAINS  # compiled; every chain stays at 1
    flops = 2.0 * CHAINS * (BITS // (8 * number().itemsize)) * count * threads
    best = float("inf")
    with ThreadPoolExecutor(threads) as pool:
        began = time.perf_counter()
        while time.perf_counter() - began < seconds:
            start = time.perf_counter()
            list(pool.map(lambda _: _run(x, a, b, count), range(threads)))
            best = min(best, time.perf_counter() - start)
    return flops / best


class Peak:
    """The peak itself: where it moves from run to run, so do the times."""

    params = (DTYPES, THREADS)
    param_names = ("dtype", "threads")

    def setup(self, dtype: str, threads: int) -> None:
        """So many cores."""
        pin(threads)

    def track_fma_peak(self, dtype: str, threads: int) -> float:
        """Fused multiply-adds on registers, all threads together."""
        return fma_peak(dtype, threads) / 1e9

    track_fma_peak.unit = "GFLOP/s"
