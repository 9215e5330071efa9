"""The airspeed velocity suite: a file a question. README.md here says how to run it and what its numbers mean.

This runs before anything imports Numba: compiled code is kept under a digest of the sources of the very jitnet that is
timed, so that no other commit's code is ever run.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
"""The tree that this suite belongs to; the jitnet that is timed may be another commit's, elsewhere."""


def source_digest(package: Path) -> str:
    """SHA-256, shortened, of every Python file of a package."""
    digest = hashlib.sha256()
    for file in sorted(package.rglob("*.py")):
        digest.update(file.relative_to(package).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]


def package_folder() -> Path:
    """Where the jitnet that is timed lies."""
    found = importlib.util.find_spec("jitnet")
    if found is None or found.origin is None:
        raise ImportError("no jitnet to time: install it, or put its folder on PYTHONPATH")
    return Path(found.origin).parent


def compiled_code() -> Path:
    """The folder for compiled code of the jitnet that is timed, and of no other."""
    return ROOT / ".asv" / "numba" / source_digest(package_folder())


os.environ["NUMBA_CACHE_DIR"] = str(compiled_code())
