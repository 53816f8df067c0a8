"""Features that follow genes: where expression is at hand, directions of the embedding along which a gene is read, and no feature is."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.stats import f

from cellprism.data.sparse import as_csr
from cellprism.errors import InputError
from cellprism.sae.activation import JumpReLU
from cellprism.sae.config import SAEConfig
from cellprism.sae.correlation import code_correlation
from cellprism.sae.fit import Fit
from cellprism.sae.geometry.coding import least_squares
from cellprism.sae.geometry.reading import filled
from cellprism.sae.metrics import describe
from cellprism.sae.model import SAE

__all__ = ["MOST_GUIDED", "check_guide", "guided"]

MOST_GUIDED = 40
"""Features that follow genes, at most. On five embeddings 40 read labels as well as 60 (docs/recipe-record.md)."""

_LOOKED_AT, _GENES = 20_000, 1_500
"""Cells that are looked at, and genes that are tried, at most: those that are read best."""

_FEWEST, _DETECTED = 5, 0.01
"""Cells in which a gene must be found, and their share of all."""

_READ, _NOISE = 0.05, 1e-3
"""Adjusted share of a gene's variance that the embedding must tell, linearly, and the p value of the F test that it tells any."""

_SAME = 0.85
"""Correlation with a feature that is there already from which on a gene needs none of its own."""

_RIDGE = 0.01
"""Ridge of the dictionary, relative to the codes' mean square, as for kinds of cells."""


def check_guide(guide: Any, n_cells: int, cfg: SAEConfig | None) -> sp.csr_array:
    """Expression (cells, genes) as CSR; refused where it is of other cells, or where no feature can be added to such an SAE."""
    values = as_csr(guide, "the guide")
    if values.shape[0] != n_cells:
        raise InputError(
            "`guide` has a row a cell",
            f"{values.shape[0]:,} rows for {n_cells:,} cells",
            "give expression of these cells",
        )
    if not np.isfinite(values.data).all():
        raise InputError("`guide` holds finite numbers", "NaN or infinite values", "fill them, or drop those genes")
    if cfg is not None and cfg.init != "geometry":
        raise InputError(
            "features that follow genes are added to what is read off the geometry",
            f"a trained SAE (init={cfg.init!r}) and `guide`",
            "leave out `cfg`, or `guide`",
        )
    return values


def guided(fit: Fit, X: NDArray[Any], guide: sp.csr_array) -> Fit:
    """Add to each SAE of a fit the features that follow genes.

    A transcoder of the plainest kind: each gene's log expression is regressed on the embedding, and the direction that predicts
    it is a readout. The genes that are read best come first; one whose readout, cut at its mean, says the same as a feature that
    is there (r >= 0.85) is passed over. The dictionary is then fitted to all features together.

    Parameters
    ----------
    fit
        Of SAEs that were read off the geometry; where the recipe took another kind, it stays as it is and says so.
    X
        (cells, d) the embedding.
    guide
        (cells, genes) log1p expression.

    Returns
    -------
    Fit
        With ``options["guide"]``: ``columns``, those of ``guide`` that the last features of :attr:`~cellprism.sae.Fit.sae` follow, in
        their order, and ``read``, the adjusted share of each one's variance that the embedding tells.
    """
    if fit.sae.config.init != "geometry":
        reason = "nothing was read off the geometry, so no feature follows a gene"
        return dataclasses.replace(fit, options=fit.options | {"guide": {"columns": [], "read": [], "reason": reason}})
    rows = np.setdiff1d(np.arange(len(X)), fit.holdout)
    if len(rows) > _LOOKED_AT:
        rng = np.random.default_rng(fit.options["seed"])
        rows = np.sort(rng.choice(rows, _LOOKED_AT, replace=False))
    cells = np.asarray(X[rows], dtype=np.float64)
    columns, readout, read = _gene_readouts(cells, guide[rows])
    saes, taken = zip(*(_with_genes(sae, cells, readout) for sae in (fit.sae, *fit.siblings)), strict=True)
    told = {"columns": columns[taken[0]].tolist(), "read": read[taken[0]].round(4).tolist()}
    metrics = dict(describe(saes[0], X, rows=fit.holdout)._asdict())
    return dataclasses.replace(
        fit, sae=saes[0], siblings=tuple(saes[1:]), metrics=metrics, options=fit.options | {"guide": told}
    )


def _gene_readouts(
    cells: NDArray[np.float64], expression: sp.csr_array
) -> tuple[NDArray[np.intp], NDArray[np.float64], NDArray[np.float64]]:
    """Genes that the embedding tells, from the one it tells best: their columns, readouts (genes, d) of unit variance, and shares."""
    n, d = cells.shape
    found = np.bincount(expression.indices, minlength=expression.shape[1])
    columns = np.flatnonzero(found >= max(_FEWEST, _DETECTED * n))
    values = expression[:, columns]
    centred = cells - cells.mean(axis=0)
    left, spread, axes = np.linalg.svd(centred, full_matrices=False)
    kept = spread > spread[0] * max(n, d) * np.finfo(np.float32).eps
    white, forward = left[:, kept] * np.sqrt(n), axes[kept].T / spread[kept] * np.sqrt(n)
    mean = np.asarray(values.mean(axis=0, dtype=np.float64)).ravel()
    variance = np.asarray(values.multiply(values).mean(axis=0, dtype=np.float64)).ravel() - mean**2
    weights = np.asarray((values.T @ white) / n, dtype=np.float64)  # the axes are orthonormal, and their mean is 0
    told = np.square(weights).sum(axis=1)
    free = n - kept.sum() - 1
    if free <= 0:
        return columns[:0], np.zeros((0, d)), np.zeros(0)
    share = told / variance.clip(1e-12)
    read = 1 - (1 - share) * (n - 1) / free
    clear = f.sf(share / (1 - share).clip(1e-12) * free / kept.sum(), kept.sum(), free) < _NOISE
    order = np.argsort(-read, kind="stable")
    order = order[(read[order] >= _READ) & clear[order] & (variance[order] > 1e-12)][:_GENES]
    readout = weights[order] / np.sqrt(told[order])[:, None]
    return columns[order], readout @ forward.T, read[order]


def _with_genes(sae: SAE, cells: NDArray[np.float64], readout: NDArray[np.float64]) -> tuple[SAE, NDArray[np.intp]]:
    """The SAE with readouts that say something of their own behind its features, and which these are."""
    codes = sae.encode(cells.astype(np.float32)).toarray()
    mean = cells.mean(axis=0)
    follows = np.maximum((cells - mean) @ readout.T, 0)
    taken = _own(codes, follows)
    if not len(taken):
        return sae, taken
    scaling = sae.scaling
    scaled = (cells - scaling.mean) @ scaling.forward.astype(np.float64)
    dictionary, intercept = least_squares(np.hstack([codes, follows[:, taken]]), scaled, _RIDGE)
    assert isinstance(sae.activation, JumpReLU)
    before = (sae.encoder, sae.encoder_bias, sae.activation.log_threshold.exp())
    weights, bias, threshold = (t.detach().double().numpy() for t in before)
    wider = filled(
        dataclasses.replace(sae.config, width=len(dictionary), guided=len(taken)),
        scaling,
        np.vstack([weights, readout[taken] @ scaling.backward.T]),
        np.concatenate([bias, readout[taken] @ (scaling.mean - mean)]),
        np.concatenate([threshold, np.zeros(len(taken))]),
        dictionary,
        intercept,
    )
    return wider, taken


def _own(codes: NDArray[np.floating], follows: NDArray[np.float64]) -> NDArray[np.intp]:
    """Of the columns of ``follows``, in their order, those that are like no feature and no column taken before them."""
    same = code_correlation(follows, np.hstack([codes, follows])).toarray() >= _SAME
    known = list(range(codes.shape[1]))
    taken: list[int] = []
    for gene in range(follows.shape[1]):
        if len(taken) == MOST_GUIDED:
            break
        if not same[gene, known].any():
            known.append(codes.shape[1] + gene)
            taken.append(gene)
    return np.array(taken, dtype=np.intp)
