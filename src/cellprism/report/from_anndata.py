"""The tables that the AnnData functions keep, as the source of a page or a figure."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
from scipy import sparse

from cellprism.data.columns import kept_columns
from cellprism.data.embedding import embedding_from_obsm
from cellprism.data.sparse import as_csr, as_dense
from cellprism.errors import InputError
from cellprism.report.source import Source, completed, mean_directions, read_source

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["as_source", "source_of"]

MAPS: Final = ("X_umap", "X_tsne", "X_draw_graph_fa", "X_pca")


def as_source(data: AnnData | Source | str | Path, key: str = "prism") -> Source:
    """A source from what a user has at hand: an AnnData with features, or a run folder."""
    if isinstance(data, Source):
        return data
    return read_source(data) if isinstance(data, (str, Path)) else source_of(data, key)


def source_of(adata: AnnData, key: str = "prism") -> Source:
    """Read what ``tl.fit`` and ``tl.annotate`` stored under `key`.

    Without annotation, features have no names and no evidence, but their cells are there.

    Raises
    ------
    InputError
        Where nothing was fitted under `key`.
    """
    if key not in adata.uns or f"X_{key}" not in adata.obsm:
        raise InputError(
            "features must be fitted before they are shown",
            f"no uns[{key!r}]",
            f"call prism.tl.fit(adata, rep=…, key={key!r})",
        )
    stored: dict[str, Any] = adata.uns[key]
    codes = as_csr(adata.obsm[f"X_{key}"], "the matrix of codes").tocsc()
    features = stored.get("features")
    if features is None:
        live = np.flatnonzero(np.diff(codes.indptr))
        features = pd.DataFrame({"feature": live, "name": [f"feature {i}" for i in live]})
        if "stability" in stored:
            features["stability"] = np.asarray(stored["stability"])[live]
    numbers = features["feature"].to_numpy(dtype=np.int64)
    embedding = embedding_from_obsm(adata, stored["rep"]).values if stored.get("rep") in adata.obsm else None
    shares = stored.get("shares")
    tables = {name: completed(stored.get(name), name) for name in ("genes", "sets", "labels")}
    labels = tables["labels"]["column"].astype(str).unique().tolist() if len(tables["labels"]) else []
    return Source(
        features=features.reset_index(drop=True),
        cells=_cells(adata),
        genes=tables["genes"],
        sets=tables["sets"],
        labels=tables["labels"],
        codes=sparse.csc_array(codes[:, numbers]),
        directions=None if embedding is None else mean_directions(embedding, codes, numbers),
        expression=None,
        expression_genes=[],
        info={
            "metrics": dict(stored.get("metrics", {})),
            "shares": [] if shares is None else _shares(shares),
            "descriptive": True,
            "map_source": _map(adata) or "",
            "label_columns": labels,
        },
        matches=stored.get("matches"),
    )


def _cells(adata: AnnData) -> pd.DataFrame:
    """Names, columns of categories and the map; a column with a name of the page's own is shown as ``obs:NAME``."""
    kept = kept_columns(adata.obs, ())
    cells = kept.reset_index(drop=True)
    cells.insert(0, "cell", adata.obs_names.astype(str))
    found = _map(adata)
    if found is not None:
        flat = as_dense(adata.obsm[found])
        cells["x"], cells["y"] = flat[:, 0], flat[:, 1]
    return cells


def _map(adata: AnnData) -> str | None:
    """The ``obsm`` key of the first map there is."""
    return next(
        (m for m in MAPS if m in adata.obsm and len(np.shape(adata.obsm[m])) == 2 and adata.obsm[m].shape[1] > 1), None
    )


def _shares(table: pd.DataFrame) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = []
    for row in table.to_dict("records"):
        claim, observed = str(row.pop("claim")), float(row.pop("observed"))
        if claim == "testable features":
            continue  # a count, not a share
        records.append(
            {"claim": claim, "observed": observed, "nulls": {str(k): float(v) for k, v in row.items() if pd.notna(v)}}
        )
    return records
