"""Association with the activation against SciPy, within strata by hand, and its level."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from scipy import stats

from cellprism.stats.association import activation_association
from cellprism.stats.contrast import check_codes
from cellprism.stats.expression import prepare_expression

N_CELLS = 200


def _data(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    codes = rng.gamma(1.0, 1.0, (N_CELLS, 5)) * (rng.random((N_CELLS, 5)) < [0.05, 0.2, 0.5, 0.95, 0.3])
    codes[:, 4] = np.round(codes[:, 4])  # ties
    genes = np.log1p(rng.poisson(rng.gamma(1.0, 2.0, 12), (N_CELLS, 12)) + (codes[:, [1]] > 1.0)).astype(np.float32)
    genes[:, 0], genes[:, 1] = 0.0, 1.5
    return codes.astype(np.float32), genes


def test_with_one_stratum_it_is_scipys() -> None:
    codes, genes = _data()
    rho = activation_association(check_codes(codes), prepare_expression(genes))
    assert (rho[:, :2] == 0).all()
    for f in range(5):
        for g in range(2, 12):
            np.testing.assert_allclose(
                rho[f, g], stats.spearmanr(codes[:, f], genes[:, g]).statistic, rtol=1e-5, atol=1e-6
            )


def test_within_strata_it_is_the_correlation_of_centred_ranks() -> None:
    codes, genes = _data(1)
    strata = np.random.default_rng(2).integers(0, 3, N_CELLS)
    genes[strata == 2] *= 3.0
    rho = activation_association(check_codes(codes), prepare_expression(genes, strata))
    for f in range(5):
        of_code = stats.rankdata(codes[:, f])
        for g in range(2, 12):
            of_gene = np.empty(N_CELLS)
            for h in range(3):
                here = strata == h
                of_gene[here] = stats.rankdata(genes[here, g])
                of_gene[here] -= of_gene[here].mean()
            centred = of_code - np.array([of_code[strata == h].mean() for h in range(3)])[strata]
            np.testing.assert_allclose(rho[f, g], np.corrcoef(centred, of_gene)[0, 1], rtol=1e-5, atol=1e-6)


def test_times_the_root_of_the_cells_it_is_normal_without_an_effect() -> None:
    rng = np.random.default_rng(3)
    codes = rng.random((400, 40)) * (rng.random((400, 40)) < 0.3)
    rho = activation_association(
        check_codes(sp.csc_array(codes)), prepare_expression(rng.poisson(1.0, (400, 50)) / 2.0)
    )
    pval = 2 * stats.norm.sf(np.abs(rho) * np.sqrt(399.0))
    assert stats.kstest(pval.ravel(), "uniform").statistic < 0.03
