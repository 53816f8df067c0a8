"""The red-cell programme of real marrow cells, without being told."""

from __future__ import annotations

from pathlib import Path

import anndata
import numpy as np
import scanpy as sc

from cellprism.features.annotate import annotate
from cellprism.genesets.gmt import read_gmt
from cellprism.stats.nulls import matched_directions

RED = {"Hba-a1", "Hba-a2", "Hbb-bs", "Hbb-bt", "Car2", "Slc4a1", "Alas2", "Gypa"}
PROCESS = (
    "oxygen transport|carbon dioxide transport|bicarbonate transport|heme biosynthetic|erythrocyte diff|ion homeost"
)


def test_directions_of_marrow_cells_hold_the_red_cell_programme(shared_data: Path) -> None:
    adata = anndata.read_h5ad(shared_data / "marrow_erythroid_mouse.h5ad")
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    embedding = sc.pp.pca(adata, n_comps=20, copy=True, random_state=0).obsm["X_pca"]
    codes = matched_directions(embedding, np.full(60, 300), np.random.default_rng(0))
    found = annotate(
        codes,
        adata.X,
        adata.var_names,
        read_gmt(shared_data / "GO_Biological_Process_2021.gmt"),
        symbols=adata.var["human_symbol"].astype(str).tolist(),
        nulls=("permuted",),
    )
    shares = found.shares.set_index("claim")["permuted"]
    assert shares["features with a gene at q < 0.05"] <= 0.05
    assert shares["features with a set at q < 0.05"] <= 0.05
    top = found.features.set_index("feature")["top_genes"].str.split(", ")
    red = top.index[[len(RED & set(genes)) >= 3 for genes in top]]
    assert len(red) > 0
    up = found.sets[(found.sets["direction"] == "up") & found.sets["feature"].isin(red)]
    significant = up[(up["qval_rank"] < 0.05) | (up["qval_ora"] < 0.05)]
    assert significant["set"].astype(str).str.contains(PROCESS).any()
