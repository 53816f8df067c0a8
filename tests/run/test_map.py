"""Two dimensions in which cells are drawn."""

from __future__ import annotations

import numpy as np
from sklearn.neighbors import KNeighborsClassifier

from cellprism.run.map import _APPROXIMATE, _umap


def test_many_cells_lie_beside_their_like() -> None:
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 4, _APPROXIMATE)
    embedding = (6 * rng.normal(size=(4, 8))[kind] + rng.normal(size=(len(kind), 8))).astype(np.float32)
    places = _umap(embedding, 0)
    assert places.shape == (len(kind), 2)
    assert np.isfinite(places).all()
    half = len(kind) // 2
    told = KNeighborsClassifier(5).fit(places[:half], kind[:half])
    assert told.score(places[half:], kind[half:]) > 0.95
