"""Which features return in another dictionary."""

from __future__ import annotations

from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd

from cellprism.data.sparse import as_csr
from cellprism.errors import InputError
from cellprism.features.matching import match as _match
from cellprism.run.folder import RunFolder
from cellprism.tl.stored import names_of, stored

__all__ = ["match"]


_FEWEST_SHARED = 20


def match(
    adata: ad.AnnData, other: ad.AnnData | str | Path, key: str = "prism", other_key: str = "prism"
) -> pd.DataFrame:
    """Which features return in another dictionary, over the cells that both have, found by name.

    Parameters
    ----------
    adata
        After :func:`fit`; gets the table in ``uns[key]["match"]``.
    other
        Another AnnData, the same one with another key, or a run folder.
    key, other_key
        Names of the results of :func:`fit`.

    Returns
    -------
    DataFrame
        A row a live feature: ``feature``, ``name``, then for the ``best`` match and for the one-to-one ``partner`` its
        feature, name and correlation of codes.

    Examples
    --------
    >>> table = prism.tl.match(adata, adata)
    >>> bool((table["best_feature"] == table["feature"]).all())
    True
    """
    kept = stored(adata, key)
    if isinstance(other, (str, Path)):
        folder = RunFolder.open(other)
        theirs, names, features = folder.codes, pd.Index(folder.cells["cell"].astype(str)), folder.features
    else:
        there = stored(other, other_key)
        theirs, names = as_csr(other.obsm[f"X_{other_key}"], "the matrix of codes"), other.obs_names
        features = pd.DataFrame(there.get("features", {"feature": [], "name": []}))
    if not (names.is_unique and adata.obs_names.is_unique):
        raise InputError(
            "cells are matched by name, so names must be unique",
            "names that repeat",
            "call adata.obs_names_make_unique()",
        )
    rows = names.get_indexer(adata.obs_names)
    shared = np.flatnonzero(rows >= 0)
    if shared.size < _FEWEST_SHARED:
        raise InputError(
            f"two dictionaries are matched on the cells they share, at least {_FEWEST_SHARED}",
            f"{shared.size} shared of {adata.n_obs} and {len(names)}",
            "give both the same cell names",
        )
    codes = as_csr(adata.obsm[f"X_{key}"], "the matrix of codes")
    found = _match(codes[shared], theirs[rows[shared]])
    live = np.flatnonzero(np.isfinite(found.best_correlation))
    table = pd.DataFrame({"feature": live, "name": names_of(kept.get("features"), live)})
    for what, partner, r in (
        ("best", found.best, found.best_correlation), ("partner", found.partner, found.partner_correlation)
    ):  # fmt: skip
        table[f"{what}_feature"] = partner[live]
        table[f"{what}_name"] = names_of(features, partner[live])
        table[f"{what}_correlation"] = r[live]
    kept["match"] = table
    return table
