"""Preparation: X and T are what a few lines of NumPy say, they survive JSON bit for bit, and odd rows are refused."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from jitnet.errors import InputError
from jitnet.preparation import Preparation, split
from jitnet.tables import Table


def table(file: str = "train.csv", **columns: list[Any]) -> Table:
    """A table as from a CSV file with a header: row r is on line r + 2."""
    n = len(next(iter(columns.values())))
    arrays = {
        name: np.array(values, float if isinstance(values[0], float) else str) for name, values in columns.items()
    }
    return Table(file, arrays, lines=np.arange(2, n + 2))


def diamonds() -> Table:
    """Six rows with text features between numeric ones, a text class and a numeric target."""
    return table(
        carat=[0.25, 0.5, 0.25, 1.0, 0.75, 0.25],
        cut=["Ideal", "Good", "Ideal", "Fair", "Good", "Fair"],
        depth=[61.5, 60.0, 62.0, 61.0, 61.5, 60.0],
        color=["E", "D", "D", "E", "E", "D"],
        price=[326.5, 400.0, 350.0, 900.0, 700.0, 300.0],
    )


# Features -------------------------------------------------------------------------------------------------------------


def test_numbers_and_one_hot_texts_stand_in_the_order_of_the_features() -> None:
    preparation = Preparation.learn(diamonds(), target="price")
    assert preparation.feature_names == ("carat", "cut", "depth", "color")
    assert preparation.categories == {"cut": ("Fair", "Good", "Ideal"), "color": ("D", "E")}
    assert preparation.numeric == ("carat", "depth")
    assert (preparation.inputs, preparation.outputs) == (7, 1)
    X = preparation.features(diamonds())
    assert X.dtype == np.float64
    assert X.tolist() == [
        [0.25, 0, 0, 1, 61.5, 0, 1],
        [0.5, 0, 1, 0, 60.0, 1, 0],
        [0.25, 0, 0, 1, 62.0, 1, 0],
        [1.0, 1, 0, 0, 61.0, 0, 1],
        [0.75, 0, 1, 0, 61.5, 0, 1],
        [0.25, 1, 0, 0, 60.0, 1, 0],
    ]
    chosen = Preparation.learn(diamonds(), target="cut", features=["color", "carat"])
    assert chosen.features(diamonds()).tolist()[1] == [1, 0, 0.5]


def test_standardised_features_have_mean_0_and_deviation_1_and_new_rows_the_same_scale() -> None:
    train = diamonds()
    preparation = Preparation.learn(train, target="price", standardize=True)
    X = preparation.features(train)[:, [0, 4]]
    raw = train.numbers(["carat", "depth"])
    np.testing.assert_allclose(X, (raw - raw.mean(0)) / raw.std(0), rtol=0, atol=1e-15)
    np.testing.assert_allclose(X.mean(0), 0, atol=1e-13)
    np.testing.assert_allclose(X.std(0), 1, rtol=1e-13)
    assert set(np.unique(preparation.features(train)[:, [1, 2, 3, 5, 6]])) == {0.0, 1.0}  # texts stay 0 and 1
    one = train.take(np.array([3]))
    assert preparation.features(one).tolist() == [preparation.features(train)[3].tolist()]


def test_a_constant_column_is_only_shifted() -> None:
    train = table(a=[0.1] * 10, b=[float(i) for i in range(10)], y=[0.5] * 10)
    assert 0 < train.numbers(["a", "b"]).std(axis=0)[0] < 1e-16  # the rounded mean of ten 0.1 is not 0.1
    preparation = Preparation.learn(train, target="y", standardize=True, standardize_target=True)
    assert (preparation.mean[0], preparation.std[0]) == (0.1, 1.0)
    assert (preparation.target_mean, preparation.target_std) == ((0.5,), (1.0,))
    assert preparation.features(train)[:, 0].tolist() == [0.0] * 10
    assert preparation.features(table(a=[1.1], b=[0.0]))[0, 0] == 1.0


def test_numbers_that_cannot_be_standardised_are_refused() -> None:
    with pytest.raises(InputError, match=r"train\.csv, column 'a': its numbers are too large or too close"):
        Preparation.learn(table(a=[1e308, -1e308, 1e308], y=[0.5, 1.5, 2.5]), target="y", standardize=True)
    with pytest.raises(InputError, match=r"train\.csv, column 'a': its numbers are too large or too close"):
        Preparation.learn(table(a=[0.0, 5e-324], y=[0.5, 1.5]), target="y", standardize=True)
    train = table(a=[0.001, 0.002], y=[0.001, 0.002])
    preparation = Preparation.learn(train, target="y", standardize=True, standardize_target=True)
    new = table("new.csv", a=[0.0, 1e307], y=[0.0, -1e307])
    with pytest.raises(InputError, match=r"new\.csv, line 3, column 'a': 1e\+307 is too large beside the numbers seen"):
        preparation.features(new)
    with pytest.raises(InputError, match=r"new\.csv, line 3, column 'y': -1e\+307 is too large"):
        preparation.targets(new)


def test_a_block_of_pixels_becomes_x_without_its_label() -> None:
    pixels = np.arange(12, dtype=np.uint8).reshape(4, 3)
    images = Table("a.npz", {"y": np.array([7.0, 3.0, 7.0, 3.0])}, pixels, ("y",))
    preparation = Preparation.learn(images, target=images.targets)
    assert preparation.feature_names == ("x0", "x1", "x2")
    X = preparation.features(images)
    assert X.dtype == np.float64
    assert np.array_equal(X, pixels)
    assert preparation.targets(images).tolist() == [1, 0, 1, 0]
    X[0, 0] = 99.0
    assert images.block is not None
    assert images.block[0, 0] == 0
    with pytest.raises(InputError, match=r"b\.npz: there is no column 'x2'"):
        preparation.features(Table("b.npz", block=pixels[:, :2]))


def test_columns_that_are_no_features_are_ignored() -> None:
    preparation = Preparation.learn(diamonds(), target="price", features=["carat"])
    assert preparation.features(table(junk=["?", "!"], carat=[1.0, 2.0])).tolist() == [[1.0], [2.0]]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"cut": ["Good", "Idael"]},
            "new.csv, line 3, column 'cut': unknown category 'Idael' (did you mean 'Ideal'",
        ),
        ({"cut": ["", "Good"]}, "new.csv, line 2, column 'cut': unknown category ''; known: Fair, Good, Ideal"),
        ({"cut": [1.0, 2.0]}, "new.csv, line 2, column 'cut': 1 is a number, text is wanted in this column"),
        ({"depth": ["x", "y"]}, "new.csv, line 2, column 'depth': 'x' is text, a number is wanted"),
        (
            {"depth": None, "dept": [1.0, 2.0]},
            "new.csv: there is no column 'depth' (did you mean 'dept'?); columns: carat",
        ),
        ({"cut": None}, "new.csv: there is no column 'cut'"),
    ],
)
def test_new_rows_that_do_not_fit(changed: dict[str, Any], message: str) -> None:
    preparation = Preparation.learn(diamonds(), target="price", standardize=True)
    columns: dict[str, Any] = {
        "carat": [1.0, 2.0],
        "cut": ["Good", "Fair"],
        "depth": [60.0, 61.0],
        "color": ["D", "E"],
    } | changed
    new = table("new.csv", **{name: values for name, values in columns.items() if values is not None})
    with pytest.raises(InputError) as caught:
        preparation.features(new)
    assert str(caught.value).startswith(message)


# Targets and answers --------------------------------------------------------------------------------------------------


def test_text_classes_there_and_back() -> None:
    preparation = Preparation.learn(diamonds(), target="cut")
    assert preparation.task == "classification"
    assert preparation.classes == ("Fair", "Good", "Ideal")
    labels = preparation.targets(diamonds())
    assert labels.dtype == np.int64
    assert labels.tolist() == [2, 1, 2, 0, 1, 0]
    assert preparation.decode(np.eye(3)[labels]).tolist() == diamonds().column("cut").tolist()
    assert preparation.decode([[0.4, 0.4, 0.2]]).tolist() == ["Fair"]  # the first of equals
    with pytest.raises(InputError, match=r"new\.csv, line 3, column 'cut': unknown class 'Great'"):
        preparation.targets(table("new.csv", cut=["Good", "Great"]))
    with pytest.raises(
        InputError, match=r"new\.csv, line 2, column 'cut': 3 is a number, text is wanted in this column"
    ):
        preparation.targets(table("new.csv", cut=[3.0]))


def test_integer_classes_keep_their_values() -> None:
    train = table(a=[0.0] * 6, y=[-1.0, 10.0, 2.0, 2.0, 10.0, -1.0])
    preparation = Preparation.learn(train, target="y")
    assert preparation.classes == (-1, 2, 10)
    assert [type(label) for label in preparation.classes] == [int] * 3
    answers = preparation.decode(np.eye(3)[preparation.targets(train)])
    assert answers.dtype == np.int64
    assert answers.tolist() == [-1, 10, 2, 2, 10, -1]
    with pytest.raises(InputError, match=r"new\.csv, line 3, column 'y': unknown class '2.5'.*; known: -1, 10, 2"):
        preparation.targets(table("new.csv", y=[2.0, 2.5]))
    with pytest.raises(
        InputError, match=r"new\.csv, line 2, column 'y': 'x' is text, a number is wanted in this column"
    ):
        preparation.targets(table("new.csv", y=["x"]))


def test_two_classes_from_one_or_two_outputs() -> None:
    preparation = Preparation.learn(table(a=[0.0] * 4, y=["no", "yes", "no", "no"]), target="y")
    assert preparation.outputs == 2
    assert preparation.decode([[0.5], [0.51], [0.0]]).tolist() == ["no", "yes", "no"]
    assert preparation.decode([[0.5, 0.5], [0.2, 0.8]]).tolist() == ["no", "yes"]


def test_regression_with_several_standardised_targets() -> None:
    preparation = Preparation.learn(diamonds(), target=["price", "depth"], standardize_target=True)
    assert preparation.task == "regression"
    assert preparation.feature_names == ("carat", "cut", "color")
    T = preparation.targets(diamonds())
    raw = diamonds().numbers(["price", "depth"])
    np.testing.assert_allclose(T, (raw - raw.mean(0)) / raw.std(0), rtol=0, atol=1e-15)
    np.testing.assert_allclose(preparation.decode(T), raw, rtol=1e-15)
    plain = Preparation.learn(diamonds(), target=["price", "depth"])
    assert np.array_equal(plain.targets(diamonds()), raw)
    assert np.array_equal(plain.decode(raw), raw)
    with pytest.raises(InputError, match=r"new\.csv, line 2, column 'depth': 'deep' is text, a number is wanted"):
        plain.targets(table("new.csv", price=[1.0], depth=["deep"]))


@pytest.mark.parametrize(
    ("values", "task"),
    [
        (["a", "b"], "classification"),
        ([0.0, 1.0, 1.0, 0.0], "classification"),
        ([0.0, 1.0, 2.0], "regression"),  # each once
        ([0.5, 1.0, 1.0, 0.5], "regression"),
        ([float(i) for i in range(20)] * 2, "classification"),
        ([float(i) for i in range(21)] * 2, "regression"),
        ([2.0**53, 0.0] * 2, "regression"),
    ],
)
def test_the_task_that_is_not_given(values: list[Any], task: str) -> None:
    train = table(a=[0.0] * len(values), y=values)
    assert Preparation.learn(train, target="y").task == task


def test_the_given_task_wins() -> None:
    train = table(a=[0.0] * 4, y=[0.0, 1.0, 2.0, 3.0])
    assert Preparation.learn(train, target="y", task="classification").classes == (0, 1, 2, 3)
    assert Preparation.learn(train, target="y").classes == ()


@pytest.mark.parametrize("outputs", [np.ones(3), np.ones((2, 2)), np.ones((2, 4)), np.ones((1, 1)), np.ones((1, 1, 3))])
def test_outputs_of_another_shape(outputs: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"outputs: shape .* given, \(n, 3\) is wanted"):
        Preparation.learn(diamonds(), target="cut").decode(outputs)


def test_outputs_that_are_not_finite() -> None:
    with pytest.raises(InputError, match="outputs: NaN or infinity"):
        Preparation.learn(diamonds(), target="cut").decode([[0.0, np.nan, 1.0]])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"target": "pric"},
            r"target: train\.csv: there is no column 'pric' \(did you mean 'price'\?\); columns: carat",
        ),
        ({"target": "cut", "features": ["carat", "kut"]}, r"features: train\.csv: there is no column 'kut'"),
        ({"target": "cut", "features": ["carat", "cut"]}, "features: column 'cut' is the target"),
        ({"target": "cut", "features": ["carat", "carat"]}, "features: column 'carat' is given twice"),
        ({"target": ["price", "price"]}, "target: column 'price' is given twice"),
        ({"target": "cut", "features": []}, r"features: no column is left of train\.csv"),
        ({"target": ["carat", "cut", "depth", "color", "price"]}, r"features: no column is left of train\.csv"),
        ({"target": []}, r"target: no column is left of train\.csv"),
        ({"target": "cut", "task": "clasification"}, r"task: unknown name .*did you mean 'classification'"),
        ({"target": "cut", "task": "regression"}, r"train\.csv, line 2, column 'cut': 'Ideal' is text, a number"),
        ({"target": ["price", "cut"]}, r"train\.csv, line 2, column 'cut': 'Ideal' is text, a number"),
        ({"target": ["price", "cut"], "task": "classification"}, "target: 2 columns given, classification wants one"),
        ({"target": "price", "task": "classification"}, r"train\.csv, line 2, column 'price': 326\.5 is no label"),
        ({"target": "cut", "standardize_target": True}, "standardize_target: classes cannot be standardised"),
    ],
)
def test_what_cannot_be_learned(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Preparation.learn(diamonds(), **arguments)


def test_a_single_class_and_texts_without_end_are_refused() -> None:
    with pytest.raises(InputError, match=r"train\.csv, column 'y': only the class 3; at least two are wanted"):
        Preparation.learn(table(a=[1.0, 2.0], y=[3.0, 3.0]), target="y", task="classification")
    many = table(name=[f"n{i}" for i in range(1001)], y=[i * 0.5 for i in range(1001)])
    with pytest.raises(InputError, match=r"column 'name': 1001 different texts in 1001 rows are too many"):
        Preparation.learn(many, target="y")
    assert Preparation.learn(many.take(np.arange(1000)), target="y").inputs == 1000


# JSON -----------------------------------------------------------------------------------------------------------------

texts = st.text(st.characters(exclude_characters="\0"), min_size=1)


@given(
    hnp.arrays(np.float64, (5, 3), elements=st.floats(-1e100, 1e100)),
    st.lists(texts, min_size=5, max_size=5),
    st.booleans(),
    st.booleans(),
)
@settings(deadline=None, max_examples=200)
def test_json_keeps_every_bit(X: np.ndarray, words: list[str], standardize: bool, classify: bool) -> None:
    train = Table(
        "f", {"a": X[:, 0], "the text": np.array(words), "b": X[:, 1], "y": X[:, 2], "k": np.array([2.0, 1, 1, 1, 2])}
    )
    try:
        made = Preparation.learn(
            train,
            target="k" if classify else ["y", "b"],
            standardize=standardize,
            standardize_target=standardize and not classify,
        )
    except InputError as error:
        assert "too close to standardise" in str(error)  # subnormal spreads, drawn now and then
        return
    stored = made.to_json()
    back = Preparation.from_json(stored)
    assert back == made
    assert back.to_json() == stored
    assert back.features(train).tobytes() == made.features(train).tobytes()
    assert back.targets(train).tobytes() == made.targets(train).tobytes()
    assert [type(label) for label in back.classes] == [type(label) for label in made.classes]
    json.loads(stored, parse_constant=pytest.fail)  # NaN and Infinity are not JSON


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("task", "guess"),
        ("task", 3),
        ("task", "regression"),
        ("feature_names", []),
        ("feature_names", ["carat", "carat"]),
        ("feature_names", [["carat"]]),
        ("feature_names", "carat"),
        ("target_names", []),
        ("target_names", ["cut", "price"]),
        ("categories", {"nowhere": ["a"]}),
        ("categories", {"color": ["E", "D"]}),
        ("categories", {"color": []}),
        ("categories", {"color": [1, 2]}),
        ("categories", {"color": None}),
        ("categories", []),
        ("classes", ["Fair"]),
        ("classes", ["Good", "Fair"]),
        ("classes", ["Fair", 3]),
        ("classes", [False, True]),
        ("classes", [0.5, 1.5]),
        ("mean", [0.0]),
        ("mean", [0.0, None]),
        ("std", [1.0, 0.0, 1.0]),
        ("std", [1.0, -1.0, 1.0]),
        ("std", [1.0, 1, 1.0]),
        ("std", [1.0, float("nan"), 1.0]),
        ("std", [1.0, float("inf"), 1.0]),
        ("target_mean", [0.0]),
        ("more", 1),
        (None, None),
    ],
)
def test_json_that_was_tampered_with(field: str | None, value: object) -> None:
    good = json.loads(Preparation.learn(diamonds(), target="cut", standardize=True).to_json())
    assert Preparation.from_json(json.dumps(good))
    if field is None:
        del good["std"]
    else:
        good[field] = value
    with pytest.raises(InputError) as caught:
        Preparation.from_json(json.dumps(good))
    assert str(caught.value).startswith(
        "task: unknown name" if (field, value) == ("task", "guess") else "preparation: "
    )


@pytest.mark.parametrize("text", ["", "[]", "{", "null", "[" * 100_000, '{"task": 1}'])
def test_json_that_is_none(text: str) -> None:
    with pytest.raises(InputError, match=r"^preparation: "):
        Preparation.from_json(text)


# Split ----------------------------------------------------------------------------------------------------------------


@given(st.integers(2, 200), st.floats(0.01, 0.99), st.integers(0, 2**40))
@settings(deadline=None, max_examples=200)
def test_a_split_has_every_row_once(n: int, fraction: float, seed: int) -> None:
    train, test = split(n, test_fraction=fraction, seed=seed)
    assert np.array_equal(np.sort(np.concatenate([train, test])), np.arange(n))
    assert len(test) == min(max(round(n * fraction), 1), n - 1)
    assert all(
        np.array_equal(a, b)
        for a, b in zip((train, test), split(n, None, test_fraction=fraction, seed=seed), strict=True)
    )
    assert np.all(np.diff(train) > 0)
    assert np.all(np.diff(test) > 0)


@given(st.lists(st.integers(0, 6), min_size=2, max_size=150), st.floats(0.01, 0.99), st.integers(0, 2**40))
@settings(deadline=None, max_examples=300)
def test_a_stratified_split_gives_each_class_its_share(labels: list[int], fraction: float, seed: int) -> None:
    classes, counts = np.unique(labels, return_counts=True)
    if counts.max() == 1:
        with pytest.raises(InputError, match="every class has a single row"):
            split(len(labels), labels, test_fraction=fraction, seed=seed)
        return
    train, test = split(len(labels), labels, test_fraction=fraction, seed=seed)
    assert np.array_equal(np.sort(np.concatenate([train, test])), np.arange(len(labels)))
    in_test = np.array([np.sum(np.array(labels)[test] == label) for label in classes])
    assert np.all(in_test < counts)  # every class can be learned
    size = len(test)
    assert size == min(max(round(len(labels) * fraction), 1), len(labels) - len(classes))
    share = counts * size / len(labels)
    if np.all(np.ceil(share) < counts):
        assert np.all(np.abs(in_test - share) < 1)  # to the nearest row, where no class is too small for it


def test_digits_are_split_as_evenly_as_they_can_be() -> None:
    datasets = pytest.importorskip("sklearn.datasets", exc_type=ImportError)
    t = datasets.load_digits().target
    train, test = split(len(t), t, test_fraction=0.2, seed=3)
    assert (len(train), len(test)) == (1438, 359)
    assert np.all(np.abs(np.bincount(t[test]) - np.bincount(t) * 359 / 1797) < 1)
    _, other = split(len(t), t, test_fraction=0.2, seed=4)
    assert len(np.intersect1d(test, other)) < 120  # another seed draws other rows: 72 are expected in both
    named = split(len(t), np.array([f"digit {label}" for label in t]), test_fraction=0.2, seed=3)
    assert np.array_equal(named[1], test)


def test_every_row_is_as_likely_to_be_tested() -> None:
    hits = np.zeros(10)
    for seed in range(2000):
        hits[split(10, [0] * 5 + [1] * 5, test_fraction=0.4, seed=seed)[1]] += 1
    # Binomial(2000, 0.4): standard deviation 22, five of them.
    assert np.all(np.abs(hits - 800) < 110)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 1}, "n: 1 given"),
        ({"n": 10, "test_fraction": 0.0}, "test_fraction: 0.0 given, a number > 0 is wanted"),
        ({"n": 10, "test_fraction": 1.0}, "test_fraction: 1.0 given, a number < 1 is wanted"),
        ({"n": 10, "test_fraction": float("nan")}, "test_fraction: nan given"),
        ({"n": 10, "seed": -1}, "seed: -1 given"),
        ({"n": 10, "labels": [0, 1]}, r"labels: shape \(2,\) given, \(10,\) is wanted"),
    ],
)
def test_a_split_that_cannot_be(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        split(**arguments)
