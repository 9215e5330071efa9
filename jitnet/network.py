"""`Network`: the shape, the parameters, and what can be asked of them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jitnet import files, initializers, inputs, layout, training
from jitnet import validation as check
from jitnet._jit import compile_pointwise, use_threads
from jitnet.activations import CUSTOM, SOFTMAX, Activation, as_activation
from jitnet.callbacks import Callback
from jitnet.errors import InputError, check_names, unknown_name, whole
from jitnet.forms import get_form
from jitnet.history import History
from jitnet.inputs import Inputs
from jitnet.losses import CUSTOM_LOSS, MATCHED, Loss, as_loss
from jitnet.metrics import Metric, evaluate
from jitnet.optimizers import Optimizer
from jitnet.parameters import Gradient, Layers

Array = NDArray[Any]


class Network:
    """A feed-forward network: y of layer m = σ(W y of layer m-1 + b), trained on a loss.

    Parameters
    ----------
    widths : neurons of the input, of each hidden layer and of the output, e.g. ``[64, 64, 10]``; all >= 1.
    activation : of the hidden layers: a name (`jitnet.activations.TABLE`), a `jitnet.Activation`, or a list with one
        for each hidden layer. Default "relu".
    output : activation of the output layer. Default "identity".
    loss : a name (`jitnet.losses.TABLE`) or a `jitnet.Loss`, L summed over the outputs. Default "half_squared_error".
    reduction : "mean" (default) or "sum" over data points.
    bias : whether layers have biases. Default True.
    init : how parameters start: a name (`jitnet.initializers.NAMES`), or a pair (list of W, list of b or None).
        Default "auto": He for ReLU and its kin, LeCun for SELU, else Glorot; biases 0.
    scale : standard deviation of ``init="gaussian"``. Default 0.1.
    dtype : "float32" (default) or "float64": of the parameters and of everything computed from them.
    seed : whole number >= 0 from which the start and, by default, `fit`'s shuffling and dropout follow. Default 0.

    Raises InputError, naming the argument, for anything else.

    Examples
    --------
    >>> net = Network([2, 3, 1], activation="tanh", dtype="float64")
    >>> net.W[0].shape, net.b[1].shape, net.size
    ((3, 2), (1,), 13)
    """

    def __init__(
        self,
        widths: Sequence[int],
        *,
        activation: str | Activation | Sequence[str | Activation] = "relu",
        output: str | Activation = "identity",
        loss: str | Loss = "half_squared_error",
        reduction: Literal["mean", "sum"] = "mean",
        bias: bool = True,
        init: str | tuple[Sequence[ArrayLike], Sequence[ArrayLike] | None] = "auto",
        scale: float | None = None,
        dtype: str | type | np.dtype[Any] = "float32",
        seed: int = 0,
    ) -> None:
        self.widths = _widths(widths)
        self._activations = (*_hidden(activation, len(self.widths) - 2), as_activation(output, "output"))
        check_names("activation, output", [a for a in self.activations if a.code == CUSTOM])
        self.loss_function = as_loss(loss)
        self.loss_function.check_output(self.activations[-1])
        if not isinstance(reduction, str) or reduction not in ("mean", "sum"):
            raise unknown_name("reduction", reduction, ("mean", "sum"))
        self.reduction: Literal["mean", "sum"] = reduction
        if not isinstance(bias, bool | np.bool_):
            raise InputError(f"bias: {bias!r} given, True or False is wanted")
        self.bias = bool(bias)
        self.dtype = _dtype(dtype)
        self.seed = whole("seed", seed)
        start = initializers.check(init, scale)
        self.layout = self._lay_out()
        self.theta = layout.aligned((layout.parameters(self.layout),), self.dtype)
        self.theta[:] = 0
        self._view()
        initializers.fill(start, scale, list(self.W), list(self.b), self.activations, self.seed)
        self.history = History()
        self.extra: dict[str, str] = {}
        self.continuation: training.Continuation | None = None

    def _lay_out(self) -> layout.Net:
        """The description that every form reads."""
        W_at, b_at, y_at, _ = layout.places(self.widths, self.bias)
        L = self.loss_function

        def address(name: str, function: Callable[..., float] | None, arguments: int) -> int:
            return _address(name, function, arguments, self.dtype)

        own = [(a.name, a.g, a.dg) for a in self.activations]
        return layout.Net(
            widths=np.array(self.widths, np.intp),
            W_at=W_at,
            b_at=b_at,
            bias=self.bias,
            y_at=y_at,
            activation=np.array([a.code for a in self.activations], np.intp),
            activation_parameter=np.array([a.parameter for a in self.activations]),
            g_address=np.array([address(f"activation {name!r}: g", g, 1) for name, g, _ in own], np.intp),
            dg_address=np.array([address(f"activation {name!r}: dg", dg, 1) for name, _, dg in own], np.intp),
            loss=L.code,
            loss_parameter=L.parameter,
            matched=(L.code, self.activations[-1].code) in MATCHED,
            loss_address=address(f"loss {L.name!r}: value", L.value, 2),
            dloss_address=address(f"loss {L.name!r}: derivative", L.derivative, 2),
        )  # fmt: skip

    def _view(self) -> None:
        """Make W and b views of theta."""
        M = range(len(self.widths) - 1)
        self._W = Layers("W", [layout.weights(self.layout, self.theta, m) for m in M])
        self._b = Layers("b", [layout.biases(self.layout, self.theta, m) for m in M])

    # --- what it is ---

    @property
    def activations(self) -> tuple[Activation, ...]:
        """One `Activation` a layer, the output's last."""
        return self._activations

    @property
    def W(self) -> Layers:
        """The weights: `W[m]` (n_out, n_in), a view of the real parameters; assigning copies checked arrays in."""
        return self._W

    @W.setter
    def W(self, given: Sequence[ArrayLike]) -> None:
        self._W.assign(given)

    @property
    def b(self) -> Layers:
        """The biases: `b[m]` (n_out,), empty without biases, a view as for `W`."""
        return self._b

    @b.setter
    def b(self, given: Sequence[ArrayLike]) -> None:
        self._b.assign(given)

    @property
    def size(self) -> int:
        """P, the number of parameters."""
        return len(self.theta)

    @property
    def n_in(self) -> int:
        """d, the width of the input."""
        return self.widths[0]

    @property
    def n_out(self) -> int:
        """The width of the output."""
        return self.widths[-1]

    def __repr__(self) -> str:
        arrows = f"{self.widths[0]}" + "".join(
            f" -> {width} {a.name}" for width, a in zip(self.widths[1:], self.activations, strict=True)
        )
        return f"<Network {arrows}; {self.loss_function.name}, {self.reduction}; {self.size} parameters, {self.dtype}>"

    def describe(self) -> dict[str, Any]:
        """The constructor's arguments as plain values (JSON), without parameters; own functions by name only."""
        return {
            "widths": self.widths,
            "activation": [_as_json(a) for a in self.activations[:-1]],
            "output": _as_json(self.activations[-1]),
            "loss": _as_json(self.loss_function),
            "reduction": self.reduction,
            "bias": self.bias,
            "dtype": str(self.dtype),
            "seed": self.seed,
        }

    def astype(self, dtype: str | type | np.dtype[Any]) -> Network:
        """A network of the same shape and parameters in "float32" or "float64"; training starts afresh there."""
        other = Network(
            self.widths,
            activation=list(self.activations[:-1]),
            output=self.activations[-1],
            loss=self.loss_function,
            reduction=self.reduction,
            bias=self.bias,
            init="zeros",
            dtype=dtype,
            seed=self.seed,
        )
        with np.errstate(over="ignore"):
            other.theta[:] = self.theta
        other._check_parameters()
        other.extra = dict(self.extra)
        return other

    def copy(self) -> Network:
        """Another network with the same shape, parameters, history and place in training."""
        return copy.deepcopy(self)

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key not in ("layout", "_W", "_b")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update({"extra": {}, **state})  # which networks did not have always
        self.layout = self._lay_out()
        self._view()

    def _check_parameters(self) -> None:
        """Refuse to compute with parameters that a user made NaN or inf."""
        wanted = self.dtype, (layout.parameters(self.layout),), self.W[0].ctypes.data
        if (self.theta.dtype, self.theta.shape, self.theta.ctypes.data) != wanted:
            raise InputError("theta: was replaced; write into net.theta[:] or net.W[m], net.b[m] instead")
        if check.are_finite(self.theta):
            return
        for letter, views in (("W", self.W), ("b", self.b)):
            for m, view in enumerate(views):
                check.numbers(f"{letter}[{m}]", view, self.dtype)

    def _inputs(self, X: ArrayLike, argument: str = "X", finite: bool = True) -> Array:
        self._check_parameters()
        return check.matrix(argument, X, self.n_in, self.dtype, "one column an input", finite)

    def _any_inputs(self, X: ArrayLike | Any, form: str, argument: str = "X", finite: bool = True) -> Inputs:
        """`_inputs`, or sparse rows where the form knows them: finite, but for dense ones if `finite` is False."""
        if not check.is_sparse(X):
            return self._inputs(X, argument, finite)
        self._check_parameters()
        rows = check.sparse_rows(argument, X, self.n_in, self.dtype, "one column an input")
        inputs.check_form(rows, get_form(form), form)
        return rows

    def checked(
        self,
        X: ArrayLike,
        T: ArrayLike,
        sample_weight: ArrayLike | None = None,
        prefix: str = "",
        form: str | None = None,
    ) -> training.TrainingData:
        """X, T and weights as kernels take them; InputError for what is wrong, its argument named with `prefix`.

        X may be sparse where it goes to the outputs, losses and steps of `form`.
        """
        rows = self._inputs(X, f"{prefix}X") if form is None else self._any_inputs(X, form, f"{prefix}X")
        T = check.targets(T, len(rows), self.n_out, self.loss_function.targets, self.dtype, f"{prefix}T")
        weight = check.sample_weights(sample_weight, len(rows), self.dtype, f"{prefix}sample_weight")
        return training.TrainingData(rows, T, weight)

    def shares(self, weight: Array) -> Array:
        """The factor c (n,) of each data point's loss in J: its weight, divided by their sum for "mean"."""
        return (weight / weight.sum(dtype=np.float64)).astype(self.dtype) if self.reduction == "mean" else weight

    # --- what it says ---

    def predict(self, X: ArrayLike, *, form: str = "auto", threads: int | None = None) -> Array:
        """The outputs ŷ (F1, F2) of data points X (n, d), dense or scipy.sparse: (n, n_out) of the network's dtype.

        `form`: "auto", "plain", "tiled" or "matrix". `threads`: None for as many as Numba has. InputError for bad X,
        for NaN and inf in it by the tiled form after all else is done.
        """
        own = (self.layout.activation == CUSTOM).any()  # a user's function is to see no NaN
        afterwards = getattr(get_form(form), "SHOWS_BAD_INPUTS", False) and not own  # X comes from far memory once
        checked = self._any_inputs(X, form, finite=not afterwards)
        with use_threads(threads):
            Y = self.outputs(checked, form)
        if afterwards and isinstance(checked, np.ndarray) and not check.are_finite(Y):
            self._inputs(X)  # says what was given; X may be another the second time
            check.numbers("X", checked, self.dtype)
        return Y

    def outputs(self, X: Inputs, form: str) -> Array:
        """`predict` for checked data."""
        return inputs.outputs(get_form(form), self.layout, self.theta, X)

    def classify(self, X: ArrayLike, *, form: str = "auto", threads: int | None = None) -> NDArray[np.intp]:
        """The label of each row of X, as in `predict`, (n,): the largest output, or of one whether it is more than ½.

        With binary_cross_entropy and several outputs, each a yes or no of its own: (n, n_out) of 0 and 1. InputError
        where outputs are NaN, as sums of huge numbers may be.
        """
        Y = self.predict(X, form=form, threads=threads)
        if np.isnan(Y).any():
            row = int(np.isnan(Y).any(axis=1).argmax())
            raise InputError(
                f"X: row {row} given, whose outputs are NaN, numbers whose sums {self.dtype} can hold are wanted"
            )
        if self.n_out > 1 and self.loss_function.targets != "probability":
            return Y.argmax(axis=1)
        yes = (Y > 0.5).astype(np.intp)
        return yes if self.n_out > 1 else yes[:, 0]

    def loss(
        self,
        X: ArrayLike,
        T: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        form: str = "auto",
        threads: int | None = None,
    ) -> float:
        """J (F3) on data points X (n, d) with targets T (n, n_out), or n labels for cross_entropy; without penalties.

        X is dense or scipy.sparse. The sum over data points of weight times L; with ``reduction="mean"`` divided by
        the sum of the weights.
        """
        data = self.checked(X, T, sample_weight, form=form).counting()
        with use_threads(threads):
            return self.judge(data, form)[0]

    def judge(self, data: training.TrainingData, form: str) -> tuple[float, Array]:
        """J (F3) and the outputs ŷ (n, n_out) of checked data."""
        Y, L = inputs.outputs_and_losses(get_form(form), self.layout, self.theta, data.X, data.T)
        c = data.weight.astype(np.float64)
        J = float(np.dot(c, L))
        return J / float(c.sum()) if self.reduction == "mean" else J, Y

    def evaluate(
        self,
        X: ArrayLike,
        T: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        metrics: Sequence[str | Metric] | None = None,
        form: str = "auto",
        threads: int | None = None,
    ) -> dict[str, float]:
        """``{"loss": J, ...}`` with metrics (`jitnet.metrics.METRICS`, or functions of (T, Y)); X as in `loss`.

        Default: accuracy for the cross-entropies, else mean absolute error and R².
        """
        data = self.checked(X, T, sample_weight, form=form).counting()
        with use_threads(threads):
            J, Y = self.judge(data, form)
        return {"loss": J, **evaluate(metrics, self.loss_function.targets, data.T, Y, data.weight)}

    def gradient(
        self,
        X: ArrayLike,
        T: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        form: str = "auto",
        threads: int | None = None,
    ) -> Gradient:
        """∂J/∂W, ∂J/∂b (F4-F9) and ∂J/∂X (F11) of the loss J that `loss` gives, without penalties; X is dense."""
        data = self.checked(X, T, sample_weight)
        some = data.counting()
        f, c, rows, targets = get_form(form), self.shares(some.weight), some.dense, some.T
        with use_threads(threads):
            x, y = f.forward(self.layout, self.theta, rows)
            J = float(np.dot(c, f.losses(self.layout, x, y, targets)))
            g = self._gradient(f, rows, y, f.backward(self.layout, self.theta, x, y, targets, c), J)
        if len(rows) == len(data.X):
            return g
        dX = np.zeros_like(data.dense)
        dX[data.weight > 0] = g.input
        return replace(g, input=dX)

    def _gradient(self, f: Any, X: Array, y: Array, delta: Array, J: float) -> Gradient:
        """F7, F8, F11 from the sensitivities."""
        g = f.gradient(self.layout, X, y, delta)
        M = range(len(self.widths) - 1)
        W, b = ([part(self.layout, g, m) for m in M] for part in (layout.weights, layout.biases))
        return Gradient(W, b, f.input_gradient(self.layout, self.theta, delta), g, J)

    def jacobian(self, x: ArrayLike, *, form: str = "auto", threads: int | None = None) -> Array:
        """∂ŷ/∂(input) (F12): (n_out, d) for one data point x (d,), (n, n_out, d) for x (n, d)."""
        X, one = self._one_or_many("x", x, self.n_in)
        f = get_form(form)
        with use_threads(threads):
            J: Array = f.jacobian(self.layout, self.theta, *f.forward(self.layout, self.theta, X))
        return J[0] if one else J

    def jvp(self, x: ArrayLike, v: ArrayLike, *, form: str = "auto", threads: int | None = None) -> Array:
        """Forward accumulation (F12): the Jacobian at x times the direction v.

        Both are (d,) or (n, d); the product is (n_out,) or (n, n_out).
        """
        X, one = self._one_or_many("x", x, self.n_in)
        V = self._like("v", v, X.shape, one)
        f = get_form(form)
        with use_threads(threads):
            out: Array = f.jvp(self.layout, self.theta, *f.forward(self.layout, self.theta, X), V)
        return out[0] if one else out

    def vjp(self, x: ArrayLike, u: ArrayLike, *, form: str = "auto", threads: int | None = None) -> Gradient:
        """Reverse accumulation (F12): the gradient of Σ u·ŷ, x (d,) or (n, d), u (n_out,) or (n, n_out).

        `.input` is u times the Jacobian, of x's shape; `.W` and `.b` are summed over the n data points.
        """
        X, one = self._one_or_many("x", x, self.n_in)
        U = self._like("u", u, (len(X), self.n_out), one)
        f = get_form(form)
        with use_threads(threads):
            x_, y_ = f.forward(self.layout, self.theta, X)
            g = self._gradient(f, X, y_, f.vjp(self.layout, self.theta, x_, y_, U), float("nan"))
        return Gradient(g.W, g.b, g.input[0] if one else g.input, g.theta, g.loss)

    def _one_or_many(self, argument: str, given: ArrayLike, width: int) -> tuple[Array, bool]:
        """(n, width) from (width,) or (n, width), and whether it was one data point."""
        array = check.numbers(argument, given, self.dtype)
        one = array.ndim == 1
        if one and len(array) != width:
            raise InputError(f"{argument}: shape {array.shape} given, ({width},) or (n, {width}) is wanted")
        return self._inputs(array[None, :] if one else array, argument), one

    def _like(self, argument: str, given: ArrayLike, shape: tuple[int, ...], one: bool) -> Array:
        array = check.numbers(argument, given, self.dtype)
        if array.shape != (shape[1:] if one else shape):
            raise InputError(f"{argument}: shape {array.shape} given, {shape[1:] if one else shape} is wanted")
        return array[None, :] if one else array

    # --- how it learns ---

    def fit(
        self,
        X: ArrayLike,
        T: ArrayLike,
        *,
        optimizer: str | Optimizer | None = None,
        epochs: int | None = None,
        steps: int | None = None,
        batch_size: int | Literal["auto"] | None = "auto",
        shuffle: bool = True,
        replacement: bool = False,
        validation: tuple[ArrayLike, ...] | None = None,
        sample_weight: ArrayLike | None = None,
        l1: float = 0.0,
        l2: float = 0.0,
        dropout: float | Sequence[float] = 0.0,
        clip_value: float | None = None,
        clip_norm: float | None = None,
        metrics: Sequence[str | Metric] = (),
        form: str = "auto",
        threads: int | None = None,
        callbacks: Sequence[Callback | Callable[[training.Run], Any]] = (),
        verbose: bool = False,
        seed: int | None = None,
    ) -> History:
        """Train on data points X (n, d) and targets T (n, n_out), or n labels for cross_entropy.

        X is dense or one of SciPy's sparse matrices, which stays sparse: the sums run over its entries, with the same
        result to rounding. Sparse X is not for `form` "plain" and "matrix", `LBFGS` and `StopAtGradientNorm`.

        Parameters
        ----------
        optimizer : a `jitnet.optimizers` object or name. Default: the one of the last `fit`, else ``Adam(lr=1e-3)``.
            The same one again (equal settings; a function as `lr` is equal to itself alone) goes on with what it
            remembers; another one starts afresh.
        epochs : passes over the data. Default 10, or no limit where `steps` is given.
        steps : stop after so many steps. An epoch that is cut short counts as one: the next `fit` begins another.
        batch_size : data points a step; None: all of them (gradient descent); 1: single points; default min(32, n).
            More than n: a warning, and n.
        shuffle : a new order each epoch, from `seed` and the number of the epoch. Default True.
        replacement : draw each step's points uniformly with replacement instead (seeds 003, 004).
        validation : (X, T) or (X, T, sample_weight), X dense or sparse, whose loss is written down after each epoch.
        sample_weight : (n,) >= 0: what each data point's loss counts; one of weight 0 is as if it were not there.
        l1, l2 : penalty l1 Σ|W_ij| + ½ l2 Σ W_ij² added to each step's loss; weights only, not biases.
        dropout : probability that a hidden neuron is silent in a step, one for all or one a hidden layer; the others
            are scaled by 1 / (1 - p). 0 <= p < 1.
        clip_value : cut each ∂J/∂θ_p to [-clip_value, clip_value].
        clip_norm : scale the gradient down to this Euclidean norm where it is longer (after clip_value).
        metrics : names (`jitnet.metrics.METRICS`) or functions of (T, Y), after each epoch, on X and on `validation`.
        form : "auto", "plain", "tiled" or "matrix". The result differs by rounding only.
        threads : at most; None for as many as Numba has. Steps of the tiled form have fewer while these are faster,
            beside other busy processes. The result of an index form has the same bits for any number. The matrix
            form's threads are NumPy's BLAS's, which this does not set.
        callbacks : `jitnet.callbacks` objects, or functions of the `Run` called after each epoch; what returns True
            stops the training.
        verbose : show a progress bar (needs the extra `cli`; else a line an epoch).
        seed : of shuffling, draws and dropout. Default the network's.

        Returns the `History` of this call; `net.history` has all calls. Raises InputError before any work for bad
        arguments, DivergenceError where the loss stops being finite: the last parameters with a finite loss are kept.
        """
        if self.n_out == 1 and self.loss_function.targets == "distribution":
            raise InputError(
                "output: a softmax of one neuron is always 1, nothing can be learnt; output='sigmoid' with "
                "loss='binary_cross_entropy' is wanted"
            )
        data = self.checked(X, T, sample_weight, form=form).counting()
        held_out = self._validation(validation, form)
        settings = training.Settings.check(
            len(data.X), [a.code == SOFTMAX for a in self.activations],
            optimizer=optimizer, epochs=epochs, steps=steps, batch_size=batch_size, shuffle=shuffle,
            replacement=replacement, l1=l1, l2=l2, dropout=dropout, clip_value=clip_value, clip_norm=clip_norm,
            metrics=metrics, form=form, callbacks=callbacks, verbose=verbose, seed=self.seed if seed is None else seed,
            continuation=self.continuation,
        )  # fmt: skip
        with use_threads(threads):
            return training.run(self, data, held_out, settings)

    def _validation(self, given: tuple[ArrayLike, ...] | None, form: str) -> training.TrainingData | None:
        if given is None:
            return None
        if not isinstance(given, tuple | list) or len(given) not in (2, 3):
            what = f"{len(given)} arrays" if isinstance(given, tuple | list) else type(given).__name__
            raise InputError(f"validation: {what} given, (X, T) or (X, T, sample_weight) is wanted")
        return self.checked(given[0], given[1], given[2] if len(given) == 3 else None, "validation ", form).counting()

    # --- where it is kept ---

    def save(self, path: str | Path, *, extra: dict[str, str] | None = None) -> None:
        """Write shape and parameters to a safetensors file, whole or not at all, over one that is there.

        The strings of `extra` are kept beside them; by default those of `net.extra`, where `jitnet.load` put them: what
        the command line wrote there is right as long as inputs are prepared as it did. A user's own activation or loss
        is kept by name; `jitnet.load` is then given it again.
        """
        self._check_parameters()
        W = {f"W{m}": W for m, W in enumerate(self.W)}
        b = {f"b{m}": b for m, b in enumerate(self.b)} if self.bias else {}
        files.save(path, self.describe(), W | b, self.extra if extra is None else extra)


def _address(name: str, function: Callable[..., float] | None, arguments: int, dtype: np.dtype[Any]) -> int:
    """The address of a user's function's C code; the function itself is kept for the matrix form. 0 for none."""
    if function is None:
        return 0
    address = compile_pointwise(name, function, arguments, dtype)
    layout.user_functions[address] = function
    return address


def _widths(given: Any) -> list[int]:
    several = given.ndim > 0 if isinstance(given, np.ndarray) else isinstance(given, list | tuple | range)
    if not several or len(given) < 2:
        raise InputError(f"widths: {given!r} given, at least two whole numbers (input, ..., output) are wanted")
    checked = [whole(f"widths[{k}]", width, least=1) for k, width in enumerate(given)]
    if sum((n_in + 1) * n_out for n_in, n_out in pairwise(checked)) > np.iinfo(np.intp).max // 8:
        raise InputError(f"widths: {given!r} given, fewer parameters than memory has addresses are wanted")
    return checked


def _hidden(given: str | Activation | Sequence[str | Activation], layers: int) -> list[Activation]:
    if isinstance(given, str | Activation) or not isinstance(given, Sequence):
        return [as_activation(given)] * layers
    if len(given) != layers:
        raise InputError(f"activation: {len(given)} given, {layers} are wanted, one a hidden layer")
    return [as_activation(each) for each in given]


def _dtype(given: Any) -> np.dtype[Any]:
    try:
        dtype = np.dtype(object if given is None else given)  # NumPy reads None as float64
    except (TypeError, ValueError):
        dtype = np.dtype(object)
    if dtype not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise InputError(f"dtype: {given!r} given, 'float32' or 'float64' is wanted")
    return dtype


def _as_json(given: Activation | Loss) -> dict[str, Any]:
    """A row that names an activation or a loss with its parameters; `own` marks a user's."""
    own = given.code in ((CUSTOM,) if isinstance(given, Activation) else (CUSTOM_LOSS,))
    named = ("slope", "alpha") if isinstance(given, Activation) else ("delta", "q")
    parameters = {key: getattr(given, key) for key in named if getattr(given, key) is not None}
    return {"name": given.name, **parameters, **({"own": True} if own else {})}
