"""`fit`: epochs, mini-batches, stopping, and what happens when the numbers go wrong.

The steps themselves are compiled (`steps` of a form) and run many at a time; Python looks on about every 0.2 s, for
progress, callbacks and Ctrl-C. A run of 5 epochs and another of 5 are the same as one of 10, to the bit.
"""

from __future__ import annotations

import contextlib
import math
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jitnet import inputs, layout, lbfgs
from jitnet import metrics as metric_table
from jitnet._jit import use_threads
from jitnet.activations import SGN, STEP
from jitnet.callbacks import Callback, StopAtGradientNorm, as_callback
from jitnet.errors import DivergenceError, InputError, real, whole
from jitnet.forms import get_form
from jitnet.history import History
from jitnet.inputs import Inputs, SparseRows
from jitnet.metrics import Metric
from jitnet.optimizers import LBFGS, Adam, Optimizer, UpdateRule, as_optimizer, rates
from jitnet.pace import Pace
from jitnet.progress import Progress
from jitnet.schedules import PlateauState, ReduceOnPlateau
from jitnet.shuffle import shuffled
from jitnet.validation import are_finite

if TYPE_CHECKING:
    from jitnet.network import Network

Array = NDArray[Any]

LOOK_EVERY = 0.2
"""Seconds of compiled work between two looks from Python."""
DENSE_AT_ONCE = 1 << 22
"""Numbers of sparse rows that are made dense at a time, where a training has diverged."""
MOST_STEPS = 8192
"""Steps of one call into compiled code at most: what is laid out for each of them stays small."""
JUDGED = 32
"""Data points at most of the loss that says whether what the last step made is of use: a forward pass costs a third."""
STEPS_AHEAD = 64
"""Steps whose coefficients are laid out at once at least, where the rate is a number."""


class TrainingData(NamedTuple):
    """Checked data: X (n, d), T (n, n_out), weight (n,), all C-contiguous in the network's dtype, or X sparse rows."""

    X: Inputs
    T: Array
    weight: Array

    @property
    def dense(self) -> Array:
        """X where sparse rows were refused before."""
        assert not isinstance(self.X, SparseRows)
        return self.X

    def counting(self) -> TrainingData:
        """Without the data points of weight 0: they count nothing, not even where their loss is infinite."""
        counts = self.weight > 0
        return self if counts.all() else TrainingData(self.X[counts], self.T[counts], self.weight[counts])


@dataclass
class Continuation:
    """What one `fit` leaves for the next: the optimiser with its memory, and how far it came."""

    optimizer: Optimizer
    state: Array
    plateau: PlateauState | None
    optimizer_step: int  # steps this optimiser has taken: its t
    step: int  # steps and epochs over all fits
    epoch: int
    pace: Pace | None = None  # of the last steps: how many threads they get


@dataclass(frozen=True)
class Settings:
    """The checked arguments of `Network.fit`, which says what each means."""

    optimizer: Optimizer
    epochs: int | None
    steps: int | None
    batch_size: int
    shuffle: bool
    replacement: bool
    l1: float
    l2: float
    dropout: Array
    clip_value: float
    clip_norm: float
    metrics: tuple[str | Metric, ...]
    form: ModuleType
    form_name: str
    callbacks: tuple[Callback, ...]
    seed: int
    continues: bool

    @classmethod
    def check(
        cls,
        n: int,
        softmax: Sequence[bool],
        *,
        optimizer: str | Optimizer | None,
        epochs: int | None,
        steps: int | None,
        batch_size: int | str | None,
        shuffle: bool,
        replacement: bool,
        l1: float,
        l2: float,
        dropout: float | Sequence[float],
        clip_value: float | None,
        clip_norm: float | None,
        metrics: Sequence[str | Metric],
        form: str,
        callbacks: Sequence[Callback | Callable[[Run], Any]],
        verbose: bool,
        seed: int,
        continuation: Continuation | None,
    ) -> Settings:
        """Refuse what is wrong, naming the argument; `n` data points, which layers are `softmax`."""
        before = continuation.optimizer if continuation is not None else None
        chosen = as_optimizer(optimizer) if optimizer is not None else before or Adam()
        batch = _batch_size(batch_size, n)
        if chosen.full_batch_only and batch_size == "auto":
            batch = n
        if chosen.full_batch_only and replacement:
            raise InputError(f"replacement: given with {type(chosen).__name__}, which needs the full batch")
        if chosen.full_batch_only and batch < n:
            raise InputError(
                f"batch_size: {batch} of {n} data points given, {type(chosen).__name__} needs the full batch "
                "(batch_size=None): its memory of earlier gradients has no meaning for other data"
            )
        rates_of_dropout = _dropout(dropout, softmax)
        if isinstance(chosen, LBFGS):
            lbfgs.check(dropout=rates_of_dropout, clip_value=clip_value, clip_norm=clip_norm, steps=steps)
        for argument, given in (("shuffle", shuffle), ("replacement", replacement)):
            if not isinstance(given, bool | np.bool_):
                raise InputError(f"{argument}: {given!r} given, True or False is wanted")
        metric_table.check(metrics)
        if callbacks is not None and not isinstance(callbacks, Iterable):
            raise InputError(f"callbacks: {callbacks!r} given, a list is wanted")
        if epochs is None and steps is None:
            epochs = 10
        return cls(
            optimizer=chosen,
            epochs=None if epochs is None else whole("epochs", epochs),
            steps=None if steps is None else whole("steps", steps),
            batch_size=batch,
            shuffle=bool(shuffle),
            replacement=bool(replacement),
            l1=real("l1", l1, least=0.0),
            l2=real("l2", l2, least=0.0),
            dropout=rates_of_dropout,
            clip_value=np.inf if clip_value is None else real("clip_value", clip_value, above=0.0),
            clip_norm=np.inf if clip_norm is None else real("clip_norm", clip_norm, above=0.0),
            metrics=tuple(metrics or ()),
            form=get_form(form),
            form_name=form,
            callbacks=(*(as_callback(each) for each in callbacks or ()), *((Progress(),) if verbose else ())),
            seed=whole("seed", seed),
            continues=continuation is not None and chosen == before,
        )


def _batch_size(given: int | str | None, n: int) -> int:
    if given == "auto":
        return min(32, n)
    if given is None:
        return n
    batch = whole("batch_size", given, least=1)
    if batch > n:
        warnings.warn(f"batch_size: {batch} given for {n} data points, {n} is used", UserWarning, stacklevel=4)
    return min(batch, n)


def _dropout(given: Any, softmax: Sequence[bool]) -> Array:
    """One rate a layer, 0 for the output."""
    hidden = len(softmax) - 1
    several = given.ndim == 1 if isinstance(given, np.ndarray) else isinstance(given, list | tuple)
    if not several:
        real("dropout", given, least=0.0, below=1.0)
    rates: list[Any] = list(given) if several else [given] * hidden
    if len(rates) != hidden:
        raise InputError(f"dropout: {len(rates)} rates given, {hidden} are wanted, one a hidden layer")
    checked = [real(f"dropout[{m}]", rate, least=0.0, below=1.0) for m, rate in enumerate(rates)]
    for m, rate in enumerate(checked):
        if rate > 0 and softmax[m]:
            raise InputError(
                f"dropout[{m}]: {rate:g} given for a softmax layer, 0 is wanted: its neurons depend on each other"
            )
    return np.array([*checked, 0.0])


class Run:
    """A training under way, as callbacks see it.

    Attributes: `net`, `settings`, `history` (of this `fit`), `row` (the last epoch's, a dict), `columns` (names of the
    history's columns), `epoch` and `step` (0-based, over all fits), `epochs` (planned in this fit, or None),
    `epoch_steps` and `epoch_step` (steps an epoch has, and has taken), `seconds` since `fit` began.
    """

    def __init__(self, net: Network, data: TrainingData, held_out: TrainingData | None, settings: Settings) -> None:
        self.net, self.data, self.held_out, self.settings = net, data, held_out, settings
        self.history = History()
        self.row: dict[str, float] = {}
        self.place = self._place()
        self.epoch = self.place.epoch
        self.epochs, self.epoch_step = settings.epochs, 0
        self.epoch_steps = math.ceil(len(data.X) / settings.batch_size)
        self.loss_now = float("nan")
        self._began = time.perf_counter()
        self.stopped: str | None = None

    def _place(self) -> Continuation:
        """Where the last fit left off, or a fresh start of the optimiser."""
        last = self.net.continuation
        return last if last is not None and self.settings.continues else self._fresh(last)

    def _fresh(self, last: Continuation | None) -> Continuation:
        """The optimiser before its first step; steps and epochs are counted on."""
        net, optimizer = self.net, self.settings.optimizer
        rule = optimizer if isinstance(optimizer, UpdateRule) else None
        with np.errstate(over="ignore"):  # as for the coefficients of each step
            state = rule.initial_state(net.size, net.dtype) if rule else np.empty((0, net.size), net.dtype)
        return Continuation(
            optimizer=optimizer,
            state=state,
            plateau=rule.lr.start() if rule and isinstance(rule.lr, ReduceOnPlateau) else None,
            optimizer_step=0,
            step=last.step if last else 0,
            epoch=last.epoch if last else 0,
        )

    @property
    def step(self) -> int:
        """Steps taken, over all fits."""
        return self.place.step

    @property
    def seconds(self) -> float:
        """Since `fit` began."""
        return time.perf_counter() - self._began

    @property
    def columns(self) -> list[str]:
        """The columns that the history will have."""
        names = [metric_table.name(metric) for metric in self.settings.metrics]
        held_out = ["val_loss", *(f"val_{name}" for name in names)] if self.held_out else []
        return ["epoch", "step", "loss", "lr", "seconds", *names, *held_out]

    def stop(self, reason: str) -> None:
        """End the training after what is under way; `history.stopped` will say why."""
        self.stopped = self.stopped or reason

    def gradient_norm(self) -> float:
        """Euclidean norm of ∂J/∂θ over all training data, with the penalties that are trained on."""
        X, T, weight = self.data
        if isinstance(X, SparseRows):
            raise InputError("X: sparse data given, dense data are wanted for the norm of the whole gradient")
        net, settings = self.net, self.settings
        g = net.gradient(X, T, sample_weight=weight, form=settings.form_name).theta.astype(np.float64)
        penalised = layout.weight_mask(net.layout)
        W = net.theta[penalised].astype(np.float64)
        g[penalised] += settings.l1 * np.sign(W) + settings.l2 * W
        return float(np.linalg.norm(g))

    def tell(self, event: str) -> None:
        """Call every callback's method of this name."""
        for callback in self.settings.callbacks:
            answer = getattr(callback, event)(self)
            if isinstance(answer, bool | np.bool_) and answer:
                self.stop(
                    f"callback {getattr(getattr(callback, 'function', callback), '__name__', type(callback).__name__)}"
                )

    def end_epoch(self, loss: float, lr: float) -> None:
        """Write the epoch down and let callbacks look at it."""
        row = {"epoch": float(self.epoch), "step": float(self.step), "loss": loss, "lr": lr, "seconds": self.seconds}
        form = self.settings.form_name
        self.place.epoch += 1  # from here on the epoch is over, whatever a metric or a callback raises
        judged = [("", self.data)] if self.settings.metrics else []
        for prefix, data in [*judged, *([("val_", self.held_out)] if self.held_out else [])]:
            if prefix:
                row["val_loss"], Y = self.net.judge(data, form)
            else:
                Y = self.net.outputs(data.X, form)
            if self.settings.metrics:
                targets = self.net.loss_function.targets
                values = metric_table.evaluate(self.settings.metrics, targets, data.T, Y, data.weight)
                row.update({prefix + name: value for name, value in values.items()})
        self.row = row
        self.history.append(row)
        self.net.history.append(row)
        if self.place.plateau is not None:
            self.place.plateau.observe(row.get("val_loss", loss))
        self.tell("epoch")

    def forget(self) -> None:
        """Let the optimiser start afresh in the next `fit`: what it remembers does not belong to the parameters now."""
        self.net.continuation = self._fresh(self.place)


_under_way: set[int] = set()
_one_looks = threading.Lock()


def _after_fork() -> None:
    """Whoever trains them is in the parent."""
    global _one_looks
    _one_looks = threading.Lock()
    _under_way.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@contextlib.contextmanager
def _alone(net: Network) -> Iterator[None]:
    """One `fit` of a network at a time: two would share its place, its order and its optimiser's memory."""
    with _one_looks:
        if id(net) in _under_way:
            raise InputError(
                "fit: this network is being trained already, in another thread or above this callback; net.copy() can "
                "be trained beside it"
            )
        _under_way.add(id(net))
    try:
        yield
    finally:
        _under_way.discard(id(net))


def run(net: Network, data: TrainingData, held_out: TrainingData | None, settings: Settings) -> History:
    """Train `net` in place; what `Network.fit` does once its arguments are checked."""
    with _alone(net):
        return _run(net, data, held_out, settings)


def _run(net: Network, data: TrainingData, held_out: TrainingData | None, settings: Settings) -> History:
    if isinstance(data.X, SparseRows):
        if isinstance(settings.optimizer, LBFGS):
            raise InputError("optimizer: LBFGS given for sparse X, another optimiser, or a dense X, is wanted")
        if any(isinstance(callback, StopAtGradientNorm) for callback in settings.callbacks):
            raise InputError("callbacks: StopAtGradientNorm given for sparse X, another one, or a dense X, is wanted")
    this = Run(net, data, held_out, settings)
    if net.activations[-1].code in (STEP, SGN):
        warnings.warn(
            f"output {net.activations[-1].name!r} has derivative 0: nothing will be learnt", UserWarning, stacklevel=3
        )
    if isinstance(settings.optimizer, UpdateRule):  # a bad rate of the first step is refused while nothing has changed
        rates(settings.optimizer, np.array([this.place.optimizer_step]), this.place.plateau)
    net.history.best_epoch = None
    started: list[Callback] = []
    try:
        for callback in settings.callbacks:
            callback.start(this)
            started.append(callback)
        net.continuation = this.place
        if isinstance(settings.optimizer, LBFGS):
            lbfgs.run(this)
        else:
            _epochs(this)
    except BaseException as error:
        this.stopped = type(error).__name__
        if isinstance(error, DivergenceError):
            this.forget()  # what the optimiser remembers may not be finite
        raise
    finally:
        this.history.stopped = net.history.stopped = this.stopped or "all epochs done"
        with contextlib.ExitStack() as ends:  # each of them, though another raises
            for callback in started:
                ends.callback(callback.end, this)
    return this.history


def _epochs(this: Run) -> None:
    """Epochs of mini-batches until something says stop."""
    net, settings, place = this.net, this.settings, this.place
    rule = settings.optimizer
    assert isinstance(rule, UpdateRule)
    skips = inputs.skip_zeros(settings.form, net.layout, this.data.X, settings.batch_size, net.dtype)
    work = inputs.work(
        settings.form, net.layout, this.data.X, settings.batch_size, MOST_STEPS, net.dtype, skips, settings.replacement
    )
    equal = bool((this.data.weight == 1).all())
    last_epoch = math.inf if settings.epochs is None else place.epoch + settings.epochs
    last_step = math.inf if settings.steps is None else place.step + settings.steps
    n, order, drops = len(this.data.X), None, bool(settings.dropout.any())
    # Calls of one step share what is laid out; a schedule is asked for no step that may not come.
    ahead = STEPS_AHEAD if isinstance(rule.lr, float) else 0
    first, eta = place.optimizer_step, np.empty(0)
    kind = settings.form_name, settings.batch_size, skips, isinstance(this.data.X, SparseRows)
    at_once, moved, pace = 1, False, Pace(getattr(work, "workers", 1), kind)
    if place.pace is not None and place.pace.knows(pace):
        pace = place.pace
    place.pace = pace
    while this.stopped is None and place.epoch < last_epoch and place.step < last_step:
        this.epoch = place.epoch
        if order is None or not in_order(n, settings):
            order = epoch_order(n, settings, place.epoch)
        total = weight = 0.0
        lr = float("nan")
        this.epoch_step = 0
        while this.epoch_step < this.epoch_steps and this.stopped is None and place.step < last_step:
            most = min(at_once, MOST_STEPS, pace.steps)
            count = int(min(most, this.epoch_steps - this.epoch_step, last_step - place.step))
            t = place.optimizer_step
            if t + count > first + len(eta):
                first, steps = t, np.arange(t, t + max(count, ahead))
                eta = rates(rule, steps, place.plateau)
                with np.errstate(over="ignore"):  # a rate too large for float32 is inf there, and training diverges
                    coefficients = rule.coefficients(steps, eta).astype(net.dtype)
            now = slice(t - first, t - first + count)
            lr = float(eta[now][-1])
            at = this.epoch_step * settings.batch_size
            began = time.perf_counter()
            chunk = order[at : at + count * settings.batch_size]
            data = inputs.as_data(*this.data, chunk, settings.batch_size, skips, equal)
            how = layout.Rule(
                mean=net.reduction == "mean",
                optimizer=rule.code,
                state=place.state,
                coefficients=coefficients[now],
                l1=settings.l1,
                l2=settings.l2,
                clip_value=settings.clip_value,
                clip_norm=settings.clip_norm,
                dropout_rates=settings.dropout,
                dropout_keys=dropout_keys(settings.seed, place.step, count) if drops else np.zeros(count, np.uint64),
            )
            taken = _take_steps(net, settings.form, data, how, work, pace)
            moved = moved or taken > 0
            place.step += taken
            place.optimizer_step += taken
            this.epoch_step += taken
            if taken < count or not are_finite(net.theta):
                failed = order[at + taken * settings.batch_size :][: settings.batch_size]
                loss = float(work.loss[taken]) if taken < count else float("nan")
                raise _diverged(this, place.epoch, loss, lr, failed, work.before if moved else net.theta)
            # One after another, so that the sum does not depend on how many steps a call had, which the clock decides.
            weights = work.loss_weight[:count]
            losses = work.loss[:count] * weights
            losses[0] += total
            weights[0] += weight
            total, weight = float(losses.cumsum()[-1]), float(weights.cumsum()[-1])
            this.loss_now = total / weight if net.reduction == "mean" and weight > 0 else total
            this.tell("chunk")
            seconds = time.perf_counter() - began
            if seconds > LOOK_EVERY:
                at_once = max(1, at_once // 2)
            elif seconds < LOOK_EVERY / 2 and count == at_once:
                at_once *= 2
        this.end_epoch(this.loss_now, lr)
    if moved:  # no step follows the last one to see the loss of what it made
        last = data.order[(count - 1) * settings.batch_size :][:JUDGED]
        how = how._replace(l1=0.0, l2=0.0, dropout_rates=np.zeros_like(settings.dropout), judge=True)
        _steps(net, settings.form, data._replace(order=last), how, work, pace.threads)
        loss = float(work.loss[0])
        if not math.isfinite(loss):
            raise _diverged(this, place.epoch - 1, loss, lr, last, work.before)
    if this.stopped is None and place.step >= last_step:
        this.stop(f"{settings.steps} steps done")


def _take_steps(net: Network, form: ModuleType, data: layout.Data, rule: layout.Rule, work: Any, pace: Pace) -> int:
    """The form's steps, with the threads that `pace` gives them; it learns what they took."""
    if pace.most == 1:
        return _steps(net, form, data, rule, work, 1)
    threads, began = pace.threads, time.perf_counter()
    taken = _steps(net, form, data, rule, work, threads)
    seconds = time.perf_counter() - began
    pace.learn(taken, seconds, work.seconds_waited() / (threads * seconds) if seconds > 0 else 0.0)
    return taken


def _steps(net: Network, form: ModuleType, data: layout.Data, rule: layout.Rule, work: Any, threads: int) -> int:
    """The form's steps with so many of the threads that `work` is made for."""
    if threads == getattr(work, "workers", 1):
        taken: int = form.steps(net.layout, net.theta, data, rule, work)
    else:
        with use_threads(threads):
            taken = form.steps(net.layout, net.theta, data, rule, work._replace(workers=threads))
    return taken


def bare_rule(net: Network, optimizer: UpdateRule, steps: int) -> layout.Rule:
    """The optimiser's first `steps` steps, without penalty, clipping or dropout: for who times a form's `steps`."""
    t = np.arange(steps)
    return layout.Rule(
        mean=net.reduction == "mean",
        optimizer=optimizer.code,
        state=optimizer.initial_state(net.size, net.dtype),
        coefficients=optimizer.coefficients(t, rates(optimizer, t)).astype(net.dtype),
        l1=0.0,
        l2=0.0,
        clip_value=np.inf,
        clip_norm=np.inf,
        dropout_rates=np.zeros(len(net.W)),
        dropout_keys=dropout_keys(0, 0, steps),
    )


def epoch_order(n: int, settings: Settings, epoch: int) -> NDArray[np.intp]:
    """The data points of an epoch's steps: permuted, drawn with replacement, or 0..n-1; by seed and epoch alone."""
    if in_order(n, settings):
        return np.arange(n, dtype=np.intp)
    if settings.replacement:
        rng = np.random.default_rng(np.random.SeedSequence(settings.seed, spawn_key=(epoch,)))
        steps = math.ceil(n / settings.batch_size)
        return rng.integers(0, n, steps * settings.batch_size, dtype=np.intp)
    return shuffled(n, settings.seed, epoch)


def in_order(n: int, settings: Settings) -> bool:
    """Whether every epoch takes the data points as they lie; the full batch is summed in the same order always."""
    return not settings.replacement and not (settings.shuffle and settings.batch_size < n)


def dropout_keys(seed: int, step: int, count: int) -> NDArray[np.uint64]:
    """One key a step, by seed and step alone."""
    first = np.array([seed % 2**64], np.uint64)
    t = np.arange(step, step + count, dtype=np.uint64)
    keys: NDArray[np.uint64] = layout.hash64(layout.hash64(first) + t * np.uint64(0x9E3779B97F4A7C15))
    return keys


def _diverged(
    this: Run, epoch: int, loss: float, lr: float, failed: NDArray[np.intp], finite: Array
) -> DivergenceError:
    """The error that says where the numbers stopped being finite, with the last finite parameters put back."""
    net = this.net
    layer = first_bad_layer(net, this.settings.form, this.data.X[failed])
    # Zeros for what an input that is 0 in every data point multiplies: no sum tells that such a weight runs away.
    net.theta[:] = np.where(np.isfinite(finite), finite, 0)
    where = f"; the first numbers that are not finite are in layer {layer}" if layer is not None else ""
    return DivergenceError(
        f"training diverged in epoch {epoch}, step {this.step}: the loss is {loss:g}{where}. Likely causes: a "
        f"learning rate that is too high (it was {lr:g}), inputs or targets that are not scaled, gradients that want "
        "clip_norm. The last parameters with a finite loss are kept",
        epoch=epoch,
        step=this.step,
        layer=layer,
    )


def first_bad_layer(net: Network, form: ModuleType, X: Inputs) -> int | None:
    """The first layer, 1..M, with weights, biases, pre-activations or outputs that are not finite; None if none has."""
    if isinstance(X, SparseRows):  # a few rows at a time: all of them may be more than memory holds
        rows = max(1, DENSE_AT_ONCE // net.n_in)
        parts = (X[np.arange(at, min(at + rows, len(X)))].toarray() for at in range(0, len(X), rows))
        return min((layer for part in parts if (layer := first_bad_layer(net, form, part)) is not None), default=None)
    x, y = form.forward(net.layout, net.theta, X)
    for m in range(len(net.widths) - 1):
        columns = slice(net.layout.y_at[m], net.layout.y_at[m + 1])
        numbers = (net.W[m], net.b[m], x[:, columns], y[:, columns])
        if not all(np.isfinite(each).all() for each in numbers):
            return m + 1
    return None
