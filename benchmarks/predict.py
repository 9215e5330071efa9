"""How fast does a trained network answer: one row at once (latency), and many (throughput)?"""

from __future__ import annotations

import numpy as np

from benchmarks.common import (
    FORMS,
    MIDDLE,
    NETWORKS,
    REPEAT,
    SMALL,
    THREADS,
    WIDE,
    assert_close,
    by_profile,
    get_form,
    lay_out,
    make_network,
    once,
    pin,
)

version = 1


class Predict:
    """`Network.predict`, with its checks of the input, float32."""

    params = (
        by_profile([SMALL[1]], [SMALL[1], MIDDLE], [SMALL[1], MIDDLE, WIDE]),
        FORMS,
        ["1 row", "10000 rows"],
        THREADS,
    )
    param_names = ("network", "form", "rows", "threads")
    timeout = 300
    rounds, repeat, warmup_time = 1, REPEAT, 0.0

    def setup(self, network: str, form: str, rows: str, threads: int) -> None:
        """Compiled, and the outputs compared with those of the matrix form."""
        pin(threads)
        get_form(form)
        case = NETWORKS[network]
        self.net = once(network, lambda: make_network(case, "float32"))
        X = np.random.default_rng(0).standard_normal((int(rows.split()[0]), case.widths[0])).astype(np.float32)
        self.X = once((network, rows), lambda: lay_out(X))
        once(("checked", network, rows, form), lambda: self.check(form))

    def check(self, form: str) -> bool:
        """Against the matrix form."""
        assert_close(self.net.predict(self.X, form=form), self.net.predict(self.X, form="matrix"), "float32", form)
        return True

    def time_predict(self, network: str, form: str, rows: str, threads: int) -> None:
        """All rows in one call."""
        self.net.predict(self.X, form=form)
