"""Parts for the tests of the command line; a test file that imports this is skipped where its packages are not."""

from __future__ import annotations

import csv
import io
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import jitnet as jn
from jitnet.storage import load

pytest.importorskip("typer")
pytest.importorskip("rich")
pl = pytest.importorskip("polars", exc_type=ImportError)
datasets = pytest.importorskip("sklearn.datasets")

FAST = ("--form", "matrix")  # compiles nothing
Run = Callable[..., tuple[int, str, str]]


def start(arguments: Sequence[str | Path], folder: Path, **more: Any) -> subprocess.Popen[str]:
    """The real command in a process of its own."""
    command = [sys.executable, "-m", "jitnet", *map(str, arguments)]
    path = os.pathsep.join([str(Path(jn.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, **more}
    return subprocess.Popen(
        command, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def write_csv(path: Path, names: Sequence[str], rows: Any) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([names, *rows])
    return path


def table_of(out: str, row: str) -> list[float]:
    """The numbers of a row of the report."""
    (line,) = [line for line in out.splitlines() if line.startswith(f"{row} ")]
    return [float(cell) for cell in line.removeprefix(row).split()]


def parsed(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def contents(path: str) -> tuple[bytes, str]:
    """The parameters and the preparation of a model file."""
    net = load(path)
    return net.theta.tobytes(), net.extra["preparation"]
