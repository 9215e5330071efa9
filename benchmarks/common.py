"""What the files of questions share: profiles, networks, forms of this tree, data, pinned threads, the check.

    quick     under 5 minutes: one dtype, one thread count, small networks; CI runs it so that nothing rots
    regular   what the history is run with
    full      every network x form x dtype x thread count

JITNET_BENCH_PROFILE picks one; default regular. Parameters never depend on the jitnet that is timed: asv hands them
over by number, and a commit that lacks a form would be given another one's.
"""

from __future__ import annotations

import ast
import functools
import importlib
import mmap
import os
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from statistics import median
from types import ModuleType
from typing import Any, NamedTuple

import numba
import numpy as np
from threadpoolctl import threadpool_limits

import jitnet as jn
from benchmarks import ROOT, package_folder, source_digest
from jitnet import layout

PROFILE = os.environ.get("JITNET_BENCH_PROFILE", "regular")
PROFILES = ("quick", "regular", "full")
if PROFILE not in PROFILES:
    raise ValueError(f"JITNET_BENCH_PROFILE: {PROFILE!r} given, one of {', '.join(PROFILES)} is wanted")


def by_profile(quick: Any, regular: Any, full: Any) -> Any:
    """The one of three that belongs to the profile."""
    return {"quick": quick, "regular": regular, "full": full}[PROFILE]


def _forms_of_this_tree() -> list[str]:
    tree = ast.parse((ROOT / "jitnet" / "forms" / "__init__.py").read_text())
    for node in tree.body:
        if isinstance(node, ast.Assign) and [getattr(name, "id", "") for name in node.targets] == ["FORMS"]:
            return list(ast.literal_eval(node.value))
    raise LookupError("jitnet/forms/__init__.py names no FORMS")


FORMS = _forms_of_this_tree()
"""Every form of the tree that the suite belongs to: a new one appears by itself, older commits skip it."""
INDEX_FORMS = [name for name in FORMS if name != "matrix"]

ALLOWED = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
CORES = len(ALLOWED)
THREADS = by_profile([1], [1, 2], [1, 2])
DTYPES = by_profile(["float32"], ["float32", "float64"], ["float32", "float64"])
ROUNDS = by_profile(1, 2, 2)
REPEAT = by_profile((3, 20, 0.3), (10, 5000, 1.0), (10, 10000, 2.0))
"""asv's (fewest calls, most calls, seconds): a call is short beside the noise, so there are many."""


class Case(NamedTuple):
    """A network, its batch and how it is trained."""

    widths: list[int]
    batch: int
    activation: str
    output: str
    loss: str
    optimizer: str
    bias: bool = True


ADAM = "Adam(lr=1e-4)"
NETWORKS = {
    "2-3-4-2, batch 32, SGD": Case([2, 3, 4, 2], 32, "tanh", "identity", "half_squared_error", "SGD(lr=1e-4)"),
    "64-64-10, batch 32, Adam": Case([64, 64, 10], 32, "relu", "softmax", "cross_entropy", ADAM),
    "784-128-10, batch 128, Adam": Case([784, 128, 10], 128, "relu", "softmax", "cross_entropy", ADAM),
    "784-512-512-10, batch 128, Adam": Case([784, 512, 512, 10], 128, "relu", "softmax", "cross_entropy", ADAM),
    "784-1024-1024-10, batch 256, Adam": Case([784, 1024, 1024, 10], 256, "relu", "softmax", "cross_entropy", ADAM),
    "4-32-16-4, full batch 10000, Adam": Case([4, 32, 16, 4], 10_000, "tanh", "identity", "squared_error", ADAM),
}
"""The networks of the design's table, from narrow to wide."""

SMALL, MIDDLE, WIDE = list(NETWORKS)[:2], list(NETWORKS)[2], list(NETWORKS)[3]
CASES = by_profile([*SMALL, MIDDLE], [name for name in NETWORKS if "1024" not in name], list(NETWORKS))


@functools.cache
def times_this_tree() -> bool:
    """Whether the jitnet that is timed is the one that this suite belongs to, there or in a copy."""
    return source_digest(package_folder()) == source_digest(ROOT / "jitnet")


def skip(why: str) -> NotImplementedError:
    """What a `setup` raises where this machine has not what is to be timed: asv skips it."""
    return NotImplementedError(why)


def lacking(what: str) -> Exception:
    """What a `setup` raises where jitnet has not what is to be timed.

    asv skips it in another commit. In the suite's own tree the benchmark has rotted, and that is an error.
    """
    if times_this_tree():
        return LookupError(f"this tree has no {what}: the benchmark is out of date")
    return skip(f"this commit has no {what}")


def get_form(name: str) -> ModuleType:
    """The form's module. Older commits lack some, or list one that was still to come."""
    try:
        module: ModuleType = importlib.import_module(f"jitnet.forms.{name}")
    except ImportError as error:
        if error.name != f"jitnet.forms.{name}":
            raise
        raise lacking(f"form {name}") from error
    return module


def function_of(form: str, name: str) -> Any:
    """A function of a form, by name."""
    try:
        return getattr(get_form(form), name)
    except AttributeError as error:
        raise lacking(f"{name} in the form {form}") from error


def make_work(form: str, net: Any, batch: int, steps: int) -> Any:
    """Buffers for training steps: the form's own, or in older commits those of all forms."""
    work = getattr(get_form(form), "work", None) or layout.work
    return work(net.layout, batch, steps, net.dtype)


def make_rule(net: Any, optimizer: Any, steps: int) -> Any:
    """The optimiser's first steps, without penalty, clipping or dropout."""
    try:
        from jitnet.training import bare_rule
    except ImportError as error:
        raise lacking("bare_rule") from error
    return bare_rule(net, optimizer, steps)


def make_optimizer(text: str) -> Any:
    """`Adam(lr=1e-4)` as it is written in a case."""
    name, _, arguments = text.removesuffix(")").partition("(")
    keywords = ast.parse(f"f({arguments})", mode="eval").body.keywords
    try:
        return getattr(jn, name)(**{each.arg: ast.literal_eval(each.value) for each in keywords})
    except AttributeError as error:
        raise lacking(name) from error


def make_network(case: Case, dtype: str) -> Any:
    """The case's network with the weights of seed 0."""
    return jn.Network(
        case.widths, activation=case.activation, output=case.output, loss=case.loss, bias=case.bias, dtype=dtype, seed=0
    )  # fmt: skip


def make_data(case: Case, net: Any, points: int, seed: int = 0) -> Any:
    """Random data points and targets, checked as `fit` checks them: X, T, weight."""
    rng = np.random.default_rng(seed)
    X, n_out = rng.standard_normal((points, case.widths[0])), case.widths[-1]
    T = rng.integers(0, n_out, points) if case.loss == "cross_entropy" else rng.standard_normal((points, n_out))
    if not hasattr(net, "checked"):
        raise lacking("Network.checked")
    return net.checked(X, T)


_pinned: dict[int, Any] = {}  # the threads of this process, and what holds BLAS to them


def pin(threads: int) -> None:
    """Let Numba and NumPy's BLAS have `threads` threads for the rest of this process, on as many cores.

    A child of a fork runs serial kernels only: such a process is refused. The suite's asv.conf.json spawns.
    """
    from jitnet import _jit

    if threads in _pinned:
        return
    if getattr(_jit, "_forked", False):
        raise RuntimeError("a forked process times serial kernels only: run asv with --launch-method spawn")
    if threads > CORES or threads > numba.config.NUMBA_NUM_THREADS:
        raise skip(f"{threads} threads on {CORES} cores")
    if hasattr(os, "sched_setaffinity"):
        for thread in os.listdir("/proc/self/task"):  # those that Numba and BLAS have started already, too
            os.sched_setaffinity(int(thread), sorted(ALLOWED)[-threads:])
    numba.set_num_threads(threads)
    _pinned.clear()
    _pinned[threads] = threadpool_limits(limits=threads)


class _Arena:
    """Memory for what kernels read and write, laid out the same way in every process.

    Where malloc puts an array is luck, and luck is large: in eight pairs of processes of one commit, the plain form's
    forward kernel (784-128-10) took from 0.66 to 1.43 times as long in one as in the other, by where its arrays lay on
    cache lines and pages. Here each array begins on a cache line, one after another on huge pages where there are any.
    """

    SIZE, LINE, PAGE = 1 << 26, 64, 1 << 21

    def __init__(self) -> None:
        self.free = self.block = np.empty(0, np.uint8)

    def copy(self, array: Any) -> Any:
        """A C-contiguous copy of an array."""
        needed = array.nbytes + self.LINE
        if needed > len(self.free):
            size = max(self.SIZE, -(-needed // self.PAGE) * self.PAGE)
            memory = mmap.mmap(-1, size + self.PAGE)
            if hasattr(mmap, "MADV_HUGEPAGE"):
                memory.madvise(mmap.MADV_HUGEPAGE)
            block = np.frombuffer(memory, np.uint8)
            self.free = block[-block.ctypes.data % self.PAGE :][:size]
            self.free[:] = 0  # every page is there before anything is timed
        out = self.free[: array.nbytes].view(array.dtype).reshape(array.shape)
        out[...] = array
        self.free = self.free[-(-needed // self.LINE) * self.LINE :]
        return out


_arena = _Arena()


def lay_out(value: Any) -> Any:
    """The value with its arrays of numbers copied to where every process has them; tuples are gone into."""
    if isinstance(value, np.ndarray):
        return _arena.copy(value)
    if isinstance(value, tuple):
        parts = [lay_out(each) for each in value]
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    return value


TOLERANCE = {"float32": 1e-3, "float64": 1e-9}


def assert_close(ours: Any, theirs: Any, dtype: str, what: str) -> None:
    """The largest |index - matrix| is small beside the largest |matrix|: whoever is timed has done the work."""
    largest = float(np.abs(theirs).max(initial=0.0))
    difference = float(np.abs(np.subtract(ours, theirs, dtype=np.float64)).max(initial=0.0))
    assert difference <= TOLERANCE[dtype] * max(largest, 1e-30), f"{what}: {difference:.1e} of {largest:.1e}"


class Training:
    """A case and a form, ready to take eight steps, each on a batch of its own, from the same weights every time."""

    def __init__(self, case: Case, form: str, dtype: str, *, steps: int = 8, check: bool = True) -> None:
        self.case, self.form, self.steps = case, form, steps
        self.net = make_network(case, dtype)
        points = case.batch * steps
        order = np.random.default_rng(1).permutation(points).astype(np.intp)
        data, work = self.prepare(order)
        self.data, self.work = lay_out(data), lay_out(work)
        self.rule = lay_out(make_rule(self.net, make_optimizer(case.optimizer), self.steps))
        self.state = self.rule.state.copy()
        self.theta = lay_out(self.net.theta)
        self.take_steps = function_of(form, "steps")
        self.run()  # compiled with the exact signature, buffers touched
        self.after, self.losses = self.theta.copy(), self.work.loss[:steps].copy()
        if check and form != "matrix":
            self.compare(dtype)
        self.reset()

    def prepare(self, order: Any) -> tuple[Any, Any]:
        """Data of as many points as `order` has, and buffers."""
        X, T, weight = make_data(self.case, self.net, len(order))
        equal = {"equal": True} if "equal" in layout.Data._fields else {}  # as `fit` says; older commits do not ask
        data = layout.Data(X, T, weight, order=order, batch=self.case.batch, **equal)
        return data, make_work(self.form, self.net, self.case.batch, self.steps)

    def compare(self, dtype: str) -> None:
        """With the same steps of the matrix form."""
        twin = Training(self.case, "matrix", dtype, steps=self.steps)
        assert_close(self.losses, twin.losses, dtype, "losses")
        self.assert_moved_as(twin, dtype)

    def assert_moved_as(self, twin: Training, dtype: str) -> None:
        """99 % of the parameters, and most of each layer's W and b, are where the twin's are.

        Not all: an optimiser that divides a gradient of about 0 by its own size moves that parameter up or down by a
        rounding error.
        """
        moves = [(each.after - each.net.theta).astype(np.float64) for each in (self, twin)]
        allowed = np.abs(moves[1]).max() * (0.01 if dtype == "float32" else 1e-6)  # a difference has few digits left
        same = np.abs(moves[0] - moves[1]) <= allowed
        assert np.abs(moves[0]).max() > 0
        assert same.mean() >= 0.99, f"parameters: only {same.mean():.1%} are where the matrix form's are"
        widths = self.case.widths
        ends = np.cumsum([size for n_in, n_out in pairwise(widths) for size in (n_in * n_out, n_out)])
        for number, block in enumerate(np.split(same, ends[:-1])):
            name = f"{'Wb'[number % 2]}[{number // 2}]"
            assert block.mean() >= 0.5, f"{name}: only {block.mean():.1%} are where the matrix form's are"

    def reset(self) -> None:
        """Back to the initial weights and what the optimiser remembers at the start."""
        self.theta[:] = self.net.theta
        self.rule.state[:] = self.state

    def run(self) -> None:
        """Gather, forward, backward, gradient and update, `steps` times."""
        taken = self.take_steps(self.net.layout, self.theta, self.data, self.rule, self.work)
        assert taken == self.steps


def multiplications(widths: list[int]) -> int:
    """Products of one data point in a training step: F1 and F7 of every layer, F9 of all but the first."""
    weights = [n_in * n_out for n_in, n_out in pairwise(widths)]
    return 3 * sum(weights) - weights[0]


def seconds_each(
    functions: Sequence[Callable[[], Any]], resets: Sequence[Callable[[], Any]], seconds: float = 0.3, rounds: int = 15
) -> list[float]:
    """The median time of a call of each function, taken in turn, for about `seconds` altogether.

    Before each call its reset runs, untimed.
    """
    times: list[list[float]] = [[] for _ in functions]
    began = time.perf_counter()
    while len(times[0]) < rounds or time.perf_counter() - began < seconds:
        for function, reset, values in zip(functions, resets, times, strict=True):
            reset()
            start = time.perf_counter()
            function()
            values.append(time.perf_counter() - start)
    return [median(values) for values in times]


_kept: dict[Any, Any] = {}


def once(key: Any, make: Callable[[], Any]) -> Any:
    """make(), and the same again for the same key.

    asv calls `setup` before every timed call. What it builds and checks is built once; it then resets the weights only.
    """
    if key not in _kept:
        _kept[key] = make()
    return _kept[key]
