"""The command line with a model that is there: `predict`, `evaluate`, `info`; help."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from command_line import FAST, Run, datasets, parsed, pl, table_of, write_csv

import jitnet as jn
from jitnet.cli.model import Model
from jitnet.storage import load


def test_predict_says_what_the_network_says(run: Run, iris: Path, model: Path, tmp_path: Path) -> None:
    data = datasets.load_iris()
    net = load(model)
    assert set(net.extra) == {"preparation"}
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
