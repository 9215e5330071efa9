"""The formulas that both index forms compile, written once, without Numba, in files of their own.

Importing this file lets compiled code call them.
"""

from __future__ import annotations

from jitnet import activations, losses
from jitnet._jit import callable_from_kernels
from jitnet.layout import all_finite, biases, hash64, neurons, parameters, silence_number, weights
from jitnet.optimizers import FORMULAS

callable_from_kernels(*activations.SCALARS, *losses.SCALARS, *FORMULAS)
callable_from_kernels(all_finite, weights, biases, neurons, parameters, hash64, silence_number)
