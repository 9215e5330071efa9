"""Networks in files: safetensors with the shape in the header, written whole or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_bytes

from jitnet.activations import Activation
from jitnet.errors import InputError
from jitnet.losses import Loss

if TYPE_CHECKING:
    from jitnet.network import Network

VERSION = "1"
"""Of the header that says what the network is."""


def save(
    path: str | Path, description: dict[str, Any], arrays: Mapping[str, NDArray[Any]], extra: Mapping[str, str] | None
) -> None:
    """Write `arrays` and the network's description, with the strings `extra` beside it; see `Network.save`.

    The file takes its name only once it is complete. Raises OSError where it cannot be written.
    """
    if not all(isinstance(each, str) for pair in (extra or {}).items() for each in pair):
        raise InputError("extra: a dict of strings by strings is wanted")
    reserved = {"jitnet", "network"} & set(extra or {})
    if reserved:
        raise InputError(f"extra: the names {sorted(reserved)} given, which jitnet uses itself")
    header = {"jitnet": VERSION, "network": json.dumps(description), **(extra or {})}
    write_whole(path, to_bytes({name: np.ascontiguousarray(array) for name, array in arrays.items()}, header))


def write_whole(path: str | Path, content: bytes) -> None:
    """Write a file so that another process sees the old one or the new one, and a failure leaves the old one."""
    path = Path(path)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def load(path: str | Path, *, activations: Sequence[Activation] = (), losses: Sequence[Loss] = ()) -> Network:
    """The network in a file that `Network.save` wrote: shape and parameters to the bit; training starts afresh.

    `activations`, `losses`: the user's own, by whose names the file knows them. Raises InputError for a file that is
    no jitnet network, is damaged, or names an own function that is not given; OSError for one that cannot be read.
    """
    return load_with_extra(path, activations=activations, losses=losses)[0]


def load_with_extra(
    path: str | Path, *, activations: Sequence[Activation] = (), losses: Sequence[Loss] = ()
) -> tuple[Network, dict[str, str]]:
    """`load`, and the strings that were saved beside the network."""
    from jitnet.network import Network  # network imports this module to save

    path = Path(path)
    with path.open("rb"):  # a missing or unreadable file is an OSError that names it
        pass
    try:
        with safe_open(str(path), framework="numpy") as file:
            header = dict(file.metadata() or {})
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except SafetensorError as error:
        raise InputError(f"{path}: not a safetensors file, or damaged ({error})") from None
    if header.pop("jitnet", None) != VERSION:
        raise InputError(f"{path}: no network that this version of jitnet knows")
    try:
        about = json.loads(header.pop("network"))
        about["activation"] = [_own_or_named(path, a, activations, Activation) for a in about["activation"]]
        about["output"] = _own_or_named(path, about["output"], activations, Activation)
        about["loss"] = _own_or_named(path, about["loss"], losses, Loss)
        layers = range(len(about["widths"]) - 1)
        start = [arrays[f"W{m}"] for m in layers], [arrays[f"b{m}"] for m in layers] if about["bias"] else None
        return Network(about.pop("widths"), init=start if about["bias"] else (start[0], None), **about), header
    except (KeyError, TypeError, ValueError, ArithmeticError, MemoryError, RecursionError) as error:
        if isinstance(error, InputError):
            raise InputError(f"{path}: {error}") from None
        raise InputError(f"{path}: the network in it is incomplete ({type(error).__name__}: {error})") from None


def _own_or_named(path: Path, row: dict[str, Any], given: Sequence[Any], kind: type) -> Any:
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
