"""The derivation, once a form. Each form has the same functions with the same names and arguments:

forward(net, theta, X) -> x, y                    F1, F2
losses(net, x, y, T) -> L                         F3
outputs(net, theta, X) -> Y                       F1, F2: the outputs alone
outputs_and_losses(net, theta, X, T) -> Y, L      F1-F3: and what they cost
backward(net, theta, x, y, T, c) -> delta         F4-F6, F9, F5
gradient(net, X, y, delta) -> g                   F7, F8
input_gradient(net, theta, delta) -> dX           F11
jacobian(net, theta, x, y) -> J                   F12
jvp(net, theta, x, y, V) -> ydot                  F12, forward accumulation
vjp(net, theta, x, y, U) -> delta                 F12, reverse accumulation
work(net, batch, steps, dtype) -> work            buffers for training steps
steps(net, theta, data, rule, work)               training steps: all of these and F10

The tiled form has more: `skipping_pays`, `looks_for_hidden_zeros` and `outputs_and_losses_skipping_zeros` for zeros and
sparse X (inputs.py); outputs of NaN where inputs are not finite (SHOWS_BAD_INPUTS).

X (N, d) data points, T (N, n_out) targets, c (N,) the factor of each data point's loss, theta (P,) parameters;
x, y, delta (N, S) rows of all neurons (layout.py); L (N,); g (P,) laid out as theta; dX (N, d);
Y (N, n_out) outputs; J (N, n_out, d); V (N, d), ydot (N, n_out), U (N, n_out).
"""

from __future__ import annotations

import importlib
from types import ModuleType

from jitnet.errors import unknown_name

FORMS = ("plain", "tiled", "matrix")
"""The forms by name; "auto" is the one to train with."""


def get_form(name: str) -> ModuleType:
    """The form's module. Raises InputError for a name that is none."""
    if name == "auto":
        name = "tiled"
    if name not in FORMS:
        raise unknown_name("form", name, ("auto", *FORMS))
    return importlib.import_module(f"jitnet.forms.{name}")
