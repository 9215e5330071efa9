"""Bare arrays mean what NumPy's arrays mean, and refuse what they cannot do."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
from hosts import compiled
from numba.core.errors import TypingError

from jitnet.bare import bare

MATRIX = np.arange(12.0).reshape(3, 4)
KINDS = ("float32", "float64", "int64", "uint8", "bool")


class Pair(NamedTuple):
    """Arrays beside numbers, and in a tuple inside."""

    left: Any
    count: Any
    inner: Any


@compiled
def read(A: Any, i: Any, j: Any) -> Any:
    b = bare(A)
    return b[i, j], b[i][j], len(b), b.shape[0], b.shape[1], b.itemsize, len(b[i])


@compiled
def write(A: Any, i: Any, j: Any, value: Any) -> None:
    b = bare(A)
    b[i, j] = value
    b[i - 1][j] = value


@compiled
def rows(A: Any, begin: Any, end: Any) -> Any:
    """The length and the sum of a slice of the first axis, element by element, and of a slice of its last row."""
    part, total = bare(A)[begin:end], 0.0
    for i in range(len(part)):
        for j in range(part.shape[1]):
            total += part[i, j]
    last = bare(A)[-1][begin:end]
    for j in range(len(last)):
        total += last[j]
    return len(part), len(last), total


@compiled
def through_tuples(pair: Any, value: Any) -> Any:
    b = bare(pair)
    b.left[1] = value
    b.inner[0][0, 0] = value
    return b.count, b.inner[1], len(b.left), b.left[0]


@pytest.mark.parametrize("dtype", KINDS)
@pytest.mark.parametrize("i", [0, 2, -1, np.uint8(1)])
@pytest.mark.parametrize("j", [0, 3, -4, np.uint64(2)])
def test_elements_rows_and_lengths(dtype: str, i: Any, j: Any) -> None:
    """From both ends, whatever the index's type."""
    A = (MATRIX % 5).astype(dtype)
    assert read(A, i, j) == (A[i, j], A[i, j], 3, 3, 4, A.itemsize, 4)


@pytest.mark.parametrize("dtype", KINDS)
def test_elements_are_written_with_the_arrays_type(dtype: str) -> None:
    """And no other one is touched."""
    A = np.zeros((3, 4), dtype)
    write(A, 2, -1, 1.0)
    wanted = np.zeros((3, 4), dtype)
    wanted[2, 3] = wanted[1, 3] = 1
    np.testing.assert_array_equal(A, wanted)
    assert A.dtype == dtype


@pytest.mark.parametrize(("begin", "end"), [(0, 3), (1, 2), (2, 1), (-2, 9), (5, 7), (-9, -1)])
def test_slices_are_cut_to_what_is_there(begin: int, end: int) -> None:
    """As Python's."""
    part, last = MATRIX[begin:end], MATRIX[-1][begin:end]
    assert rows(MATRIX, begin, end) == (len(part), len(last), part.sum() + last.sum())


def test_tuples_keep_their_names_and_what_is_no_array() -> None:
    """Arrays inside of tuples inside of tuples become bare, and are the caller's own."""
    pair = Pair(np.zeros(3, "float32"), 7, (np.zeros((2, 2)), "text"))
    assert through_tuples(pair, 5.0) == (7, "text", 3, 0.0)
    np.testing.assert_array_equal(pair.left, [0, 5, 0])
    np.testing.assert_array_equal(pair.inner[0], [[5, 0], [0, 0]])


def test_nothing_is_written_where_nothing_may_be() -> None:
    """The type knows that NumPy's array is read-only."""
    A = MATRIX.copy()
    A.flags.writeable = False
    assert read(A, 1, 1)[0] == 5
    with pytest.raises(TypingError, match="bare readonly array"):
        write(A, 1, 1, 0.0)


@compiled
def every_other(A: Any) -> Any:
    return bare(A)[::2]


@compiled
def fill(A: Any) -> None:
    bare(A)[0:2] = 0.0


@pytest.mark.parametrize("given", [MATRIX.T, MATRIX[:, 1:], MATRIX[::2]])
def test_other_layouts_are_refused(given: Any) -> None:
    """A pointer and the lengths say too little of them."""
    with pytest.raises(TypingError, match="C-contiguous"):
        read(given, 0, 0)


@compiled
def fill_row(A: Any) -> None:
    bare(A)[0] = 0.0


@compiled
def either(A: Any, which: Any) -> Any:
    b = A
    if which:
        b = bare(A)
    return b[0]


@pytest.mark.parametrize(
    ("function", "given", "said"),
    [
        (every_other, (np.zeros(5),), "C-contiguous"),
        (fill, (np.zeros(5),), "one number is written at a time"),
        (fill_row, (np.zeros((5, 2)),), "one number is written at a time"),
        (either, (np.zeros(5), True), "a name is the one or the other"),
    ],
)  # fmt: skip
def test_what_bare_arrays_cannot_do(function: Any, given: Any, said: str) -> None:
    """Steps, writing more than a number, being an array now and then."""
    with pytest.raises(TypingError, match=said):
        function(*given)
