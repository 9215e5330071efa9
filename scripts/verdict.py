"""Is this tree slower than that one? The statistics of `scripts/benchmark --against`.

A sample is four short runs in the order A B B A, in two processes that live side by side: log((A + A) / (B + B)). What
drifts evenly over the four cancels; what hits one of them is an outlier, which the median over a generation's samples
does not see. But a process has luck of its own (its physical pages, what runs beside it), the same for all its samples:
so both processes are started anew each generation, and the interval is Student's over the generations' medians, not
over the samples. Where arrays and code lie is the same in every generation, and no part of the interval. A benchmark
whose interval does not decide gets further generations, up to a limit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, median, stdev

# Student's t for 99 % between -t and t, by degrees of freedom 1, 2, ...
STUDENT_99 = (
    63.657, 9.925, 5.841, 4.604, 4.032, 3.707, 3.499, 3.355, 3.250, 3.169, 3.106, 3.055, 3.012, 2.977, 2.947, 2.921,
    2.898, 2.878, 2.861, 2.845, 2.831, 2.819, 2.807, 2.797, 2.787, 2.779, 2.771, 2.763, 2.756, 2.750,
)  # fmt: skip

SLOWER, FASTER, SAME, UNCLEAR = "slower", "faster", "same", "unclear"


@dataclass(frozen=True)
class Verdict:
    """The ratio of times this tree / that one: its estimate, its 99 % interval, and what they say.

    `slower` and `faster`: the whole interval lies beyond the threshold. `same`: the whole interval lies within it.
    """

    ratio: float
    low: float
    high: float
    generations: int
    word: str

    def __str__(self) -> str:
        return f"{self.ratio:6.3f}  [{self.low:.3f}, {self.high:.3f}]  {self.word}"


def sample(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """log of the ratio of two sums of times, taken in the order ours, theirs, theirs, ours."""
    return math.log(sum(ours) / sum(theirs))


def judge(generations: Sequence[Sequence[float]], threshold: float) -> Verdict:
    """What the samples of each generation, logarithms of ratios, say beside a threshold such as 0.05."""
    medians = [median(samples) for samples in generations]
    G, centre = len(medians), mean(medians)
    half = math.inf
    if G > 1:
        half = STUDENT_99[min(G - 1, len(STUDENT_99)) - 1] * stdev(medians) / math.sqrt(G)
    low, high, limit = centre - half, centre + half, math.log1p(threshold)
    word = UNCLEAR
    if low > limit:
        word = SLOWER
    elif high < -limit:
        word = FASTER
    elif low > -limit and high < limit:
        word = SAME
    return Verdict(math.exp(centre), math.exp(low), math.exp(min(high, 700.0)), G, word)
