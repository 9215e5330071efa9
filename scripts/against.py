"""Compare this tree with a commit: interleaved runs in two processes, and a verdict with confidence for each benchmark.

    bash scripts/benchmark --against HEAD~1
    bash scripts/benchmark --against main --bench "training_step.*1024" --profile full --threshold 0.03

Exit status: 0 where nothing is slower beyond the threshold, 1 where something is, 2 where it could not be measured.
`scripts/verdict.py` has the statistics. Both sides run the same benchmarks, those of this tree, with the same Python
and the same installed packages; so it is jitnet's own code that is compared.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import verdict

sys.path.append(str(Path(__file__).resolve().parent.parent))
from benchmarks import source_digest

ROOT = Path(__file__).resolve().parent.parent
DEFAULT = (
    r"kernels\S* \((forward|backward|gradient|input_gradient): [^;]*; 784-128-10[^;]*; (?!matrix).*float32\)"
    r"|training_step\S* \((64-64-10|784-128-10)[^;]*; (?!matrix).*float32; 1\)"
)
"""What is compared where --bench says nothing: the kernels and the training step of the index forms, one thread."""
RUN_SECONDS = 0.02
"""Length of one run: long beside the clock, short beside what drifts."""
SAME_ADDRESSES = ["setarch", "-R"]
if not shutil.which("setarch") or subprocess.call([*SAME_ADDRESSES, "true"], stderr=subprocess.DEVNULL):
    SAME_ADDRESSES = []  # containers may forbid it
"""No address space layout randomisation, where that can be had: both processes find their memory at the same places."""


class Side:
    """A process that times one tree's jitnet."""

    def __init__(
        self, tree: Path, profile: str, under: Sequence[str] = (), environment: Mapping[str, str] | None = None
    ) -> None:
        self.process = subprocess.Popen(
            [*SAME_ADDRESSES, *under, sys.executable, ROOT / "scripts" / "against_worker.py", tree],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "JITNET_BENCH_PROFILE": profile, "PYTHONHASHSEED": "0", **(environment or {})},
        )  # fmt: skip

    def ask(self, order: str, argument: Any = None) -> Any:
        """Send an order, wait for its answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            print(json.dumps({order: argument}), file=self.process.stdin, flush=True)
        except BrokenPipeError:
            line = ""
        else:
            line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the process that times {self.process.args[-1]} ended: its error stands above")
        return json.loads(line)

    def close(self) -> None:
        """No more orders."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


@dataclass
class Comparison:
    """One benchmark: what has been measured of it."""

    name: str
    parameters: list[Any]
    times: int = 0  # calls a run
    skipped: str = ""
    generations: list[list[float]] = field(default_factory=list)

    @property
    def title(self) -> str:
        """For people, and for --bench."""
        return f"{self.name} ({'; '.join(map(str, self.parameters))})"

    @property
    def order(self) -> list[Any]:
        """For workers."""
        return [self.name, self.parameters]

    def judge(self, threshold: float) -> verdict.Verdict:
        """The verdict so far."""
        return verdict.judge(self.generations, threshold)


def number_from(least: int) -> Callable[[str], int]:
    """For argparse: a whole number, `least` or more."""

    def number(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text} given, a whole number of {least} or more is wanted")
        return int(text)

    return number


def small_share(text: str) -> float:
    """For argparse: what a time may differ by."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < 1.5:
        raise argparse.ArgumentTypeError(f"{text} given, more than 0 and less than 1.5 is wanted (0.05: 5 %)")
    return value


def expression(text: str) -> str:
    """For argparse: a regular expression."""
    try:
        re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"{text!r} given, a regular expression is wanted: {error}") from error
    return text


def new_file(text: str) -> Path:
    """For argparse: a file in a folder that is there."""
    file = Path(text)
    if not file.parent.is_dir() or file.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} given, a file in a folder that is there is wanted")
    return file


def status_of(main: Callable[[], int]) -> int:
    """The exit status of a comparison: 2, not Python's 1, where it ends in an exception that nobody thought of."""
    try:
        return main()
    except Exception:
        traceback.print_exc()
        return 2


def tree_of(commit: str | None) -> Path:
    """jitnet as it is in a commit, or here (None), copied to .asv/trees: what is edited meanwhile changes nothing.

    Folders are named by the digest of what is in them: names of one length, and one folder where both are the same.
    """
    trees = ROOT / ".asv" / "trees"
    trees.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=trees) as folder:
        copy = Path(folder) / "jitnet"
        if commit is None:
            shutil.copytree(ROOT / "jitnet", copy, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            packed = subprocess.run(["git", "archive", commit, "jitnet"], cwd=ROOT, capture_output=True)
            if packed.returncode:
                raise LookupError(f"{commit!r} given, a commit of this repository with a jitnet in it is wanted")
            with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
                archive.extractall(folder, filter="data")
        tree = trees / source_digest(copy)
        if not tree.exists():
            tree.mkdir()
            copy.rename(tree / "jitnet")
    return tree


def chosen(tree: Path, pattern: str, profile: str) -> list[Comparison]:
    """The benchmarks of this tree whose titles match."""
    side = Side(tree, profile)
    every = [Comparison(name, parameters) for name, parameters in side.ask("list")]
    side.close()
    return [each for each in every if re.search(pattern, each.title)]


def prepare(sides: dict[str, Side], comparisons: list[Comparison]) -> list[Comparison]:
    """Set up each benchmark on both sides; those that one of them lacks are set aside."""
    for each in comparisons:
        for side in sides.values():
            each.skipped = each.skipped or side.ask("prepare", each.order).get("skip", "")
        if not each.skipped and not each.times:  # as long as the commit needs
            times, seconds = 1, sides["theirs"].ask("run", [*each.order, 1])
            while seconds < RUN_SECONDS / 2:
                times = int(times * min(10.0, 1.1 * RUN_SECONDS / max(seconds, 1e-9))) + 1
                seconds = sides["theirs"].ask("run", [*each.order, times])
            each.times = times
    return [each for each in comparisons if not each.skipped]


def generation(trees: dict[str, Path], comparisons: list[Comparison], samples: int, profile: str, number: int) -> None:
    """Two fresh processes; `samples` samples of each benchmark, all benchmarks in turn."""
    first, second = ("ours", "theirs") if number % 2 else ("theirs", "ours")
    sides = {name: Side(trees[name], profile) for name in (first, second)}
    try:
        ready = prepare(sides, comparisons)
        for each in ready:
            each.generations.append([])
        for _ in range(samples):
            for each in ready:
                seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
                for name in (first, second, second, first):
                    seconds[name].append(sides[name].ask("run", [*each.order, each.times]))
                each.generations[-1].append(verdict.sample(seconds["ours"], seconds["theirs"]))
    finally:
        for side in sides.values():
            side.close()


def main() -> int:
    """Measure, print, say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", required=True, metavar="COMMIT")
    parser.add_argument(
        "--bench", type=expression, default=DEFAULT, metavar="REGEX", help="of 'file.Class.method (parameter; ...)'"
    )
    parser.add_argument(
        "--threshold", type=small_share, default=0.05, help="a ratio within 1 +- this counts as the same"
    )
    parser.add_argument("--generations", type=number_from(2), nargs=2, default=(4, 8), metavar=("FEWEST", "MOST"))
    parser.add_argument("--samples", type=number_from(1), default=8, help="of each benchmark in a generation")
    parser.add_argument("--profile", default="regular", choices=("quick", "regular", "full"))
    parser.add_argument("--json", type=new_file, help="write every sample to this file")
    given = parser.parse_args()
    fewest, most = given.generations
    if most < fewest:
        parser.error(f"argument --generations: {fewest} {most} given, MOST of at least FEWEST is wanted")
    began = time.perf_counter()
    try:
        trees = {"ours": tree_of(None), "theirs": tree_of(given.against)}
        comparisons = chosen(trees["ours"], given.bench, given.profile)
    except LookupError as error:
        parser.error(f"argument --against: {error}")
    except RuntimeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if not comparisons:
        parser.error(f"argument --bench: {given.bench!r} given, no benchmark of the profile {given.profile} matches")
    open_ones = comparisons
    for number in range(most):
        try:
            generation(trees, open_ones, given.samples, given.profile, number)
        except RuntimeError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        open_ones = [each for each in open_ones if not each.skipped]
        if number + 1 >= fewest:
            open_ones = [each for each in open_ones if each.judge(given.threshold).word == verdict.UNCLEAR]
        if not open_ones:
            break
    measured = [each for each in comparisons if not each.skipped]
    verdicts = [(each, each.judge(given.threshold)) for each in measured]
    print(f"time of this tree / time of {given.against}: ratio [99 % interval], beyond {given.threshold:.0%} or not")
    for each, said in sorted(verdicts, key=lambda pair: -pair[1].ratio):
        print(f"{said!s:36} {each.title}")
    for each in comparisons:
        if each.skipped:
            print(f"skipped: {each.skipped:27} {each.title}")
    print(f"{time.perf_counter() - began:.0f} s")
    if given.json:
        given.json.write_text(json.dumps({each.title: each.generations for each in measured}))
    if not measured:
        print(f"error: {given.against} has nothing of what --bench asks for", file=sys.stderr)
        return 2
    return int(any(said.word == verdict.SLOWER for _, said in verdicts))


if __name__ == "__main__":
    sys.exit(status_of(main))
