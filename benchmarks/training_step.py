"""How long is a training step of each form? From gathering the batch to the updated parameters."""

from __future__ import annotations

import time
from statistics import median

from benchmarks.common import (
    CASES,
    DTYPES,
    FORMS,
    INDEX_FORMS,
    NETWORKS,
    REPEAT,
    ROUNDS,
    SMALL,
    THREADS,
    Training,
    by_profile,
    multiplications,
    once,
    pin,
    seconds_each,
)
from benchmarks.peak import fma_peak

version = 1
STRETCHES = by_profile(1, 5, 9)
"""Of about 0.3 s each: a disturbance that lasts as long as one of them moves the median of them little."""


BLAS_LOOKS_FOR_WORK = 0.2
"""Seconds: longer than OpenBLAS's threads do so; 0.05 is not."""


class TrainingStep:
    """A call does eight steps, each on a batch of its own, so that what Python does around them counts little."""

    params = (CASES, FORMS, DTYPES, THREADS)
    param_names = ("network", "form", "dtype", "threads")
    timeout = 300
    rounds, repeat, warmup_time = ROUNDS, REPEAT, 0.0

    def setup(self, network: str, form: str, dtype: str, threads: int) -> None:
        """Data, weights and buffers; the form is compiled, and checked against the matrix form."""
        pin(threads)
        key = network, form, dtype, threads
        self.training = once(key, lambda: Training(NETWORKS[network], form, dtype))
        self.training.reset()

    def time_eight_steps(self, network: str, form: str, dtype: str, threads: int) -> None:
        """Gather, forward, backward, gradient and update, eight times."""
        self.training.run()


class TrainingSpeed:
    """What those times mean: against the machine's peak, measured in the same run, and against the matrix form.

    Every call begins with the same weights, as `TrainingStep`'s does.
    """

    version = 2
    params = (by_profile([SMALL[1]], CASES, CASES), INDEX_FORMS, THREADS)
    param_names = ("network", "form", "threads")
    timeout = 300

    def setup(self, network: str, form: str, threads: int) -> None:
        """Both forms, checked against each other."""
        pin(threads)
        self.case = NETWORKS[network]
        self.ours = Training(self.case, form, "float32")
        self.matrix = Training(self.case, "matrix", "float32")

    def stretch(self, *others: Training, pause: float = 0.0) -> list[float]:
        """Seconds of a call of ours and of each other, in turn: the median of a stretch. Ours waits before."""

        def begin() -> None:
            time.sleep(pause)
            self.ours.reset()

        functions = [self.ours.run, *(each.run for each in others)]
        return seconds_each(functions, [begin, *(each.reset for each in others)])

    def flops(self) -> float:
        """Multiplications and additions of eight steps, without activations and the update.

        Those of the formulas: products that a form leaves out because a factor is 0 count too.
        """
        return 2.0 * multiplications(self.case.widths) * self.case.batch * self.ours.steps

    def track_gflops(self, network: str, form: str, threads: int) -> float:
        """Billions of multiplications and additions a second, float32: the median stretch."""
        return self.flops() / median(self.stretch()[0] for _ in range(STRETCHES)) / 1e9

    def track_percent_of_fma_peak(self, network: str, form: str, threads: int) -> float:
        """The same over what the cores can do from registers, just before and just after: the median stretch."""
        shares, before = [], fma_peak("float32", threads)
        for _ in range(STRETCHES):
            speed = self.flops() / self.stretch()[0]
            after = fma_peak("float32", threads)
            shares.append(100.0 * speed / max(before, after))
            before = after
        return median(shares)

    def track_index_over_matrix(self, network: str, form: str, threads: int) -> float:
        """Time of the index form over time of the matrix form, call by call in turn: below 1 the loops win.

        The index form waits first: OpenBLAS's threads look for work a while, on the cores of whoever comes next.
        """
        pause = BLAS_LOOKS_FOR_WORK if threads > 1 else 0.0
        stretches = [self.stretch(self.matrix, pause=pause) for _ in range(STRETCHES)]
        return median(ours / matrix for ours, matrix in stretches)

    track_gflops.unit = "GFLOP/s"
    track_percent_of_fma_peak.unit = "%"
    track_index_over_matrix.unit = "times as long"
    track_index_over_matrix.version = 3
