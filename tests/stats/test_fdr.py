"""q values against SciPy."""

from __future__ import annotations

import numpy as np
from scipy import stats

from cellprism.stats.fdr import Family, benjamini_hochberg, two_sided_log_p


def test_q_values_are_scipys_by_every_route() -> None:
    rng = np.random.default_rng(0)
    z = np.round(rng.normal(size=(40, 50)) * 2.0, 1)  # rounded: ties
    z[3] = np.nan
    pval = np.exp(two_sided_log_p(z))
    tested = np.isfinite(pval)
    expected = stats.false_discovery_control(pval[tested])
    np.testing.assert_allclose(benjamini_hochberg(pval)[tested], expected, rtol=1e-9)
    assert np.isnan(benjamini_hochberg(pval)[3]).all()
    for family, values in ((Family(z, "z"), z), (Family(pval), pval)):
        np.testing.assert_allclose(family.q(values[tested]), expected, rtol=1e-9)
        passing = family.q(values) <= 0.05
        limit = family.critical(0.05)
        np.testing.assert_array_equal(passing, np.abs(values) >= limit if values is z else values <= limit)


def test_nothing_passes_without_signal() -> None:
    assert Family(np.zeros((3, 3)), "z").critical(0.05) == np.inf
    assert Family(np.ones(4)).critical(0.05) == -np.inf
    assert np.isnan(Family(np.array([np.nan])).q(np.array([0.5]))).all()
