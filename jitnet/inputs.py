"""Inputs with many zeros: sparse rows, dense data that are worth looking through, and how a form gets them."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jitnet.errors import InputError
from jitnet.layout import Array, Data, Ints, Net

ROWS_LOOKED_AT = 256
"""Rows of dense data that are counted through for zeros, evenly spread."""

HIDDEN_FROM = 1024
"""Data points from which on hidden layers are looked at for zeros: W is turned round for them."""


@dataclass(frozen=True)
class SparseRows:
    """Compressed sparse rows of n data points with d inputs: row p has the entries starts[p], ... to starts[p + 1]."""

    entries: Array  # (entries, 1) in the network's dtype
    columns: NDArray[np.int32]  # (entries,) the input of each entry, ascending in a row
    starts: Ints  # (n + 1,)
    d: int

    @property
    def shape(self) -> tuple[int, int]:
        """(n, d)."""
        return len(self.starts) - 1, self.d

    def __len__(self) -> int:
        """n."""
        return len(self.starts) - 1

    def __getitem__(self, rows: NDArray[Any]) -> SparseRows:
        """The rows of these numbers, or where this is True."""
        rows = np.arange(len(self))[rows]
        lengths = self.starts[rows + 1] - self.starts[rows]
        starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.intp)
        taken = np.repeat(self.starts[rows] - starts[:-1], lengths) + np.arange(starts[-1])
        return SparseRows(self.entries[taken], self.columns[taken], starts, self.d)

    def toarray(self) -> Array:
        """Dense (n, d)."""
        dense = np.zeros(self.shape, self.entries.dtype)
        np.add.at(dense, (np.repeat(np.arange(len(self)), np.diff(self.starts)), self.columns), self.entries[:, 0])
        return dense


Inputs = NDArray[Any] | SparseRows
"""What a network computes on, checked."""


def check_form(X: Inputs, form: ModuleType, name: str) -> None:
    """Raise InputError where the form does not know sparse rows."""
    if isinstance(X, SparseRows) and not hasattr(form, "skipping_pays"):
        raise InputError(f"form: {name!r} given for sparse X, 'auto' or 'tiled' is wanted")


def skip_zeros(form: ModuleType, net: Net, X: Inputs, points: int, dtype: Any) -> bool:
    """Whether the form knows sums over the inputs that are not 0 and they pay, for `points` data points at a time."""
    if isinstance(X, SparseRows) or not hasattr(form, "skipping_pays"):
        return isinstance(X, SparseRows)
    n_1 = int(net.widths[1])
    if not form.skipping_pays(0.0, n_1, points, dtype):
        return False
    rows = X[:: max(1, len(X) // ROWS_LOOKED_AT)][: 2 * ROWS_LOOKED_AT]
    return bool(form.skipping_pays(np.count_nonzero(rows != 0) / rows.size, n_1, points, dtype))


def as_data(X: Inputs, T: Array, weight: Array, order: Ints, batch: int, skips: bool, equal: bool = False) -> Data:
    """What kernels that train take; `equal`: every weight is 1."""
    if isinstance(X, SparseRows):
        return Data(X.entries, T, weight, order, batch, True, X.columns, X.starts, equal)
    return Data(X, T, weight, order, batch, skips, equal=equal)


def work(
    form: ModuleType, net: Net, X: Inputs, batch: int, steps: int, dtype: Any, skips: bool, replacement: bool = False
) -> Any:
    """The form's buffers for steps on such data; with `replacement` a data point may be in a batch more than once."""
    if isinstance(X, SparseRows):
        lengths = np.sort(np.diff(X.starts))[::-1]
        most = batch * int(lengths[0]) if replacement else int(lengths[:batch].sum())
        return form.work(net, batch, steps, dtype, entries=most)
    return form.work(net, batch, steps, dtype, skip_zeros=True) if skips else form.work(net, batch, steps, dtype)


def outputs(form: ModuleType, net: Net, theta: Array, X: Inputs) -> Array:
    """F1, F2: ŷ (n, n_out)."""
    skips = skip_zeros(form, net, X, len(X), theta.dtype)
    if skips or _hidden_zeros(form, net, X, theta.dtype):
        return _skipping(form, net, theta, X, np.empty((0, int(net.widths[-1])), theta.dtype), skips)[0]
    Y: Array = form.outputs(net, theta, X)
    return Y


def outputs_and_losses(form: ModuleType, net: Net, theta: Array, X: Inputs, T: Array) -> tuple[Array, Array]:
    """F1-F3: ŷ (n, n_out), and L (n,) float64."""
    skips = skip_zeros(form, net, X, len(X), theta.dtype)
    if skips or _hidden_zeros(form, net, X, theta.dtype):
        return _skipping(form, net, theta, X, T, skips)
    Y, L = form.outputs_and_losses(net, theta, X, T)
    return Y, L


def _skipping(form: ModuleType, net: Net, theta: Array, X: Inputs, T: Array, skips: bool) -> tuple[Array, Array]:
    """The same over what is not 0, of X if it `skips` there; L (0,) without T."""
    data = as_data(X, T, np.empty(0, theta.dtype), np.arange(len(X)), len(X), skips)
    Y, L = form.outputs_and_losses_skipping_zeros(net, theta, data)
    return Y, L


def _hidden_zeros(form: ModuleType, net: Net, X: Inputs, dtype: Any) -> bool:
    """Whether the form looks at hidden layers for zeros, and these are data points enough for that."""
    return len(X) >= HIDDEN_FROM and hasattr(form, "looks_for_hidden_zeros") and form.looks_for_hidden_zeros(net, dtype)
