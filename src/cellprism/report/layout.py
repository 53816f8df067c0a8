"""Where features stand on the feature map."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cellprism.report.alike import unit_rows

__all__ = ["plane"]

FEW = 12  # fewer points than this have no neighbourhoods worth unfolding
MANY = 1500
BLOCK = 1024


def plane(profiles: NDArray[np.float32], *, seed: int = 0) -> NDArray[np.float32]:
    """Lay features out in two dimensions by the cosine of their profiles.

    Parameters
    ----------
    profiles
        (features, d).
    seed
        Of the start, and of the sample that stands for many features.

    Returns
    -------
    (features, 2), centred, the larger axis scaled to [-1, 1]. t-SNE (Barnes-Hut) of up to 50 principal components,
    started from the first two; fewer than a dozen features are shown by the first two components alone. Of more than
    1,500 features a sample of that size is laid out, and each other one stands among its nearest of them.
    """
    unit = unit_rows(np.asarray(profiles, dtype=np.float32))
    n = len(unit)
    if n == 0:
        return np.zeros((0, 2), dtype=np.float32)
    rng = np.random.default_rng(seed)
    anchors = np.arange(n) if n <= MANY else np.sort(rng.choice(n, MANY, replace=False))
    centre = unit[anchors].mean(axis=0)
    _, _, axes = np.linalg.svd(unit[anchors] - centre, full_matrices=False)
    scores = (unit - centre) @ axes[:50].T
    scores = np.pad(scores, ((0, 0), (0, max(0, 2 - scores.shape[1]))))
    flat = scores[:, :2]
    if n >= FEW and np.ptp(scores) > 0:
        placed = _tsne(scores[anchors], seed)
        flat = placed if n <= MANY else _among(scores, scores[anchors], placed, anchors, rng)
    flat = flat - (flat.max(axis=0) + flat.min(axis=0)) / 2
    return np.asarray(flat / max(float(np.abs(flat).max()), 1e-12), dtype=np.float32)


def _tsne(scores: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped,unused-ignore]

    rng = np.random.default_rng(seed)
    start = scores[:, :2] / max(float(scores[:, 0].std()), 1e-12) * 1e-4 + rng.normal(0, 1e-6, (len(scores), 2))
    embed = TSNE(
        perplexity=min(30.0, (len(scores) - 1) / 3),
        init=start.astype(np.float32),
        max_iter=1000 if len(scores) <= 500 else 500,
        random_state=seed,
    )
    with threadpool_limits(1):  # the job is small: threads would wait for each other
        return np.asarray(embed.fit_transform(scores), dtype=np.float32)


def _among(
    scores: NDArray[np.float32],
    anchor_scores: NDArray[np.float32],
    placed: NDArray[np.float32],
    anchors: NDArray[np.int64],
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """Each row at the mean of its five nearest anchors, the nearer the heavier, a little apart from them."""
    flat = np.empty((len(scores), 2), dtype=np.float32)
    square = (anchor_scores**2).sum(axis=1)
    for start in range(0, len(scores), BLOCK):
        block = scores[start : start + BLOCK]
        distance = square[None] - 2 * block @ anchor_scores.T + (block**2).sum(axis=1)[:, None]
        near = np.argpartition(distance, 5, axis=1)[:, :5]
        weight = 1 / (np.maximum(np.take_along_axis(distance, near, axis=1), 0) + 1e-3)
        weight /= weight.sum(axis=1, keepdims=True)
        flat[start : start + BLOCK] = np.einsum("ik,ikd->id", weight, placed[near])
    flat += rng.normal(0, 0.004 * np.ptp(placed), flat.shape)
    flat[anchors] = placed
    return flat
