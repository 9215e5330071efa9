"""The command line on Parquet, NPZ and IDX files, and on CSV of other kinds."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pytest
from command_line import FAST, Run, contents, datasets, parsed, pl, table_of


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


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such links")
def test_links_that_lead_nowhere_are_refused_before_training(run: Run, iris: Path, tmp_path: Path) -> None:
    """Others lead to where the model is written."""
    (tmp_path / "nowhere.safetensors").symlink_to("gone/model.safetensors")
    (tmp_path / "loop.safetensors").symlink_to("loop.safetensors")
    (tmp_path / "new.safetensors").symlink_to(tmp_path / "store" / "made.safetensors")
    (tmp_path / "store").mkdir()
    common = ("train", iris, "--target", "species", "--epochs", "1", *FAST)
    for model, says in (
        ("nowhere", f"there is no folder {tmp_path / 'gone'}"),
        ("loop", "this is a link that leads to itself"),
    ):
        code, out, err = run(*common, "--model", f"{model}.safetensors")
        assert (code, out, err) == (2, "", f"error: --model: {model}.safetensors: {says}\n")
    code, _, err = run(*common, "--model", "new.safetensors")
    assert (code, err) == (0, "")
    assert (tmp_path / "new.safetensors").is_symlink()
    assert contents("new.safetensors") == contents("store/made.safetensors")
