"""Turn a feature up or down."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np

from cellprism import embed
from cellprism.data.choice import is_mask
from cellprism.data.order import mask_of, refuse_other_order
from cellprism.data.query import rows_where
from cellprism.data.sparse import as_csr
from cellprism.embed import EmbeddingModel
from cellprism.errors import InputError
from cellprism.numeric import numbers_checked
from cellprism.steering import Effect, effect
from cellprism.steering.effect import plain
from cellprism.tl.stored import embedding, sae, stored

__all__ = ["steer"]


@numbers_checked
def steer(
    adata: ad.AnnData,
    feature: int,
    cells: Any = None,
    *,
    model: EmbeddingModel | str | Path,
    key: str = "prism",
    **options: Any,
) -> Effect:
    """Turn a feature up or down in chosen cells and read the effect in genes.

    Parameters
    ----------
    adata
        After :func:`fit`; gets the gene table in ``uns[key]["steering"]`` and its summary in
        ``uns[key]["steering_summary"]``.
    feature
        Number of the feature.
    cells
        Mask, row numbers or names of the cells, or a condition on ``obs`` such as ``"cell_type == 'B'"``
        (:func:`cellprism.data.query.rows_where`); None = all.
    model
        The embedding model that made ``rep``, or its folder; it must decode.
    key
        Name of the result of :func:`fit`.
    options
        As for :func:`cellprism.effect`: ``to``, ``to_quantile``, ``scale``, ``off``, ``gene_sets``, ``labels``, …; without
        an edit the feature is set to the 95th percentile of its active cells.

    Returns
    -------
    Effect
        Genes, sets, neighbours, doses and nulls.

    Examples
    --------
    >>> found = prism.tl.steer(adata, 1, model=model, to_quantile=0.9, n_null=5)
    >>> "log2fc" in adata.uns["prism"]["steering"]
    True
    """
    kept = stored(adata, key)
    decoder = model if isinstance(model, EmbeddingModel) else embed.load(model)
    if not {"to", "to_quantile", "scale", "add", "off"} & set(options):
        options["to_quantile"] = 0.95
    refuse_other_order(adata=adata, cells=mask_of(cells))
    cells = _rows(adata, cells)
    codes = as_csr(adata.obsm[f"X_{key}"], "the matrix of codes")
    Z = embedding(adata, kept["rep"])
    found = effect(sae(adata, key), decoder, Z, feature, cells=cells, codes=codes, **options)
    kept["steering"] = found.genes.reset_index(drop=True)
    kept["steering_summary"] = json.dumps(plain({"feature": int(feature)} | dict(found.summary)))
    return found


def _rows(adata: ad.AnnData, cells: Any) -> Any:
    """Names of cells and conditions on them as what :func:`cellprism.effect` takes."""
    if isinstance(cells, str):
        return rows_where(adata.obs, cells)
    if cells is None or np.asarray(cells).dtype.kind not in "OUST" or is_mask(cells):
        return cells
    at = adata.obs_names.get_indexer(np.asarray(cells))
    if (at < 0).any():
        raise InputError(
            "the cells must be in adata", f"{str(np.asarray(cells)[at < 0][0])!r}", "give names of obs_names"
        )
    return at
