"""How long does `fit` take, as it is called from Python: checks, buffers, shuffling, and what else it is asked for?"""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np

from benchmarks.common import (
    FORMS,
    MIDDLE,
    NETWORKS,
    REPEAT,
    by_profile,
    get_form,
    make_network,
    make_optimizer,
    once,
    pin,
    skip,
)

version = 1

CASE = NETWORKS[MIDDLE]
POINTS = 20 * CASE.batch
ASKED: dict[str, dict[str, Any]] = {
    "nothing more": {},
    "l1, l2": {"l1": 1e-5, "l2": 1e-4},
    "clip_norm": {"clip_norm": 0.1},
    "dropout": {"dropout": 0.5},
    "sample_weight": {"sample_weight": np.linspace(0.5, 1.5, POINTS)},
    "validation": {"validation": True, "metrics": ["accuracy"]},
    "L-BFGS": {"optimizer": "lbfgs", "batch_size": None, "epochs": 3},
}


class Fit:
    """784-128-10, Adam: an epoch of 20 batches of 128 (L-BFGS: three steps on all 2,560), float32, one thread."""

    params = (by_profile(["nothing more", "dropout"], list(ASKED), list(ASKED)), FORMS)
    param_names = ("asked", "form")
    timeout = 300
    rounds, repeat, warmup_time = 1, REPEAT, 0.0

    def setup(self, asked: str, form: str) -> None:
        """A new network; the form is compiled, and the loss it comes to compared with the matrix form's."""
        pin(1)
        get_form(form)
        if asked == "L-BFGS" and importlib.util.find_spec("scipy") is None:
            raise skip("no scipy here: asv's environments have none, --against times it")
        once(("checked", asked, form), lambda: self.check(asked, form))
        self.prepare(asked)

    def prepare(self, asked: str) -> None:
        """The same weights and data for every call."""
        self.net = make_network(CASE, "float32")
        self.X, self.T, self.given = once(asked, lambda: self.arguments(asked))

    def arguments(self, asked: str) -> tuple[Any, Any, dict[str, Any]]:
        """Of `fit`: data points, labels, and the rest."""
        rng = np.random.default_rng(0)
        X, T = rng.standard_normal((POINTS, CASE.widths[0]), np.float32), rng.integers(0, CASE.widths[-1], POINTS)
        given = {"optimizer": make_optimizer(CASE.optimizer), "epochs": 1, "batch_size": CASE.batch, **ASKED[asked]}
        if "validation" in given:
            given["validation"] = X[: 2 * CASE.batch], T[: 2 * CASE.batch]
        return X, T, given

    def check(self, asked: str, form: str) -> bool:
        """The way that the loss goes is as far as the matrix form's, to a hundredth."""
        losses = []
        for each in (form, "matrix"):
            self.prepare(asked)
            start = self.net.loss(self.X, self.T)
            self.time_fit(asked, each)
            losses.append(self.net.loss(self.X, self.T))
        ours, theirs = losses
        assert abs(ours - theirs) < 0.01 * abs(start - theirs), f"{asked}: {start:.4f} -> {ours:.4f}, not {theirs:.4f}"
        return True

    def time_fit(self, asked: str, form: str) -> None:
        """One call."""
        self.net.fit(self.X, self.T, form=form, **self.given)
