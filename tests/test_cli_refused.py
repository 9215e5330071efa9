"""The command line: whatever is wrong is one line on standard error with exit code 2, before any work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from command_line import FAST, Run

import jitnet as jn
from jitnet.cli import in_options
from jitnet.preparation import Preparation

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
