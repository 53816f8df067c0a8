"""A row a gene: how much it changes, how surely over cells, and whether random moves change it as much."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

__all__ = ["gene_null", "gene_table"]


def gene_null(log2fc: NDArray[Any], null: NDArray[Any]) -> NDArray[np.float64]:
    """P value of each gene's change among changes by null moves.

    Each gene's change is divided by the root mean square of its changes under the null moves (for a null move: under
    the other ones), and these scaled changes of all genes and moves together form the null distribution; so p can be
    far smaller than one over the number of moves. Two-sided; the observed one is counted in.
    """
    square = np.asarray(null, dtype=np.float64) ** 2
    n = len(square)
    tiny = np.finfo(float).tiny
    total = square.sum(0)
    z = np.abs(log2fc) / np.sqrt(np.maximum(total / n, tiny))
    z_null = np.sqrt(square / np.maximum((total - square) / max(n - 1, 1), tiny)).ravel()
    z_null.sort()
    reached = z_null.size - np.searchsorted(z_null, z, side="left")
    return np.asarray((1 + reached) / (1 + z_null.size))


def gene_table(
    names: list[str],
    symbols: Sequence[str],
    modality: list[str],
    change: NDArray[np.float32],
    null: NDArray[np.float32],
    curve: NDArray[np.float32],
) -> pd.DataFrame:
    """The table of :attr:`Effect.genes`."""
    n = change.shape[0]
    mean, sd = change.mean(0, dtype=np.float64), change.std(0, dtype=np.float64, ddof=1) if n > 1 else None
    if sd is None:
        error = np.full(mean.size, np.nan)
        pval = np.full(mean.size, np.nan)
    else:
        error = sd / np.sqrt(n)
        t = np.divide(mean, error, out=np.where(mean == 0, 0.0, np.inf), where=error > 0)
        pval = 2 * stats.t.sf(np.abs(t), n - 1)
    half = stats.t.ppf(0.975, max(n - 1, 1)) * error
    flat = np.ptp(curve, axis=0) == 0
    ranks = stats.rankdata(curve, axis=0)
    dose = np.arange(len(curve)) - (len(curve) - 1) / 2
    centred = ranks - ranks.mean(0)
    scale = np.sqrt((dose**2).sum() * (centred**2).sum(0))
    monotone = np.where(flat, 0.0, (dose @ centred) / np.where(flat, 1.0, scale))
    p_null = gene_null(mean, null)
    table = pd.DataFrame(
        {
            "gene": names,
            "symbol": list(symbols),
            "modality": modality,
            "log2fc": mean,
            "pval": pval,
            "qval": stats.false_discovery_control(pval) if n > 1 else pval,
            "null_pval": p_null,
            "monotonicity": monotone,
            "low": mean - half,
            "high": mean + half,
            "null_qval": stats.false_discovery_control(p_null),
        }
    )
    return table.sort_values("log2fc", ascending=False, kind="stable", ignore_index=True)
