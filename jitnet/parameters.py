"""Arrays by layer: the parameters of a network, and the gradient with respect to them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import ArrayLike, NDArray

from jitnet import validation as check
from jitnet.errors import InputError, whole

Array = NDArray[Any]


class Layers(Sequence[Array]):
    """`net.W` or `net.b`: one array a layer, views of the real parameters.

    `net.W[0]` reads and writes in place; `net.W[0] = array` copies a checked array of the same shape into it.
    """

    def __init__(self, letter: str, views: list[Array]) -> None:
        self._letter, self._views = letter, views

    def __getitem__(self, m: Any) -> Any:
        return self._views[m]

    def __setitem__(self, m: int, given: ArrayLike) -> None:
        m = whole(f"{self._letter}[m]", m, least=-len(self))
        self._views[m][...] = self._checked(m, given)

    def assign(self, given: Sequence[ArrayLike]) -> None:
        """Copy checked arrays into all layers, or into none where one is wrong."""
        if not hasattr(given, "__len__") or len(given) != len(self):
            raise InputError(f"{self._letter}: {given!r} given, a list of {len(self)} arrays is wanted, one a layer")
        for view, array in zip(self._views, [self._checked(m, each) for m, each in enumerate(given)], strict=True):
            view[...] = array

    def _checked(self, m: int, given: ArrayLike) -> Array:
        view = self._views[m]
        array = check.numbers(f"{self._letter}[{m}]", given, view.dtype)
        if array.shape != view.shape:
            raise InputError(f"{self._letter}[{m}]: shape {array.shape} given, {view.shape} is wanted")
        return array

    def __len__(self) -> int:
        return len(self._views)

    def __iter__(self) -> Iterator[Array]:
        return iter(self._views)

    def __repr__(self) -> str:
        return f"<{self._letter}: {', '.join(str(view.shape) for view in self._views)}>"


@dataclass(frozen=True)
class Gradient:
    """∂J/∂θ of a network (F7, F8, F11).

    Attributes: `W`, `b` lists of arrays, `W[m]` (n_out, n_in) and `b[m]` (n_out,), empty without biases; `input`
    (n, d), ∂J/∂X; `theta` (P,), all of W and b as they lie in `net.theta`; `loss`, J itself (NaN for `vjp`).
    """

    W: list[Array]
    b: list[Array]
    input: Array
    theta: Array
    loss: float
