"""asv's result files, read."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Commit:
    """What one commit's result file says."""

    sha: str
    milliseconds: int
    values: dict[str, dict[tuple[str, ...], float]]  # benchmark, parameters as asv writes them: value

    @property
    def short(self) -> str:
        """As people write it."""
        return self.sha[:7]

    def named(self, benchmark: str) -> dict[tuple[str, ...], float]:
        """A benchmark's values, texts without their quotes; none if it was not run."""
        values = self.values.get(benchmark, {})
        return {tuple(each.strip("'\"") for each in parameters): value for parameters, value in values.items()}


def read(file: Path) -> Commit:
    """A result file: columns by name, parameters as their Python expressions."""
    said = json.loads(file.read_text())
    values: dict[str, dict[tuple[str, ...], float]] = {}
    for name, row in said["results"].items():
        columns = dict(zip(said["result_columns"], row, strict=False))
        keys = itertools.product(*(columns.get("params") or []))
        pairs = zip(keys, columns["result"] or [], strict=False)
        values[name] = {key: value for key, value in pairs if isinstance(value, float | int) and value == value}
    return Commit(said["commit_hash"], int(said["date"]), values)
