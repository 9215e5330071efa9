"""What may look on while a network trains and stop it, and what is left when it does, or when it fails."""

from __future__ import annotations

import _thread
import json
import sys
import threading
import time
from typing import Any

import numpy as np
import pytest

import jitnet as jn
from jitnet.training import Run


def network(**settings: Any) -> jn.Network:
    return jn.Network([3, 4, 2], **{"activation": "tanh", "dtype": "float64", **settings})


@pytest.fixture
def data() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    return rng.normal(size=(23, 3)), rng.normal(size=(23, 2))


# --- stopping -------------------------------------------------------------------------------------------------------


def test_epochs(data: Any) -> None:
    net = network()
    history = net.fit(*data, epochs=3, batch_size=5)
    assert history["epoch"] == [0, 1, 2]
    assert history["step"] == [5, 10, 15]
    assert history.stopped == net.history.stopped == "all epochs done"
    assert len(network().fit(*data)) == 10
    before = net.theta.copy()
    assert len(net.fit(*data, epochs=0)) == 0
    np.testing.assert_array_equal(net.theta, before)


@pytest.mark.parametrize("form", ["plain", "tiled", "matrix"])
@pytest.mark.parametrize(
    ("steps", "epochs", "rows"), [(12, None, [5, 10, 12]), (12, 2, [5, 10]), (5, None, [5]), (0, None, [])]
)
def test_steps(form: str, steps: int, epochs: int | None, rows: list[int], data: Any) -> None:
    net = network()
    history = net.fit(*data, steps=steps, epochs=epochs, batch_size=5, form=form)
    assert history.to_dict().get("step", []) == rows
    assert history.stopped == ("all epochs done" if epochs else f"{steps} steps done")
    again = net.fit(*data, steps=3, batch_size=5, form=form)  # counted anew, on top of what was
    assert again["step"] == [(rows[-1] if rows else 0) + 3]


def test_steps_inside_an_epoch_are_the_first_of_it(data: Any) -> None:
    net = network()
    net.fit(*data, steps=7, batch_size=1, shuffle=False, optimizer=jn.SGD(lr=0.1))
    same = network()
    same.fit(data[0][:7], data[1][:7], epochs=1, batch_size=1, shuffle=False, optimizer=jn.SGD(lr=0.1))
    np.testing.assert_array_equal(net.theta, same.theta)
    assert net.history["loss"] == same.history["loss"]


def test_loss(data: Any) -> None:
    full = network().fit(*data, epochs=30, optimizer=jn.Adam(lr=0.05))["loss"]
    history = network().fit(*data, epochs=30, optimizer=jn.Adam(lr=0.05), callbacks=[jn.StopAtLoss(full[11])])
    assert history["loss"] == full[:12]
    assert history.stopped is not None
    assert history.stopped.startswith("loss ")


def test_gradient_norm(data: Any) -> None:
    norms = []
    c = np.linspace(0, 1, 23)

    def note(run: Run) -> None:
        norms.append(float(np.linalg.norm(run.net.gradient(*data, sample_weight=c).theta)))
        assert run.gradient_norm() == norms[-1]

    fit: dict[str, Any] = {"epochs": 60, "optimizer": jn.GD(lr=0.3), "batch_size": None, "sample_weight": c}
    network().fit(*data, callbacks=[note], **fit)
    first = next(k for k, norm in enumerate(norms) if norm <= norms[40])
    history = network().fit(*data, callbacks=[jn.StopAtGradientNorm(norms[40])], **fit)
    assert len(history) == first + 1 < 60
    assert "gradient norm" in str(history.stopped)


@pytest.mark.parametrize(("n", "batch", "epochs"), [(2_000_000, 1, 1), (1500, None, 1_000_000)])
def test_time_budget(n: int, batch: int | None, epochs: int) -> None:
    """Looked at inside of a long epoch too."""
    rng = np.random.default_rng(0)
    X, T = rng.normal(size=(n, 3)), rng.normal(size=(n, 2))
    net = network()
    net.fit(X[:10], T[:10], epochs=1)  # what is compiled is not what is measured
    began = time.perf_counter()
    history = net.fit(X, T, epochs=epochs, batch_size=batch, callbacks=[jn.TimeBudget(0.4)])
    assert 0.4 <= time.perf_counter() - began < 10
    assert history.stopped == "time budget of 0.4 s"
    assert history.last()["step"] < epochs * (n if batch else 1)
    assert np.isfinite(history["loss"]).all()


def test_a_function_that_returns_true_stops(data: Any) -> None:
    def third(run: Run) -> bool:
        return run.epoch == 2

    history = network().fit(*data, callbacks=[third, lambda run: 1])  # only True itself stops
    assert len(history) == 3
    assert history.stopped == "callback third"


def test_a_method_that_returns_true_stops(data: Any) -> None:
    class Second(jn.Callback):
        def epoch(self, run: Run) -> bool:
            return run.epoch == 1

    assert network().fit(*data, callbacks=[Second()]).stopped == "callback Second"


def test_the_first_reason_is_the_one_told(data: Any) -> None:
    history = network().fit(*data, callbacks=[lambda run: run.stop("first"), lambda run: run.stop("second")])
    assert len(history) == 1
    assert history.stopped == "first"


def test_a_stop_before_the_first_step(data: Any) -> None:
    class Never(jn.Callback):
        def start(self, run: Run) -> None:
            run.stop("never")

    net = network()
    history = net.fit(*data, callbacks=[Never()])
    np.testing.assert_array_equal(net.theta, network().theta)
    assert (len(history), history.stopped) == (0, "never")


# --- early stopping -------------------------------------------------------------------------------------------------


def overfit(data: Any, **settings: Any) -> tuple[jn.Network, jn.History, list[np.ndarray]]:
    """Seven training points, sixteen others: the loss there falls, then rises."""
    net, thetas = network(), []
    history = net.fit(
        data[0][:7], data[1][:7], validation=(data[0][7:], data[1][7:]), epochs=60, optimizer=jn.Adam(lr=0.05),
        metrics=["r2"], callbacks=[lambda run: thetas.append(run.net.theta.copy()), *settings.pop("callbacks", [])],
        **settings,
    )  # fmt: skip
    return net, history, thetas


@pytest.mark.parametrize("patience", [1, 3, 10])
def test_early_stopping_brings_the_best_parameters_back(patience: int, data: Any) -> None:
    _, full, thetas = overfit(data)
    losses = full["val_loss"]
    best, waited, last = 0, 0, len(losses) - 1
    for epoch, loss in enumerate(losses):
        best, waited = (epoch, 0) if loss < losses[best] or epoch == 0 else (best, waited + 1)
        if waited == patience:
            last = epoch
            break
    assert 0 < best < last < 59
    net, history, _ = overfit(data, callbacks=[jn.EarlyStopping(patience=patience)])
    assert history["val_loss"] == losses[: last + 1]
    assert history.best_epoch == net.history.best_epoch == best
    assert history.stopped == f"val_loss has not improved for {patience} epochs"
    np.testing.assert_array_equal(net.theta, thetas[best])
    assert net.loss(data[0][7:], data[1][7:]) == losses[best]


def test_early_stopping_may_leave_the_last_parameters(data: Any) -> None:
    net, history, thetas = overfit(data, callbacks=[jn.EarlyStopping(patience=3, restore_best=False)])
    np.testing.assert_array_equal(net.theta, thetas[-1])
    assert history.best_epoch is None


def test_early_stopping_restores_also_where_epochs_run_out_or_training_fails(data: Any) -> None:
    _, full, thetas = overfit(data)
    best = int(np.argmin(full["val_loss"]))
    net, history, _ = overfit(data, callbacks=[jn.EarlyStopping(patience=1000)])
    np.testing.assert_array_equal(net.theta, thetas[best])
    assert history.stopped == "all epochs done"

    def fails(run: Run) -> None:
        if run.epoch == best + 2:
            raise RuntimeError("mine")

    net = network()
    with pytest.raises(RuntimeError, match="mine"):
        net.fit(
            data[0][:7], data[1][:7], validation=(data[0][7:], data[1][7:]), epochs=60, optimizer=jn.Adam(lr=0.05),
            callbacks=[jn.EarlyStopping(patience=1000), fails],
        )  # fmt: skip
    np.testing.assert_array_equal(net.theta, thetas[best])
    assert net.history.best_epoch == best


def test_early_stopping_watches_any_column(data: Any) -> None:
    _, full, _ = overfit(data)
    best = int(np.argmax(full["val_r2"]))
    _, history, _ = overfit(data, callbacks=[jn.EarlyStopping(patience=59, monitor="val_r2", maximize=True)])
    assert history.best_epoch == best
    _, history, _ = overfit(data, callbacks=[jn.EarlyStopping(patience=59, monitor="loss")])
    assert history.best_epoch == int(np.argmin(full["loss"]))


def test_early_stopping_on_the_training_loss_is_that_of_the_notes(data: Any) -> None:
    """Seed 002: stop when the loss stops improving; no validation is needed."""
    history = network().fit(
        *data, epochs=500, batch_size=None, optimizer=jn.Adam(lr=0.1),
        callbacks=[jn.EarlyStopping(patience=2, min_delta=1e-3, monitor="loss")],
    )  # fmt: skip
    assert 5 < len(history) < 500


def test_min_delta_asks_for_more(data: Any) -> None:
    lenient = overfit(data, callbacks=[jn.EarlyStopping(patience=2)])[1]
    strict = overfit(data, callbacks=[jn.EarlyStopping(patience=2, min_delta=1e3)])[1]
    assert len(strict) == 3 < len(lenient)  # the first is the best; two more do not improve
    assert strict.best_epoch == 0


def test_early_stopping_forgets_the_last_run(data: Any) -> None:
    stop = jn.EarlyStopping(patience=2)
    first = overfit(data, callbacks=[stop])
    second = overfit(data, callbacks=[stop])
    assert first[1]["val_loss"] == second[1]["val_loss"]
    np.testing.assert_array_equal(first[0].theta, second[0].theta)


def test_nan_is_never_the_best(data: Any) -> None:
    values = iter([float("nan"), 3.0, 2.0, float("nan"), 5.0])

    def mine(T: np.ndarray, Y: np.ndarray) -> float:
        return next(values)

    history = network().fit(*data, epochs=5, metrics=[mine], callbacks=[jn.EarlyStopping(patience=2, monitor="mine")])
    assert history.best_epoch == 2
    assert len(history) == 5


def test_early_stopping_needs_its_column(data: Any) -> None:
    net = network()
    for settings, says in (
        ({}, "'val_loss' given, which needs fit's validation="),
        ({"monitor": "losss"}, "unknown name 'losss'.*did you mean 'loss'.*known: epoch, loss, lr"),
    ):
        with pytest.raises(jn.InputError, match=f"EarlyStopping monitor: {says}"):
            net.fit(*data, callbacks=[jn.EarlyStopping(**settings)])
    np.testing.assert_array_equal(net.theta, network().theta)
    assert len(net.history) == 0
    assert net.continuation is None


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: jn.EarlyStopping(patience=0), "patience"),
        (lambda: jn.EarlyStopping(patience=1.5), "patience"),
        (lambda: jn.EarlyStopping(min_delta=-1), "min_delta"),
        (lambda: jn.StopAtLoss("a"), "StopAtLoss loss"),
        (lambda: jn.StopAtLoss(float("nan")), "StopAtLoss loss"),
        (lambda: jn.StopAtGradientNorm(-1), "StopAtGradientNorm norm"),
        (lambda: jn.TimeBudget(0), "TimeBudget seconds"),
        (lambda: jn.TimeBudget(float("inf")), "TimeBudget seconds"),
    ],
)
def test_bad_settings(make: Any, says: str) -> None:
    with pytest.raises(jn.InputError, match=says):
        make()


# --- what callbacks see ---------------------------------------------------------------------------------------------


def test_the_order_of_events_and_what_a_run_knows(data: Any) -> None:
    events: list[Any] = []
    chunks: list[int] = []

    class Listener(jn.Callback):
        def start(self, run: Run) -> None:
            events.append(("start", run.epoch, run.step, run.epochs, run.epoch_steps, list(run.columns)))

        def chunk(self, run: Run) -> None:
            # How many steps lie between two looks is the clock's choice; the first look comes after one step.
            assert np.isfinite(run.loss_now)
            assert run.step == 5 * (run.epoch % 3) + run.epoch_step
            chunks.append(run.step)

        def epoch(self, run: Run) -> None:
            assert run.row == run.history.last()
            assert run.row.items() <= run.net.history.last().items()
            assert run.seconds >= run.row["seconds"] > 0
            events.append(("epoch", run.epoch, run.step))

        def end(self, run: Run) -> None:
            events.append(("end", run.epoch, run.step))

    net = network()
    net.fit(*data, epochs=2, batch_size=5, callbacks=[Listener()], metrics=["mse"], validation=data)
    columns = ["epoch", "step", "loss", "lr", "seconds", "mse", "val_loss", "val_mse"]
    assert events == [
        ("start", 0, 0, 2, 5, columns),
        ("epoch", 0, 5),
        ("epoch", 1, 10),
        ("end", 1, 10),
    ]  # fmt: skip
    assert sorted(net.history) == sorted(columns)
    assert chunks[0] == 1
    assert chunks[-1] == 10
    events.clear()
    net.fit(*data, epochs=1, batch_size=5, callbacks=[Listener()])
    assert events[0][:3] == ("start", 2, 10)
    assert events[-2:] == [("epoch", 2, 15), ("end", 2, 15)]


# --- errors in callbacks --------------------------------------------------------------------------------------------


class Mine(Exception):
    pass


@pytest.mark.parametrize("error", [Mine, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("event", ["epoch", "chunk"])
def test_an_error_in_a_callback_leaves_a_usable_network(error: type[BaseException], event: str, data: Any) -> None:
    ended = []

    class Fails(jn.Callback):
        def end(self, run: Run) -> None:
            ended.append(run.step)

    def fails(self: Any, run: Run) -> None:
        if run.step == 15:
            raise error

    setattr(Fails, event, fails)
    net = network()
    with pytest.raises(error):
        net.fit(*data, epochs=6, batch_size=5, callbacks=[Fails()])
    assert ended == [15]
    assert np.isfinite(net.theta).all()
    assert np.isfinite(net.loss(*data))
    assert net.history["epoch"] == ([0, 1, 2] if event == "epoch" else [0, 1])
    assert net.history.stopped == error.__name__
    assert net.history.last()["step"] == (15 if event == "epoch" else 10)
    whole = network()
    whole.fit(*data, epochs=3, batch_size=5)
    np.testing.assert_array_equal(net.theta, whole.theta)


def test_after_an_error_in_a_callback_fit_goes_on_to_the_bit(data: Any) -> None:
    net, whole = network(), network()

    def fails(run: Run) -> None:
        if run.epoch == 2:
            raise Mine

    with pytest.raises(Mine):
        net.fit(*data, epochs=6, batch_size=5, dropout=0.2, callbacks=[fails])
    net.fit(*data, epochs=3, batch_size=5, dropout=0.2)
    whole.fit(*data, epochs=6, batch_size=5, dropout=0.2)
    np.testing.assert_array_equal(net.theta, whole.theta)
    assert net.history["epoch"] == whole.history["epoch"] == list(range(6))
    assert net.history["loss"] == whole.history["loss"]


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_is_heard_inside_of_a_long_epoch() -> None:
    """Compiled code cannot hear it; Python looks on about every 0.2 s."""
    rng = np.random.default_rng(0)
    X, T = rng.normal(size=(1_000_000, 3)), rng.normal(size=(1_000_000, 2))
    net = network()
    net.fit(X[:10], T[:10], epochs=1)  # what is compiled is not what is measured
    began: list[float] = []

    class Press(jn.Callback):
        def start(self, run: Run) -> None:
            threading.Timer(0.5, _thread.interrupt_main).start()
            began.append(time.perf_counter())

    with pytest.raises(KeyboardInterrupt):
        net.fit(X, T, batch_size=1, epochs=1000, callbacks=[Press(), jn.TimeBudget(60)])
    assert 0.5 <= time.perf_counter() - began[0] < 10
    assert np.isfinite(net.theta).all()
    assert net.continuation is not None
    assert net.continuation.step > 1  # it was under way
    assert net.history.stopped == "KeyboardInterrupt"


@pytest.mark.parametrize("callbacks", [5, None, [5], ["EarlyStopping"], [jn.EarlyStopping], [None], lambda run: None])
def test_what_is_no_list_of_callbacks(callbacks: Any, data: Any) -> None:
    net = network()
    if callbacks is None:
        net.fit(*data, epochs=1, callbacks=None)
        return
    with pytest.raises(jn.InputError, match="callbacks"):
        net.fit(*data, callbacks=callbacks)
    np.testing.assert_array_equal(net.theta, network().theta)


# --- what is shown and kept -----------------------------------------------------------------------------------------


def test_verbose_with_rich_shows_a_bar_on_standard_error(data: Any, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("rich")
    network().fit(*data, epochs=3, validation=data, verbose=True)
    out, err = capfd.readouterr()
    assert out == ""
    assert "epoch 3" in err
    assert "loss" in err
    assert "val_loss" in err


def test_verbose_ends_its_bar_also_where_training_fails(data: Any, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("rich")
    for _ in range(2):  # a bar that was left running would refuse the second
        with pytest.raises(Mine):
            network().fit(*data, epochs=3, verbose=True, callbacks=[lambda run: (_ for _ in ()).throw(Mine)])
    network().fit(*data, epochs=1, verbose=True)
    capfd.readouterr()


def test_verbose_without_rich_prints_a_line_an_epoch(
    data: Any, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("rich", "rich.console", "rich.progress"):
        monkeypatch.setitem(sys.modules, name, None)
    history = network().fit(*data, epochs=3, validation=data, verbose=True)
    out, err = capfd.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["epoch 1", "epoch 2", "epoch 3"]
    assert f"val_loss {history['val_loss'][2]:.4f}" in lines[2]
    assert f"loss {history['loss'][0]:.4f}" in lines[0]


def test_nothing_is_shown_by_default(data: Any, capfd: pytest.CaptureFixture[str]) -> None:
    network().fit(*data, epochs=2)
    assert capfd.readouterr() == ("", "")


def test_history_of_this_call_and_of_all(data: Any) -> None:
    net = network()
    first = net.fit(*data, epochs=2)
    second = net.fit(*data, epochs=3, validation=data)
    assert (len(first), len(second), len(net.history)) == (2, 3, 5)
    assert net.history["loss"] == first["loss"] + second["loss"]
    assert np.isnan(net.history["val_loss"][:2]).all()
    assert net.history["val_loss"][2:] == second["val_loss"]
    assert "val_loss" not in first
    assert net.history.last()["epoch"] == 4
    assert list(second["seconds"]) == sorted(second["seconds"])
    with pytest.raises(KeyError, match="'val_loss' given, one of epoch, step, loss, lr, seconds is wanted"):
        first["val_loss"]


def test_history_as_json_and_as_text(data: Any) -> None:
    net = network()
    assert not net.history
    assert net.history.last() == {}
    net.fit(*data, epochs=1)
    net.fit(*data, epochs=1, validation=data)
    back = json.loads(net.history.to_json())
    assert back["val_loss"] == [None, net.history["val_loss"][1]]
    assert back["stopped"] == "all epochs done"
    assert back["best_epoch"] is None
    assert {k: v for k, v in net.history.to_dict().items() if k not in ("stopped", "best_epoch")} == dict(net.history)
    assert repr(net.history).startswith("<History of 2 epochs: loss ")


def test_the_recorded_loss_is_that_of_the_parameters_before_each_step(data: Any) -> None:
    net = network()
    before = net.loss(*data)
    history = net.fit(*data, epochs=3, batch_size=None, validation=data)
    assert history["loss"] == pytest.approx([before, *history["val_loss"][:2]], rel=1e-13)
    assert history["val_loss"][2] == net.loss(*data)


def test_validation_with_weights(data: Any) -> None:
    net, c = network(), np.arange(23) / 7
    history = net.fit(*data, epochs=2, validation=(*data, c), metrics=["mse"])
    said = net.evaluate(*data, sample_weight=c, metrics=["mse"])
    assert history["val_loss"][-1] == said["loss"] == net.loss(*data, sample_weight=c)
    assert history["val_mse"][-1] == said["mse"]
    assert history["mse"][-1] == net.evaluate(*data, metrics=["mse"])["mse"]
    without = network()
    without.fit(*data, epochs=2)
    np.testing.assert_array_equal(net.theta, without.theta)  # looking on changes nothing


# --- what a reviewer found ------------------------------------------------------------------------------------------


def test_numpys_true_stops_too(data: Any) -> None:
    history = network().fit(*data, epochs=5, callbacks=[lambda run: np.float64(run.row["loss"]) < 1e9])
    assert len(history) == 1


def test_the_gradient_norm_has_the_penalty_that_is_trained_on() -> None:
    rng = np.random.default_rng(0)
    X, T = rng.normal(size=(30, 3)), rng.normal(size=(30, 2))
    net = jn.Network([3, 2], dtype="float64")
    history = net.fit(
        X, T, epochs=3000, batch_size=None, optimizer=jn.SGD(lr=0.1), l2=0.5, callbacks=[jn.StopAtGradientNorm(1e-6)]
    )
    assert "gradient norm" in str(history.stopped)
    g = net.gradient(X, T)
    np.testing.assert_allclose(g.W[0], -0.5 * net.W[0], atol=1e-6)


def test_a_copy_made_in_a_callback_goes_on_as_the_run_does() -> None:
    rng = np.random.default_rng(0)
    X, T = rng.normal(size=(30, 3)), rng.normal(size=(30, 2))
    kept: list[jn.Network] = []

    def keep(run: Run) -> None:
        if run.epoch == 2:
            kept.append(run.net.copy())

    net = jn.Network([3, 5, 2], activation="tanh", dtype="float64")
    net.fit(X, T, epochs=6, batch_size=4, optimizer=jn.Adam(), callbacks=[keep])
    kept[0].fit(X, T, epochs=3, batch_size=4)
    np.testing.assert_array_equal(kept[0].theta, net.theta)
    assert kept[0].history["epoch"] == net.history["epoch"]


def test_every_callback_that_was_started_is_ended(data: Any) -> None:
    ended: list[str] = []

    class Named(jn.Callback):
        def __init__(self, name: str, fails: str = "") -> None:
            self.name, self.fails = name, fails

        def start(self, run: Run) -> None:
            if self.fails == "start":
                raise Mine

        def end(self, run: Run) -> None:
            ended.append(self.name)
            if self.fails == "end":
                raise Mine

    with pytest.raises(Mine):
        network().fit(*data, callbacks=[Named("a"), Named("b", fails="start"), Named("c")])
    assert ended == ["a"]
    ended.clear()
    with pytest.raises(Mine):
        network().fit(*data, callbacks=[Named("a"), Named("b", fails="end"), Named("c")])
    assert sorted(ended) == ["a", "b", "c"]


def test_after_a_restore_the_optimiser_starts_afresh() -> None:
    rng = np.random.default_rng(0)
    X, T = rng.normal(size=(30, 3)), rng.normal(size=(30, 2))
    net = jn.Network([3, 50, 2], activation="tanh", dtype="float64")
    stop = jn.EarlyStopping(patience=1)
    net.fit(X[:15], T[:15], epochs=200, optimizer=jn.Adam(lr=0.05), validation=(X[15:], T[15:]), callbacks=[stop])
    assert net.history.best_epoch is not None
    assert net.continuation is not None
    assert net.continuation.optimizer_step == 0
    net.fit(X, T, epochs=1)
    assert net.history.best_epoch is None
