"""Gene tests against SciPy over random, tied, constant, empty, one-cell and perfect-marker genes."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from scipy import stats

from cellprism.stats.contrast import active_contrast, check_codes, paper_contrast
from cellprism.stats.expression import prepare_expression
from cellprism.stats.fdr import two_sided_log_p
from cellprism.stats.genes import rank_sum, welch

N_CELLS = 300


@pytest.fixture(scope="module")
def problem() -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Codes (cells, 6), labels of strata, and named genes."""
    rng = np.random.default_rng(0)
    codes = rng.gamma(1.0, 1.0, (N_CELLS, 6)) * (rng.random((N_CELLS, 6)) < [0.1, 0.2, 0.5, 0.8, 0.05, 0.3])
    first = codes[:, 0] > 0
    genes = {
        "random": rng.gamma(2.0, 1.0, N_CELLS),
        "counts": np.log1p(rng.poisson(0.4, N_CELLS)),
        "tied": rng.integers(0, 3, N_CELLS).astype(float),
        "constant": np.full(N_CELLS, 1.5),
        "empty": np.zeros(N_CELLS),
        "one cell": np.eye(N_CELLS)[7],
        "perfect marker": first * 2.0,
        "noisy marker": first * rng.gamma(3.0, 1.0, N_CELLS) + 0.05 * (rng.random(N_CELLS) < 0.1),
    }
    return codes, rng.integers(0, 3, N_CELLS), genes


def _prepared(genes: dict[str, np.ndarray], strata: np.ndarray | None = None):
    return prepare_expression(sp.csr_array(np.stack(list(genes.values()), axis=1).astype(np.float32)), strata)


def test_rank_sum_is_scipys(problem) -> None:
    codes, _, genes = problem
    expression = _prepared(genes)
    contrast = active_contrast(check_codes(codes), expression.strata, expression.sizes)
    result = rank_sum(expression, contrast)
    pval = np.exp(two_sided_log_p(result.z))
    for f in range(codes.shape[1]):
        active = codes[:, f] > 0
        for g, (name, values) in enumerate(genes.items()):
            x = values.astype(np.float32).astype(float)  # SciPy would return float32 p values
            if np.ptp(x) == 0:
                assert result.z[f, g] == 0, name
                continue
            oracle = stats.mannwhitneyu(x[active], x[~active], method="asymptotic")
            np.testing.assert_allclose(pval[f, g], oracle.pvalue, rtol=1e-6, err_msg=name)
            centred = oracle.statistic - active.sum() * (~active).sum() / 2
            assert np.sign(result.z[f, g]) in {np.sign(centred), 0}, name
    assert np.argmax(result.z[0]) == list(genes).index("perfect marker")


def test_log_p_of_a_large_sample_does_not_underflow() -> None:
    z = np.array([1.0, 10.0, 37.0, 60.0, 1e4])
    from scipy.special import log_ndtr

    np.testing.assert_allclose(two_sided_log_p(z), np.log(2) + log_ndtr(-z), rtol=1e-9)


def test_fold_change_is_of_normalised_means(problem) -> None:
    codes, _, genes = problem
    expression = _prepared(genes)
    contrast = active_contrast(check_codes(codes), expression.strata, expression.sizes)
    fold = rank_sum(expression, contrast, pseudocount=0.5).log2fc
    x = np.expm1(genes["random"].astype(np.float32).astype(float))
    active = codes[:, 2] > 0
    expected = np.log2((x[active].mean() + 0.5) / (x[~active].mean() + 0.5))
    np.testing.assert_allclose(fold[2, 0], expected, rtol=1e-5)


def test_welch_is_scipys(problem) -> None:
    codes, _, genes = problem
    expression = _prepared(genes)
    contrast = active_contrast(check_codes(codes), expression.strata, expression.sizes)
    result = welch(expression, contrast)
    log_p = two_sided_log_p(result.z)
    for f in range(codes.shape[1]):
        active = codes[:, f] > 0
        for g, (name, values) in enumerate(genes.items()):
            x = values.astype(np.float32).astype(float)
            if np.ptp(x) == 0 or (np.ptp(x[active]) == 0 and np.ptp(x[~active]) == 0):
                continue
            oracle = stats.ttest_ind(x[active], x[~active], equal_var=False)
            np.testing.assert_allclose(log_p[f, g], np.log(oracle.pvalue), rtol=1e-6, atol=1e-6, err_msg=name)
            assert np.sign(result.z[f, g]) == np.sign(oracle.statistic), name
    # no variance on either side: the best hit, not p = 1
    assert np.argmax(result.z[0]) == list(genes).index("perfect marker")
    assert result.z[0, list(genes).index("perfect marker")] > 1e3
    assert (result.z[:, [3, 4]] == 0).all()


def test_van_elteren_is_the_sum_over_strata(problem) -> None:
    codes, strata, genes = problem
    expression = _prepared(genes, strata)
    contrast = active_contrast(check_codes(codes), expression.strata, expression.sizes)
    result = rank_sum(expression, contrast)
    for f in range(codes.shape[1]):
        for g, (name, values) in enumerate(genes.items()):
            x = values.astype(np.float32).astype(float)  # SciPy would return float32 p values
            shift = variance = third = 0.0
            for h in np.unique(strata):
                here = strata == h
                ranks = stats.rankdata(x[here])
                active = codes[here, f] > 0
                n, n1 = here.sum(), active.sum()
                shift += (ranks[active].sum() - n1 * (n + 1) / 2) / (n + 1)
                variance += n1 * (n - n1) / (n * (n - 1)) * ((ranks - ranks.mean()) ** 2).sum() / (n + 1) ** 2
                third += (
                    n1
                    * (n - n1)
                    * (n - 2 * n1)
                    * ((ranks - ranks.mean()) ** 3).sum()
                    / (n * (n - 1) * (n - 2) * (n + 1) ** 3)
                )
            expected = shift / np.sqrt(variance) if variance > 0 else 0.0
            np.testing.assert_allclose(result.z[f, g], expected, rtol=1e-6, atol=1e-9, err_msg=name)


def test_stratified_welch_with_one_stratum_each_side(problem) -> None:
    codes, strata, genes = problem
    expression = _prepared(genes, strata)
    contrast = active_contrast(check_codes(codes), expression.strata, expression.sizes)
    result = welch(expression, contrast)
    x, active = genes["random"].astype(np.float32).astype(float), codes[:, 2] > 0
    top = bottom = satterthwaite = 0.0
    for h in range(3):
        a, b = x[(strata == h) & active], x[(strata == h) & ~active]
        w, va, vb = a.size * b.size / (a.size + b.size), a.var(ddof=1) / a.size, b.var(ddof=1) / b.size
        top, bottom = top + w * (a.mean() - b.mean()), bottom + w**2 * (va + vb)
        satterthwaite += w**4 * (va**2 / (a.size - 1) + vb**2 / (b.size - 1))
    expected = 2 * stats.t.sf(abs(top) / np.sqrt(bottom), bottom**2 / satterthwaite)
    np.testing.assert_allclose(np.exp(two_sided_log_p(result.z[2, 0])), expected, rtol=1e-6)


def test_paper_contrast_takes_the_top_percentile_against_zero() -> None:
    rng = np.random.default_rng(1)
    codes = np.zeros((2_000, 3), dtype=np.float32)
    codes[:500, 0] = rng.gamma(1.0, 1.0, 500)
    codes[:500, 1] = 1.0  # ties at the percentile: all of them count
    codes[:12, 2] = 1.0 + np.arange(12)  # active in fewer cells than the percentile leaves
    x = rng.gamma(2.0, 1.0, (2_000, 4)).astype(np.float32)
    expression = prepare_expression(x)
    contrast = paper_contrast(check_codes(codes), expression.strata, expression.sizes)
    few = paper_contrast(check_codes(codes), expression.strata, expression.sizes, min_cells=999)
    assert few.reason[0] == f"{few.positive[0].sum()} cells above percentile 99 of the activation, fewer than 999"
    assert contrast.positive[:, 0].tolist() == [20, 500, 12]
    assert contrast.negative[:, 0].tolist() == [1_500, 1_500, 1_988]
    result = welch(expression, contrast)
    high = codes[:, 0] > np.percentile(codes[:, 0], 99)
    for g in range(4):
        a, b = x[high, g].astype(float), x[codes[:, 0] == 0, g].astype(float)
        oracle = stats.ttest_ind(a, b, equal_var=False)
        np.testing.assert_allclose(np.exp(two_sided_log_p(result.z[0, g])), oracle.pvalue, rtol=1e-6)


def test_calibrated_tail_holds_for_rare_genes() -> None:
    """Under permuted cells the asymptotic p of rare genes is far too small; the calibrated one is not."""
    rng = np.random.default_rng(2)
    n, repeats = 1_000, 4_000
    genes = np.zeros((n, 4), dtype=np.float32)
    for g, k in enumerate((5, 20, 80, 600)):
        genes[rng.choice(n, k, replace=False), g] = rng.gamma(2.0, 1.0, k)
    expression = prepare_expression(genes)
    rows = np.concatenate([rng.choice(n, 30, replace=False) for _ in range(repeats)])
    draws = sp.csc_array((np.ones(rows.size), rows, np.arange(repeats + 1) * 30), (n, repeats))
    result = rank_sum(expression, active_contrast(check_codes(draws), expression.strata, expression.sizes))
    naive = np.exp(two_sided_log_p(result.z)) < 1e-3
    calibrated = np.exp(two_sided_log_p(result.calibrated)) < 1e-3
    assert naive[:, 0].mean() > 5e-3
    assert (calibrated.mean(axis=0) < 2.5e-3).all()


def test_untestable_features_say_why() -> None:
    codes = np.zeros((50, 3))
    codes[:4, 0], codes[:45, 1] = 1.0, 1.0
    expression = prepare_expression(np.random.default_rng(0).gamma(1.0, 1.0, (50, 2)))
    contrast = active_contrast(check_codes(codes), expression.strata, expression.sizes)
    assert [r.split(",")[0] for r in contrast.reason] == ["4 active cells", "5 inactive cells", "never active"]
    assert np.isnan(rank_sum(expression, contrast).z).all()
