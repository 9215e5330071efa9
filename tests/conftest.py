"""What every test file finds set: two threads at least, and Hypothesis without a clock or a memory."""

from __future__ import annotations

import os

# Before Numba is imported: on a machine with one core parallel code runs too, and the bits of two threads are compared.
if len(os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)) == 1:
    os.environ.setdefault("NUMBA_NUM_THREADS", "2")

import hypothesis

hypothesis.settings.register_profile("jitnet", deadline=None, derandomize=True, max_examples=50, database=None)
hypothesis.settings.load_profile("jitnet")
