"""Each step alone, through the command line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from cli_runner import call
from helpers import counts_adata, type_sets

from cellprism.genesets.gmt import write_gmt
from cellprism.run import RunFolder
from cellprism.sae import load


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
    table = pd.read_parquet(files / "named" / "features.parquet")
    assert set(table["top_label"]) <= {"", "type 0", "type 1", "type 2"}


def test_run_match_report(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in (0, 1):
        done = call(
            capsys, "run", files / "cells.h5ad", "--rep", "X_emb", "--gene-sets", files / "sets.gmt", "--labels",
            "cell_type", "--width", 16, "--k", 3, "--seed", seed, "--seeds", 1, "--epochs", 60, "-o", files / f"run{seed}",
        )  # fmt: skip
        assert done.code == 0, done.err
        assert "Report:" in done.out
    match = call(capsys, "match", files / "run0", files / "run1", "-o", files / "m.csv")
    assert match.code == 0, match.err
    table = pd.read_csv(files / "m.csv")
    assert len(table) == len(RunFolder.open(files / "run0").features)
    assert table["best_correlation"].max() > 0.8
    assert call(capsys, "match", files / "run0", files / "run1", "-o", files / "m.parquet").code == 0
    report = call(capsys, "report", files / "run0", "-o", files / "page.html")
    assert report.code == 0, report.err
    assert (files / "page.html").stat().st_size > 10_000


def test_demo_command_refuses_a_full_folder(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(capsys, "demo", "-o", files).code == 2


def test_version_help_and_exit_code_of_the_real_program(tmp_path: Path) -> None:
    program = [sys.executable, "-c", "from cellprism.cli import main; main()"]
    version = subprocess.run([*program, "--version"], capture_output=True, text=True, check=True)
    assert version.stdout.startswith("cellprism ")
    shown = subprocess.run([*program, "--help"], capture_output=True, text=True, check=True).stdout
    for command in ("demo", "run", "fit", "encode", "annotate", "match", "steer", "report", "simulate", "benchmark"):
        assert command in shown
    bad = subprocess.run([*program, "report", str(tmp_path)], capture_output=True, text=True, check=False)
    assert (bad.returncode, bad.stdout) == (2, "")
    assert bad.stderr.startswith("Error: ")
    assert "Traceback" not in bad.stderr
