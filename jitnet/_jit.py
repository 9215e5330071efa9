"""The only door to Numba: flags, the compilation cache, threads, and what a fork or a second Python thread would break.

Numba's own cache key knows neither the other files that a kernel calls into nor the options it was compiled with, and
a truncated cache file raises. `_cache` mends that: the digest of all kernel sources stands in the key, serial and
parallel code have files of their own, a bad file is thrown away and compiled once more, and a cache that another user
can write is never run.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import stat
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FunctionType
from typing import Any

import numba
import numpy as np
from numba import extending
from numba.core import caching, cgutils, compiler, config, ir, types
from numba.core.runtime import rtsys
from numba.extending import register_jitable
from numba.misc.appdirs import AppDirs

from jitnet._compile import OUTLINED, BorrowingCompiler, CalleeCompiler, KernelCompiler, apart
from jitnet.errors import InputError, whole

FLAGS = {"nsz", "arcp", "contract", "afn", "reassoc"}
"""LLVM's fast-math flags. Never `nnan` or `ninf`: they make the checks for NaN and inf lie."""

_OPTIONS = {"fastmath": FLAGS, "error_model": "numpy", "nogil": True}
_BORROWS = {"fastmath": False, "error_model": "numpy", "nogil": True, "_nrt": False}
# prange and nothing else: array expressions stay serial, so that what runs in parallel is what the source says.
_PARALLEL = dict.fromkeys(
    ("comprehension", "reduction", "inplace_binop", "setitem", "numpy", "stencil", "fusion"), False
)


intrinsic: Any = extending.intrinsic  # Numba types what is done in compiling, not the call

KERNEL_SOURCES = (
    "_compile.py", "_jit.py", "activations.py", "bare.py", "layout.py", "losses.py", "optimizers.py", "panels.py",
    "registers.py", "shuffle.py", "subnormals.py", "teams.py", "tiles.py", "transposes.py",
    "vectorfunctions.py", "vectormath.py",
    "forms/formulas.py", "forms/plain.py", "forms/tiled.py", "forms/tiled_few.py", "forms/tiled_narrow.py",
    "forms/tiled_nonzeros.py", "forms/tiled_panels.py", "forms/tiled_steps.py", "forms/tiled_weights.py",
    "forms/tiled_work.py",
)  # fmt: skip
"""The files that compiled code is made from."""


@functools.cache
def _source_digest() -> str:
    """SHA-256 of every source that compiled code is made from, so that no stale code is ever loaded."""
    digest = hashlib.sha256()
    for name in KERNEL_SOURCES:
        digest.update(name.encode() + (Path(__file__).parent / name).read_bytes())
    return digest.hexdigest()


def _is_ours(folder: Path) -> bool:
    """Whether only this user (or root) can put a file there: a cache file is code that we run."""
    if os.name == "nt":
        return True
    about = folder.stat()
    return about.st_uid in (os.getuid(), 0) and not about.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def cache_folder() -> Path | None:
    """Where compiled code is kept: NUMBA_CACHE_DIR, else beside the package, else the user's cache; None if nowhere."""
    package = Path(__file__).parent
    name = f"jitnet-{hashlib.sha256(str(package).encode()).hexdigest()[:12]}"
    if config.CACHE_DIR:
        folders = [Path(config.CACHE_DIR) / name]
    else:
        folders = [package / "__pycache__", Path(AppDirs(appname="numba", appauthor=False).user_cache_dir) / name]
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.mkdir(mode=0o755, parents=True, exist_ok=True)
            if _is_ours(folder) and os.access(folder, os.W_OK):
                return folder
    return None


@functools.cache
def _warn_no_cache(reason: str) -> None:
    warnings.warn(f"jitnet: compiled code is not kept between runs ({reason})", RuntimeWarning, stacklevel=2)


class _Locator(caching._CacheLocator):
    """Tells Numba's cache the folder and the stamp of a kernel."""

    variant = ""

    def __init__(self, py_func: Callable[..., Any], py_file: str, folder: Path) -> None:
        self._py_file, self._line, self._folder = py_file, py_func.__code__.co_firstlineno, folder

    def get_cache_path(self) -> str:
        return str(self._folder)

    def get_source_stamp(self) -> object:
        return _source_digest(), numba.__version__, config.BOUNDSCHECK, config.OPT

    def get_disambiguator(self) -> str:
        return f"{self._line}-{self.variant}"

    @classmethod
    def from_function(cls, py_func: Callable[..., Any], py_file: str) -> _Locator | None:
        folder = cache_folder()
        return None if folder is None else cls(py_func, py_file, folder)


_LOADS_ALONE = all(
    hasattr(caching.FunctionCache, name) for name in ("_load_overload", "_guard_against_spurious_io_errors")
)
"""Whether Numba's cache is built as expected. What is not found there is compiled, and Numba fetches the rest then."""


def _cache(py_func: Callable[..., Any], variant: str) -> caching._Cache:
    """The cache of one kernel's serial or parallel code."""

    class Locator(_Locator):
        pass

    class Files(caching.CompileResultCacheImpl):
        _locator_classes = [Locator]  # type: ignore[list-item]  # noqa: RUF012 - Numba's own name and type

    class Cache(caching.FunctionCache):
        _impl_class = Files

        def load_overload(self, sig: Any, target_context: Any) -> Any:
            """Numba's own method first fetches all that is needed to compile, of SciPy too, for 0.25 s."""
            if _LOADS_ALONE:
                with contextlib.suppress(Exception):
                    rtsys.initialize(target_context)  # makes and frees the arrays of compiled code
                    with self._guard_against_spurious_io_errors():
                        return self._load_overload(sig, target_context)
            try:
                return super().load_overload(sig, target_context)
            except Exception:  # truncated, racing or foreign files raise anything at all: compile instead
                with contextlib.suppress(OSError):
                    self.flush()
                return None

        def save_overload(self, sig: Any, data: Any) -> None:
            try:
                super().save_overload(sig, data)
            except OSError as error:
                _warn_no_cache(str(error))

    Locator.variant = variant
    if config.CACHE_LOCATOR_CLASSES or cache_folder() is None:
        if cache_folder() is None:
            _warn_no_cache("no folder that only this user can write")
        return caching.NullCache()
    return Cache(py_func)


def _callee(py_func: Callable[..., Any], **options: Any) -> Any:
    """A function for kernels to call. It has no wrapper for Python: that would double the time to compile.

    Numba would compile it anew for every whole number that stands as a constant in a call; those are known anyway
    where it is inlined, and not worth it where it is not.
    """
    dispatcher = numba.njit(
        pipeline_class=CalleeCompiler, no_cpython_wrapper=True, no_cfunc_wrapper=True, **options
    )(py_func)  # fmt: skip
    template = dispatcher.get_call_template

    def for_any_constant(args: Any, kws: Any) -> Any:
        args = tuple(types.unliteral(each) for each in args)
        return template(args, {name: types.unliteral(each) for name, each in kws.items()})

    dispatcher.get_call_template = for_any_constant
    return dispatcher


def function(py_func: Callable[..., Any]) -> Any:
    """Compile a function that kernels call.

    It is always inlined: a call may end in the copy of another kernel, that LLVM vectorised otherwise, so that code
    just compiled and the same code from the cache gave other last bits (softmax, 67 neurons).
    """
    return _callee(py_func, forceinline=True, **_OPTIONS)


def vector_function(py_func: Callable[..., Any]) -> Any:
    """Compile a function of the tiled form: vectors and tiles say themselves which instructions are wanted.

    Without fast-math flags a loop of numbers gives the same bits wherever it ends up. Below a function that is inlined
    always, Numba inlines these too, and so it should be: kept apart they cost a third more (64-64-10, batch 32: 14 us a
    step against 10.8).

    It makes no array and hands none back: its arrays are its caller's, and no references are counted. To write down
    for every array of every tuple that somebody counts took a third of the time to compile.
    """
    return _callee(py_func, **_BORROWS)


def inline_function(py_func: Callable[..., Any]) -> Any:
    """`vector_function` for what is a few instructions: vectors that are handed over or back stay in registers."""
    return _callee(py_func, forceinline=True, **_BORROWS)


def outlined_function(py_func: Callable[..., Any]) -> Any:
    """`vector_function` that is never inlined: for what does much in each call and would be compiled for each."""
    OUTLINED.add(py_func.__name__)
    return _callee(py_func, forceinline=False, **_BORROWS)


def array_function(py_func: Callable[..., Any]) -> Any:
    """`inline_function` for what makes arrays, or hands one back."""
    return _callee(py_func, forceinline=True, **{**_OPTIONS, "fastmath": False})


def view(py_func: Callable[..., Any]) -> Any:
    """A function that hands back a part of an array: it becomes part of its caller before anything is compiled."""
    return numba.njit(inline="always")(py_func)


def callable_from_kernels(*functions: Callable[..., Any]) -> None:
    """Let kernels call these plain Python functions: the scalar formulas are written once, without Numba.

    They are computed as they are written. With fast-math flags LLVM chose each time anew which product and sum become
    one instruction, and the serial, the parallel and the cached code of AMSGrad differed in last bits; a formula of one
    number has no sum over an index that would gain from them (steps of five networks: no difference in time).
    """
    for each in functions:
        register_jitable(
            forceinline=True, no_cpython_wrapper=True, no_cfunc_wrapper=True, **{**_OPTIONS, "fastmath": False}
        )(each)


def _in_parallel(py_func: Callable[..., Any]) -> Callable[..., Any]:
    """A kernel's source for its parallel build: if it has a global IN_PARALLEL, that is True there.

    But not under NUMBA_BOUNDSCHECK, where a thread may end with an error that others wait for. The copy knows the
    globals as they are now: what the kernel calls stands above it.
    """
    if "IN_PARALLEL" not in py_func.__globals__:
        return py_func
    known = {**py_func.__globals__, "IN_PARALLEL": not config.BOUNDSCHECK}
    return functools.update_wrapper(
        FunctionType(py_func.__code__, known, py_func.__name__, py_func.__defaults__, py_func.__closure__), py_func
    )


class Kernel:
    """A compiled loop nest that Python calls, in two builds of one source: `prange` in parallel, or serial.

    Which one runs depends on the size of the work and never on the number of threads, so that the result has the same
    bits for any number. A child of a fork runs the serial build: OpenMP would kill it.
    """

    def __init__(self, py_func: Callable[..., Any], work: Callable[..., float], borrows: bool = False) -> None:
        self.work = work
        functools.update_wrapper(self, py_func)
        self.py_func = py_func
        options = {
            "pipeline_class": BorrowingCompiler if borrows else KernelCompiler,
            "no_cfunc_wrapper": True,
            **_OPTIONS,
        }
        self.serial = numba.njit(**options)(py_func)
        self.serial._cache = _cache(py_func, "serial")
        parallel = {"prange": True, **_PARALLEL}
        self.parallel = numba.njit(parallel=parallel, **options)(_in_parallel(py_func))
        self.parallel._cache = _cache(py_func, "parallel")
        for build in (self.serial, self.parallel):
            build.compile = apart(build.compile)

    def __call__(self, *args: Any) -> Any:
        """Run it on NumPy arrays and numbers of the right types and shapes: nothing is checked here."""
        if self.work(*args) < SERIAL_WORK or _forked:
            return self.serial(*args)
        with _one_at_a_time():
            return self.parallel(*args)


def kernel(*, work: Callable[..., float], borrows: bool = False) -> Callable[[Callable[..., Any]], Kernel]:
    """Make a `Kernel`; `work` takes its arguments and says about how many multiplications a parallel region does, or
    as many as make a region worth its while.

    `borrows`: it makes no array, so that no references need to be counted, and its loops, which are of vectors and
    tiles, are not unrolled.
    """
    return functools.partial(Kernel, work=work, borrows=borrows)


SERIAL_WORK = 500_000.0
"""Multiplications under which a call runs serially: waking threads costs 2-3 us with OpenMP, 32 us with workqueue."""

_forked = False
_workqueue_lock = threading.RLock()


def _after_fork() -> None:
    global _forked
    _forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@contextlib.contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Numba's workqueue layer aborts the process when two Python threads launch at once; the others may."""
    numba.get_num_threads()  # starts the layer, so that its name is known
    if numba.threading_layer() == "workqueue":
        with _workqueue_lock:
            yield
    else:
        yield


def threads() -> int:
    """How many threads a parallel region has now: 1 in the child of a fork."""
    return 1 if _forked else int(numba.get_num_threads())


def threads_for(work: float) -> int:
    """How many threads a call of a kernel with so many multiplications has now."""
    return 1 if work < SERIAL_WORK else threads()


@contextlib.contextmanager
def use_threads(count: int | None) -> Iterator[int]:
    """Use `count` threads inside (None: as many as Numba has now), and put the old number back after."""
    before = threads()
    if count is None:
        yield before
        return
    count = whole("threads", count, least=1)
    if count > config.NUMBA_NUM_THREADS:
        raise InputError(f"threads: {count} given, 1 to {config.NUMBA_NUM_THREADS} are there (NUMBA_NUM_THREADS)")
    if _forked:
        yield 1
        return
    try:
        numba.set_num_threads(count)
        yield count
    finally:
        numba.set_num_threads(before)


_pointwise: dict[tuple[Callable[..., float], int, np.dtype[Any]], Any] = {}  # kept for good: kernels hold addresses


def compile_pointwise(name: str, py_func: Callable[..., float], arguments: int, dtype: np.dtype[Any]) -> int:
    """A user's scalar function as C code, of which kernels know the address: no kernel is compiled anew for it.

    Raises InputError, naming `name`, where Numba cannot compile it, where it raises (compiled, that would be a silent
    0) or where it does not always return a number.
    """
    key = py_func, arguments, dtype
    scalar = numba.from_dtype(dtype)
    what = f"{name}: Numba cannot compile this function of {arguments} number(s) to one number"
    try:
        if key in _pointwise:
            return int(_pointwise[key].address)
        blocks = compiler.run_frontend(py_func).blocks.values()
        typed = numba.njit(py_func)
        typed.compile((scalar,) * arguments)
        returned = typed.nopython_signatures[0].return_type
    except Exception as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        reason = next((line for line in lines if "rror: " in line or "not defined" in line), lines[0])
        raise InputError(f"{what}: {reason}") from error
    if any(isinstance(each, ir.Raise | ir.StaticRaise | ir.DynamicRaise) for block in blocks for each in block.body):
        raise InputError(f"{what}: it raises an exception; give NaN where there is no number")
    if not isinstance(returned, types.Float | types.Integer | types.Boolean):
        raise InputError(f"{what}: it returns {returned}")
    _pointwise[key] = numba.cfunc(scalar(*[scalar] * arguments), fastmath=FLAGS, error_model="numpy")(py_func)
    return int(_pointwise[key].address or 0)


def _call(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    pointer = cgutils.ir.FunctionType(args[1].type, [a.type for a in args[1:]]).as_pointer()
    return builder.call(builder.inttoptr(args[0], pointer), args[1:])


@intrinsic
def call1(typingctx: Any, address: Any, x: Any) -> Any:
    """address(x): the function of one number that `compile_pointwise` made."""
    return x(numba.intp, x), _call


@intrinsic
def call2(typingctx: Any, address: Any, y: Any, t: Any) -> Any:
    """address(y, t): the function of two numbers of one type that `compile_pointwise` made."""
    return y(numba.intp, y, y), _call
