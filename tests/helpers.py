"""Small made-up data that several test files share."""

from __future__ import annotations

import warnings

import anndata as ad
import mudata
import numpy as np
import pandas as pd
import scipy.sparse as sp


def counts_adata(n_cells: int = 60, n_genes: int = 30, *, n_types: int = 3, seed: int = 0, d: int = 6) -> ad.AnnData:
    """Poisson counts of a few cell types, each with genes of its own; an embedding that sees the types."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(n_types, size=n_cells)
    rate = np.full((n_types, n_genes), 1.0)
    for t in range(n_types):
        rate[t, t::n_types] = 6.0
    counts = rng.poisson(rate[kind]).astype(np.float32)
    cells = ad.AnnData(
        sp.csr_matrix(counts),
        obs=pd.DataFrame(
            {
                "cell_type": pd.Categorical([f"type {t}" for t in kind]),
                "donor": pd.Categorical([f"d{i % 3}" for i in range(n_cells)]),
                "age": rng.normal(size=n_cells),
            },
            index=[f"cell{i}" for i in range(n_cells)],
        ),
        var=pd.DataFrame({"symbol": [f"S{i}" for i in range(n_genes)]}, index=[f"G{i}" for i in range(n_genes)]),
    )
    centres = rng.normal(scale=3, size=(n_types, d))
    cells.obsm["X_emb"] = (centres[kind] + rng.normal(size=(n_cells, d))).astype(np.float32)
    cells.obsm["X_umap"] = cells.obsm["X_emb"][:, :2].copy()  # so that no run waits for UMAP to compile itself
    return cells


def type_sets(n_genes: int = 30, n_types: int = 3, prefix: str = "G") -> dict[str, list[str]]:
    """One gene set a type of :func:`counts_adata`, and one that cuts across."""
    sets = {f"programme {t}": [f"{prefix}{g}" for g in range(t, n_genes, n_types)] for t in range(n_types)}
    return sets | {"mixed": [f"{prefix}{g}" for g in range(0, n_genes, 2)]}


def multimodal(**parts: ad.AnnData) -> mudata.MuData:
    """MuData of some modalities, without its announcements."""
    with warnings.catch_warnings(), mudata.set_options(pull_on_update=False):
        warnings.simplefilter("ignore")
        return mudata.MuData(parts)
