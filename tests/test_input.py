"""Bad input is refused before anything changes, with the argument, what was given and what is wanted; odd but good
input gives the same bits as the plainest.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import cases
import numpy as np
import pytest

import jitnet as jn
from jitnet._jit import Kernel
from jitnet.forms import tiled

N, D, OUT = 12, 3, 2
rng = np.random.default_rng(8)
X, T = rng.normal(size=(N, D)), rng.normal(size=(N, OUT))


def network(**settings: Any) -> jn.Network:
    return jn.Network([D, 4, OUT], **{"activation": "tanh", "dtype": "float64", **settings})


def spoilt(array: np.ndarray, value: Any, *at: int) -> np.ndarray:
    array = array.copy()
    array[at] = value
    return array


# --- what is no matrix of data points -------------------------------------------------------------------------------

BAD_X: dict[str, tuple[Callable[[], Any], str]] = {
    "one dimension": (lambda: X[0], r"shape \(3,\) given, \(n, 3\) is wanted.*X\[None, :\]"),
    "three dimensions": (lambda: X[None], r"shape \(1, 12, 3\) given, \(n, 3\) is wanted"),
    "too few columns": (lambda: X[:, :2], r"shape \(12, 2\) given, \(n, 3\) is wanted"),
    "too many columns": (lambda: np.ones((5, 4)), r"shape \(5, 4\) given, \(n, 3\) is wanted"),
    "no rows": (lambda: X[:0], r"shape \(0, 3\) given, \(n, 3\) is wanted, n >= 1"),
    "no columns": (lambda: X[:, :0], r"shape \(12, 0\) given"),
    "empty list": (list, r"shape \(0,\) given"),
    "a number": (lambda: 3.0, r"shape \(\) given"),
    "NaN": (lambda: spoilt(X, np.nan, 4, 1), r"nan at \[4, 1\] given, finite numbers are wanted"),
    "inf": (lambda: spoilt(X, -np.inf, 11, 2), r"-inf at \[11, 2\] given, finite numbers are wanted"),
    "complex": (lambda: X + 0j, "dtype complex128 given, real numbers are wanted"),
    "strings": (
        lambda: X.astype(str),
        r"dtype <U.* given, real numbers are wanted, such as np\.asarray\(\.\.\., float\) makes",
    ),
    "a text among numbers": (
        lambda: [[1, 2, 3], [4, "five", 6]],
        r"dtype <U.* given, real numbers are wanted; 'five' at \[1, 1\] is none$",
    ),
    "bytes": (lambda: X.astype("S9"), r"dtype \|S9 given, real numbers are wanted"),
    "objects, one text": (
        lambda: spoilt(X.astype(object), "4", 2, 1),
        r"dtype object given, real numbers .* np\.asarray\(\.\.\., float\) makes of these: '4' at \[2, 1\] is a str$",
    ),
    "objects, one a duration": (
        lambda: [[1, 2**70, np.timedelta64(1, "s")]],
        r"dtype object given, real numbers are wanted; .*1.* at \[0, 2\] is none",
    ),
    "objects, one no time": (lambda: [[1, 2**70, np.timedelta64("NaT")]], r"dtype object given.* at \[0, 2\] is none"),
    "objects, one a signalling NaN": (lambda: [[1, Decimal("sNaN"), 1]], r"Decimal\('sNaN'\) at \[0, 1\] is none"),
    "objects, one huge": (lambda: np.array([[1, 2, np.longdouble("1e4000")]], object), r"inf at \[0, 2\] given"),
    "objects, one very long": (lambda: [[1, 10**5000, 1]], r"int too long to write at \[0, 1\] is none"),
    "objects, one complex": (lambda: [[1, 2**70, 1j]], r"dtype object given, real numbers are wanted; 1j at \[0, 2\]"),
    "objects, one NaN": (lambda: [[1, 2**70, np.nan]], r"nan at \[0, 2\] given, finite numbers are wanted"),
    "a None among numbers": (
        lambda: [[1, 2, None]],
        r"dtype object given, real numbers are wanted; None at \[0, 2\] is none$",
    ),
    "None": (lambda: None, "None given, an array is wanted"),
    "dates": (lambda: np.zeros((2, 3), "M8[s]"), "dtype datetime64.* given, real numbers are wanted"),
    "records": (lambda: np.zeros((2, 3), [("a", float)]), "dtype .* given, real numbers are wanted"),
    "ragged": (lambda: [[1, 2, 3], [1, 2]], "list given that is no array"),
    "whole numbers beyond float64": (lambda: [[1, 1, 10**400]], r"dtype object given.*10{3}.* at \[0, 2\] is none"),
    "masked": (lambda: np.ma.masked_greater(X, 1), r"a masked array given, a plain array is wanted \(its \.filled"),
    "a set": (lambda: {1, 2}, "dtype object given"),
    "a generator": (lambda: (row for row in X), "dtype object given"),
}

ASK_X: dict[str, Callable[[jn.Network, Any], Any]] = {
    "predict": lambda net, bad: net.predict(bad),
    "classify": lambda net, bad: net.classify(bad),
    "loss": lambda net, bad: net.loss(bad, T),
    "evaluate": lambda net, bad: net.evaluate(bad, T),
    "gradient": lambda net, bad: net.gradient(bad, T),
    "fit": lambda net, bad: net.fit(bad, T),
    "validation": lambda net, bad: net.fit(X, T, validation=(bad, T)),
}


def refused(ask: Callable[[jn.Network], Any], says: str, **settings: Any) -> None:
    """`ask` of a network that has trained: InputError in one line that matches; nothing changes, training goes on."""
    net = network(**settings)
    good = np.abs(T) / np.abs(T).sum(axis=1, keepdims=True)
    net.fit(X, good, epochs=1, batch_size=5)
    cases.refused(net, ask, says)


@pytest.mark.parametrize("bad", BAD_X)
@pytest.mark.parametrize("ask", ASK_X)
def test_bad_X(ask: str, bad: str) -> None:
    make, says = BAD_X[bad]
    given = make()
    argument = "validation X" if ask == "validation" else "X"
    refused(lambda net: ASK_X[ask](net, given), f"^{argument}: .*{says}")


@pytest.mark.parametrize("ask", ["jacobian", "jvp", "vjp"])
@pytest.mark.parametrize("bad", [bad for bad in BAD_X if bad != "one dimension"])
def test_bad_x(ask: str, bad: str) -> None:
    make, says = BAD_X[bad]
    given = make()
    others: dict[str, tuple[Any, ...]] = {"jacobian": (), "jvp": (X,), "vjp": (T,)}
    if bad in ("too few columns", "empty list"):
        says = "shape .* given"
    refused(lambda net: getattr(net, ask)(given, *others[ask]), "^x: .*" + says)


def test_bad_directions() -> None:
    for call, argument in (("jvp", "v"), ("vjp", "u")):
        width = D if call == "jvp" else OUT
        for x, direction, says in (
            (X, np.ones((N - 1, width)), rf"shape \(11, {width}\) given, \(12, {width}\) is wanted"),
            (X, np.ones(width), rf"shape \({width},\) given, \(12, {width}\) is wanted"),
            (X[0], np.ones((1, width)), rf"shape \(1, {width}\) given, \({width},\) is wanted"),
            (X[0], np.full(width, np.nan), r"nan at \[0\] given"),
            (X[0], ["a"] * width, "dtype <U1 given"),
        ):
            refused(lambda net, x=x, v=direction, call=call: getattr(net, call)(x, v), f"^{argument}: {says}")


# --- targets --------------------------------------------------------------------------------------------------------

ASK_T: dict[str, Callable[[jn.Network, Any], Any]] = {
    "loss": lambda net, bad: net.loss(X, bad),
    "evaluate": lambda net, bad: net.evaluate(X, bad),
    "gradient": lambda net, bad: net.gradient(X, bad),
    "fit": lambda net, bad: net.fit(X, bad),
    "validation": lambda net, bad: net.fit(X, np.full((N, OUT), 0.5), validation=(X, bad)),
}

BAD_T: dict[str, tuple[Any, str]] = {
    "too few rows": (T[:-1], r"shape \(11, 2\) given, \(12, 2\) is wanted, a row for each row of X"),
    "too many columns": (np.ones((N, 3)), r"shape \(12, 3\) given, \(12, 2\) is wanted"),
    "labels without cross-entropy": (np.zeros(N, int), r"shape \(12,\) given, \(12, 2\) is wanted"),
    "NaN": (spoilt(T, np.nan, 0, 1), r"nan at \[0, 1\] given"),
    "inf": (spoilt(T, np.inf, 3, 0), r"inf at \[3, 0\] given"),
    "strings": (T.astype(str), "dtype <U.* given"),
    "complex": (T * 1j, "dtype complex128 given"),
    "no rows": (T[:0], r"shape \(0, 2\) given"),
}


@pytest.mark.parametrize("bad", BAD_T)
@pytest.mark.parametrize("ask", ASK_T)
def test_bad_T(ask: str, bad: str) -> None:
    given, says = BAD_T[bad]
    argument = "validation T" if ask == "validation" else "T"
    refused(lambda net: ASK_T[ask](net, given), f"^{argument}: {says}")


CLASSES = {"loss": "cross_entropy", "output": "softmax"}
YES_NO = {"loss": "binary_cross_entropy", "output": "sigmoid"}
SHARES = abs(T) % 1

SPECIAL: dict[str, tuple[dict[str, str], Any, str]] = {
    "label too large": (CLASSES, [0, 1, 2] * 4, r"2 at \[2\] given, labels 0\.\.1 are"),
    "labels as text": (
        CLASSES,
        ["no", "yes"] * 6,
        r"text given, labels 0\.\.1 are wanted: classes, labels = np\.unique\(",
    ),
    "answers as text": (
        YES_NO,
        [["no", "yes"]] * N,
        r"text given, numbers from 0 to 1 are wanted: classes, labels = np\.unique\(",
    ),
    "objects that are none": (CLASSES, np.array([None, 1] * 6), "dtype object given, real numbers are wanted"),
    "label below 0": (CLASSES, [0, -1] * 6, r"-1 at \[1\] given, labels 0\.\.1 are"),
    "half a label": (CLASSES, [0, 0.5] * 6, r"0\.5 at \[1\] given, labels"),
    "label NaN": (CLASSES, [0, np.nan] * 6, r"nan at \[1\] given"),
    "too few labels": (CLASSES, [0, 1], r"shape \(2,\) given, \(12, 2\) or 12 labels"),
    "row of sum 2": (CLASSES, np.ones((N, 2)), "row 0 sums to 2, rows that sum to 1"),
    "negative share": (CLASSES, [[1.5, -0.5]] * N, r"-0\.5 at \[0, 1\] given, rows of probabilities"),
    "above 1": (YES_NO, spoilt(SHARES, 1.5, 2, 1), r"1\.5 at \[2, 1\] given.*\[0, 1\]"),
    "below 0": (YES_NO, spoilt(SHARES, -1e-9, 2, 1), r"-1e-09 at \[2, 1\] given.*\[0, 1\]"),
    "negative count": (
        {"loss": "poisson", "output": "exponential"},
        spoilt(abs(T), -3, 1, 0),
        r"-3 at \[1, 0\] given.*>= 0",
    ),
}


@pytest.mark.parametrize("bad", SPECIAL)
@pytest.mark.parametrize("ask", ASK_T)
def test_targets_that_the_loss_has_no_meaning_for(ask: str, bad: str) -> None:
    settings, given, says = SPECIAL[bad]
    refused(lambda net: ASK_T[ask](net, given), f"T: {says}", **settings)


# --- weights, and all other arguments of fit ------------------------------------------------------------------------

BAD_WEIGHT: dict[str, tuple[Any, str]] = {
    "too few": (np.ones(N - 1), r"shape \(11,\) given, \(12,\) is wanted, one weight for each row of X"),
    "a column": (np.ones((N, 1)), r"shape \(12, 1\) given, \(12,\) is wanted"),
    "negative": (spoilt(np.ones(N), -1, 5), r"-1 at \[5\] given, weights >= 0 are wanted"),
    "all 0": (np.zeros(N), "all weights are 0, at least one > 0 is wanted"),
    "NaN": (spoilt(np.ones(N), np.nan, 5), r"nan at \[5\] given"),
    "inf": (spoilt(np.ones(N), np.inf, 5), r"inf at \[5\] given"),
    "strings": (["1"] * N, "dtype <U1 given"),
    "a number": (1.0, r"shape \(\) given"),
}


@pytest.mark.parametrize("bad", BAD_WEIGHT)
@pytest.mark.parametrize("ask", ["loss", "evaluate", "gradient", "fit", "validation"])
def test_bad_weights(ask: str, bad: str) -> None:
    given, says = BAD_WEIGHT[bad]
    if ask == "validation":
        refused(lambda net: net.fit(X, T, validation=(X, T, given)), f"^validation sample_weight: {says}")
    else:
        refused(lambda net: getattr(net, ask)(X, T, sample_weight=given), f"^sample_weight: {says}")


BAD_FIT: list[tuple[str, Any, str]] = [
    ("optimizer", "adm", "unknown name 'adm'.*did you mean 'adam'.*known: adadelta"),
    ("optimizer", jn.Adam, "Adam.*a name or an optimiser such as"),
    ("optimizer", 0.1, r"0\.1 \(float\) given"),
    ("epochs", -1, "-1 given, a whole number >= 0"),
    ("epochs", 1.5, r"1\.5 \(float\) given, a whole number"),
    ("epochs", "3", r"'3' \(str\) given"),
    ("epochs", True, r"True \(bool\) given"),
    ("steps", -1, "-1 given"),
    ("steps", float("nan"), "nan"),
    ("batch_size", 0, "0 given, a whole number >= 1"),
    ("batch_size", -5, "-5 given"),
    ("batch_size", 2.0, r"2\.0 \(float\) given"),
    ("batch_size", "all", r"'all' \(str\) given"),
    ("shuffle", 1, "1 given, True or False is wanted"),
    ("replacement", "yes", "'yes' given, True or False is wanted"),
    ("validation", X, r"\(X, T\) or \(X, T, sample_weight\) is wanted"),
    ("validation", (X,), r"\(X, T\) or \(X, T, sample_weight\) is wanted"),
    ("validation", (X, T, None, None), r"\(X, T\) or \(X, T, sample_weight\) is wanted"),
    ("l1", -0.1, "-0.1 given, a number >= 0"),
    ("l1", float("inf"), "inf given"),
    ("l2", float("nan"), "nan given"),
    ("l2", "0.1", r"'0.1' \(str\) given"),
    ("l2", None, "None"),
    ("dropout", 1.0, "1.0 given, a number < 1"),
    ("dropout", -0.1, "-0.1 given"),
    ("dropout", [0.1, 0.1], "2 rates given, 1 are wanted, one a hidden layer"),
    ("dropout", [float("nan")], r"dropout\[0\]: nan given"),
    ("dropout", "half", "given"),
    ("dropout", [[0.1]], r"dropout\[0\]: \[0.1\]"),
    ("dropout", None, "None"),
    ("clip_value", 0, "0 given, a number > 0"),
    ("clip_value", float("nan"), "nan given"),
    ("clip_norm", -1.0, "-1.0 given, a number > 0"),
    ("form", "tild", "unknown name 'tild'.*known: auto"),
    ("form", None, "unknown name None"),
    ("threads", 0, "0 given, a whole number >= 1"),
    ("threads", 10**6, "1000000 given, 1 to"),
    ("threads", 1.0, r"1\.0 \(float\) given"),
    ("seed", -1, "-1 given"),
    ("seed", 1.5, r"1\.5 \(float\) given"),
]


@pytest.mark.parametrize(("argument", "given", "says"), BAD_FIT)
def test_bad_arguments_of_fit(argument: str, given: Any, says: str) -> None:
    refused(lambda net: net.fit(X, T, **{argument: given}), f"{argument}.*{says}|^{says}")


def test_lbfgs_with_a_bad_argument_is_an_input_error_too() -> None:
    pytest.importorskip("scipy")
    for argument, given in (("dropout", [[1], 2]), ("l2", -1), ("epochs", 1.5)):
        with pytest.raises(jn.InputError, match=argument):
            network().fit(X, T, optimizer="lbfgs", **{argument: given})  # type: ignore[arg-type]


def test_dropout_is_checked_without_hidden_layers_too() -> None:
    net = jn.Network([D, OUT], dtype="float64")
    with pytest.raises(jn.InputError, match="dropout: 7 given"):
        net.fit(X, T, dropout=7)
    with pytest.raises(jn.InputError, match="dropout: 1 rates given, 0 are wanted"):
        net.fit(X, T, dropout=[0.1])


def test_dropout_of_softmax_neurons_is_refused() -> None:
    net = jn.Network([D, 4, 4, OUT], activation=["relu", "softmax"])
    with pytest.raises(jn.InputError, match=r"dropout\[1\]: 0.5 given for a softmax layer, 0 is wanted"):
        net.fit(X, T, dropout=0.5)
    net.fit(X, T, dropout=[0.5, 0.0], epochs=1)


@pytest.mark.parametrize("ask", ["predict", "loss", "gradient", "jacobian", "jvp", "vjp"])
def test_bad_form_and_threads_anywhere(ask: str) -> None:
    others: dict[str, tuple[Any, ...]] = {"loss": (T,), "gradient": (T,), "jvp": (X,), "vjp": (T,)}
    for bad, says in (({"form": "tiles"}, "form: unknown name 'tiles'"), ({"threads": 0}, "threads: 0 given")):
        refused(lambda net, bad=bad: getattr(net, ask)(X, *others.get(ask, ()), **bad), says)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    "ask", ["predict", "loss", "evaluate", "gradient", "fit", "jacobian", "jvp", "vjp", "save", "astype"]
)
def test_parameters_that_are_not_finite(ask: str, bad: float, tmp_path: Path) -> None:
    others: dict[str, tuple[Any, ...]] = {
        **dict.fromkeys(("loss", "evaluate", "gradient", "fit", "vjp"), (X, T)), "predict": (X,), "jacobian": (X,),
        "jvp": (X, X), "save": (tmp_path / "net",), "astype": ("float64",),
    }  # fmt: skip
    net = network()
    net.b[1][1] = bad
    with pytest.raises(jn.InputError, match=rf"^b\[1\]: {bad} at \[1\] given, finite numbers are wanted"):
        getattr(net, ask)(*others[ask])
    assert len(net.history) == 0


# --- the constructor ------------------------------------------------------------------------------------------------

BAD_NETWORK: list[tuple[dict[str, Any], str]] = [
    ({"widths": [3]}, r"widths: \[3\] given, at least two whole numbers"),
    ({"widths": []}, "widths"),
    ({"widths": "34"}, "widths"),
    ({"widths": 3}, "widths"),
    ({"widths": None}, "widths"),
    ({"widths": (w for w in (3, 2))}, "widths"),
    ({"widths": [3, 0, 2]}, r"widths\[1\]: 0 given, a whole number >= 1"),
    ({"widths": [3, -1]}, r"widths\[1\]: -1 given"),
    ({"widths": [3.0, 2]}, r"widths\[0\]: 3.0 \(float\) given"),
    ({"widths": [3, "2"]}, r"widths\[1\]: '2' \(str\) given"),
    ({"widths": [3, True]}, r"widths\[1\]: True \(bool\) given"),
    ({"widths": [3, None]}, r"widths\[1\]: None"),
    ({"widths": np.ones((2, 2), int)}, r"widths\[0\]"),
    ({"widths": [10**12, 10**12]}, "widths"),
    ({"widths": [10**40, 2]}, "widths"),
    ({"activation": "rleu"}, "activation: unknown name 'rleu'.*did you mean 'relu'.*known: elu"),
    ({"activation": ["relu", "relu"]}, "activation: 2 given, 1 are wanted, one a hidden layer"),
    ({"activation": []}, "activation: 0 given, 1 are wanted"),
    ({"activation": None}, "activation: NoneType given"),
    ({"activation": [3]}, "activation: int given"),
    ({"output": "sigmoida"}, "unknown name 'sigmoida'.*did you mean 'sigmoid'"),
    ({"output": ["relu"]}, "list given"),
    ({"loss": "mse"}, "loss: unknown name 'mse'.*known: absolute_error"),
    ({"loss": 3}, "loss: int given"),
    ({"loss": "cross_entropy"}, "loss 'cross_entropy' with output 'identity'.*output='softmax'"),
    ({"loss": "cross_entropy", "output": "sigmoid"}, "loss='binary_cross_entropy'"),
    ({"loss": "binary_cross_entropy", "output": "softmax"}, "loss='cross_entropy'"),
    ({"loss": "binary_cross_entropy"}, "output='sigmoid'"),
    ({"loss": "poisson", "output": "relu"}, "output='exponential' or 'softplus'"),
    ({"reduction": "average"}, "reduction: unknown name 'average'.*known: mean, sum"),
    ({"reduction": None}, "reduction"),
    ({"reduction": np.array(["mean", "sum"])}, "reduction"),
    ({"bias": 1}, "bias: 1 given, True or False is wanted"),
    ({"bias": "no"}, "bias: 'no' given"),
    ({"dtype": "float16"}, "dtype: 'float16' given, 'float32' or 'float64' is wanted"),
    ({"dtype": int}, "dtype"),
    ({"dtype": "double precision"}, "dtype"),
    ({"dtype": ">f8"}, "dtype"),
    ({"dtype": None}, "dtype: None given"),
    ({"dtype": {"a": 1}}, "dtype"),
    ({"seed": -1}, "seed: -1 given"),
    ({"seed": None}, "seed: None"),
    ({"seed": 1.0}, "seed: 1.0"),
    ({"seed": np.random.default_rng(0)}, "seed"),
]


@pytest.mark.parametrize(("settings", "says"), BAD_NETWORK)
def test_bad_arguments_of_the_constructor(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(jn.InputError, match=says) as error:
        jn.Network(**{"widths": [3, 4, 2], **settings})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: jn.Activation("relu", slope=0.1), "activation 'relu': has no parameter 'slope'"),
        (lambda: jn.Activation("elu", alpha="1"), r"activation 'elu': alpha: '1' \(str\) given"),
        (lambda: jn.Activation("leaky_relu", slope=float("nan")), "activation 'leaky_relu': slope: nan"),
        (lambda: jn.Activation(3), "unknown name 3"),
        (lambda: jn.Loss("huber", delta=0), "loss 'huber': delta: 0 given, a number > 0"),
        (lambda: jn.Loss("quantile", q=1), "loss 'quantile': q: 1 given, a number < 1"),
        (lambda: jn.Loss("huber", q=0.5), "loss 'huber': has no parameter 'q'"),
        (lambda: jn.Loss("hubber"), "unknown name 'hubber'.*did you mean 'huber'"),
        (lambda: jn.SGD(lr=-0.1), "SGD lr: -0.1 given, a number >= 0"),
        (lambda: jn.Adam(lr=float("nan")), "Adam lr: nan given"),
        (lambda: jn.Adam(lr="fast"), "Adam lr: 'fast'"),
        (lambda: jn.Adam(beta1=1.0), "Adam beta1: 1.0 given, a number < 1"),
        (lambda: jn.SGD(weight_decay=-1), "SGD weight_decay: -1"),
    ],
)
def test_bad_settings_of_the_parts(make: Callable[[], Any], says: str) -> None:
    with pytest.raises(jn.InputError, match=says):
        make()


def test_an_input_error_is_a_value_error() -> None:
    assert issubclass(jn.InputError, ValueError)


# --- odd but good ---------------------------------------------------------------------------------------------------

WHOLE = np.round(rng.normal(size=(N, D)) * 4)
"""Small whole numbers: every dtype holds them exactly."""


def strided(array: np.ndarray) -> np.ndarray:
    big = np.full((2 * array.shape[0], 3 * array.shape[1]), np.nan)
    big[::2, ::3] = array
    return big[::2, ::3]


def read_only(array: np.ndarray) -> np.ndarray:
    array = array.copy()
    array.flags.writeable = False
    return array


def unaligned(array: np.ndarray) -> np.ndarray:
    raw = np.zeros(array.nbytes + 1, np.uint8)[1:]
    out = raw.view(array.dtype).reshape(array.shape)
    out[...] = array
    assert not out.flags.aligned
    return out


ODD: dict[str, Callable[[np.ndarray], Any]] = {
    "Fortran order": np.asfortranarray,
    "strided": strided,
    "reversed": lambda a: a[::-1].copy()[::-1],
    "broadcast": lambda a: np.broadcast_to(a, (2, *a.shape))[1],
    "read-only": read_only,
    "unaligned": unaligned,
    "other byte order": lambda a: a.astype(a.dtype.newbyteorder()),
    "list": lambda a: a.tolist(),
    "tuple of arrays": tuple,
    "float16": lambda a: a.astype(np.float16),
    "float32": lambda a: a.astype(np.float32),
    "long double": lambda a: a.astype(np.longdouble),
    "int64": lambda a: a.astype(np.int64),
    "int8": lambda a: a.astype(np.int8),
    "objects": lambda a: a.astype(object),
    "objects and bool": lambda a: np.where(a == 1, np.bool_(True), a.astype(object)),
    "decimals": lambda a: np.frompyfunc(Decimal, 1, 1)(a),
    "matrix": lambda a: pytest.importorskip("scipy.sparse").csr_array(a).todense(),
    "data frame": lambda a: pytest.importorskip("polars").DataFrame(a),
}


def everything(dtype: str, X: Any, T: Any, weight: Any = None) -> list[bytes]:
    """The bits of all that can be asked, and of the parameters after training."""
    net = network(dtype=dtype)
    g, v = net.gradient(X, T, sample_weight=weight), net.vjp(X, T)
    said = [net.predict(X), g.theta, g.input, net.jacobian(X), net.jvp(X, X), v.theta, v.input]
    numbers = [net.loss(X, T, sample_weight=weight), *net.evaluate(X, T, sample_weight=weight).values()]
    history = net.fit(X, T, sample_weight=weight, batch_size=5, epochs=3, validation=(X, T, weight))
    return [a.tobytes() for a in (*said, np.array(numbers), net.theta, np.array(history["loss"] + history["val_loss"]))]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_odd_but_good_arrays_give_the_same_bits_and_compile_nothing(dtype: str) -> None:
    targets, weight = WHOLE[:, :OUT].copy(), abs(WHOLE[:, 0]) + 1
    wanted = everything(dtype, WHOLE, targets, weight)
    kernels = [each for each in vars(tiled).values() if isinstance(each, Kernel)]
    assert tiled.steps in kernels
    compiled = [len(kernel.serial.signatures) for kernel in kernels]
    for name, make in ODD.items():
        X_, T_ = make(WHOLE), make(targets)
        weight_ = make(weight[None, :])[0] if name != "data frame" else weight
        assert everything(dtype, X_, T_, np.asarray(weight_).ravel()) == wanted, name
        assert [len(kernel.serial.signatures) for kernel in kernels] == compiled, name


def test_booleans_are_0_and_1() -> None:
    truth = WHOLE > 0
    assert everything("float64", truth, truth[:, :2]) == everything(
        "float64", truth.astype(float), truth[:, :2].astype(float)
    )


def test_memory_mapped_files_are_read_where_they_are(tmp_path: Path) -> None:
    for name, array in (("X", WHOLE), ("T", WHOLE[:, :OUT])):
        np.save(tmp_path / f"{name}.npy", np.ascontiguousarray(array))
    wanted = everything("float64", WHOLE, WHOLE[:, :OUT].copy())
    for mode in ("r", "r+", "c"):
        X_, T_ = (np.load(tmp_path / f"{name}.npy", mmap_mode=mode) for name in "XT")  # type: ignore[call-overload]
        assert everything("float64", X_, T_) == wanted
        held = network().checked(X_, T_)
        assert np.shares_memory(held.X, X_)
        assert np.shares_memory(held.T, T_)


def test_a_read_only_array_lives_as_long_as_it_is_needed() -> None:
    """The network's view of it keeps it, and a fit with nothing else holding it reads no freed memory."""
    net, seen = network(), []
    net.fit(read_only(X), read_only(T), epochs=1, callbacks=[lambda run: seen.append(run.data)])
    junk = [np.full_like(X, np.nan) for _ in range(50)]
    np.testing.assert_array_equal(seen[0].X, X)
    np.testing.assert_array_equal(seen[0].T, T)
    del junk


def test_numbers_too_large_for_the_dtype() -> None:
    refused(
        lambda net: net.predict(spoilt(X, 1e300, 2, 1)),
        r"^X: 1e\+300 at \[2, 1\] \(too large for float32\)",
        dtype="float32",
    )
    assert np.isfinite(network().predict(spoilt(X, 1e300, 2, 1))).all()


def test_numbers_whose_sum_is_too_large_are_finite() -> None:
    large = np.full((N, D), 3e38)
    assert np.isfinite(network(dtype="float32").predict(large)).all()
    refused(lambda net: net.predict(spoilt(large, np.nan, 2, 1)), r"^X: nan at \[2, 1\] given", dtype="float32")


def test_the_users_arrays_are_left_alone() -> None:
    X_, T_, c = X.copy(), T.copy(), np.ones(N)
    net = network()
    net.fit(X_, T_, sample_weight=c, epochs=2, batch_size=5, dropout=0.3, l2=0.1)
    net.gradient(X_, T_, sample_weight=c)
    for kept, was in ((X_, X), (T_, T), (c, np.ones(N))):
        np.testing.assert_array_equal(kept, was)
