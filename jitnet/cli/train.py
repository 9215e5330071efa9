"""From the options of `train` to the data, the network and the optimiser that they ask for."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from jitnet.activations import SOFTMAX, as_activation
from jitnet.callbacks import Callback
from jitnet.cli.model import Model
from jitnet.errors import DivergenceError, InputError, MissingExtraError, no_column, real, require, unknown_name, whole
from jitnet.forms import get_form
from jitnet.inputs import as_data
from jitnet.network import Network
from jitnet.optimizers import OPTIMIZERS, DeltaBarDelta, Optimizer, Rprop, UpdateRule
from jitnet.preparation import Preparation, split
from jitnet.schedules import Cosine, Exponential, InverseScaling, OneCycle, ReduceOnPlateau, StepDecay, WarmUp
from jitnet.tables import Table
from jitnet.training import Run

Rows: TypeAlias = NDArray[np.int64]
Batch: TypeAlias = int | Literal["auto"] | None


# ---- the network -----------------------------------------------------------------------------------------------------

OUTPUT_OF_LOSS = {"cross_entropy": "softmax", "binary_cross_entropy": "sigmoid", "poisson": "exponential"}
LOSS_OF_OUTPUT = {"softmax": "cross_entropy", "sigmoid": "binary_cross_entropy"}

ANY_DATA = {
    "classification": Preparation(("x",), ("y",), "classification", classes=(0, 1)),
    "regression": Preparation(("x",), ("y",), "regression"),
}
"""Stand-ins with which the options of a network are tried before a file is read."""


def network(
    preparation: Preparation,
    *,
    hidden: str,
    activation: str,
    output: str | None,
    loss: str | None,
    dtype: str,
    seed: int,
) -> Network:
    """The network for the prepared data; each argument is the option of that name, as it was typed.

    Two classes need one output where it is not a softmax. InputError names what is wrong.
    """
    task = preparation.task
    if output is None:
        output = OUTPUT_OF_LOSS.get(loss or "", "identity" if task == "regression" else "softmax")
    last = as_activation(output, "output")
    if loss is None:
        loss = LOSS_OF_OUTPUT.get(last.name, "half_squared_error") if task == "classification" else "half_squared_error"
    two = len(preparation.classes) == 2 and last.code != SOFTMAX
    names = activation.split(",")
    return Network(
        [preparation.inputs, *hidden_widths(hidden), 1 if two else preparation.outputs],
        activation=names if len(names) > 1 else names[0],
        output=last,
        loss=loss,
        dtype=dtype,
        seed=seed,
    )


def hidden_widths(given: str) -> list[int]:
    """The widths of --hidden: 64,64, or none."""
    if given == "none":
        return []
    return [whole("--hidden", width, least=1) for width in numbers("--hidden", given, int)]


def numbers(option: str, given: str, kind: type[int] | type[float]) -> list[Any]:
    """The numbers in a list such as 64,64; InputError where one is none."""
    try:
        return [kind(each) for each in given.split(",")]
    except ValueError:
        what = "whole numbers" if kind is int else "numbers"
        raise InputError(f"{option}: {given!r} given, {what} with commas between them are wanted") from None


# ---- the optimiser ---------------------------------------------------------------------------------------------------

SCHEDULES: dict[str, Callable[[float, int], Any]] = {
    "constant": lambda lr, steps: lr,
    "cosine": Cosine,
    "exponential": lambda lr, steps: Exponential(lr, 0.01 ** (1 / steps)),
    "inverse_scaling": lambda lr, steps: InverseScaling(lr),
    "one_cycle": OneCycle,
    "plateau": lambda lr, steps: ReduceOnPlateau(lr),
    "step_decay": lambda lr, steps: StepDecay(lr, every=math.ceil(steps / 3)),
    "warm_up": lambda lr, steps: WarmUp(math.ceil(steps / 20), after=lr),
}
"""The schedules by name, from the rate and the number of steps of the whole training."""


def optimizer(name: str, lr: float | None, schedule: str | None, weight_decay: float | None, steps: int) -> Optimizer:
    """The optimiser of a training of so many steps; None is its own default. InputError names the option."""
    if name.lower() not in OPTIMIZERS:
        raise unknown_name("--optimizer", name, OPTIMIZERS)
    kind = OPTIMIZERS[name.lower()]
    if lr is not None:
        real("--lr", lr, least=0.0)
    if schedule is not None and schedule not in SCHEDULES:
        raise unknown_name("--schedule", schedule, SCHEDULES)
    settings = {field.name for field in fields(kind)}
    for option, given, setting in (
        ("--lr", lr, "lr"), ("--schedule", schedule, "lr"), ("--weight-decay", weight_decay, "weight_decay"),
    ):  # fmt: skip
        if given is not None and setting not in settings:
            raise InputError(f"{option}: given with {name}, which has no {setting}")
    if schedule is not None and kind in (DeltaBarDelta, Rprop):
        raise InputError(f"--schedule: given with {name}, whose rates go their own way from --lr on")
    chosen: dict[str, Any] = {} if weight_decay is None else {"weight_decay": weight_decay}
    if lr is not None:
        chosen["lr"] = lr
    made = kind(**chosen)
    if schedule is None:
        return made
    assert isinstance(made, UpdateRule)
    rate = made.lr
    assert isinstance(rate, float)
    return replace(made, lr=SCHEDULES[schedule](rate, steps))


def batch_of(given: str | None) -> Batch:
    """`Network.fit`'s batch_size from --batch-size: a number, all, or not given."""
    if given is None:
        return "auto"
    if given == "all":
        return None
    try:
        return whole("--batch-size", int(given), least=1)
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"--batch-size: {given!r} given, a whole number or 'all' is wanted") from None


def steps_an_epoch(n: int, batch: Batch, full: bool) -> int:
    """Steps of an epoch over n data points; `full` where the optimiser's own choice is the full batch."""
    if batch is None or (batch == "auto" and full):
        return 1
    return math.ceil(n / (32 if batch == "auto" else int(batch)))


def usual_epochs(steps: int) -> int:
    """Epochs where none are asked for: as many as make 5000 steps, but 10 to 200."""
    return min(max(math.ceil(5000 / steps), 10), 200)


# ---- the data --------------------------------------------------------------------------------------------------------


def columns(table: Table, target: Sequence[str], features: Sequence[str], ignore: Sequence[str]) -> dict[str, Any]:
    """`Preparation.learn`'s target and features from --target, --features and --ignore, each empty if not given.

    What a file itself marks as targets is the default target, and never a feature by default.
    """
    targets = list(target) or list(table.targets)
    if not targets:
        raise InputError(f"--target: none given; a column of {table.file} is wanted: {', '.join(table.names[:30])}")
    if features and ignore:
        raise InputError("--ignore: given together with --features, which says what is used")
    for name in ignore:
        if name not in table.names:
            raise no_column(f"--ignore: {table.file}", name, table.names)
    left_out = {*targets, *table.targets, *ignore}
    return {"target": targets, "features": list(features) or [name for name in table.names if name not in left_out]}


def fractions(test: float | None, validation: float | None, patience: bool) -> tuple[float | None, float]:
    """The shares of --test-fraction (None: not given) and --validation-fraction (default: 0.1 with --patience)."""
    if test is not None:
        real("--test-fraction", test, least=0.0, below=1.0)
    if validation is None:
        return test, 0.1 if patience else 0.0
    real("--validation-fraction", validation, least=0.0, below=1.0)
    if patience and validation == 0:
        raise InputError("--patience: given with --validation-fraction 0, which leaves no rows to watch")
    return test, validation


def divide(
    table: Table,
    test: Table | None,
    chosen: Mapping[str, Any],
    fractions: tuple[float | None, float],
    *,
    task: str | None,
    standardize: bool,
    standardize_target: bool,
    seed: int,
) -> tuple[Preparation, dict[str, Table]]:
    """The tables "train", "validation" and "test" (the last two where asked for), and what was learned from "train".

    Classes keep their shares. Means and deviations come from the training rows alone; categories and classes, which
    say how a cell is written down and nothing about how often it occurs, from all rows.
    """
    given, validation_fraction = fractions
    if test is not None and given is not None:
        raise InputError(f"--test-fraction: {table.file} brings its own test set, of {len(test)} rows")
    test_fraction = 0.2 if given is None else given
    everything = Preparation.learn(table, **chosen, task=task)
    labels = everything.targets(table).astype(np.int64) if everything.classes else None
    rows: dict[str, Rows] = {"train": np.arange(len(table))}
    if test is None and test_fraction > 0:
        rows["train"], rows["test"] = _spare(table, "--test-fraction", rows["train"], labels, test_fraction, seed)
    if validation_fraction > 0:
        rows["train"], rows["validation"] = _spare(
            table, "--validation-fraction", rows["train"], labels, validation_fraction, seed
        )
    order: list[str] = [name for name in ("train", "validation", "test") if name in rows]
    parts = {name: table.take(rows[name]) for name in order}
    learned = Preparation.learn(
        parts["train"], **chosen, task=everything.task, standardize=standardize, standardize_target=standardize_target
    )
    preparation = replace(learned, categories=everything.categories, classes=everything.classes)
    return preparation, parts | ({} if test is None else {"test": test})


def _spare(table: Table, option: str, rows: Rows, labels: Rows | None, fraction: float, seed: int) -> tuple[Rows, Rows]:
    """The rows that are left, and those that are spared: a share `fraction`, of each class if there are labels."""
    if len(rows) < 2:
        raise InputError(f"{option}: {table.file} has too few rows ({len(table)}) to spare some of them")
    try:
        kept, spared = split(len(rows), None if labels is None else labels[rows], test_fraction=fraction, seed=seed)
    except InputError as error:
        raise InputError(f"{option}: {table.file}: {error}") from None
    return rows[kept], rows[spared]


# ---- while it trains -------------------------------------------------------------------------------------------------


class AtStart(Callback):
    """Calls a function with the run once all arguments are checked and nothing is done yet."""

    def __init__(self, function: Callable[[Run], None]) -> None:
        self._function = function

    def start(self, run: Run) -> None:
        """Call it."""
        self._function(run)


class Interruptible(Callback):
    """Ctrl-C inside ``with`` ends the training after the steps under way; a second Ctrl-C ends the process."""

    asked = False

    def __enter__(self) -> Interruptible:
        # Somebody else's handler stays: a shell starts background jobs with SIGINT ignored.
        is_main = threading.current_thread() is threading.main_thread()
        self._ours = is_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if self._ours:
            signal.signal(signal.SIGINT, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        if self._ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _ask(self, *_: object) -> None:
        self.asked = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
        # os.write: a signal handler must not enter the buffer that the progress bar may be writing to.
        os.write(2, b"\nstopping and saving; Ctrl-C again leaves at once and saves nothing\n")

    def chunk(self, run: Run) -> None:
        """Stop where it was asked for."""
        if self.asked:
            run.stop("interrupted")


def diverged(error: DivergenceError, model: Model, path: Path | None) -> DivergenceError:
    """The error to end with, after the last finite parameters are saved where a path for them is given."""
    told = str(error).removesuffix("The last parameters with a finite loss are kept")
    if path is None:
        told += "No model is written (--save-diverged writes the last finite parameters)"
    else:
        model.save(path)
        told += f"The last finite parameters are saved in {path}"
    return DivergenceError(told, epoch=error.epoch, step=error.step, layer=error.layer)


# ---- warming up ------------------------------------------------------------------------------------------------------


def use_everything(dtype: str) -> None:
    """Call all that is compiled, with little work and with much: few rows run serially, many in parallel.

    Sparse rows have kernels of their own: where SciPy is, from which nearly all of them come.
    """
    net = Network([32, 32, 4], activation="tanh", output="softmax", loss="cross_entropy", dtype=dtype)
    for n in (2, 16384):
        X, labels = np.ones((n, 32)), np.arange(n) % 4
        given = [X]
        with contextlib.suppress(MissingExtraError):
            given.append(require("scipy.sparse", "scipy").csr_array(X))
        for each in given:
            net.fit(each, labels, batch_size=n, epochs=1)
            rows = net.checked(each, labels, form="auto")
            data = as_data(rows.X, rows.T, rows.weight, np.arange(n), n, skips=True)
            get_form("auto").outputs_and_losses_skipping_zeros(net.layout, net.theta, data)
        net.fit(X, labels, batch_size=n, epochs=1, form="plain")
        for form in ("auto", "plain"):
            net.predict(X, form=form)
            net.evaluate(X, labels, form=form)
            net.gradient(X, labels, form=form)
            net.jacobian(X, form=form)
            net.jvp(X, X, form=form)
            net.vjp(X, np.zeros((n, 4)), form=form)
