"""The scripts that people run: the main job holds what it promises."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import jitnet as jn

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
def test_the_main_job(tmp_path: Path) -> None:
    """`scripts/quickstart` runs this file in its .venv: test accuracy, comparison, picture and model."""
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib")
    done = subprocess.run(
        [sys.executable, "-W", "error", ROOT / "scripts" / "digits.py", "--output", tmp_path],
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    judged = dict(re.findall(r"(train|validation|test) +│ +[\d.]+ +│ +([\d.]+)", done.stdout))
    assert float(judged["test"]) >= 0.97
    assert float(judged["train"]) >= float(judged["test"])
    assert re.search(r"tiled +│ +[\d.]+", done.stdout)
    assert re.search(r"matrix +│ +[\d.]+", done.stdout)
    assert (tmp_path / "digits.png").read_bytes().startswith(b"\x89PNG")
    assert jn.load(tmp_path / "digits.safetensors").widths == [64, 64, 10]


def test_an_old_python_is_refused(tmp_path: Path) -> None:
    """Before anything is made."""
    old = tmp_path / "python"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.9.1 && exit\nexit 1\n')
    old.chmod(0o755)
    scripts = tmp_path / "clone" / "scripts"
    scripts.mkdir(parents=True)
    (tmp_path / "clone" / "pyproject.toml").write_text("")
    for name in ("environment.sh", "quickstart"):
        (scripts / name).write_bytes((ROOT / "scripts" / name).read_bytes())
    done = subprocess.run(
        ["bash", scripts / "quickstart"], env={"PYTHON": str(old), "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "Python 3.9.1, Python 3.11 to 3.14 is wanted" in done.stderr
    assert not (tmp_path / "clone" / ".venv").exists()


@pytest.mark.parametrize("script", ["quickstart", "test", "fashion-mnist", "benchmark", "environment.sh"])
def test_shell_scripts_parse(script: str) -> None:
    subprocess.run(["bash", "-n", ROOT / "scripts" / script], check=True)
