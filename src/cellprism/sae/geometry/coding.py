"""Sparse coding with noise: expectation maximisation of a spike-and-slab dictionary."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from cellprism.sae.geometry.posterior import Prior, posterior

__all__ = ["Coding", "code_sparsely", "least_squares"]

_SWEEPS = 2
_STRENGTH = 20.0  # cells that a region's own shares weigh against: the shares over all cells


class Coding(NamedTuple):
    """What expectation maximisation ends with."""

    expected: NDArray[np.float32]
    """(cells, p) posterior mean of each code."""
    dictionary: NDArray[np.float64]
    """(p, d)."""
    intercept: NDArray[np.float64]
    """(d,)."""


def least_squares(
    A: NDArray[np.floating], B: NDArray[np.floating], ridge: float = 1e-6
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Coefficients and intercept of ``B ~ A``, with a ridge relative to A's mean square, so that units do not matter."""
    A64 = np.column_stack([np.asarray(A, dtype=np.float64), np.ones(len(A))])
    gram = A64.T @ A64 / len(A64)
    inner = np.arange(len(gram) - 1)
    gram[inner, inner] += ridge * max(float(gram[inner, inner].mean()), 1e-300)
    solution = np.asarray(np.linalg.solve(gram, A64.T @ np.asarray(B, dtype=np.float64) / len(A64)), dtype=np.float64)
    return solution[:-1], solution[-1]


def code_sparsely(
    X: NDArray[np.floating],
    codes: NDArray[np.floating],
    noise: float,
    *,
    regions: NDArray[np.integer] | None = None,
    iterations: int = 600,
    batch: int = 500,
    seed: int = 0,
    check: Callable[[], None] = lambda: None,
) -> Coding:
    """Improve codes and dictionary under ``x = s D + c + noise``, with s zero or positive.

    Each code is off, or on with a truncated normal value; share, mean and deviation belong to the feature and are
    learned. The posterior is taken as independent a feature (mean field) and updated feature by feature; dictionary
    and priors follow from running means over batches. The noise is held: where there are as many features as
    dimensions, learning it would let it vanish.

    With ``regions`` each region of the embedding has shares of its own: a program that is off in a kind of cells is off
    in (nearly) all of them, so the neighbours say of a doubtful cell whether a small readout is the program or noise.

    Parameters
    ----------
    X
        (cells, d) centred embedding.
    codes
        (cells, p) start.
    noise
        Variance a dimension, the same in all.
    regions
        (cells,) region of each cell, 0, 1, …
    iterations, batch
        Batches of cells to go through.
    seed
        Order of the cells.
    check
        Called before each batch; what it raises ends the coding.

    Returns
    -------
    Coding
        Of all cells.
    """
    X32 = np.asarray(X, dtype=np.float32)
    rng = np.random.default_rng(seed)
    on = np.asarray(codes > 0, dtype=np.float32)
    scale = np.sqrt(np.square(codes).sum(axis=0) / on.sum(axis=0).clip(1)).clip(1e-12)
    S = np.asarray(codes / scale, dtype=np.float32)
    second = np.square(S)
    D, c = least_squares(S, X32)
    share = on.mean(axis=0, dtype=np.float64).clip(0.005, 0.95)
    prior = _moments(share, S.mean(axis=0) / share, second.mean(axis=0) / share)
    labels = None if regions is None else np.unique(regions, return_inverse=True)[1]
    local = None if labels is None else _regional_shares(on, labels)

    def update(rows: NDArray[np.intp], sweeps: int) -> None:
        here = prior if local is None else prior._replace(share=local)
        where = None if labels is None else labels[rows]
        S[rows], second[rows], on[rows] = posterior(X32[rows], S[rows], D, c, here, noise, sweeps, where)

    batch = min(batch, len(X32))
    order, at = rng.permutation(len(X32)), 0
    sums = _sums(S[order[:batch]], second[order[:batch]], on[order[:batch]], X32[order[:batch]])
    for _ in range(iterations):
        check()
        if at + batch > len(order):
            order, at = rng.permutation(len(X32)), 0
            local = None if labels is None else _regional_shares(on, labels)
        rows = order[at : at + batch]
        at += batch
        update(rows, _SWEEPS)
        new = _sums(S[rows], second[rows], on[rows], X32[rows])
        sums = [old + 0.2 * (fresh - old) for old, fresh in zip(sums, new, strict=True)]
        gram, cross, share, first, squares = sums
        ridge = 1e-8 * np.trace(gram) / len(gram) * np.eye(len(gram))
        solution = np.linalg.solve(gram + ridge, cross)
        D, c = solution[:-1], solution[-1]
        prior = _moments(share.clip(0.005, 0.95), first / share.clip(1e-6), squares / share.clip(1e-6))
    for begin in range(0, len(X32), batch):
        update(np.arange(begin, min(begin + batch, len(X32))), _SWEEPS + 1)
    return Coding(S, D, c)


def _regional_shares(on: NDArray[np.float32], labels: NDArray[np.intp]) -> NDArray[np.float32]:
    """(p, regions) share of each region's cells in which a feature is on, drawn a little to the share over all cells."""
    count = np.bincount(labels)
    member = sp.csr_array((np.ones(len(labels)), labels, np.arange(len(labels) + 1)), shape=(len(labels), len(count)))
    total = np.asarray(member.T @ on, dtype=np.float64)
    mixed = (total + _STRENGTH * on.mean(axis=0, dtype=np.float64)) / (count[:, None] + _STRENGTH)
    return np.asarray(mixed.clip(0.003, 0.997).T, dtype=np.float32)


def _moments(share: NDArray[np.float64], mean: NDArray[np.float64], square: NDArray[np.float64]) -> Prior:
    """Truncated normal of about this mean and mean square, one share for all regions; a half normal where mass lies at zero."""
    mean = np.asarray(mean, dtype=np.float64).clip(1e-3)
    sd = np.sqrt((square - mean**2).clip(0.02 * mean**2))
    away = mean > 1.2 * sd
    return Prior(
        np.asarray(share, dtype=np.float64)[:, None], np.where(away, mean, mean / 2), np.where(away, sd, 1.3 * sd)
    )


def _sums(
    S: NDArray[np.float32], second: NDArray[np.float32], on: NDArray[Any], X: NDArray[np.float32]
) -> list[NDArray[np.float64]]:
    A = np.column_stack([S, np.ones(len(S))]).astype(np.float64)
    gram = A.T @ A / len(A)
    inner = np.arange(S.shape[1])
    gram[inner, inner] += (second - np.square(S)).mean(axis=0)
    return [gram, A.T @ X / len(A), on.mean(axis=0), S.mean(axis=0, dtype=np.float64), second.mean(axis=0)]
