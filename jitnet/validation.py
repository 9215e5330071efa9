"""Arrays from users: checked and made C-contiguous in the network's dtype before any kernel sees them."""

from __future__ import annotations

import contextlib
import reprlib
from collections.abc import Iterable
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from jitnet.errors import InputError
from jitnet.inputs import SparseRows


def numbers(argument: str, given: ArrayLike, dtype: DTypeLike, finite: bool = True) -> NDArray[Any]:
    """A finite real array of `dtype`, C-contiguous; float16, integers, bool and objects that are numbers are cast.

    Raises InputError for other objects, strings, complex or ragged data, and, unless `finite` is False, for NaN and
    inf and for numbers too large for it.
    """
    if given is None:
        raise InputError(f"{argument}: None given, an array is wanted")
    if isinstance(given, np.ma.MaskedArray):
        raise InputError(f"{argument}: a masked array given, a plain array is wanted (its .filled(...))")
    if is_sparse(given):
        raise InputError(f"{argument}: a sparse matrix given, a dense array is wanted (its .toarray())")
    try:
        array = np.asarray(given)
    except (ValueError, TypeError) as error:
        raise InputError(f"{argument}: {type(given).__name__} given that is no array: {error}") from None
    if array.dtype.kind == "O":
        array = _of_objects(array)
    if array.dtype.kind not in "fiub":
        raise InputError(f"{argument}: dtype {array.dtype} given, real numbers are wanted{_none(array)}")
    with np.errstate(over="ignore", invalid="ignore"):
        cast = np.ascontiguousarray(array, dtype).reshape(array.shape)
    if finite and not are_finite(cast):
        where = np.unravel_index(int(np.argmin(np.isfinite(cast))), cast.shape)
        raise _not_finite(argument, array[where], where)
    return _writeable(cast)


def _of_objects(array: NDArray[Any]) -> NDArray[Any]:
    """float64 where every object is a real number, as of a data frame's nullable columns; else the array itself."""
    kinds = set(map(type, array.flat))
    if all(issubclass(kind, Real | Decimal | np.bool_) and not issubclass(kind, np.timedelta64) for kind in kinds):
        with contextlib.suppress(TypeError, ValueError, OverflowError), np.errstate(over="ignore"):
            return array.astype(np.float64)  # but for a signalling NaN, or a whole number beyond float64
    return array


def _place(where: Iterable[Any]) -> str:
    return f"[{', '.join(str(int(k)) for k in where)}]"


def _not_finite(argument: str, value: Any, where: Iterable[Any]) -> InputError:
    large = " (too large for float32)" if np.isfinite(value) else ""
    return InputError(f"{argument}: {value} at {_place(where)}{large} given, finite numbers are wanted")


def _shown(cell: Any) -> str:
    """A cell in a message, and not all of a long one."""
    try:
        return reprlib.repr(cell.item() if isinstance(cell, np.generic) else cell)
    except ValueError:  # Python writes no whole number of more than 4300 digits
        return f"{type(cell).__name__} too long to write"


def _none(array: NDArray[Any]) -> str:
    """Of text and objects: the first that is no number, or how they become numbers, and among numbers which do."""
    if array.dtype.kind not in "OUS" or array.ndim == 0:
        return ""
    text = ""
    for where, cell in np.ndenumerate(array):
        try:
            float(cell)
        except (TypeError, ValueError, OverflowError):
            return f"; {_shown(cell)} at {_place(where)} is none"
        if not text and array.dtype.kind == "O" and not isinstance(cell, Real | Decimal | np.bool_):
            text = f": {_shown(cell)} at {_place(where)} is a {type(cell).__name__}"
    return f", such as np.asarray(..., float) makes of these{text}"


MANY = 10_000
"""Numbers from which on `np.einsum` sums up faster than `array.sum()`: 100,000 of float32 in half the time."""


def are_finite(array: NDArray[Any]) -> bool:
    """Whether no number is NaN or infinite: by their sum, less time than a look at each and no array of bool."""
    with np.errstate(over="ignore", invalid="ignore"):
        total = array.sum() if array.size < MANY else np.einsum("p->", array.ravel())
        return bool(np.isfinite(total) or np.isfinite(array).all())  # the sum of finite numbers may overflow


def is_sparse(given: Any) -> bool:
    """Whether this is one of SciPy's sparse matrices or arrays (or works like one)."""
    return hasattr(given, "tocsr") and hasattr(given, "nnz")


def sparse_rows(argument: str, given: Any, columns: int, dtype: DTypeLike, what: str) -> SparseRows:
    """A sparse matrix of shape (n, columns), n >= 1, as compressed rows; refused as `matrix` refuses a dense one."""
    if given.ndim != 2 or given.shape[1] != columns or given.shape[0] == 0:
        raise InputError(f"{argument}: shape {given.shape} given, (n, {columns}) is wanted, n >= 1, {what}")
    if columns > np.iinfo(np.int32).max:
        raise InputError(f"{argument}: {columns} columns given, fewer than 2^31 are wanted of a sparse matrix")
    if given.dtype.kind not in "fiub":
        raise InputError(f"{argument}.data: dtype {given.dtype} given, real numbers are wanted")
    exact = given.dtype.kind == "f" and given.dtype.itemsize >= 4  # SciPy sums small integers in their own type
    rows = (given if exact else given.astype(np.float64)).tocsr()
    _check_places(argument, rows)
    if not rows.has_canonical_format:
        rows = rows.copy()
        rows.sum_duplicates()
    starts = rows.indptr.astype(np.intp)
    entries = numbers(f"{argument}.data", rows.data[: starts[-1]], dtype, finite=False)
    if not are_finite(entries):
        k = int(np.argmin(np.isfinite(entries)))
        row = int(np.searchsorted(starts, k, side="right")) - 1
        raise _not_finite(argument, rows.data[k], (row, rows.indices[k]))
    indices = _writeable(np.ascontiguousarray(rows.indices[: starts[-1]], np.int32))
    return SparseRows(entries.reshape(-1, 1), indices, starts, columns)


def _check_places(argument: str, rows: Any) -> None:
    """Refuse compressed rows with entries outside of the matrix: SciPy takes them as given, kernels write there."""
    (n, columns), starts, indices = rows.shape, rows.indptr, rows.indices
    room = min(len(rows.data), len(indices))
    if len(starts) != n + 1 or starts[0] != 0 or starts[-1] > room or (starts[1:] < starts[:-1]).any():
        raise InputError(f"{argument}.indptr: {n + 1} numbers that rise from 0 to at most {room} are wanted")
    inside = (indices >= 0) & (indices < columns)
    if not inside[: starts[-1]].all():
        refuse(f"{argument}.indices", indices, inside, f"columns 0..{columns - 1} are wanted")


def _writeable(array: NDArray[Any]) -> NDArray[Any]:
    """The same memory, not marked read-only: for the mark every kernel would be compiled once more, and none writes."""
    if array.flags.writeable:
        return array

    class Memory:
        def __init__(self) -> None:
            self.owner = array  # lives as long as its memory is used
            self.__array_interface__ = {**array.__array_interface__, "data": (array.ctypes.data, False)}

    return np.asarray(Memory())


def matrix(
    argument: str, given: ArrayLike, columns: int, dtype: DTypeLike, what: str, finite: bool = True
) -> NDArray[Any]:
    """`numbers` of shape (n, columns), n >= 1; `what` names the columns in the error."""
    array = numbers(argument, given, dtype, finite)
    if array.ndim != 2 or array.shape[1] != columns or array.shape[0] == 0:
        hint = f"; one data point alone is {argument}[None, :]" if array.shape == (columns,) and columns > 1 else ""
        raise InputError(f"{argument}: shape {array.shape} given, (n, {columns}) is wanted, n >= 1, {what}{hint}")
    return array


def targets(given: ArrayLike, n: int, n_out: int, kind: str, dtype: DTypeLike, argument: str = "T") -> NDArray[Any]:
    """Targets (n, n_out) of `dtype`; labels become one-hot rows, and (n,) is read as (n, 1) where n_out is 1.

    `kind` is what the loss wants (`jitnet.losses.Row.targets`): "any", "probability", "distribution" or "count".
    """
    try:
        array = numbers(argument, given, dtype if getattr(given, "dtype", None) == dtype else np.float64)
    except InputError:
        if kind in ("distribution", "probability") and _is_text(given):
            ask = f"labels 0..{n_out - 1}" if kind == "distribution" else "numbers from 0 to 1"
            raise InputError(
                f"{argument}: text given, {ask} are wanted: classes, labels = "
                f"np.unique({argument}, return_inverse=True)"
            ) from None
        raise
    wanted = f"({n}, {n_out})" + (f" or {n} labels in 0..{n_out - 1}" if kind == "distribution" else "")
    if kind == "distribution" and (array.shape == (n,) or (array.shape == (n, 1) and n_out > 1)):
        return one_hot(argument, array.reshape(n), n_out, dtype)
    if array.shape == (n,) and n_out == 1:
        array = array[:, None]
    if array.shape != (n, n_out):
        raise InputError(f"{argument}: shape {array.shape} given, {wanted} is wanted, a row for each row of X")
    if kind == "probability" and not ((array >= 0) & (array <= 1)).all():
        refuse(argument, array, (array >= 0) & (array <= 1), "targets in [0, 1] are wanted for binary_cross_entropy")
    if kind == "count" and not (array >= 0).all():
        refuse(argument, array, array >= 0, "targets >= 0 are wanted for poisson")
    if kind == "distribution":
        if not (array >= 0).all():
            refuse(argument, array, array >= 0, "rows of probabilities are wanted for cross_entropy")
        sums = np.einsum("ni->n", array, dtype=np.float64)
        if not (abs(sums - 1) <= 1e-3).all():
            row = int(np.argmax(abs(sums - 1)))
            raise InputError(
                f"{argument}: row {row} sums to {sums[row]:g}, rows that sum to 1 (one-hot), or labels, are wanted"
            )
        if (sums != 1).any():
            array = array / sums[:, None]  # F6 is the derivative of the loss only where they sum to 1
    return array if array.dtype == dtype else numbers(argument, array, dtype)


def _is_text(given: ArrayLike) -> bool:
    with contextlib.suppress(ValueError, TypeError):
        cells = np.asarray(given)
        return cells.size > 0 and isinstance(cells.flat[0], str)
    return False


def one_hot(argument: str, labels: NDArray[Any], classes: int, dtype: DTypeLike) -> NDArray[Any]:
    """Rows of 0 with a 1 at each label, (n, classes); labels are whole numbers in 0..classes-1."""
    good = (labels == np.floor(labels)) & (labels >= 0) & (labels < classes)
    if not good.all():
        refuse(argument, labels, good, f"labels 0..{classes - 1} are wanted, one a neuron of the output")
    rows = np.zeros((len(labels), classes), dtype)
    rows[np.arange(len(labels)), labels.astype(np.intp)] = 1
    return rows


def refuse(argument: str, array: NDArray[Any], good: NDArray[np.bool_], wanted: str) -> None:
    """Raise the error for the first element that is not good."""
    where = np.unravel_index(int(np.argmin(good)), array.shape)
    raise InputError(f"{argument}: {array[where]:g} at {_place(where)} given, {wanted}")


def sample_weights(given: ArrayLike | None, n: int, dtype: DTypeLike, argument: str = "sample_weight") -> NDArray[Any]:
    """Weights (n,) >= 0, not all 0; ones where none are given."""
    if given is None:
        return np.ones(n, dtype)
    weight = numbers(argument, given, dtype)
    if weight.shape != (n,):
        raise InputError(f"{argument}: shape {weight.shape} given, ({n},) is wanted, one weight for each row of X")
    if not (weight >= 0).all():
        refuse(argument, weight, weight >= 0, "weights >= 0 are wanted")
    if not weight.any():
        raise InputError(f"{argument}: all weights are 0, at least one > 0 is wanted")
    total, limits = weight.sum(dtype=np.float64), np.finfo(np.float64)
    if not limits.tiny <= total <= limits.max:
        raise InputError(f"{argument}: weights that sum to {total:g} given, a finite and normal sum is wanted")
    return weight
