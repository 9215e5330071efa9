"""What is repeatable about speed, where time is not: vector instructions, spills, allocations."""

from __future__ import annotations

import platform
import re
import subprocess
import sys

import numpy as np
import pytest
from numba.core.runtime import _nrt_python, rtsys

import jitnet as jn
from jitnet import layout
from jitnet.forms import FORMS, get_form
from jitnet.training import bare_rule

INDEX_FORMS = [name for name in FORMS if name != "matrix"]
BATCH = 16

ASSEMBLY = """
import numpy as np
import jitnet as jn
from jitnet.forms import plain

net = jn.Network([8, 16, 4], activation="relu", dtype=DTYPE, seed=0)
X, T, c, n = np.ones((4, 8), DTYPE), np.ones((4, 4), DTYPE), np.ones(4, DTYPE), net.layout
x, y = plain.forward.serial(n, net.theta, X)
delta = plain.backward.serial(n, net.theta, x, y, T, c)
plain.gradient.serial(n, X, y, delta), plain.input_gradient.serial(n, net.theta, delta)
for name in ("forward", "backward", "gradient", "input_gradient"):
    print("KERNEL", name)
    print(*getattr(plain, name).serial.inspect_asm().values())
"""
FMA = re.compile(r"vfn?m(?:add|sub)\d+p[sd]\s.*%ymm")  # of a whole register
STACK = re.compile(r"\(%rsp[,)]|-\d+\(%rbp\)")  # %rbp with an index is a pointer like others


@pytest.mark.slow
@pytest.mark.skipif(platform.machine().lower() not in ("x86_64", "amd64"), reason="reads x86 assembly")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_plain_forms_sums_are_vectors_and_stay_in_registers(dtype, tmp_path):
    """F1, F7, F9 and F11 as LLVM made them for AVX2: four fused products a turn at least, and no turn to the stack."""
    said = subprocess.run(
        [sys.executable, "-c", ASSEMBLY.replace("DTYPE", repr(dtype))],
        env={
            "NUMBA_CPU_NAME": "haswell",
            "NUMBA_CPU_FEATURES": "+sse4.2,+avx,+avx2,+fma,+bmi2",
            "NUMBA_CACHE_DIR": str(tmp_path),
            "PYTHONPATH": ":".join(sys.path),
        },
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    kernels = dict(part.split("\n", 1) for part in said.split("KERNEL ")[1:])
    for name in ("forward", "backward", "gradient", "input_gradient"):
        blocks = [block for block in re.split(r"^(?=\.?LBB\d+_\d+:)", kernels[name], flags=re.M) if FMA.search(block)]
        assert blocks, f"{name}: no products in vectors"
        assert max(len(FMA.findall(block)) for block in blocks) >= 4, name
        for block in blocks:
            assert not STACK.search(block), f"{name} spills:\n{block}"


def steps_of(form, count, dtype):
    """A call that takes `count` training steps."""
    net = jn.Network([5, 33, 3], activation="tanh", output="softmax", loss="cross_entropy", dtype=dtype, seed=0)
    rng = np.random.default_rng(0)
    points = count * BATCH
    data = layout.Data(
        *net.checked(rng.standard_normal((points, 5)), rng.integers(0, 3, points)), np.arange(points), BATCH
    )
    rule = bare_rule(net, jn.Adam(), count)
    module = get_form(form)
    work = module.work(net.layout, BATCH, count, net.dtype)
    return lambda: module.steps(net.layout, net.theta, data, rule, work)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("form", INDEX_FORMS)
def test_a_step_allocates_nothing(form, dtype):
    """By Numba's own count: a call of nine steps allocates what a call of one does, the records of its arguments."""
    one, nine = steps_of(form, 1, dtype), steps_of(form, 9, dtype)
    assert one() == 1
    assert nine() == 9
    enabled = _nrt_python.memsys_stats_enabled()
    _nrt_python.memsys_enable_stats()
    try:
        counts = []
        for call in (one, nine):
            before = rtsys.get_allocation_stats().alloc
            call()
            counts.append(rtsys.get_allocation_stats().alloc - before)
        assert counts[0] == counts[1]
        before = rtsys.get_allocation_stats().alloc
        get_form("plain").forward.serial(
            jn.Network([2, 2], dtype=dtype, seed=0).layout, np.zeros(6, dtype), np.zeros((3, 2), dtype)
        )
        assert rtsys.get_allocation_stats().alloc > before  # it does count
    finally:
        if not enabled:
            _nrt_python.memsys_disable_stats()
