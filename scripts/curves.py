"""How a training step grows with data points, width, depth and threads: measured, written as JSON, drawn.

    bash scripts/benchmark curves                            # about three minutes
    bash scripts/benchmark curves --peers matrix torch jax   # with the extra `peers`
    bash scripts/benchmark curves --draw                     # once more from the JSON file

Each point is a contest of benchmarks/peers: the same data, start and batches for all, in turns, results compared.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.ticker import LogLocator
from speed_pictures import COLOURS, microseconds, plt, save

sys.path.append(str(Path(__file__).resolve().parent.parent))
from benchmarks.peers import machine, report
from benchmarks.peers.child import call
from benchmarks.peers.contest import PEERS
from benchmarks.peers.picture import STYLES

ROOT = Path(__file__).resolve().parent.parent
SUPERSCRIPTS = {1: "", 2: "²", -1: "⁻¹"}

Point = tuple[list[int], int, int]
"""Widths, data points a step, threads."""


class Curve(NamedTuple):
    """One panel."""

    title: str
    label: str  # of the axis
    values: list[int]
    points: list[Point]  # what is run at each value
    power: int  # multiplications of a step, and of a thread, grow as values ** power

    @classmethod
    def over(cls, title: str, label: str, power: int, values: list[int], point: Callable[[int], Point]) -> Curve:
        """The curve that runs point(value) at each value."""
        return cls(title, label, values, [point(value) for value in values], power)


def curves(quick: bool) -> list[Curve]:
    """All panels."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = sorted({*(2**k for k in range(cores.bit_length())), cores})
    N = [1, 64] if quick else [1, 4, 16, 64, 256, 1024, 4096]
    widths = [8, 64] if quick else [8, 16, 32, 64, 128, 256, 512, 1024]
    depths = [1, 4] if quick else [1, 2, 4, 8, 16, 32]
    return [
        Curve.over("64-64-64-8", "data points N", 1, N, lambda n: ([64, 64, 64, 8], n, 1)),
        Curve.over("two hidden layers, N = 128", "width", 2, widths, lambda w: ([w, w, w, 8], 128, 1)),
        Curve.over("width 64, N = 128", "hidden layers", 1, depths, lambda m: ([64] * (m + 1) + [8], 128, 1)),
        Curve.over("512-512-512-8, N = 256", "threads", -1, threads, lambda t: ([512, 512, 512, 8], 256, t)),
    ]


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """A process for each curve and thread count."""
    panels = []
    for curve in curves(given.quick):
        rows = []
        for threads in dict.fromkeys(threads for _, _, threads in curve.points):
            wish = {"points": [(widths, N) for widths, N, t in curve.points if t == threads], "threads": threads}
            wish |= {"peers": given.peers, "dtype": given.dtype, "rounds": given.rounds, "seconds": given.seconds}
            rows += call("curve", threads, wish)["rows"]
        panels.append({**curve._asdict(), "rows": rows})
    return {"machine": machine.describe(), "dtype": given.dtype, "panels": panels}


def disturbed(document: dict[str, Any]) -> list[str]:
    """Points during which other processes kept so much of the machine busy that their times say little."""
    rows = [row for panel in document["panels"] for row in panel["rows"]]
    return [
        f"{row['network']}, {row['threads']} thread(s)"
        for row in rows
        if any(map(report.disturbed, row["peers"].values()))
    ]


def draw(document: dict[str, Any], file: Path) -> None:
    """A panel a curve, both axes logarithmic: medians, and bars from the first to the third quartile."""
    figure, axes = plt.subplots(2, 2, figsize=(10.5, 7.6))
    for axis, panel in zip(axes.flat, document["panels"], strict=True):
        names = dict.fromkeys(name for row in panel["rows"] for name in row["peers"])
        for name in names:
            label, colour, marker = styles()[name]
            pairs = zip(panel["values"], panel["rows"], strict=True)
            there = [(value, row["peers"][name]) for value, row in pairs if name in row["peers"]]
            middle = [peer["seconds"] * 1e6 for _, peer in there]
            below = [(peer["seconds"] - peer["spread"]["q1"]) * 1e6 for _, peer in there]
            above = [(peer["spread"]["q3"] - peer["seconds"]) * 1e6 for _, peer in there]
            axis.errorbar(
                [value for value, _ in there], middle, (below, above), label=label, color=colour, marker=marker,
                markersize=5, capsize=2.5, linewidth=1.4,
            )  # fmt: skip
        ideal(axis, panel)
        axis.set(xscale="log", yscale="log", xlabel=panel["label"], title=panel["title"])
        axis.set_xticks(panel["values"], [f"{value:,}" for value in panel["values"]])
        axis.minorticks_off()
        axis.yaxis.set_major_formatter(lambda value, _: microseconds(value))
        low, high = axis.get_ylim()
        axis.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high < 50 * low else (1.0,)))
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(alpha=0.25)
        axis.legend(frameon=False, fontsize=8)
    for axis in axes[:, 0]:
        axis.set_ylabel("µs a training step")
    about, busy = document["machine"], disturbed(document)
    heading = (
        f"A training step (tanh, Adam, {document['dtype']}; one thread but for the last panel): "
        f"{about['cpu']}, {about['cores']} cores"
    )
    if busy:
        heading += f"\ndisturbed: other processes kept cores busy during {len(busy)} points"
    figure.suptitle(heading, fontsize=10)
    file.parent.mkdir(parents=True, exist_ok=True)
    save(figure, file)


def styles() -> dict[str, tuple[str, str, str]]:
    """Label, colour and marker of each peer; the forms' as in speed_pictures.py."""
    return {**STYLES, "jitnet": ("tiled", COLOURS["tiled"], "o"), "matrix": ("matrix", COLOURS["matrix"], "v")}


def ideal(axis: Any, panel: dict[str, Any]) -> None:
    """A dotted line that changes as a thread's multiplications do, through jitnet's time where they are most."""
    values, power = panel["values"], panel["power"]
    most = -1 if power > 0 else 0
    seconds = panel["rows"][most]["peers"]["jitnet"]["seconds"]
    axis.plot(
        values, [1e6 * seconds * (value / values[most]) ** power for value in values], ":", color="#555555",
        linewidth=1.2, label=f"~ {panel['label'].split()[-1]}{SUPERSCRIPTS[power]}", zorder=1,
    )  # fmt: skip


def main() -> int:
    """Measure, write, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=["matrix"], metavar="NAME", help=", ".join(PEERS))
    parser.add_argument("--dtype", default="float32", choices=("float32", "float64"))
    parser.add_argument("--rounds", type=int, default=7, help="timed runs of each at a point (7)")
    parser.add_argument("--seconds", type=float, default=0.05, help="of a timed run, about (0.05)")
    parser.add_argument("--quick", action="store_true", help="few and small points")
    parser.add_argument("--draw", action="store_true", help="measure nothing, draw what is in the JSON file")
    parser.add_argument("--json", type=Path, default=ROOT / ".pictures" / "curves.json")
    parser.add_argument("--picture", type=Path, default=ROOT / ".pictures" / "curves.png")
    given = parser.parse_args()
    given.json, given.picture = given.json.resolve(), given.picture.resolve()
    os.chdir(ROOT)  # where the processes find benchmarks/
    try:
        if not given.draw:
            document = measure(given)
            given.json.parent.mkdir(parents=True, exist_ok=True)
            given.json.write_text(json.dumps(document, indent=1) + "\n")
        document = json.loads(given.json.read_text())
        draw(document, given.picture)
        for point in disturbed(document):
            print(f"disturbed: other processes had more than {report.MOST_OF_OTHERS} cores during {point}")
    except subprocess.CalledProcessError as error:
        print(f"error: the process of a curve ended with {error.returncode}; see above", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
