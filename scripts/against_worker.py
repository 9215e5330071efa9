"""One side of `scripts/benchmark --against`: times benchmarks of this suite on the jitnet of the tree that it is given.

    python scripts/against_worker.py TREE

Orders come in as JSON lines, answers go out as JSON lines:

    {"list": null}                                       every benchmark of the profile: [[name, parameters], ...]
    {"prepare": [name, parameters]}                      set up: {"ok": true}, or {"skip": why}
    {"run": [name, parameters, times]}                   seconds of `times` calls
    {"count": [name, parameters, times]}                 the same calls between two calls of `mark`, for valgrind
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import inspect
import itertools
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FILES = ("training_step", "kernels", "activations", "vector_math", "optimizers", "predict", "scaling", "sparse", "fit")
"""The files with calls to time."""


def mark() -> None:
    """Call a function of the C library that nothing else calls: valgrind is told to look for it."""
    ctypes.CDLL(None).srand48(1)


class Worker:
    """Benchmarks by name and parameters, set up once."""

    def __init__(self) -> None:
        self.ready: dict[str, tuple[Any, Any]] = {}

    def list(self, _: None) -> list[tuple[str, list[Any]]]:
        """Every time_ benchmark with each of its parameters."""
        found = []
        for file in FILES:
            module = importlib.import_module(f"benchmarks.{file}")
            for name, cls in inspect.getmembers(module, inspect.isclass):
                if cls.__module__ != module.__name__ or name.startswith("_"):
                    continue
                for method in (each for each in dir(cls) if each.startswith("time_")):
                    for parameters in itertools.product(*cls.params):
                        found.append((f"{file}.{name}.{method}", list(parameters)))
        return found

    def prepare(self, order: tuple[str, list[Any]]) -> dict[str, Any]:
        """Build, compile, check: what asv's setup does."""
        name, parameters = order
        file, cls, method = name.split(".")
        benchmark = getattr(importlib.import_module(f"benchmarks.{file}"), cls)()
        try:
            benchmark.setup(*parameters)
        except NotImplementedError as why:
            return {"skip": str(why)}
        getattr(benchmark, method)(*parameters)
        self.ready[json.dumps(order)] = benchmark, getattr(benchmark, method)
        return {"ok": True}

    def run(self, order: tuple[str, list[Any], int]) -> float:
        """Seconds of so many calls: of this process alone where it has one thread, else by the clock on the wall."""
        name, parameters, times = order
        benchmark, call = self.ready[json.dumps([name, parameters])]
        benchmark.setup(*parameters)  # the initial weights again, and the cores that it may use
        alone = len(os.sched_getaffinity(0)) == 1 if hasattr(os, "sched_getaffinity") else False
        clock = time.process_time if alone else time.perf_counter
        call(*parameters)  # and what the other process left in the cache is gone
        gc.disable()
        began = clock()
        for _ in range(times):
            call(*parameters)
        seconds = clock() - began
        gc.enable()
        return seconds

    def count(self, order: tuple[str, list[Any], int]) -> int:
        """Mark, so many calls, mark."""
        name, parameters, times = order
        benchmark, call = self.ready[json.dumps([name, parameters])]
        benchmark.setup(*parameters)
        mark()
        for _ in range(times):
            call(*parameters)
        mark()
        return times


def main() -> None:
    """Answer orders until there are no more."""
    tree = Path(sys.argv[1]).resolve()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever prints, prints to the terminal
    sys.path[:1] = [str(tree), str(ROOT)]  # jitnet from the tree, benchmarks from here
    benchmarks = importlib.import_module("benchmarks")
    assert benchmarks.package_folder() == tree / "jitnet", benchmarks.package_folder()
    worker = Worker()
    for line in sys.stdin:
        ((order, argument),) = json.loads(line).items()
        print(json.dumps(getattr(worker, order)(argument)), file=answers, flush=True)


if __name__ == "__main__":
    main()
