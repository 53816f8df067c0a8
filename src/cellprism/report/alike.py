"""Which features are alike: by where they point, and by the cells they share."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

__all__ = ["Neighbours", "coactive", "similar", "unit_rows"]

BLOCK: Final = 1024
MANY: Final = 8000  # beyond so many features only those of nearby groups are compared
PROBES: Final = 12
A_GROUP: Final = 300


class Neighbours(NamedTuple):
    """The nearest others of each feature: ids (features, k), -1 where there is none, and cosines (features, k)."""

    ids: NDArray[np.int32]
    cosine: NDArray[np.float32]


def similar(
    profiles: NDArray[np.float32],
    k: int = 8,
    *,
    among: NDArray[np.bool_] | None = None,
    many: int = MANY,
    seed: int = 0,
) -> Neighbours:
    """Nearest features by the cosine of their directions.

    Parameters
    ----------
    profiles
        (features, d).
    k
        Neighbours a feature.
    among
        (features,) which may be named as neighbours; all by default.
    many
        With more features than this they are grouped by k-means, some 300 a group, and compared with those of the twelve
        nearest groups alone, so that time grows as n^1.5; with fewer the answer is exact.
    seed
        Of the grouping.
    """
    unit = unit_rows(np.asarray(profiles, dtype=np.float32))
    n = len(unit)
    out = _none(n, k)
    if n <= many:
        everyone = np.arange(n)
        others = everyone if among is None else np.flatnonzero(among)
        for start in range(0, n, BLOCK):
            _fill(out, unit, everyone[start : start + BLOCK], others)
        return out
    from sklearn.cluster import MiniBatchKMeans
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped,unused-ignore]

    groups = n // A_GROUP
    with threadpool_limits(1):
        found = MiniBatchKMeans(groups, batch_size=4096, n_init=1, max_iter=20, random_state=seed).fit(unit)
    order = np.argsort(found.labels_, kind="stable")
    ptr = np.searchsorted(found.labels_[order], np.arange(groups + 1))
    centres = found.cluster_centers_
    near = np.argsort(_square_distances(centres), axis=1)[:, :PROBES]
    for group in range(groups):
        rows = order[ptr[group] : ptr[group + 1]]
        others = np.concatenate([order[ptr[g] : ptr[g + 1]] for g in near[group]])
        others = others if among is None else others[among[others]]
        for start in range(0, len(rows), BLOCK):
            _fill(out, unit, rows[start : start + BLOCK], others)
    return out


def coactive(codes: sparse.csc_array, k: int = 8) -> Neighbours:
    """Nearest features by the cosine of their activations over cells; exact.

    Parameters
    ----------
    codes
        (cells, features). Only features that share a cell are compared: time grows with the sum over cells of the square
        of the number of their active features.
    k
        Neighbours a feature.
    """
    norm = np.sqrt(np.asarray(codes.multiply(codes).sum(axis=0)).ravel())
    unit = sparse.csr_array((codes @ sparse.diags_array(1 / np.maximum(norm, 1e-12))).T)
    other = sparse.csr_array(unit.T)
    out = _none(unit.shape[0], k)
    for start in range(0, unit.shape[0] if out.ids.shape[1] else 0, BLOCK):
        product = sparse.csr_array(unit[start : start + BLOCK] @ other)
        for i, (a, b) in enumerate(zip(product.indptr[:-1], product.indptr[1:], strict=True)):
            _keep(out, start + i, product.indices[a:b], product.data[a:b])
    return out


def unit_rows(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows of length one; a row of zeros stays."""
    return np.asarray(x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12), dtype=np.float32)


def _none(n: int, k: int) -> Neighbours:
    k = min(k, max(n - 1, 0))
    return Neighbours(np.full((n, k), -1, dtype=np.int32), np.zeros((n, k), dtype=np.float32))


def _square_distances(x: NDArray[Any]) -> NDArray[Any]:
    square = (x**2).sum(axis=1)
    return np.asarray(square[:, None] - 2 * x @ x.T + square[None])


def _fill(out: Neighbours, unit: NDArray[np.float32], rows: NDArray[Any], others: NDArray[Any]) -> None:
    """Neighbours of `rows` among `others`."""
    k = min(out.ids.shape[1], len(others))
    if not k:
        return
    cosine = unit[rows] @ unit[others].T
    cosine[rows[:, None] == others[None, :]] = -np.inf  # never its own neighbour
    best = np.argpartition(-cosine, k - 1, axis=1)[:, :k]
    value = np.take_along_axis(cosine, best, axis=1)
    order = np.argsort(-value, axis=1, kind="stable")
    value = np.take_along_axis(value, order, axis=1)
    out.ids[rows, :k] = np.where(value > 0, others[np.take_along_axis(best, order, axis=1)], -1)
    out.cosine[rows, :k] = np.maximum(value, 0)


def _keep(out: Neighbours, row: int, ids: NDArray[Any], cosine: NDArray[Any]) -> None:
    """The best of a sparse row."""
    others = (ids != row) & (cosine > 0)
    ids, cosine = ids[others], cosine[others]
    k = out.ids.shape[1]
    if len(ids) > k:
        best = np.argpartition(-cosine, k - 1)[:k]
        ids, cosine = ids[best], cosine[best]
    order = np.lexsort((ids, -cosine))
    out.ids[row, : len(ids)] = ids[order]
    out.cosine[row, : len(ids)] = cosine[order]
