"""What a run claims where there is nothing to find, and where there is."""

from __future__ import annotations

import numpy as np
import pytest

from cellprism.features.annotate import annotate
from cellprism.stats.nulls import matched_directions

GENE, SET = "features with a gene at q < 0.05", "features with a set at q < 0.05"


def _programmes(seed: int, n_cells: int, n_genes: int, n_features: int, n_planted: int, fold: float) -> dict:
    """The first ``n_planted`` features each drive eight genes; cells vary in depth."""
    rng = np.random.default_rng(seed)
    codes = (rng.gamma(2.0, 1.0, (n_cells, n_features)) * (rng.random((n_cells, n_features)) < 0.08)).astype(np.float32)
    rate = np.tile(rng.gamma(1.0, 0.5, n_genes), (n_cells, 1))
    for f in range(n_planted):
        rate[:, 8 * f : 8 * f + 8] *= np.where(codes[:, [f]] > 0, fold, 1.0)
    genes = [f"G{i}" for i in range(n_genes)]
    sets = {f"programme {f}": genes[8 * f : 8 * f + 7] for f in range(n_planted)}
    sets |= {f"other {i}": list(rng.choice(genes, 10, replace=False)) for i in range(60)}
    counts = rng.poisson(rate * rng.gamma(10.0, 0.1, (n_cells, 1)))
    expression = np.log1p(counts / counts.sum(axis=1, keepdims=True) * np.median(counts.sum(axis=1)))
    return {"codes": codes, "expression": expression, "genes": genes, "gene_sets": sets}


def test_permuted_cells_find_nothing_over_twenty_repeats() -> None:
    shares = []
    for seed in range(20):
        data = _programmes(seed, 300, 200, 40, 10, 4.0)
        row = annotate(**data, nulls=("permuted",), seed=seed).shares.set_index("claim")["permuted"]
        shares.append([row[GENE], row[SET]])
    assert np.mean(shares, axis=0).max() <= 0.05


def test_thirty_programmes_planted_among_three_hundred_features_are_named() -> None:
    data = _programmes(0, 1_200, 600, 300, 30, 4.0)
    features = annotate(**data, nulls=()).features.set_index("feature")
    named = 0
    for f in range(30):
        own = {f"G{i}" for i in range(8 * f, 8 * f + 8)}
        row = features.loc[f]
        in_name = set(row["name"].split(" · ")[-1].split("/"))
        named += row["top_set"] == f"programme {f}" and row["top_set_qval"] < 0.05 and in_name <= own
    assert named >= 27
    assert (features.loc[30:, "name"].str.startswith("no evidence")).mean() > 0.9


@pytest.mark.parametrize("split", [True, False], ids=["split counts", "same counts"])
def test_cells_of_one_type_give_no_named_features_when_counts_are_split(split: bool) -> None:
    """Poisson cells of one type and varying depth; components of one half of the counts, tests on the other."""
    named = []
    for seed in range(6 if split else 2):
        rng = np.random.default_rng(seed)
        depth = rng.lognormal(0.0, 0.4, (500, 1))
        counts = rng.poisson(rng.gamma(1.0, 2.0, 250) * depth)
        first = rng.binomial(counts, 0.5)
        second = counts - first if split else first
        made, tested = (np.log1p(c / c.sum(axis=1, keepdims=True) * 250.0) for c in (first, second))
        centred = made - made.mean(axis=0)
        embedding = np.linalg.svd(centred, full_matrices=False)[0][:, :20] * 10.0
        codes = matched_directions(embedding, np.full(60, 50), rng)
        genes = [f"G{i}" for i in range(250)]
        sets = {f"S{i}": list(rng.choice(genes, 12, replace=False)) for i in range(30)}
        found = annotate(codes, tested, genes, sets, depth=second.sum(axis=1), nulls=(), seed=seed)
        named.append((~found.features["name"].str.contains("no evidence")).mean())
    if split:
        assert np.mean(named) <= 0.05
    else:
        assert np.mean(named) > 0.9
