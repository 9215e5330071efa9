"""How far apart are asv's results of one commit, from run to run? And are the thresholds for regressions beyond that?

    bash scripts/benchmark noise COMMIT RUNS      measure a commit so many times, each into a folder of .asv/noise
    bash scripts/benchmark noise                  the table of what lies there

The spread of a benchmark with its parameters is its largest result over its smallest, less 1. It is compared with what
`regressions_thresholds` of asv.conf.json says for it, as asv reads that: the largest of those whose expression matches.
asv flags steps that last, so that one disturbed run in some is none: exit status 0 if at most one spread in a hundred
is beyond its threshold, 1 if more are, 2 if there are no two runs of one commit.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from results import read

ROOT = Path(__file__).resolve().parent.parent
ASV_DEFAULT = 0.05
"""asv's threshold where no expression matches."""
MOST_BEYOND = 0.01
"""Share of benchmarks whose spread may be beyond their threshold: runs that something else disturbed."""


@dataclass(frozen=True)
class Entry:
    """A benchmark with its parameters, the spread of its results, and its threshold."""

    name: str
    spread: float
    threshold: float


def threshold(name: str, thresholds: dict[str, float]) -> float:
    """asv's for a benchmark with its parameters."""
    return max((value for regex, value in thresholds.items() if re.match(regex, name)), default=ASV_DEFAULT)


def entries(runs: list[dict[str, dict[tuple[str, ...], float]]], config: dict[str, Any]) -> list[Entry]:
    """Those that every run has and that asv looks at."""
    left_out = [regex for regex, since in config.get("regressions_first_commits", {}).items() if since is None]
    found = []
    for benchmark in sorted(set.intersection(*(set(run) for run in runs))):
        for parameters in runs[0][benchmark]:
            name = f"{benchmark}({', '.join(parameters)})" if parameters else benchmark
            seen = [run[benchmark].get(parameters, math.nan) for run in runs]
            if all(value > 0 for value in seen) and not any(re.match(regex, name) for regex in left_out):
                found.append(
                    Entry(name, max(seen) / min(seen) - 1, threshold(name, config.get("regressions_thresholds", {})))
                )
    return found


def percent(share: float) -> str:
    """12 %."""
    return f"{100 * share:.0f} %"


def main() -> int:
    """Print a line a benchmark, then what is beyond its threshold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=ROOT / ".asv" / "noise", help="a folder of asv results a run")
    parser.add_argument("--config", type=Path, default=ROOT / "benchmarks" / "asv.conf.json")
    given = parser.parse_args()
    commits = defaultdict(list)
    for file in sorted(given.runs.glob("*/*/*.json")):
        if file.name != "machine.json":
            commit = read(file)
            commits[f"{commit.short} on {file.parent.name}"].append(commit.values)
    if not any(len(runs) > 1 for runs in commits.values()):
        print(f"error: {given.runs}: no two runs of one commit; bash scripts/benchmark noise COMMIT 4", file=sys.stderr)
        return 2
    config = json.loads(given.config.read_text())
    seen, beyond = 0, []
    print("benchmark | of | middle spread | largest spread | thresholds\n---|---|---|---|---")
    for which, runs in commits.items():
        if len(runs) < 2:
            continue
        print(f"*{which}, {len(runs)} runs* | | | |")
        groups = defaultdict(list)
        for entry in entries(runs, config):
            seen += 1
            groups[entry.name.split("(")[0].rsplit(".", 1)[0]].append(entry)
            if entry.spread > entry.threshold:
                beyond.append(entry)
        for name, group in groups.items():
            spreads, limits = [each.spread for each in group], sorted({percent(each.threshold) for each in group})
            row = name, str(len(group)), percent(median(spreads)), percent(max(spreads)), ", ".join(limits)
            print(" | ".join(row))
    for entry in beyond:
        print(f"beyond its threshold: {entry.name}: {percent(entry.spread)}, threshold {percent(entry.threshold)}")
    return 1 if len(beyond) > MOST_BEYOND * seen else 0


if __name__ == "__main__":
    sys.exit(main())
