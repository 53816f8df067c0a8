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
from cellprism.data.query import rows_where
from cellprism.data.read import describe_keys
from cellprism.data.sparse import as_csr
from cellprism.embed import EmbeddingModel
from cellprism.errors import CellsLeftOut, InputError
from cellprism.features.annotate import Annotation
from cellprism.features.annotate import annotate as _annotate
from cellprism.features.differential import Differential
from cellprism.features.differential import differential as _differential
from cellprism.features.matching import match as _match
from cellprism.features.stability import fit_matches
from cellprism.run.encode import Encoded, embed_cells, model_of
from cellprism.run.encode import encode as _encode
from cellprism.run.folder import RunFolder
from cellprism.run.knowledge import cell_columns
from cellprism.sae import SAE, Fit, SAEConfig
from cellprism.sae import fit as _fit
from cellprism.sae import load as load_sae
from cellprism.sae.scaling import AffineScaling
from cellprism.steering import Effect, effect
from cellprism.steering.effect import plain

__all__ = ["annotate", "differential", "encode", "fit", "match", "sae", "steer"]

_FEWEST_SHARED = 20


def __dir__() -> list[str]:
    return __all__


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

    Examples
    --------
    >>> fitted = prism.tl.fit(
    ...     adata, "X_scVI", key="mine", cfg=prism.SAEConfig(width=16, activation="topk", k=4), epochs=3
    ... )
    >>> adata.obsm["X_mine"].shape == (adata.n_obs, 16)
    True
    """
    _refuse_taken(adata, key)
    X = _embedding(adata, rep)
    for remark in remarks(X, list(map(str, adata.obs_names))):
        warnings.warn(remark, stacklevel=2)
    fitted = _fit(X, cfg, seed=seed, seeds=seeds, **options)
    codes = fitted.sae.encode(X)
    adata.obsm[f"X_{key}"] = sp.csr_matrix(codes)
    adata.uns[key] = _record(fitted.sae, rep, fitted.metrics)
    if "recipe" in fitted.options:
        adata.uns[key]["recipe"] = json.dumps(fitted.options["recipe"])
    if fitted.consensus is not None:
        adata.uns[key]["consensus"] = fitted.consensus
    if fitted.siblings:
        stable, matches = fit_matches(fitted, X)
        adata.uns[key] |= {"stability": stable["stability"].to_numpy(), "matches": matches}
    return fitted


def sae(adata: ad.AnnData, key: str = "prism") -> SAE:
    """The SAE that :func:`fit` stored in ``uns[key]``.

    Examples
    --------
    >>> prism.tl.sae(adata).width == adata.obsm["X_prism"].shape[1]
    True
    """
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

    Examples
    --------
    >>> found = prism.tl.annotate(adata, sets, labels=["cell_type"], nulls=("permuted",))
    >>> adata.uns["prism"]["features"].shape == found.features.shape
    True
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

    Examples
    --------
    >>> found = prism.tl.steer(adata, 1, model=model, to_quantile=0.9, n_null=5)
    >>> "log2fc" in adata.uns["prism"]["steering"]
    True
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


def differential(
    adata: ad.AnnData,
    by: str,
    donor: str | None = None,
    *,
    within: Any = None,
    conditions: tuple[str, str] | None = None,
    key: str = "prism",
) -> Differential:
    """Compare every feature between two conditions, over cells or over donors.

    Parameters
    ----------
    adata
        After :func:`fit`; gets the table, smallest p first, in ``uns[key]["differential"]`` and what was compared in
        ``uns[key]["differential_info"]`` (JSON).
    by, donor
        Columns of ``obs``.
    within
        Cells to compare: a boolean mask, or a condition on ``obs`` such as ``"cell_type == 'B'"``
        (:func:`cellprism.data.query.rows_where`); None = all.
    conditions
        The two values of ``by`` to compare, the reference first; needed when there are more than two.
    key
        Name of the result of :func:`fit`.

    Returns
    -------
    Differential
        The same as an object, see :func:`cellprism.differential`.

    Examples
    --------
    >>> found = prism.tl.differential(adata, by="condition", donor="donor")
    >>> adata.uns["prism"]["differential"]["pval"].is_monotonic_increasing
    True
    """
    stored = _stored(adata, key)
    for column in (by, *([donor] if donor else [])):
        if column not in adata.obs:
            raise InputError(
                "the column must exist in obs", f"{column!r}; there are {describe_keys(adata.obs)}", "give one of these"
            )
    mask = rows_where(adata.obs, within) if isinstance(within, str) else within
    found = _differential(
        as_csr(adata.obsm[f"X_{key}"], "the matrix of codes"), adata.obs[by], None if donor is None else adata.obs[donor],
        within=mask, conditions=conditions,
    )  # fmt: skip
    table = found.table.sort_values(["pval", "feature"], ignore_index=True)
    if "features" in stored:
        table["name"] = _names(stored["features"], table["feature"])
    stored["differential"] = table
    stored["differential_info"] = json.dumps(plain(found.info))
    return found


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
    stored = _stored(adata, key)
    if isinstance(other, (str, Path)):
        folder = RunFolder.open(other)
        theirs, names, features = folder.codes, pd.Index(folder.cells["cell"].astype(str)), folder.features
    else:
        there = _stored(other, other_key)
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
    table = pd.DataFrame({"feature": live, "name": _names(stored.get("features"), live)})
    for what, partner, r in (
        ("best", found.best, found.best_correlation), ("partner", found.partner, found.partner_correlation)
    ):  # fmt: skip
        table[f"{what}_feature"] = partner[live]
        table[f"{what}_name"] = _names(features, partner[live])
        table[f"{what}_correlation"] = r[live]
    stored["match"] = table
    return table


def encode(
    adata: ad.AnnData,
    source: ad.AnnData | str | Path,
    key: str = "prism",
    *,
    rep: str | None = None,
    model: EmbeddingModel | str | Path | None = None,
    layer: str | None = None,
) -> Encoded:
    """Codes of further cells by a dictionary that was fitted before, comparable with those of its own cells.

    Parameters
    ----------
    adata
        The new cells; gets ``obsm["X_" + key]``, the embedding in ``obsm[rep]``, and ``uns[key]``: the dictionary with the
        names and tables of its features, so that figures and :func:`differential` work on the new cells too.
    source
        The AnnData that was fitted, or a run folder. A run that split counts embeds as large a part of the molecules.
    key
        Name of the result, in ``source`` too where that is an AnnData.
    rep
        Key of an embedding by the same model that the cells have already; None = embed them with ``model``.
    model
        The embedding model or its folder, also one that scvi-tools saved; None = the run's own.
    layer
        Where the counts lie; None = as in the run.

    Returns
    -------
    Encoded
        The same as an object; a misfit is warned of.

    Examples
    --------
    >>> new = cells[:50].copy()
    >>> encoded = prism.tl.encode(new, "RUN", key="coded", model="my_scvi")
    >>> new.obsm["X_coded"].shape[0]
    50
    """
    _refuse_taken(adata, key)
    decoder = embed.load(model) if isinstance(model, (str, Path)) else model
    notes: list[str] = []
    if isinstance(source, (str, Path)):
        folder = RunFolder.open(source)
        dictionary, trained = load_sae(folder.path), dict(folder.info.get("metrics", {}))
        tables = {n: getattr(folder, n) for n in TABLES}
        if rep is None:
            found = embed_cells(folder, adata, decoder or model_of(folder), layer=layer, notes=notes)
    else:
        stored = _stored(source, key)
        dictionary, trained = sae(source, key), dict(stored["metrics"])
        tables = {n: stored[n] for n in TABLES if n in stored}
        if rep is None and decoder is None:
            rep = str(stored["rep"])
        elif rep is None and decoder is not None:
            found = np.asarray(decoder.encode(adata), dtype=np.float32)
    if rep is None:
        rep = f"X_{key}_embedding"
        adata.obsm[rep] = found
    out = _encode(dictionary, _embedding(adata, rep), tuple(map(str, adata.obs_names)), trained)
    adata.obsm[f"X_{key}"] = sp.csr_matrix(out.codes)
    metrics = {k: v for k, v in trained.items() if isinstance(v, (int, float))}
    adata.uns[key] = _record(dictionary, rep, metrics) | {n: t.reset_index(drop=True) for n, t in tables.items()}
    if out.misfit:
        warnings.warn(f"{out.misfit} ({out.fit})", stacklevel=2)
    return out


def _record(dictionary: SAE, rep: str, metrics: Mapping[str, float]) -> dict[str, Any]:
    """What is kept of a dictionary in ``uns``."""
    return {
        "rep": rep,
        "config": {k: v for k, v in dictionary.config.to_dict().items() if v is not None},
        "tensors": {name: tensor.numpy().copy() for name, tensor in dictionary.state_dict().items()},
        "metrics": {k: float(v) for k, v in metrics.items()},
    }


def _names(features: pd.DataFrame | None, numbers: Any) -> list[str]:
    """Names of features by number; empty where there are none."""
    known = {} if features is None else dict(zip(features["feature"], features["name"].astype(str), strict=True))
    return [known.get(n, "") for n in np.asarray(numbers).tolist()]


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
