"""Fashion-MNIST from Debian's package dataset-fashion-mnist, found or fetched as scripts/fashion-mnist does."""

from __future__ import annotations

import gzip
import shutil
import subprocess
from pathlib import Path

import numpy as np

from .cases import CASES, Array, Problem, with_start
from .peer import LeftOut

DATA = Path(".data")
FOLDERS = (
    Path("/usr/share/datasets/fashion-mnist"),
    DATA / "fashion-mnist",
    DATA / "fashion-mnist/usr/share/datasets/fashion-mnist",
)


def problem(dtype: str) -> Problem:
    """60,000 images to train on and 10,000 to test, pixels / 255 (a black pixel stays 0), and the start."""
    folder = _find() or _fetch()
    X, X_test = ((_idx(folder, f"{part}-images-idx3-ubyte") / 255.0).astype(dtype) for part in ("train", "t10k"))
    T, T_test = (_idx(folder, f"{part}-labels-idx1-ubyte").astype(np.intp) for part in ("train", "t10k"))
    images = X.reshape(len(X), -1), X_test.reshape(len(X_test), -1)
    return with_start(Problem(CASES["fashion-mnist"], dtype, images[0], T, [], [], images[1], T_test))


def _find() -> Path | None:
    name = "t10k-labels-idx1-ubyte"
    there = (each for each in FOLDERS if (each / name).exists() or (each / f"{name}.gz").exists())
    return next(there, None)


def _fetch() -> Path:
    """Unpack the package into .data, without root."""
    if shutil.which("apt-get") is None:
        raise LeftOut("Fashion-MNIST is not in .data/fashion-mnist, and there is no apt-get to fetch it with")
    DATA.mkdir(exist_ok=True)
    try:
        subprocess.run(["apt-get", "download", "--quiet", "dataset-fashion-mnist"], cwd=DATA, check=True)
        package = next(DATA.glob("dataset-fashion-mnist_*.deb"))
        subprocess.run(["dpkg-deb", "--extract", package.name, "fashion-mnist"], cwd=DATA, check=True)
    except subprocess.CalledProcessError as error:
        raise LeftOut(f"Fashion-MNIST could not be fetched: {error}") from error
    return FOLDERS[2]


def _idx(folder: Path, name: str) -> Array:
    """An IDX file of bytes, plain or gzipped: two zeros, the type, the number of axes, their lengths, the bytes."""
    path = folder / name
    data = path.read_bytes() if path.exists() else gzip.decompress((folder / f"{name}.gz").read_bytes())
    axes = data[3]
    shape = np.frombuffer(data, ">u4", axes, 4).astype(int)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * axes).reshape(shape)
