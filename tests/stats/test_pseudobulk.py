"""Donor intercepts and donor-by-feature slopes without effect: tests over cells fail, the test over donors holds."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from scipy import stats

from cellprism.stats.contrast import active_contrast, check_codes
from cellprism.stats.donors import intraclass_correlation, weigh_donors
from cellprism.stats.expression import prepare_expression
from cellprism.stats.fdr import benjamini_hochberg, two_sided_log_p
from cellprism.stats.genes import rank_sum
from cellprism.stats.moderate import fit_prior, skewed_tail, t_to_z
from cellprism.stats.pseudobulk import donors_of_strata, paired_pseudobulk

N_DONORS, PER_DONOR, N_GENES, N_FEATURES = 6, 150, 150, 6


def simulate(seed: int, effect: float = 0.0, slope_sd: float = 0.5) -> dict[str, np.ndarray]:
    """P values (features, genes) of three tests; ``effect`` is the mean slope of the first ten genes."""
    rng = np.random.default_rng(seed)
    donor = np.repeat(np.arange(N_DONORS), PER_DONOR)
    active = rng.random((donor.size, N_FEATURES)) < 0.25
    intercept = rng.normal(0.0, 0.5, (N_DONORS, N_GENES))
    rate = np.exp(np.log(rng.gamma(2.0, 0.5, N_GENES)) + intercept[donor])
    slope = rng.normal(0.0, slope_sd, (N_FEATURES, N_DONORS, N_GENES))
    slope[:, :, :10] += effect
    results = {"cells": [], "van Elteren": [], "donors": []}
    for f in range(N_FEATURES):
        log = np.log1p(rng.poisson(rate * np.exp(active[:, [f]] * slope[f][donor])))
        codes = check_codes(sp.csc_array(active[:, [f]].astype(float)))
        for name, strata in (("cells", None), ("van Elteren", donor), ("donors", donor)):
            expression = prepare_expression(log, strata)
            contrast = active_contrast(codes, expression.strata, expression.sizes)
            if name == "donors":
                unit = donors_of_strata(expression.strata, donor, N_DONORS)
                z = paired_pseudobulk(expression, contrast, unit)[0].calibrated
            else:
                z = rank_sum(expression, contrast).z
            results[name].append(np.exp(two_sided_log_p(z[0])))
    return {name: np.array(p) for name, p in results.items()}


def test_only_the_test_over_donors_holds_its_level() -> None:
    runs = [simulate(seed) for seed in range(2)]
    level = {name: np.mean([(r[name] < 0.05).mean() for r in runs]) for name in runs[0]}
    assert level["cells"] > 0.3
    assert level["van Elteren"] > 0.3
    assert 0.03 < level["donors"] < 0.07
    pooled = np.concatenate([r["donors"].ravel() for r in runs])
    assert stats.kstest(pooled, "uniform").statistic < 0.04


def test_power_is_kept_for_effects_that_donors_share() -> None:
    p = simulate(5, effect=1.2, slope_sd=0.3)["donors"]
    assert (p[:, :10] < 0.05).mean() > 0.8
    assert 0.02 < (p[:, 10:] < 0.05).mean() < 0.08


def test_level_holds_with_three_donors_and_no_slopes() -> None:
    rng = np.random.default_rng(7)
    donor = np.repeat(np.arange(3), 100)
    expression = prepare_expression(np.log1p(rng.poisson(rng.gamma(2.0, 0.5, 400), (300, 400))), donor)
    codes = check_codes(sp.csc_array((rng.random((300, 10)) < 0.3).astype(float)))
    contrast = active_contrast(codes, expression.strata, expression.sizes)
    result, n = paired_pseudobulk(expression, contrast, donors_of_strata(expression.strata, donor, 3))
    assert (n == 3).all()
    for z in (result.z, result.calibrated):
        assert 0.035 < (np.exp(two_sided_log_p(z)) < 0.05).mean() < 0.065


def test_rare_genes_that_no_active_cell_expresses_are_no_finding() -> None:
    rng = np.random.default_rng(11)
    donor = np.repeat(np.arange(3), 300)
    rate = np.concatenate([rng.uniform(0.02, 0.1, 500), rng.gamma(2.0, 0.5, 200)])
    expression = prepare_expression(np.log1p(rng.poisson(rate, (900, 700))), donor)
    share = np.geomspace(0.04, 0.9, 20)
    codes = check_codes(sp.csc_array((rng.random((900, 20)) < share).astype(float)))
    contrast = active_contrast(codes, expression.strata, expression.sizes)
    result = paired_pseudobulk(expression, contrast, donors_of_strata(expression.strata, donor, 3))[0]
    p = np.exp(two_sided_log_p(result.calibrated))
    assert benjamini_hochberg(p).min() > 0.05
    assert (p[:, :500] < 0.05).mean() < 0.06
    assert 0.03 < (p[:, 500:] < 0.05).mean() < 0.07


@pytest.mark.parametrize("skewness", [-0.8, -0.1, 0.0, 0.3, 1.5])
def test_skewed_tails_are_those_of_a_gamma_variable(skewness: float) -> None:
    z = np.linspace(-6.0, 6.0, 49)
    ours = np.exp(two_sided_log_p(skewed_tail(z, np.full(z.size, skewness)))) / 2
    normal = stats.norm.sf(np.abs(z))
    if skewness == 0.0:
        np.testing.assert_allclose(ours, normal, rtol=1e-9)
        return
    shape = 4.0 / skewness**2
    side = stats.gamma.sf(shape + np.sqrt(shape) * np.abs(z), shape)
    far = (np.sign(z) == np.sign(skewness)) & (np.abs(z) > 2.0)
    np.testing.assert_allclose(np.log(ours[far]), np.log(side[far]), rtol=0.05)  # the cube root errs to the safe side
    assert (ours[far] > 0.9 * side[far]).all()
    np.testing.assert_allclose(
        ours[np.sign(z) == -np.sign(skewness)], normal[np.sign(z) == -np.sign(skewness)], rtol=1e-9
    )


def test_prior_recovers_its_parameters() -> None:
    rng = np.random.default_rng(0)
    variance = 2.0 * 8.0 / rng.chisquare(8.0, 40_000)
    prior = fit_prior(variance * rng.chisquare(4.0, 40_000) / 4.0, 4.0)
    assert prior.variance == pytest.approx(2.0, rel=0.05)
    assert prior.df == pytest.approx(8.0, rel=0.1)


@pytest.mark.parametrize("df", [1.0, 2.5, 30.0, 1e5])
def test_deviates_of_t_have_its_p_value(df: float) -> None:
    t = np.array([-40.0, -2.0, 0.0, 0.3, 5.0, 300.0])
    with np.errstate(divide="ignore"):
        expected = np.log(2.0) + stats.t.logsf(np.abs(t), df)
    ours = two_sided_log_p(t_to_z(t, df))
    known = np.isfinite(expected) & (expected > -600)
    np.testing.assert_allclose(ours[known], expected[known], rtol=1e-7, atol=1e-12)
    assert (np.diff(t_to_z(t, df)) > 0).all()
    assert t_to_z(np.array([np.inf]), df)[0] > 1e3


UNEQUAL = {
    "six": [300, 200, 100, 50, 30, 20],
    "one of many cells": [1000, 40, 30, 20, 20, 20],
    "five": [400, 150, 60, 30, 20],
    "three": [400, 60, 20],
}


def over_unequal_donors(sizes: list[int], spread: tuple[float, ...], effect: float = 0.0) -> np.ndarray:
    """P values (rounds, genes) of the test over donors; the first ten of 150 genes have a mean slope."""
    rng = np.random.default_rng(4)
    donor = np.repeat(np.arange(len(sizes)), sizes)
    found = []
    for _ in range(16):
        active = rng.random((donor.size, 1)) < 0.3
        rate = rng.gamma(2.0, 0.5, 150) * np.exp(rng.normal(0.0, 0.5, (len(sizes), 150))[donor])
        slope = rng.normal(size=(len(sizes), 150)) * rng.choice(spread, 150)
        slope[:, :10] += effect
        expression = prepare_expression(np.log1p(rng.poisson(rate * np.exp(active * slope[donor]))), donor)
        contrast = active_contrast(check_codes(sp.csc_array(active.astype(float))), expression.strata, expression.sizes)
        unit = donors_of_strata(expression.strata, donor, len(sizes))
        found.append(np.exp(two_sided_log_p(paired_pseudobulk(expression, contrast, unit)[0].calibrated[0])))
    return np.array(found)


@pytest.mark.parametrize("spread", [(0.0,), (0.4,), (0.0, 0.3)], ids=str)
@pytest.mark.parametrize("sizes", UNEQUAL.values(), ids=UNEQUAL)
def test_the_level_holds_over_donors_of_unequal_size(sizes: list[int], spread: tuple[float, ...]) -> None:
    """Genes whose slopes differ between donors by nothing, alike, or half of them."""
    p = over_unequal_donors(sizes, spread)[:, 10:].ravel()
    assert (p < 0.05).mean() < 0.07
    assert (p < 0.001).mean() < 0.004
    if spread == (0.4,):  # of donors that do not differ weights are too even, and the test errs to the safe side
        assert stats.kstest(p, "uniform").statistic < 0.05


def test_large_donors_count_for_more_than_small_ones() -> None:
    p = over_unequal_donors([300, 200, 100, 50, 30, 20], (0.0,), effect=0.4)
    assert (p[:, :10] < 0.05).mean() > 0.75  # 0.7 where donors count alike


def test_the_weighted_mean_is_that_of_weighted_least_squares() -> None:
    """Weights, mean and variance over donors are those of statsmodels with the same precisions."""
    linear = pytest.importorskip("statsmodels.api")
    rng = np.random.default_rng(0)
    values, n, within = rng.normal(0.3, 1.0, (6, 25)), np.array([60.0, 8.0, 3.0, 40.0, 18.0, 2.0]), np.full(25, 2.0)
    found = weigh_donors([values], [n], within)
    own, consensus = intraclass_correlation([values], [n], within)
    assert found.correlation == consensus
    for g in range(25):
        rho = max(own[g], consensus)
        precision = 1 / (rho + (1 - rho) / n)
        fit = linear.WLS(values[:, g], np.ones(6), weights=precision / precision.mean()).fit()
        (weights,) = found.weights
        assert np.average(values[:, g], weights=weights[:, g]) == pytest.approx(fit.params[0])
        assert found.variance[g] == pytest.approx(fit.scale)
        assert np.sqrt(found.variance[g] / weights[:, g].sum()) == pytest.approx(fit.bse[0])


def test_doubt_makes_weights_more_even() -> None:
    """Donors that do not differ: precision as the cells, or with one standard error of the correlation, sqrt(2 / df) / size."""
    n = [np.array([100.0, 5.0, 5.0, 100.0, 5.0])]
    values, within = [np.zeros((5, 40))], np.ones(40)
    plain, doubted = (weigh_donors(values, n, within, doubt).weights[0] for doubt in (0.0, 1.0))
    assert plain[0] / plain[1] == pytest.approx(20.0)
    consensus = weigh_donors(values, n, within).correlation
    size = (n[0].sum() - (n[0] ** 2).sum() / n[0].sum()) / 4
    rho = consensus + (1 - consensus) * np.sqrt(2 / 4) / size
    assert doubted[0] / doubted[1] == pytest.approx((rho + (1 - rho) / 5) / (rho + (1 - rho) / 100))
