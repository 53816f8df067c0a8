"""Where an embedding's axes lie: joint diagonalisation of the covariances of its regions.

A program that is on in some kinds of cells and off in others has a variance that differs between regions of the
embedding. If the embedding is (about) a linear mixture of such programs, then one matrix makes the covariances of all
regions diagonal at once, and its rows read the programs. That is second-order statistics: it needs neither sparsity nor a
start near the solution, and noise shared by all regions hardly moves it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import MiniBatchKMeans

from cellprism.sae.scaling import AffineScaling, fit_scaling

__all__ = ["MAX_AXES", "Unmixing", "axes_read", "joint_diagonaliser", "region_covariances", "unmix", "whitened"]

_REGIONS = ((2.5, 80), (1.5, 160))
"""Cells a region and axis, and most regions: larger regions are known better, smaller ones hold fewer kinds of cells."""
_JUDGES = (2.0, 100)
"""The same of the regions, of another seed, on which both are compared."""
_BETTER = 1.0
"""Nats a cell by which the smaller regions must be better there to be taken, or may be worse where steps on the larger ones
do not end. Where larger ones mix kinds of cells, and with them the axes, it is 2 to 15, elsewhere less than 1 either way."""
_STEPS = 150  # of a diagonalisation
_LEAST = 30  # cells a region, in few dimensions
MAX_AXES = 200
"""Readouts of an embedding at most: a step costs regions x axes^3."""
_CELLS, _SCARCE = 5, 20
"""Cells a dimension from which on all axes are read, and cells an axis that are read where there are fewer."""
_FIRST, _FAINTEST = 64, 5e-4
"""Axes that are read in any case (in few dimensions without noise, programs lie along axes a hundred-thousandth as large as the
first), and variance of a later one that is read, relative to the first one's: over it lie all axes of the simulated worlds
(9e-4 at least) and of principal components (0.01); docs/recipe-record.md has the trials."""
_ROGUE, _DWARFS = 3, 30.0
"""A step in variance as large as this among so many first axes sets those before it apart: a few dimensions that dwarf the
others, as some foundation models have, are no measure for them."""
_RIDGE = 1e-3  # of the mean variance of 1: keeps the logarithm of a vanished variance finite


class Unmixing(NamedTuple):
    """Linear readouts of an embedding, up to sign, order and scale."""

    mean: NDArray[np.float64]
    """(d,) taken off first."""
    readout: NDArray[np.float64]
    """(axes, d): rows w of ``u = w . (x - mean)``, each of standard deviation about 1."""
    iterations: int
    """Steps taken."""
    regions: NDArray[np.integer]
    """(cells,) region of each cell."""


def axes_read(n: int, d: int) -> int:
    """Leading principal axes of ``n`` cells in ``d`` dimensions that can be read: covariances of regions need cells."""
    return max(1, min(d, MAX_AXES, n if n >= _CELLS * d else n // _SCARCE))


def whitened(centred: NDArray[np.float64], scaling: AffineScaling) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The axes that are read, the largest first.

    Of the :func:`axes_read` axes the first 64, and those after them that carry a two-thousandth of the first one's variance or
    more (of the first one that is not a dimension which dwarfs all others). Averages over tokens and other smooth maps into many
    dimensions have a long tail of axes without noise and without programs, curves of the axes before them, which whitening
    would make as loud as these.

    Parameters
    ----------
    centred
        (cells, d).
    scaling
        That whitens them.

    Returns
    -------
    NDArray
        (d, axes): columns that take cells to the axes, each of standard deviation 1.
    NDArray
        (cells, axes).
    """
    forward = scaling.forward.astype(np.float64)[:, ::-1][:, : axes_read(*centred.shape)]
    white = centred @ forward
    sd = white.std(axis=0)
    forward, white = forward / sd, white / sd
    variance = 1 / np.square(forward).sum(axis=0)  # along each axis, in units of the embedding
    dwarfed = np.flatnonzero(variance[:-1][:_ROGUE] > _DWARFS * variance[1:][:_ROGUE])
    first = dwarfed[0] + 1 if len(dwarfed) else 0
    read = max(_FIRST, int((variance >= _FAINTEST * variance[first]).sum()))
    return forward[:, :read], white[:, :read]


def region_covariances(
    X: NDArray[np.float64], regions: NDArray[np.intp]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Covariances (regions, r, r) of the regions with at least r / 2 and 8 cells, and their shares of the cells."""
    covariances, counts = [], []
    for label in np.unique(regions):
        x = X[regions == label]
        if len(x) >= max(8, X.shape[1] / 2):
            centred = x - x.mean(axis=0)
            covariances.append(centred.T @ centred / len(x) + _RIDGE * np.eye(X.shape[1]))
            counts.append(len(x))
    if not covariances:
        return np.eye(X.shape[1])[None], np.ones(1)
    return np.array(covariances), np.array(counts) / sum(counts)


def joint_diagonaliser(
    covariances: NDArray[np.float64],
    weights: NDArray[np.float64],
    start: NDArray[np.float64],
    *,
    iterations: int = _STEPS,
    tolerance: float = 1e-4,
) -> tuple[NDArray[np.float64], float, int]:
    """Matrix W that makes all ``W C_t W'`` as diagonal as can be.

    Minimises ``sum_t weight_t / 2 * sum_p log (W C_t W')_pp - log |det W|`` (Pham 2001, SIAM J. Matrix Anal. Appl. 22)
    by the quasi-Newton steps of Ablin, Cardoso and Gramfort (2019, arXiv 1811.11433).

    Parameters
    ----------
    covariances
        (t, r, r), symmetric, positive definite.
    weights
        (t,), of sum 1.
    start
        (r, r) invertible.
    iterations
        At most so many steps.
    tolerance
        Stops when a step lowers the criterion by less.

    Returns
    -------
    W, the criterion, and the steps taken.
    """
    r = len(start)
    diagonal = np.arange(r)

    W = start / np.sqrt(weights @ _turned(start, covariances, weights)[1])[:, None]
    turned, d, loss = _turned(W, covariances, weights)
    steps = 0
    while steps < iterations:
        steps += 1
        gradient = np.tensordot(weights, turned / d[:, :, None], axes=1)
        curvature = (weights[:, None] / d).T @ d
        direction = -(gradient * curvature.T - gradient.T) / np.maximum(curvature * curvature.T - 1, 1e-3)
        direction[diagonal, diagonal] = 0
        step = min(1.0, 0.9 / max(float(np.linalg.norm(direction, 2)), 1e-12))
        for _ in range(12):
            trial = W + step * direction @ W
            new_turned, new_d, new_loss = _turned(trial, covariances, weights)
            if new_loss < loss:
                break
            step /= 2
        else:
            break
        scale = 1 / np.sqrt(weights @ new_d)  # the criterion does not see a row's scale
        gain, loss = loss - new_loss, new_loss
        W, d = trial * scale[:, None], new_d * scale**2
        turned = new_turned * scale[:, None] * scale
        if gain < tolerance:
            break
    return W, loss, steps


def _turned(
    W: NDArray[np.float64], covariances: NDArray[np.float64], weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """``W C_t W'``, their diagonals, and the criterion of :func:`joint_diagonaliser`."""
    turned = W @ covariances @ W.T
    d = np.diagonal(turned, axis1=1, axis2=2)
    return turned, d, float(weights @ np.log(d).sum(axis=1) / 2 - np.linalg.slogdet(W)[1])


def unmix(X: NDArray[np.floating], *, seed: int = 0) -> Unmixing:
    """Readouts of an embedding from the joint diagonalisation of its regions.

    Parameters
    ----------
    X
        (cells, d).
    seed
        Seed of the regions (k-means) and of the random start.

    Returns
    -------
    Unmixing
        As many axes as :func:`whitened` reads: at most 200, and one for 20 cells where there are fewer than five cells a
        dimension. From larger regions, or from smaller ones where these are better on regions that neither has seen.
    """
    X64 = np.asarray(X, dtype=np.float64)
    scaling = fit_scaling(X64, "whiten")
    centred = X64 - scaling.mean
    forward, white = whitened(centred, scaling)
    r = forward.shape[1]

    def regions(cells: float, most: int, seed: int) -> NDArray[np.intp]:
        n = int(np.clip(len(X64) / max(cells * r, _LEAST), min(4, len(X64)), most))
        k_means = MiniBatchKMeans(n, random_state=seed, n_init=3, batch_size=2048)
        return np.asarray(k_means.fit(centred).labels_, dtype=np.intp)

    rng = np.random.default_rng(seed)
    judges = region_covariances(white, regions(*_JUDGES, seed + 1))

    def axes_of(cells: float, most: int) -> tuple[Unmixing, float]:
        places = regions(cells, most, seed)
        start = np.linalg.qr(rng.normal(size=(r, r)))[0]
        W, _, iterations = joint_diagonaliser(*region_covariances(white, places), start)
        readout = W @ forward.T / (white @ W.T).std(axis=0)[:, None].clip(1e-12)
        return Unmixing(scaling.mean.astype(np.float64), readout, iterations, places), _turned(W, *judges)[2]

    (larger, larger_loss), (smaller, smaller_loss) = (axes_of(cells, most) for cells, most in _REGIONS)
    bar = larger_loss - (_BETTER if larger.iterations < _STEPS else -_BETTER)
    return smaller if smaller_loss < bar else larger
