"""Each step alone, through the command line."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from cli_runner import call
from helpers import counts_adata, type_sets

from cellprism.cli.sweep import families
from cellprism.genesets.gmt import read_gmt, write_gmt
from cellprism.run import RunFolder
from cellprism.sae import SAE, SAEConfig, load
from cellprism.sae.scaling import AffineScaling


@pytest.fixture
def files(tmp_path: Path) -> Path:
    cells = counts_adata(300, 60)
    cells.write_h5ad(tmp_path / "cells.h5ad")
    np.save(tmp_path / "x.npy", cells.obsm["X_emb"])
    write_gmt(type_sets(60), tmp_path / "sets.gmt")
    (tmp_path / "sae.yaml").write_text("width: 16\nactivation: topk\nk: 3\n")
    return tmp_path


def test_fit_encode_annotate(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fit = call(capsys, "fit", files / "x.npy", "--config", files / "sae.yaml", "--epochs", 20, "-o", files / "sae")
    assert fit.code == 0, fit.err
    assert "explained variance" in fit.out
    assert load(files / "sae").config.activation == "topk"
    encode = call(
        capsys, "encode", files / "sae", files / "cells.h5ad", "--rep", "X_emb", "-o", files / "new" / "codes.npz"
    )
    assert encode.code == 0, encode.err
    codes = sp.load_npz(files / "new" / "codes.npz")
    assert codes.shape == (300, 16)
    again = call(capsys, "encode", files / "sae", files / "x.npy", "-o", files / "new" / "codes.npz")
    assert again.code == 2
    annotate = call(
        capsys, "annotate", files / "new" / "codes.npz", files / "cells.h5ad", "--gene-sets", files / "sets.gmt",
        "--labels", "cell_type", "-o", files / "named",
    )  # fmt: skip
    assert annotate.code == 0, annotate.err
    assert "of the set genes are measured. p values are descriptive; expression is measured." in " ".join(
        annotate.out.split()
    )
    table = pd.read_parquet(files / "named" / "features.parquet")
    assert set(table["top_label"]) <= {"", "type 0", "type 1", "type 2"}


@pytest.mark.parametrize(
    ("command", "beside"),
    [
        ("encode sae cells.h5ad --rep X_emb -o c.npz", "--model m"),
        ("encode sae cells.h5ad --rep X_emb -o c.npz", "--layer counts"),
        ("encode sae cells.h5ad --rep X_emb -o c.npz", "--raw"),
        ("encode sae x.npy -o c.npz", "--model m"),
        ("encode sae x.npy -o c.npz", "--rep X_emb"),
        ("fit x.npy -o f", "--rep X_emb"),
        ("run cells.h5ad --rep X_emb -o r", "--components 3"),
        ("run cells.h5ad --embedding x.npy -o r", "--components 3"),
    ],
)
def test_no_option_is_passed_over(
    command: str, beside: str, files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(files)
    same = AffineScaling(np.zeros(6, np.float32), np.eye(6, dtype=np.float32), np.eye(6, dtype=np.float32))
    SAE(SAEConfig(4, k=2), same).save(files / "sae")
    result = call(capsys, *command.split(), *beside.split())
    assert result.code == 2
    assert beside.split()[0] in result.err
    assert "eave" in result.err  # leave it out


def test_annotate_over_donors_with_other_names_and_a_network(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cells = counts_adata(300, 60)
    sp.save_npz(files / "codes.npz", sp.csr_array(np.maximum(cells.obsm["X_emb"], 0)))
    pd.DataFrame({"mine": [f"S{i}" for i in range(60)], "theirs": [f"T{i}" for i in range(60)]}).to_csv(
        files / "names.csv", index=False
    )
    write_gmt({n: [m.replace("G", "T") for m in members] for n, members in type_sets(60).items()}, files / "theirs.gmt")
    targets = [f"T{i}" for i in range(0, 60, 3)]
    pd.DataFrame({"source": "R", "target": targets, "weight": 1.0}).to_csv(files / "net.csv", index=False)
    network = ["--network", files / "net.csv"] if importlib.util.find_spec("decoupler") else []
    done = call(
        capsys, "annotate", files / "codes.npz", files / "cells.h5ad", "--gene-sets", files / "theirs.gmt", "--labels",
        "cell_type", "--gene-symbols", "symbol", "--id-table", files / "names.csv", "--id-columns", "mine,theirs",
        *network, "--donor", "donor", "--rep", "X_emb", "-o", files / "named",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert "directions" in done.out
    if network:
        table = pd.read_parquet(files / "named" / "regulators.parquet")
        assert set(table["network"].astype(str)) == {"net"}
    info = json.loads((files / "named" / "run.json").read_text())
    assert info["annotation"]["unit"] == "donor"


def test_fit_sweep(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (files / "sweep.yaml").write_text("grid:\n  width: [8, 16]\n  activation: topk\n  k: [2, 3]\n  epochs: 5\n")
    done = call(capsys, "fit", files / "x.npy", "--sweep", files / "sweep.yaml", "-o", files / "sweep")
    assert done.code == 0, done.err
    table = pd.read_parquet(files / "sweep" / "summary.parquet")
    assert sorted(zip(table["width"], table["k"], strict=True)) == [(8, 2), (8, 3), (16, 2), (16, 3)]
    assert table["explained_variance"].between(0, 1).all()
    assert load(files / "sweep" / "sae-3").width == table["width"].iloc[3]
    assert (files / "sweep" / "landscape.png").stat().st_size > 5_000
    for bad in (
        "models: 3\n",
        "grid:\n  width: 8\n  k: 2\n  hidden: 1\n",
        "configs:\n- {width: 8, k: 2, lr: 0.1}\n- {width: 8, k: 2}\n",
        "grid:\n",
        "grid: [1, 2]\n",
        "configs:\n",
        "configs: [3]\n",
        "configs:\n- {width: 8, k: [2, 3]}\n",
        "grid:\n  width: abc\n",
        "grid:\n  width: 8\n  k: 2\n  hidden: 1\n  3: 4\n",
    ):
        (files / "bad.yaml").write_text(bad)
        refused = call(capsys, "fit", files / "x.npy", "--sweep", files / "bad.yaml", "-o", files / "none")
        assert refused.code == 2, bad
        assert not (files / "none").exists()


def test_a_sweep_of_penalties_and_lists(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (files / "sweep.yaml").write_text(
        "grid:\n  width: 12\n  activation: jumprelu\n  l0: [0.001, 0.01]\n  matryoshka: [[4], [8]]\n"
        "  lr: 1e-3\n  betas: [0.9, 0.99]\n  patience: null\n  epochs: 2\n"
    )
    done = call(capsys, "fit", files / "x.npy", "--sweep", files / "sweep.yaml", "-o", files / "sweep")
    assert done.code == 0, done.err
    table = pd.read_parquet(files / "sweep" / "summary.parquet")
    assert table["l0_weight"].tolist() == [0.001, 0.001, 0.01, 0.01]
    assert table["l0"].between(0, 12).all()
    assert set(families(table)) == {"matryoshka [4]", "matryoshka [8]"}
    assert set(families(table.assign(activation=["a", "b"] * 2))) == {"a, matryoshka [4]", "b, matryoshka [8]"}
    assert families(table[["activation", "l0", "l0_weight"]]) == [""] * 4


def test_fit_refuses_before_it_trains(files: Path, capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    monkeypatch.setattr("cellprism.sae.fit", None)
    (files / "full").mkdir()
    (files / "full" / "mine.txt").write_text("x")
    (files / "sae.yaml").write_text("width: 8\nk: 2\n")
    full = call(capsys, "fit", files / "x.npy", "-o", files / "full", "--width", 8)
    assert full.code == 2
    assert "must be new or empty" in " ".join(full.err.split())
    both = call(capsys, "fit", files / "x.npy", "-o", files / "f", "--config", files / "sae.yaml", "--k", 3)
    assert both.code == 2
    assert "--k beside it" in both.err


def test_fit_keeps_every_seed_and_tells_what_consensus_costs(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start = ("fit", files / "x.npy", "--width", 16, "--k", 3, "--seeds", 2, "--epochs", 20)
    done = call(capsys, *start, "-o", files / "two")
    assert done.code == 0, done.err
    assert load(files / "two" / "seed-1").width == 16
    assert len(pd.read_parquet(files / "two" / "stability.parquet")) == 16
    assert set(pd.read_parquet(files / "two" / "matches.parquet")["feature"]) <= set(range(16))
    agreed = call(capsys, *start, "--consensus", "-o", files / "agreed")
    assert agreed.code == 0, agreed.err
    assert "live features return in most seeds; explained variance" in " ".join((agreed.out + agreed.err).split())


def test_a_sweep_keeps_to_its_file_and_its_budget(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (files / "sweep.yaml").write_text("grid:\n  width: [8, 16]\n  activation: relu\n  epochs: 2\n")
    start = ("fit", files / "x.npy", "--sweep", files / "sweep.yaml", "-o", files / "budget")
    refused = call(capsys, *start, "--epochs", 5, "--consensus")
    assert refused.code == 2
    assert "--epochs, --consensus beside it" in refused.err
    assert call(capsys, *start, "--memory-budget", 0).code == 2
    assert not (files / "budget").exists()
    assert call(capsys, *start, "--preset", "quick").code == 2
    assert call(capsys, "fit", files / "x.npy", "-o", files / "budget", "--memory-budget", 1).code == 2
    assert call(capsys, *start, "--memory-budget", 0.5).code == 0
    assert len(pd.read_parquet(files / "budget" / "summary.parquet")) == 2


def test_run_match_report(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in (0, 1):
        done = call(
            capsys, "run", files / "cells.h5ad", "--rep", "X_emb", "--gene-sets", files / "sets.gmt", "--labels",
            "cell_type", "--width", 16, "--k", 3, "--seed", seed, "--seeds", 1, "--epochs", 60, "-o", files / f"run{seed}",
        )  # fmt: skip
        assert done.code == 0, done.err
        assert "Report:" in done.out
    export = call(
        capsys, "export", files / "run0", "--gmt", files / "out" / "features.gmt", "--network", files / "out" / "net.csv"
    )  # fmt: skip
    assert export.code == 0, export.err
    edges = pd.read_csv(files / "out" / "net.csv")
    assert {"source", "target", "weight"} <= set(edges.columns)
    assert read_gmt(files / "out" / "features.gmt").keys() <= set(edges["source"])
    assert call(capsys, "export", files / "run0").code == 2
    assert call(capsys, "export", files / "run0", "--network", files / "net.xls").code == 2
    match = call(capsys, "match", files / "run0", files / "run1", "-o", files / "m.csv")
    assert match.code == 0, match.err
    table = pd.read_csv(files / "m.csv")
    assert len(table) == len(RunFolder.open(files / "run0").features)
    assert table["best_correlation"].max() > 0.8
    assert call(capsys, "match", files / "run0", files / "run1", "-o", files / "m.parquet").code == 0
    differs = call(
        capsys, "differential", files / "run0", "--by", "cell_type", "--conditions", "type 0,type 1", "-o", files / "d"
    )
    assert differs.code == 0, differs.err
    table = pd.read_parquet(files / "d" / "differential.parquet")
    assert table["qval"].min() < 1e-6
    assert "type 1 against type 0" in differs.out
    wrong = call(capsys, "differential", files / "run0", "--by", "age", "-o", files / "e")
    assert wrong.code == 2
    assert "--labels age" in wrong.err
    nobody = call(capsys, "differential", files / "run0", "--by", "cell_type", "--within", "type 9", "-o", files / "e")
    assert nobody.code == 2
    report = call(capsys, "report", files / "run0", "-o", files / "page.html")
    assert report.code == 0, report.err
    assert (files / "page.html").stat().st_size > 10_000


def test_demo_command_refuses_a_full_folder(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(capsys, "demo", "-o", files).code == 2


def test_version_help_and_exit_code_of_the_real_program(tmp_path: Path) -> None:
    program = [sys.executable, "-c", "from cellprism.cli import main; main()"]
    version = subprocess.run([*program, "--version"], capture_output=True, text=True, check=True)
    assert version.stdout.startswith("cellprism ")
    module = [sys.executable, "-m", "cellprism", "--version"]
    assert subprocess.run(module, capture_output=True, text=True, check=True).stdout == version.stdout
    shown = subprocess.run([*program, "--help"], capture_output=True, text=True, check=True).stdout
    for command in (
        "demo",
        "run",
        "fit",
        "encode",
        "annotate",
        "match",
        "differential",
        "steer",
        "report",
        "serve",
        "simulate",
        "benchmark",
    ):
        assert command in shown
    bad = subprocess.run([*program, "report", str(tmp_path)], capture_output=True, text=True, check=False)
    assert (bad.returncode, bad.stdout) == (2, "")
    assert bad.stderr.startswith("Error: ")
    assert "Traceback" not in bad.stderr
