"""Which features move cells of one label toward another: all features and labels in one pass."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from cellprism.data.missing import groups
from cellprism.data.order import refuse_other_order
from cellprism.errors import CellsLeftOut, InputError, warn
from cellprism.numeric import numbers_checked
from cellprism.stats.units import usable_units
from cellprism.steering.edit import Dictionary
from cellprism.steering.nulls import feature_directions, random_directions

__all__ = ["screen"]


@numbers_checked
def screen(
    sae: Dictionary,
    Z: NDArray[Any],
    labels: Any,
    *,
    quantile: float = 0.95,
    codes: sparse.csr_array | None = None,
    n_null: int = 1000,
    min_cells: int = 10,
    seed: int = 0,
) -> pd.DataFrame:
    """Score every live feature, set to a quantile of its active cells, as a move from each label to each other one.

    Parameters
    ----------
    sae, Z, codes
        The autoencoder, the (cells, d) embedding of all cells, and its codes if they are at hand.
    labels
        (cells,) categories; those with fewer than ``min_cells`` cells are left out.
    quantile
        Of the active cells: the value the feature is set to.
    n_null
        Covariance-matched random directions that the alignment is held against.
    seed
        Of these directions.

    Returns
    -------
    DataFrame
        A row a feature and ordered pair of labels, best first: ``feature``, ``source``, ``target``, ``reach`` (share
        of the way from the mean of the source cells to that of the target along their linear discriminant),
        ``alignment`` (cosine of the move and the way between the means, in the space whitened by the covariance
        within labels: 1 = straight there), ``pval`` (share of random directions aligned as well, one-sided).

    Notes
    -----
    The mean move of the source cells is (quantile - mean activation there) x the feature's decoder direction, so all
    scores are products of three small matrices; no cell is decoded.

    Warns
    -----
    CellsLeftOut
        Where cells have no label, or one of fewer than ``min_cells`` cells.

    Examples
    --------
    >>> prism.screen(sae, X, types, n_null=50).columns.tolist()
    ['feature', 'source', 'target', 'reach', 'alignment', 'pval']
    """
    refuse_other_order(Z=Z, labels=labels)
    Z = np.asarray(Z, dtype=np.float64)
    found = groups(labels)
    if found.number.shape != (Z.shape[0],):
        raise InputError("labels must have one entry a cell", f"{found.number.shape} for {Z.shape[0]}", "give them all")
    names, sizes = found.names, found.sizes
    kept = np.flatnonzero(sizes >= min_cells)
    if kept.size < 2:
        raise InputError(
            f"at least two labels must have {min_cells} cells each",
            ", ".join(f"{v}: {n}" for v, n in zip(names, sizes, strict=True)),
            "merge small labels, or lower min_cells",
        )
    for note in usable_units(labels, "label", min_cells).notes:
        warn(f"{note}: left out", CellsLeftOut)
    codes = sae.encode(Z.astype(np.float32)) if codes is None else codes
    known = np.flatnonzero(found.number >= 0)  # cells without a label say nothing of the ways between labels
    Z, codes, index = Z[known], sparse.csr_array(codes)[known], found.number[known]
    by_feature = codes.tocsc()
    live = np.flatnonzero(np.diff(by_feature.indptr))
    if live.size == 0:
        raise InputError("some feature must be active", "none is", "train the autoencoder again")
    parts = np.split(by_feature.data, by_feature.indptr[1:-1])
    level = np.asarray([np.quantile(parts[f], quantile) for f in live])

    one_hot = sparse.csr_array((np.ones(len(index)), (index, np.arange(len(index)))), shape=(names.size, len(index)))
    group = one_hot[kept] / sizes[kept][:, None]
    mean_code = np.asarray((sparse.csr_array(group) @ codes[:, live]).todense())  # (labels, features)
    mean = np.asarray(sparse.csr_array(group) @ Z)  # (labels, d)

    inside = np.isin(index, kept)
    within = Z[inside] - mean[np.searchsorted(kept, index[inside])]
    whiten = whitening(within)
    rng = np.random.default_rng(seed)
    directions = feature_directions(sae, codes.shape[1], live, rng, most=live.size).astype(np.float64) @ whiten
    norm = np.linalg.norm(directions, axis=1)
    centre = mean @ whiten
    null = random_directions("covariance", n_null, Z, rng).astype(np.float64) @ whiten
    null /= np.maximum(np.linalg.norm(null, axis=1, keepdims=True), np.finfo(float).tiny)

    tables = []
    for a in range(kept.size):
        step = level - mean_code[a]
        for b in range(kept.size):
            if a == b:
                continue
            way = centre[b] - centre[a]
            length = np.linalg.norm(way)
            along = directions @ way
            cosine = np.sign(step) * along / np.maximum(norm * length, np.finfo(float).tiny)
            drawn = np.sort(null @ way / max(length, np.finfo(float).tiny))
            reached = n_null - np.searchsorted(drawn, cosine, side="left")
            tables.append(
                pd.DataFrame(
                    {
                        "feature": live,
                        "source": names[kept[a]],
                        "target": names[kept[b]],
                        "reach": step * along / max(length**2, np.finfo(float).tiny),
                        "alignment": cosine,
                        "pval": (1 + reached) / (1 + n_null),
                    }
                )
            )
    return pd.concat(tables).sort_values(["alignment", "reach"], ascending=False, kind="stable", ignore_index=True)


def whitening(within: NDArray[np.float64], shrink: float = 0.05) -> NDArray[np.float64]:
    """Symmetric inverse root of the covariance of rows, shrunk toward its mean variance, (d, d)."""
    covariance = within.T @ within / max(len(within) - 1, 1)
    d = len(covariance)
    covariance = (1 - shrink) * covariance + shrink * np.trace(covariance) / d * np.eye(d)
    values, vectors = np.linalg.eigh(covariance)
    out: NDArray[np.float64] = (vectors / np.sqrt(np.maximum(values, np.finfo(float).tiny))) @ vectors.T
    return out
