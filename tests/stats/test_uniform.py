"""Raw p values of every test over cells are uniform when codes say nothing about the cells."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from scipy import stats

from cellprism.stats.contrast import active_contrast, check_codes, paper_contrast
from cellprism.stats.expression import prepare_expression
from cellprism.stats.fdr import two_sided_log_p
from cellprism.stats.genes import rank_sum, welch
from cellprism.stats.labels import category_detectors, spearman

N_CELLS, N_GENES, N_FEATURES = 600, 150, 30


@pytest.fixture(scope="module")
def nothing() -> dict:
    """Counts whose mean differs between three strata, and codes without meaning."""
    rng = np.random.default_rng(11)
    strata = np.repeat([0, 1, 2], 200)
    rate = rng.gamma(3.0, 1.0, N_GENES) * np.exp(0.5 * strata[:, None])
    dense = rng.gamma(1.0, 1.0, (N_CELLS, N_FEATURES)) * (rng.random((N_CELLS, N_FEATURES)) < 0.2)
    return {"log": np.log1p(rng.poisson(rate)), "codes": check_codes(sp.csc_array(dense)), "strata": strata, "rng": rng}


@pytest.mark.parametrize("stratified", [False, True], ids=["one stratum", "strata"])
@pytest.mark.parametrize("test", [rank_sum, welch])
def test_genes(nothing: dict, test, stratified: bool) -> None:
    expression = prepare_expression(nothing["log"], nothing["strata"] if stratified else None)
    result = test(expression, active_contrast(nothing["codes"], expression.strata, expression.sizes))
    pval = np.exp(two_sided_log_p(result.z)).ravel()
    assert stats.kstest(pval, "uniform").statistic < 0.03
    assert stats.kstest(np.exp(two_sided_log_p(result.calibrated)).ravel(), "uniform").statistic < 0.03


def test_the_papers_contrast(nothing: dict) -> None:
    """Genes without the shift that those of a stratum share: with it p values of one feature rise and fall together."""
    rng = np.random.default_rng(12)
    expression = prepare_expression(np.log1p(rng.poisson(rng.gamma(3.0, 1.0, N_GENES), (N_CELLS, N_GENES))))
    contrast = paper_contrast(nothing["codes"], expression.strata, expression.sizes, min_cells=5, percentile=90.0)
    pval = np.exp(two_sided_log_p(welch(expression, contrast).z)).ravel()
    assert stats.kstest(pval, "uniform").statistic < 0.025


def test_labels_and_covariates(nothing: dict) -> None:
    rng = nothing["rng"]
    detectors = [
        category_detectors(nothing["codes"], rng.choice(np.array(["a", "b", "c"]), N_CELLS)).z for _ in range(20)
    ]
    covariates = [spearman(nothing["codes"], rng.normal(size=N_CELLS))[2] for _ in range(40)]
    for z in (np.array(detectors), np.array(covariates)):
        assert stats.kstest(np.exp(two_sided_log_p(z)).ravel(), "uniform").statistic < 0.05
