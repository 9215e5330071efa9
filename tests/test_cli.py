"""The command line: what it trains, predicts and prints, and that whatever is wrong is one line with exit code 2."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import signal
import struct
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import jitnet as jn
from jitnet.cli import in_options, main
from jitnet.cli.model import Model
from jitnet.cli.train import SCHEDULES
from jitnet.losses import TABLE as LOSSES
from jitnet.optimizers import OPTIMIZERS
from jitnet.preparation import Preparation, split
from jitnet.storage import load_with_extra

pytest.importorskip("typer")
pytest.importorskip("rich")
pl = pytest.importorskip("polars", exc_type=ImportError)
datasets = pytest.importorskip("sklearn.datasets")

FAST = ("--form", "matrix")  # compiles nothing
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command line in an empty folder: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        code = main([str(each) for each in arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture
def refused(run: Run, tmp_path: Path) -> Callable[..., str]:
    """Run what must be refused before any work: one line on standard error, nothing else printed or written."""

    def call(*arguments: str | Path) -> str:
        before = sorted(tmp_path.rglob("*"))
        code, out, err = run(*arguments)
        assert (code, out) == (2, "")
        assert re.fullmatch(r"error: [^\n]+\n", err), err
        assert sorted(tmp_path.rglob("*")) == before
        return err

    return call


def start(arguments: Sequence[str | Path], folder: Path, **more: Any) -> subprocess.Popen[str]:
    """The real command in a process of its own."""
    command = [sys.executable, "-m", "jitnet", *map(str, arguments)]
    path = os.pathsep.join([str(Path(jn.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, **more}
    return subprocess.Popen(
        command, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def write_csv(path: Path, names: Sequence[str], rows: Any) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([names, *rows])
    return path


@pytest.fixture
def iris(tmp_path: Path) -> Path:
    data = datasets.load_iris()
    rows = [[*row, data.target_names[k]] for row, k in zip(data.data.tolist(), data.target, strict=True)]
    return write_csv(tmp_path / "iris.csv", ["sepal_l", "sepal_w", "petal_l", "petal_w", "species"], rows)


@pytest.fixture
def diabetes(tmp_path: Path) -> Path:
    data = datasets.load_diabetes(scaled=False)
    rows = np.column_stack([data.data, data.target]).tolist()
    return write_csv(tmp_path / "diabetes.csv", [*data.feature_names, "progression"], rows)


@pytest.fixture
def model(run: Run, iris: Path, tmp_path: Path) -> Path:
    """A small model of iris, hardly trained."""
    assert run("train", iris, "--target", "species", "--hidden", "4", "--epochs", "1", "-q", *FAST) == (0, "", "")
    return tmp_path / "iris.safetensors"


def table_of(out: str, row: str) -> list[float]:
    """The numbers of a row of the report."""
    (line,) = [line for line in out.splitlines() if line.startswith(f"{row} ")]
    return [float(cell) for cell in line.removeprefix(row).split()]


def parsed(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


# ---- train -----------------------------------------------------------------------------------------------------------


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


def contents(path: str) -> tuple[bytes, str]:
    """The parameters and the preparation of a model file."""
    net, extra = load_with_extra(path)
    return net.theta.tobytes(), extra["preparation"]


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


# ---- the other kinds of files ----------------------------------------------------------------------------------------


def idx(path: Path, array: np.ndarray) -> None:
    head = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    path.write_bytes(head + array.astype(np.uint8).tobytes())


def test_parquet(run: Run, iris: Path, tmp_path: Path) -> None:
    pl.read_csv(iris).write_parquet(tmp_path / "flowers.parquet")
    common = ("--target", "species", "--epochs", "3", "-q", *FAST)
    assert run("train", iris, *common) == run("train", "flowers.parquet", *common) == (0, "", "")
    assert contents("iris.safetensors") == contents("flowers.safetensors")


def test_npz_with_its_own_test_set(run: Run, tmp_path: Path) -> None:
    data = datasets.load_digits()
    X, y = data.images, data.target
    np.savez(tmp_path / "digits.npz", X_train=X[:1000], y_train=y[:1000], X_test=X[1000:1300], y_test=y[1000:1300])
    common = ("--epochs", "8", "--plot", "digits.png", *FAST)
    code, out, err = run("train", "digits.npz", *common)
    assert (code, err) == (0, "")
    assert table_of(out, "rows") == [1000, 300]
    assert table_of(out, "accuracy")[1] > 0.85
    code, judged, err = run("evaluate", "digits.safetensors", "digits.npz", *FAST)
    assert (code, err) == (0, "")
    for name in ("rows", "loss", "accuracy"):
        assert table_of(judged, name) == table_of(out, name)
    code, predicted, err = run("predict", "digits.safetensors", "digits.npz", "--x", "X_test", *FAST)
    right = np.mean([int(row["y"]) == t for row, t in zip(parsed(predicted), y[1000:1300], strict=True)])
    assert right == pytest.approx(table_of(out, "accuracy")[1], rel=1e-3)
    code, _, err = run("train", "digits.npz", "--test-fraction", "0.5", "--force", *FAST)
    assert (code, err) == (2, "error: --test-fraction: digits.npz brings its own test set, of 300 rows\n")


def test_idx_folder_and_new_images(run: Run, tmp_path: Path) -> None:
    data = datasets.load_digits()
    folder = tmp_path / "little-mnist"
    folder.mkdir()
    for part, rows in (("train", slice(0, 500)), ("t10k", slice(500, 600))):
        idx(folder / f"{part}-images-idx3-ubyte", data.images[rows])
        idx(folder / f"{part}-labels-idx1-ubyte", data.target[rows])
    code, out, err = run("train", folder, "--standardize", "--epochs", "20", *FAST)
    assert (code, err) == (0, "")
    assert table_of(out, "rows") == [500, 100]
    accuracy = table_of(out, "accuracy")[1]
    assert accuracy > 0.8
    _, out, _ = run("predict", "little-mnist.safetensors", folder / "t10k-images-idx3-ubyte", *FAST)
    right = np.mean([int(row["y"]) == t for row, t in zip(parsed(out), data.target[500:600], strict=True)])
    assert right == pytest.approx(accuracy)
    idx(tmp_path / "larger-images-idx3-ubyte", np.zeros((3, 9, 9)))
    code, _, err = run("predict", "little-mnist.safetensors", "larger-images-idx3-ubyte", *FAST)
    assert (code, err) == (2, "error: larger-images-idx3-ubyte: 81 inputs a row, but the model takes 64\n")


def test_no_header_and_another_delimiter(run: Run, tmp_path: Path) -> None:
    (tmp_path / "bare.txt").write_text("".join(f"{k}.5|{k % 3}.25|{'ab'[k % 2]}\n" for k in range(30)))
    common = ("--no-header", "--delimiter", "|", *FAST)
    code, out, err = run("train", "bare.txt", "--target", "c2", "--epochs", "2", *common)
    assert (code, err) == (0, "")
    assert "c0, c1: 2 inputs" in out
    code, out, err = run("predict", "bare.safetensors", "bare.txt", *common)
    assert (code, err, len(parsed(out))) == (0, "", 30)


# ---- predict, evaluate, info -----------------------------------------------------------------------------------------


def test_predict_says_what_the_network_says(run: Run, iris: Path, model: Path, tmp_path: Path) -> None:
    data = datasets.load_iris()
    net, extra = load_with_extra(model)
    assert set(extra) == {"preparation"}
    Y = net.predict(data.data, form="matrix")
    code, out, err = run("predict", model, iris, "--probabilities", *FAST)
    assert (code, err) == (0, "")
    rows = parsed(out)
    assert [row["species"] for row in rows] == data.target_names[Y.argmax(axis=1)].tolist()
    for k, name in enumerate(data.target_names):
        np.testing.assert_array_equal(np.array([row[f"p_{name}"] for row in rows], np.float32), Y[:, k])
    assert run("predict", model, iris, "--probabilities", "-o", "out.csv", *FAST) == (0, "", "")
    assert (tmp_path / "out.csv").read_text() == out


def test_predictions_of_regression_come_back_to_the_bit(run: Run, diabetes: Path) -> None:
    for dtype in ("float32", "float64"):
        common = ("--target", "progression", "--epochs", "1", "--force", "-q", *FAST)
        run("train", diabetes, "--dtype", dtype, *common)
        data = datasets.load_diabetes(scaled=False).data
        Y = Model.load(Path("diabetes.safetensors")).net.predict(data, form="matrix")[:, 0]
        _, out, _ = run("predict", "diabetes.safetensors", diabetes, *FAST)
        np.testing.assert_array_equal(np.array([row["progression"] for row in parsed(out)], dtype), Y)


def test_new_rows_need_no_target_and_may_have_other_columns(run: Run, iris: Path, model: Path, tmp_path: Path) -> None:
    frame = pl.read_csv(iris)
    names = ["petal_w", "note", "petal_l", "sepal_w", "sepal_l"]
    frame.with_columns(note=pl.lit("new")).select(names).write_csv(tmp_path / "new.csv")
    assert run("predict", model, "new.csv", *FAST) == run("predict", model, iris, *FAST)


def test_the_file_is_written_whole_or_not_at_all(run: Run, iris: Path, model: Path, tmp_path: Path) -> None:
    (tmp_path / "out.csv").write_text("old")
    code, _, err = run("predict", model, iris, "-o", "out.csv", *FAST)
    assert (code, (tmp_path / "out.csv").read_text()) == (2, "old")
    assert err.startswith("error: --output-file: out.csv is there already")
    assert run("predict", model, iris, "-o", "out.csv", "--force", *FAST) == (0, "", "")
    assert (tmp_path / "out.csv").read_text().startswith("species\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["iris.csv", "iris.safetensors", "out.csv"]


def test_evaluate_judges_the_rows_of_a_file(run: Run, iris: Path, model: Path) -> None:
    data = datasets.load_iris()
    net = jn.load(model)
    code, out, err = run("evaluate", model, iris, *FAST)
    assert (code, err) == (0, "")
    assert table_of(out, "loss") == pytest.approx([net.loss(data.data, data.target, form="matrix")], rel=1e-3)
    right = np.mean(net.predict(data.data, form="matrix").argmax(axis=1) == data.target)
    assert table_of(out, "accuracy") == pytest.approx([right], rel=1e-3)
    assert "iris.csv rows" in out


def test_info_lists_what_is_there(run: Run, tmp_path: Path) -> None:
    rows = [[k, "ab"[k % 2], k % 3] for k in range(30)]
    path = write_csv(tmp_path / "mixed.csv", ["size", "kind", "grade"], rows)
    run("train", path, "--target", "grade", "--standardize", "--hidden", "5", "--epochs", "1", "-q", *FAST)
    code, out, err = run("info", "mixed.safetensors")
    assert (code, err) == (0, "")
    for text in ("classification", "grade: 3 classes, 0, 1, 2", "3 -> 5 relu -> 3 softmax", "5 x 3", "2 texts: a, b"):
        assert text in out


def test_help_and_version(run: Run) -> None:
    code, out, err = run("--version")
    assert (code, out, err) == (0, f"jitnet {jn.__version__}\n", "")
    for arguments in ((), ("--help",)):
        code, out, err = run(*arguments)
        assert (code, err) == (0, "")
        assert all(name in out for name in ("train", "predict", "evaluate", "info", "warmup"))
    assert "Ctrl-C" in run("train", "--help")[1]


# ---- what is refused -------------------------------------------------------------------------------------------------

OPTIONS = [
    (["--optimizer", "adm"], ["--optimizer:", "'adm'", "'adam'", "lbfgs"]),
    (["--loss", "crossentropy"], ["--loss:", "'cross_entropy'", "huber"]),
    (["--activation", "rellu"], ["--activation:", "'relu'", "tanh"]),
    (["--activation", "relu,tanh,elu"], ["--activation:", "3", "2"]),
    (["--output", "sofmax"], ["--output:", "'softmax'", "sigmoid"]),
    (["--schedule", "cosin"], ["--schedule:", "'cosine'", "one_cycle"]),
    (["--task", "clasification"], ["--task:", "'classification'", "regression"]),
    (["--form", "matrx"], ["--form:", "'matrix'", "plain"]),
    (["--lr", "-0.1"], ["--lr:", "-0.1", ">= 0"]),
    (["--lr", "nan"], ["--lr:", "nan", "finite"]),
    (["--lr", "inf"], ["--lr:", "inf", "finite"]),
    (["--lr", "fast"], ["--lr"]),
    (["--lr"], ["--lr"]),
    (["--hidden", "64,x"], ["--hidden:", "64,x"]),
    (["--hidden", "64,0"], ["--hidden:", "0", ">= 1"]),
    (["--hidden", ""], ["--hidden:"]),
    (["--epochs", "0"], ["--epochs:", "0"]),
    (["--epochs", "1.5"], ["--epochs"]),
    (["--batch-size", "0"], ["--batch-size:", "0"]),
    (["--batch-size", "many"], ["--batch-size:", "many", "all"]),
    (["--batch-size", "7", "--optimizer", "delta_bar_delta"], ["--batch-size:", "full batch", "--batch-size all"]),
    (["--dropout", "1"], ["--dropout:", "< 1"]),
    (["--dropout", "0.1,0.2,0.3"], ["--dropout:", "3", "2"]),
    (["--dropout", "x"], ["--dropout:", "x"]),
    (["--l1", "-1"], ["--l1:", "-1"]),
    (["--l2", "nan"], ["--l2:", "nan"]),
    (["--weight-decay", "-1"], ["--weight-decay:", "-1"]),
    (["--clip-norm", "0"], ["--clip-norm:", "> 0"]),
    (["--seed", "-1"], ["--seed:", "-1"]),
    (["--dtype", "float16"], ["--dtype:", "float16", "float64"]),
    (["--threads", "0"], ["--threads:", "0"]),
    (["--threads", "100000"], ["--threads:", "100000"]),
    (["--test-fraction", "1"], ["--test-fraction:", "1.0"]),
    (["--test-fraction", "-0.1"], ["--test-fraction:", "-0.1"]),
    (["--test-fraction", "nan"], ["--test-fraction:", "nan"]),
    (["--validation-fraction", "2"], ["--validation-fraction:", "2"]),
    (["--patience", "0"], ["--patience:", "0"]),
    (["--patience", "3", "--validation-fraction", "0"], ["--patience:", "--validation-fraction"]),
    (["--optimizer", "lbfgs", "--lr", "1"], ["--lr:", "lbfgs"]),
    (["--optimizer", "lbfgs", "--weight-decay", "1"], ["--weight-decay:", "lbfgs"]),
    (["--optimizer", "lbfgs", "--dropout", "0.5"], ["--dropout:", "LBFGS"]),
    (["--optimizer", "rprop", "--schedule", "cosine"], ["--schedule:", "rprop"]),
    (["--loss", "cross_entropy", "--output", "identity"], ["--loss cross_entropy", "--output softmax"]),
    (["--loss", "binary_cross_entropy", "--output", "softmax"], ["--output sigmoid", "--loss cross_entropy"]),
    (["--loss", "poisson", "--standardize-target"], ["--standardize-target:", "poisson"]),
    (["--standardize-target"], ["--standardize-target:", "regression"]),
    (["--target", "sepal_l", "--task", "classification"], ["--target:", "2 columns"]),
    (["--features", "sepal_ll"], ["--features:", "iris.csv", "'sepal_ll'", "'sepal_l'"]),
    (["--features", "species"], ["--features:", "'species'", "target"]),
    (["--ignore", "spal_l"], ["--ignore:", "iris.csv", "'sepal_l'"]),
    (["--ignore", "sepal_l", "--features", "sepal_w"], ["--ignore:", "--features"]),
    (["--task", "regression"], ["iris.csv", "line 2", "'species'", "'setosa'"]),
    (["--delimiter", "ab"], ["--delimiter:", "ab"]),
    (["--model", "nowhere/m.safetensors"], ["--model:", "nowhere"]),
    (["--model", "."], ["--model:", "folder"]),
    (["--model", "iris.csv"], ["--model:", "iris.csv"]),
    (["--model", "iris.csv", "--force"], ["--model:", "iris.csv"]),
    (["--history", "h.txt"], ["--history:", "h.txt", ".json"]),
    (["--plot", "p.bmp"], ["--plot:", "p.bmp", ".png"]),
    (["--no-such-option"], ["--no-such-option"]),
    (["one-more-file"], ["one-more-file"]),
]


@pytest.mark.parametrize(("options", "said"), OPTIONS, ids=[" ".join(options) for options, _ in OPTIONS])
def test_bad_options_are_named(refused: Callable[..., str], iris: Path, options: list[str], said: list[str]) -> None:
    if "lbfgs" in options:
        pytest.importorskip("scipy")
    message = refused("train", "iris.csv", "--target", "species", "--epochs", "1", *FAST, *options)
    for text in said:
        assert text in message


def test_options_are_refused_before_the_file_is_read(refused: Callable[..., str]) -> None:
    for options in (["--loss", "x"], ["--optimizer", "x"], ["--activation", "x"], ["--hidden", "x"], ["--lr", "nan"]):
        assert options[0] in refused("train", "missing.csv", *options)


FILES = {
    "short line": ("a,b\n1,2\n3\n", ["line 3", "'b'"]),
    "long line": ("a,b\n1,2\n3,4,5\n", ["line 3", "3 cells"]),
    "empty cell": ("a,b\n1,2\n,4\n", ["line 3", "'a'"]),
    "text among numbers": ("a,b\n1,2\n2,2\nx,4\n", ["line 4", "'a'", "'x'"]),
    "nan": ("a,b\n1,2\nnan,4\n", ["line 3", "'a'", "nan"]),
    "inf": ("a,b\n1,2\n1,inf\n", ["line 3", "'b'", "inf"]),
    "open quote": ('a,b\n1,"2\n', ["line 2"]),
    "no rows": ("a,b\n", ["no rows"]),
    "empty": ("", ["empty"]),
    "the same name twice": ("a,a\n1,2\n", ["line 1", "'a'"]),
    "numbers for names": ("1.5,2.5\n1,2\n", ["line 1", "--no-header"]),
    "one class": ("a,b\n1,yes\n2,yes\n", ["'b'", "yes"]),
    "one row": ("a,b\n1,2\n", ["--test-fraction", "1"]),
    "too large for float32": ("a,b\n1e300,2\n2,3\n3,4.5\n", ["line 2", "'a'", "float32"]),
}


@pytest.mark.parametrize("name", FILES)
def test_malformed_files_are_placed(refused: Callable[..., str], tmp_path: Path, name: str) -> None:
    content, said = FILES[name]
    (tmp_path / "bad.csv").write_text(content)
    message = refused("train", "bad.csv", "--target", "b", *FAST)
    for text in ("bad.csv", *said):
        assert text in message


TARGETS = {
    "binary_cross_entropy": ("0.5\n0.25\n1.5\n", "line 4", "[0, 1]"),
    "poisson": ("1\n0\n-2\n", "line 4", ">= 0"),
    "cross_entropy": ("1\n1\n0.5\n", "line 4", "--task classification"),
}


@pytest.mark.parametrize("loss", TARGETS)
def test_targets_without_meaning_for_the_loss_are_placed(
    refused: Callable[..., str], tmp_path: Path, loss: str
) -> None:
    column, *said = TARGETS[loss]
    lines = ["x,t", *(f"{k},{t}" for k, t in enumerate(column.split()))]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    message = refused("train", "t.csv", "--target", "t", "--task", "regression", "--loss", loss, *FAST)
    for text in ("t.csv", "'t'", loss, *said):
        assert text in message


def test_missing_files_and_wrong_kinds(refused: Callable[..., str], iris: Path, model: Path, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "notes.md").write_text("x")
    (tmp_path / "cut.safetensors").write_bytes(model.read_bytes()[:-8])
    np.savez(tmp_path / "odd.npz", first=np.zeros((3, 2)), second=np.zeros(3))
    cases: list[tuple[list[str], list[str]]] = [
        (["train", "missing.csv", "--target", "y"], ["missing.csv", "No such file"]),
        (["train", "folder"], ["folder"]),
        (["train", "notes.md"], ["notes.md", ".csv", ".parquet"]),
        (["train", "odd.npz"], ["odd.npz", "--x", "first"]),
        (["train", "odd.npz", "--x", "frst"], ["odd.npz", "'frst'", "'first'"]),
        (["train", "iris.csv", "--model", "m.safetensors"], ["--target:", "iris.csv", "species"]),
        (
            ["train", "iris.csv", "--model", "m.safetensors", "--target", "spcies"],
            ["iris.csv", "'spcies'", "'species'"],
        ),
        (["predict", "missing.safetensors", "iris.csv"], ["missing.safetensors", "No such file"]),
        (["predict", "folder", "iris.csv"], ["folder"]),
        (["predict", "iris.csv", "iris.csv"], ["iris.csv", "safetensors"]),
        (["predict", "cut.safetensors", "iris.csv"], ["cut.safetensors"]),
        (["predict", "iris.safetensors", "missing.csv"], ["missing.csv", "No such file"]),
        (["predict", "iris.safetensors", "folder"], ["folder"]),
        (["predict", "iris.safetensors", "iris.csv", "--form", "matrx"], ["--form", "'matrix'"]),
        (["predict", "iris.safetensors", "iris.csv", "-o", "iris.safetensors", "--force"], ["--output-file"]),
        (["predict", "iris.safetensors", "iris.csv", "-o", "folder"], ["--output-file", "folder"]),
        (["predict", "iris.safetensors"], ["FILE"]),
        (["info", "notes.md"], ["notes.md"]),
        (["evaluate", "iris.safetensors", "missing.csv"], ["missing.csv"]),
        (["trian", "iris.csv"], ["'trian'", "'train'", "predict"]),
        (["--nonsense"], ["--nonsense"]),
    ]
    for arguments, said in cases:
        message = refused(*arguments)
        for text in said:
            assert text in message, (arguments, message)


def test_new_rows_that_do_not_fit_are_placed(refused: Callable[..., str], model: Path, tmp_path: Path) -> None:
    names = "sepal_l,sepal_w,petal_l,petal_w,species"
    cases = {
        "sepal_l,sepal_w,petal_l\n1,2,3\n": ["new.csv", "'petal_w'"],
        f"{names}\n1,2,3,x,setosa\n": ["new.csv, line 2", "'petal_w'", "'x'"],
        f"{names}\n1,2,3,4,setosa\n1,2,3,,setosa\n": ["new.csv, line 3", "'petal_w'"],
        f"{names}\n1,2,3,4,setosa\n1,1e300,3,4,setosa\n": ["new.csv, line 3", "'sepal_w'", "float32"],
    }
    for content, said in cases.items():
        (tmp_path / "new.csv").write_text(content)
        message = refused("predict", model, "new.csv", *FAST)
        for text in said:
            assert text in message
    (tmp_path / "new.csv").write_text(f"{names}\n1,2,3,4,setosa\n1,2,3,4,rose\n")
    message = refused("evaluate", model, "new.csv", *FAST)
    for text in ("new.csv, line 3", "'species'", "'rose'", "setosa"):
        assert text in message


def test_rows_without_lines_are_named_as_they_lie_in_the_file(refused: Callable[..., str], tmp_path: Path) -> None:
    X = np.ones((30, 2))
    X[17, 1] = 1e300
    np.savez(tmp_path / "large.npz", X=X, y=np.arange(30) % 2)
    assert "row 17 (from 0), column 'x1'" in refused("train", "large.npz", *FAST)


def test_probabilities_where_there_are_none(run: Run, refused: Callable[..., str], diabetes: Path, iris: Path) -> None:
    run("train", diabetes, "--target", "progression", "--epochs", "1", "-q", *FAST)
    assert "--probabilities: " in refused("predict", "diabetes.safetensors", diabetes, "--probabilities", *FAST)
    run("train", iris, "--target", "species", "--output", "identity", "--epochs", "1", "-q", *FAST)
    assert "'identity'" in refused("predict", "iris.safetensors", iris, "--probabilities", *FAST)


def test_a_network_saved_without_its_columns(refused: Callable[..., str], iris: Path, tmp_path: Path) -> None:
    net = jn.Network([4, 3], output="softmax", loss="cross_entropy")
    net.save(tmp_path / "bare.safetensors")
    assert "columns" in refused("predict", "bare.safetensors", iris, *FAST)
    net.save(tmp_path / "odd.safetensors", extra={"preparation": "{}"})
    assert "odd.safetensors: preparation" in refused("info", "odd.safetensors")
    other = Preparation(("a",), ("b",), "regression").to_json()
    net.save(tmp_path / "other.safetensors", extra={"preparation": other})
    assert "other.safetensors" in refused("info", "other.safetensors")


def test_nothing_is_written_over_without_force(run: Run, refused: Callable[..., str], iris: Path, model: Path) -> None:
    before = model.read_bytes()
    common = ("train", iris, "--target", "species", "--epochs", "1", "-q", *FAST)
    assert "--force" in refused(*common)
    Path("h.csv").write_text("mine")
    assert "--history: h.csv" in refused(*common, "--model", "other.safetensors", "--history", "h.csv")
    assert model.read_bytes() == before
    assert run(*common, "--history", "h.csv", "--force") == (0, "", "")
    assert model.read_bytes() != before
    assert Path("h.csv").read_text().startswith("epoch,")


def test_a_name_with_a_newline_stays_one_line(refused: Callable[..., str]) -> None:
    assert "two\\nlines.csv" in refused("train", "two\nlines.csv", "--target", "y")


def test_messages_of_the_library_speak_of_options() -> None:
    assert in_options("Adam lr: -1 given") == "--lr: -1 given"
    assert in_options("batch_size: 3 given (batch_size=None)") == "--batch-size: 3 given (--batch-size all)"
    assert in_options("dropout[0]: 2 given") == "--dropout[0]: 2 given"
    assert in_options("use output='softmax'") == "use --output softmax"
    assert in_options("data.csv, line 3: loss of a cell") == "data.csv, line 3: loss of a cell"


# ---- divergence, interruption, pipes ---------------------------------------------------------------------------------


def test_divergence_is_one_line_and_saves_nothing(run: Run, diabetes: Path, tmp_path: Path) -> None:
    common = ("train", diabetes, "--target", "progression", "--optimizer", "sgd", "--lr", "100", "-q", *FAST)
    code, out, err = run(*common)
    assert (code, out) == (1, "")
    assert re.fullmatch(r"error: training diverged in epoch 0, step \d+: [^\n]*No model is written[^\n]*\n", err)
    assert [path.name for path in tmp_path.iterdir()] == ["diabetes.csv"]
    code, out, err = run(*common, "--save-diverged")
    assert (code, out) == (1, "")
    assert "saved in diabetes.safetensors" in err
    assert np.isfinite(Model.load(Path("diabetes.safetensors")).net.theta).all()


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_stops_and_saves(iris: Path, tmp_path: Path) -> None:
    arguments = ["train", iris, "--target", "species", "--epochs", "1000000", "--history", "h.csv", *FAST]
    process = start(arguments, tmp_path, PYTHONUNBUFFERED="1")
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("data")
        while not process.stdout.readline().startswith("training"):
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "interrupted" in out
    assert Model.load(tmp_path / "iris.safetensors").net.n_in == 4
    assert (tmp_path / "h.csv").read_text().count("\n") >= 2


def test_a_reader_that_leaves_is_no_error(model: Path, tmp_path: Path) -> None:
    rows = [[1, 2, 3, 4]] * 50_000
    write_csv(tmp_path / "many.csv", ["sepal_l", "sepal_w", "petal_l", "petal_w"], rows)
    for unbuffered in ("", "1"):
        process = start(["predict", model, "many.csv", *FAST], tmp_path, PYTHONUNBUFFERED=unbuffered)
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "species\n"
        process.stdout.close()
        assert process.stderr.read() == ""
        process.stderr.close()
        assert process.wait(timeout=60) == 141


def test_a_full_disk_is_one_line(model: Path, iris: Path, tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    path = str(Path(jn.__file__).parents[1])
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "jitnet", "predict", str(model), str(iris), *FAST],
            env={**os.environ, "PYTHONPATH": path}, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60,
        )  # fmt: skip
    assert done.returncode == 2
    assert re.fullmatch(r"error: [^\n]+\n", done.stderr)


def test_the_process_ends_with_the_code(iris: Path, tmp_path: Path) -> None:
    process = start(["train", iris, "--target", "specis"], tmp_path)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (2, "")
    assert re.fullmatch(r"error: --target: [^\n]*did you mean 'species'[^\n]*\n", err)


def test_without_typer_one_line_says_what_to_install(
    refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "typer", None)
    assert refused() == "error: this needs typer: pip install 'jitnet[cli]'\n"


@pytest.mark.slow
def test_warmup_compiles_everything(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from jitnet._jit import Kernel
    from jitnet.forms import tiled

    code, out, err = run("warmup")
    assert code == 0
    assert "float32 and float64" in out
    assert err.count("\n") == 2
    kernels = [each for each in vars(tiled).values() if isinstance(each, Kernel)]
    assert len(kernels) >= 8
    for kernel in kernels:
        assert len(kernel.serial.signatures) >= 2, kernel.__name__
        assert len(kernel.parallel.signatures) >= 2, kernel.__name__
