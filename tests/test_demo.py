"""The main job on real cells: what a biologist must see at first sight, and what the folder must hold."""

from __future__ import annotations

import json

import pandas as pd
import pytest
import scipy.sparse as sp

from cellprism.cli.common import print_findings
from cellprism.features.best import best_features
from cellprism.run import RunFolder
from cellprism.sae import load

# label: (least AUROC of its best feature, textbook markers of which one must be among that feature's ten top genes)
TYPES = {
    "CD14+ Monocyte": (0.9, {"CD14", "S100A8", "S100A9", "LYZ", "FCN1", "CST3", "AIF1", "LST1", "TYROBP", "FCER1G"}),
    "CD19+ B": (0.9, {"CD79A", "CD79B", "MS4A1", "CD19", "CD74", "BANK1"}),
    "CD56+ NK": (0.9, {"NKG7", "GNLY", "GZMA", "GZMB", "PRF1", "KLRD1", "CTSW"}),
    # Of the kinds of cells that are read off, none is these cells alone: they share their features with other T and NK cells.
    "CD8+ Cytotoxic T": (0.8, {"CD8A", "CD8B", "CCL5", "GZMA", "GZMH", "GZMK", "NKG7", "CST7"}),
    "Dendritic": (0.85, {"FCER1A", "CST3", "HLA-DRA", "HLA-DPB1", "HLA-DPA1", "HLA-DQA1", "CLEC10A", "CD74"}),
}
IMMUNE = {
    "Antigen presentation", "Cytotoxicity", "B-cell receptor", "T-cell receptor", "T-cell activation", "Interferon",
    "Chemotaxis", "Complement", "Phagocytosis", "MHC", "TNF", "NF-kB", "Inflamm",
}  # fmt: skip


@pytest.mark.parametrize("label", TYPES)
def test_each_type_has_a_detector_with_its_markers(demo: RunFolder, label: str) -> None:
    least, markers = TYPES[label]
    rows = demo.labels[demo.labels["value"] == label]
    best = rows.loc[rows["auroc"].idxmax()]
    assert best["auroc"] > least
    genes = demo.features.set_index("feature").loc[best["feature"], "top_genes"].split(", ")
    assert len(genes) == 10
    assert markers & set(genes), genes


def test_immune_processes_beyond_random_directions(demo: RunFolder) -> None:
    table = demo.features
    specific = table[(table["specific_set_reach"] == 0) & (table["specific_set_qval"] < 0.05)]
    carrying = specific[specific["specific_set"].map(lambda s: any(word.lower() in s.lower() for word in IMMUNE))]
    assert len(carrying) >= 3, specific["specific_set"].tolist()


def test_folder_is_complete(demo: RunFolder) -> None:
    names = {p.name for p in demo.path.iterdir()}
    tables = {f"{t}.parquet" for t in ("features", "genes", "sets", "labels", "cells")}
    assert names >= tables | {"sae", "codes.npz", "embedding.npy", "expression.npz", "run.json", "report.html"}
    sae = load(demo.path)
    assert (sae.encode(demo.embedding) != demo.codes).nnz == 0
    assert demo.codes.shape == (700, sae.width)
    assert sp.load_npz(demo.path / "expression.npz").shape == (700, 765)
    assert list(demo.features.columns[:13]) == [
        "feature", "name", "kind", "n_active", "mean_active", "max_active", "stability", "confound", "top_genes",
        "top_set", "top_set_qval", "top_label", "top_label_auroc",
    ]  # fmt: skip
    assert {"feature", "gene", "symbol", "modality", "log2fc", "statistic", "logpval", "pval", "qval"} <= set(
        demo.genes
    )
    assert {
        "feature", "set", "direction", "n_measured", "n_hits", "effect", "pval_rank", "qval_rank", "pval_ora", "qval_ora",
    } <= set(demo.sets)  # fmt: skip
    assert {"feature", "column", "value", "auroc", "f1", "precision", "recall", "qval"} <= set(demo.labels)
    assert {"cell", "bulk_labels", "x", "y"} <= set(demo.cells)


def test_rank_q_stands_on_the_row_of_its_sign(demo: RunFolder) -> None:
    rows = demo.sets
    up = rows[rows["direction"] == "up"].reset_index(drop=True)
    down = rows[rows["direction"] == "down"].reset_index(drop=True)
    assert (up["set"].astype(str) == down["set"].astype(str)).all()
    assert (up["qval_rank"].notna() != down["qval_rank"].notna()).all()
    assert (up.loc[up["qval_rank"].notna(), "effect"] >= 0).all()


def test_kinds_follow_the_label(demo: RunFolder) -> None:
    assert set(demo.features["kind"]) <= {"local", "regional", "global"}
    assert (demo.features["kind"] == "local").any()


def test_run_json_tells_how_it_was_made(demo: RunFolder) -> None:
    about = json.loads((demo.path / "run.json").read_text())
    assert about["descriptive"] is True
    assert about["seeds"] == [0, 1, 2]
    assert len(about["input"]["data"]["sha256"]) == 64
    assert about["recipe"]["preset"] == "quick"
    assert sum(row["chosen"] for row in about["landscape"]) == 1
    assert about["versions"]["cellprism"] == about["cellprism"]
    claims = {record["claim"]: record for record in about["shares"]}
    sets = claims["features with a set at q < 0.05"]
    assert sets["nulls"]["permuted cells"] <= 0.05
    assert set(sets["nulls"]) == {"random directions", "untrained SAE", "permuted cells"}
    assert all(record["verdict"] for record in about["shares"])


def test_the_sets_that_are_said_to_be_tested_are_tested(demo: RunFolder) -> None:
    n = demo.info["annotation"]["n_sets"]
    assert f"{n:,} of 280 sets are tested" in demo.info["gene_sets"]
    assert demo.sets["set"].nunique() == n


def test_findings_are_printed(demo: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    print_findings(demo)
    printed = capsys.readouterr().out
    assert "Monocyte" in printed
    assert "random" in printed
    assert "descriptive" in printed
    assert str(demo.path / "report.html") in printed
    codes = demo.codes.tocsc()[:, demo.features["feature"].to_numpy()]
    best = best_features(demo.features, codes, 10)
    assert len(best) == 10
    assert best["name"].is_unique
    assert not best["name"].str.startswith(("not testable", "no evidence")).any()
    assert pd.notna(best["top_set_qval"]).all()
