"""The pictures for the README: how many times as long as jitnet each peer takes, and how time falls with threads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .cases import CASES
from .report import Row, groups, title, wanted

STYLES = {
    "torch": ("PyTorch eager", "#d1495b", "o"), "compile": ("PyTorch compiled", "#edae49", "s"),
    "jax": ("JAX", "#30638e", "D"), "sklearn": ("scikit-learn", "#7a9e3f", "^"),
    "matrix": ("jitnet's NumPy form", "#8d8d8d", "v"),
}  # fmt: skip


def draw(document: dict[str, Any], path: Path, dtype: str = "float32") -> None:
    """Write a PNG with a panel for each thread count; networks down, the ratio peer / jitnet across on a log scale.

    Right of 1 jitnet is faster. The short black line is what is asked for at least, the dotted one the goal.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = [(threads, rows) for kind, threads, rows in groups(document["rows"]) if kind == dtype]
    if not panels:
        raise ValueError(f"no rows of {dtype} to draw")
    shown = [name for name in CASES if any(row["network"] == name for _, rows in panels for row in rows)]
    height = 1.6 + 0.42 * len(shown)
    figure = Figure(figsize=(5.2 * len(panels) + 1.6, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(panels), sharex=True, sharey=True, squeeze=False)[0]
    for ax, (threads, rows) in zip(axes, panels, strict=True):
        _panel(ax, rows, shown)
        ax.set_title(f"{threads} thread{'s' * (threads > 1)}", fontsize=11)
    handles = {label: handle for ax in axes for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4, fontsize=9, frameon=False)
    machine = document["machine"]
    figure.suptitle(f"time of each / time of jitnet, {dtype}: {machine['cpu']}, {machine['cores']} cores", fontsize=11)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)


def _panel(ax: Any, rows: list[Row], networks: list[str]) -> None:
    """`networks` from the top down, the same in all panels; of some a panel may have no row."""
    from matplotlib.ticker import FuncFormatter

    for row in rows:
        at = networks.index(row["network"])
        ours = row["peers"]["jitnet"]["seconds"]
        for name, (label, colour, marker) in STYLES.items():
            if peer := row["peers"].get(name):
                ratio, spread = peer["seconds"] / ours, peer["spread"]
                ax.plot([spread["q1"] / ours, spread["q3"] / ours], [at, at], color=colour, linewidth=1.5)
                ax.plot(ratio, at, marker, color=colour, markersize=7, label=label, linestyle="none", alpha=0.9)
        at_least, goal = wanted(row)
        ax.plot([at_least] * 2, [at - 0.35, at + 0.35], color="black", linewidth=1.5, label="at least")
        if goal:
            ax.plot([goal] * 2, [at - 0.35, at + 0.35], color="black", linewidth=1.2, linestyle=":", label="goal")
    ax.axvline(1.0, color="black", linewidth=0.8)
    ax.set_xscale("log")
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.set_yticks(range(len(networks)), [title(name) for name in networks], fontsize=10)
    ax.set_ylim(len(networks) - 0.5, -0.5)
    ax.grid(axis="x", which="major", alpha=0.3)
    ax.set_xlabel("right of 1 jitnet is faster", fontsize=9)


def draw_threads(document: dict[str, Any], path: Path, dtype: str = "float32") -> None:
    """Write a PNG with a panel for each network: time over threads, both on log scales.

    Bars go from quartile to quartile. The dotted line is jitnet's time on one thread, divided by the threads.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = sorted((row for row in document["rows"] if row["dtype"] == dtype), key=lambda row: row["threads"])
    networks = [name for name in CASES if sum(row["network"] == name for row in rows) > 1]
    if not networks:
        raise ValueError(f"no network of {dtype} with several thread counts to draw")
    figure = Figure(figsize=(4.3 * len(networks), 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(networks), squeeze=False)[0]
    for ax, network in zip(axes, networks, strict=True):
        _threads_panel(ax, [row for row in rows if row["network"] == network])
        ax.set_title(title(network), fontsize=10)
    axes[0].set_ylabel("ms a step")
    axes[0].legend(frameon=False, fontsize=9)
    machine = document["machine"]
    figure.suptitle(f"time over threads, {dtype}: {machine['cpu']}, {machine['cores']} cores", fontsize=11)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)


def _threads_panel(ax: Any, rows: list[Row]) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator

    for name, (label, colour, marker) in {"jitnet": ("jitnet", "#111111", "o"), **STYLES}.items():
        there = [(row["threads"], row["peers"][name]) for row in rows if name in row["peers"]]
        if there:
            threads, peers = [at for at, _ in there], [peer for _, peer in there]
            middle = [1e3 * peer["seconds"] for peer in peers]
            below = [1e3 * (peer["seconds"] - peer["spread"]["q1"]) for peer in peers]
            above = [1e3 * (peer["spread"]["q3"] - peer["seconds"]) for peer in peers]
            ax.errorbar(
                threads, middle, (below, above), label=label, color=colour, marker=marker, markersize=5, capsize=2.5,
                linewidth=1.4,
            )  # fmt: skip
    counts = [row["threads"] for row in rows]
    alone = 1e3 * rows[0]["peers"]["jitnet"]["seconds"] * counts[0]
    ax.plot(counts, [alone / count for count in counts], ":", color="#555555", linewidth=1.2, label="~ 1 / threads")
    ax.set(xscale="log", yscale="log", xlabel="threads")
    ax.set_xticks(counts, [str(count) for count in counts])
    ax.minorticks_off()
    ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.grid(alpha=0.3)
