"""The commands and their options."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import numpy as np
import typer

import jitnet
from jitnet._jit import cache_folder
from jitnet.activations import TABLE as ACTIVATIONS
from jitnet.callbacks import EarlyStopping
from jitnet.cli import as_options, report
from jitnet.cli import train as training
from jitnet.cli.files import Source, claim, stem, write_history, write_rows
from jitnet.cli.model import Judgement, Model, Part
from jitnet.errors import DivergenceError, InputError, require, unknown_name, whole
from jitnet.forms import get_form
from jitnet.history import History
from jitnet.losses import TABLE as LOSSES
from jitnet.optimizers import OPTIMIZERS
from jitnet.preparation import TASKS

app = typer.Typer(
    add_completion=False, context_settings={"help_option_names": ["-h", "--help"]}, pretty_exceptions_enable=False
)

UsageError: Any = typer.BadParameter.__mro__[1]
"""The base of Typer's errors about usage; where it lives has changed between its versions."""


def run(arguments: Sequence[str]) -> int:
    """Run the command that the arguments name; its exit code. InputError for arguments that are no command's."""
    command: Any = typer.main.get_command(app)
    names = list(command.commands)
    first = arguments[0] if arguments else "--help"
    if not first.startswith("-") and first not in names:
        raise unknown_name("command", first, names)
    try:
        with command.make_context("jitnet", [first, *arguments[1:]]) as context:
            code: int | None = command.invoke(context)
            return code or 0
    except typer.Exit as end:
        return end.exit_code
    except UsageError as error:
        of = f" {first}" if first in names else ""
        reason = error.format_message().rstrip(".")
        raise InputError(f"{reason}; jitnet{of} --help lists all options") from None


def _version(asked: bool) -> None:
    if asked:
        print(f"jitnet {jitnet.__version__}")
        raise typer.Exit


@app.callback()
def about(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Train feed-forward neural networks on the CPU, on your own CSV, Parquet, NPZ or IDX files."""


# ---- options ---------------------------------------------------------------------------------------------------------

DATA, NETWORK, TRAINING, RESULT, HOW = "The data", "The network", "The training", "The result", "The computation"


def _option(panel: str, text: str, *names: str, metavar: str | None = None) -> Any:
    return typer.Option(*names, help=text, rich_help_panel=panel, metavar=metavar)


def _flag(panel: str, text: str, *names: str) -> Any:
    return typer.Option(*names, help=text, rich_help_panel=panel, metavar=" ", show_default=False)


def _known(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


ModelFile: TypeAlias = Annotated[Path, typer.Argument(metavar="MODEL", help="A model that `jitnet train` wrote.")]
Labelled: TypeAlias = Annotated[
    Path,
    typer.Argument(
        metavar="FILE",
        help="Rows with their targets: .csv, .tsv, .txt, .parquet, .npz, an IDX file of images (-ubyte, .idx, also "
        ".gz; its labels beside it), or a folder with MNIST's four IDX files.",
    ),
]
Header: TypeAlias = Annotated[
    bool, _flag(DATA, "Whether a CSV's first line names the columns; else c0, c1, ...", "--header/--no-header")
]
Delimiter: TypeAlias = Annotated[
    str | None, _option(DATA, "Between a CSV's cells. Default: comma, semicolon or tab.", metavar="CHARACTER")
]
X: TypeAlias = Annotated[str | None, _option(DATA, "An NPZ's inputs. Default: X, x, images.", "--x", metavar="ARRAY")]
Y: TypeAlias = Annotated[
    str | None,
    _option(DATA, "An NPZ's targets (default: y, t, labels), or an IDX file's labels.", "--y", metavar="ARRAY"),
]
XTest: TypeAlias = Annotated[
    str | None, _option(DATA, "An NPZ's own test inputs. Default: X_test, ...", "--x-test", metavar="ARRAY")
]
YTest: TypeAlias = Annotated[
    str | None, _option(DATA, "An NPZ's own test targets. Default: y_test, ...", "--y-test", metavar="ARRAY")
]
Force: TypeAlias = Annotated[bool, _flag(RESULT, "Write over files that are there already.", "--force")]
Form: TypeAlias = Annotated[
    str, _option(HOW, "auto, tiled, plain (both compiled loops) or matrix (NumPy).", metavar="NAME")
]
Threads: TypeAlias = Annotated[int | None, _option(HOW, "Threads of the compiled loops. Default: all.", metavar="N")]


@app.command()
def train(
    file: Labelled,
    target: Annotated[
        list[str] | None,
        _option(
            DATA, "The column to predict; more than one for regression. Needed for CSV and Parquet.", metavar="COLUMN"
        ),
    ] = None,
    features: Annotated[
        list[str] | None, _option(DATA, "A column to predict from; repeat it. Default: all others.", metavar="COLUMN")
    ] = None,
    ignore: Annotated[
        list[str] | None, _option(DATA, "A column to leave out of the features; repeat it.", metavar="COLUMN")
    ] = None,
    task: Annotated[
        str | None,
        _option(
            DATA,
            "classification or regression. Default: classification for text and for at most 20 whole numbers.",
            metavar="NAME",
        ),
    ] = None,
    standardize: Annotated[
        bool, _flag(DATA, "Bring numeric features to mean 0, deviation 1.", "--standardize/--no-standardize")
    ] = False,
    standardize_target: Annotated[
        bool, _flag(DATA, "The same for regression targets; answers are in their units.", "--standardize-target")
    ] = False,
    test_fraction: Annotated[
        float | None,
        _option(
            DATA, "Rows kept for the test, of each class; 0: none. Default 0.2, or the file's own.", metavar="SHARE"
        ),
    ] = None,
    validation_fraction: Annotated[
        float | None,
        _option(DATA, "Of the others, rows kept to watch the loss. Default 0, with --patience 0.1.", metavar="SHARE"),
    ] = None,
    header: Header = True,
    delimiter: Delimiter = None,
    x: X = None,
    y: Y = None,
    x_test: XTest = None,
    y_test: YTest = None,
    hidden: Annotated[str, _option(NETWORK, "Widths of the hidden layers, or none.", metavar="N,N,...")] = "64,64",
    activation: Annotated[
        str,
        _option(NETWORK, f"Of the hidden layers; one, or one each with commas: {_known(ACTIVATIONS)}.", metavar="NAME"),
    ] = "relu",
    output: Annotated[
        str | None,
        _option(
            NETWORK,
            "Activation of the output. Default: what suits the loss, or softmax for classes, else identity.",
            metavar="NAME",
        ),
    ] = None,
    loss: Annotated[
        str | None,
        _option(
            NETWORK, f"{_known(LOSSES)}. Default: cross_entropy for classes, else half_squared_error.", metavar="NAME"
        ),
    ] = None,
    dtype: Annotated[str, _option(NETWORK, "float32 or float64.", metavar="NAME")] = "float32",
    optimizer: Annotated[str, _option(TRAINING, _known(OPTIMIZERS), metavar="NAME")] = "adam",
    lr: Annotated[float | None, _option(TRAINING, "Learning rate. Default: the optimizer's.", metavar="RATE")] = None,
    schedule: Annotated[
        str | None,
        _option(TRAINING, f"Of the rate, over all steps: {_known(training.SCHEDULES)}.", metavar="NAME"),
    ] = None,
    epochs: Annotated[
        int | None, _option(TRAINING, "Passes over the data. Default: 5000 steps' worth, 10 to 200.", metavar="N")
    ] = None,
    batch_size: Annotated[str | None, _option(TRAINING, "Rows a step, or all. Default 32.", metavar="N")] = None,
    dropout: Annotated[
        str, _option(TRAINING, "Share of silent hidden neurons; one, or one a layer with commas.", metavar="SHARE")
    ] = "0",
    l1: Annotated[float, _option(TRAINING, "Penalty on |W|.", metavar="FACTOR")] = 0.0,
    l2: Annotated[float, _option(TRAINING, "Penalty on W²/2.", metavar="FACTOR")] = 0.0,
    weight_decay: Annotated[
        float | None, _option(TRAINING, "Decoupled decay. Default: the optimizer's.", metavar="FACTOR")
    ] = None,
    clip_norm: Annotated[float | None, _option(TRAINING, "Longest gradient of a step.", metavar="NORM")] = None,
    patience: Annotated[
        int | None,
        _option(TRAINING, "Stop after so many epochs without a better validation loss; keep the best.", metavar="N"),
    ] = None,
    seed: Annotated[int, _option(TRAINING, "Of the split, the start, the order and dropout.", metavar="N")] = 0,
    model: Annotated[
        Path | None, _option(RESULT, "Where to save. Default: FILE's name with .safetensors, here.", metavar="PATH")
    ] = None,
    history: Annotated[Path | None, _option(RESULT, "Write the losses: .json or .csv.", metavar="PATH")] = None,
    plot: Annotated[
        Path | None, _option(RESULT, "Draw losses and confusion matrix: .png, .svg or .pdf.", metavar="PATH")
    ] = None,
    force: Force = False,
    save_diverged: Annotated[
        bool, _flag(RESULT, "Save the last finite parameters where training diverges.", "--save-diverged")
    ] = False,
    quiet: Annotated[bool, _flag(RESULT, "Print nothing but errors.", "--quiet", "-q")] = False,
    form: Form = "auto",
    threads: Threads = None,
) -> int:
    """Train a network on a file, report how well it does, and save it.

    The test rows take no part in the training, nor in the means and deviations of --standardize.

    Ctrl-C ends the training early: the model as far as it came is reported and saved, with exit code 130; a second
    Ctrl-C leaves at once. A training that diverges saves nothing and has exit code 1. Bad input has exit code 2.
    """
    path = claim("--model", model or Path(f"{stem(file)}.safetensors"), force=force, inputs=[file])
    if history is not None:
        claim("--history", history, force=force, inputs=[file, path], suffixes=(".json", ".csv"))
    if plot is not None:
        claim("--plot", plot, force=force, inputs=[file, path], suffixes=(".png", ".svg", ".pdf"))
        require("matplotlib", "plots")

    # Everything that can be refused without the data is refused before they are read.
    choices: Mapping[str, Any] = {
        "hidden": hidden, "activation": activation, "output": output, "loss": loss, "dtype": dtype, "seed": seed,
    }  # fmt: skip
    with as_options():
        if task is not None and task not in TASKS:
            raise unknown_name("task", task, TASKS)
        wanted = training.network(training.ANY_DATA[task or "regression"], **choices).loss_function
        if standardize_target and wanted.targets != "any":
            raise InputError(f"--standardize-target: loss {wanted.name!r} wants the targets as they are")
        get_form(form)
        make_optimizer = partial(training.optimizer, optimizer, lr, schedule, weight_decay)
        full = make_optimizer(steps=1).full_batch_only
        batch = training.batch_of(batch_size)
        rates = training.numbers("--dropout", dropout, float)
        stopping = [] if patience is None else [EarlyStopping(patience)]
    if epochs is not None:
        whole("--epochs", epochs, least=1)
    fractions = training.fractions(test_fraction, validation_fraction, patience is not None)

    table, own_test = Source(file, header, delimiter, x, y, x_test, y_test).read_sets()
    with as_options():
        preparation, tables = training.divide(
            table,
            own_test,
            training.columns(table, target or [], features or [], ignore or []),
            fractions,
            task=task,
            standardize=standardize,
            standardize_target=standardize_target,
            seed=seed,
        )
        trained = Model(training.network(preparation, **choices), preparation, form, threads)
        parts = {name: trained.part(each) for name, each in tables.items()}
        steps = training.steps_an_epoch(len(parts["train"].X), batch, full)
        epochs = epochs or training.usual_epochs(steps)
        out = report.console(quiet=quiet)
        interrupt = training.Interruptible()
        announce = training.AtStart(lambda run: report.before_training(out, trained, parts, run))
        try:
            with interrupt:
                learned = trained.net.fit(
                    parts["train"].X,
                    parts["train"].T,
                    optimizer=make_optimizer(steps=epochs * steps),
                    epochs=epochs,
                    batch_size=batch,
                    validation=(parts["validation"].X, parts["validation"].T) if "validation" in parts else None,
                    l1=l1,
                    l2=l2,
                    dropout=rates if len(rates) > 1 else rates[0],
                    clip_norm=clip_norm,
                    form=form,
                    threads=threads,
                    callbacks=[*stopping, announce, interrupt],
                    verbose=not quiet and sys.stderr.isatty(),
                )
        except DivergenceError as error:
            raise training.diverged(error, trained, path if save_diverged else None) from None
    trained.save(path)
    if history is not None:
        write_history(history, learned)
    report.after_training(out, learned)
    judged = {name: trained.judge(part) for name, part in parts.items()}
    report.judgements(out, judged)
    last = "test" if "test" in judged else "train"
    report.mistakes(out, trained, last, judged[last])
    if plot is not None and learned:
        _draw(plot, trained, learned, parts[last], judged[last])
    report.saved(out, path, history, plot if learned else None)
    return 130 if interrupt.asked else 0


def _draw(path: Path, model: Model, history: History, part: Part, judged: Judgement) -> None:
    """The picture of a training: losses, for classes the confusion matrix, and some rows where these are images."""
    from jitnet.plots import training_picture

    shown: dict[str, Any] = {}
    if judged.confusion is not None:
        shown = {"confusion": judged.confusion, "classes": model.classes}
        pixels = part.table.block
        side = 0 if pixels is None else math.isqrt(pixels.shape[1])
        if pixels is not None and side >= 8 and side**2 == pixels.shape[1]:
            images = pixels[:20].reshape(-1, side, side)
            shown |= {"images": images, "labels": judged.truth[:20], "predicted": judged.answers[:20]}
    training_picture(path, history, title=Path(part.table.file).name, **shown)


@app.command()
def predict(
    model: ModelFile,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="New rows, of any kind that `train` reads; targets are not needed.")
    ],
    output_file: Annotated[
        Path | None, _option(RESULT, "A CSV file instead of standard output.", "--output-file", "-o", metavar="PATH")
    ] = None,
    probabilities: Annotated[
        bool, _flag(RESULT, "A column a class with its probability, too.", "--probabilities")
    ] = False,
    header: Header = True,
    delimiter: Delimiter = None,
    x: X = None,
    force: Force = False,
    form: Form = "auto",
    threads: Threads = None,
) -> None:
    """Predict the target of new rows: a CSV with a line for each row, in their order."""
    if output_file is not None:
        claim("--output-file", output_file, force=force, inputs=[model, file])
    with as_options():
        get_form(form)
    trained = Model.load(model, form=form, threads=threads)
    table = Source(file, header, delimiter, x).read()
    Y = trained.outputs(trained.inputs(table), table)
    answers = trained.preparation.decode(Y).reshape(len(Y), -1)
    names = list(trained.preparation.target_names)
    if not trained.classes:
        answers = answers.astype(trained.net.dtype)  # so many digits are there, and are written
    columns = [answers.astype(str)]
    if probabilities:
        columns.append(trained.probabilities(Y).astype(str))
        names += [f"p_{label}" for label in trained.classes]
    write_rows(output_file, names, np.hstack([each.astype(object) for each in columns]).tolist())


@app.command()
def evaluate(
    model: ModelFile,
    file: Labelled,
    header: Header = True,
    delimiter: Delimiter = None,
    x: X = None,
    y: Y = None,
    x_test: XTest = None,
    y_test: YTest = None,
    form: Form = "auto",
    threads: Threads = None,
) -> None:
    """Loss and metrics of a model on rows whose targets are known."""
    with as_options():
        get_form(form)
    trained = Model.load(model, form=form, threads=threads)
    table, test = Source(file, header, delimiter, x, y, x_test, y_test).read_sets()
    parts = {file.name: table} if test is None else {"train": table, "test": test}
    judged = {name: trained.judge(trained.part(part)) for name, part in parts.items()}
    out = report.console()
    report.judgements(out, judged)
    last = list(judged)[-1]
    report.mistakes(out, trained, last, judged[last])


@app.command()
def info(model: ModelFile) -> None:
    """What is in a model file."""
    report.about_file(report.console(), model, Model.load(model))


@app.command()
def warmup() -> None:
    """Compile all loops now, for float32 and float64, and keep them for later runs."""
    out = report.console()
    folder = cache_folder()
    began = time.perf_counter()
    for dtype in ("float32", "float64"):
        print(f"compiling for {dtype}, about a minute", file=sys.stderr)
        training.use_everything(dtype)
    seconds = time.perf_counter() - began
    kept = str(folder) if folder else "nowhere: no folder is writable by this user alone"
    report.facts(out, [("ready", f"float32 and float64, {seconds:.1f} s"), ("kept in", kept)])
