"""Differential features: oracles over cells and donors, level without an effect, power statement, bad input."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from cellprism.errors import InputError
from cellprism.features.differential import differential


def _donors(seed: int, n_donors: int, per_donor: int, n_features: int, effect: float = 0.0, paired: bool = False):
    """Codes whose level varies by donor; condition by donor, or both conditions in each donor."""
    rng = np.random.default_rng(seed)
    donor = np.repeat(np.arange(n_donors), per_donor)
    second = np.tile([False, True], donor.size // 2) if paired else donor % 2 == 1
    level = rng.lognormal(0.0, 0.5, (n_donors, n_features))
    level = level[donor] * np.exp(effect * second[:, None] * (np.arange(n_features) < 20))
    codes = rng.gamma(2.0, 1.0, level.shape) * level * (rng.random(level.shape) < 0.4)
    return codes, np.where(second, "treated", "control"), donor


def test_over_cells_it_is_the_rank_sum_test_and_the_test_of_proportions() -> None:
    codes, condition, _ = _donors(0, 8, 50, 6)
    found = differential(codes, condition)
    second = condition == "treated"
    for f in range(6):
        a, b = codes[~second, f].astype(np.float32).astype(float), codes[second, f].astype(np.float32).astype(float)
        row = found.table.iloc[f]
        oracle = stats.mannwhitneyu(b, a, method="asymptotic", use_continuity=False)
        np.testing.assert_allclose(row["pval"], oracle.pvalue, rtol=1e-6)
        np.testing.assert_allclose(row["effect"], 2 * oracle.statistic / (a.size * b.size) - 1, rtol=1e-9)
        table = [[(a > 0).sum(), (a == 0).sum()], [(b > 0).sum(), (b == 0).sum()]]
        np.testing.assert_allclose(
            row["pval_fraction"], stats.chi2_contingency(table, correction=False).pvalue, rtol=1e-6
        )
        np.testing.assert_allclose(row["difference"], b.mean() - a.mean(), rtol=1e-4, atol=1e-6)
    assert "independent" in found.info["power"]


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
    "one condition": (lambda c, k, d: differential(c, np.zeros(k.size)), "Two conditions"),
    "one donor a side": (lambda c, k, d: differential(c, k, d % 2), "two donors in each condition"),
    "length": (lambda c, k, d: differential(c, k[:3]), "one value a cell"),
    "donors missing": (lambda c, k, d: differential(c, k, np.full(k.size, None)), "needs a donor"),
}


@pytest.mark.parametrize(("call", "says"), BAD.values(), ids=BAD.keys())
def test_bad_input_is_refused(call, says: str) -> None:
    with pytest.raises(InputError, match=says):
        call(*_donors(0, 4, 20, 3))
