"""The door to Numba: threads, the compilation cache and what may be wrong with it, forks, several Python threads.

What would take the test process down with it, or needs an environment of its own, runs in another process.
"""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import textwrap
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import numba
import numpy as np
import pytest
from numba.core import config

import jitnet as jn
from jitnet import _jit, shuffle
from jitnet.forms import plain, tiled

ROOT = Path(jn.__file__).parent.parent


def python(code: str, *arguments: str, root: Path = ROOT, warn: str = "error", **environment: str) -> str:
    """What a fresh Python process with this code prints; it must end well."""
    done = subprocess.run(
        [sys.executable, "-P", "-W", warn, "-c", textwrap.dedent(code), *arguments],
        env={**os.environ, "PYTHONPATH": str(root), "NUMBA_NUM_THREADS": "2", **environment},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    if done.returncode == 77:
        pytest.skip(done.stdout)
    assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


# --- threads --------------------------------------------------------------------------------------------------------


def test_use_threads_puts_the_number_back() -> None:
    before = numba.get_num_threads()
    assert before >= 2  # conftest.py sees to it
    with _jit.use_threads(1) as count:
        assert count == numba.get_num_threads() == 1
        with _jit.use_threads(2) as inner:
            assert inner == numba.get_num_threads() == 2
        assert numba.get_num_threads() == 1
        with _jit.use_threads(None) as same:
            assert same == numba.get_num_threads() == 1
    assert numba.get_num_threads() == before
    with pytest.raises(KeyError), _jit.use_threads(1):
        raise KeyError
    assert numba.get_num_threads() == before


@pytest.mark.parametrize("count", [0, -1, 1.0, "2", True, 10**6])
def test_bad_counts_are_refused(count: Any) -> None:
    before = numba.get_num_threads()
    with pytest.raises(jn.InputError, match="threads"), _jit.use_threads(count):
        pass
    assert numba.get_num_threads() == before


def test_public_calls_put_the_number_back_and_use_it_inside() -> None:
    X, T = np.ones((5, 3)), np.ones((5, 2))
    net, seen, before = jn.Network([3, 2], dtype="float64"), [], numba.get_num_threads()
    net.fit(X, T, epochs=1, threads=1, callbacks=[lambda run: seen.append(numba.get_num_threads())])
    assert seen == [1]
    assert numba.get_num_threads() == before
    for ask in (net.predict, net.jacobian):
        ask(X, threads=1)  # type: ignore[operator]
    for ask in (net.loss, net.evaluate, net.gradient):
        ask(X, T, threads=1)  # type: ignore[operator]
    net.jvp(X, X, threads=1)
    net.vjp(X, T, threads=1)
    assert numba.get_num_threads() == before

    def fails(run: Any) -> None:
        raise KeyError

    with pytest.raises(KeyError):
        net.fit(X, T, threads=1, callbacks=[fails])
    assert numba.get_num_threads() == before


WIDTHS, POINTS, BATCH = [40, 80, 2], 300, 200
"""Wide enough that kernels run in parallel."""


def train(threads: int | None = None, seed: int = 0) -> jn.Network:
    rng = np.random.default_rng(seed)
    X, T = rng.normal(size=(POINTS, WIDTHS[0])), rng.normal(size=(POINTS, 2))
    net = jn.Network(WIDTHS, activation="tanh", dtype="float64", seed=seed)
    net.fit(X, T, batch_size=BATCH, epochs=5, dropout=0.1, clip_norm=1.0, threads=threads)
    return net


def test_the_same_bits_for_any_number_of_threads() -> None:
    assert BATCH * train(1).size > _jit.SERIAL_WORK
    assert tiled.steps.parallel.signatures
    for threads in (None, *range(1, min(8, config.NUMBA_NUM_THREADS) + 1)):
        np.testing.assert_array_equal(train(threads).theta, train(1).theta)


def test_small_work_runs_serially_and_large_work_in_parallel() -> None:
    @_jit.kernel(work=lambda a: a.size * 1000.0)
    def twice(a: Any) -> Any:
        out = np.empty_like(a)
        for n in numba.prange(len(a)):
            out[n] = 2 * a[n]
        return out

    twice.serial._cache = twice.parallel._cache = numba.core.caching.NullCache()
    few, many = np.arange(3.0), np.arange(2.0 + _jit.SERIAL_WORK / 1000)
    np.testing.assert_array_equal(twice(few), 2 * few)
    assert (len(twice.serial.signatures), len(twice.parallel.signatures)) == (1, 0)
    np.testing.assert_array_equal(twice(many), 2 * many)
    assert (len(twice.serial.signatures), len(twice.parallel.signatures)) == (1, 1)


# --- the cache ------------------------------------------------------------------------------------------------------


def halves(a: Any) -> float:
    """What is compiled in these tests."""
    total = 0.0
    for n in range(len(a)):
        total += 0.5 * a[n]
    return total


@pytest.fixture
def compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that makes a kernel anew, as a fresh process would: how often it came from the cache, and warnings."""

    def run(folder: Path = tmp_path / "cache") -> tuple[int, list[str]]:
        monkeypatch.setattr(config, "CACHE_DIR", str(folder))
        _jit._warn_no_cache.cache_clear()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            kernel = _jit.kernel(work=lambda a: 0.0)(halves)
            assert kernel(np.arange(5.0)) == 5.0
            _jit.kernel(work=lambda a: 0.0)(halves)  # warnings come once for all kernels
        return sum(kernel.serial.stats.cache_hits.values()), [str(each.message) for each in caught]

    yield run
    _jit._warn_no_cache.cache_clear()


def files(folder: Path, kind: str) -> list[Path]:
    return sorted(folder.rglob(f"*halves*.{kind}"))


def no_cache(said: tuple[int, list[str]]) -> None:
    """The kernel worked, nothing was loaded, and there was one warning for all kernels."""
    hits, warned = said
    assert hits == 0
    assert len(warned) == 1
    assert warned[0].startswith("jitnet: compiled code is not kept between runs")


def test_compiled_code_is_kept(compiled: Any, tmp_path: Path) -> None:
    assert compiled() == (0, [])
    assert len(files(tmp_path, "nbi")) == len(files(tmp_path, "nbc")) == 1
    assert compiled() == (1, [])


@pytest.mark.parametrize("kind", ["nbi", "nbc"])
@pytest.mark.parametrize(
    "damage", ["empty", "half", "a byte short", "foreign", "a pickle of something else", "missing"]
)
def test_a_damaged_cache_file_is_thrown_away_and_compiled_again(
    kind: str, damage: str, compiled: Any, tmp_path: Path
) -> None:
    compiled()
    (path,) = files(tmp_path, kind)
    whole = path.read_bytes()
    spoilt = {
        "empty": b"", "half": whole[: len(whole) // 2], "a byte short": whole[:-1], "foreign": b"<html>404</html>" * 40,
        "a pickle of something else": b"\x80\x04K\x05.",
    }  # fmt: skip
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(spoilt[damage])
    assert compiled() == (0, [])
    assert compiled() == (1, [])


def test_a_cache_folder_that_cannot_be_made(compiled: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    no_cache(compiled(tmp_path / "file" / "cache"))


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_cache_folder(compiled: Any, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir(mode=0o500)
    no_cache(compiled())


def test_a_cache_folder_that_fails_later(compiled: Any, tmp_path: Path) -> None:
    """A full disk, say: the index cannot be written."""
    compiled()
    (index,) = files(tmp_path, "nbi")
    index.unlink()
    index.mkdir()
    no_cache(compiled())


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
@pytest.mark.parametrize("mode", [0o777, 0o775, 0o1777])
def test_code_that_others_could_have_put_there_is_not_run(mode: int, compiled: Any, tmp_path: Path) -> None:
    compiled()
    assert compiled() == (1, [])
    (folder,) = (tmp_path / "cache").iterdir()
    folder.chmod(mode)
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    no_cache(compiled())
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    folder.chmod(0o755)
    assert compiled() == (1, [])


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="only root can give a folder away")
def test_a_cache_folder_of_another_user_is_not_used(compiled: Any, tmp_path: Path) -> None:
    compiled()
    (folder,) = (tmp_path / "cache").iterdir()
    os.chown(folder, 65534, 65534)
    no_cache(compiled())


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_the_cache_folder_is_made_for_this_user_alone_to_write(compiled: Any, tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        assert compiled() == (0, [])
    finally:
        os.umask(old)
    (folder,) = (tmp_path / "cache").iterdir()
    assert folder.stat().st_mode & 0o777 == 0o755


def test_checks_of_bounds_make_another_key(compiled: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert compiled() == (0, [])
    monkeypatch.setattr(config, "BOUNDSCHECK", 1)
    assert compiled() == (0, [])
    assert compiled() == (1, [])


KERNEL = """
import numpy as np
from jitnet import _jit

def halves(a):
    total = 0.0
    for n in range(len(a)):
        total += 0.5 * a[n]
    return total

kernel = _jit.kernel(work=lambda a: 0.0)(halves)
assert kernel(np.arange(5.0)) == 5.0
print(sum(kernel.serial.stats.cache_hits.values()))
"""


def test_other_processes_find_it_and_mend_it_and_a_change_of_kernel_sources_makes_another_key(tmp_path: Path) -> None:
    """Numba's own key knows the file of the kernel only; ours knows all files that compiled code is made from."""
    package, folder = tmp_path / "jitnet", tmp_path / "cache"
    shutil.copytree(ROOT / "jitnet", package, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "kernel.py").write_text(KERNEL)

    def hits() -> int:
        return int(python("import kernel", root=tmp_path, NUMBA_CACHE_DIR=str(folder)))

    assert hits() == 0
    assert hits() == 1
    (code,) = files(folder, "nbc")
    code.write_bytes(code.read_bytes()[:-100])
    assert hits() == 0
    for name in ("callbacks.py", "network.py"):  # not compiled
        with (package / name).open("a") as file:
            file.write("# changed\n")
    assert hits() == 1
    for name in _jit.KERNEL_SOURCES:
        with (package / name).open("a") as file:
            file.write("# changed\n")
        assert hits() == 0, name
    assert hits() == 1


def compiled_functions() -> set[Any]:
    """Every Python function of jitnet that the kernels reach through the names that they use."""
    found: set[Any] = set()
    waiting = [
        each.py_func for f in (plain, tiled, shuffle) for each in vars(f).values() if isinstance(each, _jit.Kernel)
    ]
    while waiting:
        function = waiting.pop()
        function = getattr(function, "py_func", function)
        if function in found or not getattr(function, "__module__", "").startswith("jitnet"):
            continue
        if not hasattr(function, "__code__"):  # call1 and call2
            continue
        found.add(function)
        for name in function.__code__.co_names:
            value = function.__globals__.get(name)
            if isinstance(value, ModuleType):  # losses.sign as loss_functions.sign
                waiting += [vars(value)[n] for n in function.__code__.co_names if callable(vars(value).get(n))]
            elif callable(value) and not isinstance(value, type):
                waiting.append(value)
    return found


def test_kernel_sources_are_all_that_compiled_code_is_made_from() -> None:
    functions = compiled_functions()
    assert len(functions) > 60
    package = ROOT / "jitnet"
    files = {str(Path(f.__code__.co_filename).relative_to(package)).replace("\\", "/") for f in functions}
    used = {name for f in functions for name in f.__code__.co_names}
    for file in list(files):  # constants are frozen into compiled code where they are used
        for node in ast.walk(ast.parse((package / file).read_text())):
            module = str(getattr(node, "module", None))
            if module.startswith("jitnet.") and used & {each.asname or each.name for each in node.names}:
                files.add(module.removeprefix("jitnet.").replace(".", "/") + ".py")
    assert files <= set(_jit.KERNEL_SOURCES)
    assert files | {"_compile.py", "_jit.py", "forms/formulas.py"} == set(_jit.KERNEL_SOURCES)
    for name in _jit.KERNEL_SOURCES:
        assert (package / name).exists()


def test_without_a_folder_named_the_cache_is_beside_the_package_or_the_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config, "CACHE_DIR", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    beside, ours = Path(_jit.__file__).parent / "__pycache__", _jit._is_ours
    monkeypatch.setattr(_jit, "_is_ours", lambda folder: folder == beside or ours(folder))
    assert _jit.cache_folder() == beside
    monkeypatch.setattr(_jit, "_is_ours", lambda folder: folder != beside and ours(folder))
    users = _jit.cache_folder()
    assert users is not None
    assert users.parent.name == "numba"
    if sys.platform == "linux":
        assert users.is_relative_to(tmp_path / "home")
    monkeypatch.setattr(_jit, "_is_ours", lambda folder: False)
    assert _jit.cache_folder() is None


# --- a user's functions ---------------------------------------------------------------------------------------------


def test_a_users_function_is_compiled_once_and_no_kernel_for_it() -> None:
    def g(x: float) -> float:
        return 3.0 * x

    X = np.ones((4, 3))
    jn.Network([3, 2], dtype="float64").predict(X)
    before = len(plain.forward.serial.signatures)
    nets = [jn.Network([3, 2], output=jn.Activation("mine", g=g, dg=lambda x: 3.0), dtype="float64") for _ in range(2)]
    assert nets[0].layout.g_address[0] == nets[1].layout.g_address[0] != 0
    np.testing.assert_array_equal(nets[0].predict(X), nets[1].predict(X))
    assert len(plain.forward.serial.signatures) == before
    single = jn.Network([3, 2], output=jn.Activation("mine", g=g, dg=lambda x: 3.0), dtype="float32")
    assert single.layout.g_address[0] not in (0, nets[0].layout.g_address[0])


# --- forks and threads of Python ------------------------------------------------------------------------------------

TRAIN = f"""
import os, sys, threading
import numba, numpy as np
import jitnet as jn
from jitnet import _jit

def train(seed, threads=None):
    rng = np.random.default_rng(seed)
    X, T = rng.normal(size=({POINTS}, {WIDTHS[0]})), rng.normal(size=({POINTS}, 2))
    net = jn.Network({WIDTHS}, activation="tanh", dtype="float64", seed=seed)
    net.fit(X, T, batch_size={BATCH}, epochs=5, dropout=0.1, clip_norm=1.0, threads=threads)
    return net.theta

try:
    numba.get_num_threads(), numba.set_num_threads(2), train(0)
    layer = numba.threading_layer()
except ValueError as error:  # this machine has no such layer
    print(error)
    sys.exit(77)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("layer", ["omp", "workqueue"])
def test_a_child_of_a_fork_trains(layer: str) -> None:
    """GNU OpenMP kills a forked child at its first parallel region; the child runs the serial build instead."""
    train(seed=1)  # compiled once, here, for all the processes below
    code = """
    assert layer == sys.argv[1], layer
    wanted = train(1)
    child = os.fork()
    if child == 0:
        try:
            for threads in (None, 1, 2):
                np.testing.assert_allclose(train(1, threads), wanted, rtol=1e-10)
            try:
                train(1, threads=10**6)
            except jn.InputError:
                os._exit(0)
        except BaseException as error:
            print(repr(error), flush=True)
        os._exit(1)
    status = os.waitpid(child, 0)[1]
    assert os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0, status
    np.testing.assert_array_equal(train(1), wanted)  # and the parent goes on in parallel
    """
    # Python 3.12 and later warn of any fork of a process with threads.
    python(TRAIN + textwrap.dedent(code), layer, warn="ignore", NUMBA_THREADING_LAYER=layer)


@pytest.mark.parametrize("layer", ["omp", "workqueue", "tbb"])
def test_two_python_threads_train_at_once(layer: str) -> None:
    """Numba's workqueue layer aborts the process when two threads launch at once; here they take turns."""
    train(seed=1)
    code = """
    assert layer == sys.argv[1], layer
    wanted = {seed: train(seed) for seed in range(4)}
    failures, barrier = [], threading.Barrier(4)

    def work(seed):
        try:
            barrier.wait()
            for k in range(6):
                np.testing.assert_array_equal(train(seed, (None, 1, 2)[k % 3]), wanted[seed])
        except BaseException as error:
            failures.append(repr(error))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures
    """
    python(TRAIN + textwrap.dedent(code), layer, NUMBA_THREADING_LAYER=layer)


# --- bounds ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_no_index_is_out_of_bounds(tmp_path: Path) -> None:
    """Kernels compiled with checks (serial ones, the same source), over shapes at the edges of every loop."""
    code = """
    import numpy as np
    import numba
    import jitnet as jn
    from jitnet import _jit, activations
    from jitnet.bare import bare

    def beyond(a):
        return a[len(a)]

    def beyond_bare(a):
        return bare(a)[len(a)]

    for reads in (beyond, beyond_bare):
        try:
            _jit.kernel(work=lambda a: 0.0)(reads)(np.ones(3))
        except IndexError:
            pass
        else:
            raise SystemExit("the checks are off")

    rng = np.random.default_rng(0)
    own = jn.Activation("own", g=lambda x: x, dg=lambda x: 1.0)
    for widths in ([1, 1], [2, 1], [1, 3, 1], [3, 5, 2, 4], [4, 1, 1, 3], [2, 17, 3]):
        for n, batch in ((1, 1), (2, 1), (7, 3), (9, None)):
            for bias in (True, False):
                names = rng.choice(["tanh", "relu", "softmax", "elu"], len(widths) - 2)
                hidden = [str(name) if k % 2 else own for k, name in enumerate(names)]
                rates = [0.0 if h == "softmax" else 0.3 for h in hidden]
                for output, loss in (("identity", "huber"), ("softmax", "cross_entropy"), ("softplus", "poisson")):
                    net = jn.Network(widths, activation=hidden, output=output, loss=loss, bias=bias, dtype="float64")
                    X = rng.normal(size=(n, widths[0]))
                    T = rng.integers(0, widths[-1], n) if loss == "cross_entropy" else rng.random((n, widths[-1]))
                    optimizer = rng.choice(["sgd", "momentum", "adam", "rmsprop", "amsgrad", "rprop", "adagrad"])
                    fit = dict(optimizer=str(optimizer), epochs=2, batch_size=batch, dropout=rates)
                    if (loss, widths[-1]) != ("cross_entropy", 1):  # nothing to learn: refused
                        net.fit(X, T, l1=0.1, clip_norm=1.0, **fit)
                    net.predict(X), net.loss(X, T), net.gradient(X, T), net.jacobian(X), net.jvp(X, X)
                    net.vjp(X, np.ones((n, widths[-1])))
    print("checked")
    """
    said = python(code, NUMBA_BOUNDSCHECK="1", NUMBA_NUM_THREADS="1", NUMBA_CACHE_DIR=str(tmp_path))
    assert said.strip().endswith("checked")
