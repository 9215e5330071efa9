"""From a table to the network's inputs X and targets T, and from its outputs back to what the user's file speaks of.

Shapes: n rows, d network inputs, p numeric features, k regression targets, c classes. What is learned (categories,
classes, means) comes from the training table alone and is stored with the model, so that new rows meet the same code.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jitnet.errors import InputError, no_column, real, unknown_name, whole
from jitnet.tables import Table

Integers: TypeAlias = "NDArray[np.int64]"
Floats: TypeAlias = "tuple[float, ...]"

TASKS = ("classification", "regression")
MOST_CATEGORIES = (
    1000  # a text feature with more is a name or a number read as text; its one-hot columns fill the memory
)
FEW_CLASSES = 20  # up to here, whole numbers without a task are taken for labels
EXACT = 2.0**53  # from here on, neighbouring whole numbers share a float64


@dataclass(frozen=True)
class Preparation:
    """What turns a table into X and T and outputs back into answers; made by `learn` or `from_json`.

    `feature_names`: the columns used, in order. `categories`: text feature -> its sorted texts, one network input each.
    `mean`, `std`: one a numeric feature, in the order of `numeric`; empty when not standardised.
    `target_names`: the target columns. `task`: "classification" or "regression". `classes`: the sorted labels as they
    stand in the file (text or int), empty for regression. `target_mean`, `target_std`: one a target, or empty.

    Inconsistent fields raise `InputError`.
    """

    feature_names: tuple[str, ...]
    target_names: tuple[str, ...]
    task: str
    categories: dict[str, tuple[str, ...]] = field(default_factory=dict)
    mean: Floats = ()
    std: Floats = ()
    classes: tuple[str, ...] | tuple[int, ...] = ()
    target_mean: Floats = ()
    target_std: Floats = ()

    def __post_init__(self) -> None:
        """Check what a stored preparation could have got wrong; `learn` makes only consistent ones."""
        if self.task not in TASKS:
            raise unknown_name("task", self.task, TASKS)
        classifies = self.task == "classification"
        rules: dict[str, Callable[[], bool]] = {
            "feature_names": lambda: _are_names(self.feature_names),
            "target_names": lambda: _are_names(self.target_names) and not (classifies and len(self.target_names) > 1),
            "categories": lambda: all(
                name in self.feature_names and len(texts) > 0 and _ascends(texts, str)
                for name, texts in self.categories.items()
            ),
            "classes": lambda: (
                (len(self.classes) > 1 if classifies else not self.classes)
                and (_ascends(self.classes, str) or _ascends(self.classes, int))
            ),
            "mean, std": lambda: _is_scale(self.mean, self.std, len(self.numeric)),
            "target_mean, target_std": lambda: _is_scale(
                self.target_mean, self.target_std, 0 if classifies else len(self.target_names)
            ),
        }
        for name, holds in rules.items():
            if not holds():
                raise InputError(f"preparation: {name} not of the right types, or not as the other fields ask for")

    @property
    def numeric(self) -> tuple[str, ...]:
        """The numeric features, in order."""
        return tuple(name for name in self.feature_names if name not in self.categories)

    @property
    def inputs(self) -> int:
        """The width d of X: one for a numeric feature, one a category for a text feature."""
        return sum(len(self.categories[name]) if name in self.categories else 1 for name in self.feature_names)

    @property
    def outputs(self) -> int:
        """The number of classes c, or of regression targets k."""
        return len(self.classes) or len(self.target_names)

    @staticmethod
    def learn(
        table: Table,
        *,
        target: str | Sequence[str],
        features: str | Sequence[str] | None = None,
        standardize: bool = False,
        standardize_target: bool = False,
        task: str | None = None,
    ) -> Preparation:
        """Learn from a training table.

        `target`: one column, or several for regression. `features`: default all columns but the target.
        `standardize`: numeric features to mean 0 and standard deviation 1 (divisor n; a constant column is only
        shifted). `standardize_target`: the same for regression targets; `decode` maps predictions back.
        `task`: None decides: text is classification; so is one column of whole numbers with at most 20 different ones,
        each there twice on average; everything else is regression.

        Raises `InputError` for an unknown or repeated column, a target among the features, no feature, a single class,
        labels that are neither text nor whole numbers below 2^53, text as a regression target, and a text feature with
        more than 1000 different texts.
        """
        targets = _names(table, "target", target)
        rest = [name for name in table.names if name not in targets]
        chosen = _names(table, "features", rest if features is None else features)
        both = [name for name in chosen if name in targets]
        if both:
            raise InputError(f"features: column {both[0]!r} is the target")
        if task is None:
            task = _usual_task(table, targets)
        if task not in TASKS:
            raise unknown_name("task", task, TASKS)

        classes: tuple[str, ...] | tuple[int, ...] = ()
        target_mean: Floats = ()
        target_std: Floats = ()
        if task == "classification":
            if standardize_target:
                raise InputError("standardize_target: classes cannot be standardised; it is for regression")
            classes = _classes(table, targets)
        else:
            T = _numbers(table, targets)
            if standardize_target:
                target_mean, target_std = _scale(table, targets, T)

        categories = {name: _categories(table, name) for name in chosen if table.is_text(name)}
        mean: Floats = ()
        std: Floats = ()
        if standardize:
            numeric = [name for name in chosen if name not in categories]
            mean, std = _scale(table, numeric, table.numbers(numeric))
        return Preparation(chosen, targets, task, categories, mean, std, classes, target_mean, target_std)

    def features(self, table: Table) -> NDArray[np.float64]:
        """X (n, d) float64 of the table's rows; columns that are not features are ignored.

        A text feature becomes its one-hot columns, in its place. Raises `InputError` for a missing column, text where
        a number is wanted and the other way round, a text not seen in training, and a number that standardising makes
        infinite; with file, line and column.
        """
        numbers = _numbers(table, self.numeric)
        if self.mean:
            numbers = _standardized(table, self.numeric, numbers, self.mean, self.std)
        if not self.categories:
            return numbers
        X = np.zeros((len(table), self.inputs))
        start = 0
        column = iter(numbers.T)
        for name in self.feature_names:
            if name in self.categories:
                texts = self.categories[name]
                X[np.arange(len(table)), start + _codes(table, name, texts, "category")] = 1.0
                start += len(texts)
            else:
                X[:, start] = next(column)
                start += 1
        return X

    def targets(self, table: Table) -> Integers | NDArray[np.float64]:
        """Labels (n,) int64, positions in `classes`; for regression T (n, k) float64, standardised if learned so.

        Raises `InputError` for a missing column, an unknown class, and text where a number is wanted or the other
        way round; with file, line and column.
        """
        if self.classes:
            return _codes(table, self.target_names[0], self.classes, "class")
        T = _numbers(table, self.target_names)
        if self.target_mean:
            T = _standardized(table, self.target_names, T, self.target_mean, self.target_std)
        return T

    def decode(self, outputs: ArrayLike) -> NDArray[Any]:
        """The answers in the user's terms from network outputs (n, c) or (n, k).

        Classification: (n,) str or int64, the class with the largest output, the first of equals; for two classes
        also from one output (n, 1), the probability of the second class, which wins above 1/2. Regression: (n, k)
        float64 in the units of the file. Another shape, NaN or infinity is an `InputError`.
        """
        Y = np.asarray(outputs, dtype=np.float64)
        widths = {self.outputs, 1} if len(self.classes) == 2 else {self.outputs}
        if Y.ndim != 2 or Y.shape[1] not in widths:
            raise InputError(f"outputs: shape {Y.shape} given, (n, {self.outputs}) is wanted")
        if not np.isfinite(Y).all():
            raise InputError("outputs: NaN or infinity given, finite numbers are wanted")
        if self.classes:
            labels = np.argmax(Y, axis=1) if Y.shape[1] > 1 else (Y[:, 0] > 0.5).astype(np.int64)
            answers: NDArray[Any] = np.array(self.classes)[labels]
            return answers
        return Y * self.target_std + self.target_mean if self.target_mean else Y

    def to_json(self) -> str:
        """Everything learned as JSON text; floats are written so that they come back as the same bits."""
        return json.dumps(asdict(self), allow_nan=False)

    @staticmethod
    def from_json(text: str) -> Preparation:
        """The preparation that `to_json` wrote; anything else is an `InputError`."""
        try:
            given = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InputError(f"preparation: not JSON ({error})") from None
        names = {entry.name for entry in fields(Preparation)}
        if not isinstance(given, dict) or set(given) != names:
            raise InputError(f"preparation: a JSON object with {', '.join(sorted(names))} is wanted")
        lists = names - {"task", "categories"}
        categories = given["categories"]
        if (
            not isinstance(given["task"], str)
            or not isinstance(categories, dict)
            or not all(isinstance(entry, list) for entry in (*categories.values(), *(given[name] for name in lists)))
        ):
            raise InputError("preparation: a field is not of its JSON type")
        tuples = {name: tuple(given[name]) for name in lists}
        return Preparation(
            task=given["task"], categories={name: tuple(texts) for name, texts in categories.items()}, **tuples
        )


def split(
    n: int, labels: ArrayLike | None = None, *, test_fraction: float = 0.2, seed: int = 0
) -> tuple[Integers, Integers]:
    """Draw a test set: (train, test) row indices, each sorted, together 0..n-1; the same for the same arguments.

    The test set has round(n test_fraction) rows, at least one and at most n - 1. With `labels` (n,) each class gives
    its share, to the nearest row, and keeps at least one row for training; classes with a single row are never tested.

    Raises `InputError` for n < 2, a fraction outside (0, 1), a negative seed, and labels of another shape or from
    which no row can be spared.
    """
    whole("n", n, least=2)
    real("test_fraction", test_fraction, above=0.0, below=1.0)
    whole("seed", seed)
    order = np.random.default_rng(seed).permutation(n)
    if labels is None:
        classes, counts = np.zeros(n, np.intp), np.array([n])
    else:
        given = np.asarray(labels)
        if given.shape != (n,):
            raise InputError(f"labels: shape {given.shape} given, ({n},) is wanted")
        _, classes, counts = np.unique(given, return_inverse=True, return_counts=True)
    size = min(max(round(n * test_fraction), 1), n - len(counts))
    if size == 0:
        raise InputError("labels: every class has a single row, none can be spared for the test set")

    share, quota = counts * size / n, counts * size // n
    while quota.sum() < size:
        quota[np.argmax(np.where(quota < counts - 1, share - quota, -np.inf))] += 1
    is_test = np.zeros(n, bool)
    for label, rows in enumerate(quota):
        is_test[order[classes[order] == label][:rows]] = True
    return np.flatnonzero(~is_test), np.flatnonzero(is_test)


def _are_names(values: Sequence[object]) -> bool:
    """Whether these are names, at least one, and no two equal."""
    return len(values) > 0 and all(type(value) is str for value in values) and len(set(values)) == len(values)


def _ascends(values: Sequence[Any], kind: type) -> bool:
    """Whether all are of exactly this type (a bool is no int), and each is greater than the one before."""
    return all(type(value) is kind for value in values) and all(a < b for a, b in pairwise(values))


def _is_scale(mean: Floats, std: Floats, width: int) -> bool:
    """Whether these are means and positive deviations for so many columns, or both empty."""
    return (
        len(mean) == len(std)
        and len(std) in (0, width)
        and all(type(value) is float and math.isfinite(value) for value in (*mean, *std))
        and all(value > 0.0 for value in std)
    )


def _names(table: Table, argument: str, given: str | Sequence[str]) -> tuple[str, ...]:
    """Column names that are all in the table, each once, at least one."""
    if isinstance(given, str):
        given = (given,)
    if not given:
        raise InputError(f"{argument}: no column is left of {table.file}; at least one is wanted")
    for j, name in enumerate(given):
        if name not in table.names:
            raise no_column(f"{argument}: {table.file}", name, table.names)
        if name in given[:j]:
            raise InputError(f"{argument}: column {name!r} is given twice")
    return tuple(given)


def _numbers(table: Table, names: Sequence[str]) -> NDArray[np.float64]:
    """The columns as a matrix, or an error at the first one that is text."""
    for name in names:
        if table.is_text(name):
            raise InputError(f"{table.where(0, name)}: {str(table.column(name)[0])!r} is text, a number is wanted")
    return table.numbers(names)


def _scale(table: Table, names: Sequence[str], X: NDArray[np.float64]) -> tuple[Floats, Floats]:
    """Mean and standard deviation (divisor n) of each column; a constant column has deviation 1.

    Constant is told from the values: a mean of equal numbers is rounded, and their deviation from it is not zero.
    """
    constant = X.min(axis=0) == X.max(axis=0)
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        mean = np.where(constant, X[0], X.mean(axis=0))
        std = np.where(constant, 1.0, X.std(axis=0))
    for name, center, width in zip(names, mean, std, strict=True):
        if not (np.isfinite(center) and np.isfinite(width) and width > 0.0):
            raise InputError(f"{table.file}, column {name!r}: its numbers are too large or too close to standardise")
    return tuple(mean.tolist()), tuple(std.tolist())


def _standardized(
    table: Table, names: Sequence[str], X: NDArray[np.float64], mean: Floats, std: Floats
) -> NDArray[np.float64]:
    """(X - mean) / std, or an error at the first number for which that is infinite."""
    with np.errstate(over="ignore"):
        Z: NDArray[np.float64] = (X - mean) / std
    row, j = np.unravel_index(np.argmin(np.isfinite(Z)), Z.shape)
    if not np.isfinite(Z[row, j]):
        place = table.where(int(row), names[int(j)])
        raise InputError(f"{place}: {X[row, j]:g} is too large beside the numbers seen in training")
    return Z


def _categories(table: Table, name: str) -> tuple[str, ...]:
    """The sorted texts of a text feature."""
    texts = np.unique(table.column(name))
    if len(texts) > MOST_CATEGORIES:
        raise InputError(
            f"{table.file}, column {name!r}: {len(texts)} different texts in {len(table)} rows are too many to be "
            f"categories (at most {MOST_CATEGORIES}); leave it out of the features"
        )
    return tuple(texts.tolist())


def _is_whole(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Which values are whole numbers that a float64 keeps apart from their neighbours."""
    is_whole: NDArray[np.bool_] = (values == np.floor(values)) & (np.abs(values) < EXACT)
    return is_whole


def _usual_task(table: Table, targets: Sequence[str]) -> str:
    """The rule of `Preparation.learn` for a task that is not given."""
    if len(targets) > 1:
        return "regression"
    if table.is_text(targets[0]):
        return "classification"
    values = table.column(targets[0])
    distinct = len(np.unique(values))
    few = distinct <= min(FEW_CLASSES, len(values) // 2)
    return "classification" if few and _is_whole(values).all() else "regression"


def _classes(table: Table, targets: Sequence[str]) -> tuple[str, ...] | tuple[int, ...]:
    """The sorted classes of the one target column, as text or int."""
    if len(targets) > 1:
        raise InputError(f"target: {len(targets)} columns given, classification wants one")
    name = targets[0]
    classes: NDArray[Any] = np.unique(table.column(name))
    if not table.is_text(name):
        wrong = classes[~_is_whole(classes)]
        if len(wrong):
            row = int(np.argmax(table.column(name) == wrong[0]))
            raise InputError(f"{table.where(row, name)}: {wrong[0]:g} is no label; text or a whole number is wanted")
        classes = classes.astype(np.int64)
    if len(classes) < 2:
        raise InputError(f"{table.file}, column {name!r}: only the class {classes[0]!s}; at least two are wanted")
    return tuple(classes.tolist())


def _codes(table: Table, name: str, known: tuple[str, ...] | tuple[int, ...], what: str) -> Integers:
    """The position of each cell of a column in the sorted known texts or numbers; another value is an error."""
    values, is_text = table.column(name), isinstance(known[0], str)
    shown = f"{str(values[0])!r}" if table.is_text(name) else f"{values[0]:.17g}"
    if table.is_text(name) != is_text:
        kinds = ("text", "a number")
        raise InputError(
            f"{table.where(0, name)}: {shown} is {kinds[is_text]}, {kinds[not is_text]} is wanted in this column"
        )
    sorted_known = np.array(known) if is_text else np.array(known, dtype=np.float64)
    codes = np.minimum(np.searchsorted(sorted_known, values), len(known) - 1)
    unseen = np.flatnonzero(sorted_known[codes] != values)
    if len(unseen):
        row = int(unseen[0])
        value = str(values[row]) if is_text else f"{values[row]:.17g}"
        raise unknown_name(table.where(row, name), value, map(str, known), f"unknown {what}")
    return codes.astype(np.int64)
