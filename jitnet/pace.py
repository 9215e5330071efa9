"""How many threads the next steps of a training get: all that it may have, or fewer where those are faster.

The threads of a team meet in every step (teams.py). Where other processes have some of the cores, whoever is there
waits for the one whose turn it is not, and goes to sleep. So when a spell of steps has had much such waiting, a trial
of some milliseconds goes to another number of threads. What is faster stays; what is not is tried again after twice as
many spells. With fewer threads than there may be, more are tried in the same way, as a core may be free again.

Nothing else happens where nobody sleeps. No result depends on the number of threads.
"""

from __future__ import annotations

SPELL = 0.05
"""Seconds of steps that are judged together."""

TRIAL = 0.02
"""Seconds that the steps of a trial would take with as many threads as before: several turns of a scheduler."""

LATE = 0.05
"""Share of the threads' time that they have slept in, from which on fewer are tried."""

PAYS = 0.9
"""Share of the time that fewer threads take at most where they are kept; more are where they are faster at all."""

LONGEST_PAUSE = 64
"""Spells between two trials at most."""


class Pace:
    """The number of threads of a training's next steps, chosen by the time that steps take and have waited.

    Parameters
    ----------
    most
        Threads that steps may have, and do have in the first spell.
    batch
        Data points of a step: the time of others says nothing.
    """

    def __init__(self, most: int, batch: int) -> None:
        self.most, self.batch = most, batch
        self._kept = self._now = most
        self._usual = 0.0  # seconds a step, with those that are kept
        self._in_vain = 0  # trials since others were kept
        self._spells, self._pause = 0, 1  # spells since the last trial, and before the next one
        self._steps, self._seconds, self._slept = 0, 0.0, 0.0  # of this spell or trial

    def knows(self, other: Pace) -> bool:
        """Whether what this one has learnt is of use for the other's steps."""
        return (self.most, self.batch) == (other.most, other.batch)

    @property
    def threads(self) -> int:
        """Of the next steps."""
        return self._now

    @property
    def steps(self) -> float:
        """How many steps the next call has at most: few in a trial, as they may take long."""
        return max(1, int(TRIAL / self._usual)) if self._now != self._kept else float("inf")

    def learn(self, steps: int, seconds: float, slept: float) -> None:
        """So many steps with `threads` took so long, and these slept for such a share of it, on average."""
        self._steps += steps
        self._seconds += seconds
        self._slept += slept * seconds
        on_trial = self._now != self._kept
        if self._seconds < (TRIAL if on_trial else SPELL) or self._steps == 0:
            return
        a_step, late = self._seconds / self._steps, self._slept > LATE * self._seconds
        self._steps, self._seconds, self._slept = 0, 0.0, 0.0
        if not on_trial:
            self._usual, self._spells, others = a_step, self._spells + 1, self._others(late)
            if others and self._spells >= self._pause:
                self._now = others[self._in_vain % len(others)]
        elif a_step < (PAYS if self._now < self._kept else 1.0) * self._usual:
            self._kept, self._usual = self._now, a_step
            self._in_vain, self._spells, self._pause = 0, 0, 1
        else:
            self._now = self._kept
            self._in_vain, self._spells, self._pause = self._in_vain + 1, 0, min(2 * self._pause, LONGEST_PAUSE)

    def _others(self, late: bool) -> list[int]:
        """The numbers of threads to try, the nearest first: more, and fewer after a spell that was `late`."""
        numbers = {1, self.most // 2, self.most * 3 // 4, self.most - 1, self.most} - {0, self._kept}
        near = sorted(numbers, key=lambda number: abs(number - self._kept))
        return [number for number in near if number > self._kept or late]
