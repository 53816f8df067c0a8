from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from cellprism.stats.depth import depth_strata
from cellprism.stats.nulls import matched_directions, permuted_codes, random_sets


def test_random_directions_have_the_active_counts_and_the_covariance() -> None:
    rng = np.random.default_rng(0)
    embedding = rng.normal(size=(2_000, 3)) * [5.0, 1.0, 0.2] + 7.0
    wanted = np.array([10, 100, 1_500] * 100)
    codes = matched_directions(embedding, wanted, rng)
    assert np.diff(codes.indptr).tolist() == wanted.tolist()
    assert codes.data.min() > 0
    # most directions follow the widest axis, as draws from the embedding's covariance do
    along = [abs(np.corrcoef(codes[:, [f]].toarray().ravel() > 0, embedding[:, 0])[0, 1]) for f in range(1, 300, 3)]
    assert np.median(along) > 0.4


def test_ties_at_the_threshold_stay_out() -> None:
    embedding = np.repeat(np.arange(4.0), 25)[:, None]
    codes = matched_directions(embedding, np.array([30]), np.random.default_rng(0))
    assert np.diff(codes.indptr)[0] == 25


def test_permutation_stays_within_strata_and_keeps_features_together() -> None:
    rng = np.random.default_rng(1)
    dense = rng.random((60, 4)) * (rng.random((60, 4)) < 0.4)
    strata = np.repeat([0, 1, 2], 20)
    out = permuted_codes(sp.csc_array(dense), strata, rng).toarray()
    assert not np.array_equal(out, dense)
    for h in range(3):
        here = strata == h
        assert sorted(map(tuple, out[here])) == sorted(map(tuple, dense[here]))


def test_random_sets_match_expression() -> None:
    rng = np.random.default_rng(2)
    mean = np.arange(400.0)
    sizes = np.array([10, 30])
    members = np.concatenate([np.arange(390, 400), np.arange(0, 30)])
    out = random_sets(sizes, members, mean, rng)
    assert out.size == members.size
    assert len(set(out[:10])) == 10
    assert mean[out[:10]].min() >= 350
    assert mean[out[10:]].max() < 50


def test_random_sets_match_the_correlation_within_the_set() -> None:
    rng = np.random.default_rng(4)
    factor = rng.normal(size=(300, 10))
    ranks = rng.normal(size=(300, 400)) + 0.7 * factor[:, np.arange(400) % 10]
    ranks = (ranks - ranks.mean(axis=0)) / np.linalg.norm(ranks - ranks.mean(axis=0), axis=0)
    mean = rng.random(400)
    sizes = np.array([12, 12, 12])
    modules = [rng.choice(np.flatnonzero(np.arange(400) % 10 == m), 12, replace=False) for m in (0, 1)]
    members = np.concatenate([*modules, rng.choice(400, 12, replace=False)])
    drawn = random_sets(sizes, members, mean, rng, ranks)

    def inner(genes: np.ndarray) -> float:
        return float((np.corrcoef(ranks[:, genes].T).sum() - 12) / (12 * 11))

    for s in range(3):
        real, random = members[12 * s : 12 * s + 12], drawn[12 * s : 12 * s + 12]
        assert len(set(random)) == 12
        assert abs(inner(random) - inner(real)) < 0.03
        assert len(set(random) & set(real)) < 6
        np.testing.assert_allclose(np.sort(mean[random]), np.sort(mean[real]), atol=0.2)
    assert inner(members[:12]) > 0.25
    plain = random_sets(sizes, members, mean, rng)
    assert inner(plain[:12]) < 0.15


def test_depth_bins_within_strata() -> None:
    rng = np.random.default_rng(3)
    depth = rng.gamma(3.0, 100.0, 1_000)
    donor = np.repeat(["a", "b"], [900, 100])
    bins = depth_strata(depth, donor, n_bins=10, min_cells=50)
    assert len(np.unique(bins[:900])) == 10
    assert len(np.unique(bins[900:])) == 2
    assert not set(bins[:900]) & set(bins[900:])
    order = np.argsort(depth[:900])
    assert (np.diff(bins[:900][order]) >= 0).all()
    within = np.concatenate([depth[bins == b] - depth[bins == b].mean() for b in np.unique(bins)])
    assert within.var() < 0.1 * depth.var()
