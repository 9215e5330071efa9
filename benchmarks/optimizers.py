"""How long does each optimiser's update take (F10)?

Steps of one data point: each weight is used three times (F1, F7, F9) and updated once. The loops fuse F7 with the
update, so a time is of the whole step; what an optimiser costs is what it takes longer than SGD.
"""

from __future__ import annotations

from benchmarks.common import FORMS, REPEAT, Case, Training, by_profile, once, pin

version = 1

OPTIMIZERS = (
    "SGD", "Momentum", "Nesterov", "DeltaBarDelta", "AdaGrad", "RMSProp", "Adadelta", "Adam", "AdamW", "NAdam",
    "AMSGrad", "Rprop",
)  # fmt: skip
"""Every optimiser with a formula of its own (`tests/test_benchmarks.py` holds them together)."""


class Optimizers:
    """Eight steps of one data point through 256-256-256-10, 134,000 parameters, float32, one thread."""

    params = (by_profile(["Adam"], ["SGD", "Momentum", "RMSProp", "Adam", "AMSGrad"], list(OPTIMIZERS)), FORMS)
    param_names = ("optimizer", "form")
    rounds, repeat, warmup_time = 1, REPEAT, 0.0

    def setup(self, optimizer: str, form: str) -> None:
        """Compiled, and the parameters after eight steps compared with the matrix form's."""
        pin(1)
        case = Case([256, 256, 256, 10], 1, "tanh", "identity", "half_squared_error", f"{optimizer}(lr=1e-4)")
        if optimizer in ("DeltaBarDelta", "Rprop"):
            case = case._replace(optimizer=f"{optimizer}()")
        self.training = once((optimizer, form), lambda: Training(case, form, "float32"))
        self.training.reset()

    def time_eight_steps(self, optimizer: str, form: str) -> None:
        """Eight updates of every parameter, and one data point forward and backward for each."""
        self.training.run()
