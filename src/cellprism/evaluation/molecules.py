"""Held-out molecules: how much of expression that the embedding has not seen a few features predict."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from cellprism.data.state import to_log1p
from cellprism.errors import InputError
from cellprism.evaluation.assess import interval
from cellprism.evaluation.rivals import RIVALS

__all__ = ["held_out_molecules"]

LEVELS = (1, 2, 4, 8, 16)
BITS = (8, 16, 32, 64)
_GENES = 1_000
_DRAWS = 500
_PRECISION = 0.01  # of the variance that the embedding predicts, down to which a code is told


def held_out_molecules(
    found: Mapping[str, sp.csr_array],
    X: NDArray[np.float32],
    counts: Any,
    folds: NDArray[np.intp],
    add: Callable[..., None],
    seed: int = 0,
) -> None:
    """Rows ``molecules_r2`` (k features a cell) and ``molecules_r2_at_bits`` (k bits a cell).

    Log expression of the 1,000 genes that vary most is predicted by ridge regression, fitted to the cells outside fold 0 and
    scored on those inside: ``R2 = 1 - sum (y - prediction)^2 / sum (y - mean)^2`` over cells and genes. Of each cell only
    the k codes that matter most to the prediction (code times the length of its coefficients) are kept, so that dense
    codes have no more to say than sparse ones. Bits of a cell: the entropy of which features are kept, each by its rate,
    and ``log2(1 + v / precision) / 2`` for each code kept, v the mean square of what it adds; R2 at a number of bits is
    interpolated between the k. Rivals that are made of expression are left out: they have seen it.
    """
    y, names = _expression(counts), [n for n in found if n not in RIVALS or RIVALS[n].of == "embedding"]
    fit, held = np.flatnonzero(folds > 0), np.flatnonzero(folds == 0)
    mean = y[fit].mean(axis=0)
    y = y - mean
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(len(held), np.full(len(held), 1 / len(held)), size=_DRAWS).astype(np.float32)
    total = np.square(y[held]).sum(axis=1)
    unit = float(np.square(y[fit]).sum(axis=1).mean())
    if not unit > 0 or not total.sum() > 0:
        raise InputError("held-out molecules must vary over cells", "counts that are all alike", "check the counts")

    def r2(values: NDArray[np.floating]) -> tuple[float, float, float]:
        error = np.square(y[held] - _predicted(values, y, fit, held)).sum(axis=1)
        drawn = 1 - (weights @ error) / np.maximum(weights @ total, 1e-12)
        return 1 - float(error.sum() / max(total.sum(), 1e-12)), *interval(drawn)

    ceiling = r2(X.astype(np.float64))[0]
    for name in names:
        codes = np.asarray(found[name].toarray(), dtype=np.float64)
        effect = np.linalg.norm(_coefficients(codes[fit], y[fit]), axis=1)
        curve = [(0.0, 0.0)]
        for k in (k for k in LEVELS if k <= codes.shape[1]):
            kept = _keep(codes, effect, k)
            value, low, high = r2(kept)
            add("molecules_r2", "all genes", name, k, value, low, high, ceiling)
            curve.append((_bits(kept[held], effect, max(ceiling, 1e-6) * unit), value))
        at, values = np.maximum.accumulate(np.array(curve), axis=0).T
        for bits in (b for b in BITS if b <= at[-1]):
            value = float(np.interp(bits, at, values))
            add("molecules_r2_at_bits", "all genes", name, bits, value, np.nan, np.nan, ceiling)


def _expression(counts: Any) -> NDArray[np.float32]:
    values = sp.csr_array(counts, dtype=np.float32)
    log = to_log1p(values, "log1p" if np.mod(values.data, 1).any() else "counts")
    mean = np.asarray(log.mean(axis=0)).ravel()
    variance = np.asarray(log.multiply(log).mean(axis=0)).ravel() - mean**2
    genes = np.sort(np.argsort(-variance, kind="stable")[:_GENES])
    return np.asarray(sp.csc_array(log)[:, genes].toarray(), dtype=np.float32)


def _coefficients(values: NDArray[np.float64], y: NDArray[np.floating]) -> NDArray[np.float64]:
    """Ridge coefficients (columns, genes) of centred columns; the penalty is a thousandth of their summed squares."""
    X = values - values.mean(axis=0)
    gram = X.T @ X
    gram[np.diag_indices_from(gram)] += 1e-3 * max(float(np.trace(gram)) / len(gram), 1e-12)
    return np.asarray(np.linalg.solve(gram, X.T @ (y - y.mean(axis=0))))


def _predicted(
    values: NDArray[np.floating], y: NDArray[np.floating], fit: NDArray[np.intp], held: NDArray[np.intp]
) -> NDArray[np.float64]:
    known = np.asarray(values[fit], dtype=np.float64)
    return np.asarray((values[held] - known.mean(axis=0)) @ _coefficients(known, y[fit]))


def _keep(codes: NDArray[np.float64], effect: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    """Codes with all but the k of each cell that matter most at 0."""
    matters = codes * effect
    top = np.argpartition(-matters, k - 1, axis=1)[:, :k]
    kept = np.zeros_like(codes)
    np.put_along_axis(kept, top, np.take_along_axis(codes, top, axis=1), axis=1)
    return kept


def _bits(kept: NDArray[np.float64], effect: NDArray[np.float64], signal: float) -> float:
    """Mean bits a cell that the kept codes take."""
    n, active = len(kept), (kept > 0).sum(axis=0)
    rate = ((active + 0.5) / (n + 1)).clip(1e-9, 1 - 1e-9)
    support = -(rate * np.log2(rate) + (1 - rate) * np.log2(1 - rate))[active > 0].sum()
    square = np.square(kept * effect).sum(axis=0) / np.maximum(active, 1)
    return float(support + (active / n * np.log2(1 + square / signal / _PRECISION) / 2).sum())
