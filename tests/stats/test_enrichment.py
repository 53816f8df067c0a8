"""Gene-set tests: oracles, direction, and level under permuted cells with correlated genes."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from scipy import stats

from cellprism.errors import InputError
from cellprism.stats.contrast import active_contrast, check_codes
from cellprism.stats.enrichment import feature_correlation, rank_enrichment, set_correlation
from cellprism.stats.expression import prepare_expression
from cellprism.stats.genes import rank_sum
from cellprism.stats.overrep import over_representation, overlap_null
from cellprism.stats.overrep_kernels import beta_binomial_tail, hypergeometric_tail
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
    result = rank_enrichment(z, np.zeros((3, 2)), sets)
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
    rho = feature_correlation(z, set_correlation(correlated["expression"], sets, np.random.default_rng(4)), sets)
    pval = 2 * stats.norm.sf(np.abs(rank_enrichment(z, rho, sets).z))
    naive = 2 * stats.norm.sf(np.abs(rank_enrichment(z, np.zeros_like(rho), sets).z))
    assert (naive[:, :10] < 0.05).mean() > 0.25
    # a mean correlation of 0.2 within half of all genes is far beyond real sets, and the normal form bends a little
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
    rho = feature_correlation(z, measured, sets)
    pval = 2 * stats.norm.sf(np.abs(rank_enrichment(z, rho, sets).z))
    assert pval[0, 0] < 1e-6
    assert pval[0, 1] > 1e-3
    all_cells = (measured.total / measured.own - 1.0) / (sets.sizes - 1.0)
    assert rho[0, 0] < 0.2 * all_cells[0]


def test_over_representation_holds_its_level(correlated: dict) -> None:
    z, sets, expression = correlated["z"], correlated["sets"], correlated["expression"]
    null = overlap_null(expression, sets, np.array([60]), np.random.default_rng(3), n_permutations=300)
    wanted = np.full((N_FEATURES, 2), 50)
    result = over_representation(z, wanted, np.full(N_FEATURES, 60), null, sets)
    assert (result.list_length == 50).all()
    hypergeometric = stats.hypergeom.sf(result.hits - 1, N_GENES, sets.sizes, 50)
    assert (hypergeometric[:, :, :10] < 0.01).mean() > 0.03
    for level in (0.05, 0.01, 0.001):
        assert (result.pval[:, :, :10] <= level).mean() < 1.3 * level + 1e-3
        assert (result.pval[:, :, 10:] <= level).mean() < 1.3 * level + 1e-3


def test_lists_are_as_long_as_the_significant_genes_fill(correlated: dict) -> None:
    z, sets, expression = correlated["z"][:4], correlated["sets"], correlated["expression"]
    null = overlap_null(expression, sets, np.array([60]), np.random.default_rng(3), n_permutations=20)
    result = over_representation(z, np.array([[4, 5], [19, 20], [99, 500], [0, 0]]), np.full(4, 60), null, sets)
    assert result.list_length.tolist() == [[0, 5], [10, 20], [50, 200], [0, 0]]
    assert (result.pval[3] == 1).all()
    up = set(np.argsort(-z[1])[:10])
    members = sets.members[sets.ptr[0] : sets.ptr[1]]
    assert result.hits[1, 0, 0] == len(up & set(members))


@pytest.mark.parametrize("k", [0, 1, 3, 9, 12, 13])
def test_tails_are_scipys(k: int) -> None:
    np.testing.assert_allclose(hypergeometric_tail(k, 500, 12, 60), stats.hypergeom.sf(k - 1, 500, 12, 60), rtol=1e-9)
    np.testing.assert_allclose(beta_binomial_tail(k, 12, 0.7, 9.0), stats.betabinom.sf(k - 1, 12, 0.7, 9.0), atol=1e-14)


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
