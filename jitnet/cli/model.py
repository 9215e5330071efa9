"""A network with the `Preparation` of its data: tables in, answers and judgements out.

Shapes: n rows, d inputs, n_out outputs, k regression targets, c classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jitnet import storage
from jitnet.activations import SIGMOID, SOFTMAX
from jitnet.errors import InputError
from jitnet.losses import Loss
from jitnet.metrics import METRICS
from jitnet.network import Network
from jitnet.preparation import Preparation
from jitnet.tables import Table

Array = NDArray[Any]

EXTRA = "preparation"
"""The name under which a model file holds its `Preparation`."""


@dataclass(frozen=True)
class Part:
    """Some rows of a table, as the network wants them: X (n, d) of its dtype, and T (n,) labels or (n, n_out)."""

    table: Table
    X: Array
    T: Array


@dataclass(frozen=True)
class Judgement:
    """How well a network does on a `Part` of n `rows`.

    `scores`: "loss" (with the network's own targets), then "accuracy", or "R²", "MAE" and "RMSE" of each target in the
    units of the file. `answers`, `truth`: (n,) labels or (n, k) targets, in the terms of the file. `confusion` (c, c):
    how often class i was taken for class j; None for regression.
    """

    rows: int
    scores: dict[str, float]
    answers: Array
    truth: Array
    confusion: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class Model:
    """A network and how its data are prepared; `form` and `threads` say how it is computed."""

    net: Network
    preparation: Preparation
    form: str = "auto"
    threads: int | None = None

    @staticmethod
    def load(path: Path, *, form: str = "auto", threads: int | None = None) -> Model:
        """The model that `save` wrote; InputError or OSError for anything else."""
        net = storage.load(path)
        if EXTRA not in net.extra:
            raise InputError(f"{path}: the network was saved without its data's columns; `jitnet train` saves both")
        try:
            preparation = Preparation.from_json(net.extra[EXTRA])
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
        if preparation.inputs != net.n_in or net.n_out not in (1, preparation.outputs):
            raise InputError(
                f"{path}: a network {net.widths} for {preparation.inputs} inputs, {preparation.outputs} outputs"
            )
        return Model(net, preparation, form, threads)

    def save(self, path: Path) -> None:
        """Write network and preparation to one file, whole or not at all."""
        self.net.save(path, extra={EXTRA: self.preparation.to_json()})

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes as text; empty for regression."""
        return tuple(str(label) for label in self.preparation.classes)

    def part(self, table: Table) -> Part:
        """The rows of a table with inputs and targets."""
        return Part(table, self.inputs(table), self.targets(table))

    def inputs(self, table: Table) -> Array:
        """X (n, d) of the network's dtype; InputError, with its place, for a cell that the network cannot take."""
        names = self.preparation.feature_names
        if table.block is not None and names == table.names[: len(names)] and table.block.shape[1] > len(names):
            raise InputError(f"{table.file}: {table.block.shape[1]} inputs a row, but the model takes {len(names)}")
        X = self.preparation.features(table)
        categories = self.preparation.categories
        self._check_range(table, [name for name in names for _ in categories.get(name, ("",))], X)
        return X.astype(self.net.dtype)

    def targets(self, table: Table) -> Array:
        """T of a table: labels (n,), 0/1 (n,) for one output, one-hot rows (n, c), or regression targets (n, k)."""
        T: Array = self.preparation.targets(table)
        if self.preparation.classes:
            labels_will_do = self.net.loss_function.targets == "distribution" or self.net.n_out == 1
            return T if labels_will_do else np.eye(self.net.n_out)[T]
        check_targets(table, self.preparation.target_names, T, self.net.loss_function)
        self._check_range(table, self.preparation.target_names, T)
        return T

    def _check_range(self, table: Table, names: tuple[str, ...] | list[str], numbers: Array) -> None:
        """Refuse a number that is infinite in the network's dtype."""
        most = np.finfo(self.net.dtype).max
        if max(numbers.max(), -numbers.min()) > most:
            row, j = np.argwhere(abs(numbers) > most)[0]
            raise InputError(f"{table.where(row, names[j])}: {numbers[row, j]:g} is too large for {self.net.dtype}")

    def outputs(self, X: Array, table: Table) -> Array:
        """The network's outputs (n, n_out) for the table's inputs X; InputError where they are not finite."""
        Y = self.net.predict(X, form=self.form, threads=self.threads)
        finite = np.isfinite(Y).all(axis=1)
        if not finite.all():
            row = int(np.argmin(finite))
            place = table.where(row, self.preparation.feature_names[0])
            raise InputError(f"{place} and on: the network's output for this row is not finite")
        return Y

    def probabilities(self, Y: Array) -> Array:
        """A column a class (n, c) from outputs; InputError where the outputs are no probabilities."""
        output = self.net.activations[-1]
        if not self.preparation.classes:
            raise InputError("--probabilities: the model was trained for regression, it knows no classes")
        if output.code not in (SOFTMAX, SIGMOID):
            raise InputError(f"--probabilities: the outputs of {output.name!r} are no probabilities")
        return np.hstack([1 - Y, Y]) if Y.shape[1] == 1 else Y

    def judge(self, part: Part) -> Judgement:
        """Loss and metrics on some rows."""
        Y = self.outputs(part.X, part.table)
        answers = self.preparation.decode(Y)
        scores = {"loss": self.net.loss(part.X, part.T, form=self.form, threads=self.threads)}
        if self.preparation.classes:
            classes, c = np.array(self.preparation.classes), len(self.preparation.classes)
            true = self.preparation.targets(part.table)
            confusion = np.bincount(true * c + np.searchsorted(classes, answers), minlength=c * c).reshape(c, c)
            scores["accuracy"] = float(np.trace(confusion) / len(true))
            return Judgement(len(true), scores, answers, classes[true], confusion)
        T, weight = self.preparation.decode(part.T), np.ones(len(part.T))
        for j, name in enumerate(self.preparation.target_names):
            of = f" of {name}" if T.shape[1] > 1 else ""
            for label, metric in (("R²", "r2"), ("MAE", "mae"), ("RMSE", "rmse")):
                scores[label + of] = METRICS[metric](T[:, [j]], answers[:, [j]], weight)
        return Judgement(len(T), scores, answers, T)


def check_targets(table: Table, names: tuple[str, ...], T: Array, loss: Loss) -> None:
    """Refuse regression targets T (n, k) for which the loss has no meaning, with file, line and column."""
    if loss.targets == "distribution":
        sums = T.sum(axis=1)
        wrong = np.flatnonzero((abs(sums - 1) > 1e-3) | (T < 0).any(axis=1))
        if len(wrong):
            raise InputError(
                f"{table.where(wrong[0], names[0])}: {', '.join(f'{t:g}' for t in T[wrong[0]])} is no row of "
                f"probabilities, which loss {loss.name!r} wants; classes want --task classification"
            )
        return
    wanted = {"probability": "in [0, 1]", "count": ">= 0"}.get(loss.targets)
    if wanted is None:
        return
    inside = (T >= 0) & (T <= 1) if loss.targets == "probability" else T >= 0
    if not inside.all():
        row, j = np.argwhere(~inside)[0]
        raise InputError(
            f"{table.where(row, names[j])}: {T[row, j]:g} given, a number {wanted} is wanted for loss {loss.name!r}"
        )
