"""The suite in benchmarks/ keeps pace with what there is to time."""

from __future__ import annotations

import ast
import importlib
import json
import math
import re
import subprocess
import sys
from pathlib import Path

import pytest

import jitnet as jn
from jitnet import activations, optimizers, vectormath
from jitnet.forms import FORMS

ROOT = Path(__file__).parent.parent
BENCHMARKS = ROOT / "benchmarks"


def constant(file, name):
    """The value of a literal in a file, without running it."""
    for node in ast.parse((BENCHMARKS / file).read_text()).body:
        if isinstance(node, ast.Assign) and [getattr(each, "id", "") for each in node.targets] == [name]:
            return ast.literal_eval(node.value)
    raise LookupError(name)


def test_every_activation_is_timed():
    assert set(constant("activations.py", "ACTIVATIONS")) == set(activations.NAMES.values())


def test_every_vector_function_is_timed():
    arrays = {name.removesuffix("_array") for name in vars(vectormath) if name.endswith("_array")} - {"over"}
    assert set(constant("vector_math.py", "FUNCTIONS")) == arrays


def test_every_optimiser_is_timed():
    rules = {
        each.__name__  # GD is another name of SGD
        for each in vars(optimizers).values()
        if isinstance(each, type) and issubclass(each, optimizers.UpdateRule) and each is not optimizers.UpdateRule
    }
    assert set(constant("optimizers.py", "OPTIMIZERS")) == {name for name in rules if hasattr(jn, name)}


def test_asv_finds_them_in_an_environment_of_their_own():
    conf = json.loads((BENCHMARKS / "asv.conf.json").read_text())
    assert conf["launch_method"] == "spawn"  # a child of a fork runs serial kernels only
    pins = [version for versions in conf["matrix"]["req"].values() for version in versions]
    assert len(pins) == len(conf["matrix"]["req"])
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in pins), pins


@pytest.mark.parametrize("profile", ["quick", "regular", "full"])
def test_forms_and_parameters(profile, tmp_path):
    code = """
import json
from benchmarks import common, kernels, training_step
print(json.dumps([common.FORMS, training_step.TrainingStep.params, kernels.Kernels.params]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False,
        env={"JITNET_BENCH_PROFILE": profile, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    if "threadpoolctl" in done.stderr:
        pytest.skip("threadpoolctl comes with the extra dev")
    assert done.returncode == 0, done.stderr
    forms, *parameters = json.loads(done.stdout)
    assert tuple(forms) == FORMS
    for each in parameters:
        assert list(FORMS) in each


SETUPS = """
import importlib, inspect
from benchmarks import common
common.times_this_tree = lambda: OURS
for file in FILES:
    for name, group in inspect.getmembers(importlib.import_module("benchmarks." + file), inspect.isclass):
        if name.startswith("_") or "form" not in getattr(group, "param_names", ()):
            continue
        several = isinstance(group.params[0], (list, tuple))
        many = group.params if several else [group.params]
        given = ["none" if p == "form" else values[0] for p, values in zip(group.param_names, many)]
        each = group()
        try:
            each.setup(*given)
            print(file, name, "set up")
        except (NotImplementedError, LookupError) as error:
            print(file, name, type(error).__name__, error)
        getattr(each, "teardown", lambda *_: None)(*given)
"""


@pytest.mark.parametrize(
    ("ours", "said"),
    [
        (False, "NotImplementedError this commit has no form none"),
        (True, "LookupError this tree has no form none: the benchmark is out of date"),
    ],
)
def test_a_form_that_a_commit_lacks_is_skipped_and_one_that_this_tree_lacks_is_an_error(ours, said):
    """`setup` says so by NotImplementedError, and asv calls `teardown` all the same."""
    pytest.importorskip("threadpoolctl")
    files = [path.stem for path in BENCHMARKS.glob("*.py") if "def setup" in path.read_text()]
    done = subprocess.run(
        [sys.executable, "-c", f"FILES, OURS = {files}, {ours}" + SETUPS], cwd=ROOT, capture_output=True, text=True,
        check=False, env={"JITNET_BENCH_PROFILE": "quick", "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) > 10
    assert [line for line in lines if line.split(" ", 2)[2] != said] == []


CHECK = """
import numpy as np
from benchmarks import common
from benchmarks.common import NETWORKS, Training
assert common.times_this_tree()
name = "784-512-512-10, batch 128, Adam"
ours = Training(NETWORKS[name], "tiled", "float32")
twin = Training(NETWORKS[name], "matrix", "float32")
ours.assert_moved_as(twin, "float32")
n = ours.net.layout
for where in (slice(at, at + size) for at, size in ((n.W_at[2], 5120), (n.b_at[0], 512), (n.b_at[2], 10))):
    after = ours.after[where].copy()
    ours.after[where] = ours.net.theta[where]  # as if this layer were not trained
    try:
        ours.assert_moved_as(twin, "float32")
    except AssertionError as error:
        print(error)
    ours.after[where] = after
"""


def test_a_form_that_leaves_a_layer_as_it_is_fails_the_check():
    """Though the layer has less than a hundredth of the parameters."""
    pytest.importorskip("threadpoolctl")
    done = subprocess.run(
        [sys.executable, "-c", CHECK], cwd=ROOT, capture_output=True, text=True, check=False,
        env={"JITNET_BENCH_PROFILE": "quick", "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == ["W[2]", "b[0]", "b[2]"]


def test_against_knows_every_file_with_calls_to_time():
    files = ast.literal_eval(re.search(r"FILES = (\(.*?\))", (ROOT / "scripts/against_worker.py").read_text())[1])
    assert set(files) == {path.stem for path in BENCHMARKS.glob("*.py") if "    def time_" in path.read_text()}


def run_script(name, *arguments):
    return subprocess.run(
        [sys.executable, ROOT / "scripts" / name, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_against_what_is_no_commit():
    done = run_script("against.py", "--against", "no such commit")
    assert done.returncode == 2
    assert "error: argument --against: 'no such commit' given, a commit of this repository" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--bench", "("], "argument --bench: '(' given, a regular expression is wanted"),
        (["--threshold", "5"], "argument --threshold: 5 given, more than 0 and less than 1.5 is wanted"),
        (["--samples", "0"], "argument --samples: 0 given, a whole number of 1 or more is wanted"),
        (["--generations", "8", "4"], "argument --generations: 8 4 given, MOST of at least FEWEST is wanted"),
        (["--json", "no/such/folder.json"], "argument --json: 'no/such/folder.json' given, a file in a folder"),
    ],
)
def test_against_with_arguments_that_it_cannot_use(arguments, said):
    """1 would say that something is slower."""
    done = run_script("against.py", "--against", "HEAD", *arguments)
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr


def test_what_nobody_thought_of_is_not_slower(monkeypatch, capsys):
    monkeypatch.syspath_prepend(ROOT / "scripts")
    assert importlib.import_module("against").status_of(lambda: 1 // 0) == 2
    assert "ZeroDivisionError" in capsys.readouterr().err


@pytest.mark.parametrize(("ratio", "status", "word"), [(1.2, 1, "slower"), (1.0, 0, "same"), (0.8, 0, "faster")])
def test_exit_of_against(ratio, status, word, monkeypatch, capsys):
    """What is measured is made up, what is made of it is not: one slower benchmark beside one that is the same."""
    monkeypatch.syspath_prepend(ROOT / "scripts")
    against = importlib.import_module("against")
    comparisons = [against.Comparison("a.B.time_c", ["x"]), against.Comparison("a.B.time_d", ["y"])]

    def measured(trees, open_ones, samples, profile, number):
        for each, shift in zip(comparisons, (math.log(ratio), 0.0), strict=True):
            each.generations.append([shift + 1e-3 * (number % 2)] * samples)

    monkeypatch.setattr(against, "tree_of", lambda commit: commit)
    monkeypatch.setattr(against, "chosen", lambda *_: comparisons)
    monkeypatch.setattr(against, "generation", measured)
    monkeypatch.setattr(sys, "argv", ["against.py", "--against", "HEAD~1"])
    assert against.main() == status
    said = capsys.readouterr().out.splitlines()
    (line,) = [line for line in said if "time_c" in line]
    assert line.split()[3] == word
    assert len(comparisons[0].generations) == 4


@pytest.mark.slow
def test_against_this_very_commit_nothing_is_slower(tmp_path):
    """For real, in two processes of either tree; by a factor of two nothing differs from itself."""
    pytest.importorskip("threadpoolctl")
    one = "kernels.*forward: F1.*64-64-10.*tiled"
    few = "--profile", "quick", "--generations", "4", "4", "--samples", "3", "--threshold", "1"
    done = run_script("against.py", "--against", "HEAD", "--bench", one, *few, "--json", tmp_path / "samples.json")
    assert done.returncode == 0, done.stdout + done.stderr
    (generations,) = json.loads((tmp_path / "samples.json").read_text()).values()
    assert [len(samples) for samples in generations] == [3, 3, 3, 3]


def test_pictures_of_results(tmp_path):
    """Two commits as asv writes them; one of them lacks a value."""
    pytest.importorskip("matplotlib")
    folder = tmp_path / "results" / "somewhere"
    folder.mkdir(parents=True)
    (folder / "machine.json").write_text(json.dumps({"machine": "somewhere", "num_cpu": "2", "cpu": "a CPU"}))
    quoted = [["'64-64-10, batch 32, Adam'"], ["'plain'", "'matrix'"], ["'float32'"], ["1", "2"]]
    for n, values in enumerate(([1e-3, 6e-4, 2e-3, None], [9e-4, 5e-4, 2e-3, 2e-3])):
        said = {
            "commit_hash": f"{n}" * 40,
            "date": 1000 + n,
            "result_columns": ["result", "params"],
            "results": {"training_step.TrainingStep.time_eight_steps": [values, quoted]},
        }
        (folder / f"{n}-environment.json").write_text(json.dumps(said))
    done = run_script("speed_pictures.py", "--results", tmp_path / "results", "--output", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    for name in ("forms.png", "commits.png"):
        assert (tmp_path / "out" / name).read_bytes().startswith(b"\x89PNG")
    empty = run_script("speed_pictures.py", "--results", tmp_path / "nothing", "--output", tmp_path / "out")
    assert empty.returncode == 2
    assert "run `bash scripts/benchmark history` first" in empty.stderr


def runs_of(folder, *runs):
    """Results of a commit as asv writes them, a folder a run."""
    for number, (plain, tiled, gflops) in enumerate(runs):
        file = folder / str(number) / "somewhere" / "0000000-environment.json"
        file.parent.mkdir(parents=True)
        results = {"a.B.time_c": [[plain, tiled], [["'plain'", "'tiled'"]]], "a.B.track_gflops": [[gflops], []]}
        said = {"commit_hash": "0" * 40, "date": 1, "result_columns": ["result", "params"], "results": results}
        file.write_text(json.dumps(said))
        (file.parent / "machine.json").write_text("{}")


@pytest.mark.parametrize(("slowest", "status"), [(1.19, 0), (1.21, 1)])
def test_noise_is_compared_with_the_thresholds(slowest, status, tmp_path):
    """As asv reads them: the largest that matches counts, and what it is not to look at is left out."""
    config = {
        "regressions_thresholds": {".*": 0.1, r"a\.B.*\('tiled'\)": 0.2},
        "regressions_first_commits": {".*gflops": None},
    }
    (tmp_path / "asv.conf.json").write_text(json.dumps(config))
    runs_of(tmp_path / "runs", (1.0, 1.0, 5.0), (1.05, slowest, 9.0), (1.02, 1.1, 7.0))
    done = run_script("noise.py", "--runs", tmp_path / "runs", "--config", tmp_path / "asv.conf.json")
    assert done.returncode == status, done.stderr
    assert "*0000000 on somewhere, 3 runs*" in done.stdout
    assert f"a.B | 2 | {50 * (slowest - 1) + 2.5:.0f} % | {100 * (slowest - 1):.0f} % | 10 %, 20 %" in done.stdout
    assert ("beyond its threshold: a.B.time_c('tiled')" in done.stdout) == (status == 1)
    assert run_script("noise.py", "--runs", tmp_path / "none").returncode == 2


def test_what_one_run_lacks_has_no_spread(tmp_path):
    """It is no spread of 0: asv writes null where a benchmark failed."""
    runs_of(tmp_path, (1.0, 1.0, 5.0), (1.0, None, 5.0))
    done = run_script("noise.py", "--runs", tmp_path)
    assert (done.returncode, "a.B | 1 | 0 % | 0 %" in done.stdout) == (0, True), done.stdout


def test_the_thresholds_are_beyond_the_noise_that_was_measured():
    """And benchmarks/README.md has the table."""
    done = run_script("noise.py")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [f"| {line} |" for line in done.stdout.splitlines() if " | " in line and "*" not in line]
    readme = (ROOT / "benchmarks" / "README.md").read_text().splitlines()
    assert len(rows) > 10
    assert [row for row in rows if row not in readme] == []


def test_curves(tmp_path):
    """A point as it is measured, the same at each value of four panels; drawn."""
    pytest.importorskip("matplotlib")
    from benchmarks.peers import curve

    wish = {"dtype": "float32", "threads": 1, "peers": ["matrix"], "rounds": 2, "seconds": 0.001}
    (row,) = curve.main({**wish, "points": [([3, 4, 2], 5)]})["rows"]
    assert row["network"] == "3-4-2, batch 5"
    assert list(row["peers"]) == ["jitnet", "matrix"]
    busy = {**row, "peers": {name: {**peer, "cores_of_others": 0.5} for name, peer in row["peers"].items()}}
    quiet = {**row, "peers": {name: {**peer, "cores_of_others": 0.0} for name, peer in row["peers"].items()}}
    panel = {"title": "", "label": "hidden layers", "values": [1, 2], "power": 1, "rows": [quiet, quiet]}
    panels = [panel, panel, panel, {**panel, "power": -1, "rows": [quiet, busy]}]
    document = {"machine": {"cpu": "a CPU", "cores": 2}, "dtype": "float32", "panels": panels}
    (tmp_path / "curves.json").write_text(json.dumps(document))
    files = "--json", tmp_path / "curves.json", "--picture", tmp_path / "deep" / "curves.png"
    done = run_script("curves.py", "--draw", *files)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "deep" / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert done.stdout.count("disturbed") == 1
    assert run_script("curves.py", "--draw", "--json", tmp_path / "none.json").returncode == 2
