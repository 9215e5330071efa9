"""benchmarks/peers: all peers do the same work, one that does other work is caught, results are written and drawn."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest

from benchmarks.peers import __main__ as command
from benchmarks.peers import child, contest, fashion, memory, report, with_jitnet
from benchmarks.peers.cases import CASES, EPOCH, PREDICT, Case, Problem, products, random_problem
from benchmarks.peers.peer import Peer

torch = pytest.importorskip("torch")
jax = pytest.importorskip("jax")
pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")
pytest.importorskip("rich")

TINY = {
    "sgd": CASES["2-3-4-2"]._replace(points=160),
    "adam": Case("64-64-10", (6, 5, 7, 3), 8, 60, 1.0, 2.0, lr=1e-3),  # the last batch of an epoch has 4
    "full batch": CASES["4-32-16-4"]._replace(widths=(4, 6, 5, 4), batch=50, points=50, lr=1e-3),
    "epoch": Case("fashion-mnist", (6, 5, 3), 8, 60, 1.0, 2.0, kind=EPOCH, lr=1e-3),
    "predict": CASES["predict"]._replace(widths=(6, 5, 7, 3), batch=40, points=40),
}
OTHERS = ("matrix", "torch", "jax", "sklearn")
SHORT = contest.Limits(rounds=1, seconds=0.001)


@pytest.fixture(autouse=True)
def settings_of_libraries() -> Iterator[None]:
    threads, x64, ours = torch.get_num_threads(), jax.config.jax_enable_x64, numba.get_num_threads()
    yield
    assert numba.get_num_threads() == ours
    torch.set_num_threads(threads)
    jax.config.update("jax_enable_x64", x64)


class Preparing(with_jitnet.Jitnet):
    """A peer that has more to do before it is timed than while it is."""

    def start(self) -> None:
        began = time.process_time()
        while time.process_time() < began + 0.2:
            pass

    def train(self, steps: int) -> None:
        time.sleep(0.01)


def test_what_a_peer_prepares_is_no_other_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contest, "_busy_seconds", time.process_time)
    entry = contest.Entry(Preparing(random_problem(TINY["adam"], "float32"), 1), "training step")
    entry.measure()
    assert entry.others[0] < 0.5


@pytest.mark.parametrize(("name", "dtype"), [*((name, "float32") for name in TINY), ("adam", "float64")])
def test_peers_agree(name: str, dtype: str) -> None:
    row = contest.contest(random_problem(TINY[name], dtype), 1, peers=OTHERS, limits=SHORT)
    assert row["left_out"] == {}
    assert list(row["peers"]) == ["jitnet", *OTHERS]
    for peer in row["peers"].values():
        assert peer["seconds"] > 0
        assert peer["gflops"] > 0
        assert max(peer["differences"].values()) < 5e-3
    json.dumps(row, allow_nan=True)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch:DeprecationWarning")  # PyTorch's of itself
def test_compiled_peer_agrees() -> None:
    if not any(map(shutil.which, ("c++", "g++", "clang++"))):
        pytest.skip("no C++ compiler")
    row = contest.contest(random_problem(TINY["adam"], "float32"), 1, peers=["compile"], limits=SHORT)
    assert list(row["peers"]) == ["jitnet", "compile"]


def other(name: str, **changes: Any) -> Any:
    """`contest.make`, but the peer `name` gets a problem that is changed."""

    def make(which: str, problem: Problem, *rest: Any) -> Peer:
        if which != name:
            return contest.make(which, problem, *rest)
        case = problem.case._replace(**{key: value for key, value in changes.items() if key in Case._fields})
        own = {key: value(problem) for key, value in changes.items() if key not in Case._fields}
        return contest.make(which, Problem(**{**problem.__dict__, **own, "case": case}), *rest)

    return make


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("jax", {"lr": 2e-3}),
        ("torch", {"seed": lambda problem: 1}),
        ("sklearn", {"T": lambda problem: np.roll(problem.T, 1)}),
        ("matrix", {"W": lambda problem: [1.01 * W for W in problem.W]}),
    ],
    ids=["rate", "batches", "targets", "start"],
)
def test_other_work_is_caught(name: str, changes: dict[str, Any]) -> None:
    problem = random_problem(TINY["adam"], "float32")
    with pytest.raises(contest.DisagreementError, match="did other work"):
        contest.contest(problem, 1, peers=[name], limits=SHORT, make_peer=other(name, **changes))


def test_steps_left_out_are_caught() -> None:
    problem = random_problem(TINY["adam"], "float32")

    def make(name: str, *rest: Any) -> Peer:
        peer = contest.make(name, *rest)
        if name == "torch":
            train = peer.train
            peer.train = lambda steps: train(max(steps - 1, 1))  # type: ignore[method-assign]
        return peer

    with pytest.raises(contest.DisagreementError, match="steps"):
        contest.contest(problem, 1, peers=["torch"], limits=SHORT, make_peer=make)


def test_other_outputs_are_caught() -> None:
    make = other("torch", X=lambda problem: problem.X[::-1].copy())
    with pytest.raises(contest.DisagreementError, match="outputs"):
        contest.contest(
            random_problem(TINY["predict"], "float32"), 1, peers=["torch"], limits=SHORT, make_peer=make
        )  # fmt: skip


@pytest.mark.parametrize(
    ("dtype", "what", "difference", "passes"),
    [
        ("float32", "parameters", 0.02, True),
        ("float32", "parameters", 0.04, False),
        ("float32", "losses", 0.02, False),
        ("float64", "parameters", 0.02, False),
    ],
)
def test_a_kink_excuses_float32_parameters_alone(dtype: str, what: str, difference: float, passes: bool) -> None:
    problem = random_problem(TINY["adam"]._replace(kinks=0.03), dtype)
    peer = contest.make("matrix", problem, 1)
    if passes:
        contest.check(peer, {what: difference})
    else:
        with pytest.raises(contest.DisagreementError, match=f"{what} differ"):
            contest.check(peer, {what: difference})


def test_orders_are_those_of_fit() -> None:
    problem = random_problem(TINY["adam"], "float64")
    steps = problem.epoch_steps + 3
    fitted, by_hand = problem.network(), problem.network()
    fitted.fit(problem.X, problem.T, optimizer="sgd", steps=steps, batch_size=8)
    orders = problem.orders(steps)
    assert [len(order) for order in orders] == [60, 24]
    for order in orders:
        for at in range(0, len(order), 8):
            g = by_hand.gradient(problem.X[order[at : at + 8]], problem.T[order[at : at + 8]])
            by_hand.theta[:] -= 0.01 * g.theta
    np.testing.assert_allclose(fitted.theta, by_hand.theta, rtol=1e-12)


def test_products() -> None:
    # forward 5 (6 + 12), weights as many, and back through the second layer 5 * 12
    assert products((2, 3, 4), 5) == 5 * (18 + 18 + 12)
    assert products((2, 3, 4), 5, PREDICT) == 5 * 18


def test_what_cannot_be_done_is_left_out() -> None:
    two_classes = Case("64-64-10", (6, 5, 2), 8, 64, 1.0, 2.0)
    row = contest.contest(random_problem(two_classes, "float32"), 1, peers=["sklearn"], limits=SHORT)
    assert list(row["peers"]) == ["jitnet"]
    assert "two classes" in row["left_out"]["sklearn"]


def test_environment_of_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Prescott")
    found = child.environment(1)
    assert "OPENBLAS_CORETYPE" not in found
    assert {found[name] for name in child.THREAD_VARIABLES} == {"1"}
    if hasattr(os, "sched_getaffinity"):
        before = os.sched_getaffinity(0)
        with child.cores(1):
            assert len(os.sched_getaffinity(0)) == 1
        assert os.sched_getaffinity(0) == before


def test_idx(tmp_path: Path) -> None:
    (tmp_path / "images").write_bytes(bytes([0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3]) + bytes(range(6)))
    assert fashion._idx(tmp_path, "images").tolist() == [[0, 1, 2], [3, 4, 5]]


def test_run_writes_table_json_and_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = ["--json", str(tmp_path / "peers.json"), "--picture", str(tmp_path / "deep" / "peers.png")]
    few = ["--networks", "2-3-4-2", "--peers", "sklearn", "--dtypes", "float32", "--threads", "1"]
    assert command.main([*files, *few, "--rounds", "1", "--seconds", "0.005"]) == 0
    document = json.loads((tmp_path / "peers.json").read_text())
    row = document["rows"][0]
    assert {"cpu", "cores", "versions"} <= set(document["machine"])
    assert list(row["peers"]) == ["jitnet", "sklearn"]
    assert row["peers"]["jitnet"]["cores"] < 1.1
    assert report.best(row) == pytest.approx(row["peers"]["sklearn"]["seconds"] / row["peers"]["jitnet"]["seconds"])
    picture = tmp_path / "deep" / "peers.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    picture.unlink()
    capsys.readouterr()
    assert command.main(["draw", *files]) == 0  # once more, from the file
    assert picture.exists()
    printed = capsys.readouterr().out
    assert "2-3-4-2" in printed
    assert "best / jitnet" in printed


def test_time_over_threads_is_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of the networks that were run with several thread counts."""

    def taken(seconds: float) -> dict[str, Any]:
        return {"seconds": seconds, "spread": {"q1": 0.9 * seconds, "q3": 1.2 * seconds}}

    rows = [
        {
            "network": network, "dtype": "float32", "threads": threads,
            "peers": {name: taken(1 / threads) for name in ("jitnet", "jax")},
        }
        for network, threads in (("2-3-4-2", 1), ("64-64-10", 4), ("64-64-10", 1), ("64-64-10", 2))
    ]  # fmt: skip
    file, picture = tmp_path / "some.json", tmp_path / "deep" / "threads.png"
    given = ["threads", str(file), "--picture", str(picture)]
    file.write_text(json.dumps({"machine": {"cpu": "a", "cores": 4}, "rows": rows}))
    assert command.main(given) == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    file.write_text(json.dumps({"machine": {"cpu": "a", "cores": 4}, "rows": rows[:1]}))
    assert command.main(given) == 2
    assert "several thread counts" in capsys.readouterr().err


def results(path: Path, cpu: str, **seconds: float) -> Path:
    """A JSON file of 2-3-4-2 in some dtypes: of each what jitnet took; JAX twice as long."""
    rows = [
        {
            "network": "2-3-4-2", "dtype": dtype, "threads": 1,
            "peers": {"jax": {"seconds": 2 * each}, "jitnet": {"seconds": each}},
        }
        for dtype, each in seconds.items()
    ]  # fmt: skip
    path.write_text(json.dumps({"machine": {"cpu": cpu}, "rows": rows, "skipped": ["predict: why"]}))
    return path


def test_results_of_several_runs_make_one_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = results(tmp_path / "first.json", "a", float64=1e-6, float32=2e-6)
    second = results(tmp_path / "second.json", "a", float32=1.2345678)
    assert command.main(["markdown", str(first), str(second)]) == 0
    printed = capsys.readouterr().out
    assert printed == (
        "| float32: network, batch, optimiser | threads | jitnet | JAX | best peer / jitnet |\n"
        "|---|---|---|---|---|\n"
        "| 2-3-4-2, 32, SGD | 1 | 1,230,000 | 2,470,000 | 2.00 |\n"
        "\n"
        "| float64: network, batch, optimiser | threads | jitnet | JAX | best peer / jitnet |\n"
        "|---|---|---|---|---|\n"
        "| 2-3-4-2, 32, SGD | 1 | 1.0 | 2.0 | 2.00 |\n"
    )
    assert command.main(["merge", str(first), str(second), "--json", str(tmp_path / "both.json")]) == 0
    assert command.main(["markdown", str(tmp_path / "both.json")]) == 0
    assert capsys.readouterr().out == printed
    assert json.loads((tmp_path / "both.json").read_text())["skipped"] == ["predict: why"]
    other = results(tmp_path / "other.json", "b", float32=1e-6)
    assert command.main(["markdown", str(first), str(other)]) == 2
    assert "different machines" in capsys.readouterr().err


@pytest.mark.parametrize("given", [["memory", "a.json"], ["merge", "a.json"], ["merge", "--json", "a.json"]])
def test_files_where_none_are_read_and_none_where_some_are(given: list[str]) -> None:
    with pytest.raises(SystemExit):
        command.arguments(given)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak of resident memory is Linux's")
def test_memory(capsys: pytest.CaptureFixture[str]) -> None:
    document = memory.measure("auto", 1, 2, ("jitnet", "torch"), tries=1)
    memory.show(document)
    above = {name: row["peak"] - row["before"] for name, row in document["libraries"].items()}
    assert above["jitnet"] > 2 * document["parameters_bytes"] + document["data_bytes"]
    assert f"{above['jitnet'] / 1e6:.1f}" in capsys.readouterr().out
    # inputs and targets of 256 points, and x, y, delta of 2058 neurons each
    assert document["activations_bytes"] == 4 * 256 * (794 + 3 * 2058)
    assert memory.bound(document) == 4 * 4 * 1_863_690 + document["activations_bytes"] + document["data_bytes"]


def test_a_process_that_fails_fails_the_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def call(*arguments: Any) -> dict[str, Any]:
        raise subprocess.CalledProcessError(1, "python")

    monkeypatch.setattr(command, "call", call)
    assert command.main(["--json", str(tmp_path / "peers.json"), "--networks", "2-3-4-2"]) == 1
