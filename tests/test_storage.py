"""Networks in files: to the bit, with a user's own functions, whole or not at all; damaged or foreign files refused."""

from __future__ import annotations

import errno
import json
import os
import pickle
import re
import stat
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

import jitnet as jn

OWN = jn.Activation("mine", g=lambda x: x + 0.1 * x * x * x, dg=lambda x: 1.0 + 0.3 * x * x)
OWN_LOSS = jn.Loss("fourth", value=lambda y, t: (y - t) ** 4, derivative=lambda y, t: 4.0 * (y - t) ** 3)

NETWORKS: dict[str, dict[str, Any]] = {
    "plain": {},
    "float64": {"dtype": "float64"},
    "without bias": {"bias": False, "reduction": "sum"},
    "one layer": {"widths": [3, 2]},
    "classifier": {"output": "softmax", "loss": "cross_entropy", "seed": 7},
    "parameters": {
        "activation": [jn.Activation("leaky_relu", slope=0.1), jn.Activation("elu", alpha=1 / 3)],
        "loss": jn.Loss("quantile", q=0.123456789),
    },
    "own": {"activation": [OWN, "tanh"], "output": OWN, "loss": OWN_LOSS, "dtype": "float64"},
}


def network(**settings: Any) -> jn.Network:
    return jn.Network(settings.pop("widths", [3, 5, 4, 2]), **{"init": "gaussian", **settings})


def load(path: Path) -> jn.Network:
    return jn.load(path, activations=[OWN], losses=[OWN_LOSS])


@pytest.mark.parametrize("name", NETWORKS)
def test_round_trip_to_the_bit(name: str, tmp_path: Path) -> None:
    net = network(**NETWORKS[name])
    net.theta[:3] = [np.pi, 1e-45, -0.0]
    path = tmp_path / "net.safetensors"
    net.save(path)
    back = load(path)
    assert back.theta.dtype == net.theta.dtype
    assert back.theta.tobytes() == net.theta.tobytes()
    assert back.describe() == net.describe()
    assert repr(back) == repr(net)
    X = np.random.default_rng(0).normal(size=(4, 3))
    T = np.array([0, 1, 1, 0]) if name == "classifier" else X[:, :2]
    assert back.predict(X).tobytes() == net.predict(X).tobytes()
    assert back.loss(X, T) == net.loss(X, T)
    for net_ in (net, back):
        net_.fit(X, T, epochs=2)
    assert back.theta.tobytes() == net.theta.tobytes()


def test_what_is_in_the_file(tmp_path: Path) -> None:
    net = network()
    net.save(str(tmp_path / "net"), extra={"scaler": "[1, 2]"})
    with safe_open(str(tmp_path / "net"), framework="numpy") as file:
        assert sorted(file.keys()) == ["W0", "W1", "W2", "b0", "b1", "b2"]
        np.testing.assert_array_equal(file.get_tensor("W1"), net.W[1])
        header = file.metadata()
    assert json.loads(header["network"]) == net.describe()
    back = jn.load(tmp_path / "net")
    assert back.extra == {"scaler": "[1, 2]"}
    assert back.theta.tobytes() == net.theta.tobytes()


def test_what_was_saved_beside_a_network_is_saved_again(tmp_path: Path) -> None:
    """Who loads a model of the command line, trains on and saves it, keeps what it knows of the columns."""
    network().save(tmp_path / "net", extra={"scaler": "[1, 2]"})
    net = jn.load(tmp_path / "net")
    for again in (net, net.copy(), net.astype("float64"), pickle.loads(pickle.dumps(net))):
        again.save(tmp_path / "again")
        assert jn.load(tmp_path / "again").extra == {"scaler": "[1, 2]"}
    again.save(tmp_path / "again", extra={})
    assert jn.load(tmp_path / "again").extra == network().extra == {}


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")
def test_a_save_leaves_links_and_pipes_what_they_are(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    network().save(tmp_path / "store" / "real")
    (tmp_path / "link").symlink_to(tmp_path / "store" / "real")
    net = network()
    net.b[0][:] = 3
    net.save(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert jn.load(tmp_path / "store" / "real").theta.tobytes() == net.theta.tobytes()
    os.mkfifo(tmp_path / "pipe")
    for path, says in (("pipe", "no regular file"), ("store", "a folder"), ("/dev/null", "no regular file")):
        with pytest.raises(jn.InputError, match=f"path: '.*{path}' given, which is {says}"):
            net.save(tmp_path / path)
    with pytest.raises(jn.InputError, match="path: '' given, which is a folder"):
        net.save("")
    assert sorted(os.listdir(tmp_path)) == ["link", "pipe", "store"]
    assert os.listdir(tmp_path / "store") == ["real"]


def test_a_network_pickled_before_it_had_extra_strings_can_be_saved(tmp_path: Path) -> None:
    net = network()
    del net.__dict__["extra"]
    pickle.loads(pickle.dumps(net)).save(tmp_path / "net")
    assert jn.load(tmp_path / "net").theta.tobytes() == net.theta.tobytes()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such links")
def test_errors_of_links_and_long_names_name_the_path(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "nowhere").symlink_to("gone/net")
    (tmp_path / "new").symlink_to("made")
    for name, number in (("loop", errno.ELOOP), ("nowhere", errno.ENOENT), ("n" * 300, errno.ENAMETOOLONG)):
        with pytest.raises(OSError, match=re.escape(os.strerror(number))) as failed:
            network().save(tmp_path / name)
        assert failed.value.filename == str(tmp_path / name)
    network().save(tmp_path / "new")
    assert jn.load(tmp_path / "made").widths == network().widths
    assert sorted(os.listdir(tmp_path)) == ["loop", "made", "new", "nowhere"]


@pytest.mark.skipif(not hasattr(os, "fsync"), reason="the write that fails here")
def test_a_failed_write_names_the_file_and_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = network()
    net.save(tmp_path / "net")
    old = (tmp_path / "net").read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))

    monkeypatch.setattr(os, "fsync", full)
    net.b[0][:] = 3
    with pytest.raises(OSError, match="File too large") as failed:
        net.save(tmp_path / "net")
    assert failed.value.filename == str(tmp_path / "net")
    assert (tmp_path / "net").read_bytes() == old
    assert os.listdir(tmp_path) == ["net"]


@pytest.mark.parametrize("extra", [{"network": "x"}, {"jitnet": "x"}, {"a": 1}, {1: "a"}])
def test_bad_extra_is_refused(extra: Any, tmp_path: Path) -> None:
    with pytest.raises(jn.InputError, match="extra"):
        network().save(tmp_path / "net", extra=extra)
    assert os.listdir(tmp_path) == []


def test_own_functions_must_be_given_again(tmp_path: Path) -> None:
    path = tmp_path / "net"
    network(**NETWORKS["own"]).save(path)
    with pytest.raises(jn.InputError, match=r"net: uses your own activation 'mine'.*activations=\[\.\.\.\]"):
        jn.load(path, losses=[OWN_LOSS])
    with pytest.raises(jn.InputError, match=r"net: uses your own loss 'fourth'.*losses=\[\.\.\.\]"):
        jn.load(path, activations=[OWN])
    other = jn.Activation("another", g=OWN.g, dg=OWN.dg)
    with pytest.raises(jn.InputError, match="'mine'"):
        jn.load(path, activations=[other], losses=[OWN_LOSS])
    for argument, own, wrong in (
        ("activations", OWN, jn.Activation("mine", g=OWN.dg, dg=OWN.g)),
        ("losses", OWN_LOSS, jn.Loss("fourth", value=OWN_LOSS.derivative, derivative=OWN_LOSS.value)),
    ):
        given: dict[str, Any] = {"activations": [OWN], "losses": [OWN_LOSS], argument: [own, wrong]}
        with pytest.raises(jn.InputError, match=rf"^{argument}: two of your own named '{own.name}' given, a name for"):
            jn.load(path, **given)


def test_parameters_that_load_would_refuse_are_not_saved(tmp_path: Path) -> None:
    net = network()
    net.save(tmp_path / "net")
    before = (tmp_path / "net").read_bytes()
    net.W[1][2, 3] = np.nan
    with pytest.raises(jn.InputError, match=r"W\[1\]: nan at \[2, 3\]"):
        net.save(tmp_path / "net")
    assert (tmp_path / "net").read_bytes() == before


# --- whole or not at all --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("failing", ["fsync", "replace", "chmod"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_leaves_the_old_file_and_nothing_else(
    failing: str, error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "net"
    network().save(path)
    before = path.read_bytes()

    def fails(*_: Any) -> None:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(os, failing, fails)
        with pytest.raises(type(error)):
            network(seed=1).save(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["net"]
    network(seed=1).save(path)
    assert path.read_bytes() != before
    assert os.listdir(tmp_path) == ["net"]


def test_the_name_never_stands_for_half_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the moment it takes its name the file is complete and on the disk."""
    path, events, replace, fsync = tmp_path / "net", [], os.replace, os.fsync

    def note_fsync(handle: int) -> None:
        events.append(("fsync", os.fstat(handle).st_size))
        fsync(handle)

    def note_replace(source: str, target: Any) -> None:
        events.append(("replace", os.path.getsize(source)))
        assert not path.exists()
        assert Path(source).parent == tmp_path  # a rename within one file system
        replace(source, target)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "replace", note_replace)
    network().save(path)
    size = path.stat().st_size
    assert events == [("fsync", size), ("replace", size)]


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_permissions_are_those_of_any_new_file(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        network().save(tmp_path / "net")
        (tmp_path / "other").write_text("")
    finally:
        os.umask(old)
    modes = {name: stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("net", "other")}
    assert modes == {"net": 0o640, "other": 0o640}


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    for path in (tmp_path / "missing" / "net", tmp_path / "file" / "net"):
        (tmp_path / "file").write_text("")
        with pytest.raises(OSError, match=str(path.name)) as error:
            network().save(path)
        assert error.value.filename == str(path)
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(jn.InputError, match="folder' given, which is a folder"):
        network().save(folder)
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]
    assert os.listdir(folder) == []


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(PermissionError):
            network().save(tmp_path / "net")
    finally:
        tmp_path.chmod(0o700)


# --- damaged and foreign --------------------------------------------------------------------------------------------


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    network(output="sigmoid").save(tmp_path / "net")
    return tmp_path / "net"


def refused(path: Path, says: str = "") -> None:
    with pytest.raises(jn.InputError, match=f"{path.name}: .*{says}"):
        jn.load(path)


def test_every_truncation_is_refused(saved: Path) -> None:
    whole = saved.read_bytes()
    for length in [0, 1, 7, 8, 9, 100, len(whole) // 2, len(whole) - 4, len(whole) - 1]:
        saved.write_bytes(whole[:length])
        refused(saved, "not a safetensors file, or damaged")
    saved.write_bytes(whole + b"x")
    refused(saved, "damaged")


@pytest.mark.parametrize(
    "content", [b"hello, world\n" * 20, b"\x80\x04\x95", b"PK\x03\x04" + bytes(60), bytes(64), b"\xff" * 64]
)
def test_other_files_are_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "net").write_bytes(content)
    refused(tmp_path / "net", "not a safetensors file")


def test_safetensors_of_others_are_refused(tmp_path: Path) -> None:
    for header in (None, {"format": "pt"}, {"jitnet": "999", "network": "{}"}):
        save_file({"W0": np.ones((2, 3))}, tmp_path / "net", header)
        refused(tmp_path / "net", "no network that this version of jitnet knows")


def rewrite(path: Path, change: Any) -> None:
    """The same file with its description or arrays changed."""
    with safe_open(str(path), framework="numpy") as file:
        header = file.metadata()
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    about = json.loads(header["network"])
    about = change(about, arrays) or about
    save_file(
        arrays, path, {"jitnet": header["jitnet"], "network": about if isinstance(about, str) else json.dumps(about)}
    )


CHANGES: dict[str, Any] = {
    "no JSON": lambda about, arrays: "{",
    "deep JSON": lambda about, arrays: "[" * 200_000,
    "a list": lambda about, arrays: "[]",
    "null": lambda about, arrays: "null",
    "no widths": lambda about, arrays: about.pop("widths") and None,
    "no output": lambda about, arrays: about.pop("output") and None,
    "an argument too many": lambda about, arrays: about.update(colour="red"),
    "other widths": lambda about, arrays: about.update(widths=[3, 6, 4, 2]),
    "fewer widths": lambda about, arrays: about.update(widths=[3, 5, 4]),
    "more widths": lambda about, arrays: about.update(widths=[3, 5, 4, 2, 1]),
    "zero width": lambda about, arrays: about.update(widths=[3, 0, 4, 2]),
    "a width of words": lambda about, arrays: about.update(widths=["3", 5, 4, 2]),
    "widths beyond all memory": lambda about, arrays: about.update(widths=[3, 10**7, 10**7, 2]),
    "widths beyond all addresses": lambda about, arrays: about.update(widths=[3, 10**30, 4, 2]),
    "unknown activation": lambda about, arrays: about.update(output={"name": "sigmoidal"}),
    "an activation's odd argument": lambda about, arrays: about.update(output={"name": "sigmoid", "g": "print"}),
    "own without a pair": lambda about, arrays: about.update(output={"name": "sigmoid", "own": True}),
    "unknown loss": lambda about, arrays: about.update(loss={"name": "hubert"}),
    "dtype": lambda about, arrays: about.update(dtype="float16"),
    "bias of words": lambda about, arrays: about.update(bias="yes"),
    "a missing array": lambda about, arrays: arrays.pop("W1") is None or None,
    "a missing bias": lambda about, arrays: arrays.pop("b2") is None or None,
    "another shape": lambda about, arrays: arrays.update(W1=arrays["W1"].T.copy()),
    "NaN": lambda about, arrays: arrays.update(W1=np.full((4, 5), np.nan, np.float32)),
    "loss and output that do not go together": lambda about, arrays: about.update(loss={"name": "cross_entropy"}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_description_is_refused(change: str, saved: Path) -> None:
    rewrite(saved, lambda about, arrays: None)
    jn.load(saved)
    rewrite(saved, CHANGES[change])
    refused(saved)


def test_a_missing_file_and_a_folder_are_os_errors(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nothing"):
        jn.load(tmp_path / "nothing")
    with pytest.raises(OSError, match=tmp_path.name):
        jn.load(tmp_path)


def test_loading_runs_no_code(saved: Path) -> None:
    """An own function's name in a file is looked up among what the caller gives, and nowhere else."""
    rewrite(saved, lambda about, arrays: about.update(output={"name": "os.getcwd", "own": True}))
    before = set(sys.modules)
    refused(saved, "os.getcwd")
    assert set(sys.modules) == before
