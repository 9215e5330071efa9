"""Where parameters and neurons lie: theta, its views, the rows of x, y, delta, and the hash behind dropout."""

from __future__ import annotations

import copy
import pickle
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import jitnet as jn
from jitnet import layout
from jitnet.forms import FORMS, get_form

some_widths = st.lists(st.integers(1, 9), min_size=2, max_size=6)


@given(some_widths, st.booleans())
def test_views_cover_theta_once(widths: list[int], bias: bool) -> None:
    """Layer by layer W row-major, then b, without a gap and without an overlap."""
    net = jn.Network(widths, bias=bias, dtype="float64")
    net.theta[:] = np.arange(net.size)
    at = 0
    for m, (n_in, n_out) in enumerate(pairwise(widths)):
        assert net.W[m].shape == (n_out, n_in)
        assert np.array_equal(net.W[m].ravel(), np.arange(at, at + n_out * n_in))
        at += n_out * n_in
        assert net.b[m].shape == ((n_out,) if bias else (0,))
        assert np.array_equal(net.b[m], np.arange(at, at + len(net.b[m])))
        at += len(net.b[m])
    assert at == net.size == len(net.theta) == layout.parameters(net.layout)
    assert len(net.W) == len(net.b) == len(widths) - 1


@given(some_widths)
def test_neurons_cover_a_row_once(widths: list[int]) -> None:
    """Layer m of a data point's row has the columns behind those of layer m - 1."""
    net = jn.Network(widths).layout
    row = np.arange(sum(widths[1:]))
    parts = [layout.neurons(net, row, m) for m in range(len(widths) - 1)]
    assert [len(part) for part in parts] == widths[1:]
    assert np.array_equal(np.concatenate(parts), row)
    assert net.y_at[-1] == len(row)


def test_views_are_the_parameters() -> None:
    """Writing into W, b or theta is writing into all of them, and into what is computed."""
    net = jn.Network([2, 3, 1], init="zeros", dtype="float64")
    net.W[1][0, 2] = 7.0
    net.b[0] = [1, 2, 3]
    net.W[0] = np.ones((3, 2), np.float32)
    assert net.theta.tolist() == [1, 1, 1, 1, 1, 1, 1, 2, 3, 0, 0, 7, 0]
    net.theta[-1] = 0.5
    assert net.b[1][0] == 0.5
    assert net.predict([[1.0, 1.0]])[0, 0] == 7 * 5 + 0.5
    net.theta *= 0
    assert not any(W.any() for W in net.W)


def test_wrong_parameters_are_refused() -> None:
    net = jn.Network([2, 3, 1])
    for given_ in (np.ones((2, 3)), np.ones(3), 1.0):
        with pytest.raises(jn.InputError, match=r"W\[0\]: shape .* given, \(3, 2\) is wanted"):
            net.W[0] = given_  # type: ignore[call-overload]
    with pytest.raises(jn.InputError, match=r"b\[1\]: nan at \[0\] given, finite numbers are wanted"):
        net.b[1] = [np.nan]
    net.W[1][0, 1] = np.inf
    with pytest.raises(jn.InputError, match=r"W\[1\]: inf at \[0, 1\] given, finite numbers are wanted"):
        net.predict([[1.0, 1.0]])


@pytest.mark.parametrize(
    "again", [copy.deepcopy, copy.copy, lambda net: pickle.loads(pickle.dumps(net)), jn.Network.copy]
)
def test_views_of_a_copy_are_its_own(again: object) -> None:
    """However a network is copied, its W and b are views of its theta, not of another's."""
    net = jn.Network([2, 3, 1], activation="tanh", dtype="float64", seed=3)
    other = again(net)  # type: ignore[operator]
    assert np.array_equal(other.theta, net.theta)
    assert np.shares_memory(other.W[0], other.theta)
    other.W[0][0, 0] = 99.0
    assert other.theta[0] == 99.0
    if not np.shares_memory(other.theta, net.theta):  # copy.copy may share, the others may not
        assert net.theta[0] != 99.0
    else:
        assert again is copy.copy
    by_hand = other.W[1] @ np.tanh(other.W[0] @ [1.0, 2.0] + other.b[0]) + other.b[1]
    assert other.predict([[1.0, 2.0]])[0] == pytest.approx(by_hand, rel=1e-13)


def test_work_fits_its_network() -> None:
    net = jn.Network([4, 3, 2]).layout
    work = layout.work(net, 7, 5, np.float32)
    shapes = {name: array.shape for name, array in work._asdict().items()}
    assert shapes["X"] == (7, 4)
    assert shapes["T"] == (7, 2)
    assert shapes["x"] == shapes["y"] == shapes["delta"] == (7, 5)
    assert shapes["g"] == shapes["before"] == (23,)
    assert shapes["L"] == (7,)
    assert shapes["partial"] == (5,)
    assert shapes["loss"] == shapes["loss_weight"] == (5,)
    assert {array.dtype.name for name, array in work._asdict().items() if name in ("X", "T", "x", "g")} == {"float32"}
    assert {work.L.dtype.name, work.partial.dtype.name, work.loss.dtype.name} == {"float64"}


# --- the hash behind dropout ----------------------------------------------------------------------------------------


def test_hash_is_splitmix64() -> None:
    """The published generator: the first outputs of seed 1234567 (java.util.SplittableRandom, Rosetta Code)."""
    state, outputs = 1234567, []
    for _ in range(5):
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        outputs.append(int(layout.hash64(np.array([state], np.uint64))[0]))
    assert outputs == [
        6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821,
    ]  # fmt: skip


def test_silence_is_uniform_and_independent() -> None:
    """Numbers in [0, 1), their mean, their histogram, and no likeness of neighbours in neuron, point and key."""
    n, column = np.arange(300, dtype=np.uint64)[:, None], np.arange(200, dtype=np.uint64)
    u = [layout.silence_number(np.uint64(key), n, column, np.uint64(200)) for key in (1, 2)]
    assert u[0].dtype == np.float64
    assert (u[0] >= 0).all()
    assert (u[0] < 1).all()
    size = u[0].size
    assert abs(u[0].mean() - 0.5) < 4 / np.sqrt(12 * size)
    counts = np.histogram(u[0], 20, (0, 1))[0]
    assert ((counts - size / 20) ** 2 / (size / 20)).sum() < 50  # χ² with 19 degrees of freedom: p = 1e-4
    for a, b in ((u[0][1:], u[0][:-1]), (u[0][:, 1:], u[0][:, :-1]), (u[0], u[1])):
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 4 / np.sqrt(a.size)
    assert len(np.unique(u[0])) == size


@pytest.mark.parametrize("form", FORMS)
def test_dropout_keeps_the_mean(form: str) -> None:
    """Silent neurons are 0, the others larger by 1 / (1 - p), in the share asked for; nothing is silent in predict."""
    net = jn.Network([1, 400, 1], activation="identity", init="zeros", dtype="float64", loss="linear", reduction="sum")
    net.b[0][:] = 1.0
    net.W[1][:] = 1.0
    N, p = 50, 0.3
    history = net.fit(
        np.zeros((N, 1)), np.zeros((N, 1)), optimizer=jn.SGD(lr=0.0), epochs=40, batch_size=None, dropout=p, form=form
    )
    outputs = np.array(history["loss"]) / N
    spread = np.sqrt(400 * p / (1 - p) / N)
    assert abs(outputs.mean() - 400) < 4 * spread / np.sqrt(40)
    assert 0.6 * spread < outputs.std() < 1.5 * spread
    assert net.predict([[0.0]], form=form)[0, 0] == 400.0
    assert net.loss([[0.0]], [[0.0]], form=form) == 400.0


def test_dropout_is_the_same_in_every_form_and_new_each_step() -> None:
    """A step's silent neurons follow from the seed and the step: the same in every form, others in the next step."""
    X, T, losses = np.ones((3, 2)), np.ones((3, 1)), {}
    for form in FORMS:
        net = jn.Network([2, 5, 4, 1], activation="sigmoid", dtype="float64", seed=1)
        fit = {"optimizer": jn.SGD(lr=0.0), "batch_size": None, "dropout": [0.5, 0.2], "form": form}
        losses[form] = net.fit(X, T, epochs=20, **fit)["loss"]
        assert get_form(form).__name__.endswith(form)
        assert len(set(losses[form])) == 20
        other = jn.Network([2, 5, 4, 1], activation="sigmoid", dtype="float64", seed=1)
        assert losses[form] == other.fit(X, T, epochs=12, **fit)["loss"] + other.fit(X, T, epochs=8, **fit)["loss"]
        assert losses[form] != other.fit(X, T, epochs=20, seed=2, **fit)["loss"]
    for form in FORMS:
        assert losses[form] == pytest.approx(losses["matrix"], rel=1e-13)
