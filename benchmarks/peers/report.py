"""The tables, for the terminal and for the README, from the rows of the JSON file; several files made one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from .cases import CASES, EPOCH, FLOAT64_AT_LEAST, PREDICT

Row = dict[str, Any]

NAMES = {
    "jitnet": "jitnet", "jax": "JAX", "sklearn": "scikit-learn", "torch": "PyTorch", "compile": "compiled",
    "matrix": "NumPy form",
}  # fmt: skip
"""Columns, in order."""

MOST_OF_OTHERS = 0.15
"""Cores that other processes may keep busy, in the median over a peer's runs."""

RULES = {"adam": "Adam", "sgd": "SGD"}


def ratios(row: Row) -> dict[str, float]:
    """How many times as long as jitnet each peer takes. The matrix form is jitnet's own: not among them."""
    ours = row["peers"]["jitnet"]["seconds"]
    return {k: peer["seconds"] / ours for k, peer in row["peers"].items() if k not in ("jitnet", "matrix")}


def best(row: Row) -> float:
    """Best peer / jitnet; NaN without peers."""
    return min(ratios(row).values(), default=float("nan"))


def wanted(row: Row) -> tuple[float, float | None]:
    """What the ratio is to be at least, and the goal (float32 only)."""
    if row["dtype"] == "float64":
        return FLOAT64_AT_LEAST, None
    case = CASES[row["network"]]
    return case.at_least, case.goal


def title(network: str) -> str:
    """What a row is called: network, batch and optimiser, or what else is timed."""
    case = CASES[network]
    widths = "-".join(map(str, case.widths))
    if case.kind == EPOCH:
        return f"{widths}, an epoch of Fashion-MNIST"
    if case.kind == PREDICT:
        return f"{widths}, predict {case.batch:,} rows"
    return f"{widths}, {'all ' * (case.batch == case.points)}{case.batch:,}, {RULES[case.optimizer]}"


def key(row: Row) -> tuple[str, str, int]:
    """What a file has one row of."""
    return row["network"], row["dtype"], row["threads"]


def merged(documents: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The rows of several JSON files as one document; of rows alike the last.

    Raises ValueError where machine or versions differ.
    """
    rows: dict[tuple[str, str, int], Row] = {}
    for document in documents:
        if document["machine"] != documents[0]["machine"]:
            raise ValueError("the results are from different machines or versions: they make no table")
        for row in document["rows"]:
            rows.pop(key(row), None)
            rows[key(row)] = row
    there = {network for network, _, _ in rows}
    skipped = {line for document in documents for line in document.get("skipped", [])}
    return {
        "machine": documents[0]["machine"],
        "rows": list(rows.values()),
        "skipped": sorted(line for line in skipped if line.partition(":")[0] not in there),
    }


def disturbed(peer: Row) -> bool:
    """Whether other processes took so much of the machine that the times are not to be quoted."""
    return bool(peer["cores_of_others"] > MOST_OF_OTHERS)


def groups(rows: list[Row]) -> Iterator[tuple[str, int, list[Row]]]:
    """Rows of one dtype and thread count, in the order of the table."""
    kinds = sorted({(row["dtype"], row["threads"]) for row in rows})
    for dtype, threads in kinds:
        chosen = [row for row in rows if (row["dtype"], row["threads"]) == (dtype, threads)]
        yield dtype, threads, sorted(chosen, key=lambda row: list(CASES).index(row["network"]))


def show(document: dict[str, Any]) -> None:
    """Print a table of times and a table of GFLOP/s for each dtype and thread count."""
    from rich.console import Console

    console = Console(soft_wrap=True)
    console.width = max(console.width, 160)  # a table that is cut says nothing
    machine = document["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    console.print(f"{machine['cpu']}, {machine['cores']} cores; {versions}", highlight=False)
    for dtype, threads, rows in groups(document["rows"]):
        console.print(_times(rows, f"{dtype}, {threads} thread{'s' * (threads > 1)}"))
        console.print(
            _speeds(rows, f"GFLOP/s and share of the FMA peak, {dtype}, {threads} thread{'s' * (threads > 1)}")
        )
    reasons = {f"{NAMES[name]}: {why}" for row in document["rows"] for name, why in row["left_out"].items()}
    busy = {title(row["network"]) for row in document["rows"] for peer in row["peers"].values() if disturbed(peer)}
    for name in sorted(busy):
        console.print(f"[red]disturbed[/]: other processes had more than {MOST_OF_OTHERS} cores during {name}")
    for line in sorted(reasons) + document.get("skipped", []):
        console.print(f"left out: {line}", highlight=False)


def markdown(document: dict[str, Any]) -> str:
    """The README's tables, one for each dtype: microseconds, a line for each network and thread count."""
    rows = document["rows"]
    return "\n\n".join(_markdown(rows, dtype) for dtype in sorted({row["dtype"] for row in rows}))


def _markdown(rows: list[Row], dtype: str) -> str:
    chosen = [row for row in rows if row["dtype"] == dtype]
    chosen.sort(key=lambda row: (list(CASES).index(row["network"]), row["threads"]))
    names = _columns(chosen)
    heading = [f"{dtype}: network, batch, optimiser", "threads", *(NAMES[name] for name in names), "best peer / jitnet"]
    lines = [heading, ["---"] * len(heading)]
    for row in chosen:
        times = [_three_digits(peer["seconds"]) if (peer := row["peers"].get(name)) else "" for name in names]
        lines.append([title(row["network"]), str(row["threads"]), *times, f"{best(row):.2f}"])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines).replace(" --- ", "---")


def _three_digits(seconds: float) -> str:
    """Microseconds; below 100 to a tenth."""
    value = seconds * 1e6
    return f"{float(f'{value:.3g}'):,.0f}" if value >= 100 else f"{value:.1f}"


def _table(heading: str, *columns: str) -> Any:
    from rich.table import Table

    table = Table(title=heading, title_justify="left")
    for k, column in enumerate(columns):
        table.add_column(column, justify="right" if k else "left", no_wrap=True)
    return table


def _columns(rows: list[Row]) -> list[str]:
    return [name for name in NAMES if any(name in row["peers"] for row in rows)]


def _times(rows: list[Row], heading: str) -> Any:
    """Microseconds, and the ratio."""
    names = _columns(rows)
    table = _table(
        f"{heading}: microseconds, median ± half the interquartile range",
        "",
        *(NAMES[name] for name in names),
        "best / jitnet",
        "least",
        "goal",
    )
    for row in rows:
        cells = [_time(row["peers"].get(name)) for name in names]
        at_least, goal = wanted(row)
        ratio = best(row)
        colour = "green" if ratio >= at_least else "red"
        table.add_row(
            title(row["network"]), *cells, f"[{colour}]{ratio:.2f}[/]", f"{at_least:g}", f"{goal:g}" if goal else ""
        )
    return table


def _time(peer: Row | None) -> str:
    """The median, and half the distance between the quartiles in percent of it."""
    if peer is None:
        return "-"
    spread = (peer["spread"]["q3"] - peer["spread"]["q1"]) / 2
    return f"{_number(peer['seconds'])} ±{spread / peer['seconds']:.0%}"


def _number(seconds: float) -> str:
    """Microseconds with three digits."""
    value = seconds * 1e6
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _speeds(rows: list[Row], heading: str) -> Any:
    names = _columns(rows)
    table = _table(heading, "", *(NAMES[name] for name in names), "peak")
    for row in rows:
        peers = [row["peers"].get(name) for name in names]
        cells = [f"{peer['gflops']:.3g} {peer['of_peak']:4.0%}" if peer else "-" for peer in peers]
        table.add_row(title(row["network"]), *cells, f"{row['peak_gflops']:.0f}")
    return table
