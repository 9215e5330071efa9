"""Files on disk: written whole or not at all; and the safetensors file that holds a network."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_bytes

from jitnet.errors import InputError

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
    """Write a file so that another process sees the old one or the new one, and a failure leaves the old one.

    What a link leads to is written. Raises InputError for the name of a folder, a device or the like, and OSError, with
    this path, where the file cannot be written.
    """
    try:
        target = Path(os.path.realpath(path))
        if target.is_symlink():
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        if target.exists() and not target.is_file():
            kind = "a folder" if target.is_dir() else "no regular file"
            raise InputError(f"path: {os.fspath(path)!r} given, which is {kind}; the name of a file is wanted")
        _write_and_rename(target, content)
    except OSError as error:  # it names the temporary file, or none
        raise OSError(error.errno, error.strerror, os.fspath(path)) from None


def _write_and_rename(target: Path, content: bytes) -> None:
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise


def read(path: str | Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]], dict[str, str]]:
    """What `save` wrote: description, arrays and extra strings.

    Raises InputError for a file that is no jitnet network or is damaged; OSError for one that cannot be read.
    """
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
        return json.loads(header.pop("network")), arrays, header
    except (KeyError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: the network in it is incomplete ({type(error).__name__}: {error})") from None
