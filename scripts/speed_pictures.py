"""Draw what asv has measured: index form against matrix form, and speed over commits.

    bash scripts/benchmark pictures [--results .asv/results] [--output .asv/pictures]

Reads asv's result files alone; one machine's, the one with most of them unless --machine names another.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.ticker import LogLocator
from results import Commit, read

ROOT = Path(__file__).resolve().parent.parent
TRAINING = "training_step.TrainingStep.time_eight_steps"
STEPS = 8
COLOURS = {"plain": "#1b7837", "tiled": "#2166ac", "matrix": "#b2182b"}


def in_order(commits: list[Commit]) -> list[Commit]:
    """By date, and as history has them where dates are the same."""
    said = subprocess.run(["git", "rev-list", "--all", "--reverse", "--topo-order"], cwd=ROOT, capture_output=True)
    place = {sha: n for n, sha in enumerate(said.stdout.decode().split())}
    return sorted(commits, key=lambda commit: (commit.milliseconds, place.get(commit.sha, 0)))


def microseconds(value: float) -> str:
    """Three digits, or all before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def machine_folder(results: Path, machine: str | None) -> Path:
    """The folder of one machine's results."""
    folders = [folder for folder in results.glob("*") if (folder / "machine.json").exists()]
    if not folders:
        raise LookupError(f"no results of a machine in {results}: run `bash scripts/benchmark history` first")
    if machine is not None:
        if machine not in {folder.name for folder in folders}:
            names = ", ".join(sorted(folder.name for folder in folders))
            raise LookupError(f"--machine: {machine!r} given, one of {names} is wanted")
        return results / machine
    return max(folders, key=lambda folder: len(list(folder.glob("*.json"))))


def about(folder: Path) -> str:
    """The machine in words, without its name."""
    said = json.loads((folder / "machine.json").read_text())
    return f"{said.get('num_cpu', '?')} cores, {said.get('cpu', '')} {said.get('arch', '')}".strip()


def forms_against_each_other(commit: Commit, machine: str, dtype: str, file: Path) -> None:
    """Bars: time of a training step, a group a network, a bar a form, for one thread and for two."""
    times = commit.named(TRAINING)
    threads = sorted({key[3] for key in times if key[2] == dtype})
    figure, axes = plt.subplots(1, len(threads), figsize=(6.5 * len(threads), 4.2), sharey=True, squeeze=False)
    for axis, count in zip(axes[0], threads, strict=True):
        chosen = {(key[0], key[1]): t for key, t in times.items() if key[2:] == (dtype, count)}
        networks = list(dict.fromkeys(network for network, _ in chosen))
        forms = list(dict.fromkeys(form for _, form in chosen))
        width = 0.8 / max(len(forms), 1)
        for place, form in enumerate(forms):
            x = [n + (place - (len(forms) - 1) / 2) * width for n in range(len(networks))]
            heights = [chosen.get((network, form), float("nan")) / STEPS * 1e6 for network in networks]
            bars = axis.bar(x, heights, width * 0.94, label=form, color=COLOURS.get(form))
            axis.bar_label(bars, [microseconds(h) for h in heights], fontsize=7, padding=1)
        axis.set_yscale("log")
        axis.yaxis.set_major_formatter(lambda value, _: microseconds(value))
        axis.set_xticks(range(len(networks)), [network.replace(", ", "\n") for network in networks], fontsize=8)
        axis.set_title(f"{count} thread{'s' * (count != '1')}", fontsize=10)
        axis.spines[["top", "right"]].set_visible(False)
        axis.margins(y=0.12)
    axes[0][0].set_ylabel(f"µs a training step, {dtype}")
    axes[0][0].legend(frameon=False, title="form")
    figure.suptitle(f"jitnet {commit.short}: index loops against matrices  ({machine})", fontsize=11)
    save(figure, file)


def speed_over_commits(commits: list[Commit], machine: str, dtype: str, threads: str, file: Path) -> None:
    """Lines: the training step over commits, a panel a network, a line a form."""
    series: dict[str, dict[str, dict[int, float]]] = {}
    for n, commit in enumerate(commits):
        for (network, form, number, count), seconds in commit.named(TRAINING).items():
            if (number, count) == (dtype, threads):
                series.setdefault(network, {}).setdefault(form, {})[n] = seconds / STEPS * 1e6
    columns = min(3, len(series))
    rows = -(-len(series) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(4.6 * columns, 3.1 * rows), sharex=True, squeeze=False)
    for axis in axes.flat[len(series) :]:
        axis.set_visible(False)
    for axis, (network, forms) in zip(axes.flat, series.items(), strict=False):
        for form, points in forms.items():
            axis.plot(list(points), list(points.values()), "o-", label=form, color=COLOURS.get(form), markersize=3.5)
        axis.set_title(network, fontsize=9)
        axis.set_yscale("log")
        axis.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.yaxis.set_major_formatter(lambda value, _: microseconds(value))
        axis.yaxis.set_minor_formatter("")
        axis.set_xticks(range(len(commits)), [commit.short for commit in commits], rotation=90, fontsize=7)
        axis.tick_params(labelbottom=True)
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis="y", alpha=0.25)
    axes[0][0].set_ylabel("µs a training step")
    figure.legend(*axes[0][0].get_legend_handles_labels(), frameon=False, fontsize=9, loc="upper right")
    figure.suptitle(
        f"A training step from commit to commit, {dtype}, {threads} thread{'s' * (threads != '1')}  ({machine})",
        fontsize=11,
    )
    save(figure, file)


def save(figure: Any, file: Path) -> None:
    """Write it and say so."""
    figure.tight_layout()
    figure.savefig(file, dpi=130, metadata={"Software": None})
    plt.close(figure)
    print(f"wrote {file}")


def main() -> int:
    """Read, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=ROOT / ".asv" / "results")
    parser.add_argument("--output", type=Path, default=ROOT / ".asv" / "pictures")
    parser.add_argument("--machine", help="a folder of the results")
    parser.add_argument("--dtype", default="float32", choices=("float32", "float64"))
    parser.add_argument("--threads", default="1", help="of the picture over commits")
    given = parser.parse_args()
    try:
        folder = machine_folder(given.results, given.machine)
        files = [file for file in folder.glob("*.json") if file.name != "machine.json"]
        commits = in_order([read(file) for file in files])
        commits = [commit for commit in commits if commit.named(TRAINING)]
        if not commits:
            raise LookupError(f"no training steps in {folder}")
        if not any(key[2:] == (given.dtype, given.threads) for each in commits for key in each.named(TRAINING)):
            raise LookupError(
                f"--dtype {given.dtype}, --threads {given.threads}: {folder} has no training steps of these"
            )
        given.output.mkdir(parents=True, exist_ok=True)
        machine = about(folder)
        forms_against_each_other(commits[-1], machine, given.dtype, given.output / "forms.png")
        speed_over_commits(commits, machine, given.dtype, given.threads, given.output / "commits.png")
    except LookupError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
