"""Pictures: loss curves, predictions on images, the confusion matrix. Needs the extra `plots` (matplotlib)."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jitnet.errors import InputError, require
from jitnet.files import write_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, BLUE, ORANGE, GREY = "#222222", "#2166ac", "#d6604d", "#999999"
"""Colours that stay apart for colour-blind readers and on a grey printer."""


def confusion_matrix(labels: ArrayLike, predicted: ArrayLike, classes: int) -> NDArray[np.intp]:
    """How many data points of class r were taken for class s: (classes, classes), rows the truth."""
    counts = np.zeros((classes, classes), np.intp)
    np.add.at(counts, (np.asarray(labels, np.intp), np.asarray(predicted, np.intp)), 1)
    return counts


def training_picture(
    path: str | Path,
    history: Mapping[str, Sequence[float]],
    *,
    title: str | None = None,
    confusion: ArrayLike | None = None,
    classes: Sequence[Any] | None = None,
    images: ArrayLike | None = None,
    labels: Sequence[Any] | None = None,
    predicted: Sequence[Any] | None = None,
) -> None:
    """Draw a training to a file (PNG, SVG or PDF by its ending), written whole or not at all.

    Parameters
    ----------
    history : columns as `jitnet.History` has them; "loss" and "val_loss" are drawn, and "val_accuracy" where it is.
    confusion : counts (classes, classes), rows the truth; drawn beside the curves, with `classes` as names.
    images : (n, height, width) grey values, drawn below with their `predicted` and true `labels`; up to 20.

    Raises MissingExtraError without matplotlib, InputError for an ending that it cannot draw.
    """
    require("matplotlib", "plots")
    from matplotlib.figure import Figure

    with_confusion, with_images = confusion is not None, images is not None
    figure = Figure(figsize=(11 if with_confusion else 6.5, 7 if with_images else 4.6), layout="constrained")
    rows: Any = figure.subfigures(2, 1, height_ratios=[2.4, 1]) if with_images else [figure]
    axes = rows[0].subplots(1, 2 if with_confusion else 1, width_ratios=[1.25, 1] if with_confusion else None)
    curves, *rest = np.atleast_1d(axes)
    _draw_curves(curves, history)
    if confusion is not None:
        _draw_confusion(rest[0], np.asarray(confusion), classes)
    if images is not None:
        _draw_images(rows[1], np.asarray(images), labels, predicted)
    if title:
        figure.suptitle(title, color=INK)
    save(figure, path)


def save(figure: Figure, path: str | Path) -> None:
    """Write a figure in the format of the path's ending, whole or not at all."""
    ending = Path(path).suffix.lstrip(".").lower() or "png"
    known = figure.canvas.get_supported_filetypes()
    if ending not in known:
        raise InputError(f"{path}: a picture ending in {', '.join(sorted(known))} is wanted")
    drawn = io.BytesIO()
    figure.savefig(drawn, format=ending, dpi=120)
    write_whole(path, drawn.getvalue())


def _draw_curves(axes: Axes, history: Mapping[str, Sequence[float]]) -> None:
    from matplotlib.ticker import MaxNLocator

    epochs = np.arange(1, len(history["loss"]) + 1)
    marker = "o" if len(epochs) == 1 else None
    axes.plot(epochs, history["loss"], color=BLUE, label="training loss", marker=marker)
    if "val_loss" in history:
        axes.plot(epochs, history["val_loss"], color=ORANGE, label="validation loss", marker=marker)
    drawn = np.concatenate([history[name] for name in ("loss", "val_loss") if name in history])
    if (drawn > 0).all():
        axes.set_yscale("log")
    axes.set(xlabel="epoch", ylabel="loss")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(color=GREY, alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    handles = axes.get_lines()
    if "val_accuracy" in history:
        twin = axes.twinx()
        twin.plot(epochs, history["val_accuracy"], color=INK, linestyle=":", label="validation accuracy", marker=marker)
        twin.set_ylabel("accuracy")
        twin.spines["top"].set_visible(False)
        handles = [*handles, *twin.get_lines()]
    axes.legend(handles=handles, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=3)


def _draw_confusion(axes: Axes, counts: NDArray[Any], classes: Sequence[Any] | None) -> None:
    names = [str(name) for name in classes] if classes is not None else [str(k) for k in range(len(counts))]
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0)
    right = int(np.trace(counts))
    axes.set(xlabel="predicted", ylabel="true", title=f"{right} of {int(counts.sum())} right")
    if len(names) <= 30:
        ticks = range(len(names))
        axes.set_xticks(ticks, names, rotation=90 if max(map(len, names)) > 3 else 0)
        axes.set_yticks(ticks, names)
    if len(names) <= 12:
        for (r, s), count in np.ndenumerate(counts):
            if count:
                colour = "white" if shares[r, s] > 0.5 else INK
                axes.text(s, r, str(count), ha="center", va="center", color=colour, fontsize=8)


def _draw_images(
    part: Any, images: NDArray[Any], labels: Sequence[Any] | None, predicted: Sequence[Any] | None
) -> None:
    shown = min(20, len(images))
    grid = part.subplots(2, (shown + 1) // 2, squeeze=False)
    for k, axes in enumerate(grid.ravel()):
        axes.axis("off")
        if k >= shown:
            continue
        axes.imshow(images[k], cmap="gray_r")
        if predicted is None:
            continue
        wrong = labels is not None and labels[k] != predicted[k]
        text = f"{predicted[k]} (is {labels[k]})" if wrong and labels is not None else f"{predicted[k]}"
        axes.set_title(text, color=ORANGE if wrong else INK, fontsize=9, pad=2)
