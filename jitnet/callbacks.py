"""What may look on while a network trains, and stop it.

`fit` calls a callback's methods with the `jitnet.training.Run`: `start` before the first step, `chunk` about every
0.2 s, `epoch` after each epoch with its row already in the history, `end` at the end, also after an error. A plain
function is called after each epoch; returning True stops the training.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from jitnet.errors import InputError, real, unknown_name, whole

if TYPE_CHECKING:
    from jitnet.training import Run


class Callback:
    """Base of all callbacks: does nothing. Settings are checked when it is made; memory begins in `start`."""

    def start(self, run: Run) -> None:
        """Before the first step."""

    def chunk(self, run: Run) -> None:
        """After some steps, about every 0.2 s."""

    def epoch(self, run: Run) -> Any:
        """After an epoch; returning True stops the training."""

    def end(self, run: Run) -> None:
        """After the last step, also where training failed."""


class StopAtLoss(Callback):
    """Stop once the epoch's training loss is at most `loss`."""

    def __init__(self, loss: float) -> None:
        self.loss = real("StopAtLoss loss", loss)

    def epoch(self, run: Run) -> None:
        """Look at the epoch's loss."""
        if run.row["loss"] <= self.loss:
            run.stop(f"loss {run.row['loss']:.6g} <= {self.loss:g}")


class StopAtGradientNorm(Callback):
    """Stop once the Euclidean norm of ∂J/∂θ with penalties is at most `norm`; costs a gradient of all data an epoch."""

    def __init__(self, norm: float) -> None:
        self.norm = real("StopAtGradientNorm norm", norm, least=0.0)

    def epoch(self, run: Run) -> None:
        """Look at the gradient."""
        norm = run.gradient_norm()
        if norm <= self.norm:
            run.stop(f"gradient norm {norm:.6g} <= {self.norm:g}")


class TimeBudget(Callback):
    """Stop after about `seconds` of training; looked at every 0.2 s or at each step, whichever is longer."""

    def __init__(self, seconds: float) -> None:
        self.seconds = real("TimeBudget seconds", seconds, above=0.0)

    def chunk(self, run: Run) -> None:
        """Look at the clock."""
        if run.seconds >= self.seconds:
            run.stop(f"time budget of {self.seconds:g} s")


class EarlyStopping(Callback):
    """Stop when a column of the history has not improved for `patience` epochs, and bring the best parameters back.

    Parameters
    ----------
    patience : epochs without improvement. Default 10.
    min_delta : what counts as an improvement: more than this below the best. Default 0.
    monitor : the column. Default "val_loss", which needs `validation`; "loss" is seed 002's "stops improving".
    maximize : whether larger is better (an accuracy). Default False.
    restore_best : put the best epoch's parameters back at the end, however training ends; the optimiser then starts
        afresh in the next `fit`. Default True. They are the parameters after the epoch; the column "loss" is the mean
        over its steps, taken before.
    """

    def __init__(
        self,
        patience: int = 10,
        min_delta: float = 0.0,
        monitor: str = "val_loss",
        maximize: bool = False,
        restore_best: bool = True,
    ) -> None:
        self.patience = whole("EarlyStopping patience", patience, least=1)
        self.min_delta = real("EarlyStopping min_delta", min_delta, least=0.0)
        if not isinstance(monitor, str):
            raise InputError(f"EarlyStopping monitor: {monitor!r} given, the name of a column is wanted")
        for name, given in (("maximize", maximize), ("restore_best", restore_best)):
            if not isinstance(given, bool):
                raise InputError(f"EarlyStopping {name}: {given!r} given, True or False is wanted")
        self.monitor, self.maximize, self.restore_best = monitor, maximize, restore_best

    def start(self, run: Run) -> None:
        """Refuse a column that will not be there; forget the last run."""
        known = run.columns
        if self.monitor not in known:
            if self.monitor.startswith("val_") and run.held_out is None:
                raise InputError(f"EarlyStopping monitor: {self.monitor!r} given, which needs fit's validation=(X, T)")
            raise unknown_name("EarlyStopping monitor", self.monitor, known)
        self._best, self._waited = float("inf"), 0
        self._best_epoch: int | None = None
        self._theta: NDArray[Any] | None = None

    def epoch(self, run: Run) -> None:
        """Keep the best parameters, or count an epoch without improvement."""
        value = -run.row[self.monitor] if self.maximize else run.row[self.monitor]
        if value < self._best - self.min_delta:
            self._best, self._best_epoch, self._theta, self._waited = value, run.epoch, run.net.theta.copy(), 0
            return
        self._waited += 1
        if self._waited >= self.patience:
            run.stop(f"{self.monitor} has not improved for {self.patience} epochs")

    def end(self, run: Run) -> None:
        """Put the best parameters back."""
        if self.restore_best and self._theta is not None:
            run.net.theta[:] = self._theta
            run.forget()
            run.history.best_epoch = run.net.history.best_epoch = self._best_epoch


class EachEpoch(Callback):
    """Calls a function with the run after each epoch."""

    def __init__(self, function: Any) -> None:
        self.function = function

    def epoch(self, run: Run) -> Any:
        """Call it."""
        return self.function(run)


def as_callback(given: Any) -> Callback:
    """A `Callback` as it is, a function wrapped to be called each epoch."""
    if isinstance(given, Callback):
        return given
    if callable(given) and not isinstance(given, type):
        return EachEpoch(given)
    raise InputError(f"callbacks: {given!r} given, jitnet.callbacks objects or functions of the run are wanted")
