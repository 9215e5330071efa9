"""The statistics of `scripts/benchmark --against`: power, false alarms and robustness, on made-up noise."""

from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).parent.parent
spec = importlib.util.spec_from_file_location("verdict", ROOT / "scripts" / "verdict.py")
verdict = importlib.util.module_from_spec(spec)
sys.modules["verdict"] = verdict
spec.loader.exec_module(verdict)

# What this suite's benchmarks were seen to do: spread between processes of one commit, spread within, and every
# twentieth sample far off because something else ran.
BETWEEN, WITHIN, OUTLIERS = 0.015, 0.01, 0.05


def made_up(rng, ratio, generations=4, samples=8, between=BETWEEN):
    shifts = math.log(ratio) + between * rng.standard_normal((generations, 1))
    noise = WITHIN * rng.standard_normal((generations, samples))
    far = (rng.random(noise.shape) < OUTLIERS) * rng.uniform(-0.5, 0.5, noise.shape)
    return (shifts + noise + far).tolist()


def words(ratio, tries=400, **noise):
    """How often each word is said, with further generations as `against.py` takes them."""
    rng = np.random.default_rng(0)
    said = []
    for _ in range(tries):
        generations = made_up(rng, ratio, **noise)
        while verdict.judge(generations, 0.05).word == verdict.UNCLEAR and len(generations) < 8:
            generations += made_up(rng, ratio, generations=1, **{k: v for k, v in noise.items() if k == "between"})
        said.append(verdict.judge(generations, 0.05).word)
    return {word: said.count(word) / tries for word in set(said)}


def test_no_false_alarm():
    assert words(1.0).get("slower", 0) <= 0.005
    assert words(1.0).get("faster", 0) <= 0.005
    assert words(1.0).get("same", 0) >= 0.9


def test_ten_percent_is_found():
    assert words(1.10).get("slower", 0) >= 0.95
    assert words(1 / 1.10).get("faster", 0) >= 0.95


def test_at_the_threshold_one_in_a_hundred_is_an_alarm_and_a_few_more_for_looking_again():
    assert words(1.05).get("slower", 0) <= 0.03


def test_where_processes_differ_much_nothing_is_claimed():
    """As they do without fixed addresses."""
    assert words(1.0, between=0.2).get("slower", 0) <= 0.02


def test_the_interval_covers_the_ratio():
    rng = np.random.default_rng(1)
    inside = 0
    for _ in range(1000):
        said = verdict.judge(made_up(rng, 1.2), 0.05)
        inside += said.low <= 1.2 <= said.high
    assert inside >= 980


ratios = st.floats(-0.5, 0.5)


@given(st.lists(st.lists(ratios, min_size=1, max_size=9), min_size=2, max_size=12), st.floats(0.0, 0.3))
def test_words_and_interval_say_the_same(generations, threshold):
    said = verdict.judge(generations, threshold)
    assert said.low <= said.ratio <= said.high
    assert said.generations == len(generations)
    limit = 1 + threshold
    expected = {
        "slower": said.low > limit,
        "faster": said.high < 1 / limit,
        "same": 1 / limit < said.low and said.high < limit,
    }
    near = any(math.isclose(a, b, rel_tol=1e-9) for a in (said.low, said.high) for b in (limit, 1 / limit))
    assert near or [word for word, true in expected.items() if true] == ([said.word] if said.word != "unclear" else [])


@given(st.lists(st.lists(ratios, min_size=1, max_size=9), min_size=2, max_size=12), st.floats(0.0, 0.3))
def test_the_sides_may_be_exchanged(generations, threshold):
    said, other = (verdict.judge(g, threshold) for g in (generations, [[-s for s in g] for g in generations]))
    opposite = {"slower": "faster", "faster": "slower"}
    assert other.word == opposite.get(said.word, said.word)
    assert other.ratio == pytest.approx(1 / said.ratio)
    assert other.low == pytest.approx(1 / said.high)


def test_one_generation_says_nothing():
    said = verdict.judge([[0.3, 0.3, 0.3]], 0.05)
    assert (said.word, said.low, said.high) == ("unclear", 0.0, math.exp(700))


def test_a_sample_cancels_an_even_drift():
    seconds = [1.1 * (1 + 0.1 * 0), 1 + 0.1 * 1, 1 + 0.1 * 2, 1.1 * (1 + 0.1 * 3)]
    assert verdict.sample([seconds[0], seconds[3]], [seconds[1], seconds[2]]) == pytest.approx(math.log(1.1))


def test_student_table():
    stats = pytest.importorskip("scipy.stats")
    for n, t in enumerate(verdict.STUDENT_99, start=1):
        assert stats.t.ppf(0.995, n) == pytest.approx(t, abs=6e-4)
