"""Does `scripts/benchmark --against HEAD~1` find a planted slowdown of 10 %, and leave a harmless commit alone?

    bash scripts/benchmark trials [--tries 10] [--json FILE]

Two clones are made in .asv/trials. The last commit of one makes the tiled form's `forward` 10 % slower; that of the
other changes a docstring, so that its kernels are compiled anew. Each is compared with the commit before, again and
again, the two in turns. Printed are the counts, and by how much the planted kernel was said to be slower. It takes 20
to 30 minutes, in which nothing else should run. Exit status: 0 where nine of ten tries of each came out right, 1 where
not, 2 where one could not be made.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

from against import number_from, status_of

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".asv" / "trials"
KERNEL = ROOT / "jitnet" / "forms" / "tiled_panels.py"

LOOP = "                for j in range(n_in):  # F1"
SPARE_LOOP = """\
                spare = tile_zeros(theta, TILE_ROWS, TILE_VECTORS)
                for j in range(n_in * 3 // 20):
                    spare = tile_add_outer(spare, theta, W + i * n_in + j, n_in, rows, y_below, below + j * width)
                tile_store(spare, x, above + i * width, width, rows)
"""
"""Some of F1's products once more, stored where the sums go: so many that `forward` of 784-128-10 takes 10 % longer on
an Intel Xeon. LLVM cannot leave them out: for all that it knows, the loop after them reads what they wrote."""

CHANGES = {"planted": (LOOP, SPARE_LOOP + LOOP), "no change": ('"""F1 of layer m:', '"""F1  of layer m:')}
"""What the last commit of each clone replaces."""
FLAGGED = re.compile(r" +([\d.]+)  \[.*\]  slower +(\S.*)")


def clone(name: str) -> Path:
    """A clone of this repository's HEAD with one commit on top."""
    folder = FOLDER / name.replace(" ", "-")
    git = ["git", "-c", "user.name=trials", "-c", "user.email=", "-C", str(folder)]
    if folder.exists():
        shutil.rmtree(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["git", "clone", "--quiet", "--shared", ROOT, folder], check=True)
    kernel = folder / KERNEL.relative_to(ROOT)
    source, (old, new) = kernel.read_text(), CHANGES[name]
    if source.count(old) != 1:
        raise LookupError(f"{KERNEL.relative_to(ROOT)} has {source.count(old)} times {old.strip()!r}, once is wanted")
    kernel.write_text(source.replace(old, new))
    subprocess.run([*git, "commit", "--quiet", "--no-gpg-sign", "-am", name], check=True)
    return folder


def attempt(folder: Path) -> dict[str, Any]:
    """One try: what was flagged, by how much, and how long it took."""
    began = time.perf_counter()
    command = [sys.executable, folder / "scripts" / "against.py", "--against", "HEAD~1"]  # of scripts/benchmark
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        raise RuntimeError(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    flagged = {title: float(ratio) for ratio, title in FLAGGED.findall(done.stdout)}
    words = re.findall(r"\]  (\w+) ", done.stdout)
    verdicts = {word: words.count(word) for word in sorted(set(words))}
    seconds = time.perf_counter() - began
    return {"status": done.returncode, "flagged": flagged, "verdicts": verdicts, "seconds": seconds}


def is_right(name: str, tried: dict[str, Any]) -> bool:
    """Whether a slowdown was found in the kernel that has it, and none in what has not."""
    if name != "planted":
        return tried["status"] == 0
    kernel = [title for title in tried["flagged"] if "forward" in title and "; tiled; " in title]
    steps = [title for title in tried["flagged"] if title.startswith("training_step") and "; tiled; " in title]
    return tried["status"] == 1 and bool(kernel) and len(kernel) + len(steps) == len(tried["flagged"])


def report(tries: dict[str, list[dict[str, Any]]]) -> bool:
    """Print the counts; whether nine of ten came out right of both."""
    good = True
    for name, done in tries.items():
        right = sum(is_right(name, each) for each in done)
        seconds = [each["seconds"] for each in done]
        words = sorted({word for each in done for word in each["verdicts"]})
        counts = ", ".join(f"{sum(each['verdicts'].get(word, 0) for each in done)} {word}" for word in words)
        print(f"{name}: {right} of {len(done)} tries right; verdicts: {counts}; median {median(seconds):.0f} s a try")
        flagged: dict[str, list[float]] = {}
        for each in done:
            for title, ratio in each["flagged"].items():
                flagged.setdefault(title, []).append(ratio)
        for title, ratios in flagged.items():
            print(f"    {title}: flagged {len(ratios)} times, ratio {min(ratios):.3f} to {max(ratios):.3f}")
        good = good and right >= math.ceil(0.9 * len(done))
    return good


def main() -> int:
    """Clone, try, count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tries", type=number_from(1), default=10, help="of each kind (10)")
    parser.add_argument("--json", type=Path, default=FOLDER / "trials.json", help="written after each try")
    given = parser.parse_args()
    tries: dict[str, list[dict[str, Any]]] = {name: [] for name in CHANGES}
    try:
        folders = {name: clone(name) for name in CHANGES}
        for number in range(given.tries):
            for name, folder in folders.items():
                tries[name].append(attempt(folder))
                right = "right" if is_right(name, tries[name][-1]) else "WRONG"
                print(f"{number + 1} {name}: {right}, {tries[name][-1]['seconds']:.0f} s", file=sys.stderr, flush=True)
                given.json.parent.mkdir(parents=True, exist_ok=True)
                given.json.write_text(json.dumps(tries, indent=1) + "\n")
    except (LookupError, RuntimeError, subprocess.CalledProcessError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return int(not report(tries))


if __name__ == "__main__":
    sys.exit(status_of(main))
