"""Train a dictionary on an embedding of the cells."""

from __future__ import annotations

import json
from typing import Any

import anndata as ad
import scipy.sparse as sp

from cellprism.data.checks import already_told, remarks
from cellprism.errors import EmbeddingRemark, warn
from cellprism.features.stability import fit_matches
from cellprism.numeric import numbers_checked
from cellprism.sae import Fit, SAEConfig
from cellprism.sae import fit as _fit
from cellprism.tl.stored import embedding, forget, record, refuse_taken

__all__ = ["fit"]


@numbers_checked
def fit(
    adata: ad.AnnData,
    rep: str,
    key: str = "prism",
    *,
    cfg: SAEConfig | None = None,
    seed: int = 0,
    seeds: int = 3,
    **options: Any,
) -> Fit:
    """Train a sparse autoencoder on an embedding of the cells.

    Parameters
    ----------
    adata
        Gets ``obsm["X_" + key]``, the codes (cells, width) as CSR, and ``uns[key]``: the SAE's config and tensors, its
        metrics, the stability of each feature, the embedding's key, and, where the recipe was chosen, ``recipe`` (JSON: why
        it was chosen and what was tried).
    rep
        Key of the embedding in ``obsm``.
    key
        Name of the result.
    cfg, seed, seeds, options
        As for :func:`cellprism.fit`; ``cfg=None`` is the automatic recipe, and ``consensus=True`` adds its table to
        ``uns[key]``.

    Returns
    -------
    Fit
        The same result as an object.

    Examples
    --------
    >>> fitted = prism.tl.fit(
    ...     adata, "X_scVI", key="mine", cfg=prism.SAEConfig(width=16, activation="topk", k=4), epochs=3
    ... )
    >>> adata.obsm["X_mine"].shape == (adata.n_obs, 16)
    True
    """
    refuse_taken(adata, key, rep=rep)
    X = embedding(adata, rep)
    for remark in remarks(X, list(map(str, adata.obs_names))):
        warn(remark, EmbeddingRemark)
    with already_told():
        fitted = _fit(X, cfg, seed=seed, seeds=seeds, **options)
    codes = fitted.sae.encode(X)
    forget(adata, key, rep)
    adata.obsm[f"X_{key}"] = sp.csr_matrix(codes)
    adata.uns[key] = record(fitted.sae, rep, fitted.metrics)
    if "recipe" in fitted.options:
        adata.uns[key]["recipe"] = json.dumps(fitted.options["recipe"])
    if fitted.consensus is not None:
        adata.uns[key]["consensus"] = fitted.consensus
    if fitted.siblings:
        stable, matches = fit_matches(fitted, X)
        adata.uns[key] |= {"stability": stable["stability"].to_numpy(), "matches": matches}
    return fitted
