"""What the commands read and write."""

from __future__ import annotations

import csv
import io
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from jitnet import tables
from jitnet.errors import InputError, unknown_name
from jitnet.files import write_whole
from jitnet.history import History
from jitnet.tables import Table


@dataclass(frozen=True)
class Source:
    """A data file and how to read it; `jitnet.tables.read_sets` says what each setting means.

    Raises InputError where the file is missing, unreadable or malformed, naming file, line and column.
    """

    path: Path
    header: bool = True
    delimiter: str | None = None
    x: str | None = None
    y: str | None = None
    x_test: str | None = None
    y_test: str | None = None

    def read(self) -> Table:
        """The rows of the file."""
        with _as_options():
            return tables.read(self.path, header=self.header, delimiter=self._separator, x=self.x, y=self.y)

    def read_sets(self) -> tuple[Table, Table | None]:
        """The rows of the file or folder, and its own test set where it brings one."""
        named = {"x": self.x, "y": self.y, "x_test": self.x_test, "y_test": self.y_test}
        with _as_options():
            return tables.read_sets(self.path, header=self.header, delimiter=self._separator, **named)

    @property
    def _separator(self) -> str | None:
        """A tab can be typed as backslash t, which shells do not translate."""
        return "\t" if self.delimiter == "\\t" else self.delimiter


@contextmanager
def _as_options() -> Iterator[None]:
    """Name the option where a message about a file names the reader's argument."""
    try:
        yield
    except InputError as error:
        message = str(error)
        for argument, option in (
            ("delimiter: ", "--delimiter: "),
            ("(header=False)", "(--no-header)"),
            ("name one with x,", "name one with --x,"),
            ("name them with y_test", "name them with --y-test"),
        ):
            message = message.replace(argument, option)
        raise InputError(message) from None


def stem(path: Path) -> str:
    """The name of a data file or folder without its suffixes, for a model to be named after."""
    name = path.resolve().name.removesuffix(".gz")
    return Path(name).stem or "model"


def claim(option: str, path: Path, *, force: bool, inputs: Iterable[Path], suffixes: Sequence[str] = ()) -> Path:
    """The path of a file to be written later, refused now where that could not or should not be done.

    An existing file is written over with `force` only, and one of the `inputs` never; a link stands for what it leads
    to. Raises InputError, naming the option and the path.
    """
    target = Path(os.path.realpath(path))
    if suffixes and path.suffix.lower() not in suffixes:
        raise unknown_name(f"{option}: {path}: suffix", path.suffix, suffixes)
    if target.is_symlink():
        raise InputError(f"{option}: {path}: this is a link that leads to itself")
    folder = path.parent if target.parent == Path(os.path.realpath(path.parent)) else target.parent
    if not folder.is_dir():
        raise InputError(f"{option}: {path}: there is no folder {folder}")
    if path.is_dir():
        raise InputError(f"{option}: {path}: this is a folder, the name of a file is wanted")
    if path.exists():
        if not path.is_file():
            raise InputError(f"{option}: {path}: this is not a regular file")
        if any(given.exists() and path.samefile(given) for given in inputs):
            raise InputError(f"{option}: {path}: this file is read, another name is wanted")
        if not force:
            raise InputError(
                f"{option}: {path} is there already; --force writes over it, {option} PATH gives another name"
            )
    if not os.access(folder, os.W_OK):
        raise InputError(f"{option}: {path}: the folder {folder} is not writable")
    return path


def write_history(path: Path, history: History) -> None:
    """Write the history as .json (`History.to_json`) or .csv (a row an epoch; NaN is an empty cell)."""
    if path.suffix.lower() == ".json":
        write_whole(path, (history.to_json() + "\n").encode())
        return
    rows = zip(*history.values(), strict=True)
    whole = ("epoch", "step")
    cells = (
        [
            "" if value != value else f"{value:.0f}" if name in whole else repr(value)
            for name, value in zip(history, row, strict=True)
        ]
        for row in rows
    )
    write_whole(path, _csv(list(history), cells))


def write_rows(path: Path | None, names: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a CSV file, or to standard output where `path` is None."""
    content = _csv(names, rows)
    if path is not None:
        write_whole(path, content)
        return
    if sys.stdout is None:
        raise InputError("standard output is closed; --output-file writes to a file")
    left = memoryview(content)
    while left:  # with PYTHONUNBUFFERED a write takes as much as the pipe has room for, and says so
        left = left[sys.stdout.buffer.write(left) :]
    sys.stdout.buffer.flush()


def _csv(names: Sequence[str], rows: Iterable[Sequence[str]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(rows)
    return text.getvalue().encode()
