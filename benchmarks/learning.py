"""Does it still learn the same? Loss and accuracy after a training whose data, start and order are fixed."""

from __future__ import annotations

import numpy as np

import jitnet as jn
from benchmarks.common import DTYPES, FORMS, get_form, pin

version = 2


def rings(points: int, classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Noisy rings around the origin in the plane, one a class: no straight line parts them."""
    rng = np.random.default_rng(seed)
    labels = np.arange(points) % classes
    radius, angle = labels + 1 + 0.2 * rng.standard_normal(points), rng.uniform(0, 2 * np.pi, points)
    X = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return X / X.std(), labels


class Learning:
    """2-32-32-4 on 2,000 points of four rings, 40 epochs of Adam."""

    params = (FORMS, DTYPES)
    param_names = ("form", "dtype")
    timeout = 300

    def setup(self, form: str, dtype: str) -> None:
        """The training itself."""
        pin(1)
        get_form(form)
        net = jn.Network([2, 32, 32, 4], activation="tanh", output="softmax", loss="cross_entropy", dtype=dtype, seed=0)
        net.fit(*rings(2000, 4, seed=0), optimizer=jn.Adam(lr=1e-2), epochs=40, batch_size=50, shuffle=False, form=form)
        self.net, (self.X, self.labels) = net, rings(2000, 4, seed=1)

    def track_loss(self, form: str, dtype: str) -> float:
        """Mean cross-entropy on other points."""
        return float(self.net.loss(self.X, self.labels))

    def track_accuracy(self, form: str, dtype: str) -> float:
        """On other points."""
        return float((self.net.predict(self.X).argmax(axis=1) == self.labels).mean())

    track_loss.unit = "loss"
    track_accuracy.unit = "share"
