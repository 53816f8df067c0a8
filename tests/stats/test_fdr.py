"""q values against SciPy."""

from __future__ import annotations

import numpy as np
from scipy import stats

from cellprism.stats.fdr import benjamini_hochberg, critical_z, q_from_p, q_from_z, two_sided_log_p


def test_q_values_are_scipys_by_every_route() -> None:
    rng = np.random.default_rng(0)
    z = np.round(rng.normal(size=(40, 50)) * 2.0, 1)  # rounded: ties
    z[3] = np.nan
    pval = np.exp(two_sided_log_p(z))
    tested = np.isfinite(pval)
    expected = stats.false_discovery_control(pval[tested])
    np.testing.assert_allclose(benjamini_hochberg(pval)[tested], expected, rtol=1e-9)
    assert np.isnan(benjamini_hochberg(pval)[3]).all()
    wanted = np.flatnonzero(tested)
    np.testing.assert_allclose(q_from_z(z, wanted), expected, rtol=1e-9)
    np.testing.assert_allclose(q_from_p(pval, wanted), expected, rtol=1e-9)
    np.testing.assert_array_equal(np.abs(z[tested]) >= critical_z(z, 0.05), expected <= 0.05)


def test_nothing_passes_without_signal() -> None:
    assert critical_z(np.zeros((3, 3)), 0.05) == np.inf
