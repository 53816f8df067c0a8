"""Where features stand on the feature map, and which are alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

__all__ = ["Neighbours", "coactive", "plane", "similar"]

FEW = 12  # fewer points than this have no neighbourhoods worth unfolding
BLOCK = 1024


class Neighbours(NamedTuple):
    """The nearest others of each feature: ids (features, k), -1 where there is none, and cosines (features, k)."""

    ids: NDArray[np.int32]
    cosine: NDArray[np.float32]


def plane(profiles: NDArray[np.float32], *, seed: int = 0) -> NDArray[np.float32]:
    """Lay features out in two dimensions by the cosine of their profiles.

    Parameters
    ----------
    profiles
        (features, d).

    Returns
    -------
    (features, 2), centred, the larger axis scaled to [-1, 1]. t-SNE (Barnes-Hut) of up to 50 principal components,
    started from the first two; fewer than a dozen features are shown by the first two components alone.
    """
    unit = _unit(np.asarray(profiles, dtype=np.float32))
    n = len(unit)
    if n == 0:
        return np.zeros((0, 2), dtype=np.float32)
    centred = unit - unit.mean(axis=0)
    rng = np.random.default_rng(seed)
    _, _, axes = np.linalg.svd(
        centred if n <= 4000 else centred[rng.choice(n, 4000, replace=False)], full_matrices=False
    )
    scores = centred @ axes[:50].T
    scores = np.pad(scores, ((0, 0), (0, max(0, 2 - scores.shape[1]))))
    flat = scores[:, :2]
    if n >= FEW and np.ptp(scores) > 0:
        from sklearn.manifold import TSNE
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped,unused-ignore]

        start = flat / max(float(flat[:, 0].std()), 1e-12) * 1e-4 + rng.normal(0, 1e-6, flat.shape)
        embed = TSNE(
            perplexity=min(30.0, (n - 1) / 3),
            init=start.astype(np.float32),
            max_iter=1000 if n <= 2000 else 500,
            random_state=seed,
        )
        with threadpool_limits(1 if n <= 2000 else None):  # threads of a small job wait for each other
            flat = embed.fit_transform(scores)
    flat = flat - (flat.max(axis=0) + flat.min(axis=0)) / 2
    return np.asarray(flat / max(float(np.abs(flat).max()), 1e-12), dtype=np.float32)


def similar(profiles: NDArray[np.float32], k: int = 8) -> Neighbours:
    """Nearest features by the cosine of their directions; `profiles` (features, d)."""
    unit = _unit(np.asarray(profiles, dtype=np.float32))
    return _nearest(len(unit), k, lambda rows: unit[rows] @ unit.T)


def coactive(codes: sparse.csc_array, k: int = 8) -> Neighbours:
    """Nearest features by the cosine of their activations over cells; `codes` (cells, features)."""
    norm = np.sqrt(np.asarray(codes.multiply(codes).sum(axis=0)).ravel())
    unit = sparse.csr_array((codes @ sparse.diags_array(1 / np.maximum(norm, 1e-12))).T)
    other = sparse.csr_array(unit.T)
    return _nearest(unit.shape[0], k, lambda rows: np.asarray((unit[rows] @ other).toarray()))


def _unit(x: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12), dtype=np.float32)


def _nearest(n: int, k: int, cosine_of: Callable[[NDArray[np.int64]], NDArray[np.float32]]) -> Neighbours:
    k = min(k, max(n - 1, 0))
    ids = np.full((n, k), -1, dtype=np.int32)
    cosine = np.zeros((n, k), dtype=np.float32)
    for start in range(0, n if k else 0, BLOCK):
        rows = np.arange(start, min(start + BLOCK, n))
        block = np.array(cosine_of(rows), dtype=np.float32)
        block[np.arange(len(rows)), rows] = -np.inf  # never its own neighbour
        best = np.argpartition(-block, k - 1, axis=1)[:, :k]
        value = np.take_along_axis(block, best, axis=1)
        order = np.argsort(-value, axis=1, kind="stable")
        value = np.take_along_axis(value, order, axis=1)
        ids[rows] = np.where(value > 0, np.take_along_axis(best, order, axis=1), -1)
        cosine[rows] = np.where(value > 0, value, 0)
    return Neighbours(ids, cosine)
