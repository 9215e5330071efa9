"""The progress that `fit(verbose=True)` shows."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from jitnet.callbacks import Callback

if TYPE_CHECKING:
    from jitnet.training import Run


class Progress(Callback):
    """A bar with the loss, on standard error; without rich (the extra `cli`) a line an epoch."""

    def start(self, run: Run) -> None:
        """Show an empty bar."""
        try:
            from rich.console import Console
            from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar
        except ImportError:
            self._bar: Any = None
            return
        self._bar = Bar(
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[shown]}"), TimeElapsedColumn(),
            TimeRemainingColumn(), console=Console(stderr=True),
        )  # fmt: skip
        total = None if run.epochs is None else run.epochs * run.epoch_steps
        self._task = self._bar.add_task("training", total=total, shown="")
        self._first = run.step
        self._bar.start()

    def chunk(self, run: Run) -> None:
        """Move the bar."""
        if self._bar is not None:
            self._bar.update(self._task, completed=run.step - self._first, shown=self._shown(run))

    def epoch(self, run: Run) -> None:
        """Move the bar, or print a line."""
        self.chunk(run)
        if self._bar is None:
            print(self._shown(run), file=sys.stderr)

    def end(self, run: Run) -> None:
        """Leave the bar as it is."""
        if self._bar is not None:
            self._bar.stop()

    @staticmethod
    def _shown(run: Run) -> str:
        held_out = f"  val_loss {run.row['val_loss']:.4f}" if "val_loss" in run.row else ""
        return f"epoch {run.epoch + 1}  loss {run.loss_now:.4f}{held_out}"
