"""The README's Python runs, and its tables name what is there."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import jitnet as jn
from benchmarks.peers import report
from jitnet import activations, losses, optimizers, schedules

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_python_blocks_run_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sklearn")
    pytest.importorskip("scipy")
    names: dict[str, object] = {}
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(blocks) == 5
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)  # README code is ours
    assert isinstance(names["net"], jn.Network)
    assert (tmp_path / "digits.safetensors").exists()


@pytest.mark.parametrize("table", [activations.TABLE, losses.TABLE])
def test_every_name_is_listed(table: dict[str, object]) -> None:
    assert [name for name in table if not re.search(rf"\b{name}\b", README)] == []


def test_every_optimiser_and_schedule_is_listed() -> None:
    names = {rule.__name__ for rule in optimizers.OPTIMIZERS.values()}
    names |= {each.__name__ for each in schedules.Schedule.__subclasses__()} - {"Constant"}
    assert [name for name in names if name not in README] == []


def test_pictures_and_files_exist() -> None:
    linked = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", README) + re.findall(r"bash (scripts/[\w-]+)", README)
    assert linked
    assert [name for name in linked if not (ROOT / name).exists()] == []
    for name in re.findall(r"`([\w/]+\.py)`", README):
        assert (ROOT / name).exists() or (ROOT / "jitnet" / name).exists(), name


@pytest.mark.parametrize(
    ("file", "heading"),
    [
        ("peers", "Speed, jitnet beside its peers"),
        ("peers-float64", "Speed in float64"),
        ("peers-intel", "Speed on an Intel Xeon"),
        ("peers-threads", "Speed on 16 cores"),
    ],
)
def test_table_of_peers_is_that_of_the_results(file: str, heading: str) -> None:
    document = json.loads((ROOT / ".pictures" / f"{file}.json").read_text())
    section = README.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    printed = report.markdown(document).splitlines()
    assert len(printed) > 2
    assert [line for line in section.splitlines() if line.startswith("|")] == [line for line in printed if line]
