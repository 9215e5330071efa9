"""One network in a process of its own, with its threads pinned before anything is imported: see `environment`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "NPROC")
"""PyTorch's OpenMP, its MKL, NumPy's OpenBLAS, Numba, XLA's CPU client (whose pool has NPROC threads)."""

SLOWS_NUMPY = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
"""Taken out: they choose kernels of OpenBLAS that may not be the machine's best."""


def environment(threads: int) -> dict[str, str]:
    """What a process with so many threads finds set."""
    kept = {key: value for key, value in os.environ.items() if key not in SLOWS_NUMPY}
    return kept | dict.fromkeys(THREAD_VARIABLES, str(threads)) | {"JAX_PLATFORMS": "cpu"}


@contextmanager
def cores(threads: int) -> Iterator[None]:
    """Children started inside may use that many cores and no others, whatever their libraries believe (Linux)."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    if threads > len(before):
        raise ValueError(f"{threads} threads on {len(before)} cores")
    os.sched_setaffinity(0, sorted(before)[:threads])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def call(module: str, threads: int, arguments: dict[str, Any]) -> dict[str, Any]:
    """Run `module`.main(arguments) in a process of its own and return its dictionary.

    Raises subprocess.CalledProcessError where the process fails; what it says goes to stderr as it is.
    """
    with tempfile.TemporaryDirectory() as folder, cores(threads):
        answer = Path(folder) / "answer.json"
        command = [sys.executable, "-m", __spec__.name, module, json.dumps(arguments), str(answer)]
        subprocess.run(command, check=True, env=environment(threads))
        result: dict[str, Any] = json.loads(answer.read_text())
        return result


def main() -> None:
    """The process's side of `call`."""
    from importlib import import_module

    module, arguments, answer = sys.argv[1:]
    result = import_module(f".{module}", __package__).main(json.loads(arguments))
    Path(answer).write_text(json.dumps(result))


if __name__ == "__main__":
    main()
