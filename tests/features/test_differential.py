"""Differential features: oracles over cells and donors, level without an effect, power statement, bad input."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from cellprism.errors import CellsLeftOut, InputError
from cellprism.features.differential import differential
from cellprism.stats.donors import intraclass_correlation, weighted_moderated_t

pytestmark = pytest.mark.filterwarnings("ignore::cellprism.errors.CellsLeftOut")


def _donors(seed: int, n_donors: int, per_donor: int, n_features: int, effect: float = 0.0, paired: bool = False):
    """Codes whose level varies by donor; condition by donor, or both conditions in each donor."""
    rng = np.random.default_rng(seed)
    donor = np.repeat(np.arange(n_donors), per_donor)
    second = np.tile([False, True], donor.size // 2) if paired else donor % 2 == 1
    level = rng.lognormal(0.0, 0.5, (n_donors, n_features))
    level = level[donor] * np.exp(effect * second[:, None] * (np.arange(n_features) < 20))
    codes = rng.gamma(2.0, 1.0, level.shape) * level * (rng.random(level.shape) < 0.4)
    return codes, np.where(second, "treated", "control"), donor


def test_over_cells_it_is_the_permutation_test_of_means_and_the_test_of_proportions() -> None:
    codes, condition, _ = _donors(0, 8, 50, 6)
    found = differential(codes, condition)
    second = condition == "treated"
    for f in range(6):
        a, b = codes[~second, f].astype(np.float32).astype(float), codes[second, f].astype(np.float32).astype(float)
        row = found.table.iloc[f]
        shuffled = stats.permutation_test(
            (b, a), lambda x, y, axis: x.mean(axis) - y.mean(axis), vectorized=True, n_resamples=4000, random_state=0
        )
        assert row["pval"] == pytest.approx(shuffled.pvalue, abs=0.025)
        # equal groups: the null is not skewed, and the statistic is the correlation with the condition
        r = stats.pearsonr(np.concatenate([a, b]), np.repeat([0, 1], [a.size, b.size])).statistic
        assert row["statistic"] == pytest.approx(r * np.sqrt(399), rel=1e-6)
        pooled = np.sqrt(((a.size - 1) * a.var(ddof=1) + (b.size - 1) * b.var(ddof=1)) / 398)
        assert row["effect"] == pytest.approx((b.mean() - a.mean()) / pooled, rel=1e-6)
        table = [[(a > 0).sum(), (a == 0).sum()], [(b > 0).sum(), (b == 0).sum()]]
        np.testing.assert_allclose(
            row["pval_fraction"], stats.chi2_contingency(table, correction=False).pvalue, rtol=1e-6
        )
        np.testing.assert_allclose(row["difference"], b.mean() - a.mean(), rtol=1e-4, atol=1e-6)
    assert "independent" in found.info["power"]


def test_over_few_cells_of_a_rare_feature_the_level_holds() -> None:
    """Groups of unequal size make the null of the mean skewed."""
    rng = np.random.default_rng(0)
    codes = (rng.random((2000, 1500)) < 0.02) * rng.gamma(1.0, 1.0, (2000, 1500))
    p = differential(codes, np.where(np.arange(2000) < 100, "few", "many")).table["pval"]
    assert (p < 0.05).mean() < 0.07
    assert (p < 0.001).mean() < 0.004


SIZES = {
    "equal": [150] * 8,
    "uneven": [400, 300, 5, 200, 30, 100, 400, 12],
    "one of three cells": [300, 300, 300, 300, 3, 300, 300, 300],
    "few cells": [20, 6, 8, 15, 30, 6, 10, 12],
}


@pytest.mark.parametrize("spread", [(0.0,), (0.3,), (0.0, 0.05, 0.2, 0.6)], ids=str)
@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_over_donors_of_any_size_the_level_holds(sizes: list[int], spread: tuple[float, ...]) -> None:
    """Features that vary between donors by nothing, alike, or each by its own measure."""
    rng = np.random.default_rng(0)
    donor = np.repeat(np.arange(len(sizes)), sizes)
    pvals = []
    for _ in range(5):
        level = np.exp(rng.normal(size=(len(sizes), 200)) * rng.choice(spread, 200))[donor] * rng.lognormal(0, 1, 200)
        codes = (rng.random(level.shape) < 0.35) * rng.gamma(2.0, 1.0, level.shape) * level
        table = differential(codes, np.where(donor % 2, "b", "a"), donor).table
        pvals.append(table[["pval", "pval_fraction"]].to_numpy())
    p = np.concatenate(pvals)
    assert (p < 0.05).mean(axis=0).max() < 0.07
    assert (p < 0.001).mean(axis=0).max() < 0.006
    assert stats.kstest(p[:, 0], "uniform").statistic < 0.08


def test_equal_donors_have_equal_weights() -> None:
    codes, condition, donor = _donors(3, 8, 50, 30)
    found = differential(codes, condition, donor).table
    means = np.stack([codes[donor == d].mean(axis=0) for d in range(8)])
    np.testing.assert_allclose(found["mean_a"], means[::2].mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(found["difference"], means[1::2].mean(0) - means[::2].mean(0), rtol=1e-4, atol=1e-6)


def test_weights_are_those_of_weighted_least_squares() -> None:
    """The estimate is that of statsmodels with the same precisions, for every feature."""
    linear = pytest.importorskip("statsmodels.api")
    rng = np.random.default_rng(0)
    n = np.array([300.0, 40.0, 3.0, 200.0, 90.0, 10.0])
    values = rng.gamma(2.0, 1.0, (6, 25))
    groups = [np.arange(6) < 3, np.arange(6) >= 3]
    within = np.full(25, 2.0)
    found = weighted_moderated_t([values, values], [n, n], groups, within)
    own, consensus = intraclass_correlation([values[:3], values[3:]], [n[:3], n[3:]], within)
    assert consensus == pytest.approx(found.correlation)
    for f in range(25):
        rho = max(own[f], consensus)
        design = linear.add_constant((np.arange(6) >= 3).astype(float))
        fit = linear.WLS(values[:, f], design, weights=1 / (rho + (1 - rho) / n)).fit()
        assert found.mean_b[f] - found.mean_a[f] == pytest.approx(fit.params[1])
        assert found.error[f] / found.sd[f] == pytest.approx(
            fit.bse[1] / np.sqrt(fit.scale) * np.sqrt((1 / (rho + (1 - rho) / n)).mean())
        )


def test_intraclass_correlation_is_that_which_made_the_cells() -> None:
    rng = np.random.default_rng(0)
    sizes = np.array([20, 50, 200, 80, 10, 120, 60, 40])
    donor = np.repeat(np.arange(8), sizes)
    x = np.sqrt(0.2) * rng.normal(size=(8, 3000))[donor] + np.sqrt(0.8) * rng.normal(size=(donor.size, 3000))
    means = np.stack([x[donor == d].mean(axis=0) for d in range(8)])
    within = sum(((x[donor == d] - means[d]) ** 2).sum(axis=0) for d in range(8)) / (donor.size - 8)
    _, consensus = intraclass_correlation([means[:4], means[4:]], [sizes[:4] * 1.0, sizes[4:] * 1.0], within)
    assert consensus == pytest.approx(0.2, abs=0.04)


def _uneven(third: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Feature 0 is doubled in t1 and t2, of 300 cells as the controls; in t3 it is off."""
    rng = np.random.default_rng(seed)
    sizes = {"c1": 300, "c2": 300, "c3": 300, "t1": 300, "t2": 300}
    donor = np.repeat(list(sizes), list(sizes.values()))
    codes = (rng.random((donor.size, 40)) < 0.3) * rng.gamma(2.0, 1.0, (donor.size, 40))
    codes[np.char.startswith(donor, "t"), 0] *= 2
    more = (rng.random((third, 40)) < 0.3) * rng.gamma(2.0, 1.0, (third, 40))
    more[:, 0] = 0
    donor = np.concatenate([donor, np.full(third, "t3")])
    return np.concatenate([codes, more]), np.where(np.char.startswith(donor, "c"), "ctrl", "treated"), donor


def test_a_donor_of_three_cells_does_not_outvote_the_others() -> None:
    without, one, three = (differential(*_uneven(n)) for n in (0, 1, 3))
    first = [found.table.iloc[0] for found in (without, one, three)]
    assert first[0]["qval"] < 1e-3
    assert first[2]["qval"] < 1e-2
    assert first[2]["difference"] == pytest.approx(first[0]["difference"], rel=0.1)
    # a stray cell changes nothing but a note and what is said of it
    pd.testing.assert_frame_equal(one.table, without.table)
    assert "t3" in one.info["notes"][0]
    assert three.info["donor_cells"]["t3"] == [0, 3]


@pytest.mark.parametrize("unit", ["cells", "donors", "pairs"])
def test_a_row_never_contradicts_itself(unit: str) -> None:
    """Of donors and conditions of all sizes, with features whose level and share go opposite ways."""
    rng = np.random.default_rng(0)
    sizes = [300, 3, 40, 300, 7, 120]
    donor = np.repeat(np.arange(6), sizes)
    second = rng.random(donor.size) < 0.4 if unit == "pairs" else donor >= 3
    rate = rng.uniform(0.05, 0.9, (6, 2, 300))[donor, second.astype(int)]
    codes = (rng.random(rate.shape) < rate) * rng.lognormal(0, 1.5, (6, 2, 300))[donor, second.astype(int)]
    table = differential(codes, np.where(second, "b", "a"), None if unit == "cells" else donor).table
    sign = np.sign(table["difference"])
    assert (table["mean_b"] - table["mean_a"] == table["difference"]).all()
    for column in ("log2_ratio", "effect", "statistic"):
        assert (np.sign(table[column]) == sign).all(), column
    assert (np.sign(table["statistic_fraction"]) == np.sign(table["fraction_b"] - table["fraction_a"])).all()
    assert (table["detectable"] > 0).all()


GAPS = {
    "object": lambda v: np.array([None if x == "" else x for x in v], dtype=object),
    "float NaN": lambda v: np.array([np.nan if x == "" else x for x in v], dtype=object),
    "string": lambda v: pd.array([None if x == "" else x for x in v], dtype="string"),
    "categorical": lambda v: pd.Series([None if x == "" else x for x in v]).astype("category"),
    "text": lambda v: np.asarray(v),
}


@pytest.mark.parametrize("kind", GAPS)
def test_cells_without_a_value_are_left_out_and_counted(kind: str) -> None:
    codes, condition, donor = _donors(0, 8, 50, 12)
    condition = np.where(condition == "control", "None", "nan")  # names like any other
    gaps = condition.astype(object)
    gaps[:30] = ""
    no_donor = np.char.add("d", donor.astype(str)).astype(object)
    no_donor[30:45] = ""
    with pytest.warns(CellsLeftOut) as said:
        found = differential(codes, GAPS[kind](gaps), GAPS[kind](no_donor))
    assert [str(one.message) for one in said] == found.info["notes"]
    wanted = differential(codes[45:], condition[45:], no_donor[45:])
    pd.testing.assert_frame_equal(found.table, wanted.table)
    assert (found.info["a"], found.info["b"]) == ("None", "nan")
    assert [n.split(" of ")[0] for n in found.info["notes"]] == ["30", "15"]


@pytest.mark.parametrize("dtype", ["Int64", "boolean"])
def test_nullable_numbers_are_conditions(dtype: str) -> None:
    codes, condition, _ = _donors(0, 8, 50, 5)
    values = pd.array([None, *(condition[1:] == "treated").astype(int)], dtype=dtype)
    assert differential(codes, values).info["cells_a"] == 199


def test_features_of_a_handful_of_cells_are_in_no_family() -> None:
    codes, condition, donor = _donors(2, 8, 50, 12)
    codes[:, 7] = 0
    codes[3, 7] = 5.0
    found = differential(codes, condition, donor)
    assert found.untestable.to_dict("list") == {
        "feature": [7],
        "reason": ["1 active cells among those compared, fewer than 10"],
    }
    others = np.delete(np.arange(12), 7)
    pd.testing.assert_series_equal(found.table["qval"], differential(codes[:, others], condition, donor).table["qval"])


def test_it_is_shown_in_two_lines() -> None:
    codes, condition, _ = _donors(0, 8, 50, 6)
    assert len(repr(differential(codes, condition)).splitlines()) == 2


@pytest.mark.parametrize("paired", [False, True], ids=["two groups", "paired"])
def test_over_donors_the_level_holds_where_cells_fail(paired: bool) -> None:
    pvals = {"donor": [], "cell": []}
    for seed in range(4):
        codes, condition, donor = _donors(seed, 8, 200, 200, paired=paired)
        over = differential(codes, condition, donor)
        assert over.info["design"] == ("paired" if paired else "two groups")
        pvals["donor"].append(over.table["pval"])
        pvals["cell"].append(differential(codes, condition).table["pval"])
    donor, cell = (np.concatenate(pvals[k]) for k in ("donor", "cell"))
    assert 0.03 < (donor < 0.05).mean() < 0.07
    assert stats.kstest(donor, "uniform").statistic < 0.06
    if not paired:
        assert (cell < 0.05).mean() > 0.2


def test_effects_are_found_with_their_direction() -> None:
    codes, condition, donor = _donors(1, 8, 200, 200, effect=0.8, paired=True)
    table = differential(codes, condition, donor).table
    hits = table[(table["qval"] < 0.05)]
    assert (hits["feature"] < 20).mean() > 0.9
    assert (table["qval"].iloc[:20] < 0.05).mean() > 0.8
    assert (table["statistic"].iloc[:20] > 0).all()
    assert (table["log2_ratio"].iloc[:20] > 0).all()
    assert (table["detectable"] > 0).all()


def test_cells_and_conditions_can_be_chosen() -> None:
    codes, condition, _ = _donors(2, 8, 50, 5)
    three = condition.astype(object)
    three[:40] = "other"
    three[40] = None
    found = differential(codes, three, conditions=("treated", "control"), within=np.arange(400) < 300)
    assert found.info["a"] == "treated"
    assert found.info["cells_a"] + found.info["cells_b"] == 300 - 41


def test_dead_features_are_left_out() -> None:
    codes, condition, _ = _donors(2, 8, 50, 5)
    codes[:, 2] = 0
    assert differential(codes, condition).table["feature"].tolist() == [0, 1, 3, 4]


BAD = {
    "three conditions": (lambda c, k, d: differential(c, np.arange(k.size) % 3), "name the two"),
    "three named": (lambda c, k, d: differential(c, k, conditions=("control", "treated", "x")), "wo conditions"),
    "one named twice": (lambda c, k, d: differential(c, k, conditions=("control", "control")), "wo conditions"),
    "one named": (lambda c, k, d: differential(c, k, conditions=("control",)), "wo conditions"),
    "unknown": (lambda c, k, d: differential(c, k, conditions=("control", "x")), "there are 'control', 'treated'"),
    "within": (lambda c, k, d: differential(c, k, within=np.ones(3, bool)), "one value a cell"),
    "one condition": (lambda c, k, d: differential(c, np.zeros(k.size)), "Two conditions"),
    "one donor a side": (lambda c, k, d: differential(c, k, d % 2), "two donors in each condition"),
    "length": (lambda c, k, d: differential(c, k[:3]), "one value a cell"),
    "donors missing": (lambda c, k, d: differential(c, k, np.full(k.size, None)), "needs a donor"),
}


@pytest.mark.parametrize(("call", "says"), BAD.values(), ids=BAD.keys())
def test_bad_input_is_refused(call, says: str) -> None:
    with pytest.raises(InputError, match=says):
        call(*_donors(0, 4, 20, 3))
