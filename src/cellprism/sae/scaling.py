"""Centring and scaling of an embedding, as one affine map that travels with the model."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cellprism.data.chunks import chunks
from cellprism.errors import InputError
from cellprism.sae.config import Scaling

__all__ = ["AffineScaling", "effective_dimension", "fit_scaling"]

# A direction that is taken for noise is turned down, not dropped, so that the scaling can be undone.
_LEAST_SHARE = 0.05


class AffineScaling(NamedTuple):
    """Map ``x' = (x - mean) @ forward`` and its inverse ``x = x' @ backward + mean``."""

    mean: NDArray[np.float32]
    """(d,) taken off first."""
    forward: NDArray[np.float32]
    """(d, r) from raw to scaled; r < d where directions without variance are left out."""
    backward: NDArray[np.float32]
    """(r, d) from scaled to raw."""


def _moments(
    X: NDArray[np.floating], rows: NDArray[np.intp] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    n, d = len(X) if rows is None else len(rows), X.shape[1]
    mean = np.zeros(d)
    for chunk in chunks(X, rows):
        mean += chunk.sum(axis=0)
    mean /= n
    cov = np.zeros((d, d))
    for chunk in chunks(X, rows):
        centred = chunk - mean
        cov += centred.T @ centred
    return mean, cov / n


def effective_dimension(X: NDArray[np.floating]) -> float:
    """Sum over the principal axes of the share of their variance that stands above the least axis.

    Between 0 (all axes alike) and d; axes without variance do not count as the least.
    """
    eigenvalues = np.linalg.eigvalsh(_moments(X)[1])
    eigenvalues = eigenvalues[eigenvalues > 1e-10 * max(eigenvalues[-1], 0.0)]
    return float((1 - eigenvalues[:1] / eigenvalues).sum())


def fit_scaling(
    X: NDArray[np.floating], mode: Scaling, power: float = 1.0, rows: NDArray[np.intp] | None = None
) -> AffineScaling:
    """Scaling of an embedding.

    Parameters
    ----------
    X
        Embedding (cells, d).
    mode
        See :attr:`SAEConfig.scaling`. All but ``none`` give a mean variance of 1 a kept dimension.
    power
        Exponent of ``whiten``.
    rows
        The cells that it is fitted to; None = all.

    Returns
    -------
    AffineScaling
        float32 arrays. Directions with less than 1e-10 of the largest variance have no scale of their own: ``whiten``
        and ``wiener`` leave them out, ``standard`` leaves them unscaled.

    Raises
    ------
    InputError
        If ``whiten`` or ``wiener`` is asked of cells that are all alike.
    """
    d = X.shape[1]
    if mode == "none":
        eye = np.eye(d, dtype=np.float32)
        return AffineScaling(np.zeros(d, dtype=np.float32), eye, eye)
    mean, cov = _moments(X, rows)
    variance = np.diag(cov)
    overall = float(np.sqrt(variance.mean())) or 1.0
    if mode == "global":
        forward, backward = np.eye(d) / overall, np.eye(d) * overall
    elif mode == "standard":
        sd = np.sqrt(np.where(variance > 1e-10 * variance.max(), variance, 1.0))
        forward, backward = np.diag(1 / sd), np.diag(sd)
    else:
        if not variance.any():
            n = len(X) if rows is None else len(rows)
            raise InputError(
                f"scaling {mode!r} needs training cells that vary", f"the same values in all {n}", "use 'global'"
            )
        eigenvalues, axes = np.linalg.eigh(cov)
        keep = eigenvalues > 1e-10 * eigenvalues[-1]
        # The sign of an eigenvector is arbitrary: fix it, so that the map does not depend on the linear algebra library.
        axes = axes[:, keep] * np.sign(axes[np.abs(axes[:, keep]).argmax(axis=0), np.flatnonzero(keep)])
        sd = np.sqrt(eigenvalues[keep])
        # whiten: flatten the axes; wiener: shrink each by the share of its variance that stands above the least one's
        scale = (
            sd**-power if mode == "whiten" else np.maximum(1 - eigenvalues[keep][0] / eigenvalues[keep], _LEAST_SHARE)
        )
        scale /= np.sqrt(np.mean((sd * scale) ** 2))
        forward, backward = axes * scale, (axes / scale).T
    return AffineScaling(mean.astype(np.float32), forward.astype(np.float32), backward.astype(np.float32))
