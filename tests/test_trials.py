"""`scripts/benchmark trials`: what it plants is there to be changed, and its counts read what --against prints."""

from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parent.parent / "scripts"


def script(name):
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


verdict, _, trials = script("verdict"), script("against"), script("trials")  # in the order of their imports

F1 = "kernels.Kernels.time_kernel (forward: F1, F2; 784-128-10, batch 128, Adam; tiled; float32)"
STEP = "training_step.TrainingStep.time_eight_steps (64-64-10, batch 32, Adam; tiled; float32; 1)"
F7 = "kernels.Kernels.time_kernel (gradient: F7, F8; 784-128-10, batch 128, Adam; tiled; float32)"
PLAIN = F1.replace("tiled", "plain")


@pytest.mark.parametrize("name", trials.CHANGES)
def test_what_is_changed_is_there_once(name):
    old, new = trials.CHANGES[name]
    source = trials.KERNEL.read_text()
    assert source.count(old) == 1
    compile(source.replace(old, new), "changed", "exec")


def test_flags_are_read_as_they_are_printed():
    """In the line of `against.py`; what is not slower is no flag."""
    noise = [0.001, -0.001, 0.0, 0.0005]
    slower, same = (verdict.judge([[math.log(ratio) + each] for each in noise], 0.05) for ratio in (1.1, 1.0))
    assert (slower.word, same.word) == (verdict.SLOWER, verdict.SAME)
    printed = f"{slower!s:36} {F1}\n{same!s:36} {F7}\n"
    assert trials.FLAGGED.findall(printed) == [("1.100", F1)]


@pytest.mark.parametrize(
    ("name", "status", "flagged", "right"),
    [
        ("planted", 1, [F1], True), ("planted", 1, [F1, STEP], True), ("planted", 0, [], False),
        ("planted", 1, [STEP], False), ("planted", 1, [F1, F7], False), ("planted", 1, [F1, PLAIN], False),
        ("planted", 1, [PLAIN], False), ("no change", 0, [], True), ("no change", 1, [F7], False),
    ],
)  # fmt: skip
def test_right_and_wrong(name, status, flagged, right, capsys):
    tried = {"status": status, "flagged": dict.fromkeys(flagged, 1.1), "verdicts": {"same": 11}, "seconds": 50.0}
    assert trials.is_right(name, tried) is right
    assert trials.report({name: [tried]}) is right
    printed = capsys.readouterr().out
    assert f"{name}: {int(right)} of 1 tries right" in printed
    assert all(title in printed for title in flagged)


def test_nine_of_ten_will_do(capsys):
    good, bad = ({"status": status, "flagged": {}, "verdicts": {}, "seconds": 1.0} for status in (0, 1))
    assert trials.report({"no change": [good] * 9 + [bad]})
    assert not trials.report({"no change": [good] * 8 + [bad] * 2})
