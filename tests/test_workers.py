"""A cluster of two worker processes of Dask gives what this process gives alone, also when one of them is killed."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers import counts_adata, type_sets

import cellprism as prism
from cellprism.cli import command_line
from cellprism.errors import InputError
from cellprism.recovery import Task, grid, sweep
from cellprism.workers import connected, on_workers, over, parts_for

distributed = pytest.importorskip("distributed", reason="the extra `dask` is not installed")
pytestmark = pytest.mark.filterwarnings("default::UserWarning:distributed", "default::ResourceWarning")
TABLES = ("features", "genes", "sets", "labels", "shares", "untestable")
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
    ) as started:
        yield started


@pytest.fixture
def client(cluster: Any) -> Iterator[Any]:
    with distributed.Client(cluster) as client:
        client.wait_for_workers(2, timeout=60)
        yield client


def same_tables(one: Any, other: Any) -> None:
    for name in TABLES:
        pd.testing.assert_frame_equal(getattr(one, name), getattr(other, name), rtol=1e-6, atol=1e-9)


def cells() -> tuple[Any, Any]:
    adata = counts_adata(240)
    sae = prism.fit(adata.obsm["X_emb"], prism.SAEConfig(16, "topk", k=4), epochs=10, seed=0).sae
    return adata, sae


def annotated(**options: Any) -> Any:
    adata, sae = cells()
    X = adata.X.toarray()
    log = np.log1p(X / X.sum(1, keepdims=True) * 1e4)
    known = {
        "labels": {"type": adata.obs["cell_type"]},
        "embedding": adata.obsm["X_emb"],
        "symbols": adata.var["symbol"],
    }
    options = known | {"keep": "all", "set_size": (2, 500), "min_overlap": 0.0, "null_features": 8} | options
    return prism.annotate(sae.encode(adata.obsm["X_emb"]), log, list(adata.var_names), type_sets(prefix="S"), **options)


def test_nobody_is_connected_without_a_client() -> None:
    assert connected() is None


@pytest.mark.parametrize("n", [0, 1, 7, 8, 9, 1000])
@pytest.mark.parametrize("most", [1, 3, 10_000])
def test_parts_hold_each_row_once(n: int, most: int, client: Any) -> None:
    parts = parts_for(client, n, most)
    assert [i for part in parts for i in range(part.start, part.stop)] == list(range(n))
    assert all(part.stop - part.start <= most for part in parts)
    assert len(parts) >= min(n, 5, -(-n // most))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"method": "welch"},
        {"method": "paper", "min_cells": 2},
        {"strata": "donor"},
        {"strata": "donor", "donor": None},
    ],
    ids=["ranksum", "welch", "paper", "donors", "strata"],
)
def test_annotate_is_that_of_one_process(options: dict[str, Any], cluster: Any) -> None:
    if "strata" in options:
        options = options | {"strata": counts_adata(240).obs["donor"]}
    alone = annotated(**options)
    assert len(alone.genes)
    assert len(alone.sets)
    with distributed.Client(cluster) as client:
        seen: list[int] = []
        submit = client.submit
        client.submit = lambda *a, **k: (seen.append(1), submit(*a, **k))[1]
        same_tables(alone, annotated(**options))
        assert seen  # the workers did it


def test_codes_and_models_are_those_of_one_process(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import dask.array as da

    adata, sae = cells()
    X = adata.obsm["X_emb"]
    monkeypatch.setattr("cellprism.sae.model._CHUNK_ELEMENTS", 16 * 50)
    configs = [prism.SAEConfig(w, "batchtopk", k=3) for w in (8, 24, 16, 32, 12)]
    options: dict[str, Any] = {"seeds": [0, 1, 2, 3, 4], "epochs": 4, "lr": [1e-3, 2e-3, 3e-3, 4e-3, 5e-3]}
    lazy = da.from_array(X, chunks=(70, -1))
    alone, fits = sae.encode(X), prism.fit_many(X, configs, **options)
    assert abs(sae.encode(lazy) - alone).max() <= 1e-5  # without a client, block by block
    with distributed.Client(cluster):
        for values in (X, lazy):
            assert abs(sae.encode(values) - alone).max() <= 1e-5
        for mine, theirs in zip(fits, prism.fit_many(X, configs, **options), strict=True):
            assert mine.sae.config == theirs.sae.config
            assert mine.options == theirs.options
            pd.testing.assert_frame_equal(mine.history, theirs.history, rtol=1e-4)


def test_a_sweep_is_that_of_one_process(cluster: Any) -> None:
    world = prism.simulate.small(900, held_out=300, seed=0)
    trials = grid("small", factors=[2], epochs=2)[:3]
    task = Task.of(world, world.X)
    alone = sweep(task, trials)
    with distributed.Client(cluster):
        pd.testing.assert_frame_equal(sweep(task, trials), alone, rtol=1e-4)


def test_the_anndata_face_takes_lazy_matrices(client: Any) -> None:
    import dask.array as da

    plain, lazy = counts_adata(240), counts_adata(240)
    lazy.X = da.from_array(lazy.X.toarray(), chunks=(100, 11)).map_blocks(type(plain.X))
    lazy.obsm["X_emb"] = da.from_array(lazy.obsm["X_emb"], chunks=(100, -1))
    found = []
    for adata in (plain, lazy):
        prism.tl.fit(adata, "X_emb", cfg=prism.SAEConfig(16, "topk", k=4), epochs=5, seeds=1)
        options = {
            "nulls": ("permuted",),
            "set_size": (2, 500),
            "min_overlap": 0.0,
            "keep": "all",
            "gene_symbols": "symbol",
        }
        found.append(prism.tl.annotate(adata, type_sets(prefix="S"), labels=["cell_type"], **options))
    assert abs(plain.obsm["X_prism"] - lazy.obsm["X_prism"]).max() <= 1e-5
    same_tables(*found)
    new = lazy[:60].copy()
    prism.tl.encode(new, plain, key="prism", rep="X_emb") if "prism" not in new.uns else None
    assert new.obsm["X_prism"].shape == (60, 16)


def test_a_killed_worker_costs_time_alone(client: Any, tmp_path: Path) -> None:
    def kill_once(piece: int, marks: str) -> int:  # travels as code: workers cannot import a file of tests
        mark = Path(marks) / "killed"
        if piece == 3 and not mark.exists():
            mark.write_text("")
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.05)
        return piece**2

    assert over(client, kill_once, list(range(12)), str(tmp_path)) == [i**2 for i in range(12)]
    assert (tmp_path / "killed").exists()


def test_annotate_ends_when_a_worker_is_killed_under_it(client: Any) -> None:
    alone = annotated()
    pids, killed = client.run(os.getpid), threading.Event()

    def kill() -> None:
        while not killed.is_set():
            for worker, tasks in client.processing().items():
                if tasks:
                    os.kill(pids[worker], signal.SIGKILL)
                    killed.set()
                    return

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    same_tables(alone, annotated())
    killer.join(timeout=10)
    assert killed.is_set()


def test_a_worker_of_another_version_is_refused(client: Any) -> None:
    client.wait_for_workers(2, timeout=60)
    worker = next(iter(client.scheduler_info()["workers"]))

    def pretend() -> None:
        import importlib.metadata

        importlib.metadata.version = lambda name: "0.0.9"  # type: ignore[assignment]

    client.run(pretend, workers=[worker])
    try:
        with pytest.raises(InputError, match=rf"0.0.9 on {worker}.*install cellprism==") as refused:
            annotated()
        assert "same version" in str(refused.value)
    finally:
        client.restart()


@pytest.mark.parametrize("content", [None, "", "{", "[]", '{"type": "Scheduler"}'])
def test_a_scheduler_file_that_is_none_is_refused_at_once(content: str | None, tmp_path: Path) -> None:
    file = tmp_path / "scheduler.json"  # Dask itself would wait for it without end
    if content is not None:
        file.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=r"scheduler\.json"), on_workers(str(file)):
        pass


def test_an_address_without_a_scheduler_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cellprism.workers._REACHED", 0.5)
    with pytest.raises(InputError, match="scheduler of Dask must answer"), on_workers("tcp://127.0.0.1:1"):
        pass


@pytest.mark.parametrize("name", ["run", "fit", "encode", "annotate", "sweep"])
def test_commands_take_an_address(name: str) -> None:
    assert "--dask" in {option for p in command_line().commands[name].params for option in p.opts}
