"""Compare this tree with a commit by counted instructions: no noise, where time has too much of it.

    bash scripts/benchmark instructions HEAD~1

Valgrind runs both sides on a processor that it plays itself, without AVX-512, so compiled code is Haswell's there (on
x86); the arithmetic is the same, caches and memory play no part. A count is of jitnet's call from Python to its end. On
one machine it repeats to a thousandth; that is what --threshold is held against. A change of instructions is not yet a
change of time, and time may change without: look at both.

Exit status: 0 where nothing takes more instructions beyond the threshold, 1 where something does, 2 where it failed.
"""

from __future__ import annotations

import argparse
import platform
import re
import shutil
import sys
import tempfile
from pathlib import Path

from against import Comparison, Side, chosen, expression, small_share, status_of, tree_of

DEFAULT = (
    r"kernels\S* \((forward|backward|gradient|input_gradient): [^;]*; 64-64-10[^;]*; (?!matrix).*float32\)"
    r"|training_step\S* \(64-64-10[^;]*; (?!matrix).*float32; 1\)"
)
"""What is counted where --bench says nothing: a small network, as valgrind is some fifty times slower."""
AVX2 = {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+sse4.2,+avx,+avx2,+fma,+bmi2"}


def instructions(tree: Path, comparisons: list[Comparison], profile: str) -> dict[str, int]:
    """Instructions of one call of each benchmark that this tree has."""
    environment = AVX2 if platform.machine().lower() in ("x86_64", "amd64") else {}
    native = Side(tree, profile, environment=environment)
    for each in comparisons:  # compiled at full speed, taken from the cache below
        each.skipped = each.skipped or native.ask("prepare", each.order).get("skip", "")
    native.close()
    there = [each for each in comparisons if not each.skipped]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "counts"
        valgrind = ["valgrind", "--tool=callgrind", "--dump-before=srand48_r", f"--callgrind-out-file={out}", "-q"]
        side = Side(tree, profile, under=valgrind, environment=environment)
        for each in there:
            side.ask("prepare", each.order)
        for each in there:
            side.ask("count", [*each.order, 1])
        side.close()
        # What came before the first mark, the calls, what lies between two benchmarks, the calls, ...
        counts = [int(re.findall(r"^totals: (\d+)", file.read_text(), re.M)[0]) for file in in_order(out)]
    if len(counts) < 2 * len(there):
        raise RuntimeError("valgrind wrote too few counts")
    return {each.title: count for each, count in zip(there, counts[1::2], strict=False)}


def in_order(out: Path) -> list[Path]:
    """Callgrind's files as it wrote them: counts.1, counts.2, ..."""
    return sorted(out.parent.glob(f"{out.name}.*"), key=lambda file: int(file.suffix[1:]))


def main() -> int:
    """Count, print, say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commit", nargs="?", default="HEAD~1")
    parser.add_argument(
        "--bench", type=expression, default=DEFAULT, metavar="REGEX", help="of 'file.Class.method (parameter; ...)'"
    )
    parser.add_argument("--threshold", type=small_share, default=0.01)
    parser.add_argument("--profile", default="regular", choices=("quick", "regular", "full"))
    given = parser.parse_args()
    if not shutil.which("valgrind"):
        print("error: valgrind is not installed", file=sys.stderr)
        return 2
    try:
        trees = [tree_of(None), tree_of(given.commit)]
        comparisons = chosen(trees[0], given.bench, given.profile)
        if not comparisons:
            parser.error(
                f"argument --bench: {given.bench!r} given, no benchmark of the profile {given.profile} matches"
            )
        ours, theirs = (instructions(tree, comparisons, given.profile) for tree in trees)
    except LookupError as error:
        parser.error(f"argument commit: {error}")
    except RuntimeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    both = sorted(set(ours) & set(theirs), key=lambda title: -ours[title] / theirs[title])
    print(f"instructions of a call: this tree / {given.commit}")
    for title in both:
        print(f"{ours[title] / theirs[title]:7.4f}  {ours[title]:>12} / {theirs[title]:<12}  {title}")
    for each in comparisons:
        if each.skipped:
            print(f"skipped: {each.skipped}  {each.title}")
    if not both:
        print(f"error: {given.commit} has nothing of what --bench asks for", file=sys.stderr)
        return 2
    return int(any(ours[title] > theirs[title] * (1 + given.threshold) for title in both))


if __name__ == "__main__":
    sys.exit(status_of(main))
