"""`python -m benchmarks.peers [run | draw | threads | markdown | merge | memory] [files] [options]`."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import machine, memory, report
from .cases import CASES
from .child import call
from .contest import PEERS, DisagreementError, Limits
from .picture import draw, draw_threads

KEPT, QUICK = Path(".pictures"), Path(".data")
"""Where results lie by default: beside the README's other pictures, or, in quick mode, where nothing is kept."""


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description="jitnet beside its peers")
    parser.add_argument(
        "what", nargs="?", default="run", choices=("run", "draw", "threads", "markdown", "merge", "memory"),
        help="run: measure, print, draw (default); memory: peak RSS; from JSON files, of rows alike the last: draw: "
        "print and draw; threads: draw time over threads; markdown: print the README's table; merge: write them as one",
    )  # fmt: skip
    parser.add_argument("files", nargs="*", type=Path, help="of draw, threads, markdown, merge: JSON files")
    several = {"nargs": "+", "metavar": "NAME"}
    parser.add_argument("--networks", choices=list(CASES), default=list(CASES), help=", ".join(CASES), **several)
    parser.add_argument("--peers", choices=PEERS, default=list(PEERS), help=", ".join(PEERS), **several)
    parser.add_argument("--dtypes", choices=("float32", "float64"), default=["float32", "float64"], **several)
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2], metavar="N", help="1 2")
    parser.add_argument("--form", default="auto", help="jitnet's form (auto)")
    parser.add_argument("--rounds", type=int, help=f"timed runs of each peer ({Limits().rounds})")
    parser.add_argument("--seconds", type=float, help=f"of a timed run, about ({Limits().seconds})")
    parser.add_argument("--steps", type=int, default=16, help="memory: steps to train (16)")
    parser.add_argument("--quick", action="store_true", help="3 short rounds, into .data/: not for numbers to quote")
    parser.add_argument(
        "--keep", action="store_true", help="keep the JSON file's rows of other networks, dtypes, threads"
    )
    parser.add_argument("--json", type=Path, help="results (.pictures/peers.json)")
    parser.add_argument("--picture", type=Path, help="picture (.pictures/peers.png)")
    options = parser.parse_args(given)
    if options.files and options.what in ("run", "memory"):
        parser.error(f"{options.what} reads no files")
    if options.what == "merge" and not (options.files and options.json):
        parser.error("merge wants files, and --json for what they make")
    usual = Limits(3, 0.05) if options.quick else Limits()
    options.rounds = options.rounds or usual.rounds
    options.seconds = options.seconds or usual.seconds
    name = {"memory": "peers-memory", "threads": "peers-threads"}.get(options.what, "peers")
    folder = QUICK if options.quick else KEPT
    options.json = options.json or folder / f"{name}.json"
    options.files = options.files or [options.json]
    options.picture = options.picture or folder / f"{name}.png"
    return options


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure, a process for each network, dtype and thread count; the JSON file is written after each."""
    document: dict[str, Any] = {"machine": machine.describe(), "rows": [], "skipped": []}
    if options.keep and options.json.exists():
        document = report.merged([document, json.loads(options.json.read_text())])
    for threads in options.threads:
        for dtype in options.dtypes:
            for network in options.networks:
                print(f"{network}, {dtype}, {threads} thread(s)", file=sys.stderr, flush=True)
                wish = {"network": network, "dtype": dtype, "threads": threads, "form": options.form}
                wish |= {"peers": options.peers, "rounds": options.rounds, "seconds": options.seconds}
                row = call("network", threads, wish)
                if "skipped" in row:
                    document["skipped"] = sorted({*document["skipped"], f"{network}: {row['skipped']}"})
                    continue
                document = report.merged([document, {**document, "rows": [row]}])
                _write(options.json, document)
    return document


def _write(path: Path, document: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n")


def main(given: Sequence[str] | None = None) -> int:
    """The exit status: 1 where a peer did other work than jitnet, or failed."""
    options = arguments(given)
    if options.what in ("draw", "threads", "markdown", "merge"):
        try:
            document = report.merged([json.loads(file.read_text()) for file in options.files])
        except (OSError, ValueError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
    else:
        try:
            if options.what == "memory":
                document = memory.measure(options.form, options.threads[0], options.steps)
                document["machine"] = machine.describe()
                _write(options.json, document)
                memory.show(document)
                return 0
            document = run(options)
        except (DisagreementError, ValueError) as error:  # --keep of another machine
            print(f"error: {error}", file=sys.stderr)
            return 1
        except subprocess.CalledProcessError as error:
            print(f"error: the process of a network ended with {error.returncode}; see above", file=sys.stderr)
            return 1
    if options.what == "markdown":
        print(report.markdown(document))
    elif options.what == "merge":
        _write(options.json, document)
    elif options.what == "threads":
        try:
            draw_threads(document, options.picture, options.dtypes[0])
        except ValueError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        print(f"wrote {options.picture}")
    elif document["rows"]:
        report.show(document)
        dtype = "float32" if any(row["dtype"] == "float32" for row in document["rows"]) else "float64"
        draw(document, options.picture, dtype)
        print(f"wrote {options.picture}; results in {', '.join(map(str, options.files))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
