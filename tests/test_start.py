"""What happens before the first step: imports, compiling, the cache."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
from numba.core import base, event, types
from numba.core.caching import NullCache
from numba.core.registry import cpu_target

import jitnet as jn
from jitnet import _compile, _jit
from jitnet.forms import tiled

ROOT = Path(__file__).resolve().parent.parent

IMPORT = """
import sys
import numba
of_numba = set(sys.modules)  # SciPy, where it is there
import jitnet
from jitnet.forms import tiled
optional = {"scipy", "sklearn", "polars", "matplotlib", "rich", "typer", "torch", "jax"} & set(sys.modules) - of_numba
assert not optional, optional
assert not tiled.steps.serial.signatures
assert not tiled.steps.parallel.signatures
"""


def test_importing_pulls_in_no_optional_package_and_compiles_nothing() -> None:
    subprocess.run([sys.executable, "-c", IMPORT], check=True, cwd=ROOT)


def test_another_architecture_compiles_nothing() -> None:
    """Nor do data with zeros, for training."""
    rng = np.random.default_rng(0)

    def fit(widths: list[int], activation: str, zeros: int = 100) -> None:
        X, T = rng.normal(size=(9, widths[0])), rng.normal(size=(9, widths[-1]))
        X[:, zeros:] = 0
        jn.Network(widths, activation=activation, dtype="float32").fit(X, T, epochs=1, batch_size=5)

    fit([2, 3, 1], "tanh")
    before = list(tiled.steps.serial.signatures)
    fit([4, 5, 6, 7, 2], "relu")
    fit([50, 300, 150, 2], "relu", zeros=3)
    assert before
    assert tiled.steps.serial.signatures == before


@numba.njit(no_cpython_wrapper=True)
def inner(x: float) -> float:
    return x + 1.0


@numba.njit
def callable_from_python(x: float) -> float:
    return 2.0 * x


def test_what_a_kernel_calls_waits_and_is_finished_when_somebody_wants_it() -> None:
    if not _compile.KNOWN:
        pytest.skip("Numba is built otherwise")

    @_jit.kernel(work=lambda x: 0.0)
    def outer(x: float) -> float:
        return inner(x) + callable_from_python(x)

    outer.serial._cache = NullCache()  # compiled here, also where an earlier run left its code
    assert outer.serial(1.0) == 4.0
    assert callable_from_python(1.5) == 3.0
    (code,) = inner.overloads.values()
    assert isinstance(code.library, _compile.WaitingLibrary)
    assert not code.metadata.get("timers")  # nobody listened to each call of LLVM for it
    (kernels_code,) = outer.serial.overloads.values()
    assert kernels_code.metadata["timers"]["llvm_lock"] > 0.0


def test_objects_that_a_user_froze_stay_frozen() -> None:
    """Garbage collection is put back as it was: what a server froze before it forks is still out of its sight."""
    with _compile._no_garbage_collection():
        assert not gc.isenabled()
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0
    gc.freeze()
    try:
        with _compile._no_garbage_collection():
            assert not gc.isenabled()
        assert gc.isenabled()
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()


def test_a_compilation_that_fails_leaves_numba_as_it_was() -> None:
    if not _compile.KNOWN:
        pytest.skip("Numba is built otherwise")

    @_jit.kernel(work=lambda x: 0.0, borrows=True)
    def wrong(x: float) -> float:
        return inner(x) + x.no_such_attribute  # type: ignore[attr-defined,no-any-return]

    generator = cpu_target.target_context.codegen()
    replaced = [(types.BaseFunction, "get_call_type"), (base, "_has_loc"), (event, "install_timer")]
    replaced += [(base.BaseContext, name) for name in ("get_abi_sizeof", "get_abi_alignment")]
    originals = [getattr(owner, name) for owner, name in replaced]
    with pytest.raises(numba.TypingError, match="no_such_attribute"):
        wrong.serial(1.0)
    assert [getattr(owner, name) for owner, name in replaced] == originals
    assert not {"create_library", "_pass_builder"} & set(vars(generator))
    assert gc.isenabled()


EITHER_ORDER = """
import sys, weakref
import numpy as np
import jitnet as jn
from jitnet.forms import tiled

X, y = np.sin(np.arange(600.0)).reshape(60, 10), np.arange(60) % 3
net = jn.Network([10, 7, 3], activation="tanh", output="softmax", loss="cross_entropy", seed=0)
if sys.argv[1] == "predict first":
    net.predict(X)
net.fit(X, y, optimizer="adam", epochs=2, batch_size=20)
print(net.predict(X).tobytes().hex(), net.theta.tobytes().hex())
(code,) = tiled.steps.serial.inspect_asm().values()
print(sum(line.startswith("\\t") and not line.startswith("\\t.") for line in code.splitlines()))
alive = weakref.ref(X)
del X
assert alive() is None, "compiling keeps the caller's arrays alive"
"""


def test_code_does_not_depend_on_what_was_compiled_before(tmp_path: Path) -> None:
    """The same instructions, bits, and nothing of the caller's kept alive, from two empty caches."""
    answers = []
    for order in ("predict first", "fit first"):
        environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / order)}
        script = [sys.executable, "-c", EITHER_ORDER, order]
        run = subprocess.run(script, env=environment, capture_output=True, text=True, timeout=300, check=False)
        assert run.returncode == 0, run.stderr
        answers.append(run.stdout)
    assert answers[0] == answers[1]


FROM_THE_CACHE = """
import sys
import numpy as np
import jitnet as jn
from jitnet import _jit
from jitnet.forms import tiled

_jit._LOADS_ALONE = sys.argv[1] == "alone"

X, y = np.sin(np.arange(600.0)).reshape(60, 10), np.arange(60) % 3
net = jn.Network([10, 7, 3], activation="tanh", output="softmax", loss="cross_entropy", seed=0)
net.fit(X, y, optimizer="adam", epochs=2, batch_size=20)
print(net.predict(X).tobytes().hex(), net.theta.tobytes().hex())
print("compiler" if "numba.np.arraymath" in sys.modules else "no compiler")
print(sum(tiled.steps.serial.stats.cache_misses.values()))
import numba
assert numba.njit(lambda a: np.sort(a)[0] + np.dot(a, a))(np.array([2.0, 1.0])) == 6.0
"""


def test_compiled_code_from_the_cache_comes_without_the_compiler(tmp_path: Path) -> None:
    """Which takes longer to fetch than all else; who compiles after that has it."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    answers = []
    for how in ("alone", "alone", "as Numba does"):
        run = subprocess.run(
            [sys.executable, "-c", FROM_THE_CACHE, how], env=environment, capture_output=True, text=True, timeout=300,
            check=False,
        )  # fmt: skip
        assert run.returncode == 0, run.stderr
        answers.append(run.stdout.splitlines())
    bits, fetched, misses = zip(*answers, strict=True)
    assert len(set(bits)) == 1
    assert fetched == ("compiler", "no compiler", "compiler")
    assert misses == ("1", "0", "0")


def leaf() -> None:
    pass


def pages_touched(depth: int) -> int:
    """First touches of memory in 500 calls so many frames below."""
    if depth:
        return pages_touched(depth - 1)
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(500):
        leaf()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(os.name != "posix", reason="the system does not count them")
@pytest.mark.skipif(sys.implementation.name != "cpython", reason="its frames lie elsewhere")
def test_what_compiles_has_room_for_the_frames_below() -> None:
    """Elsewhere there is a depth at which each call maps memory and gives it back: one in 150."""

    def most(signature: Any) -> int:
        return max(pages_touched(depth) for depth in range(300))

    assert most(None) >= 500
    assert _compile.apart(most)(None) < 50
