"""Points drawn in two dimensions by UMAP, from neighbours that are known.

UMAP's own search takes longer than its layout: below 4,096 points it calls Python for each pair, beyond it compiles code anew
in each process.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["unfolded"]


def unfolded(
    values: NDArray[Any], index: NDArray[np.integer], distance: NDArray[np.floating], seed: int, **options: Any
) -> NDArray[np.float32]:
    """(points, 2) UMAP of points whose nearest neighbours are given.

    Parameters
    ----------
    values
        (points, d), from which the layout starts unless ``init`` says otherwise.
    index, distance
        (points, neighbours) nearest points of each, itself among them, and how far they are, nearest first.
    seed
        Of the layout.
    options
        Of ``umap.UMAP``.
    """
    with warnings.catch_warnings():
        # umap says on import and on fit that a seed means one thread, and that new points cannot be placed
        warnings.simplefilter("ignore")
        import umap

        made = umap.UMAP(
            n_neighbors=index.shape[1],
            random_state=seed,
            n_jobs=1,
            precomputed_knn=(np.asarray(index), np.asarray(distance, dtype=np.float32)),
            **options,
        )
        found: Any = made.fit_transform(values)
    return np.asarray(found, dtype=np.float32)
