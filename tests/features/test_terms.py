"""The features x terms matrix, worked by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import pdist, squareform

from cellprism.errors import InputError
from cellprism.features.terms import _jaccard_distance, probed, term_map

FEATURES = pd.DataFrame({"feature": [2, 5, 7, 9]})
SETS = pd.DataFrame(
    [
        (5, "immune response", "up", 0.01),
        (5, "Immune cell killing", "up", 0.02),
        (5, "ion transport", "up", 0.06),
        (2, "ion transport", "up", 0.001),
        (2, "immune response", "down", 0.001),
        (9, "immune response", "up", 0.04),
        (9, "immune response", "up", 0.03),
        (9, "heart", "up", 0.001),
        (8, "immune response", "up", 0.001),
    ],
    columns=["feature", "set", "direction", "qval"],
)
ANCESTORS = {"immune response": "immune", "Immune cell killing": "immune", "heart": "body", "ion transport": ""}


def test_matrix_counts_and_ancestors() -> None:
    found = term_map(FEATURES, SETS, ANCESTORS)
    assert found.features.tolist() == [2, 5, 9]  # 7 has none, 8 is not of the table
    assert found.terms == ["Immune cell killing", "heart", "immune response", "ion transport"]
    np.testing.assert_array_equal(found.matrix.toarray(), [[0, 0, 0, 1], [1, 0, 1, 0], [0, 1, 1, 0]])
    assert found.counts.tolist() == [1, 2, 2]
    assert found.ancestors == ["", "immune", "body"]
    down = term_map(FEATURES, SETS, ANCESTORS, direction="down")
    assert (down.features.tolist(), down.terms) == ([2], ["immune response"])
    own = term_map(FEATURES, SETS.assign(ancestor="all"))
    assert own.term_ancestors == ["all"] * 4
    some = np.where(np.arange(len(SETS)) % 2, "all", None)
    as_text, as_category = (
        term_map(FEATURES, SETS.assign(ancestor=column)).term_ancestors
        for column in (pd.Series(some, dtype=object), pd.Categorical(some))
    )
    assert as_text == as_category
    assert set(as_text) == {"", "all"}
    assert (
        term_map(FEATURES, SETS.drop(columns="qval").assign(qval_rank=SETS["qval"], qval_ora=1.0)).terms == found.terms
    )


PROBES = {
    "one word": ("immune", [False, True, True]),
    "upper case": ("IMMUNE", [False, True, True]),
    "two words in any order": ("killing immune", [False, True, False]),
    "part of a word": ("trans", [True, False, False]),
    "nowhere": ("liver", [False, False, False]),
}


@pytest.mark.parametrize(("words", "hit"), PROBES.values(), ids=PROBES.keys())
def test_probes(words: str, hit: list[bool]) -> None:
    assert probed(term_map(FEATURES, SETS, ANCESTORS), words).tolist() == hit


def test_layout_keeps_features_of_like_terms_together() -> None:
    rng = np.random.default_rng(0)
    kinds = rng.random((3, 40)) < 0.25
    has = kinds[np.arange(60) % 3] ^ (rng.random((60, 40)) < 0.02)
    f, t = np.nonzero(has)
    sets = pd.DataFrame({"feature": f, "set": [f"s{i}" for i in t], "direction": "up", "qval": 0.01})
    found = term_map(pd.DataFrame({"feature": range(60)}), sets)
    np.testing.assert_allclose(
        _jaccard_distance(found.matrix), squareform(pdist(found.matrix.toarray() > 0, "jaccard")), atol=1e-12
    )
    flat = found.layout()
    distance = squareform(pdist(flat))
    same = (np.arange(60)[:, None] - np.arange(60)) % 3 == 0
    np.fill_diagonal(distance, np.inf)
    assert same[np.arange(60), distance.argmin(axis=1)].mean() > 0.95
    few = term_map(FEATURES, SETS, ANCESTORS).layout()
    assert few.shape == (3, 2)
    assert np.isfinite(few).all()


def test_refuses() -> None:
    with pytest.raises(InputError, match="direction='up'"):
        term_map(FEATURES, SETS, direction="both")
    with pytest.raises(InputError, match="annotate with gene sets"):
        term_map(FEATURES, SETS.iloc[:0])
    with pytest.raises(InputError, match="probed by a word"):
        probed(term_map(FEATURES, SETS), "  ")
