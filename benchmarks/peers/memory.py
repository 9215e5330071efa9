"""Peak resident memory of training the 784-1024-1024-10 network, each library in a process of its own.

A small network is trained first, so that code and threads are there: large enough that jitnet runs the code that the
large one will. Then the resident size is written down and the kernel's peak set back; data, network and optimiser are
made, steps taken, and the peak is read (Linux). What it rose by is compared: the libraries themselves are no memory
of training.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from .cases import CASES, Array, Case, Problem
from .child import call
from .contest import DisagreementError, epoch_losses, make
from .report import NAMES

LIBRARIES = ("jitnet", "torch", "jax", "matrix")
NETWORK = "784-1024-1024-10"
SMALL = CASES[NETWORK]._replace(widths=(32, 32, 32, 10), points=512)
SLOTS = 2
"""Numbers that Adam keeps of each parameter."""


def measure(
    form: str, threads: int, steps: int, libraries: tuple[str, ...] = LIBRARIES, tries: int = 3
) -> dict[str, Any]:
    """The memory of each library, in bytes: of `tries` processes the median, and in `above` what each rose by.

    Raises DisagreementError where the losses are not the same.
    """
    case, rows = CASES[NETWORK], {}
    for name in libraries:
        wish = {"library": name, "form": form, "threads": threads, "steps": steps}
        several = sorted((call("memory", threads, wish) for _ in range(tries)), key=_above)
        rows[name] = {**several[tries // 2], "above": [_above(each) for each in several]}
    wanted = rows[libraries[0]]["loss"]
    for name, row in rows.items():
        if not abs(row["loss"] - wanted) <= 1e-3 * abs(wanted):
            raise DisagreementError(f"{name} came to a loss of {row['loss']}, {libraries[0]} to {wanted}")
    widths, number = case.widths, 4
    parameters = sum((n_in + 1) * n_out for n_in, n_out in pairwise(widths))
    return {
        "network": NETWORK,
        "batch": case.batch,
        "steps": steps,
        "threads": threads,
        "parameters_bytes": number * parameters,
        "activations_bytes": number * case.batch * (widths[0] + widths[-1] + 3 * sum(widths[1:])),
        "data_bytes": case.points * (number * (widths[0] + widths[-1] + 1) + 8),
        "libraries": rows,
    }


def _above(row: dict[str, Any]) -> int:
    return int(row["peak"] - row["before"])


def bound(document: dict[str, Any]) -> int:
    """Parameters x (1 + optimiser state + 1), a batch's inputs, targets, x, y and delta, and the data, in bytes."""
    states = 1 + SLOTS + 1
    return states * document["parameters_bytes"] + document["activations_bytes"] + document["data_bytes"]


def main(arguments: dict[str, Any]) -> dict[str, Any]:
    """One library's side: `before`, `peak` (bytes, resident), `loss`."""
    name, threads, steps = arguments["library"], arguments["threads"], arguments["steps"]
    _train(SMALL, name, threads, arguments["form"], 2)
    before = _resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # sets VmHWM back
    loss = _train(CASES[NETWORK], name, threads, arguments["form"], steps)
    return {"before": before, "peak": _resident("VmHWM"), "loss": loss}


def _train(case: Case, name: str, threads: int, form: str, steps: int) -> float:
    """The loss after the steps. Data and start are drawn in float32: nothing larger is ever there."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((case.points, case.widths[0]), dtype=np.float32)
    T = rng.integers(0, case.widths[-1], case.points)
    W = [_start(rng, n_in, n_out) for n_in, n_out in pairwise(case.widths)]
    b = [np.zeros(n_out, np.float32) for n_out in case.widths[1:]]
    peer = make(name, Problem(case, "float32", X, T, W, b), threads, form)
    peer.start()
    W.clear()  # the problem's list: what the peer has copied is not held twice
    b.clear()
    peer.train(steps)
    return float(epoch_losses(peer, steps)[-1])


def _start(rng: np.random.Generator, n_in: int, n_out: int) -> Array:
    W = rng.standard_normal((n_out, n_in), dtype=np.float32)
    W *= np.float32(np.sqrt(2.0 / n_in))
    return W


def _resident(field: str) -> int:
    """VmRSS (now) or VmHWM (the peak), in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(field))


def show(document: dict[str, Any]) -> None:
    """Print the table."""
    from rich.console import Console
    from rich.table import Table

    what = f"{document['network']}, float32, {document['steps']} steps of {document['batch']}, Adam"
    table = Table(title=f"{what}, {document['threads']} thread(s): resident MB", title_justify="left")
    for column in ("", "library loaded", "peak of training", "above", "/ jitnet's", "/ bound"):
        table.add_column(column, justify="right" if column else "left")
    for name, row in document["libraries"].items():
        above, middle = row["above"], _above(row)
        table.add_row(
            NAMES[name], f"{row['before'] / 1e6:.1f}", f"{row['peak'] / 1e6:.1f}",
            f"{middle / 1e6:.1f} ({above[0] / 1e6:.1f} to {above[-1] / 1e6:.1f})",
            f"{middle / _above(document['libraries']['jitnet']):.2f}", f"{middle / bound(document):.2f}",
        )  # fmt: skip
    console = Console(soft_wrap=True)
    console.width = max(console.width, 100)
    console.print(table)
    console.print(
        f"bound: parameters {document['parameters_bytes'] / 1e6:.1f} x (1 + {SLOTS} + 1) + batch's inputs, targets, x, "
        f"y, delta {document['activations_bytes'] / 1e6:.1f} + data {document['data_bytes'] / 1e6:.1f} "
        f"= {bound(document) / 1e6:.1f} MB",
        highlight=False,
    )
