"""Reading a user's own file into a `Table`: CSV, Parquet, NPZ and IDX.

Shapes: n rows, d columns of the dense block. A file is either understood completely or refused with an `InputError`
of one line that names the file and, where they apply, the line (1-based, the header counted) and the column.
Nothing is filled in, skipped or guessed: an empty cell, a NaN or a ragged line is an error.
"""

from __future__ import annotations

import gzip
import io
import math
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from jitnet.errors import InputError, no_column, require, unknown_name

Column: TypeAlias = "NDArray[np.float64] | NDArray[np.str_]"
PathLike: TypeAlias = "str | os.PathLike[str]"

DELIMITERS = ",;\t"
BLANKS = " \t"
KINDS = ".csv, .tsv, .txt, .parquet, .npz, .idx, -ubyte (the last two also with .gz)"

# Names under which NPZ files in the wild keep inputs and targets, in the order in which they are looked for.
INPUT_ARRAYS = ("X", "x", "images")
TARGET_ARRAYS = ("y", "Y", "t", "T", "labels")

IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
IDX_NAME = re.compile(r"(\.idx|-ubyte)(\.gz)?$", re.IGNORECASE)
IDX_FOLDER = (("train-images", "train-labels"), ("t10k-images", "t10k-labels"))

DECIMAL_COMMA = r"^[+-]?\d*,\d+$"


@dataclass(frozen=True, eq=False)
class Table:
    """Named columns of equal length, with the place of every row in the file they came from.

    `columns`: name -> (n,) float64 or str (NumPy ``<U``), in file order; all numbers are finite.
    `block`: (n, d) of any real dtype, or None: many numeric columns as one array, named x0 .. x(d-1). Images and NPZ
    inputs live here, so that 784 pixels are not 784 Python objects, and uint8 stays uint8 until `numbers` is called.
    `targets`: the columns that the file itself marks as targets (NPZ and IDX); empty where it does not (CSV, Parquet).
    `lines`: (n,) the 1-based line on which each row begins, or None where a file has no lines.
    `rows`: (n,) the 0-based row of the file that each is, or None where the table has all rows in their order.
    """

    file: str
    columns: Mapping[str, Column] = field(default_factory=dict)
    block: NDArray[Any] | None = None
    targets: tuple[str, ...] = ()
    lines: NDArray[np.int64] | None = None
    rows: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        """The number of rows n."""
        return len(self.block) if self.block is not None else len(next(iter(self.columns.values())))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """All column names: the block's, then the others in file order."""
        return (*self._block_index, *self.columns)

    @cached_property
    def _block_index(self) -> dict[str, int]:
        return {} if self.block is None else {f"x{j}": j for j in range(self.block.shape[1])}

    def column(self, name: str) -> Column:
        """The column of this name, (n,) float64 or str; an unknown name is an `InputError` with the nearest one."""
        if name in self.columns:
            return self.columns[name]
        if self.block is None or name not in self._block_index:
            raise no_column(self.file, name, self.names)
        return self.block[:, self._block_index[name]].astype(np.float64)

    def is_text(self, name: str) -> bool:
        """Whether the column of this name holds text; an unknown name is an `InputError`."""
        return name not in self._block_index and self.column(name).dtype.kind == "U"

    def numbers(self, names: Sequence[str]) -> NDArray[np.float64]:
        """A new (n, len(names)) float64 matrix of numeric columns, in the order asked for."""
        if self.block is not None and tuple(names) == tuple(self._block_index):
            return self.block.astype(np.float64)
        X = np.empty((len(self), len(names)))
        for j, name in enumerate(names):
            X[:, j] = self.column(name)
        return X

    def take(self, rows: NDArray[np.int64]) -> Table:
        """The table of these rows (0-based indices, any order); it still knows the place of each."""
        return replace(
            self,
            columns={name: column[rows] for name, column in self.columns.items()},
            block=None if self.block is None else self.block[rows],
            lines=None if self.lines is None else self.lines[rows],
            rows=rows if self.rows is None else self.rows[rows],
        )

    def where(self, row: int, name: str) -> str:
        """The place of a cell for a message: file, line (or 0-based row, where there are no lines) and column."""
        in_file = row if self.rows is None else self.rows[row]
        place = f"row {in_file} (from 0)" if self.lines is None else f"line {self.lines[row]}"
        return f"{self.file}, {place}, column {name!r}"


def read(
    path: PathLike, *, header: bool = True, delimiter: str | None = None, x: str | None = None, y: str | None = None
) -> Table:
    r"""Read one file as one table; the kind is the one that its name says.

    CSV (.csv, .tsv, .txt; UTF-8; needs the `cli` extra): the first line has the column names, or with ``header=False``
    they are c0, c1, ... `delimiter`: tab for .tsv, otherwise the one of comma, semicolon and tab that the first line
    has most of. Cells may be quoted as in RFC 4180; blanks around a cell are dropped; line ends become ``\\n``; blank
    lines at the end are ignored. A column is numeric when every cell is a decimal number, text when none is.
    Parquet (needs the `cli` extra): numbers become float64; text, categories and booleans ("true", "false") text.
    NPZ: `x` and `y` name the arrays (default: X, x or images; y, Y, t, T or labels). Inputs (n, ...) become the columns
    x0 ..; targets (n,) become y, (n, k) y0 ..; without targets the table has only inputs.
    IDX (MNIST's format; also gzipped): images; `y` is the file with the labels (default: the neighbour in whose name
    "images-idx3" is "labels-idx1", if there is one), which become the column y.

    Raises `InputError` for a file that is missing, unreadable, damaged or not as described here.
    """
    return _read(path, header=header, delimiter=delimiter, x=x, y=y)


def read_sets(
    path: PathLike,
    *,
    header: bool = True,
    delimiter: str | None = None,
    x: str | None = None,
    y: str | None = None,
    x_test: str | None = None,
    y_test: str | None = None,
) -> tuple[Table, Table | None]:
    """Read a training table, and the test table where the data bring their own.

    They do in a folder with MNIST's four files (train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-..., each also
    with .gz), and in an NPZ file with test arrays (`x_test` and `y_test`, or X_test, test_X and so on when `x` is not
    given either). Everything else is `read`, with the same arguments and errors, and None.
    """
    if Path(path).is_dir():
        return _read_idx_folder(Path(path))
    if Path(path).suffix.lower() != ".npz":
        return _read(path, header=header, delimiter=delimiter, x=x, y=y), None
    file, arrays = str(path), _npz_arrays(path)
    train_x = _array_name(file, arrays, x, [*_variants("train", INPUT_ARRAYS), *INPUT_ARRAYS])
    train_y = _array_name(file, arrays, y, [*_variants("train", TARGET_ARRAYS), *TARGET_ARRAYS])
    test_x = _array_name(file, arrays, x_test, _variants("test", INPUT_ARRAYS) if x is None else ())
    test_y = _array_name(file, arrays, y_test, _variants("test", TARGET_ARRAYS))
    train = _npz_table(file, arrays, train_x, train_y)
    if test_x is None:
        return train, None
    if test_y is None and train_y is not None:
        raise InputError(f"{file}: array {test_x!r} has no targets beside it; name them with y_test")
    return train, _npz_table(file, arrays, test_x, test_y if train_y is not None else None)


def _read(path: PathLike, *, header: bool, delimiter: str | None, x: str | None, y: str | None) -> Table:
    file, suffix = str(path), Path(path).suffix.lower()
    if suffix in (".csv", ".tsv", ".txt"):
        return _read_csv(file, _text(file, _bytes(path)), header, "\t" if suffix == ".tsv" else None, delimiter)
    if suffix == ".parquet":
        return _read_parquet(file, _bytes(path))
    if suffix == ".npz":
        arrays = _npz_arrays(path)
        names = _array_name(file, arrays, x, INPUT_ARRAYS), _array_name(file, arrays, y, TARGET_ARRAYS)
        return _npz_table(file, arrays, *names)
    if IDX_NAME.search(file):
        return _read_idx(Path(path), None if y is None else Path(y))
    _bytes(path)  # a missing file or a folder is the better message
    raise InputError(f"{file}: the kind of file is not known by its name; wanted: {KINDS}")


def _bytes(path: PathLike) -> bytes:
    """The whole file; every reader works on these bytes, so that a message is about what was read."""
    try:
        return Path(path).read_bytes()
    except IsADirectoryError:
        raise InputError(f"{path}: this is a folder, a file is wanted") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None
    except ValueError as error:  # a NUL in the name
        raise InputError(f"{str(path)!r}: {error}") from None


@contextmanager
def _foreign(file: str, kind: str, *others: type[BaseException]) -> Iterator[None]:
    """Turn whatever another library raises on a damaged file into one line; their own classes are too many to list.

    `others`: classes beside `Exception` (a panic of polars is none).
    """
    try:
        yield
    except InputError:
        raise
    except BaseException as error:
        if not isinstance(error, (Exception, *others)):
            raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(f"{file}: not a readable {kind} file: {reason}") from error


# CSV ------------------------------------------------------------------------------------------------------------------


def _text(file: str, data: bytes) -> str:
    r"""The text of a UTF-8 file, with ``\\n`` as the only line end and none at the end of the file."""
    try:
        text = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").decode("utf-8-sig")
    except UnicodeDecodeError as error:
        bad = error.object
        line = bad.count(b"\n", 0, error.start) + 1
        raise InputError(f"{file}, line {line}: byte 0x{bad[error.start]:02x} is not UTF-8 text") from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise InputError(f"{file}, line {line}: a NUL byte; this is not a text file")
    if not text.strip():
        raise InputError(f"{file}: the file is empty")
    return text.rstrip("\n")


def _read_csv(file: str, text: str, header: bool, usual: str | None, chosen: str | None) -> Table:
    pl = require("polars", "cli")
    if chosen is not None and (len(chosen) != 1 or not chosen.isascii() or chosen in '"\r\n'):
        raise InputError(f"delimiter: {chosen!r} given, one ASCII character is wanted")
    delimiter = chosen or usual or _sniff(text)
    line, first, end = next(_records(file, text, delimiter))
    names = _header(file, line, first) if header else [f"c{j}" for j in range(len(first))]
    start = end if header else 0
    if start == len(text):
        raise InputError(f"{file}: no rows below the column names")

    fault = partial(_fault, file, text, delimiter, names)
    if not _quotes_fit(text, delimiter):
        raise fault("its quotes do not fit")
    schema = dict.fromkeys(names, pl.String)
    try:
        frame = pl.read_csv(text[start:].encode(), has_header=False, schema=schema, separator=delimiter)
    except pl.exceptions.PolarsError as error:
        raise fault(str(error)) from None
    frame = frame.select(pl.all().str.strip_chars(BLANKS))
    if not all(frame.select((pl.all() != "").fill_null(False).all()).row(0)):
        raise fault("a cell is missing")
    lines = _record_lines(text)[int(header) :]
    if len(lines) != frame.height:
        raise fault(f"{len(lines)} records read as {frame.height} rows")

    table = Table(file, {}, lines=lines)  # for the places of faulty cells
    numbers = frame.select(pl.all().cast(pl.Float64, strict=False))
    columns = {name: _csv_column(table, frame[name], numbers[name], pl) for name in names}
    return replace(table, columns=columns)


def _sniff(text: str) -> str:
    """The delimiter that the first line has most of, outside quotes; the comma when there is none."""
    head = re.sub(r'"[^"]*"', "", text[:65536]).split("\n", 1)[0]
    return max(DELIMITERS, key=head.count)


def _records(file: str, text: str, delimiter: str) -> Iterator[tuple[int, list[str], int]]:
    """(line on which it begins, cells, position after it) of each record, by the grammar of RFC 4180.

    Polars reads the data ten times faster; this reads the header, and finds the line of what polars stumbles over.
    """
    d = re.escape(delimiter)
    cell = re.compile(rf'(?:"((?:[^"]++|"")*+)"|([^"\n{d}]*+))({d}|\n|\Z)')
    cells: list[str] = []
    line = begin = 1
    position = 0
    while True:
        match = cell.match(text, position)
        if match is None:
            raise InputError(
                f"{file}, line {line}, column {len(cells) + 1}: a quote is not closed or stands inside a cell "
                'that does not begin with one; write the cell as "..." and a quote in it as ""'
            )
        quoted, bare, end = match.groups()
        cells.append((bare if quoted is None else quoted.replace('""', '"')).strip(BLANKS))
        line += match.group().count("\n")
        position = match.end()
        if end != delimiter:
            yield begin, cells, position
            cells, begin = [], line
        if not end:
            return


def _quotes_fit(text: str, delimiter: str) -> bool:
    """Whether every quote opens or closes a whole cell or is doubled inside one.

    Counted from 0, even quotes open and odd ones close. A doubled quote closes and opens again at once, so each has
    only quotes, delimiters, newlines or the ends of the file on its outer side. Polars takes some files where that is
    not so, and puts several cells into one without a word.
    """
    data = np.frombuffer(f"\n{text}\n".encode(), np.uint8)
    quotes = np.flatnonzero(data == ord('"'))
    outer = np.frombuffer(f'"\n{delimiter}'.encode(), np.uint8)
    opens, closes = data[quotes[::2] - 1], data[quotes[1::2] + 1]
    return len(quotes) % 2 == 0 and bool(np.isin(opens, outer).all() and np.isin(closes, outer).all())


def _record_lines(text: str) -> NDArray[np.int64]:
    """The 1-based line on which each record begins: one after each newline that is outside quotes.

    Outside means an even number of quotes before it; a doubled quote inside a cell counts twice and changes nothing.
    """
    data = np.frombuffer(text.encode(), np.uint8)
    newlines = np.flatnonzero(data == ord("\n"))
    quotes = np.flatnonzero(data == ord('"'))
    outside = np.searchsorted(quotes, newlines) % 2 == 0
    return np.concatenate(([1], np.flatnonzero(outside) + 2)).astype(np.int64)


def _header(file: str, line: int, names: list[str]) -> list[str]:
    """The column names, or an error when one is empty, twice there, or a number that betrays a missing header."""
    hint = "is the line with the column names missing (header=False)?"
    for j, name in enumerate(names):
        if not name:
            raise InputError(f"{file}, line {line}, column {j + 1}: the column name is empty")
        if re.fullmatch(r"[+-]?(\d+\.\d*|\.\d+|-\d+)(e[+-]?\d+)?", name, re.IGNORECASE):
            raise InputError(f"{file}, line {line}, column {j + 1}: {name!r} is a number, not a column name; {hint}")
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise InputError(f"{file}, line {line}, column {twice[0]!r}: this column name is there twice; {hint}")
    return names


def _fault(file: str, text: str, delimiter: str, names: list[str], reason: str) -> InputError:
    """The first fault of a file that polars cannot read, or reads with holes; `reason` if there is none to be seen."""
    for line, cells, _ in _records(file, text, delimiter):
        if cells == [""]:
            return InputError(f"{file}, line {line}, column {names[0]!r}: the line is blank")
        if len(cells) != len(names):
            short = f", column {names[len(cells)]!r}" if len(cells) < len(names) else ""
            return InputError(f"{file}, line {line}{short}: {len(cells)} cells, but line 1 has {len(names)}")
        if "" in cells:
            return InputError(
                f"{file}, line {line}, column {names[cells.index('')]!r}: the cell is empty, every cell is wanted"
            )
    return InputError(f"{file}: not a readable CSV file: {reason.splitlines()[0]}")


def _csv_column(table: Table, cells: Any, numbers: Any, pl: Any) -> Column:
    """One column from its cells (polars strings) and what they are as numbers (null where they are none)."""
    n, texts, name = len(cells), numbers.null_count(), cells.name
    if texts == 0:
        values: NDArray[np.float64] = numbers.to_numpy()
        row = _first(~np.isfinite(values))
        if row is not None:
            raise InputError(f"{table.where(row, name)}: {cells[row]!r} is not a finite number")
        return values
    if texts == n:
        if cells.str.contains(DECIMAL_COMMA).all():
            raise InputError(f"{table.where(0, name)}: {cells[0]!r} has a decimal comma, a decimal point is wanted")
        return np.array(cells.to_list(), dtype=np.str_)
    is_text = numbers.is_null().to_numpy()
    if texts <= n - texts:
        row, is_odd, others = int(np.argmax(is_text)), "not a number", f"{n - texts} of {n} cells of the column are"
    else:
        row, is_odd, others = int(np.argmax(~is_text)), "a number", f"{texts} of {n} cells of the column are text"
    raise InputError(f"{table.where(row, name)}: {cells[row]!r} is {is_odd}, but {others}")


def _first(mask: NDArray[np.bool_]) -> int | None:
    """The index of the first True, or None."""
    return int(np.argmax(mask)) if mask.any() else None


# Parquet --------------------------------------------------------------------------------------------------------------


def _read_parquet(file: str, data: bytes) -> Table:
    pl = require("polars", "cli")
    with _foreign(file, "Parquet", pl.exceptions.PanicException):
        frame = pl.read_parquet(io.BytesIO(data))
    if not frame.height or not frame.width:
        raise InputError(f"{file}: {frame.height} rows, {frame.width} columns; at least one of each is wanted")
    table = Table(file)
    return replace(table, columns={series.name: _parquet_column(table, series, pl) for series in frame})


def _parquet_column(table: Table, series: Any, pl: Any) -> Column:
    kind = series.dtype
    row = _first(series.is_null().to_numpy())
    if row is not None:
        raise InputError(f"{table.where(row, series.name)}: the value is missing (null)")
    if kind.is_numeric():
        values: NDArray[np.float64] = series.cast(pl.Float64).to_numpy()
        row = _first(~np.isfinite(values))
        if row is not None:
            raise InputError(f"{table.where(row, series.name)}: {series[row]} is not a finite number")
        return values
    if kind not in (pl.String, pl.Categorical, pl.Enum, pl.Boolean):
        raise InputError(f"{table.file}, column {series.name!r}: its type is {kind}, numbers or text are wanted")
    return np.array(series.cast(pl.String).to_list(), dtype=np.str_)


# NPZ ------------------------------------------------------------------------------------------------------------------


def _npz_arrays(path: PathLike) -> Mapping[str, Any]:
    """The arrays of an NPZ file, each read when it is asked for."""
    data = _bytes(path)
    with _foreign(str(path), "NPZ"):
        if not data.startswith(b"PK"):
            raise InputError(f"{path}: not an NPZ file (an NPZ file begins with PK)")
        archive: Mapping[str, Any] = np.load(io.BytesIO(data), allow_pickle=False)
        return archive


def _variants(part: str, names: Sequence[str]) -> list[str]:
    """X_train, train_X, x_train, ... for part = train."""
    return [variant for name in names for variant in (f"{name}_{part}", f"{part}_{name}")]


def _array_name(file: str, arrays: Mapping[str, Any], chosen: str | None, usual: Sequence[str]) -> str | None:
    """The array that the caller chose, or the first of the usual names that is there, or None."""
    if chosen is not None and chosen not in arrays:
        raise unknown_name(f"{file}: array", chosen, arrays)
    return chosen or next((name for name in usual if name in arrays), None)


def _npz_table(file: str, arrays: Mapping[str, Any], x: str | None, y: str | None) -> Table:
    if x is None:
        raise InputError(f"{file}: no array {' or '.join(INPUT_ARRAYS)}; name one with x, of: {', '.join(arrays)}")
    X = _npz_array(file, arrays, x)
    block = _block(f"{file}: array {x!r}", X)
    if y is None:
        return Table(file, block=block)
    T = _npz_array(file, arrays, y)
    if T.ndim not in (1, 2) or 0 in T.shape:
        raise InputError(f"{file}: array {y!r} has shape {T.shape}, targets (n,) or (n, k) are wanted")
    if len(T) != len(X):
        raise InputError(f"{file}: array {x!r} has {len(X)} rows, but {y!r} has {len(T)}")
    if T.dtype.kind not in "US":
        T = _block(f"{file}: array {y!r}", T).astype(np.float64)
    elif T.dtype.kind == "S":
        with _foreign(file, "NPZ"):
            T = np.char.decode(T, "utf-8")
    T = T.reshape(len(T), -1)
    names = ("y",) if T.shape[1] == 1 else tuple(f"y{j}" for j in range(T.shape[1]))
    return Table(file, dict(zip(names, T.T, strict=True)), block, names)


def _npz_array(file: str, arrays: Mapping[str, Any], name: str) -> NDArray[Any]:
    with _foreign(file, "NPZ"):
        array = arrays[name]
    if not isinstance(array, np.ndarray) or array.ndim == 0:
        raise InputError(f"{file}: {name!r} is not an array with rows")
    return array


def _block(where: str, X: NDArray[Any]) -> NDArray[Any]:
    """The array as (n, d) of real, finite numbers; booleans become 0 and 1."""
    if X.dtype.kind not in "biuf" or X.dtype.itemsize > 8:
        raise InputError(f"{where}: its type is {X.dtype}, real numbers of at most 64 bits are wanted")
    if X.size == 0:
        raise InputError(f"{where}: its shape is {X.shape}, at least one row and one column are wanted")
    if X.dtype.kind == "f" and not np.isfinite(X).all():
        index = tuple(int(i) for i in np.argwhere(~np.isfinite(X))[0])
        raise InputError(f"{where}: {X[index]} at {list(index)} is not a finite number")
    X = X.reshape(len(X), -1)
    return X.view(np.uint8) if X.dtype.kind == "b" else X


# IDX ------------------------------------------------------------------------------------------------------------------


def _read_idx_folder(folder: Path) -> tuple[Table, Table]:
    """MNIST's train and test tables from the four files under their usual names."""
    pairs = []
    for part in IDX_FOLDER:
        for stem in part:
            found = sorted(folder.glob(f"{stem}[-.]idx[13]-ubyte")) + sorted(folder.glob(f"{stem}[-.]idx[13]-ubyte.gz"))
            if not found:
                raise InputError(
                    f"{folder}: this is a folder without a file {stem}-idx{3 if 'images' in stem else 1}-ubyte[.gz]; "
                    "a file, or a folder with MNIST's four files, is wanted"
                )
            pairs.append(found[0])
    return _read_idx(pairs[0], pairs[1]), _read_idx(pairs[2], pairs[3])


def _read_idx(path: Path, labels: Path | None) -> Table:
    X = _idx_array(path)
    if X.ndim < 2:
        raise InputError(f"{path}: {X.ndim} dimension, images (n, ...) are wanted; are these the labels?")
    block = _block(str(path), X)
    if labels is None:
        neighbor = path.with_name(path.name.replace("images", "labels").replace("idx3", "idx1"))
        if neighbor == path or not neighbor.exists():
            return Table(str(path), block=block)
        labels = neighbor
    t = _idx_array(labels)
    if t.ndim != 1:
        raise InputError(f"{labels}: {t.ndim} dimensions, labels (n,) are wanted")
    if len(t) != len(X):
        raise InputError(f"{labels}: {len(t)} labels, but {path} has {len(X)} images")
    return Table(str(path), {"y": _block(str(labels), t)[:, 0].astype(np.float64)}, block, ("y",))


def _idx_array(path: Path) -> NDArray[Any]:
    """The array of an IDX file: 0, 0, type, number of dimensions, the dimensions (big-endian uint32), the data."""
    data = _bytes(path)
    if data.startswith(b"\x1f\x8b"):
        with _foreign(str(path), "gzip"):
            data = gzip.decompress(data)
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] not in IDX_TYPES or data[3] == 0:
        raise InputError(f"{path}: not an IDX file (it begins with 0x{data[:4].hex()})")
    start = 4 + 4 * data[3]
    if len(data) < start:
        raise InputError(f"{path}: the file ends inside its header, after {len(data)} of {start} bytes")
    shape = tuple(int.from_bytes(data[i : i + 4], "big") for i in range(4, start, 4))
    kind = np.dtype(IDX_TYPES[data[2]])
    size = start + kind.itemsize * math.prod(shape)
    if len(data) != size:
        raise InputError(f"{path}: {len(data)} bytes, but its dimensions {shape} ask for {size}; was it cut short?")
    return np.frombuffer(data, kind, offset=start).reshape(shape).astype(kind.newbyteorder("="), copy=False)
