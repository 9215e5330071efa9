"""Tables from files: what was written comes back exactly; a faulty file is refused with its file, line and column."""

from __future__ import annotations

import csv
import gzip
import io
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jitnet import tables
from jitnet.errors import InputError, MissingExtraError
from jitnet.tables import Table, read, read_sets

pl = pytest.importorskip("polars", exc_type=ImportError)

finite = st.floats(allow_nan=False, allow_infinity=False)
# Printable, with everything that CSV has to quote; a letter in front keeps it text, and no blank stands at its ends.
words = st.text(st.sampled_from('ab1.,;"\n\té '), max_size=6).map(lambda text: f"w{text}w")


@pytest.fixture
def put(tmp_path: Path) -> Callable[[str, str | bytes], Path]:
    """Write a file under a name and return its path."""

    def write(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def idx(array: np.ndarray) -> bytes:
    """The array in IDX format, written as its specification has it (independent of the reader's table)."""
    codes = {"uint8": 8, "int8": 9, "int16": 11, "int32": 12, "float32": 13, "float64": 14}
    head = struct.pack(f">HBB{array.ndim}I", 0, codes[array.dtype.name], array.ndim, *array.shape)
    return head + array.astype(array.dtype.newbyteorder(">")).tobytes()


def npz(**arrays: Any) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def parse(content: str, name: str = "data.csv", header: bool = True) -> Table:
    """What `read` does with this content, without a file (hypothesis calls it hundreds of times)."""
    return tables._read_csv(name, tables._text(name, content.encode()), header, None, None)


# CSV: what is right ---------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(finite, words, finite), min_size=1, max_size=20), st.sampled_from(",;\t"), st.booleans())
@settings(deadline=None, max_examples=150)
def test_numbers_and_texts_written_to_csv_come_back_exactly(
    rows: list[tuple[float, str, float]], delimiter: str, header: bool
) -> None:
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, delimiter=delimiter)
    if header:
        writer.writerow(["a", "the text", "b"])
    writer.writerows(rows)
    text = tables._text("f", stream.getvalue().encode())
    table = tables._read_csv("f", text, header, None, delimiter)
    assert table.names == (("a", "the text", "b") if header else ("c0", "c1", "c2"))
    for name, wanted in zip(table.names, zip(*rows, strict=True), strict=True):
        assert table.column(name).tolist() == list(wanted)
    first, third = table.names[0], table.names[2]
    assert np.array_equal(np.signbit(table.numbers([third, first])), np.signbit([(c, a) for a, _, c in rows]))


@given(st.lists(st.tuples(words, words), min_size=1, max_size=20))
@settings(deadline=None, max_examples=100)
def test_lines_are_those_of_the_file_also_below_quoted_newlines(rows: list[tuple[str, str]]) -> None:
    stream = io.StringIO(newline="")
    csv.writer(stream, lineterminator="\n").writerows([("a", "b"), *rows])
    table = parse(stream.getvalue())
    reader, wanted = csv.reader(io.StringIO(stream.getvalue(), newline="")), []
    last = 0
    for _ in reader:
        wanted.append(last + 1)
        last = reader.line_num
    assert table.lines is not None
    assert table.lines.tolist() == wanted[1:]


@given(st.text(st.sampled_from('ab1,"\n '), max_size=25))
@settings(deadline=None, max_examples=400)
def test_any_text_is_read_as_the_csv_module_reads_it_or_refused(body: str) -> None:
    content = "u,v\n" + body
    try:
        table = parse(content)
    except InputError as error:
        assert "\n" not in str(error)
        assert "not a readable" not in str(error)  # polars never has the last word: the fault is always found
        return
    rows = list(csv.reader(io.StringIO(content.rstrip("\n"), newline=""), strict=True))[1:]
    for name, cells in zip("uv", zip(*rows, strict=True), strict=True):
        column = table.column(name)
        stripped = [cell.strip(" \t") for cell in cells]
        assert column.tolist() == ([float(cell) for cell in stripped] if column.dtype.kind == "f" else stripped)


def test_numbers_are_rounded_once() -> None:
    cells = ["9007199254740993", "0.1", "+1", ".5", "5.", "1E-5", "2.2250738585072011e-308", "4.9e-324", "1e-400", "-0"]
    cells += ["0.500000000000000166533453693773481063544750213623046875", "123456789012345678901234567890"]
    values = parse("a\n" + "\n".join(cells)).column("a")
    assert values.dtype == np.float64
    assert [value.hex() for value in values.tolist()] == [float(cell).hex() for cell in cells]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
def test_line_ends_marks_and_blank_ends(end: str, bom: str) -> None:
    table = parse(bom + end.join(["a , b", " 1,x ", '2 , "y', "z", "", ""]).replace(' "y', '"y').replace("z", 'z"'))
    assert table.names == ("a", "b")
    assert table.column("a").tolist() == [1.0, 2.0]
    assert table.column("b").tolist() == ["x", "y\nz"]
    assert table.lines is not None
    assert table.lines.tolist() == [2, 3]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "a,b\n1,x\n"),
        ("a.csv", '"a";b\n1;x\n'),
        ("a.csv", "a\tb\n1\tx\n"),
        ("a.txt", 'a;b\n1;"x"\n'),
        ("a.tsv", "a\tb\n1\tx\n"),
        ("A.CSV", "a,b\n1,x"),
    ],
)
def test_delimiters(put: Callable[[str, str], Path], name: str, content: str) -> None:
    table = read(put(name, content))
    assert table.column("a").tolist() == [1.0]
    assert table.column("b").tolist() == ["x"]
    assert table.is_text("b")
    assert not table.is_text("a")


def test_a_chosen_delimiter_wins(put: Callable[[str, str], Path]) -> None:
    assert read(put("a.csv", "a|b,c\n1|2\n"), delimiter="|").names == ("a", "b,c")
    with pytest.raises(InputError, match="delimiter: '::' given"):
        read(put("a.csv", "a|b\n1|2\n"), delimiter="::")


def test_iris_from_a_file(tmp_path: Path) -> None:
    datasets = pytest.importorskip("sklearn.datasets", exc_type=ImportError)
    iris = datasets.load_iris(as_frame=False)
    path = tmp_path / "iris.csv"
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow([*iris.feature_names, "species"])
        writer.writerows([*x, iris.target_names[t]] for x, t in zip(iris.data.tolist(), iris.target, strict=True))
    table, test = read_sets(path)
    assert test is None
    assert len(table) == 150
    assert np.array_equal(table.numbers(iris.feature_names), iris.data)
    assert np.array_equal(table.column("species"), iris.target_names[iris.target])

    parquet = tmp_path / "iris.parquet"
    pl.read_csv(path).write_parquet(parquet)
    same = read(parquet)
    assert same.names == table.names
    assert all(np.array_equal(same.column(name), table.column(name)) for name in table.names)


# CSV: what is wrong ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "data.csv: the file is empty"),
        ("\n \n", "data.csv: the file is empty"),
        ("a,b\n", "data.csv: no rows below the column names"),
        ("a,b,a\n1,2,3\n", "data.csv, line 1, column 'a': this column name is there twice; is the line with"),
        ("a, a\n1,2\n", "data.csv, line 1, column 'a': this column name is there twice"),
        ("a,,b\n1,2,3\n", "data.csv, line 1, column 2: the column name is empty"),
        ("5.1,x\n4.9,y\n", "data.csv, line 1, column 1: '5.1' is a number, not a column name; is the line with"),
        ("a,b\n1,2\n3\n", "data.csv, line 3, column 'b': 1 cells, but line 1 has 2"),
        ("a,b\n1,2\n3,4,5\n", "data.csv, line 3: 3 cells, but line 1 has 2"),
        ("a,b\n1,2\n\n3,4\n", "data.csv, line 3, column 'a': the line is blank"),
        ("a,b\n1,2\n3,\n", "data.csv, line 3, column 'b': the cell is empty"),
        ('a,b\n1,2\n"",4\n', "data.csv, line 3, column 'a': the cell is empty"),
        ("a,b\nx,y\n  ,z\n", "data.csv, line 3, column 'a': the cell is empty"),
        ("a\n1\n\n2\n", "data.csv, line 3, column 'a': the line is blank"),
        ("a,b\n1,2\n3,4\nx,5\n", "data.csv, line 4, column 'a': 'x' is not a number, but 2 of 3 cells of the column"),
        ("a,b\n1,u\n3,7\n5,w\n", "data.csv, line 3, column 'b': '7' is a number, but 2 of 3 cells of the column are"),
        ("a,b\n1,2\n3,nan\n", "data.csv, line 3, column 'b': 'nan' is not a finite number"),
        ("a,b\n1,2\n-Inf,4\n", "data.csv, line 3, column 'a': '-Inf' is not a finite number"),
        ("a,b\n1,2\n1e400,4\n", "data.csv, line 3, column 'a': '1e400' is not a finite number"),
        ("a,b\nx,1\nNaN,2\ny,3\n", "data.csv, line 3, column 'a': 'NaN' is a number, but 2 of 3 cells"),
        ("a;b\n1;2,5\n2;3,5\n", "data.csv, line 2, column 'b': '2,5' has a decimal comma, a decimal point is wanted"),
        ('a,b\n1,"2\n3,4\n', "data.csv, line 2, column 2: a quote is not closed"),
        ('a,b\n1,2\n5" pipe,3\n', "data.csv, line 3, column 1: a quote is not closed or stands inside a cell"),
        ('a,b\n1,2\n"x"y,3\n', "data.csv, line 3, column 1: a quote is not closed or stands inside a cell"),
        ("a,b\n1,2\0\n", "data.csv, line 2: a NUL byte; this is not a text file"),
        # Quoted newlines above the fault: the line is the file's, not the record's.
        ('a,b\n"x\ny\nz",1\nu,?\nv,2\n', "data.csv, line 5, column 'b': '?' is not a number"),
        ('a,b\n"x\ny\nz",1\nu,\n', "data.csv, line 5, column 'b': the cell is empty"),
        ('a,b\n"x\ny",1\nu,2,3\n', "data.csv, line 4: 3 cells, but line 1 has 2"),
        ('"a\na",b\nx,1\n7,2\ny,3\n', r"data.csv, line 4, column 'a\na': '7' is a number"),
        ('a,b\r\n"x\r\ny",1\r\nu,?\r\nv,2\r\n', "data.csv, line 4, column 'b': '?' is not a number"),
        ("a,b\r1,2\r3,?\r4,5\r", "data.csv, line 3, column 'b': '?' is not a number"),
    ],
)
def test_a_fault_is_named_with_file_line_and_column(content: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse(content)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_a_file_without_a_header_counts_from_line_one() -> None:
    assert parse("1,x\n2,y\n", header=False).names == ("c0", "c1")
    with pytest.raises(InputError, match=r"data\.csv, line 2, column 'c0': '\?' is not a number"):
        parse("1,x\n?,y\n2,z\n", header=False)
    with pytest.raises(InputError, match=r"data\.csv, line 2, column 'c1': 1 cells, but line 1 has 2"):
        parse("1,x\n2\n", header=False)


def test_bytes_that_are_not_utf8(put: Callable[[str, bytes], Path]) -> None:
    path = put("latin.csv", "a,b\r\n1,x\r\n2,é\r\n".encode("latin-1"))
    with pytest.raises(InputError) as caught:
        read(path)
    assert str(caught.value) == f"{path}, line 3: byte 0xe9 is not UTF-8 text"


def test_a_fault_far_down_a_long_file() -> None:
    rows = [f"{i},{i}.5" for i in range(20_000)]
    rows[17_654] = "1,2,3"
    with pytest.raises(InputError, match=r"line 17656: 3 cells"):
        parse("a,b\n" + "\n".join(rows))
    rows[17_654] = "1,oops"
    with pytest.raises(InputError, match=r"line 17656, column 'b': 'oops' is not a number"):
        parse("a,b\n" + "\n".join(rows))


# Any file -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["no.csv", "no.parquet", "no.npz", "no.idx", "no.unknown", "no/no.csv"])
def test_a_missing_file(tmp_path: Path, name: str) -> None:
    for reader in (read, read_sets):
        with pytest.raises(InputError) as caught:
            reader(tmp_path / name)
        assert str(caught.value) == f"{tmp_path / name}: No such file or directory"


@pytest.mark.parametrize("name", ["d.csv", "d.npz", "d"])
def test_a_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(InputError, match="this is a folder, a file is wanted"):
        read(tmp_path / name)
    with pytest.raises(InputError, match=r"a folder without a file train-images-idx3-ubyte"):
        read_sets(tmp_path / name)


def test_an_unknown_kind_an_odd_name_and_a_closed_file(put: Callable[[str, str], Path]) -> None:
    with pytest.raises(InputError, match=r"data\.xlsx: the kind of file is not known by its name; wanted: \.csv"):
        read(put("data.xlsx", "x"))
    with pytest.raises(InputError, match="null byte"):
        read("a\0b.csv")
    path = put("closed.csv", "a\n1\n")
    path.chmod(0)
    if not os.access(path, os.R_OK):  # root reads everything
        with pytest.raises(InputError, match="Permission denied"):
            read(path)


@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
def test_without_polars_the_message_says_what_to_install(
    put: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path = put(name, "a\n1\n")
    monkeypatch.setitem(__import__("sys").modules, "polars", None)
    with pytest.raises(MissingExtraError, match=r"polars: pip install 'jitnet\[cli\]'"):
        read(path)


@given(
    st.binary(max_size=60),
    st.sampled_from([".csv", ".npz", "-ubyte"]),
    st.sampled_from([b"", b"PK\3\4", b"\0\0\x08\1"]),
)
@settings(deadline=None, max_examples=300)
def test_any_bytes_are_read_or_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, suffix: str, magic: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / f"any{suffix}"
    path.write_bytes(magic + data)
    try:
        read(path, header=False)
    except InputError as error:
        assert str(error).startswith(str(path))
        assert len(str(error).splitlines()) == 1


# Parquet --------------------------------------------------------------------------------------------------------------


def test_parquet_types(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    frame = pl.DataFrame(
        {
            "int": pl.Series([1, 2, 3], dtype=pl.Int8),
            "float": pl.Series([0.1, 0.2, 0.3], dtype=pl.Float32),
            "decimal": pl.Series(["1.25", "2.5", "3"]).cast(pl.Decimal(10, 2)),
            "text": ["x", "y", "x"],
            "category": pl.Series(["u", "v", "u"], dtype=pl.Categorical),
            "flag": [True, False, True],
        }
    )
    frame.write_parquet(path)
    table = read(path)
    assert table.names == tuple(frame.columns)
    assert [table.column(name).dtype.kind for name in table.names] == list("fffUUU")
    assert table.numbers(["int", "decimal"]).tolist() == [[1, 1.25], [2, 2.5], [3, 3]]
    assert table.column("float").tolist() == np.array([0.1, 0.2, 0.3], np.float32).tolist()
    assert table.column("category").tolist() == ["u", "v", "u"]
    assert table.column("flag").tolist() == ["true", "false", "true"]
    assert table.lines is None


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"a": [1.0, None]}, "row 1 (from 0), column 'a': the value is missing (null)"),
        ({"a": ["x", None]}, "row 1 (from 0), column 'a': the value is missing (null)"),
        ({"a": [0.0, 1.0, float("nan")]}, "row 2 (from 0), column 'a': nan is not a finite number"),
        ({"a": [float("-inf")]}, "row 0 (from 0), column 'a': -inf is not a finite number"),
        ({"a": [[1, 2]]}, "column 'a': its type is List(Int64), numbers or text are wanted"),
        ({"a": [b"x"]}, "column 'a': its type is Binary, numbers or text are wanted"),
    ],
)
def test_parquet_faults(tmp_path: Path, columns: dict[str, list[object]], message: str) -> None:
    path = tmp_path / "a.parquet"
    pl.DataFrame(columns).write_parquet(path)
    with pytest.raises(InputError) as caught:
        read(path)
    assert str(caught.value) in (f"{path}, {message}", f"{path}: {message}")


def test_parquet_that_is_damaged_or_empty(tmp_path: Path, put: Callable[[str, bytes], Path]) -> None:
    path = tmp_path / "a.parquet"
    pl.DataFrame({"a": list(range(100))}).write_parquet(path)
    data = path.read_bytes()
    for bad in (b"", b"PAR1", b"a,b\n1,2\n", data[:-1], data[: len(data) // 2], data[20:]):
        with pytest.raises(InputError, match=r"b\.parquet: not a readable Parquet file: .+"):
            read(put("b.parquet", bad))
    pl.DataFrame({"a": []}, schema={"a": pl.Int8}).write_parquet(path)
    with pytest.raises(InputError, match="0 rows, 1 columns"):
        read(path)


# NPZ ------------------------------------------------------------------------------------------------------------------


def test_npz_keeps_the_block_and_names_its_columns(put: Callable[[str, bytes], Path]) -> None:
    X = np.arange(24, dtype=np.uint8).reshape(4, 2, 3)
    table = read(put("a.npz", npz(X=X, y=np.array([3, 1, 2, 1]))))
    assert table.names == ("x0", "x1", "x2", "x3", "x4", "x5", "y")
    assert table.targets == ("y",)
    assert table.block is not None
    assert table.block.dtype == np.uint8
    assert np.array_equal(table.numbers(table.names[:-1]), X.reshape(4, 6))
    assert table.numbers(["y", "x4", "x0"]).tolist() == [[3, 4, 0], [1, 10, 6], [2, 16, 12], [1, 22, 18]]
    assert table.where(2, "x4") == f"{table.file}, row 2 (from 0), column 'x4'"


def test_npz_targets_of_every_shape(put: Callable[[str, bytes], Path]) -> None:
    X = np.ones((2, 1))
    assert read(put("a.npz", npz(x=X, t=np.array([[1.5], [2.5]])))).targets == ("y",)
    assert read(put("a.npz", npz(x=X, T=np.eye(2)))).targets == ("y0", "y1")
    assert read(put("a.npz", npz(x=X, labels=np.array(["u", "v"])))).column("y").tolist() == ["u", "v"]
    assert read(put("a.npz", npz(x=X, y=np.array([b"u", b"v"])))).column("y").tolist() == ["u", "v"]
    assert read(put("a.npz", npz(x=X, y=np.array([True, False])))).column("y").tolist() == [1.0, 0.0]
    assert read(put("a.npz", npz(x=X[:, 0] > 0))).numbers(["x0"]).tolist() == [[1.0], [1.0]]
    chosen = read(put("a.npz", npz(u=X, v=X[:, 0] * 7, X=X)), x="u", y="v")
    assert chosen.column("y").tolist() == [7.0, 7.0]


def test_npz_with_its_own_test_set(put: Callable[[str, bytes], Path]) -> None:
    X, t = np.arange(6.0).reshape(3, 2), np.array([0, 1, 0])
    path = put("mnist.npz", npz(x_train=X, y_train=t, x_test=X[:1] + 9, y_test=t[:1]))
    train, test = read_sets(path)
    assert test is not None
    assert (len(train), len(test)) == (3, 1)
    assert test.numbers(["x0", "x1", "y"]).tolist() == [[9, 10, 0]]
    train, test = read_sets(path, x="x_test", y="y_test")
    assert test is None
    assert len(train) == 1
    train, test = read_sets(path, x="x_train", y="y_train", x_test="x_test", y_test="y_test")
    assert test is not None
    with pytest.raises(InputError, match="no array X or x or images; name one with x, of: x_train, y_train"):
        read(path)
    with pytest.raises(InputError, match="array 'x_test' has no targets beside it"):
        read_sets(put("half.npz", npz(x_train=X, y_train=t, x_test=X)))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"X": np.ones((2, 2)), "y": np.ones(3)}, "array 'X' has 2 rows, but 'y' has 3"),
        ({"X": np.array([[1.0, 2.0], [3.0, np.nan]])}, "array 'X': nan at [1, 1] is not a finite number"),
        ({"X": np.ones((2, 2)), "y": np.array([1.0, np.inf])}, "array 'y': inf at [1] is not a finite number"),
        ({"X": np.ones((0, 2))}, "array 'X': its shape is (0, 2), at least one row and one column are wanted"),
        ({"X": np.ones((2, 0))}, "array 'X': its shape is (2, 0), at least one row and one column are wanted"),
        ({"X": np.ones(2) * 1j}, "array 'X': its type is complex128, real numbers of at most 64 bits are wanted"),
        ({"X": np.array([["a"]])}, "array 'X': its type is <U1, real numbers of at most 64 bits are wanted"),
        ({"X": np.ones((2, 2)), "y": np.ones((2, 1, 1))}, "array 'y' has shape (2, 1, 1), targets (n,) or (n, k)"),
        ({"X": np.float64(1.0)}, "'X' is not an array with rows"),
        ({"X": np.array([[1, "a"]], dtype=object)}, "not a readable NPZ file: Object arrays cannot be loaded"),
        ({"X": np.ones(1), "y": np.array([b"\xff"])}, "not a readable NPZ file: 'utf-8' codec can't decode"),
    ],
)
def test_npz_faults(put: Callable[[str, bytes], Path], arrays: dict[str, np.ndarray], message: str) -> None:
    path = put("a.npz", npz(**arrays))
    with pytest.raises(InputError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: {message}")


def test_npz_names_and_damage(put: Callable[[str, bytes], Path]) -> None:
    good = npz(inputs=np.ones((50, 2)), y=np.ones(50))
    with pytest.raises(InputError, match=r"array: unknown name 'input' \(did you mean 'inputs'\?\); known: inputs, y"):
        read(put("a.npz", good), x="input")
    for bad in (b"", b"PK\3\4", good[:-30], good[: len(good) // 2]):
        with pytest.raises(InputError, match=r"a\.npz: not"):
            read(put("a.npz", bad), x="inputs")
    flipped = bytearray(good)
    flipped[good.index(b"NUMPY") + 300] ^= 1
    with pytest.raises(InputError, match=r"not a readable NPZ file: Bad CRC-32"):
        read(put("a.npz", bytes(flipped)), x="inputs")
    single = io.BytesIO()
    np.save(single, np.ones(3))
    with pytest.raises(InputError, match="not an NPZ file"):
        read(put("a.npz", single.getvalue()))


# IDX ------------------------------------------------------------------------------------------------------------------


@given(
    st.sampled_from(["uint8", "int8", "int16", "int32", "float32", "float64"]),
    st.lists(st.integers(1, 4), min_size=2, max_size=4),
    st.booleans(),
    st.integers(0, 2**32),
)
@settings(deadline=None, max_examples=100)
def test_idx_arrays_of_every_type_come_back(
    tmp_path_factory: pytest.TempPathFactory, kind: str, shape: list[int], zipped: bool, seed: int
) -> None:
    array = (np.random.default_rng(seed).standard_normal(shape) * 50).astype(kind)
    path = tmp_path_factory.getbasetemp() / "any.idx"  # gzip is told by its magic bytes, not by the name
    path.write_bytes(gzip.compress(idx(array)) if zipped else idx(array))
    table = read(path)
    assert table.block is not None
    assert table.block.dtype == array.dtype
    assert np.array_equal(table.block, array.reshape(shape[0], -1))


@pytest.mark.parametrize("suffix", ["-idx{}-ubyte", "-idx{}-ubyte.gz", ".idx{}-ubyte"])
def test_the_four_files_of_mnist(tmp_path: Path, suffix: str) -> None:
    generator = np.random.default_rng(0)
    images, labels = generator.integers(0, 256, (7, 4, 3), np.uint8), generator.integers(0, 10, 7, np.uint8)
    for part, rows in (("train", slice(0, 5)), ("t10k", slice(5, 7))):
        for what, number, array in (("images", 3, images[rows]), ("labels", 1, labels[rows])):
            data = idx(array)
            path = tmp_path / f"{part}-{what}{suffix.format(number)}"
            path.write_bytes(gzip.compress(data) if suffix.endswith("gz") else data)
    train, test = read_sets(tmp_path)
    assert test is not None
    for table, rows in ((train, slice(0, 5)), (test, slice(5, 7))):
        assert table.targets == ("y",)
        assert np.array_equal(table.numbers(table.names[:-1]), images[rows].reshape(-1, 12))
        assert np.array_equal(table.column("y"), labels[rows])
    alone = read(tmp_path / f"t10k-images{suffix.format(3)}")
    assert np.array_equal(alone.column("y"), labels[5:])

    (tmp_path / f"t10k-labels{suffix.format(1)}").unlink()
    assert read(tmp_path / f"t10k-images{suffix.format(3)}").targets == ()
    with pytest.raises(InputError, match=r"a folder without a file t10k-labels-idx1-ubyte\[\.gz\]"):
        read_sets(tmp_path)


def test_idx_labels_of_any_name(put: Callable[[str, bytes], Path]) -> None:
    images = put("pictures.idx", idx(np.ones((3, 2, 2), np.uint8)))
    labels = put("answers.idx", idx(np.array([2, 0, 1], np.int32)))
    assert read(images).targets == ()
    assert read(images, y=str(labels)).column("y").tolist() == [2.0, 0.0, 1.0]
    with pytest.raises(InputError, match=r"2 labels, but .*pictures\.idx has 3 images"):
        read(images, y=str(put("answers.idx", idx(np.ones(2, np.uint8)))))
    with pytest.raises(InputError, match=r"pictures\.idx: 3 dimensions, labels \(n,\) are wanted"):
        read(images, y=str(images))
    with pytest.raises(InputError, match=r"answers\.idx: 1 dimension, images .* are wanted; are these the labels"):
        read(labels)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: b"", "not an IDX file"),
        (lambda data: data[:3], "not an IDX file (it begins with 0x000008)"),
        (lambda data: b"\1" + data[1:], "not an IDX file (it begins with 0x01000803)"),
        (lambda data: data[:2] + b"\x0a" + data[3:], "not an IDX file (it begins with 0x00000a03)"),
        (lambda data: data[:3] + b"\0" + data[4:], "not an IDX file (it begins with 0x00000800)"),
        (lambda data: data[:10], "the file ends inside its header, after 10 of 16 bytes"),
        (lambda data: data[:-1], "27 bytes, but its dimensions (2, 2, 3) ask for 28; was it cut short?"),
        (lambda data: data + b"\0", "29 bytes, but its dimensions (2, 2, 3) ask for 28"),
        (lambda data: data[:4] + b"\xff" * 12 + data[16:], f"28 bytes, but its dimensions {(2**32 - 1,) * 3} ask for"),
        (lambda data: gzip.compress(data)[:-9], "not a readable gzip file: "),
        (lambda data: b"\x1f\x8b" + data, "not a readable gzip file: "),
        (lambda data: idx(np.ones((0, 2, 3), np.uint8)), "its shape is (0, 2, 3), at least one row"),
        (lambda data: idx(np.full((1, 2), np.nan)), "nan at [0, 0] is not a finite number"),
    ],
)
def test_idx_damage(put: Callable[[str, bytes], Path], damage: Callable[[bytes], bytes], message: str) -> None:
    path = put("a-ubyte", damage(idx(np.ones((2, 2, 3), np.uint8))))
    with pytest.raises(InputError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: {message}")


# Table ----------------------------------------------------------------------------------------------------------------


def test_a_table_of_chosen_rows_keeps_their_lines() -> None:
    table = parse('a,b\n"x\ny",1\nu,2\nv,3\n').take(np.array([2, 0]))
    assert len(table) == 2
    assert table.column("b").tolist() == [3.0, 1.0]
    assert table.where(0, "b") == "data.csv, line 5, column 'b'"
    block = Table("f", {"y": np.array([1.0, 2.0])}, np.eye(2), ("y",)).take(np.array([1]))
    assert block.numbers(["x1", "y"]).tolist() == [[1.0, 2.0]]


def test_an_unknown_column_names_the_nearest() -> None:
    with pytest.raises(InputError, match=r"data\.csv: there is no column 'wdth' \(did you mean 'width'\?\)"):
        parse("width,height\n1,2\n").column("wdth")
    with pytest.raises(InputError, match="there is no column 'x2'"):
        Table("f", block=np.eye(2)).is_text("x2")
