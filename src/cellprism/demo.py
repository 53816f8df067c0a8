"""The demo: 700 real peripheral blood cells, embedded by PCA, offline."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellprism.run import RunFolder, RunOptions, run
from cellprism.run.folder import check_output

__all__ = ["demo_cells", "demo_counts", "run_demo"]


def demo_cells() -> ad.AnnData:
    """The 700 10x PBMCs that ship inside scanpy (``pbmc68k_reduced``): Zheng et al. 2017, Nature Communications 8:14049.

    Returns
    -------
    anndata.AnnData
        700 cells x 765 genes; log1p expression in ``.raw``, 50 principal components in ``obsm["X_pca"]``, the authors'
        cell types in ``obs["bulk_labels"]``.
    """
    import scanpy as sc

    with warnings.catch_warnings():  # the file that scanpy ships is of an older layout, and says so
        warnings.simplefilter("ignore")
        return sc.datasets.pbmc68k_reduced()


def demo_counts() -> ad.AnnData:
    """The molecules of :func:`demo_cells`: its log1p of counts per 10,000 taken back by each cell's total.

    Returns
    -------
    anndata.AnnData
        700 cells x 765 genes of whole numbers (CSR float32); the authors' cell types in ``obs["bulk_labels"]``, their map in
        ``obsm["X_umap"]``.
    """
    cells = demo_cells()
    per_molecule = cells.obs["n_counts"].to_numpy()[:, None] / 10_000
    counts = np.rint(np.expm1(cells.raw.X.toarray()) * per_molecule)
    return ad.AnnData(
        sp.csr_matrix(counts.astype(np.float32)),
        obs=cells.obs[["bulk_labels"]].copy(),
        var=pd.DataFrame(index=cells.raw.var_names),
        obsm={"X_umap": cells.obsm["X_umap"]},
    )


def run_demo(
    output: str | Path = "cellprism-demo",
    *,
    overwrite: bool = False,
    progress: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> RunFolder:
    """Run the whole main job on :func:`demo_cells`; the same as ``cellprism demo``."""
    check_output(output, overwrite=overwrite)
    with tempfile.TemporaryDirectory() as scratch:
        data = Path(scratch) / "pbmc68k_reduced.h5ad"
        cells = demo_cells()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            cells.write_h5ad(data)
        options = RunOptions(
            data=data,
            output=Path(output),
            rep="X_pca",
            raw=True,
            labels=("bulk_labels",),
            preset="demo",
            overwrite=overwrite,
            progress=progress,
        )
        return run(options, say)
