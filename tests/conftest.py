"""What every test file finds: two threads at least, Hypothesis without a clock or a memory, Ctrl-C where it is sent;
and fixtures of the command line's tests.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

# Before Numba is imported: on a machine with one core parallel code runs too, and the bits of two threads are compared.
if len(os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)) == 1:
    os.environ.setdefault("NUMBA_NUM_THREADS", "2")

import hypothesis
import numpy as np
import pytest

Run = Callable[..., tuple[int, str, str]]

hypothesis.settings.register_profile("jitnet", deadline=None, derandomize=True, max_examples=50, database=None)
hypothesis.settings.load_profile("jitnet")


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Python's own answer to Ctrl-C, here and in child processes: a shell's background jobs begin with it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command line in an empty folder: exit code, standard output, standard error."""
    from jitnet.cli import main

    monkeypatch.chdir(tmp_path)

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        code = main([str(each) for each in arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture
def refused(run: Run, tmp_path: Path) -> Callable[..., str]:
    """Run what must be refused before any work: one line on standard error, nothing else printed or written."""

    def call(*arguments: str | Path) -> str:
        before = sorted(tmp_path.rglob("*"))
        code, out, err = run(*arguments)
        assert (code, out) == (2, "")
        assert re.fullmatch(r"error: [^\n]+\n", err), err
        assert sorted(tmp_path.rglob("*")) == before
        return err

    return call


@pytest.fixture
def iris(tmp_path: Path) -> Path:
    from command_line import datasets, write_csv

    data = datasets.load_iris()
    rows = [[*row, data.target_names[k]] for row, k in zip(data.data.tolist(), data.target, strict=True)]
    return write_csv(tmp_path / "iris.csv", ["sepal_l", "sepal_w", "petal_l", "petal_w", "species"], rows)


@pytest.fixture
def diabetes(tmp_path: Path) -> Path:
    from command_line import datasets, write_csv

    data = datasets.load_diabetes(scaled=False)
    rows = np.column_stack([data.data, data.target]).tolist()
    return write_csv(tmp_path / "diabetes.csv", [*data.feature_names, "progression"], rows)


@pytest.fixture
def model(run: Run, iris: Path, tmp_path: Path) -> Path:
    """A small model of iris, hardly trained."""
    from command_line import FAST

    assert run("train", iris, "--target", "species", "--hidden", "4", "--epochs", "1", "-q", *FAST) == (0, "", "")
    return tmp_path / "iris.safetensors"


@pytest.fixture
def buffers_for_all_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps have as many workers as there are threads, though they are so small that `fit` would take them serially."""
    monkeypatch.setattr("jitnet._jit.SERIAL_WORK", 0.0)
