"""What was written down while training."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any


class History(Mapping[str, list[float]]):
    """One list a column, one entry an epoch: ``history["loss"]``, ``history["val_loss"]``, ...

    Columns: `epoch` (0-based, over all fits that go on from one another), `step` (steps taken so far), `loss` (of the
    epoch's steps as they were taken, each before its update, with penalties and dropout: their mean weighted by sample
    weight, or their sum with ``reduction="sum"``, the penalty counted once a step), `lr` (of the epoch's last step;
    NaN for L-BFGS), `seconds` (since `fit` began), then `val_loss` and metrics where asked for (after the epoch,
    without penalties and dropout).

    `stopped` says why training ended; `best_epoch` is the epoch whose parameters an `EarlyStopping` brought back.
    """

    def __init__(self) -> None:
        self._columns: dict[str, list[float]] = {}
        self.stopped: str | None = None
        self.best_epoch: int | None = None

    def append(self, row: Mapping[str, float]) -> None:
        """Add an epoch; a column that is new starts with NaN for the epochs before it."""
        length, nan = len(self), float("nan")
        for name in row:
            if name not in self._columns:
                self._columns[name] = [nan] * length
        for name, column in self._columns.items():
            column.append(row.get(name, nan))

    def __getitem__(self, name: str) -> list[float]:
        if name not in self._columns:
            raise KeyError(f"{name!r} given, one of {', '.join(self._columns)} is wanted")
        return self._columns[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        """How many epochs there are."""
        return len(next(iter(self._columns.values()), []))

    def __bool__(self) -> bool:
        return len(self) > 0

    def last(self) -> dict[str, float]:
        """The last epoch's row; empty before the first."""
        return {name: values[-1] for name, values in self._columns.items() if values}

    def to_dict(self) -> dict[str, Any]:
        """Columns, `stopped` and `best_epoch` as plain values."""
        return {**self._columns, "stopped": self.stopped, "best_epoch": self.best_epoch}

    def to_json(self) -> str:
        """`to_dict` as JSON; NaN is null."""
        clean = {k: [x if x == x else None for x in v] for k, v in self._columns.items()}
        return json.dumps({**clean, "stopped": self.stopped, "best_epoch": self.best_epoch})

    def __repr__(self) -> str:
        last = ", ".join(f"{name} {value:.6g}" for name, value in self.last().items() if name not in ("epoch", "step"))
        return f"<History of {len(self)} epochs: {last}; stopped: {self.stopped}>"
