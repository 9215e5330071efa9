"""Pictures: drawn for every combination of what is given, whole or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from jitnet.errors import InputError

pytest.importorskip("matplotlib")

from jitnet import plots

HISTORY = {"loss": [1.0, 0.5, 0.25], "val_loss": [1.1, 0.7, 0.6], "val_accuracy": [0.3, 0.5, 0.75]}


def size(path: Path) -> tuple[int, int]:
    """Width and height in a PNG's header."""
    header = path.read_bytes()[:24]
    assert header[:8] == b"\x89PNG\r\n\x1a\n"
    return int.from_bytes(header[16:20], "big"), int.from_bytes(header[20:24], "big")


def test_confusion_matrix_counts_rows_of_truth() -> None:
    counts = plots.confusion_matrix([0, 0, 1, 2, 2, 2], [0, 1, 1, 2, 2, 0], 3)
    np.testing.assert_array_equal(counts, [[1, 1, 0], [0, 1, 0], [1, 0, 2]])


def test_every_part_makes_the_picture_larger(tmp_path: Path) -> None:
    counts = plots.confusion_matrix([0, 1, 1], [0, 1, 0], 2)
    images = np.random.default_rng(0).random((5, 8, 8))
    given = {"images": images, "labels": [0, 1, 1, 0, 1], "predicted": [0, 1, 0, 0, 1]}
    plots.training_picture(tmp_path / "a.png", HISTORY)
    plots.training_picture(tmp_path / "b.png", HISTORY, confusion=counts, classes=["no", "yes"], title="a title")
    plots.training_picture(tmp_path / "c.png", HISTORY, confusion=counts, **given)
    a, b, c = (size(tmp_path / name) for name in ("a.png", "b.png", "c.png"))
    assert a[0] < b[0] == c[0]
    assert a[1] == b[1] < c[1]


@pytest.mark.parametrize("history", [{"loss": [0.0]}, {"loss": [-1.0, -2.0]}, {"loss": [1.0, float("nan")]}])
def test_odd_histories(tmp_path: Path, history: dict[str, list[float]]) -> None:
    plots.training_picture(tmp_path / "odd.svg", history)
    assert (tmp_path / "odd.svg").read_text().startswith("<?xml")


def test_many_classes(tmp_path: Path) -> None:
    plots.training_picture(tmp_path / "many.png", HISTORY, confusion=np.eye(40, dtype=int))
    assert size(tmp_path / "many.png")


def test_a_bad_ending_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"drawing\.txt"):
        plots.training_picture(tmp_path / "drawing.txt", HISTORY)
    assert list(tmp_path.iterdir()) == []
