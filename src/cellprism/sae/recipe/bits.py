"""How many bits a cell takes through an SAE, and how much of an SAE returns from another seed."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cellprism.sae.correlation import code_correlation
from cellprism.sae.model import SAE

__all__ = ["RETURNED", "Agreement", "agreement", "description_length", "explained_signal", "precision_of"]

RETURNED = 0.9
"""Correlation from which on a feature counts as found again."""


class Agreement(NamedTuple):
    """How much of an SAE another seed gives again."""

    stability: float
    """Mean over live features of the best correlation with a feature of the other SAE."""
    agreement: float
    """Share of live features that return at r > 0.9."""


def agreement(sae: SAE, twin: SAE, X: NDArray[Any]) -> Agreement:
    """Compare the codes of two SAEs of one embedding on the same cells (cells, d); zeros where nothing is live."""
    codes = sae.encode(X)
    live = np.bincount(codes.indices, minlength=sae.width) > 0
    if not live.any():
        return Agreement(0.0, 0.0)
    r = code_correlation(codes, twin.encode(X)).max(axis=1).toarray().ravel()[live]
    return Agreement(float(r.mean()), float((r > RETURNED).mean()))


def description_length(sae: SAE, X: NDArray[Any], precision: float) -> dict[str, float]:
    """Bits to describe a cell down to a given precision, through an SAE.

    ``support`` is the entropy of which features are active, each by its own rate; ``values`` takes
    ``1/2 log2(1 + v / precision)`` an active feature whose share of x has the mean square v; ``residual`` the same of the
    error in each dimension. Squares are told in units of a dimension's mean variance. More features or a larger k pay only where they save more of the residual than they cost.

    Parameters
    ----------
    sae
        Any.
    X
        (cells, d), held out.
    precision
        Share of a dimension's mean variance down to which cells are described.

    Returns
    -------
    ``support_bits``, ``value_bits``, ``residual_bits``, ``bits``, ``l0``, ``explained_variance``, ``dead_share``.
    """
    codes = sae.encode(X)
    n = len(X)
    count = np.bincount(codes.indices, minlength=sae.width)
    rate = ((count + 0.5) / (n + 1)).clip(1e-9, 1 - 1e-9)
    support = float(-(rate * np.log2(rate) + (1 - rate) * np.log2(1 - rate))[count > 0].sum())
    error = np.asarray(X, dtype=np.float64) - sae.decode(codes)
    deviation = np.asarray(X, dtype=np.float64) - np.mean(X, axis=0, dtype=np.float64)
    unit = max(float(np.square(deviation).mean()), 1e-300)
    length = np.square(sae.decoder_directions().astype(np.float64)).sum(axis=1) / unit
    square = length * np.bincount(codes.indices, weights=codes.data.astype(np.float64) ** 2, minlength=sae.width)
    values = float((count / n * np.log2(1 + square / count.clip(1) / precision) / 2).sum())
    residual = float(np.log2(1 + np.square(error).mean(axis=0) / unit / precision).sum() / 2)
    return {
        "l0": codes.nnz / n,
        "explained_variance": 1 - float(np.square(error).mean()) / unit,
        "support_bits": support,
        "value_bits": values,
        "residual_bits": residual,
        "bits": support + values + residual,
        "dead_share": float((count == 0).mean()),
    }


def explained_signal(sae: SAE, X: NDArray[Any], above_noise: NDArray[np.floating]) -> float:
    """Share of the variance that an SAE explains, counting each axis by how far it stands above the least one.

    Plain explained variance counts an axis that is noise as much as one that tells kinds of cells apart, which favours
    dictionaries that spend features on noise.

    Parameters
    ----------
    sae
        Any.
    X
        (cells, d), held out.
    above_noise
        (d, r) ``forward`` of the ``wiener`` scaling of the training cells.
    """
    X = np.asarray(X, dtype=np.float64)
    error = (X - sae.decode(sae.encode(X))) @ above_noise
    deviation = (X - X.mean(axis=0)) @ above_noise
    return 1 - float(np.square(error).sum()) / max(float(np.square(deviation).sum()), 1e-300)


def precision_of(X: NDArray[np.floating]) -> float:
    """Error down to which cells are worth describing, as a share of the mean variance of a dimension.

    The variance of the least direction, within 1 % and 10 %.
    """
    values = np.linalg.eigvalsh(np.cov(X.T.astype(np.float64)).reshape(X.shape[1], X.shape[1]))
    return float(np.clip(values[0] / max(values.mean(), 1e-300), 0.01, 0.1))
