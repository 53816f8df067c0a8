"""Which features return in another dictionary."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellprism.data.embedding import embedding_from_obsm
from cellprism.data.sparse import as_csr
from cellprism.features.comparison import compare
from cellprism.features.dictionary import Dictionary, dictionary_of
from cellprism.features.options import By, CompareOptions
from cellprism.numeric import numbers_checked
from cellprism.options import documented
from cellprism.tl.stored import names_of, sae, stored

__all__ = ["match"]


@numbers_checked
@documented(CompareOptions)
def match(
    adata: ad.AnnData,
    other: ad.AnnData | str | Path,
    key: str = "prism",
    other_key: str = "prism",
    *,
    by: By = CompareOptions.by,
    level: float | None = CompareOptions.level,
    permutations: int = CompareOptions.permutations,
    within: str | None = CompareOptions.within,
    seed: int = CompareOptions.seed,
) -> pd.DataFrame:
    """Which features return in another dictionary; see :func:`cellprism.match`.

    Parameters
    ----------
    adata
        After :func:`fit`; gets the table in ``uns[key]["match"]``.
    other
        Another AnnData, the same one with another key, or a run folder; cells are found by name.
    key, other_key
        Names of the results of :func:`fit`.
    {CompareOptions}

    Returns
    -------
    DataFrame
        A row a live feature: ``feature``, ``name``, ``relation``, then for the ``best`` match and for the one-to-one
        ``partner`` its feature, name, score, p and q value, as in :class:`cellprism.features.comparison.Comparison`.

    Examples
    --------
    >>> table = prism.tl.match(adata, adata)
    >>> bool((table["best_feature"] == table["feature"]).all())
    True
    """
    theirs = dictionary_of(other, by)
    found = compare(
        _dictionary(adata, key, by, within),
        theirs if theirs is not None else _dictionary(other, other_key, by, within),
        CompareOptions(by, level, permutations, within, seed),
    )
    adata.uns[key]["match"] = found.table
    return found.table


def _dictionary(adata: Any, key: str, by: str, within: str | None) -> Dictionary:
    kept = stored(adata, key)
    codes = as_csr(adata.obsm[f"X_{key}"], "the matrix of codes")
    live = np.flatnonzero(np.diff(sp.csc_array(codes).indptr))
    cells = pd.DataFrame({"cell": adata.obs_names.astype(str)})
    if within is not None and within in adata.obs:
        cells[within] = adata.obs[within].to_numpy(dtype=object)
    decoder = by == "decoder"
    return Dictionary(
        pd.DataFrame({"feature": live, "name": names_of(kept.get("features"), live)}),
        codes=sp.csr_array(sp.csc_array(codes)[:, live]),
        cells=cells,
        embedding=embedding_from_obsm(adata, kept["rep"]).values if decoder and kept["rep"] in adata.obsm else None,
        directions=sae(adata, key).decoder_directions()[live] if decoder else None,
        genes=kept.get("genes"),
        sets=kept.get("sets"),
    )
