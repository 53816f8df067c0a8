"""Two dimensions in which cells are drawn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from cellprism.run.map import _umap


@pytest.mark.parametrize("n", [200, 4_096])
def test_cells_lie_beside_their_like(n: int) -> None:
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 4, n)
    embedding = (6 * rng.normal(size=(4, 8))[kind] + rng.normal(size=(len(kind), 8))).astype(np.float32)
    places = _umap(embedding, 0)
    assert places.shape == (n, 2)
    assert np.isfinite(places).all()
    half = n // 2
    told = KNeighborsClassifier(5).fit(places[:half], kind[:half])
    assert told.score(places[half:], kind[half:]) > 0.95


@pytest.mark.parametrize("n", [15, 16, 40])
def test_few_cells_and_equal_ones_are_drawn(n: int) -> None:
    embedding = np.random.default_rng(0).normal(size=(n, 5)).astype(np.float32)
    embedding[: n // 2] = embedding[0]
    places = _umap(embedding, 0)
    assert places.shape == (n, 2)
    assert np.isfinite(places).all()
    assert (places == _umap(embedding, 0)).all()


def test_distances_are_not_taken_pair_by_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    """What umap does with few cells: Python is called for each pair of them, for half a minute of 4,000."""
    umap = pytest.importorskip("umap.umap_")

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("umap measures the distances itself")

    monkeypatch.setattr(umap, "pairwise_distances", refuse)
    assert _umap(np.random.default_rng(0).normal(size=(60, 5)).astype(np.float32), 0).shape == (60, 2)
