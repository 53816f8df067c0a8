"""Gene-set tests: oracles, direction, and level under permuted cells with correlated genes."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from scipy import stats

from cellprism.errors import InputError
from cellprism.stats.background import expression_bins, match_background, variance_within
from cellprism.stats.contrast import active_contrast, check_codes
from cellprism.stats.enrichment import feature_correlation, rank_enrichment, set_correlation
from cellprism.stats.expression import prepare_expression
from cellprism.stats.genes import rank_sum
from cellprism.stats.overrep import LIST_LENGTHS, OverlapNull, over_representation, overlap_null, pair_covariance
from cellprism.stats.overrep_kernels import beta_binomial_tail, log_factorials, matched_tail
from cellprism.stats.setindex import SetIndex, index_sets, usable_symbols

N_CELLS, N_GENES, N_FEATURES = 500, 400, 300


def _index(sets: list[list[int]], n_genes: int = N_GENES) -> SetIndex:
    genes = [f"G{i}" for i in range(n_genes)]
    named = {f"S{i}": [genes[g] for g in members] for i, members in enumerate(sets)}
    return index_sets(named, genes, np.ones(n_genes), set_size=(2, n_genes), min_overlap=0.0)


@pytest.fixture(scope="module")
def correlated() -> dict:
    """Expression with ten co-regulated modules and varying depth; random active cells that mean nothing."""
    rng = np.random.default_rng(0)
    factor = rng.normal(size=(N_CELLS, 10))
    rate = np.exp(rng.normal(-0.5, 0.8, N_GENES) + rng.normal(0.0, 0.4, (N_CELLS, 1)))
    for m in range(10):
        rate[:, 20 * m : 20 * m + 20] *= np.exp(0.6 * factor[:, [m]])
    expression = prepare_expression(np.log1p(rng.poisson(rate)))
    sets = _index(
        [list(range(20 * m, 20 * m + 15)) for m in range(10)]
        + [list(rng.choice(N_GENES, 15, replace=False)) for _ in range(40)]
    )
    rows = np.concatenate([rng.choice(N_CELLS, 60, replace=False) for _ in range(N_FEATURES)])
    codes = check_codes(sp.csc_array((np.ones(rows.size), rows, np.arange(N_FEATURES + 1) * 60), (N_CELLS, N_FEATURES)))
    z = rank_sum(expression, active_contrast(codes, expression.strata, expression.sizes)).calibrated.astype(float)
    return {"expression": expression, "sets": sets, "z": z, "rng": rng}


def test_without_correlation_it_is_the_rank_sum_test() -> None:
    rng = np.random.default_rng(1)
    z = np.round(rng.normal(size=(3, 50)), 1)  # ties
    sets = _index([[0, 1, 2, 3, 4, 5], list(range(20, 45))], 50)
    result = rank_enrichment(z, np.zeros((3, 2)), sets, match_background(sets))
    for f in range(3):
        for s, members in enumerate(([0, 1, 2, 3, 4, 5], list(range(20, 45)))):
            rest = np.setdiff1d(np.arange(50), members)
            oracle = stats.mannwhitneyu(z[f, members], z[f, rest], method="asymptotic", use_continuity=False)
            np.testing.assert_allclose(2 * stats.norm.sf(abs(result.z[f, s])), oracle.pvalue, rtol=1e-9)
            np.testing.assert_allclose(
                result.effect[f, s], 2 * oracle.statistic / (len(members) * rest.size) - 1, atol=1e-12
            )


def test_rank_test_holds_its_level_with_correlated_genes(correlated: dict) -> None:
    z, sets = correlated["z"], correlated["sets"]
    background = match_background(sets, correlated["expression"].linear_total[sets.genes])
    measured = set_correlation(correlated["expression"], sets, np.random.default_rng(4))
    rho = feature_correlation(z, measured, sets, background)
    pval = 2 * stats.norm.sf(np.abs(rank_enrichment(z, rho, sets, background).z))
    naive = 2 * stats.norm.sf(np.abs(rank_enrichment(z, np.zeros_like(rho), sets, background).z))
    assert (naive[:, :10] < 0.05).mean() > 0.25
    # sums of ranks with a correlation of 0.2, far beyond real sets, have lighter tails than the normal form: the distance
    # stays at 0.04 however many cells and features there are (benchmarks/annotation_uniformity.py)
    for part, distance in ((pval[:, :10], 0.06), (pval[:, 10:], 0.02)):
        assert stats.kstest(part.ravel(), "uniform").statistic < distance
        assert 0.03 < (part < 0.05).mean() < 0.065
        assert (part < 0.001).mean() < 0.0015


def test_a_real_programme_survives_the_correction(correlated: dict) -> None:
    """A set whose correlation comes from the feature itself keeps its significance."""
    rng = np.random.default_rng(2)
    active = rng.random(N_CELLS) < 0.15
    rate = np.full((N_CELLS, N_GENES), 0.7)
    rate[:, :12] *= np.where(active[:, None], 3.0, 1.0)
    expression = prepare_expression(np.log1p(rng.poisson(rate)))
    sets = _index([list(range(12)), list(range(100, 112))])
    codes = check_codes(sp.csc_array(active[:, None].astype(float)))
    z = rank_sum(expression, active_contrast(codes, expression.strata, expression.sizes)).calibrated.astype(float)
    measured = set_correlation(expression, sets, rng)
    background = match_background(sets, expression.linear_total[sets.genes])
    rho = feature_correlation(z, measured, sets, background)
    pval = 2 * stats.norm.sf(np.abs(rank_enrichment(z, rho, sets, background).z))
    assert pval[0, 0] < 1e-6
    assert pval[0, 1] > 1e-3
    all_cells = (measured.total / measured.own - 1.0) / (sets.sizes - 1.0)
    assert rho[0, 0] < 0.2 * all_cells[0]


def test_over_representation_holds_its_level(correlated: dict) -> None:
    z, sets, expression = correlated["z"], correlated["sets"], correlated["expression"]
    null = overlap_null(expression, sets, np.random.default_rng(3))
    wanted = np.full((N_FEATURES, 2), 50)
    result = over_representation(z, wanted, null, sets, match_background(sets))
    assert (result.list_length == 50).all()
    hypergeometric = stats.hypergeom.sf(result.hits - 1, N_GENES, sets.sizes, 50)
    assert (hypergeometric[:, :, :10] < 0.01).mean() > 0.03
    for level in (0.05, 0.01, 0.001):
        assert (result.pval[:, :, :10] <= level).mean() < 1.3 * level + 1e-3
        assert (result.pval[:, :, 10:] <= level).mean() < 1.3 * level + 1e-3


@pytest.mark.parametrize("share", [0.004, 0.05, 0.3, 0.5])
def test_pair_covariance_is_that_of_the_bivariate_normal(share: float) -> None:
    table = pair_covariance(share)
    angles = np.linspace(-np.pi / 2, np.pi / 2, table.size)
    t = stats.norm.isf(share)
    for place in (40, 200, 256, 300, 400, 500):
        both = stats.multivariate_normal.cdf([-t, -t], cov=[[1, np.sin(angles[place])], [np.sin(angles[place]), 1]])
        assert table[place] == pytest.approx(both - share**2, abs=2e-6)
    assert table[-1] == pytest.approx(share * (1 - share), rel=2e-3)  # one gene twice
    assert table[0] == pytest.approx(-(share**2), abs=1e-5)


def test_overlaps_vary_as_those_of_drawn_cells_do(correlated: dict) -> None:
    """Against 4,000 random draws of cells: within 4 % in the median from lists of 50 genes on; never far below."""
    expression, sets = correlated["expression"], correlated["sets"]
    rng = np.random.default_rng(5)
    null = overlap_null(expression, sets, rng)
    n, active = 4_000, 60
    rows = np.concatenate([rng.choice(N_CELLS, active, replace=False) for _ in range(n)])
    codes = check_codes(sp.csc_array((np.ones(rows.size), rows, np.arange(n + 1) * active), (N_CELLS, n)))
    z = rank_sum(expression, active_contrast(codes, expression.strata, expression.sizes)).calibrated
    place = np.argsort(np.argsort(-z, axis=1), axis=1)
    for j, length in enumerate(LIST_LENGTHS):
        in_list = (place < length).astype(float)
        drawn = np.stack([in_list[:, m].sum(axis=1) for m in np.split(sets.members, sets.ptr[1:-1])], axis=1).var(
            axis=0
        )
        ratio = null.variance[j] / drawn
        assert ratio.min() > 0.85  # too small a variance would make p too small
        if length >= 50:
            assert abs(np.median(ratio) - 1) < 0.04


def test_neither_seed_nor_order_of_cells_and_genes_moves_a_set_test(correlated: dict) -> None:
    expression, sets = correlated["expression"], correlated["sets"]
    rng = np.random.default_rng(8)
    cells, genes = rng.permutation(N_CELLS), rng.permutation(N_GENES)
    other = prepare_expression(expression.log[cells][:, genes])
    moved = np.argsort(genes)
    same = SetIndex(sets.names, sets.genes, sets.ptr, moved[sets.members], sets.measured)
    one = overlap_null(expression, sets, np.random.default_rng(0))
    two = overlap_null(other, same, np.random.default_rng(1))
    np.testing.assert_allclose(one.variance, two.variance, rtol=1e-4)
    first = set_correlation(expression, sets, np.random.default_rng(0))
    second = set_correlation(other, same, np.random.default_rng(1))
    np.testing.assert_allclose(first.total, second.total, rtol=1e-9)
    assert first.spread == pytest.approx(second.spread, rel=1e-5)


def test_spread_is_measured_without_bias_on_a_part_of_the_cells(
    correlated: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    expression, sets = correlated["expression"], correlated["sets"]
    ranks = expression.standard_ranks(np.arange(N_CELLS), sets.genes)
    ranks -= ranks.mean(axis=1, keepdims=True)
    gram = ranks.T @ ranks
    exact = np.sqrt(2 * (gram**2).sum()) / np.trace(gram)
    assert set_correlation(expression, sets, np.random.default_rng(0)).spread == pytest.approx(exact, rel=1e-5)
    monkeypatch.setattr("cellprism.stats.enrichment._SPREAD_CELLS", 150)
    part = [
        set_correlation(prepare_expression(expression.log[cells]), sets, np.random.default_rng(0)).spread
        for cells in (np.random.default_rng(s).permutation(N_CELLS) for s in range(20))
    ]
    assert np.mean(part) == pytest.approx(exact, rel=0.02)
    assert np.std(part) < 0.05 * exact


def test_lists_are_as_long_as_the_significant_genes_fill(correlated: dict) -> None:
    z, sets, expression = correlated["z"][:4], correlated["sets"], correlated["expression"]
    null = overlap_null(expression, sets, np.random.default_rng(3))
    wanted = np.array([[4, 5], [19, 20], [99, 500], [0, 0]])
    result = over_representation(z, wanted, null, sets, match_background(sets))
    assert result.list_length.tolist() == [[0, 5], [10, 20], [50, 200], [0, 0]]
    assert (result.pval[3] == 1).all()
    up = set(np.argsort(-z[1])[:10])
    members = sets.members[sets.ptr[0] : sets.ptr[1]]
    assert result.hits[1, 0, 0] == len(up & set(members))


@pytest.mark.parametrize("k", [0, 1, 3, 9, 12, 13])
def test_tails_are_scipys(k: int) -> None:
    one = np.array([12]), np.array([60]), np.array([500])
    table = log_factorials(500)
    np.testing.assert_allclose(matched_tail(k, *one, table), stats.hypergeom.sf(k - 1, 500, 12, 60), rtol=1e-9)
    beta = stats.betabinom.sf(k - 1, 12, 0.7, 9.0)
    np.testing.assert_allclose(beta_binomial_tail(k, 12, 0.7, 9.0, table), beta, atol=1e-14)


@pytest.mark.parametrize(
    ("marked", "drawn", "sizes"),
    [
        ([3, 0, 2, 5], [1, 4, 0, 20], [40, 30, 50, 60]),
        ([12, 15], [30, 70], [100, 110]),  # more than a few in a bin
        ([4, 2], [10, 5], [10, 6]),  # a bin that the list exhausts
        ([60, 80, 90], [40, 60, 90], [130, 131, 131]),  # judged by a binomial where it is far from small
    ],
)
def test_matched_tail_is_the_sum_of_hypergeometric_counts(
    marked: list[int], drawn: list[int], sizes: list[int]
) -> None:
    exact = np.ones(1)
    for m, length, n in zip(marked, drawn, sizes, strict=True):
        exact = np.convolve(exact, stats.hypergeom.pmf(np.arange(min(m, length) + 1), n, m, length))
    tail = np.append(exact[::-1].cumsum()[::-1], 0.0)
    args = np.array(marked), np.array(drawn), np.array(sizes), log_factorials(400)
    ours = np.array([matched_tail(k, *args) for k in range(tail.size)])
    small = tail < 0.08
    np.testing.assert_allclose(ours[small], tail[small], rtol=1e-7, atol=1e-300)
    np.testing.assert_allclose(ours, tail, rtol=1e-9 if sum(marked) < 100 else 0.05)


def test_bins_hold_genes_of_like_expression() -> None:
    mean = np.random.default_rng(3).permutation(1_050).astype(float)
    bins = expression_bins(mean)
    assert np.bincount(bins).tolist() == [105] * 10
    assert (np.diff(bins[np.argsort(mean)]) >= 0).all()
    assert set(expression_bins(np.arange(150.0))) == {0}
    sets = _index([[0, 1, 2], [7, 8]])
    background = match_background(sets, np.arange(N_GENES)[::-1].astype(float))
    assert background.profile.tolist() == [[0, 0, 0, 3], [0, 0, 0, 2]]
    assert (background.bin_of[background.genes] == np.repeat([0, 1, 2, 3], 100)).all()
    z = np.random.default_rng(4).normal(size=(2, N_GENES)) + background.bin_of
    within = [np.mean([row[background.bin_of == b].var() for b in range(4)]) for row in z]
    np.testing.assert_allclose(variance_within(z, background), within)


def test_random_sets_of_abundant_genes_pass_at_their_level() -> None:
    """Statistics that grow with expression: against all genes such sets pass, against genes of like expression not."""
    rng = np.random.default_rng(6)
    n_genes, n_features = 1_000, 60
    mean = np.exp(rng.normal(size=n_genes))
    z = rng.normal(size=(n_features, n_genes)) * (1.0 + 3.0 * mean / (1.0 + mean)) + np.log1p(mean)
    abundant = np.argsort(-mean)[:250]
    sets = _index([list(rng.choice(abundant, 15, replace=False)) for _ in range(80)], n_genes)
    none = np.zeros((n_features, 80))
    lists = np.full((n_features, 2), 100)
    found = {}
    for name, background in (("like", match_background(sets, mean)), ("all", match_background(sets))):
        rank = 2 * stats.norm.sf(np.abs(rank_enrichment(z, none, sets, background).z))
        null = OverlapNull(np.zeros((6, 80)))
        over = over_representation(z, lists, null, sets, background).pval[:, 0]
        found[name] = (rank < 0.05).mean(), (over < 0.05).mean()
        if name == "like":
            assert stats.kstest(rank.ravel(), "uniform").statistic < 0.03
    assert min(found["all"]) > 0.15
    assert 0.035 < found["like"][0] < 0.065
    assert found["like"][1] < 0.05  # overlaps are whole numbers: below the level


def test_symbols_that_are_none_or_shared_count_once() -> None:
    symbols = usable_symbols(["A", "A", "nan", "", None, "B", "C"])
    assert symbols.tolist() == ["A", "A", "", "", "", "B", "C"]
    index = index_sets({"s": ["A", "X"], "t": ["B", "C"]}, symbols, np.array([1, 9, 5, 5, 5, 3, 0]), (1, 9))
    assert index.genes.tolist() == [1, 5]  # the A seen in most cells; C was seen in none
    assert index.measured == 0.5


def test_sets_outside_the_bounds_are_left_out() -> None:
    genes = [f"G{i}" for i in range(30)]
    index = index_sets({"small": genes[:3], "good": genes[:6], "large": genes[:25]}, genes, np.ones(30), (5, 20))
    assert index.names.tolist() == ["good"]
    with pytest.raises(InputError, match="5 to 20"):
        index_sets({"small": genes[:3]}, genes, np.ones(30), (5, 20))
