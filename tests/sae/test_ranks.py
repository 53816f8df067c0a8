"""Several processes on gloo train what one does: steps in double precision, whole trainings, states, refusals."""

from __future__ import annotations

import json
import os
import pickle
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sae import rank_cases
from sae.cases import VARIANTS, embedding
from safetensors import safe_open

from cellprism.cli.ending import end_well
from cellprism.sae import SAEConfig, fit
from cellprism.sae.ranks.collective import reaching_all
from cellprism.sae.ranks.select import nth_largest
from cellprism.sae.steps.dense import DenseStep

TIME = 120  # seconds after which processes that wait for each other are taken for stuck


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("parts", [1, 3])
def test_the_nth_largest_is_exact(dtype: torch.dtype, parts: int) -> None:
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.exponential(size=200), np.zeros(30), np.repeat(1.5, 9), [1e-40, 3e38, -0.0]])
    shares = [torch.as_tensor(part, dtype=dtype) for part in np.array_split(rng.permutation(values), parts)]
    expected = torch.cat(shares).sort(descending=True).values
    for n in (1, 2, 17, 100, 205, 211, len(values)):
        assert float(in_turns(shares, n)) == float(expected[n - 1])


def in_turns(shares: list[torch.Tensor], n: int) -> torch.Tensor:
    """The n-th largest as each of several processes finds it, which are asked for their counts in turns."""
    from threading import Barrier, Thread

    counts, barrier, found = [torch.zeros(0)] * len(shares), Barrier(len(shares)), [torch.zeros(())] * len(shares)

    def process(i: int) -> None:
        def total(own: torch.Tensor) -> torch.Tensor:
            counts[i] = own
            barrier.wait()
            everything = torch.stack(counts).sum(0)
            barrier.wait()
            return everything

        found[i] = nth_largest(shares[i], n, total)

    threads = [Thread(target=process, args=(i,)) for i in range(len(shares))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({float(f) for f in found}) == 1
    return found[0]


def processes(folder: Path, size: int) -> list[dict[str, Any]]:
    """What so many processes found."""
    running = [
        subprocess.Popen([sys.executable, rank_cases.__file__, str(folder), str(rank), str(size)], stderr=subprocess.PIPE)
        for rank in range(size)
    ]  # fmt: skip
    try:
        said = [process.communicate(timeout=TIME)[1].decode() for process in running]
    finally:
        for process in running:
            process.kill()
    assert [process.returncode for process in running] == [0] * size, "\n".join(said)
    return [pickle.loads((folder / f"{rank}.pickle").read_bytes()) for rank in range(size)]


@pytest.fixture(scope="module")
def of_two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("two")
    with rank_cases.keeping_a_state(folder / "left-by-one"):
        rank_cases.trained("batchtopk", checkpoint=folder / "states-one", checkpoint_every=7)
    return folder, processes(folder, 2)


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray], tolerance: float) -> None:
    assert set(one) == set(other)
    for name, values in one.items():
        np.testing.assert_allclose(other[name], values, rtol=tolerance, atol=tolerance, err_msg=name)


@pytest.mark.parametrize("shards", [1, 2])
@pytest.mark.parametrize("name", VARIANTS)
def test_a_step_is_that_of_one_process_in_double_precision(name: str, shards: int, of_two: Any) -> None:
    alone = rank_cases.stepped(name, None)
    assert alone["fired"].any()
    assert alone["numbers"][3] > 0 or VARIANTS[name].aux_weight == 0  # the auxiliary loss takes part
    for found in of_two[1]:
        same(alone["state"], found["step", name, shards]["state"], 1e-12)
        np.testing.assert_allclose(found["step", name, shards]["numbers"], alone["numbers"], rtol=1e-10)
        np.testing.assert_array_equal(found["step", name, shards]["fired"], alone["fired"])


@pytest.mark.parametrize("shards", [1, 2])
def test_a_share_without_cells_takes_part(shards: int, of_two: Any) -> None:
    for found in of_two[1]:
        same(rank_cases.stepped("batchtopk", None, cells=1)["state"], found["few", shards]["state"], 1e-12)


@pytest.mark.parametrize(
    ("name", "shards"), [("batchtopk", 1), ("batchtopk", 2), ("matryoshka-topk", 1), ("jumprelu", 1), ("jumprelu", 2)]
)
def test_a_training_is_that_of_one_process(name: str, shards: int, of_two: Any) -> None:
    alone = rank_cases.trained(name)
    first, second = (found["fit", name, shards] for found in of_two[1])
    np.testing.assert_allclose(first["mse"], alone["mse"], rtol=5e-3)
    same(first["state"], second["state"], 0)  # replicas do not drift apart, in the last bit
    assert first["alone"]
    assert {k: v.shape for k, v in first["state"].items()} == {k: v.shape for k, v in alone["state"].items()}


@pytest.mark.parametrize("shards", [1, 2])
def test_one_process_goes_on_from_the_state_of_two(shards: int, of_two: Any) -> None:
    whole = of_two[1][0]["fit", "batchtopk", shards]
    gone_on = rank_cases.trained("batchtopk", checkpoint=of_two[0] / f"left-by-{shards}", checkpoint_every=7)
    assert len(gone_on["mse"]) == len(whole["mse"])
    np.testing.assert_allclose(gone_on["mse"], whole["mse"], rtol=1e-3)


@pytest.mark.parametrize("shards", [1, 2])
def test_two_processes_go_on_from_the_state_of_one(shards: int, of_two: Any) -> None:
    alone = rank_cases.trained("batchtopk")
    np.testing.assert_allclose(of_two[1][0]["goes on", shards]["mse"], alone["mse"], rtol=1e-3)


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("config", "`k` 3 in process 0 and 4 in process 1"),
        ("cells", "`cells of the embedding`"),
        ("option", "`lr` left out in process 0 and 1.0 in process 1"),
        ("width", "13 features and dictionary_shards=2"),
        ("recipe", "no config in a training of several"),
        ("resample", "resample_every=2 and dictionary_shards=2"),
        ("triton", "automatic differentiation"),
    ],
)
def test_processes_that_disagree_say_so_alike(what: str, words: str, of_two: Any) -> None:
    first, second = (found[what] for found in of_two[1])
    assert words in first
    assert first == second


@pytest.mark.slow
def test_rows_and_columns_of_four_processes(tmp_path: Path) -> None:
    """Two rows of two: cells and features are both spread."""
    for found in processes(tmp_path, 4):
        for name in VARIANTS:
            for shards in (1, 2, 4):
                same(rank_cases.stepped(name, None)["state"], found["step", name, shards]["state"], 1e-12)


def command(place: Path, rank: int | None, port: int, *options: str) -> subprocess.Popen[str]:
    """``cellprism fit`` as torchrun starts it: two processes, or one by itself."""
    group = {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    call = [
        sys.executable,
        "-m",
        "cellprism",
        "fit",
        "cells.npy",
        "--activation",
        "batchtopk",
        "--width",
        "64",
        *options,
    ]
    return subprocess.Popen(
        call, cwd=place, env=os.environ | {"OMP_NUM_THREADS": "1"} | (group if rank is not None else {}),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def test_a_killed_process_stops_the_others_and_the_state_is_kept(tmp_path: Path) -> None:
    call = [sys.executable, rank_cases.__file__, str(tmp_path)]
    running = [
        subprocess.Popen([*call, str(rank), "2", "long"], stderr=subprocess.PIPE, text=True) for rank in range(2)
    ]
    state = tmp_path / "states" / "seed-3.safetensors"
    try:
        end = time.monotonic() + TIME
        while not state.exists() and running[0].poll() is None and time.monotonic() < end:
            time.sleep(0.05)
        running[1].kill()
        said = running[0].communicate(timeout=TIME)[1]
    finally:
        for process in running:
            process.kill()
            process.communicate()
    assert "ProcessLostError" in said
    assert "a process of this training was lost" in said
    with safe_open(str(state), framework="pt") as file:
        done = json.loads(file.metadata()["numbers"])["done"]
    assert done >= 20
    assert done % 20 == 0


def test_the_command_tells_a_lost_process_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    def lose() -> None:
        with reaching_all():
            raise RuntimeError("[a/file.cc:12] Read error [::1]:1: Connection reset by peer. More of it.\nAnd more")

    with pytest.raises(SystemExit) as ended:
        end_well(lose)
    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert said.startswith("Error: a process of this training was lost")
    assert said.rstrip().endswith("(Read error [::1]:1: Connection reset by peer).")


def test_a_state_of_one_way_goes_on_in_another(tmp_path: Path) -> None:
    """As that of several processes does in one, which trains by compiled loops."""
    X, cfg = embedding(400), SAEConfig(64, "batchtopk", k=3)
    options: dict[str, Any] = {"epochs": 6, "batch_size": 50, "patience": None, "seed": 3}
    with rank_cases.keeping_a_state(tmp_path / "left"), pytest.MonkeyPatch.context() as patch:
        patch.setattr("cellprism.sae.trainer.choose_epoch", lambda setting: None)
        patch.setattr("cellprism.sae.trainer.choose_step", lambda s: DenseStep(s.sae, s.optimiser, s.options))
        dense = fit(X, cfg, checkpoint=tmp_path / "states", checkpoint_every=7, **options)
    other = fit(X, cfg, checkpoint=tmp_path / "left", checkpoint_every=7, **options)
    np.testing.assert_allclose(other.history["holdout_mse"], dense.history["holdout_mse"], rtol=1e-3)


def test_the_command_refuses_once_where_processes_disagree(tmp_path: Path) -> None:
    np.save(tmp_path / "cells.npy", embedding(200, d=8))
    port = free_port()
    running = [command(tmp_path, rank, port, "--k", str(3 + rank), "-o", "sae") for rank in range(2)]
    try:
        said = [process.communicate(timeout=TIME)[1] for process in running]
    finally:
        for process in running:
            process.kill()
    assert [process.returncode for process in running] == [2, 2]
    assert "met --k 3 in process 0 and 4 in process 1" in said[0].replace("\n", " ")
    assert "Error" not in said[1]
