"""The index forms beside the matrix form, their builds beside each other, their bits for any number of threads."""

from __future__ import annotations

import hashlib
import inspect
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import HIDDEN, OWN, OWN_LOSS, PAIRS, Array, Case, draw, everything, random_case, relative, worst
from numba import types

import jitnet as jn
from jitnet import _jit, layout
from jitnet.forms import FORMS, get_form, matrix, plain, tiled
from jitnet.optimizers import OPTIMIZERS, Rprop, UpdateRule, rates

WIDTHS, POINTS, DEPTH = (1, 3, 7, 8, 9, 17, 31, 32, 33, 65), (1, 2, 15, 16, 17, 31, 32, 33, 65, 131), 4
"""Fewer and more neurons and data points than a register tile, a panel, two panels have, by one and by many."""

BOUND = {"float64": 1e-12, "float32": 2e-5}

INDEX_FORMS = {"plain": plain, "tiled": tiled}

KERNELS = {
    (form, name): kernel
    for form, module in INDEX_FORMS.items()
    for name, kernel in vars(module).items()
    if isinstance(kernel, _jit.Kernel) and name != "outputs_and_losses_skipping_zeros"
}
"""Every compiled loop nest that all forms have, by its form and name; test_nonzeros.py has the one more of tiled."""


# --- the index forms against the matrix form ------------------------------------------------------------------------


def agree(case: Case) -> bool:
    """Hold the forms against each other in both dtypes; False where the numbers do not allow it.

    A case is of no use in float32 where rounding alone changes a result by more than 3e-6: it then lies on a kink or a
    step, or a sum of few terms cancels. The matrix form tells, float32 from float64; the others have no part in it.
    """
    jacobian = case.widths[-1] <= 17
    with np.errstate(all="ignore"):  # what overflows is drawn again
        exact = {dtype: everything(case, "matrix", dtype, jacobian=jacobian) for dtype in BOUND}
    if not worst(exact["float32"], exact["float64"])[0] <= 3e-6:
        return False
    for dtype, bound in BOUND.items():
        for form in INDEX_FORMS:
            difference, where = worst(everything(case, form, dtype, jacobian=jacobian), exact[dtype])
            assert difference <= bound, f"{where} of {form} in {dtype} differs by {difference:.2e} in {case}"
    return True


@pytest.mark.parametrize("hidden", HIDDEN)
def test_every_activation_with_every_loss(hidden: str) -> None:
    """This activation in all hidden layers, with every loss and output; shapes, bias, weights, reduction at random."""
    rng = np.random.default_rng([1, *hidden.encode()])
    tried = 0
    for loss, output in PAIRS:
        done = False
        while not done:
            M, N = int(rng.integers(1, DEPTH + 1)), int(rng.choice(POINTS))
            widths = [int(w) for w in rng.choice(WIDTHS, M + 1)]
            if N * np.dot(widths[:-1], widths[1:]) > 60_000:  # large ones are in the tests below
                continue
            tried += 1
            done = agree(draw(rng, widths=widths, N=N, activation=[hidden] * (M - 1), output=output, loss=loss))
    assert tried < 1.5 * len(PAIRS)


@pytest.mark.parametrize("N", POINTS)
def test_every_shape(N: int) -> None:
    """Every width at every depth, with these many points, and another activation in each layer."""
    rng = np.random.default_rng([2, N])
    for depth in range(1, DEPTH + 1):
        for width in WIDTHS:
            widths = [width, *(int(w) for w in rng.choice(WIDTHS, depth - 1)), width]
            while not agree(random_case(rng, widths=widths, N=N)):
                pass


def test_the_widest() -> None:
    """65 neurons in each of four layers."""
    rng = np.random.default_rng(3)
    while not agree(random_case(rng, widths=[65] * 5, N=130)):
        pass


def test_forms_have_the_same_functions() -> None:
    """The same names, with arguments of the same names in the same order."""
    names = [{name for form, name in KERNELS if form == each} for each in INDEX_FORMS]
    assert names[0] == names[1] == set(vars(matrix)) & names[0]
    for (_, name), kernel in KERNELS.items():
        ours, theirs = (
            list(inspect.signature(f).parameters) for f in (kernel.py_func, getattr(get_form("matrix"), name))
        )
        assert ours == theirs[: len(ours)]
        assert theirs[len(ours) :] in ([], ["dropout"])


def test_forms_by_name() -> None:
    assert get_form("plain") is plain
    assert get_form("auto") is get_form("tiled") is tiled
    assert get_form("matrix") is matrix
    assert [get_form(name).__name__ for name in FORMS] == [f"jitnet.forms.{name}" for name in FORMS]
    with pytest.raises(jn.InputError, match="did you mean 'matrix'"):
        get_form("matrx")


# --- whole trainings ------------------------------------------------------------------------------------------------


def train(rule: type[UpdateRule], form: str, dtype: str = "float64", **settings: Any) -> Array:
    """theta after 4 epochs; single precision's numbers are a subset of double's, so both start from the same ones."""
    rng = np.random.default_rng(5)
    X = rng.normal(size=(23, 3))
    T = np.column_stack([np.sin(X[:, 0]) + X[:, 1], X[:, 2] * X[:, 0]])
    if settings.pop("weighted"):
        settings["sample_weight"] = rng.uniform(0.2, 2.0, 23) * (np.arange(23) % 5 > 0)
    net = jn.Network([3, 5, 4, 2], activation=["tanh", OWN], bias=settings.pop("bias"), dtype=dtype, seed=4)
    batch = None if rule.full_batch_only else 7  # the last step of an epoch has 2 points
    net.fit(X, T, optimizer=rule(), epochs=4, batch_size=batch, form=form, **settings)
    return net.theta


RULES = [rule for rule in OPTIMIZERS.values() if issubclass(rule, UpdateRule)]
PENALTIES = ({}, {"l1": 0.01}, {"l2": 0.1}, {"l1": 0.02, "l2": 0.05})
LIMITS = ({}, {"clip_value": 0.05}, {"clip_norm": 0.1}, {"clip_value": 0.1, "clip_norm": 0.2})
DROPOUTS = ({}, {"dropout": 0.4}, {"dropout": [0.0, 0.6]})


@pytest.mark.parametrize("form", INDEX_FORMS)
@pytest.mark.parametrize("rule", dict.fromkeys(RULES))
def test_training_in_every_form(rule: type[UpdateRule], form: str) -> None:
    """Every optimiser with every penalty, limit, dropout and weights, 16 steps, to 1e-10.

    Not 1e-12: a step starts from the rounding of all steps before it, and where an optimiser divides by the size of the
    gradient, a small gradient's rounding counts as much as a large one's.
    """
    rng = np.random.default_rng(6)
    seen = set()
    limits = LIMITS if rule is not Rprop else LIMITS[:1]  # which knows the gradient's signs alone
    for penalty in PENALTIES:
        for limit in limits:
            for dropout in DROPOUTS:
                weighted, bias = (bool(k) for k in rng.integers(0, 2, 2))
                settings = {**penalty, **limit, **dropout, "weighted": weighted, "bias": bias}
                ours = train(rule, form, **settings)
                assert relative(ours, train(rule, "matrix", **settings)) <= 1e-10, settings
                seen.add(ours.tobytes())
    assert len(seen) == len(PENALTIES) * len(limits) * len(DROPOUTS)  # each setting has an effect of its own


# --- the same bits --------------------------------------------------------------------------------------------------


PURE = sorted(key for key in KERNELS if key[1] != "steps")
"""The kernels that change nothing that they are given."""

UGLY = [([1, 1], 1), ([3, 1, 2], 5), ([7, 65, 17, 3], 131), ([2, 3, 4, 1], 1001), ([129, 5, 67], 31)]
"""Widths and numbers of data points that no power of two divides; some under the serial threshold, some above."""


FUNCTIONS = (("tanh", "cross_entropy"), ("gelu", "huber"), ("softmax", "log_cosh"), (OWN, OWN_LOSS))
"""Activations of the hidden layers, and losses."""


def arguments(
    widths: list[int], N: int, dtype: str, activation: str | jn.Activation, loss: str | jn.Loss
) -> dict[str, Any]:
    """What the kernels take, by the names of their arguments."""
    rng = np.random.default_rng(N)
    output = "softmax" if loss == "cross_entropy" else "identity"
    net = jn.Network(widths, activation=activation, output=output, loss=loss, dtype=dtype, seed=N)
    net.theta += 0.1 * rng.normal(size=net.size).astype(dtype)
    X, T, V = (rng.normal(size=(N, n)).astype(dtype) for n in (net.n_in, net.n_out, net.n_in))
    x, y = plain.forward.serial(net.layout, net.theta, X)
    c = rng.random(N).astype(dtype)
    delta = plain.backward.serial(net.layout, net.theta, x, y, T, c)
    return {
        "net": net.layout, "theta": net.theta, "X": X, "T": T, "c": c, "x": x, "y": y, "delta": delta, "V": V, "U": T,
    }  # fmt: skip


def bits(result: Any) -> list[bytes]:
    """The bytes of an array, or of several."""
    return [array.tobytes() for array in (result if isinstance(result, tuple) else (result,))]


def in_every_way(kernel: _jit.Kernel, *args: Any) -> Iterator[tuple[str, Any]]:
    """The result of the serial build, and of the parallel build with 1 thread and with 2."""
    yield "serial", kernel.serial(*args)
    for threads in (1, 2):
        with _jit.use_threads(threads):
            yield f"parallel, {threads} threads", kernel.parallel(*args)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("form", "name"), PURE)
def test_kernels_give_the_same_bits(form: str, name: str, dtype: str) -> None:
    """Parallel with one thread and with two; serial too, where it is the same code.

    The serial build of plain's `outputs` is other machine code, in which LLVM takes a softmax's sum in other vectors.
    Which build runs depends on the size of the work alone.
    """
    kernel = KERNELS[form, name]
    for widths, N in UGLY:
        for activation, loss in FUNCTIONS:
            known = arguments(widths, N, dtype, activation, loss)
            args = [known[parameter] for parameter in inspect.signature(kernel.py_func).parameters]
            results = {way: bits(result) for way, result in in_every_way(kernel, *args)}
            one, two = results["parallel, 1 threads"], results["parallel, 2 threads"]
            assert one == two, (widths, N, activation, loss)
            if (form, name) == ("plain", "outputs"):
                serial, parallel = kernel.serial(*args), kernel.parallel(*args)
                assert relative(parallel, serial) <= (1e-15 if dtype == "float64" else 1e-6)
            else:
                assert one == results["serial"], (widths, N, activation, loss)


def steps_arguments(form: str, rule: UpdateRule, widths: list[int], N: int, dtype: str) -> list[Any]:
    """Three steps of everything that a step can have."""
    known = arguments(widths, N, dtype, "tanh", "half_squared_error")
    net, theta, batch, steps = known["net"], known["theta"], N // 2 + 1, 3
    t = np.arange(steps)
    rates_of_dropout = np.full(len(widths) - 1, 0.3)
    rates_of_dropout[-1] = 0.0
    return [
        net,
        theta,
        layout.Data(known["X"], known["T"], known["c"], np.arange(steps * batch, dtype=np.intp) % N, batch),
        layout.Rule(
            mean=True, optimizer=rule.code, state=rule.initial_state(len(theta), dtype),
            coefficients=rule.coefficients(t, rates(rule, t)).astype(dtype), l1=1e-4, l2=1e-3, clip_value=0.5,
            clip_norm=0.01, dropout_rates=rates_of_dropout, dropout_keys=np.arange(1, steps + 1, dtype=np.uint64),
        ),
        INDEX_FORMS[form].work(net, batch, steps, dtype),
    ]  # fmt: skip


@pytest.mark.usefixtures("buffers_for_all_threads")
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("form", INDEX_FORMS)
def test_steps_give_the_same_bits(form: str, dtype: str) -> None:
    """theta, what the optimiser remembers, and the losses, of every optimiser."""
    steps = INDEX_FORMS[form].steps
    for rule in dict.fromkeys(RULES):
        for widths, N in UGLY:
            ways = []
            for threads in (None, 1, 2, 7):  # None: the serial build
                with _jit.use_threads(1 if threads is None else min(threads, 2)):
                    net, theta, data, settings, work = steps_arguments(form, rule(), widths, N, dtype)
                if threads == 7 and form == "tiled":  # more workers than threads
                    batch = data.batch
                    with pytest.MonkeyPatch.context() as patch:
                        patch.setattr(_jit, "threads_for", lambda work: 7)
                        work = tiled.work(net, batch, 3, dtype)
                    assert work.workers == 7
                for _ in range(2):  # the second time from what the first left behind
                    if threads is None:
                        taken = steps.serial(net, theta, data, settings, work)
                    else:
                        with _jit.use_threads(min(threads, 2)):
                            taken = steps.parallel(net, theta, data, settings, work)
                    assert taken == 3
                ways.append((theta, settings.state, work.loss, work.loss_weight))
            serial, one, two, seven = ways
            assert bits(one) == bits(two) == bits(seven), (rule, widths, N)
            if form == "tiled":  # vectors and tiles leave LLVM no choice
                assert bits(serial) == bits(one), (rule, widths, N)
            # Plain's serial build is other machine code, in which LLVM may fuse other products into sums. Which build
            # runs depends on the size of the work alone.
            for ours, theirs in zip(serial, one, strict=True):
                np.testing.assert_allclose(ours, theirs, rtol=1e-4 if dtype == "float32" else 1e-10, atol=1e-6)


@pytest.mark.parametrize(("widths", "above"), [([3, 4, 2], False), ([70, 129, 31], True)])
def test_fit_gives_the_same_bits(widths: list[int], above: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Below and above the serial threshold, with 1 and 2 threads, and with the other build of every kernel."""
    rng = np.random.default_rng(8)
    X, T = rng.normal(size=(131, widths[0])), rng.normal(size=(131, widths[-1]))
    assert (50 * jn.Network(widths).size > _jit.SERIAL_WORK) is above
    results = []
    for limit in (_jit.SERIAL_WORK, 0.0, np.inf):
        monkeypatch.setattr(_jit, "SERIAL_WORK", limit)
        for threads in (1, 2):
            net = jn.Network(widths, activation="silu", dtype="float64", seed=1)
            history = net.fit(
                X, T, epochs=3, batch_size=50, dropout=0.2, l2=1e-3, clip_norm=1.0, threads=threads, validation=(X, T)
            )
            results.append(bits((net.theta, np.array([history["loss"], history["val_loss"]]))))
    assert all(result == results[0] for result in results)


SOFTMAX_OF_65 = """
import hashlib, numpy, jitnet
X = numpy.random.default_rng(0).normal(size=(131, 7))
net = jitnet.Network([7, 65, 17, 3], activation="softmax", dtype="float64")
Y = [net.predict(X, form=form) for form in ("plain", "tiled")]
print(hashlib.sha256(numpy.concatenate(Y).tobytes()).hexdigest())
"""

EVERYTHING = "import test_forms; print(test_forms.all_bits())"


def all_bits() -> str:
    """A digest of what every kernel computes, in both builds."""
    digest = hashlib.sha256()
    for form, name in PURE:
        kernel = KERNELS[form, name]
        for widths, N in UGLY:
            for activation, loss in FUNCTIONS:
                known = arguments(widths, N, "float64", activation, loss)
                args = [known[parameter] for parameter in inspect.signature(kernel.py_func).parameters]
                for _, result in in_every_way(kernel, *args):
                    digest.update(b"".join(bits(result)))
    for form, module in INDEX_FORMS.items():
        for rule in dict.fromkeys(RULES):
            for widths, N in UGLY:
                for build in (module.steps.serial, module.steps.parallel):
                    args = steps_arguments(form, rule(), widths, N, "float64")
                    build(*args)
                    digest.update(b"".join(bits((args[1], args[3].state, args[4].loss))))
    return digest.hexdigest()


@pytest.mark.parametrize("program", [SOFTMAX_OF_65, pytest.param(EVERYTHING, marks=pytest.mark.slow)])
def test_code_from_the_cache_gives_the_same_bits(program: str, tmp_path: Path) -> None:
    """What was just compiled and what was kept are one code, as two runs of a program must not differ."""
    folders = [str(Path(__file__).parent), str(Path(jn.__file__).parents[1])]
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(folders)}
    runs = [
        subprocess.run(
            [sys.executable, "-c", program], env=environment, check=True, capture_output=True, text=True
        ).stdout
        for _ in range(2)
    ]
    assert len(runs[0].strip()) == 64
    assert list(tmp_path.rglob("*.nbc"))
    assert runs[0] == runs[1]


def exercise(dtype: str, variant: int, folder: Path) -> None:
    """Everything that a network does, with arrays of all kinds: cast, strided, read-only, in a file, lists."""
    rng = np.random.default_rng(variant)
    widths = [[2, 1], [3, 4, 2], [1, 2, 3, 4, 5], [130, 20, 40]][variant]
    net = jn.Network(
        widths,
        activation=["relu", OWN, jn.Activation("elu", alpha=2), "softmax"][variant],
        output=["identity", "tanh", OWN, "softmax"][variant],
        loss=["squared_error", jn.Loss("huber", delta=2), OWN_LOSS, "cross_entropy"][variant],
        reduction=["mean", "sum", "mean", "sum"][variant],
        bias=variant != 1,
        dtype=dtype,
    )
    X, T = rng.normal(size=(33, net.n_in)), np.eye(net.n_out)[rng.integers(0, net.n_out, 33)]
    stored = np.memmap(folder / f"{dtype}{variant}", dtype, "w+", shape=X.shape)
    stored[:] = X
    frozen, frozen_T, frozen_weight = X.astype(dtype), T.astype(dtype), np.ones(33, dtype)
    for array in (frozen, frozen_T, frozen_weight):
        array.flags.writeable = False
    for given in (X, X.astype(np.float16), np.asfortranarray(X), np.repeat(X, 2, 0)[::2], X.tolist(), frozen, stored):
        net.predict(given)
        net.loss(given, T)
        net.gradient(given, frozen_T, sample_weight=np.arange(33))
        net.jacobian(given)
        net.jvp(given, given)
        net.vjp(given, frozen_T)
        net.fit(
            given,
            T,
            optimizer=[jn.SGD(lr=1), jn.Adam(), jn.Nesterov(lr=jn.Exponential(0.1, factor=0.9)), jn.RMSProp()][variant],
            epochs=1,
            sample_weight=frozen_weight,
            l1=0,
            dropout=[0, 0.5, 0.5, 0][variant],
            clip_value=[None, 3, 1.0, None][variant],
            validation=(given, T),
            metrics=["accuracy"],
        )


def test_one_compilation_a_dtype(tmp_path: Path) -> None:
    """No architecture, function or kind of array makes a kernel compile again: one signature for each dtype.

    Other tests may have trained on sparse rows, for which there is another one.
    """
    for dtype in ("float64", "float32"):
        for variant in range(4):
            exercise(dtype, variant, tmp_path)
    starts = layout.Data._fields.index("starts")
    compiled = {
        f"{form}.{name}, {build}": sum(
            all(
                getattr(kind, "instance_class", None) is not layout.Data or kind[starts] == types.none for kind in kinds
            )
            for kinds in getattr(kernel, build).signatures
        )
        for (form, name), kernel in KERNELS.items()
        for build in ("serial", "parallel")
    }
    assert max(compiled.values()) <= 2, compiled
    used = ("outputs", "outputs_and_losses", "steps", "gradient", "jacobian", "jvp", "vjp")
    assert {compiled[f"tiled.{name}, serial"] for name in used} == {2}, compiled
