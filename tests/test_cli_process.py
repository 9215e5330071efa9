"""The command line as a process: divergence, Ctrl-C, pipes, exit codes, what is not installed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from command_line import FAST, Run, start, write_csv

import jitnet as jn
from jitnet.cli.model import Model


def test_divergence_is_one_line_and_saves_nothing(run: Run, diabetes: Path, tmp_path: Path) -> None:
    common = ("train", diabetes, "--target", "progression", "--optimizer", "sgd", "--lr", "100", "-q", *FAST)
    code, out, err = run(*common)
    assert (code, out) == (1, "")
    assert re.fullmatch(r"error: training diverged in epoch 0, step \d+: [^\n]*No model is written[^\n]*\n", err)
    assert [path.name for path in tmp_path.iterdir()] == ["diabetes.csv"]
    code, out, err = run(*common, "--save-diverged")
    assert (code, out) == (1, "")
    assert "saved in diabetes.safetensors" in err
    assert np.isfinite(Model.load(Path("diabetes.safetensors")).net.theta).all()


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_stops_and_saves(iris: Path, tmp_path: Path) -> None:
    arguments = ["train", iris, "--target", "species", "--epochs", "1000000", "--history", "h.csv", *FAST]
    process = start(arguments, tmp_path, PYTHONUNBUFFERED="1")
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("data")
        while not process.stdout.readline().startswith("training"):
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "interrupted" in out
    assert Model.load(tmp_path / "iris.safetensors").net.n_in == 4
    assert (tmp_path / "h.csv").read_text().count("\n") >= 2


def test_a_reader_that_leaves_is_no_error(model: Path, tmp_path: Path) -> None:
    rows = [[1, 2, 3, 4]] * 50_000
    write_csv(tmp_path / "many.csv", ["sepal_l", "sepal_w", "petal_l", "petal_w"], rows)
    for unbuffered in ("", "1"):
        process = start(["predict", model, "many.csv", *FAST], tmp_path, PYTHONUNBUFFERED=unbuffered)
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "species\n"
        process.stdout.close()
        assert process.stderr.read() == ""
        process.stderr.close()
        assert process.wait(timeout=60) == 141


def test_a_full_disk_is_one_line(model: Path, iris: Path, tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    path = str(Path(jn.__file__).parents[1])
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "jitnet", "predict", str(model), str(iris), *FAST],
            env={**os.environ, "PYTHONPATH": path}, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60,
        )  # fmt: skip
    assert done.returncode == 2
    assert re.fullmatch(r"error: [^\n]+\n", done.stderr)


def test_the_process_ends_with_the_code(iris: Path, tmp_path: Path) -> None:
    process = start(["train", iris, "--target", "specis"], tmp_path)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (2, "")
    assert re.fullmatch(r"error: --target: [^\n]*did you mean 'species'[^\n]*\n", err)


def test_without_typer_one_line_says_what_to_install(
    refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "typer", None)
    assert refused() == "error: this needs typer: pip install 'jitnet[cli]'\n"


WARM_UP = """
import sys
again = sys.argv[1:] == ["again"]
from jitnet._jit import Kernel
from jitnet.cli.train import use_everything
from jitnet.forms import plain, tiled
use_everything("float32"), use_everything("float64")
for form in (plain, tiled):
    kernels = [each for each in vars(form).values() if isinstance(each, Kernel)]
    assert len(kernels) >= 8
    for kernel in kernels:
        with_sparse = form is tiled and kernel.__name__ in ("steps", "outputs_and_losses_skipping_zeros")
        for build in (kernel.serial, kernel.parallel):
            assert len(build.signatures) >= (4 if with_sparse else 2), (form.__name__, kernel.__name__)
            assert not (again and build.stats.cache_misses), (form.__name__, kernel.__name__)
assert not (again and "numba.np.arraymath" in sys.modules)  # nor was the compiler fetched
"""


@pytest.mark.slow
def test_warmup_compiles_everything(run: Run) -> None:
    """In processes of their own: other tests compile too."""
    subprocess.run([sys.executable, "-c", WARM_UP], check=True)
    subprocess.run([sys.executable, "-c", WARM_UP, "again"], check=True)
    code, out, err = run("warmup")
    assert code == 0
    assert "float32 and float64" in out
    assert err.count("\n") == 2
