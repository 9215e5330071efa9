"""`fit`: each step against a loop written by hand; batches and their order; what may not be combined."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from by_hand import FORMS, N, descend, make_data, network, settings_of

import jitnet as jn
from jitnet import training
from jitnet.shuffle import shuffled


@pytest.fixture
def data() -> tuple[np.ndarray, np.ndarray]:
    return make_data()


# --- steps ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_full_batch_gradient_descent_is_F10(form: str, data: Any) -> None:
    net = network()
    theta, losses = descend(net.theta, *data, [np.arange(N)] * 30, lambda t: 0.3)
    history = net.fit(*data, optimizer=jn.GD(lr=0.3), batch_size=None, epochs=30, form=form)
    np.testing.assert_allclose(net.theta, theta, rtol=1e-11, atol=1e-14)
    np.testing.assert_allclose(history["loss"], losses, rtol=1e-12)
    assert history["step"] == list(range(1, 31))
    assert history["epoch"] == list(range(30))


def test_full_batch_descent_of_a_sum_is_that_of_the_mean_with_a_rate_n_times_as_large(data: Any) -> None:
    mean, total = network(), network(reduction="sum")
    a = mean.fit(*data, optimizer=jn.SGD(lr=0.1), batch_size=None, epochs=20)
    b = total.fit(*data, optimizer=jn.SGD(lr=0.1 / N), batch_size=None, epochs=20)
    np.testing.assert_allclose(mean.theta, total.theta, rtol=1e-11)
    np.testing.assert_allclose(np.array(a["loss"]) * N, b["loss"], rtol=1e-12)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("batch", [1, 4, 23])
def test_mini_batches_in_order_with_a_short_last_one(form: str, batch: int, data: Any) -> None:
    """Single points (seed 001), and 23 points in fours: the last batch has 3, and the mean is over those 3."""
    net = network()
    rows = [np.arange(at, min(at + batch, N)) for at in range(0, N, batch)] * 2
    theta, losses = descend(net.theta, *data, rows, lambda t: 0.05)
    history = net.fit(*data, optimizer=jn.SGD(lr=0.05), batch_size=batch, shuffle=False, epochs=2, form=form)
    np.testing.assert_allclose(net.theta, theta, rtol=1e-11, atol=1e-14)
    sizes = [len(r) for r in rows]
    each = np.array(losses) * sizes  # an epoch's loss is the mean over its data points
    half = len(rows) // 2
    np.testing.assert_allclose(history["loss"], [each[:half].sum() / N, each[half:].sum() / N], rtol=1e-12)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("replacement", [False, True])
def test_shuffled_and_drawn_batches(form: str, replacement: bool, data: Any) -> None:
    net = network()
    fit: dict[str, Any] = {"batch_size": 5, "replacement": replacement, "seed": 9}
    settings = settings_of(**fit)
    orders = [training.epoch_order(N, settings, epoch) for epoch in range(3)]
    batches = [order[at : at + 5] for order in orders for at in range(0, len(order), 5)]
    theta, _ = descend(net.theta, *data, batches, lambda t: 0.05)
    net.fit(*data, optimizer=jn.SGD(lr=0.05), epochs=3, form=form, **fit)
    np.testing.assert_allclose(net.theta, theta, rtol=1e-11, atol=1e-14)


def test_a_shuffled_epoch_has_every_data_point_once_and_an_order_of_its_own() -> None:
    settings = settings_of(batch_size=5, seed=1)
    orders = [training.epoch_order(N, settings, epoch) for epoch in range(20)]
    for order in orders:
        assert sorted(order) == list(range(N))
    assert len({tuple(order) for order in orders}) == 20
    first = np.array([training.epoch_order(6, settings, epoch)[0] for epoch in range(3000)])
    assert abs(np.bincount(first, minlength=6) - 500).max() < 100  # 5 standard deviations of a fair die


@pytest.mark.parametrize("n", [2, 3, 64, 1000])
def test_an_order_is_that_of_fisher_and_yates(n: int) -> None:
    """With whole numbers as large as they like."""
    key = int(np.random.SeedSequence(7, spawn_key=(3,)).generate_state(1, np.uint64)[0])
    order, largest = list(range(n)), (1 << 64) - 1
    for place in range(n - 1, 0, -1):
        z = (key + place * 0x9E3779B97F4A7C15) & largest
        z = ((z ^ z >> 30) * 0xBF58476D1CE4E5B9) & largest
        z = ((z ^ z >> 27) * 0x94D049BB133111EB) & largest
        drawn = (z ^ z >> 31) * (place + 1) >> 64
        order[place], order[drawn] = order[drawn], order[place]
    assert shuffled(n, 7, 3).tolist() == order


def test_every_order_is_as_likely() -> None:
    orders, counts = np.unique([shuffled(4, 1, epoch) for epoch in range(6000)], axis=0, return_counts=True)
    assert len(orders) == 24
    chi2 = ((counts - 250) ** 2 / 250).sum()
    assert 6 < chi2 < 58  # 23 degrees of freedom: outside about once in 10,000
    assert [shuffled(n, 1, 0).tolist() for n in (0, 1)] == [[], [0]]


def test_draws_with_replacement_are_uniform_and_fill_whole_batches() -> None:
    settings = settings_of(batch_size=5, replacement=True, seed=1)
    orders = [training.epoch_order(N, settings, epoch) for epoch in range(400)]
    assert {len(order) for order in orders} == {25}  # ceil(23 / 5) steps of 5
    counts = np.bincount(np.concatenate(orders), minlength=N)
    assert len(counts) == N
    chi2 = ((counts - counts.mean()) ** 2 / counts.mean()).sum()
    assert 5 < chi2 < 55  # 22 degrees of freedom: outside about once in 10,000
    assert any(len(set(order)) < len(order) for order in orders)


def test_the_seed_decides_the_order(data: Any) -> None:
    def theta(seed: int | None, **fit: Any) -> np.ndarray:
        net = network(seed=3)
        net.fit(*data, epochs=2, batch_size=5, seed=seed, **fit)
        return net.theta

    np.testing.assert_array_equal(theta(1), theta(1))
    np.testing.assert_array_equal(theta(None), theta(3))  # the network's
    assert not np.array_equal(theta(1), theta(2))
    np.testing.assert_array_equal(theta(1, shuffle=False), theta(2, shuffle=False))


def test_the_full_batch_is_summed_in_order_whatever_the_seed(data: Any) -> None:
    nets = [network() for _ in range(3)]
    for seed, net in enumerate(nets):
        net.fit(*data, batch_size=None, epochs=3, seed=seed)
        np.testing.assert_array_equal(net.theta, nets[0].theta)


def test_a_batch_larger_than_the_data_is_clipped_with_a_warning(data: Any) -> None:
    a, b = network(), network()
    with pytest.warns(UserWarning, match="batch_size: 24 given for 23 data points, 23 is used") as caught:
        a.fit(*data, batch_size=24, epochs=2)
    assert caught[0].filename == __file__
    b.fit(*data, batch_size=None, epochs=2)
    np.testing.assert_array_equal(a.theta, b.theta)
    with pytest.warns(UserWarning, match="batch_size"):  # no buffers for what is not there
        assert settings_of(batch_size=10**12).batch_size == N


def test_the_batch_is_32_or_all_by_default(data: Any) -> None:
    X, T = np.tile(data[0], (5, 1)), np.tile(data[1], (5, 1))
    assert network().fit(X, T, epochs=1)["step"] == [4]
    assert network().fit(*data, epochs=1)["step"] == [1]


def test_how_many_steps_python_asks_for_at_once_changes_no_bit(data: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock decides when Python looks on; neither parameters nor the recorded loss may follow it."""
    for optimizer in (jn.NAdam(lr=jn.Cosine(0.01, 500)), jn.Adam(lr=0.01)):
        runs = []
        for look_every, ahead in ((1e-9, 64), (1e9, 64), (1e-9, 0), (1e9, 5)):
            monkeypatch.setattr(training, "LOOK_EVERY", look_every)
            monkeypatch.setattr(training, "STEPS_AHEAD", ahead)
            net = network()
            history = net.fit(*data, batch_size=1, epochs=30, dropout=0.1, optimizer=optimizer)
            runs.append((net.theta, history["loss"], history["lr"]))
        for run in runs[1:]:
            for a, b in zip(run, runs[0], strict=True):
                np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("batch", [5, None])
def test_a_schedule_is_asked_for_no_step_that_does_not_come(batch: int | None, data: Any) -> None:
    """The user's function may fail there; and each step is asked for once, but for the first one's check."""
    asked = []
    fit: dict[str, Any] = {"batch_size": batch, "optimizer": jn.SGD(lr=lambda t: asked.append(t) or 0.1)}
    network().fit(*data, steps=17, **fit)
    assert asked == [0, *range(17)]


# --- what may not be combined ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["delta_bar_delta", "lbfgs"])
def test_full_batch_optimisers_refuse_anything_else(optimizer: str, data: Any) -> None:
    if optimizer == "lbfgs":
        pytest.importorskip("scipy")
    net = network()
    drawn = {"replacement": True}
    for fit in ({"batch_size": 22}, {"batch_size": 1}, drawn, {**drawn, "batch_size": None}):
        with pytest.raises(jn.InputError, match="full batch"):
            net.fit(*data, optimizer=optimizer, **fit)
    np.testing.assert_array_equal(net.theta, network().theta)
    for batch_size in ("auto", None, N):
        assert len(net.fit(*data, optimizer=optimizer, epochs=1, batch_size=batch_size)) == 1


def test_an_output_without_a_slope_is_warned_of(data: Any) -> None:
    for output in ("step", "sgn"):
        net = network(output=output)
        with pytest.warns(UserWarning, match=f"output '{output}' has derivative 0"):
            net.fit(*data, epochs=1)
