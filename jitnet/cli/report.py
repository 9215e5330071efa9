"""What the commands print: tables on standard output."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np
from rich.console import Console
from rich.table import Table as Grid

from jitnet._jit import cache_folder
from jitnet.cli.model import Judgement, Model, Part
from jitnet.history import History
from jitnet.training import Run

MOST_CLASSES = 20
"""Classes that are reported one by one at most."""

MOST_TEXTS = 10
"""Different texts of a column, and half as many as there are rows, from which on it may be a name for each row."""


class _Console(Console):
    """Rich's own would leave the process with code 1."""

    def on_broken_pipe(self) -> NoReturn:
        raise BrokenPipeError


def console(*, quiet: bool = False) -> Console:
    """Standard output for tables: names are printed as they are, and not cut where it is no terminal."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")  # R² on a terminal that knows ASCII only
    width = None if sys.stdout is not None and sys.stdout.isatty() else 1000
    return _Console(quiet=quiet, width=width, markup=False, emoji=False, highlight=False)


def number(value: float) -> str:
    """Four digits that count."""
    return f"{value:.4g}"


def many(count: int, what: str) -> str:
    """``1 epoch``, ``2 epochs``."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def listed(names: Sequence[str], most: int = 10) -> str:
    """The first names, and how many there are if these are not all."""
    more = f", ... ({len(names)} in all)" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def facts(out: Console, rows: Sequence[tuple[str, str]]) -> None:
    """Two columns: what, and what it is."""
    grid = Grid.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="bold", no_wrap=True, min_width=8)
    grid.add_column(overflow="fold")
    for row in rows:
        grid.add_row(*row)
    out.print(grid)


def table(out: Console, headings: Sequence[str], rows: Sequence[Sequence[str]], texts: Sequence[int] = (0,)) -> None:
    """A table with text in the columns `texts` and numbers in the others."""
    grid = Grid(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for k, heading in enumerate(headings):
        grid.add_column(heading, justify="left" if k in texts else "right", overflow="fold", min_width=8)
    for row in rows:
        grid.add_row(*row)
    out.print()
    out.print(grid)


def about_data(model: Model) -> list[tuple[str, str]]:
    """What goes into the network and what comes out."""
    p = model.preparation
    features = f"{listed(p.feature_names)}: {model.net.n_in} inputs" + ("; standardised" if p.mean else "")
    target = ", ".join(p.target_names) + ("; standardised" if p.target_mean else "")
    classes = f": {len(p.classes)} classes, {listed(model.classes)}" if p.classes else ""
    return [("features", features), ("target", target + classes)]


def about_network(model: Model) -> str:
    """The network in one line."""
    return repr(model.net).removeprefix("<Network ").removesuffix(">")


def hints(model: Model, train: Part, run: Run) -> list[tuple[str, str]]:
    """Options that may help with numbers far from 1 and texts that tell rows apart; why nothing moves at first."""
    p, told = model.preparation, []
    for name, texts in p.categories.items():
        if len(texts) > max(MOST_TEXTS, len(train.X) / 2):
            told.append(f"{name} has {len(texts)} different texts; --ignore {name!r} leaves it out")
    if not p.mean and abs(train.X).max() > 10:
        told.append(f"inputs reach {number(abs(train.X).max())}; try --standardize")
    if not (p.classes or p.target_mean) and model.net.loss_function.targets == "any" and abs(train.T).max() > 10:
        told.append(f"targets reach {number(abs(train.T).max())}; try --standardize-target")
    folder = cache_folder()
    if run.settings.form.__name__.endswith("plain") and not (folder and any(folder.glob("*.nbi"))):
        told.append("the loops are compiled now, once; that takes a minute")
    return [("hint", hint) for hint in told]


def before_training(out: Console, model: Model, parts: Mapping[str, Part], run: Run) -> None:
    """What was read, what is trained and how."""
    settings, train = run.settings, parts["train"]
    rows = ", ".join(f"{len(part.X)} {name}" for name, part in parts.items())
    rate = f"(lr={settings.optimizer.lr})" if hasattr(settings.optimizer, "lr") else ""
    facts(
        out,
        [
            ("data", f"{train.table.file}: {rows} rows"),
            *about_data(model),
            ("network", about_network(model)),
            (
                "training",
                f"{type(settings.optimizer).__name__}{rate}, {many(run.epochs or 0, 'epoch')} of "
                f"{many(run.epoch_steps, 'step')} of {many(settings.batch_size, 'row')}; seed {settings.seed}",
            ),
            *hints(model, train, run),
        ],
    )  # fmt: skip


def after_training(out: Console, history: History) -> None:
    """How far the training came."""
    seconds = f" in {history['seconds'][-1]:.1f} s" if history else ""  # L-BFGS takes no step from a minimum
    told = f"{many(len(history), 'epoch')}{seconds}: {history.stopped}"
    if history.best_epoch is not None:
        told += f"; kept are the parameters after epoch {history.best_epoch + 1}, the best"
    facts(out, [("trained", told)])


def saved(out: Console, model: Path, history: Path | None, plot: Path | None) -> None:
    """Where everything was written."""
    out.print()
    written = (("model", model), ("history", history), ("picture", plot))
    facts(out, [(name, str(path)) for name, path in written if path is not None])


def judgements(out: Console, judged: Mapping[str, Judgement]) -> None:
    """Loss and metrics of each part, then the classes of the last one."""
    first = next(iter(judged.values()))
    rows = [["rows", *(str(each.rows) for each in judged.values())]]
    rows += [[name, *(number(each.scores[name]) for each in judged.values())] for name in first.scores]
    table(out, ["", *judged], rows)


def mistakes(out: Console, model: Model, name: str, judged: Judgement) -> None:
    """For each class of these rows, how many are right and what the others are taken for."""
    confusion = judged.confusion
    if confusion is None or len(confusion) > MOST_CLASSES:
        return
    rows = []
    for k, counts in enumerate(confusion):
        wrong = [j for j in np.argsort(-counts, kind="stable") if j != k and counts[j]]
        taken = [f"{model.classes[j]} ({counts[j]})" for j in wrong[:3]] + ["..."] * (len(wrong) > 3)
        rows.append([model.classes[k], str(counts.sum()), str(counts[k]), ", ".join(taken)])
    table(out, ["class", f"{name} rows", "right", "others taken for"], rows, texts=(0, 3))


def about_file(out: Console, path: Path, model: Model) -> None:
    """What is in a model file."""
    net, p = model.net, model.preparation
    facts(
        out,
        [
            ("file", f"{path}, {path.stat().st_size} bytes"),
            ("task", p.task),
            *about_data(model),
            ("network", about_network(model)),
            ("seed", str(net.seed)),
        ],
    )
    rows = [
        [str(m + 1), a.name, f"{W.shape[0]} x {W.shape[1]}", str(len(net.b[m])), f"{abs(W).max():.4g}"]
        for m, (W, a) in enumerate(zip(net.W, net.activations, strict=True))
    ]
    table(out, ["layer", "activation", "weights", "biases", "largest |W|"], rows, texts=(0, 1))
    if not (p.categories or p.mean):
        return
    scale = dict(zip(p.numeric, zip(p.mean, p.std, strict=True), strict=True)) if p.mean else {}
    shown = []
    for name in p.feature_names[:MOST_CLASSES]:
        texts = p.categories.get(name)
        kind = f"{len(texts)} texts: {listed(texts, 5)}" if texts else "number"
        shown.append([name, kind, *(number(value) for value in scale.get(name, ()))])
    table(out, ["feature", "kind", *(("mean", "deviation") if scale else ())], shown, texts=(0, 1))
    if len(p.feature_names) > MOST_CLASSES:
        out.print(f"... ({len(p.feature_names)} features in all)")
