"""The command line, `train`: what is learnt, reported and written, by every optimiser, schedule and loss."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from command_line import FAST, Run, contents, datasets, parsed, table_of, write_csv

import jitnet as jn
from jitnet.cli.model import Model
from jitnet.cli.train import SCHEDULES
from jitnet.losses import TABLE as LOSSES
from jitnet.optimizers import OPTIMIZERS
from jitnet.preparation import split


def test_iris_is_learnt_and_reported(run: Run, iris: Path) -> None:
    code, out, err = run("train", iris, "--target", "species", "--standardize", *FAST)
    assert (code, err) == (0, "")
    assert "120 train, 30 test rows" in out
    assert "species: 3 classes, setosa, versicolor, virginica" in out
    assert "4 -> 64 relu -> 64 relu -> 3 softmax; cross_entropy" in out
    assert table_of(out, "rows") == [120, 30]
    train, test = table_of(out, "accuracy")
    assert train >= 0.95
    assert test >= 0.9
    model = Model.load(Path("iris.safetensors"), form="matrix")
    assert re.search(r"^model +iris\.safetensors", out, re.MULTILINE)
    assert model.classes == ("setosa", "versicolor", "virginica")


def test_the_report_agrees_with_scikit_learn(run: Run, diabetes: Path, tmp_path: Path) -> None:
    from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

    code, out, _ = run(
        "train", diabetes, "--target", "progression", "--standardize", "--standardize-target", "--epochs", "20",
        "--seed", "3", "--model", "m.safetensors", *FAST,
    )  # fmt: skip
    assert code == 0
    code, predicted, err = run("predict", "m.safetensors", diabetes, *FAST)
    assert (code, err) == (0, "")
    T = datasets.load_diabetes().target
    Y = np.array([float(row["progression"]) for row in parsed(predicted)])
    rows = split(len(T), seed=3)
    for name, metric in (("R²", r2_score), ("MAE", mean_absolute_error), ("RMSE", root_mean_squared_error)):
        expected = [metric(T[part], Y[part]) for part in rows]
        np.testing.assert_allclose(table_of(out, name), expected, rtol=6e-4, err_msg=name)  # printed with 4 digits
    assert table_of(out, "R²")[1] > 0.3


def test_what_is_learnt_comes_from_the_training_rows_alone(run: Run, diabetes: Path) -> None:
    code, out, _ = run(
        "train", diabetes, "--target", "progression", "--standardize", "--standardize-target", "--epochs", "1",
        "--test-fraction", "0.3", "--validation-fraction", "0.25", "--seed", "5", *FAST,
    )  # fmt: skip
    assert code == 0
    assert table_of(out, "rows") == [232, 77, 133]
    data = datasets.load_diabetes(scaled=False)
    train, _ = split(442, test_fraction=0.3, seed=5)
    train = train[split(len(train), test_fraction=0.25, seed=5)[0]]
    learnt = Model.load(Path("diabetes.safetensors")).preparation
    np.testing.assert_allclose(learnt.mean, data.data[train].mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(learnt.std, data.data[train].std(axis=0), rtol=1e-12)
    np.testing.assert_allclose(learnt.target_mean, data.target[train].mean(), rtol=1e-12)


def test_each_class_keeps_its_share(run: Run, iris: Path) -> None:
    _, out, _ = run("train", iris, "--target", "species", "--epochs", "1", "--validation-fraction", "0.25", *FAST)
    assert table_of(out, "rows") == [90, 30, 30]
    for name in ("setosa", "versicolor", "virginica"):
        assert re.search(rf"^{name} +10 ", out, re.MULTILINE), out


def test_a_text_that_only_the_test_rows_have_is_no_error(run: Run, tmp_path: Path) -> None:
    n = 20
    _, test = split(n, test_fraction=0.2, seed=0)
    city = ["here"] * n
    city[test[0]] = "elsewhere"
    path = write_csv(tmp_path / "city.csv", ["city", "size"], [[c, k / 7] for k, c in enumerate(city)])
    assert run("train", path, "--target", "size", "--epochs", "1", "-q", *FAST) == (0, "", "")
    assert Model.load(Path("city.safetensors")).net.n_in == 2


def test_the_same_seed_gives_the_same_model(run: Run, iris: Path) -> None:
    def trained(seed: int, name: str) -> tuple[bytes, str]:
        common = ("--target", "species", "--epochs", "3", "--dropout", "0.2", "--standardize", "-q", *FAST)
        assert run("train", iris, *common, "--seed", str(seed), "--model", name)[0] == 0
        return contents(name)

    first = trained(1, "a.safetensors")
    assert trained(1, "b.safetensors") == first
    other = trained(2, "c.safetensors")
    assert other[0] != first[0]
    assert other[1] != first[1]


def test_training_is_that_of_the_library(run: Run, iris: Path) -> None:
    assert run(
        "train", iris, "--target", "species", "--hidden", "7,5", "--activation", "tanh,softsign", "--optimizer",
        "rmsprop", "--lr", "0.003", "--weight-decay", "0.01", "--l1", "0.001", "--l2", "0.002", "--clip-norm", "0.5",
        "--dropout", "0.1,0.2", "--batch-size", "16", "--epochs", "4", "--dtype", "float64", "--seed", "9", "--threads",
        "1", "-q", *FAST,
    ) == (0, "", "")  # fmt: skip
    data = datasets.load_iris()
    train, _ = split(150, data.target, seed=9)
    net = jn.Network(
        [4, 7, 5, 3], activation=["tanh", "softsign"], output="softmax", loss="cross_entropy", dtype="float64", seed=9
    )
    net.fit(
        data.data[train], data.target[train], optimizer=jn.RMSProp(lr=0.003, weight_decay=0.01), l1=0.001, l2=0.002,
        clip_norm=0.5, dropout=[0.1, 0.2], batch_size=16, epochs=4, form="matrix",
    )  # fmt: skip
    np.testing.assert_array_equal(Model.load(Path("iris.safetensors")).net.theta, net.theta)


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_every_optimizer_trains(run: Run, iris: Path, name: str) -> None:
    if name == "lbfgs":
        pytest.importorskip("scipy")
    common = ("--target", "species", "--hidden", "6", "--epochs", "30", "--standardize", *FAST)
    code, _, err = run("train", iris, "--optimizer", name, "--history", "h.json", *common)
    assert (code, err) == (0, "")
    losses = json.loads(Path("h.json").read_text())["loss"]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("name", sorted(SCHEDULES))
def test_every_schedule_trains(run: Run, iris: Path, name: str) -> None:
    common = ("--target", "species", "--hidden", "6", "--epochs", "5", "--lr", "0.01", "-q", *FAST)
    assert run("train", iris, "--schedule", name, "--history", "h.csv", *common) == (0, "", "")
    rates = [float(row["lr"]) for row in parsed(Path("h.csv").read_text())]
    falls = name not in ("constant", "plateau", "warm_up")
    assert all(0 < rate <= 0.01 for rate in rates[:-1])
    assert (rates[-1] < 0.3 * rates[0]) if falls and name != "inverse_scaling" else rates[-1] <= 0.01


@pytest.mark.parametrize("name", sorted(LOSSES))
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_every_loss_has_an_output_that_suits_it(run: Run, tmp_path: Path, name: str, task: str) -> None:
    rng = np.random.default_rng(0)
    X = rng.uniform(size=(40, 3))
    p = X[:, 0] / 2
    columns = {"c": np.where(p > 0.25, "yes", "no"), "p": p, "q": 1 - p}
    targets = ["c"] if task == "classification" else ["p", "q"]
    path = write_csv(
        tmp_path / "d.csv", ["a", "b", "c", *targets], zip(*X.T, *(columns[t] for t in targets), strict=True)
    )
    if task == "classification":
        path = write_csv(tmp_path / "d.csv", ["a", "b", "d", "c"], zip(*X.T, columns["c"], strict=True))
    chosen = [word for target in targets for word in ("--target", target)]
    code, out, err = run("train", path, *chosen, "--task", task, "--loss", name, "--epochs", "2", *FAST)
    assert (code, err) == (0, ""), err
    assert f"; {name}, mean" in out
    code, out, err = run("predict", "d.safetensors", path, *FAST)
    assert (code, err, len(parsed(out)), list(parsed(out)[0])) == (0, "", 40, targets)


def test_two_classes_need_one_sigmoid(run: Run, tmp_path: Path) -> None:
    data = datasets.load_breast_cancer()
    rows = [[*row[:5], "yes" if t else "no"] for row, t in zip(data.data.tolist(), data.target, strict=True)]
    path = write_csv(tmp_path / "cancer.csv", ["a", "b", "c", "d", "e", "benign"], rows)
    common = ("--target", "benign", "--standardize", "--epochs", "5", *FAST)
    code, out, _ = run("train", path, "--output", "sigmoid", *common)
    assert code == 0
    assert "-> 1 sigmoid; binary_cross_entropy" in out
    assert table_of(out, "accuracy")[1] > 0.85
    _, out, _ = run("predict", "cancer.safetensors", path, "--probabilities", *FAST)
    for row in parsed(out):
        assert float(row["p_no"]) + float(row["p_yes"]) == pytest.approx(1)
        assert row["benign"] == ("yes" if float(row["p_yes"]) > 0.5 else "no")
    code, out, _ = run("train", path, "--force", *common)
    assert "-> 2 softmax; cross_entropy" in out


def test_early_stopping_saves_the_best_epoch(run: Run, iris: Path) -> None:
    code, out, _ = run(
        "train", iris, "--target", "species", "--patience", "3", "--lr", "0.3", "--epochs", "100", "--history",
        "h.json", "--validation-fraction", "0.2", *FAST,
    )  # fmt: skip
    assert code == 0
    history = json.loads(Path("h.json").read_text())
    best = int(np.argmin(history["val_loss"]))
    assert history["best_epoch"] == best
    assert len(history["loss"]) == best + 4 < 100
    assert f"kept are the parameters after epoch {best + 1}" in out
    assert table_of(out, "loss")[1] == pytest.approx(history["val_loss"][best], rel=1e-3)


def test_the_matrix_form_compiles_nothing(run: Run, iris: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from jitnet.forms import plain, tiled

    for form in (plain, tiled):
        for name in ("outputs", "outputs_and_losses", "steps"):
            monkeypatch.delattr(form, name)
    arguments = ("train", iris, "--target", "species", "--patience", "3", "--epochs", "2", "-q", *FAST)
    assert run(*arguments) == (0, "", "")


def test_history_and_picture(run: Run, iris: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    common = ("train", iris, "--target", "species", "--epochs", "3", "--validation-fraction", "0.1", "--force", *FAST)
    code, _, err = run(*common, "--history", "h.csv", "--plot", "p.png")
    assert (code, err) == (0, "")
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    rows = parsed((tmp_path / "h.csv").read_text())
    assert [row["epoch"] for row in rows] == ["0", "1", "2"]
    run(*common, "--history", "h.json", "--plot", "p.svg")
    history = json.loads((tmp_path / "h.json").read_text())
    assert history["loss"] == [float(row["loss"]) for row in rows]
    assert history["val_loss"] == [float(row["val_loss"]) for row in rows]


def test_no_hidden_layer_the_full_batch_and_no_test_rows(run: Run, diabetes: Path) -> None:
    code, out, _ = run(
        "train", diabetes, "--target", "progression", "--features", "bmi", "--features", "bp", "--hidden", "none",
        "--batch-size", "all", "--epochs", "3", "--test-fraction", "0", *FAST,
    )  # fmt: skip
    assert code == 0
    assert "2 -> 1 identity" in out
    assert "3 epochs of 1 step of 442 rows" in out
    assert table_of(out, "rows") == [442]


def test_a_start_that_is_a_minimum(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("scipy")
    pytest.importorskip("matplotlib")
    path = write_csv(tmp_path / "zero.csv", ["x", "t"], [[0, 0.0]] * 10)
    written = ("--history", "h.csv", "--plot", "p.png")
    code, out, err = run(
        "train", path, "--target", "t", "--task", "regression", "--optimizer", "lbfgs", *written, *FAST
    )
    assert (code, err) == (0, "")
    assert "0 epochs: L-BFGS" in out
    assert table_of(out, "loss") == [0, 0]


def test_ignored_columns_and_several_targets(run: Run, diabetes: Path) -> None:
    code, out, _ = run(
        "train", diabetes, "--target", "progression", "--target", "bmi", "--ignore", "sex", "--epochs", "1", *FAST
    )
    assert code == 0
    assert "9 -> 64 relu" not in out
    assert "8 -> 64 relu -> 64 relu -> 2 identity" in out
    assert {"R² of progression", "MAE of bmi"} <= {line.split("  ")[0] for line in out.splitlines()}


def test_hints_for_numbers_far_from_one(run: Run, diabetes: Path) -> None:
    common = ("train", diabetes, "--target", "progression", "--epochs", "1", "--force", *FAST)
    _, out, _ = run(*common)
    assert "try --standardize\n" in re.sub(" +\n", "\n", out)
    assert "try --standardize-target" in out
    _, out, _ = run(*common, "--standardize", "--standardize-target")
    assert not re.search("^hint", out, re.MULTILINE)


def test_hints_for_texts_that_tell_rows_apart(run: Run, tmp_path: Path) -> None:
    rows = [[f"row {k}", "abcdefghijkl"[k % 12], k % 7, k % 5] for k in range(40)]
    path = write_csv(tmp_path / "named.csv", ["its name", "letter", "x", "t"], rows)
    common = ("train", path, "--target", "t", "--task", "regression", "--epochs", "1", "--force", *FAST)
    _, out, _ = run(*common)
    assert "its name has 40 different texts; --ignore 'its name' leaves it out" in out
    assert len(re.findall("^hint", out, re.MULTILINE)) == 1
    _, out, _ = run(*common, "--ignore", "its name")
    assert not re.search("^hint", out, re.MULTILINE)


def test_a_batch_larger_than_the_data_is_a_warning(run: Run, iris: Path) -> None:
    code, _, err = run("train", iris, "--target", "species", "--batch-size", "500", "--epochs", "1", "-q", *FAST)
    assert (code, err) == (0, "warning: --batch-size: 500 given for 120 data points, 120 is used\n")


def test_names_are_printed_as_they_are(run: Run, tmp_path: Path) -> None:
    rows = [[k, ":smile:" if k % 2 else "[b]bold[/b]"] for k in range(20)]
    path = write_csv(tmp_path / "odd.csv", ["[red]x", "two\nlines"], rows)
    code, out, err = run("train", path, "--target", "two\nlines", "--epochs", "1", *FAST)
    assert (code, err) == (0, "")
    assert ":smile:" in out
    assert "[b]bold[/b]" in out
    assert "[red]x" in out
