"""How parameters start: by name and seed, or as arrays given by the user."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jitnet.activations import Activation
from jitnet.errors import InputError, real, unknown_name
from jitnet.validation import numbers

VARIANCES: dict[str, Callable[[int, int], float]] = {
    "glorot": lambda n_in, n_out: 2.0 / (n_in + n_out),  # Glorot, Bengio 2010, eq. 12 and 16; also called Xavier
    "he": lambda n_in, n_out: 2.0 / n_in,  # He et al. 2015, eq. 10
    "lecun": lambda n_in, n_out: 1.0 / n_in,  # LeCun et al. 1998, eq. 16
}
"""The variance of a weight from n_in neurons to n_out."""

NAMES = (
    "auto", "zeros", "gaussian",
    *(f"{rule}_{shape}" for rule in ("glorot", "xavier", "he", "lecun") for shape in ("normal", "uniform")),
)  # fmt: skip
"""The names that `init` takes; "auto" picks by activation: He for ReLU and its kin, LeCun for SELU, else Glorot."""


def check(init: object, scale: float | None) -> str | tuple[Any, Any]:
    """The name in its usual spelling, or the pair of lists of arrays; `scale` belongs to "gaussian" alone."""
    if not isinstance(init, str):
        if scale is not None:
            raise InputError("scale: given together with arrays; it is the standard deviation of init='gaussian'")
        if not (
            isinstance(init, Sequence)
            and len(init) == 2
            and isinstance(init[0], Sequence | np.ndarray)
            and isinstance(init[1], Sequence | np.ndarray | None)
        ):
            raise InputError("init: a name, or a pair (list of W, list of b or None) is wanted")
        return init[0], init[1]
    name = init.lower().replace("-", "_")
    if name not in NAMES:
        raise unknown_name("init", init, NAMES)
    if scale is not None and name != "gaussian":
        raise InputError(f"scale: {scale!r} given with init={name!r}; it is the standard deviation of init='gaussian'")
    return name.replace("xavier", "glorot")


def weights(name: str, n_in: int, n_out: int, activation: Activation, rng: np.random.Generator) -> NDArray[np.float64]:
    """W (n_out, n_in) of a layer, float64."""
    if name == "zeros":
        return np.zeros((n_out, n_in))
    rule, shape = (activation.suits if name == "auto" else name).split("_")
    deviation = math.sqrt(VARIANCES[rule](n_in, n_out))
    if shape == "normal":
        return rng.normal(0.0, deviation, (n_out, n_in))
    return rng.uniform(-math.sqrt(3.0) * deviation, math.sqrt(3.0) * deviation, (n_out, n_in))


def fill(
    init: str | tuple[Any, Any],
    scale: float | None,
    Ws: Sequence[NDArray[Any]],
    bs: Sequence[NDArray[Any]],
    layer_activations: Sequence[Activation],
    seed: int,
) -> None:
    """Write the start into the views Ws and bs; biases start at 0, but for "gaussian" (seed 002: random too)."""
    if isinstance(init, str):
        rng = np.random.default_rng(seed)
        for W, b, activation in zip(Ws, bs, layer_activations, strict=True):
            if init == "gaussian":
                deviation = 0.1 if scale is None else real("scale", scale, least=0.0)
                W[...] = rng.normal(0.0, deviation, W.shape)
                b[...] = rng.normal(0.0, deviation, b.shape)
            else:
                W[...] = weights(init, W.shape[1], W.shape[0], activation, rng)
                b[...] = 0.0
        return
    for letter, views, given in (("W", Ws, init[0]), ("b", bs, init[1])):
        if letter == "b" and given is None:
            for view in views:
                view[...] = 0.0
            continue
        if len(given) != len(views):
            raise InputError(f"init: {len(given)} arrays {letter} given, {len(views)} are wanted, one a layer")
        for m, (view, array) in enumerate(zip(views, given, strict=True)):
            checked = numbers(f"init {letter}[{m}]", array, view.dtype)
            if checked.shape != view.shape:
                raise InputError(f"init {letter}[{m}]: shape {checked.shape} given, {view.shape} is wanted")
            view[...] = checked
