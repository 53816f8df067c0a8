from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from cli_runner import call
from helpers import counts_adata
from scipy import sparse
from sklearn.metrics import roc_auc_score

from cellprism import embed, sae
from cellprism.run.folder import RunFolder


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The parts of a run folder that steering reads, from real parts at small size."""
    folder = tmp_path_factory.mktemp("steer") / "run"
    cells = counts_adata(150, 60)
    sets = folder.parent / "sets.gmt"
    sets.write_text("".join(f"type {t}\t\t" + "\t".join(cells.var_names[t::3]) + "\n" for t in range(3)))
    model = embed.train("pca", cells, n_components=6)
    Z = model.encode(cells)
    fitted = sae.fit(Z, sae.SAEConfig(width=12, activation="topk", k=3), epochs=60)
    codes = fitted.sae.encode(Z)
    codes = sparse.csr_array(codes * (np.arange(12) < 11).astype(np.float32))  # so that one feature is surely dead
    codes.eliminate_zeros()
    folder.mkdir()
    fitted.sae.save(folder / "sae")
    model.save(folder / "model")
    sparse.save_npz(folder / "codes.npz", codes)
    np.save(folder / "embedding.npy", Z)
    live = np.flatnonzero(np.asarray((codes != 0).sum(0)).ravel())
    kinds = sorted(set(cells.obs["cell_type"]))
    dense = codes.toarray()
    labels = [
        {"feature": f, "value": t, "auroc": roc_auc_score(cells.obs["cell_type"] == t, dense[:, f])}
        for f in live
        for t in kinds
    ]
    genes = [
        {"feature": f, "gene": g, "symbol": g, "statistic": z, "log2fc": z, "qval": 0.01}
        for f in live
        for g, z in zip(cells.var_names, np.corrcoef(dense[:, f], cells.X.toarray().T)[0, 1:], strict=True)
    ]
    tables = {
        "features": pd.DataFrame({"feature": live}),
        "genes": pd.DataFrame(genes),
        "sets": pd.DataFrame({"feature": []}),
        "labels": pd.DataFrame(labels),
        "cells": cells.obs.rename_axis("cell").reset_index(),
    }
    for name, table in tables.items():
        table.to_parquet(folder / f"{name}.parquet", index=False)
    about = {"format_version": 1, "label_columns": ["cell_type"], "arguments": {"gene_sets": [str(sets)]}}
    (folder / "run.json").write_text(json.dumps(about))
    return folder


def strongest(run_dir: Path, label: str) -> int:
    table = RunFolder.open(run_dir).labels
    return int(table[table["value"] == label].sort_values("auroc").iloc[-1]["feature"])


def test_a_types_feature_turned_up_in_another_type_raises_its_genes(run_dir: Path, tmp_path: Path, capsys) -> None:
    feature = strongest(run_dir, "type 1")
    out = tmp_path / "out"
    done = call(
        capsys,
        *("steer", run_dir, "--feature", feature, "--to-quantile", 0.9),
        *("--cells", "cell_type == 'type 0'", "-o", out),
    )
    assert done.code == 0, done.err
    assert "Genes that change most" in done.out
    table = pd.read_parquet(out / "steering.parquet")
    assert list(table)[:8] == ["gene", "symbol", "modality", "log2fc", "pval", "qval", "null_pval", "monotonicity"]
    assert len(table) == 60
    assert (table["symbol"] == table["gene"]).all()
    content = json.loads((out / "steering.json").read_text())
    best = max(content["sets"], key=lambda s: s["effect"])
    assert best["set"] == "type 1"
    near = {r["value"]: r["change"] for r in content["neighbours"]}
    assert near["type 1"] > 0
    assert content["summary"]["cells_chosen"] == (RunFolder.open(run_dir).cells["cell_type"] == "type 0").sum()


WRONG = {
    "no feature of that number": (["--feature", 99, "--off"], "from 0 to 11"),
    "two edits": (["--feature", 0, "--off", "--to", 1.0], "xactly one of --to, --to-quantile, --scale, --add, --off"),
    "no edit": (["--feature", 0], "xactly one"),
    "query": (["--feature", 0, "--off", "--cells", "celltype == 'B'"], "columns: 'cell'"),
    "query that chooses nothing": (["--feature", 0, "--off", "--cells", "cell_type == 'B'"], "t least one cell"),
    "no model": (["--feature", 0, "--off", "--model", "/nowhere"], "no model in"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_ends_with_two_and_writes_nothing(run_dir: Path, tmp_path: Path, capsys, case: str) -> None:
    arguments, text = WRONG[case]
    done = call(capsys, "steer", run_dir, *arguments, "-o", tmp_path / "out")
    assert done.code == 2
    assert text in done.err
    assert not (tmp_path / "out").exists()


def test_a_dead_feature_is_told(run_dir: Path, tmp_path: Path, capsys) -> None:
    done = call(capsys, "steer", run_dir, "--feature", 11, "--to", 1, "-o", tmp_path / "out")
    assert done.code == 2
    assert "active in none" in done.err


def test_a_run_without_its_model_asks_for_one(run_dir: Path, tmp_path: Path, capsys) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(run_dir, bare)
    shutil.move(bare / "model", tmp_path / "model")
    assert call(capsys, "steer", bare, "--feature", 0, "--scale", 2, "-o", tmp_path / "a").code == 2
    live = int(RunFolder.open(run_dir).features["feature"].iloc[0])
    done = call(
        capsys, "steer", bare, "--feature", live, "--scale", 2, "--model", tmp_path / "model", "-o", tmp_path / "a"
    )
    assert done.code == 0, done.err
    assert sae.load(bare / "sae").width == 12


def test_code_among_the_cells_is_not_run(run_dir: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for query in ("@pd.io.common.os.system('touch PWNED')", "@table.to_csv('PWNED')"):
        done = call(capsys, "steer", run_dir, "--feature", 0, "--off", "--cells", query, "-o", tmp_path / "out")
        assert done.code == 2
    assert not list(tmp_path.iterdir())


def test_a_sample_of_the_cells_is_said(run_dir: Path, tmp_path: Path, capsys) -> None:
    live = int(RunFolder.open(run_dir).features["feature"].iloc[0])
    arguments = ("steer", run_dir, "--feature", live, "--add", 1.0, "-o", tmp_path / "out", "--max-cells", 40)
    done = call(capsys, *arguments)
    assert done.code == 0, done.err
    assert "40 of 150 cells, drawn at random" in done.out
