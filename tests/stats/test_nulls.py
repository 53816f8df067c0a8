from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import scipy.sparse as sp

from cellprism.stats.depth import depth_strata
from cellprism.stats.nulls import _as_correlated, matched_directions, permuted_codes, random_sets


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
        assert len(set(random) & set(real)) <= 8  # of a module of 40 more are shared once in 10,000 draws
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


def _nearest_in_correlation(
    real: np.ndarray, columns: np.ndarray, wanted: np.ndarray, in_bin: list[np.ndarray], draws: np.ndarray
) -> list[int]:
    """The same draw, gene by gene in NumPy."""
    n = wanted.size
    lengths = float((real**2).sum())
    pairs = (float((real.sum(axis=0) ** 2).sum()) - lengths) / max(n * (n - 1), 1)
    drawn: list[int] = []
    for i, b in enumerate(wanted):
        candidates = np.array([g for g in in_bin[b] if g not in drawn] or list(in_bin[b]))
        if i == 0 or not pairs > 0.01 * lengths / n:
            few = min(draws.shape[1] if i else 1, candidates.size)
            for k in range(few):
                other = k + int(draws[i, k] * (candidates.size - k))
                candidates[[k, other]] = candidates[[other, k]]
            candidates = candidates[:few]
        inside = [float((columns[[*drawn, g]].sum(axis=0) ** 2).sum()) for g in candidates]
        own = [float((columns[[*drawn, g]] ** 2).sum()) for g in candidates]
        off = [abs((a - c) / 2 - pairs * i * (i + 1) / 2) for a, c in zip(inside, own, strict=True)]
        drawn.append(int(candidates[int(np.argmin(off))]))
    return drawn


@pytest.mark.parametrize("module", [0.0, 1.0])
def test_random_sets_are_drawn_as_numpy_draws_them(module: float) -> None:
    rng = np.random.default_rng(6)
    columns = rng.normal(size=(90, 40)) + module * rng.normal(size=40)
    columns = (columns / np.linalg.norm(columns, axis=1, keepdims=True)).astype(np.float32)
    bins, by_mean = np.array([0, 30, 60, 90]), rng.permutation(90)
    ptr, members = np.array([0, 7, 9, 49]), np.concatenate([rng.choice(90, m, replace=False) for m in (7, 2, 40)])
    wanted = rng.integers(0, 3, 49)
    wanted[9:] = np.minimum(wanted[9:], 1)  # 40 genes of bins that hold 60
    draws, out = rng.random((49, 8)), np.empty_like(members)
    _as_correlated(ptr, members, columns, wanted, bins, by_mean, draws, 0.01, out)
    in_bin = np.split(by_mean, bins[1:-1])
    for a, b in pairwise(ptr):
        expected = _nearest_in_correlation(
            columns[members[a:b]].astype(np.float64), columns.astype(np.float64), wanted[a:b], in_bin, draws[a:b]
        )
        assert out[a:b].tolist() == expected
