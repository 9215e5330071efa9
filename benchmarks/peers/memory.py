"""Peak resident memory of training the 784-1024-1024-10 network, each library in a process of its own.

A tiny network is trained first, so that code and threads are there. Then the resident size is written down and the
kernel's peak set back; data, network and optimiser are made, steps taken, and the peak is read (Linux).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from .cases import CASES, Array, Case, Problem
from .child import call
from .contest import DisagreementError, epoch_losses, make

LIBRARIES = ("jitnet", "torch", "jax", "matrix")
NETWORK = "784-1024-1024-10"


def measure(form: str, threads: int, steps: int, libraries: tuple[str, ...] = LIBRARIES) -> dict[str, Any]:
    """The memory of each library, in bytes; raises DisagreementError where the losses are not the same."""
    case = CASES[NETWORK]
    rows = {
        name: call("memory", threads, {"library": name, "form": form, "threads": threads, "steps": steps})
        for name in libraries
    }
    wanted = rows[libraries[0]]["loss"]
    for name, row in rows.items():
        if not abs(row["loss"] - wanted) <= 1e-3 * abs(wanted):
            raise DisagreementError(f"{name} came to a loss of {row['loss']}, {libraries[0]} to {wanted}")
    parameters = sum((n_in + 1) * n_out for n_in, n_out in zip(case.widths[:-1], case.widths[1:], strict=True))
    return {
        "network": NETWORK,
        "batch": case.batch,
        "steps": steps,
        "threads": threads,
        "parameters_bytes": 4 * parameters,
        "data_bytes": 4 * case.points * (case.widths[0] + case.widths[-1]),
        "libraries": rows,
    }


def main(arguments: dict[str, Any]) -> dict[str, Any]:
    """One library's side: `before`, `peak` (bytes, resident), `loss`."""
    name, threads, steps = arguments["library"], arguments["threads"], arguments["steps"]
    tiny = CASES[NETWORK]._replace(widths=(8, 8, 8, 4), batch=8, points=16)
    _train(tiny, name, threads, arguments["form"], 2)
    before = _resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # sets VmHWM back
    loss = _train(CASES[NETWORK], name, threads, arguments["form"], steps)
    return {"before": before, "peak": _resident("VmHWM"), "loss": loss}


def _train(case: Case, name: str, threads: int, form: str, steps: int) -> float:
    """The loss after the steps. Data and start are drawn in float32: nothing larger is ever there."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((case.points, case.widths[0]), dtype=np.float32)
    T = rng.integers(0, case.widths[-1], case.points)
    W = [_start(rng, n_in, n_out) for n_in, n_out in zip(case.widths[:-1], case.widths[1:], strict=True)]
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

    what = f"{document['network']}, float32, {document['steps']} steps of {document['batch']}"
    table = Table(title=f"{what}, resident MB", title_justify="left")
    for column in ("", "before data and network", "peak", "difference"):
        table.add_column(column, justify="right" if column else "left")
    for name, row in document["libraries"].items():
        sizes = row["before"], row["peak"], row["peak"] - row["before"]
        table.add_row(name, *(f"{size / 1e6:.1f}" for size in sizes))
    console = Console(soft_wrap=True)
    console.print(table)
    console.print(
        f"parameters {document['parameters_bytes'] / 1e6:.1f} MB (with Adam's two means and a gradient "
        f"{4 * document['parameters_bytes'] / 1e6:.1f}), data {document['data_bytes'] / 1e6:.1f} MB"
    )
