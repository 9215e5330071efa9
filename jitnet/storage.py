"""Networks from files: the other half of `Network.save`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jitnet import files
from jitnet.activations import Activation
from jitnet.errors import InputError, check_names
from jitnet.losses import Loss
from jitnet.network import Network


def load(path: str | Path, *, activations: Sequence[Activation] = (), losses: Sequence[Loss] = ()) -> Network:
    """The network in a file that `Network.save` wrote: shape and parameters to the bit; training starts afresh.

    Its `extra` has the strings that were saved beside it, such as what the command line knows of the data's columns.

    `activations`, `losses`: the user's own, by whose names the file knows them. Raises InputError for a file that is
    no jitnet network, is damaged, or names an own function that is not given, and for two of one name; OSError for one
    that cannot be read.
    """
    for argument, given, kind in (("activations", activations, Activation), ("losses", losses, Loss)):
        if not isinstance(given, Sequence) or not all(isinstance(each, kind) for each in given):
            raise InputError(f"{argument}: {given!r} given, a list of jitnet.{kind.__name__} is wanted")
        check_names(argument, given)
    about, arrays, extra = files.read(path)
    try:
        about["activation"] = [_own_or_named(a, activations, Activation) for a in about["activation"]]
        about["output"] = _own_or_named(about["output"], activations, Activation)
        about["loss"] = _own_or_named(about["loss"], losses, Loss)
        layers = range(len(about["widths"]) - 1)
        start = [arrays[f"W{m}"] for m in layers], [arrays[f"b{m}"] for m in layers] if about["bias"] else None
        net = Network(about.pop("widths"), init=start if about["bias"] else (start[0], None), **about)
    except (KeyError, TypeError, ValueError, ArithmeticError, MemoryError, RecursionError) as error:
        if isinstance(error, InputError):
            raise InputError(f"{path}: {error}") from None
        raise InputError(f"{path}: the network in it is incomplete ({type(error).__name__}: {error})") from None
    net.extra = extra
    return net


def _own_or_named(row: dict[str, Any], given: Sequence[Any], kind: type) -> Any:
    """The user's own function of that name, or the table's with its parameters."""
    if not row.pop("own", False):
        return kind(**row)
    for each in given:
        if each.name == row["name"]:
            return each
    what = "activations" if kind is Activation else "losses"
    raise InputError(
        f"uses your own {what[:-1] if kind is Activation else 'loss'} {row['name']!r}: give it to load in {what}=[...]"
    )
