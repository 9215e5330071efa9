"""What every test file finds: two threads at least, Hypothesis without a clock or a memory, Ctrl-C where it is sent."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

# Before Numba is imported: on a machine with one core parallel code runs too, and the bits of two threads are compared.
if len(os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)) == 1:
    os.environ.setdefault("NUMBA_NUM_THREADS", "2")

import hypothesis
import pytest

hypothesis.settings.register_profile("jitnet", deadline=None, derandomize=True, max_examples=50, database=None)
hypothesis.settings.load_profile("jitnet")


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Python's own answer to Ctrl-C, here and in child processes: a shell's background jobs begin with it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
