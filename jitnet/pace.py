"""How many threads the next steps of a training get: all that it may have, or fewer where those are faster.

The threads of a team meet in every step (teams.py). Where other processes have some of the cores, whoever is there
waits for the one whose turn it is not. So when a spell of steps had much such waiting, a trial of some milliseconds
goes to another number of threads. What is faster stays; what is not is left for a while, each time for longer. With
fewer threads than there may be, more are tried in the same way, as a core may be free again.

Nothing else happens where nobody waits. No result depends on the number of threads.
"""

from __future__ import annotations

import math

SPELL = 0.05
"""Seconds of steps, or a call if that takes longer, that are judged together."""

TRIAL = 0.02
"""Seconds of a trial that is slower: several turns of a scheduler. One that is faster goes on for a SPELL."""

BEGINS = 16
"""The part of these with which a trial begins: its steps may take many times as long as the others."""

LATE = 0.05
"""Share of the threads' time that they waited, from which on fewer are tried."""

PAYS = 0.9
"""Share of the time that fewer threads take at most where they are kept; more are where they are faster at all."""

LONGEST_PAUSE = 2.0
"""Seconds of steps between two trials that were in vain, or TRIALS_APART times as long as the last one took."""

TRIALS_APART = 20


class Pace:
    """The number of threads of a training's next steps, chosen by the time that steps take and have waited.

    Parameters
    ----------
    most
        Threads that steps may have; a new pace begins with them.
    of
        What the steps are of, such as a batch of so many data points: the time of others says nothing.
    """

    def __init__(self, most: int, of: object = None) -> None:
        self.most, self.of = most, of
        self._kept = self._now = most
        self._usual = 0.0  # seconds a step, with those that are kept
        self._in_vain = 0  # trials since others were kept
        self._since, self._pause = 0.0, 0.0  # seconds of spells since the last trial, and before the next one
        self._steps, self._seconds, self._waited = 0, 0.0, 0.0  # of this spell or trial
        self._fresh = True  # before the first call, which may load or compile

    def __reduce__(self) -> tuple[type[Pace], tuple[int, object]]:
        """A copy, in this process or another one, has nothing learnt: it may run beside others, or compile first."""
        return Pace, (self.most, self.of)

    def knows(self, other: Pace) -> bool:
        """Whether what this one has learnt is of use for the other's steps."""
        return (self.most, self.of) == (other.most, other.of)

    @property
    def threads(self) -> int:
        """Of the next steps."""
        return self._now

    @property
    def steps(self) -> float:
        """How many steps the next call has at most: few in a trial, as they may take long, the fewest at first."""
        if self._now == self._kept:
            return math.inf
        if self._steps == 0:
            return max(1, int(TRIAL / BEGINS / self._usual))
        left = (TRIAL if self._seconds < TRIAL else SPELL) - self._seconds
        return max(1, int(left / (self._seconds / self._steps)))

    def learn(self, steps: int, seconds: float, waited: float) -> None:
        """So many steps with `threads` took so long, and these waited for such a share of it, on average."""
        if self._fresh or steps == 0 or seconds <= 0.0:
            self._fresh = False
            return
        self._steps += steps
        self._seconds += seconds
        self._waited += waited * seconds
        a_step = self._seconds / self._steps
        if self._now == self._kept:
            if self._seconds >= SPELL:
                self._end_spell(a_step)
            return
        faster = a_step < (PAYS if self._now < self._kept else 1.0) * self._usual
        if self._seconds >= (SPELL if faster else TRIAL):
            self._end_trial(a_step, faster)

    def _end_spell(self, a_step: float) -> None:
        self._usual = a_step
        self._since += self._seconds
        others = self._others(self._waited > LATE * self._seconds)
        if others and self._since >= self._pause:
            self._now = others[self._in_vain % len(others)]
        self._begin()

    def _end_trial(self, a_step: float, faster: bool) -> None:
        if faster:
            self._kept, self._usual, self._in_vain, self._pause = self._now, a_step, 0, 0.0
        else:
            self._now = self._kept
            self._in_vain += 1
            self._pause = max(TRIALS_APART * self._seconds, min(SPELL * 2.0 ** min(self._in_vain, 20), LONGEST_PAUSE))
        self._since = 0.0
        self._begin()

    def _begin(self) -> None:
        self._steps, self._seconds, self._waited = 0, 0.0, 0.0

    def _others(self, late: bool) -> list[int]:
        """The numbers of threads to try, in turn: after a spell that was `late` fewer, then all, then some more."""
        kept, powers = self._kept, range(1, self.most.bit_length())
        fewer = sorted({kept - 1, kept * 3 // 4, *(kept >> k for k in powers)} - {0}, reverse=True)
        more = sorted({kept + 1, *(kept << k for k in powers)})
        ways_up = [self.most, *(number for number in more if number < self.most)] if kept < self.most else []
        return [*(fewer if late else []), *ways_up]
