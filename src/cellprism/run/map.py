"""Two dimensions to draw the cells of a run in."""

from __future__ import annotations

from collections.abc import Callable

import anndata as ad
import mudata
import numpy as np
from numpy.typing import NDArray

from cellprism.data.chunks import chunks
from cellprism.data.embedding import align, embedding_from_obsm
from cellprism.errors import InputError
from cellprism.stats.unfolded import unfolded

__all__ = ["drawn"]

_ALL, _LAID_OUT = 100_000, 20_000
"""Up to so many cells all are laid out; of more, a draw of so many."""
_NEAREST = 5
_AROUND = 15


def drawn(
    cells: ad.AnnData | mudata.MuData, embedding: NDArray[np.float32], seed: int, say: Callable[[str], None]
) -> tuple[NDArray[np.float32], str]:
    """(cells, 2) and where it comes from: the file's own, or a UMAP of the embedding.

    Of more than 100,000 cells 20,000 are laid out, drawn at random, and each other cell lies at the mean of the five of them that
    are nearest to it in the embedding.
    """
    for key in ("X_umap", "X_tsne", "X_draw_graph_fa"):
        try:
            there = align(embedding_from_obsm(cells, key), cells.obs_names)
        except InputError:  # not there, or of other cells: a map can always be made
            continue
        if there.ndim == 2 and there.shape[1] == 2 and np.isfinite(there).all():
            return np.asarray(there, dtype=np.float32), f"obsm[{key!r}]"
    if embedding.shape[1] <= 2 or len(embedding) < 15:
        padded = np.zeros((len(embedding), 2), dtype=np.float32)
        padded[:, : min(2, embedding.shape[1])] = embedding[:, :2]
        return padded, "the embedding's first dimensions"
    if len(embedding) <= _ALL:
        say("drawing the cells (UMAP of the embedding)")
        return _umap(embedding, seed), "UMAP of the embedding"
    say(f"drawing the cells (UMAP of the embedding of {_LAID_OUT:,}, the others beside the nearest of these)")
    rows = np.sort(np.random.default_rng(seed).choice(len(embedding), _LAID_OUT, replace=False))
    placed = _beside(embedding, embedding[rows], _umap(embedding[rows], seed))
    return placed, f"UMAP of the embedding of {_LAID_OUT:,} cells, the others beside the nearest of these"


def _umap(embedding: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    from sklearn.neighbors import NearestNeighbors

    distance, index = NearestNeighbors(n_neighbors=_AROUND, algorithm="brute").fit(embedding).kneighbors(embedding)
    return unfolded(embedding, index, distance, seed, min_dist=0.3)


def _beside(
    embedding: NDArray[np.float32], known: NDArray[np.float32], places: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Places of all cells: the mean of those of the nearest known ones, for a known one its own."""
    from sklearn.neighbors import NearestNeighbors

    near = NearestNeighbors(n_neighbors=_NEAREST, algorithm="brute").fit(known)
    out = []
    for block in chunks(embedding):
        distance, at = near.kneighbors(block.astype(np.float32))
        own = distance[:, :1] <= 1e-6 * np.maximum(distance[:, 1:2], 1e-30)
        out.append(np.where(own, places[at[:, 0]], places[at].mean(axis=1)).astype(np.float32))
    return np.concatenate(out)
