"""What every peer can do."""

from __future__ import annotations

from abc import ABC, abstractmethod

from .cases import Array, Problem


class LeftOut(Exception):
    """A peer cannot do this network here; the message says why."""


class Peer(ABC):
    """Something that trains the problem's network, from the problem's start, on the problem's batches.

    Attributes: `losses`, set by `train`: the mean loss of each step's batch before its update, (steps,); or, with
    `losses_by_epoch`, of each epoch's steps. `tolerance`: a relative difference to jitnet's result that is allowed
    whatever the dtype, because the peer's formula is another one.
    """

    name: str
    losses: Array
    losses_by_epoch = False
    tolerance = 0.0

    def __init__(self, problem: Problem) -> None:
        self.problem = problem

    @abstractmethod
    def start(self) -> None:
        """Put parameters and optimiser to where the problem begins. Not timed."""

    @abstractmethod
    def train(self, steps: int) -> None:
        """Draw the order of each epoch, gather each batch, train, and wait until it is done. Timed."""

    @abstractmethod
    def parameters(self) -> tuple[list[Array], list[Array]]:
        """Copies of W, W[m] (n_out, n_in), and b, b[m] (n_out,)."""

    @abstractmethod
    def predict(self) -> Array:
        """The outputs (N, n_out) of all data points. Timed."""
