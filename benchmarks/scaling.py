"""How does a training step grow with the data points N, the width and the depth of the network?"""

from __future__ import annotations

from benchmarks.common import FORMS, REPEAT, Case, Training, by_profile, once, pin

version = 1

SIZES = {
    "N": by_profile([64], [1, 8, 64, 512, 4096], [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096]),
    "width": by_profile([128], [4, 16, 64, 256], [4, 8, 16, 32, 64, 128, 256, 512, 1024]),
    "depth": by_profile([4], [1, 4, 16], [1, 2, 4, 8, 16, 32]),
}


def case_of(widths: list[int], N: int) -> Case:
    """A regression with tanh, trained by gradient descent."""
    return Case(widths, N, "tanh", "identity", "half_squared_error", "SGD(lr=1e-4)")


class _Scaling:
    param_names = ("size", "form")
    timeout = 300
    rounds, repeat, warmup_time = 1, REPEAT, 0.0
    training: Training

    def prepare(self, case: Case, form: str) -> None:
        """Compiled, checked against the matrix form, back at the initial weights."""
        pin(1)
        self.training = once((tuple(case.widths), case.batch, form), lambda: Training(case, form, "float32"))
        self.training.reset()

    def time_eight_steps(self, size: int, form: str) -> None:
        """Eight steps, each on a batch of its own."""
        self.training.run()


class DataPoints(_Scaling):
    """N data points a step, 32-64-64-8, float32, one thread."""

    params = (SIZES["N"], FORMS)
    param_names = ("N", "form")

    def setup(self, N: int, form: str) -> None:
        """The network and 8 N data points."""
        self.prepare(case_of([32, 64, 64, 8], N), form)


class Width(_Scaling):
    """Two hidden layers of a width, 64 data points, float32, one thread."""

    params = (SIZES["width"], FORMS)
    param_names = ("width", "form")

    def setup(self, width: int, form: str) -> None:
        """The network and its data."""
        self.prepare(case_of([width, width, width, width], 64), form)


class Depth(_Scaling):
    """Hidden layers of 32, 64 data points, float32, one thread."""

    params = (SIZES["depth"], FORMS)
    param_names = ("depth", "form")

    def setup(self, depth: int, form: str) -> None:
        """The network and its data."""
        self.prepare(case_of([32] * (depth + 2), 64), form)
