"""The AnnData face: read from and write to ``adata``, work elsewhere."""

from __future__ import annotations

import dataclasses
import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch

from cellprism import embed, genesets
from cellprism.data.checks import check_embedding, remarks
from cellprism.data.embedding import align, embedding_from_obsm
from cellprism.data.expression import measured_expression
from cellprism.data.sparse import as_csr
from cellprism.embed import EmbeddingModel
from cellprism.errors import CellsLeftOut, InputError
from cellprism.features.annotate import Annotation
from cellprism.features.annotate import annotate as _annotate
from cellprism.features.stability import fit_matches
from cellprism.run.knowledge import cell_columns
from cellprism.sae import SAE, Fit, SAEConfig
from cellprism.sae import fit as _fit
from cellprism.sae.scaling import AffineScaling
from cellprism.steer import Effect, effect
from cellprism.steer.effect import plain

__all__ = ["annotate", "fit", "sae", "steer"]

TABLES = ("features", "genes", "sets", "labels")


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
    """
    _refuse_taken(adata, key)
    X = _embedding(adata, rep)
    for remark in remarks(X, list(map(str, adata.obs_names))):
        warnings.warn(remark, stacklevel=2)
    fitted = _fit(X, cfg, seed=seed, seeds=seeds, **options)
    codes = fitted.sae.encode(X)
    adata.obsm[f"X_{key}"] = sp.csr_matrix(codes)
    adata.uns[key] = {
        "rep": rep,
        "config": {k: v for k, v in fitted.sae.config.to_dict().items() if v is not None},
        "tensors": {name: tensor.numpy() for name, tensor in fitted.sae.state_dict().items()},
        "metrics": {k: float(v) for k, v in fitted.metrics.items()},
    }
    if "recipe" in fitted.options:
        adata.uns[key]["recipe"] = json.dumps(fitted.options["recipe"])
    if fitted.consensus is not None:
        adata.uns[key]["consensus"] = fitted.consensus
    if fitted.siblings:
        stable, matches = fit_matches(fitted, X)
        adata.uns[key] |= {"stability": stable["stability"].to_numpy(), "matches": matches}
    return fitted


def sae(adata: ad.AnnData, key: str = "prism") -> SAE:
    """The SAE that :func:`fit` stored in ``uns[key]``."""
    stored = _stored(adata, key)
    tensors = {name: torch.as_tensor(np.asarray(value)) for name, value in stored["tensors"].items()}
    # What is not there was None when it was stored: an .h5ad file holds no None.
    config: dict[str, Any] = dict.fromkeys(field.name for field in dataclasses.fields(SAEConfig))
    config |= {k: v.item() if isinstance(v, np.generic) else v for k, v in stored["config"].items()}
    config["matryoshka"] = tuple(int(m) for m in np.atleast_1d(stored["config"].get("matryoshka", ())))
    scaling = AffineScaling(*(tensors[n].numpy() for n in ("mean", "forward_map", "backward_map")))
    model = SAE(SAEConfig.from_dict(config), scaling)
    model.load_state_dict(tensors)
    return model.eval()


def annotate(
    adata: ad.AnnData,
    gene_sets: str | Path | Sequence[str | Path] | Mapping[str, Sequence[str]] = "bundled",
    key: str = "prism",
    *,
    labels: Sequence[str] | None = None,
    gene_symbols: str | None = None,
    strata: str | None = None,
    donor: str | np.ndarray | None = "strata",
    layer: str | None = None,
    raw: bool = False,
    expression_state: str | Mapping[str, str] | None = None,
    **options: Any,
) -> Annotation:
    """Name the features that :func:`fit` stored, by genes, gene sets and labels.

    Parameters
    ----------
    adata
        Gets the tables ``features``, ``genes``, ``sets``, ``labels`` and ``shares`` in ``uns[key]``.
    gene_sets
        A mapping from names to symbols, or what :func:`cellprism.genesets.load` takes.
    key
        Name of the result of :func:`fit`.
    labels
        ``obs`` columns to compare features with: ``"COL"``, ``"COL:category"`` or ``"COL:number"``.
    gene_symbols
        ``var`` column with the symbols that gene sets use; None = ``var_names``.
    strata
        ``obs`` column within which cells are compared.
    donor
        ``obs`` column (or array) of the donors; by default the strata.
    layer, raw
        Where the expression lies; default ``X``.
    expression_state
        What it is: counts, normalised, log1p, log2 or fractions, of all modalities or by modality; None = by evidence.
    options
        As for :func:`cellprism.annotate`; ``depth`` is that of the counts, where they are counts.

    Warns
    -----
    CellsLeftOut
        Where cells are left out of tests, or a column was taken as something that it might not be.

    Returns
    -------
    Annotation
        The same tables as an object.
    """
    stored = _stored(adata, key)
    column = donor if isinstance(donor, str) and (donor != "strata" or donor in adata.obs) else None
    columns = cell_columns(adata, labels or (), strata, column)
    for note in columns.labels.notes:
        warnings.warn(note, CellsLeftOut, stacklevel=2)
    expression = measured_expression(adata, layer=layer, raw=raw, gene_symbols=gene_symbols, state=expression_state)
    sets = dict(gene_sets) if isinstance(gene_sets, Mapping) else genesets.load(gene_sets, warnings.warn)
    given = {"depth": expression.depth, "label_kinds": columns.labels.kinds} | options
    found = _annotate(
        as_csr(adata.obsm[f"X_{key}"], "the matrix of codes"),
        expression.values,
        expression.genes,
        sets,
        labels=columns.labels.table.reset_index(drop=True) if labels else None,
        strata=columns.strata,
        donor=donor if columns.donor is None else columns.donor,
        symbols=expression.symbols,
        embedding=_embedding(adata, stored["rep"]),
        modality=expression.modality,
        **given,
    )
    features = found.features.copy()
    if "stability" in stored:
        features["stability"] = np.asarray(stored["stability"])[features["feature"]]
    tables: dict[str, pd.DataFrame] = {n: getattr(found, n) for n in TABLES} | {"features": features}
    for name, table in (tables | {"shares": found.shares}).items():
        stored[name] = table.reset_index(drop=True)
    return found


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
        Boolean mask, indices or names of the cells; None = all.
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
    """
    stored = _stored(adata, key)
    decoder = model if isinstance(model, EmbeddingModel) else embed.load(model)
    if not {"to", "to_quantile", "scale", "add", "off"} & set(options):
        options["to_quantile"] = 0.95
    if cells is not None:
        cells = np.asarray(cells)
        if cells.dtype.kind in "OUST":
            at = adata.obs_names.get_indexer(cells)
            if (at < 0).any():
                raise InputError("the cells must be in adata", f"{str(cells[at < 0][0])!r}", "give names of obs_names")
            cells = at
    codes = as_csr(adata.obsm[f"X_{key}"], "the matrix of codes")
    Z = _embedding(adata, stored["rep"])
    found = effect(sae(adata, key), decoder, Z, feature, cells=cells, codes=codes, **options)
    stored["steering"] = found.genes.reset_index(drop=True)
    stored["steering_summary"] = json.dumps(plain({"feature": int(feature)} | dict(found.summary)))
    return found


def _embedding(adata: Any, rep: str) -> np.ndarray:
    """An ``obsm`` entry of any stored form as float32, in the order of the cells."""
    source = embedding_from_obsm(adata, rep)
    values = align(source, adata.obs_names)
    return np.ascontiguousarray(check_embedding(values, list(map(str, adata.obs_names))), dtype=np.float32)


def _refuse_taken(adata: ad.AnnData, key: str) -> None:
    """Refuse a key under which something lies that :func:`fit` did not put there."""
    ours = isinstance(adata.uns.get(key), Mapping) and {"config", "tensors"} <= set(adata.uns[key])
    taken = [f"obsm['X_{key}']"] if f"X_{key}" in adata.obsm else []
    taken += [f"uns[{key!r}]"] if key in adata.uns else []
    if taken and not ours:
        raise InputError(
            "results must not take the place of what adata holds",
            f"{taken[0]}, which is not of fit",
            "give another `key=`",
        )


def _stored(adata: ad.AnnData, key: str) -> dict[str, Any]:
    if key not in adata.uns or f"X_{key}" not in adata.obsm:
        raise InputError(
            "features must be fitted before they are used",
            f"no uns[{key!r}]",
            f"call prism.tl.fit(adata, rep=…, key={key!r})",
        )
    stored: dict[str, Any] = adata.uns[key]
    return stored
