"""jitnet: feed-forward neural networks trained on the CPU by backpropagation's index formulas.

>>> import jitnet as jn
>>> net = jn.Network([2, 3, 1], activation="tanh", dtype="float64")
>>> net
<Network 2 -> 3 tanh -> 1 identity; half_squared_error, mean; 13 parameters, float64>
"""

from jitnet.activations import Activation
from jitnet.callbacks import Callback, EarlyStopping, StopAtGradientNorm, StopAtLoss, TimeBudget
from jitnet.compare import Comparison, compare
from jitnet.errors import DivergenceError, InputError, MissingExtraError
from jitnet.history import History
from jitnet.losses import Loss
from jitnet.network import Network
from jitnet.optimizers import (
    GD,
    LBFGS,
    SGD,
    Adadelta,
    AdaGrad,
    Adam,
    AdamW,
    AMSGrad,
    DeltaBarDelta,
    Momentum,
    NAdam,
    Nesterov,
    RMSProp,
    Rprop,
)
from jitnet.parameters import Gradient
from jitnet.schedules import (
    Constant,
    Cosine,
    Exponential,
    InverseScaling,
    OneCycle,
    ReduceOnPlateau,
    StepDecay,
    WarmUp,
)
from jitnet.storage import load

__version__ = "0.1.0"

__all__ = [
    "GD", "LBFGS", "SGD", "AMSGrad", "Activation", "AdaGrad", "Adadelta", "Adam", "AdamW", "Callback", "Comparison",
    "Constant", "Cosine", "DeltaBarDelta", "DivergenceError", "EarlyStopping", "Exponential", "Gradient", "History",
    "InputError", "InverseScaling", "Loss", "MissingExtraError", "Momentum", "NAdam", "Nesterov", "Network",
    "OneCycle", "RMSProp", "ReduceOnPlateau", "Rprop", "StepDecay", "StopAtGradientNorm", "StopAtLoss", "TimeBudget",
    "WarmUp", "compare", "load",
]  # fmt: skip
