"""Simes' test over the items of a feature: oracle, level, and what a lenient family would let pass."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special, stats

from cellprism.stats.fdr import Family
from cellprism.stats.simes import feature_qval, simes


def _exact(p: np.ndarray) -> np.ndarray:
    n = p.shape[1]
    return np.minimum((np.sort(p, axis=1) * n / np.arange(1, n + 1)).min(axis=1), 1.0)


@pytest.mark.parametrize("kind", ["z", "log p"])
def test_simes_is_that_of_the_sorted_p_values(kind: str) -> None:
    rng = np.random.default_rng(0)
    z = rng.normal(size=(400, 300)) * rng.uniform(0.8, 1.8, (400, 1))
    exact = _exact(2 * stats.norm.sf(np.abs(z)))
    got = simes(z if kind == "z" else np.log(2) + special.log_ndtr(-np.abs(z)), kind)
    ratio = (got / exact)[exact > 1e-10]
    assert ratio.min() >= 1 - 1e-12
    assert ratio.max() < 1.02


def test_hand_worked() -> None:
    p = np.array([[0.01, 0.02, 0.9, 0.9], [0.5, 0.04, 0.03, 0.02], [1.0, 1.0, 1.0, 1.0]])
    np.testing.assert_allclose(simes(np.log(p), "log p"), [0.04, 4 * 0.04 / 3, 1.0], rtol=0.011)
    untested = np.vstack([np.log(p), np.full(4, np.nan)])
    assert np.isnan(simes(untested, "log p")[3])
    assert np.isnan(simes(np.empty((2, 0)), "z")).all()


def test_p_is_uniform_under_the_null() -> None:
    p = simes(np.random.default_rng(1).normal(size=(4_000, 200)), "z")
    assert stats.kstest(p, "uniform").statistic < 0.025


def test_many_true_findings_do_not_lend_the_others_a_lenient_threshold() -> None:
    """Half of all features with many findings: of the others most pass at the threshold of all pairs, few here."""
    z = np.random.default_rng(2).normal(size=(400, 500))
    z[:200] += 4.0
    limit = Family(z, "z").critical(0.05)
    assert (np.abs(z[200:]) >= limit).any(axis=1).mean() > 0.9
    q = feature_qval(z, "z", np.ones(400, dtype=bool))
    assert (q[:200] < 0.05).all()
    assert (q[200:] < 0.05).mean() < 0.06
