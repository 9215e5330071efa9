"""One network, one dtype, one thread count: all peers in turns, timed, and held to the same result."""

from __future__ import annotations

import gc
import os
import shutil
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .cases import EPOCH, PREDICT, Array, Case, Problem, products
from .peer import LeftOut, Peer

PEERS = ("jitnet", "matrix", "torch", "compile", "jax", "sklearn")
"""By the names of the option `--peers`; jitnet is always there, and first."""

TOLERANCE = {"float32": 5e-3, "float64": 1e-6}
"""How far a peer's parameters may end from jitnet's, as a share of how far jitnet's went; and how far the losses."""
EPOCH_TOLERANCE = {"parameters": 0.4, "losses": 0.03, "accuracy": 0.005}
"""The same for a whole epoch of sparse images, whose first `EXACT_STEPS` are held to `TOLERANCE`.

After 469 steps of Fashion-MNIST the peers agree to 1e-15 in float64, but any two of them only to 0.12 (losses 0.008,
accuracy 0.0006) in float32: about one ReLU in 10^7 falls on the other side of its kink, and Adam makes a whole step of
it for the weights of pixels that are hardly ever lit. scikit-learn's other epsilon does the same in both (0.2).
"""
EXACT_STEPS = 20

PAUSE = 0.15
"""Seconds before each timed run, in which the threads of the one before stop spinning: OpenBLAS's spin for 2^26 cycles.

Without it the FMA peak of two threads, measured after the judge's matrix products, came out as that of one.
"""


class DisagreementError(Exception):
    """A peer did other work than jitnet."""


class Limits(NamedTuple):
    """How long to measure: turns of all peers, and about how many seconds each timed run takes."""

    rounds: int = 7
    seconds: float = 0.25


def make(name: str, problem: Problem, threads: int, form: str = "auto") -> Peer:
    """The peer by its name in `PEERS`. Raises LeftOut where it is not there or cannot do this."""
    try:
        if name == "jitnet":
            from .with_jitnet import Jitnet

            return Jitnet(problem, threads, form)
        if name == "matrix":
            from .with_jitnet import Matrix

            return Matrix(problem, threads)
        if name == "torch":
            from .with_torch import Eager

            return Eager(problem, threads)
        if name == "compile":
            from .with_torch import Compiled

            if not any(map(shutil.which, ("c++", "g++", "clang++"))):
                raise LeftOut("torch.compile needs a C++ compiler, there is none")
            return Compiled(problem, threads)
        if name == "jax":
            from .with_jax import Jax

            return Jax(problem, threads)
        from .with_sklearn import Sklearn

        return Sklearn(problem, threads)
    except ImportError as error:
        raise LeftOut(f"{error.name or error} is not installed") from error


# --- the same result ------------------------------------------------------------------------------------------------


class Outcome(NamedTuple):
    """What a training came to: parameters (P,) float64, mean loss of each epoch's steps, loss of the parameters."""

    theta: Array
    losses: Array
    loss: float
    accuracy: float | None


def outcome(peer: Peer, steps: int) -> Outcome:
    """Of the `steps` that the peer has just trained; the loss is computed here, in float64, alike for all."""
    problem = peer.problem
    W, b = peer.parameters()
    T = problem.one_hot[:2048].astype(np.float64)
    x = _pre_activations(problem, W, b, problem.X[:2048])
    if problem.case.loss == "cross_entropy":
        x = x - x.max(axis=1, keepdims=True)
        L = (T * (np.log(np.exp(x).sum(axis=1, keepdims=True)) - x)).sum(axis=1)
    else:
        L = ((x - T) ** 2).sum(axis=1) * (0.5 if problem.case.loss == "half_squared_error" else 1.0)
    accuracy = None
    if problem.X_test is not None:
        labels = _pre_activations(problem, W, b, problem.X_test).argmax(axis=1)
        accuracy = float((labels == problem.labels_test).mean())
    return Outcome(_flat(W, b), epoch_losses(peer, steps), float(L.mean()), accuracy)


def _pre_activations(problem: Problem, W: list[Array], b: list[Array], X: Array) -> Array:
    """Of the output (n, n_out), in float64."""
    sigma: Callable[[Array], Array] = np.tanh if problem.case.activation == "tanh" else lambda x: np.maximum(x, 0.0)
    y = X.astype(np.float64)
    for m in range(len(W)):
        y = (sigma(y) if m else y) @ W[m].T.astype(np.float64) + b[m]
    return y


def _flat(W: list[Array], b: list[Array]) -> Array:
    return np.concatenate([part.ravel().astype(np.float64) for pair in zip(W, b, strict=True) for part in pair])


def epoch_losses(peer: Peer, steps: int) -> Array:
    """The mean loss of each epoch's data points in the `steps` that the peer has just trained."""
    if peer.losses_by_epoch:
        return peer.losses
    problem, means, at = peer.problem, [], 0
    if len(peer.losses) != steps:
        raise DisagreementError(f"{peer.name} took {len(peer.losses)} steps, {steps} are wanted")
    for order in problem.orders(steps):
        sizes = np.diff(np.append(np.arange(0, len(order), problem.case.batch), len(order)))
        means.append(np.average(peer.losses[at : at + len(sizes)].astype(np.float64), weights=sizes))
        at += len(sizes)
    return np.array(means)


def agreement(problem: Problem, wanted: Outcome, got: Outcome) -> dict[str, float]:
    """How far a peer is from jitnet after the same steps: `parameters` and `losses`, relative, and `accuracy`."""
    went = float(np.linalg.norm(wanted.theta - _flat(problem.W, problem.b)))
    if went == 0.0 or not np.isfinite(went):
        raise DisagreementError(f"jitnet's parameters went {went}: there is nothing to compare")
    differences = {"parameters": float(np.linalg.norm(got.theta - wanted.theta)) / went}
    if len(got.losses) != len(wanted.losses):
        raise DisagreementError(f"losses of {len(got.losses)} epochs, {len(wanted.losses)} are wanted")
    pairs = np.append(got.losses, got.loss), np.append(wanted.losses, wanted.loss)
    differences["losses"] = float(np.max(np.abs(pairs[0] - pairs[1]) / np.abs(pairs[1])))
    if wanted.accuracy is not None and got.accuracy is not None:
        differences["accuracy"] = abs(got.accuracy - wanted.accuracy)
    return differences


def check(peer: Peer, differences: dict[str, float], exact: bool = True) -> None:
    """Raise DisagreementError where a difference is too large (or not a number); `exact`: whatever the kind."""
    problem = peer.problem
    for what, difference in differences.items():
        most = max(TOLERANCE[problem.dtype], peer.tolerance)
        if what == "parameters" and problem.dtype == "float32":
            most = max(most, problem.case.kinks)
        if not exact or what == "accuracy":
            most = EPOCH_TOLERANCE[what]
        if not difference <= most:
            raise DisagreementError(
                f"{peer.name} did other work than jitnet on {problem.case.name}, {problem.dtype}: {what} differ by "
                f"{difference:.2g}, at most {most:g} is allowed"
            )


# --- time -----------------------------------------------------------------------------------------------------------


class Entry:
    """A peer in the contest: how much it does in a timed run, and what that took."""

    def __init__(self, peer: Peer, kind: str) -> None:
        self.peer, self.kind = peer, kind
        self.count = peer.problem.epoch_steps if kind == EPOCH else 1
        self.seconds: list[float] = []
        self.cpu: list[float] = []
        self.others: list[float] = []
        self.differences: dict[str, float] = {}
        self.loss = float("nan")
        self.accuracy: float | None = None

    def run(self) -> tuple[float, float, float]:
        """One timed run from the start: wall seconds, CPU seconds, and those of all other processes."""
        self.peer.start()
        busy, cpu, began = _busy_seconds(), time.process_time(), time.perf_counter()
        if self.kind == PREDICT:
            for _ in range(self.count):
                self.outputs = self.peer.predict()
        else:
            self.peer.train(self.count)
        wall, cpu = time.perf_counter() - began, time.process_time() - cpu
        return wall, cpu, max(0.0, _busy_seconds() - busy - cpu)

    def calibrate(self, seconds: float) -> None:
        """Find the count of steps (or predictions) that takes about so long; everything is compiled after it."""
        if self.kind == EPOCH:
            self.run()
            return
        while True:
            self.run()
            took = self.run()[0]
            if took > seconds / 10:
                break
            self.count *= max(2, min(16, int(0.3 * seconds / took)))
        self.count = max(1 if self.kind == PREDICT else 4, round(self.count * seconds / took))
        self.run()

    def measure(self) -> None:
        """Another sample."""
        settle()
        wall, cpu, others = self.run()
        self.others.append(others / wall)
        units = 1 if self.kind == EPOCH else self.count
        self.seconds.append(wall / units)
        self.cpu.append(cpu / wall)


def settle() -> None:
    """Let garbage and spinning threads go before something is timed."""
    gc.collect()
    time.sleep(PAUSE)


def _busy_seconds() -> float:
    """CPU seconds that all processes of the machine have used, in ticks of 10 ms; 0 where /proc/stat is not there."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return 0.0
    user, nice, system, _, _, irq, softirq = map(int, stat.read_text().split()[1:8])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def contest(
    problem: Problem,
    threads: int,
    *,
    form: str = "auto",
    peers: Sequence[str] = PEERS,
    limits: Limits | None = None,
    make_peer: Callable[..., Peer] = make,
) -> dict[str, Any]:
    """Run the peers in turns on a problem: a row of the JSON file.

    Every peer is compiled and warm before the first sample. After each sample the peer's result is compared with that
    of jitnet after as many steps; raises DisagreementError where one did other work. `make_peer` stands for `make`.
    """
    from .peak import Peak

    limits, case = limits or Limits(), problem.case
    peak = Peak(problem.dtype, threads)
    entries, left_out = {}, {}
    for name in ("jitnet", *(each for each in peers if each != "jitnet")):
        try:
            entry = Entry(make_peer(name, problem, threads, form), case.kind)
            entry.calibrate(limits.seconds)
        except LeftOut as error:
            left_out[name] = str(error)
            continue
        entries[name] = entry
    judge = Judge(entries["jitnet"].peer)
    if case.kind == EPOCH:
        for entry in entries.values():
            judge.judge_beginning(entry)
    for _ in range(limits.rounds):
        settle()
        peak.measure()
        for entry in entries.values():
            entry.measure()
            judge.judge(entry)
    row = {
        "network": case.name, "dtype": problem.dtype, "threads": threads, "kind": case.kind, "form": form,
        "peak_gflops": peak.median(), "order_seconds": _order_seconds(problem), "left_out": left_out,
    }  # fmt: skip
    return row | {"peers": {name: _summary(entry, peak.median()) for name, entry in entries.items()}}


def _order_seconds(problem: Problem) -> float:
    """What every peer spends a step on drawing the order of the data points."""
    began = time.perf_counter()
    problem.orders(problem.epoch_steps)
    return (time.perf_counter() - began) / problem.epoch_steps


class Judge:
    """Holds every timed run against what jitnet comes to in as many steps."""

    def __init__(self, jitnet: Peer) -> None:
        self.jitnet, self.known = jitnet, {}

    def judge(self, entry: Entry) -> None:
        """Raise DisagreementError where the entry's last run did other work; else write down how near it came."""
        problem = entry.peer.problem
        if entry.kind == PREDICT:
            wanted = self.known.setdefault(0, self.jitnet.predict())
            scale = float(np.abs(wanted).max())
            entry.differences = {"outputs": float(np.abs(entry.outputs - wanted).max()) / scale}
        else:
            result = outcome(entry.peer, entry.count)
            entry.differences = agreement(problem, self.wanted(entry.count), result)
            entry.loss, entry.accuracy = result.loss, result.accuracy
        check(entry.peer, entry.differences, exact=entry.kind != EPOCH)

    def judge_beginning(self, entry: Entry) -> None:
        """Train a few steps and hold them to the stricter tolerance."""
        steps = min(EXACT_STEPS, entry.count)
        entry.peer.start()
        entry.peer.train(steps)
        check(entry.peer, agreement(entry.peer.problem, self.wanted(steps), outcome(entry.peer, steps)))

    def wanted(self, steps: int) -> Outcome:
        """jitnet's outcome of so many steps, trained once."""
        if steps not in self.known:
            self.jitnet.start()
            self.jitnet.train(steps)
            self.known[steps] = outcome(self.jitnet, steps)
        return self.known[steps]


def _summary(entry: Entry, peak: float) -> dict[str, Any]:
    """A peer's part of the row: seconds a step (epoch, prediction), GFLOP/s, share of the peak, agreement."""
    seconds = statistics.median(entry.seconds)
    q1, q3 = np.quantile(entry.seconds, [0.25, 0.75])
    return {
        "name": entry.peer.name,
        "seconds": seconds,
        "spread": {"min": min(entry.seconds), "q1": float(q1), "q3": float(q3), "max": max(entry.seconds)},
        "samples": entry.seconds,
        "count": entry.count,
        "cores": statistics.median(entry.cpu),
        "cores_of_others": statistics.median(entry.others),
        "gflops": (gflops := 2e-9 * work(entry.peer.problem) / seconds),
        "of_peak": gflops / peak,
        "loss": entry.loss,
        "accuracy": entry.accuracy,
        "differences": entry.differences,
    }


def work(problem: Problem) -> int:
    """Multiply-adds of what `seconds` of a row is the time of: a step, an epoch, or one prediction of all points."""
    case: Case = problem.case
    points = len(problem.X) if case.kind in (EPOCH, PREDICT) else min(case.batch, len(problem.X))
    return products(case.widths, points, case.kind)
