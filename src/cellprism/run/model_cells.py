"""Cells in the form in which an embedding model sees them, in the run and ever after."""

from __future__ import annotations

from collections.abc import Mapping
from warnings import catch_warnings, simplefilter

import anndata as ad
import mudata
import pandas as pd
import scipy.sparse as sp

from cellprism.data.expression import Matrix
from cellprism.data.modalities import modalities
from cellprism.data.state import to_log1p, whole
from cellprism.data.thin import thin
from cellprism.errors import InputError
from cellprism.numeric import seed_after

__all__ = ["model_cells"]


def model_cells(
    cells: ad.AnnData | mudata.MuData,
    taken: Mapping[str, Matrix],
    *,
    thinned: bool | None = False,
    seed: int = 0,
) -> tuple[ad.AnnData | mudata.MuData, dict[str, sp.csr_array] | None]:
    """The cells with the model's input in X, and the counts left for testing where they were split.

    Parameters
    ----------
    cells
        What is embedded.
    taken
        Its matrices, of :func:`cellprism.data.expression.take_matrices`.
    thinned
        Whether counts are split: False, True (refused for other values) or None (where they are counts).
    seed
        Of the split.
    """
    parts: dict[str, ad.AnnData] = {}
    kept: dict[str, sp.csr_array] = {}
    held = modalities(cells)
    for i, (name, matrix) in enumerate(taken.items()):
        values = matrix.values
        if thinned is not False and matrix.state == "counts" and whole(values):
            values, kept[name] = thin(values, seed=seed_after(seed, i))
        elif thinned:
            raise InputError(
                "--thin needs raw counts",
                f"{matrix.state} values{'' if whole(values) else ' with fractions'} in {matrix.where}",
                "give --layer with the counts",
            )
        elif matrix.state != "counts" or not whole(values):
            values = to_log1p(values, matrix.state)
        var = pd.DataFrame(index=pd.Index(matrix.genes))
        parts[name] = ad.AnnData(sp.csr_matrix(values), obs=held[name].obs, var=var)
    if not isinstance(cells, mudata.MuData):
        return next(iter(parts.values())), kept or None
    with mudata.set_options(pull_on_update=False), catch_warnings():
        simplefilter("ignore")  # a protein often has the name of its gene
        made = mudata.MuData(parts)
    made.obs = cells.obs.copy()  # batches and covariates are columns of all modalities
    return made, kept or None
