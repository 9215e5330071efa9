"""How long until the first step? Import, compilation, compiled code from the cache, another architecture.

Each number is of a fresh process with a cache folder of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path
from statistics import median

from benchmarks import package_folder
from benchmarks.common import INDEX_FORMS, by_profile, get_form

version = 1

FIT = """
import time
began = time.perf_counter()
import numba
numba_there = time.perf_counter()
import numpy as np
import jitnet as jn
imported = time.perf_counter()

def fit(widths):
    rng = np.random.default_rng(0)
    X, labels = rng.standard_normal((64, widths[0])), rng.integers(0, widths[-1], 64)
    net = jn.Network(widths, output="softmax", loss="cross_entropy", dtype="float32", seed=0)
    losses = net.fit(X, labels, optimizer=jn.Adam(lr=1e-3), epochs=4, batch_size=32, form=FORM)["loss"]
    assert losses[-1] < losses[0]
"""
AFTER = {
    "import": "print(imported - numba_there)",
    "fit": "fit([8, 16, 4]); print(time.perf_counter() - began)",
    "new": """
        fit([8, 16, 4])
        start = time.perf_counter()
        fit([5, 7, 9, 3])
        print(time.perf_counter() - start)
    """,
}


IMPORT = """
import time
began = time.perf_counter()
import MODULE
print(time.perf_counter() - began)
"""


def seconds(what: str, form: str, cache: str) -> float:
    """What a fresh process says of itself."""
    return run(FIT.replace("FORM", repr(form)) + textwrap.dedent(AFTER[what]), cache)


def pairs(tries: int) -> list[float]:
    """Seconds of `import jitnet` less those of `import numba`, each in a fresh process."""
    differences, modules = [], ["numba", "jitnet"]
    with tempfile.TemporaryDirectory() as cache:
        for _ in range(1 + tries):
            took = {module: run(IMPORT.replace("MODULE", module), cache) for module in modules}
            differences.append(took["jitnet"] - took["numba"])
            modules.reverse()
    return differences[1:]


def run(code: str, cache: str) -> float:
    """The last number that a fresh process prints."""
    paths = [str(package_folder().parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=cache,
        env={**os.environ, "NUMBA_CACHE_DIR": cache, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return float(done.stdout.split()[-1])


class Start:
    """Seconds. A first fit is of an 8-16-4 network, from the start of Python's imports."""

    params = (INDEX_FORMS,)
    param_names = ("form",)
    timeout = 600
    tries = by_profile(1, 3, 5)

    def setup(self, form: str) -> None:
        """An empty cache."""
        self.folder = tempfile.TemporaryDirectory()
        get_form(form)
        self.cache = self.folder.name

    def teardown(self, form: str) -> None:
        """Nothing is left."""
        self.folder.cleanup()

    def median(self, what: str, form: str) -> float:
        """Of several fresh processes with a warm cache."""
        return median(seconds(what, form, self.cache) for _ in range(self.tries))

    def track_cold_first_fit(self, form: str) -> float:
        """Everything is compiled."""
        return seconds("fit", form, self.cache)

    def track_warm_first_fit(self, form: str) -> float:
        """Compiled code comes from the cache, and none is added to it."""
        seconds("fit", form, self.cache)
        files = sorted(Path(self.cache).rglob("*.nbc"))
        assert files
        said = self.median("fit", form)
        assert sorted(Path(self.cache).rglob("*.nbc")) == files
        return said

    def track_new_architecture(self, form: str) -> float:
        """Another network in the same process; its cache has nothing to add either."""
        seconds("fit", form, self.cache)
        files = sorted(Path(self.cache).rglob("*.nbc"))
        said = self.median("new", form)
        assert sorted(Path(self.cache).rglob("*.nbc")) == files
        return said

    for each in (track_cold_first_fit, track_warm_first_fit, track_new_architecture):
        each.unit = "seconds"
    del each


class Import:
    """Seconds that `import jitnet` takes beyond `import numba`, in fresh processes.

    The first processes, which read files from disk, are not counted.
    """

    tries = by_profile(1, 7, 15)

    def track_import_beyond_numba(self) -> float:
        """In processes that have imported Numba before."""
        with tempfile.TemporaryDirectory() as cache:
            said = [seconds("import", "auto", cache) for _ in range(1 + self.tries)]
        return median(said[1:])

    def track_import_less_that_of_numba(self) -> float:
        """A process that imports jitnet less one that imports Numba, in pairs whose order changes."""
        return median(pairs(self.tries))

    track_import_beyond_numba.unit = "seconds"
    track_import_less_that_of_numba.unit = "seconds"
