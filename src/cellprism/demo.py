"""The demo: 700 real peripheral blood cells, embedded by PCA, offline."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import anndata as ad

from cellprism.run import RunFolder, RunOptions, run
from cellprism.run.folder import check_output

__all__ = ["demo_cells", "run_demo"]


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
