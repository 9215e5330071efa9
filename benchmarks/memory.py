"""How much memory does training take, and does a step allocate?"""

from __future__ import annotations

import subprocess
import sys
import tracemalloc

import numpy as np
from numba.core.runtime import rtsys

from benchmarks import ROOT
from benchmarks.common import (
    FORMS,
    INDEX_FORMS,
    MIDDLE,
    NETWORKS,
    SMALL,
    WIDE,
    Training,
    by_profile,
    get_form,
    make_data,
    make_network,
    make_optimizer,
    make_work,
    pin,
)

version = 1

CASES = by_profile([SMALL[1]], [SMALL[1], WIDE], [SMALL[1], MIDDLE, WIDE, list(NETWORKS)[-2]])


class PeakMemory:
    """Peak memory of the process, with Python, NumPy, Numba and the data in it (some 200 MB before the network)."""

    version = 2
    params = (CASES, FORMS)
    param_names = ("network", "form")
    timeout = 300

    def setup(self, network: str, form: str) -> None:
        """Data of four batches. Another process compiles and trains: here the peak would count that."""
        pin(1)
        get_form(form)
        again = f"from benchmarks import memory; memory.PeakMemory().train({network!r}, {form!r})"
        path = [*sys.path, str(ROOT)]  # the jitnet that is timed comes first
        subprocess.run([sys.executable, "-c", f"import sys; sys.path[:] = {path!r}; {again}"], check=True)
        self.prepare(network)

    def train(self, network: str, form: str) -> None:
        """For that other process: what is measured."""
        pin(1)
        self.prepare(network)
        self.peakmem_fit(network, form)

    def prepare(self, network: str) -> None:
        """The network and its data."""
        self.case = NETWORKS[network]
        self.net = make_network(self.case, "float32")
        data = make_data(self.case, self.net, 4 * self.case.batch)
        self.X, self.T = data.X, data.T

    def peakmem_fit(self, network: str, form: str) -> None:
        """Two epochs of four batches."""
        before = self.net.theta.copy()
        T = self.T.argmax(axis=1) if self.case.loss == "cross_entropy" else self.T
        optimizer = make_optimizer(self.case.optimizer)
        self.net.fit(self.X, T, optimizer=optimizer, epochs=2, batch_size=self.case.batch, form=form)
        assert (self.net.theta != before).any()


class Buffers:
    """What a form keeps for its steps, counted."""

    params = (CASES, INDEX_FORMS)
    param_names = ("network", "form")

    def setup(self, network: str, form: str) -> None:
        """The network and its buffers for one step."""
        self.case = NETWORKS[network]
        self.net = make_network(self.case, "float32")
        self.work = make_work(form, self.net, self.case.batch, 1)

    def track_bytes(self, network: str, form: str) -> int:
        """All buffers of `work`, for one batch."""
        return sum(each.nbytes for each in self.work if isinstance(each, np.ndarray))

    def track_share_of_what_is_needed(self, network: str, form: str) -> float:
        """The same over one gradient and the batch's x, y and delta."""
        needed = self.net.size + 3 * self.case.batch * sum(self.case.widths[1:])
        return self.track_bytes(network, form) / (needed * self.net.theta.itemsize)

    track_bytes.unit = "bytes"
    track_share_of_what_is_needed.unit = "times"


class Allocations:
    """What is allocated in a step after the first: nothing, it is hoped."""

    params = (CASES, INDEX_FORMS)
    param_names = ("network", "form")

    def setup(self, network: str, form: str) -> None:
        """Steps that have run already, with Numba's allocations counted."""
        from numba.core.runtime import _nrt_python

        pin(1)
        self.one = Training(NETWORKS[network], form, "float32", steps=1)
        self.many = Training(NETWORKS[network], form, "float32", steps=9)
        _nrt_python.memsys_enable_stats()

    def track_allocations_a_step(self, network: str, form: str) -> float:
        """By compiled code: nine steps against one."""
        counts = []
        for training in (self.one, self.many):
            before = rtsys.get_allocation_stats().alloc
            training.run()
            counts.append(rtsys.get_allocation_stats().alloc - before)
        return (counts[1] - counts[0]) / (self.many.steps - self.one.steps)

    def track_bytes_a_step(self, network: str, form: str) -> float:
        """By Python and NumPy at its peak: nine steps against one."""
        peaks = []
        for training in (self.one, self.many):
            tracemalloc.start()
            training.run()
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
        return (peaks[1] - peaks[0]) / (self.many.steps - self.one.steps)

    track_allocations_a_step.unit = "allocations"
    track_bytes_a_step.unit = "bytes"
