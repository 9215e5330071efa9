"""What is repeatable about speed, where time is not: vector instructions, spills, allocations."""

from __future__ import annotations

import platform
import re
import subprocess
import sys

import hosts
import numpy as np
import pytest
from numba.core.runtime import _nrt_python, rtsys

import jitnet as jn
from jitnet import layout, registers
from jitnet.forms import FORMS, get_form
from jitnet.training import bare_rule

INDEX_FORMS = [name for name in FORMS if name != "matrix"]
BATCH = 16

PLAIN = """
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

TILED = """
import numpy as np
import jitnet as jn
from jitnet._jit import kernel
from jitnet.forms.tiled_narrow import sum_over_lanes
from jitnet.forms.tiled_panels import sums_over_layer_above, weighted_sums
from jitnet.forms.tiled_weights import Coming, sum_over_points

@kernel(work=lambda *_: 0.0, borrows=True)
def f1(net, theta, y, x):
    weighted_sums(net, theta, 0, 1, y, 0, x, 0, True, None)

@kernel(work=lambda *_: 0.0, borrows=True)
def f9(net, theta, delta, out):
    sums_over_layer_above(net, theta, 0, delta, out)

@kernel(work=lambda *_: 0.0, borrows=True)
def f7_of_strips(N, rows, delta, block, y, theta, state, out):
    sum_over_points(N, delta, block, 0, rows, y, 0, Coming(theta, state, theta, 0, 8, 8), out, 0)

@kernel(work=lambda *_: 0.0, borrows=True)
def f7_of_groups(panels, delta, y, out):
    sum_over_lanes(panels, delta, 0, 2, y, 0, 2, out, 0, 2)

net = jn.Network([8, 16, 4], dtype=DTYPE, seed=0)
panel = np.ones((4, 4096), DTYPE)
calls = {
    f1: (net.layout, net.theta, panel[0], panel[1]),
    f9: (net.layout, net.theta, panel[0], panel[1]),
    f7_of_strips: (20, 3, panel, 1, panel[0], net.theta, np.ones((2, net.size), DTYPE), panel[1].copy()),
    f7_of_groups: (2, panel, panel, panel[1].copy()),
}
for call, arguments in calls.items():
    call.serial(*arguments)
    print("KERNEL", call.py_func.__name__)
    print(*call.serial.inspect_asm().values())
"""

CODE = {"plain": (PLAIN, 4), "tiled": (TILED, 8)}
"""Programs that print assembly, and how many products a turn of each kernel has at least."""

BLOCK = re.compile(r"^(?=\.?LBB\d+_\d+:|\.?Lfunc_end)", re.M)  # where one begins, or a function ends
FMA = re.compile(r"vfn?m(?:add|sub)\d+p[sd]\s.*%ymm")  # of a whole register
STACK = re.compile(r"\(%rsp[,)]|-\d+\(%rbp\)")  # %rbp with an index is a pointer like others
SPILLS = re.compile(r"vmov\w+\s.*%ymm.*\(%r[sb]p|vmov\w+\s.*\(%r[sb]p[,)].*%ymm")  # of a vector


@pytest.mark.slow
@pytest.mark.skipif(platform.machine().lower() not in ("x86_64", "amd64"), reason="reads x86 assembly")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("form", CODE)
def test_sums_are_vectors_and_stay_in_registers(form, dtype, tmp_path):
    """F1, F7, F9 and F11 as LLVM made them for AVX2, whose 16 registers are few: fused products, and none of their
    sums on the stack.
    """
    program, products = CODE[form]
    said = subprocess.run(
        [sys.executable, "-c", program.replace("DTYPE", repr(dtype))],
        env={
            **hosts.SETTINGS["avx2"],
            "NUMBA_CACHE_DIR": str(tmp_path),
            "PYTHONPATH": ":".join(sys.path),
        },
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    kernels = dict(part.split("\n", 1) for part in said.split("KERNEL ")[1:])
    assert len(kernels) == 4
    for name, code in kernels.items():
        blocks = [block for block in BLOCK.split(code) if FMA.search(block)]
        assert blocks, f"{name}: no products in vectors"
        assert max(len(FMA.findall(block)) for block in blocks) >= products, name
        for block in blocks:
            assert not (SPILLS if form == "tiled" else STACK).search(block), f"{name} spills:\n{block}"


STEPS = """
import jitnet as jn
from jitnet.forms import tiled

net = jn.Network([2, 3, 2], dtype="float32", seed=0)
net.fit([[1.0, 2.0]], [[0.0, 1.0]], epochs=1, optimizer=jn.SGD(lr=0.1))
print(*tiled.steps.serial.inspect_asm().values())
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.machine().lower() not in ("x86_64", "amd64"), reason="reads x86 assembly")
@pytest.mark.skipif(registers.BITS < 256, reason="the stack begins where these vectors may")
@pytest.mark.parametrize("settings", [{}, hosts.SETTINGS["avx2"]], ids=["here", "avx2"])
def test_vectors_that_wait_on_the_stack_lie_in_one_cache_line_each(settings, tmp_path):
    """Else 2-3-4-2 takes up to a fifth longer, or not, as the stack of a process happens to begin."""
    code = subprocess.run(
        [sys.executable, "-c", STEPS],
        env={**settings, "NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": ":".join(sys.path)},
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    waiting = re.findall(r"^\s+(vmov\w+)\s.*?(?:%[yz]mm\d+,\s*-?\d*\(%rsp\)|-?\d*\(%rsp\),\s*%[yz]mm)", code, re.M)
    assert waiting
    assert not [each for each in waiting if each.startswith(("vmovu", "vmovdqu"))]


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
