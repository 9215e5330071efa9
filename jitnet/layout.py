"""Where everything lies: all parameters in one flat vector theta, all neurons of a data point in one row.

    theta   for m = 1..M: W of layer m, row-major (n_out, n_in), then b of layer m (n_out) if there are biases
    x, y, delta   (N, S) with S = sum of the widths of layers 1..M: layer m has the columns of `neurons(net, m)`

One compilation serves every architecture, because no type depends on it. Code counts layers m = 0..M-1, as `net.W[m]`
does; the notes count 1..M. These functions run as they are in Python and compile into the kernels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.intp]
Array = NDArray[Any]


user_functions: dict[int, Callable[..., float]] = {}
"""The Python function behind each address that stands in a `Net`: the matrix form calls it, the kernels its C code."""


class Net(NamedTuple):
    """All that a kernel must know about a network besides its parameters."""

    widths: Ints  # (M + 1,) neurons of the input and of each layer
    W_at: Ints  # (M,) where W of layer m starts in theta
    b_at: Ints  # (M,) where b of layer m starts in theta
    bias: bool
    y_at: Ints  # (M + 1,) where layer m starts in a row of x, y, delta; the last is S
    activation: Ints  # (M,) codes of activations.py
    activation_parameter: Array  # (M,) float64: the slope or alpha of those that have one
    g_address: Ints  # (M,) a user's own activation: the address of its C code, else 0
    dg_address: Ints  # (M,) and of its derivative
    loss: int  # code of losses.py
    loss_parameter: float
    matched: bool  # loss and output match: F6 holds
    loss_address: int  # a user's own loss, else 0
    dloss_address: int


class Dropout(NamedTuple):
    """Which neurons are silent in one step: a hash of (key, data point, neuron), the same in every form."""

    rates: Array  # (M,) float64 probability that a neuron of layer m is silent; 0 for none, always 0 for the output
    key: np.uint64


class Data(NamedTuple):
    """What a network is trained on. Compressed sparse rows: row p has the entries starts[p], ..., starts[p + 1] - 1.

    Kernels are compiled for the one or the other: where `starts` is None, what sparse rows need is not compiled. X and
    T are of one dtype, and not marked read-only (`validation.numbers` sees to it): one loop gathers both.
    """

    X: Array  # (points, d), or (entries, 1) the entries of compressed sparse rows
    T: Array  # (points, n_out) targets; labels are one-hot rows
    weight: Array  # (points,) sample weights
    order: Ints  # the data points of the steps to come, one after another
    batch: int  # data points a step; the last step may have fewer
    skip_zeros: bool = False  # the tiled form is to look for zeros in X: there are many
    columns: NDArray[np.int32] | None = None  # (entries,) the input that an entry belongs to, ascending in each row
    starts: Ints | None = None  # (points + 1,) where each row begins; None where X is dense
    equal: bool = False  # every weight is 1: the tiled form need not look


class Rule(NamedTuple):
    """How a step moves the parameters."""

    mean: bool  # divide the batch's loss by its sample weights' sum
    optimizer: int  # code of optimizers.py
    state: Array  # (slots, P and some to spare) what the optimiser remembers
    coefficients: Array  # (steps, K) the optimiser's numbers for each step
    l1: float  # penalty l1 Σ|W_ij| + ½ l2 Σ W_ij², weights only
    l2: float
    clip_value: float  # every ∂J/∂θ_p is cut to [-clip_value, clip_value]; inf: not
    clip_norm: float  # the gradient is scaled down to this norm; inf: not
    dropout_rates: Array  # (M,) float64
    dropout_keys: Array  # (steps,) uint64
    judge: bool = False  # take no step: write down the loss of the first


class Work(NamedTuple):
    """Buffers that every step uses again, for batches of up to B data points."""

    X: Array  # (B, d) the batch
    T: Array  # (B, n_out)
    x: Array  # (B, S)
    y: Array  # (B, S)
    delta: Array  # (B, S)
    L: Array  # (B,) float64 loss of each data point
    partial: Array  # (S,) float64 one number a neuron: its share of the penalty, of the squared norm
    g: Array  # (P,) gradient
    before: Array  # (P,) the parameters before the last step: their loss was finite
    loss: Array  # (steps,) float64 loss of each step with its penalty, before the step is taken
    loss_weight: Array  # (steps,) float64 what each step's loss counts in the epoch's mean


def work(net: Net, batch: int, steps: int, dtype: Any) -> Work:
    """Buffers for up to `batch` data points and `steps` steps a call."""
    d, n_out, S = int(net.widths[0]), int(net.widths[-1]), int(net.y_at[-1])
    P = int(parameters(net))
    return Work(
        X=np.empty((batch, d), dtype),
        T=np.empty((batch, n_out), dtype),
        x=np.empty((batch, S), dtype),
        y=np.empty((batch, S), dtype),
        delta=np.empty((batch, S), dtype),
        L=np.empty(batch),
        partial=np.empty(S),
        g=np.empty(P, dtype),
        before=np.empty(P, dtype),
        loss=np.empty(steps),
        loss_weight=np.empty(steps),
    )


CACHE_LINE = 64
"""Bytes of a cache line. A vector that lies in two of them takes two loads, or stores."""


def aligned(shape: tuple[int, ...], dtype: Any) -> Array:
    """An array like np.empty's that begins where a cache line does."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    buffer = np.empty(size + CACHE_LINE, np.uint8)
    start = -buffer.ctypes.data % CACHE_LINE
    array: Array = buffer[start : start + size].view(dtype).reshape(shape)
    return array


def whole_lines(size: int, dtype: Any) -> int:
    """`size` numbers rounded up to whole cache lines: the rows of an aligned (rows, size) begin where one does."""
    numbers = CACHE_LINE // np.dtype(dtype).itemsize
    return -(-size // numbers) * numbers


def places(widths: list[int], bias: bool) -> tuple[Ints, Ints, Ints, int]:
    """W_at, b_at, y_at and the number of parameters of a network of these widths."""
    W_at, b_at, y_at, size = [], [], [0], 0
    for n_in, n_out in pairwise(widths):
        W_at.append(size)
        size += n_out * n_in
        b_at.append(size)
        size += n_out if bias else 0
        y_at.append(y_at[-1] + n_out)
    return np.array(W_at, np.intp), np.array(b_at, np.intp), np.array(y_at, np.intp), size


def weights(net: Net, theta: Array, m: int) -> Array:
    """W of layer m: a view (n_out, n_in) into theta."""
    at, n_in, n_out = net.W_at[m], net.widths[m], net.widths[m + 1]
    return theta[at : at + n_out * n_in].reshape((n_out, n_in))


def biases(net: Net, theta: Array, m: int) -> Array:
    """b of layer m: a view (n_out,) into theta; empty without biases."""
    at = net.b_at[m]
    return theta[at : at + net.widths[m + 1] * net.bias]


def parameters(net: Net) -> int:
    """P: the number of parameters, the length of theta."""
    return net.b_at[-1] + net.widths[-1] * net.bias


def neurons(net: Net, row: Array, m: int) -> Array:
    """The part of a data point's row (S,) of x, y or delta that belongs to layer m: a view (n_out,)."""
    return row[net.y_at[m] : net.y_at[m + 1]]


def all_finite(numbers: Array) -> bool:
    """Whether no number of a flat array is NaN or infinite."""
    for p in range(len(numbers)):  # noqa: SIM110 - compiled, and without a generator
        if not math.isfinite(numbers[p]):
            return False
    return True


def weight_mask(net: Net) -> Array:
    """Which of theta's entries are weights, not biases (P,) bool: penalties are on weights."""
    mask = np.zeros(parameters(net), bool)
    for m in range(len(net.W_at)):
        weights(net, mask, m)[...] = True
    return mask


def hash64(z: Any) -> Any:
    """SplitMix64's finaliser (Steele, Lea, Flood 2014): uint64 to uint64, on a number or on an array."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def silence_number(key: Any, n: Any, column: Any, neurons_in_a_row: Any) -> Any:
    """A uniform number in [0, 1) for neuron `column` of the batch's data point n; float64, 53 random bits."""
    z = hash64(key + (n * neurons_in_a_row + column) * np.uint64(0x9E3779B97F4A7C15))
    return (z >> np.uint64(11)) * 2.0**-53
