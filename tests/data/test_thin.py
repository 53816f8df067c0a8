from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from scipy import stats

from cellprism.data.thin import thin
from cellprism.errors import InputError


def test_parts_add_up_and_are_reproducible() -> None:
    counts = sp.csr_array(np.random.default_rng(0).poisson(2, (50, 20)).astype(np.float32))
    first, second = thin(counts, 0.3, seed=1)
    np.testing.assert_array_equal((first + second).toarray(), counts.toarray())
    np.testing.assert_array_equal(thin(counts, 0.3, seed=1)[0].toarray(), first.toarray())
    assert (thin(counts, 0.3, seed=2)[0] != first).nnz
    assert first.data.min() > 0


def test_halves_of_poisson_counts_are_independent_poisson() -> None:
    counts = sp.csr_array(np.random.default_rng(0).poisson(3.0, (20_000, 1)).astype(np.float32))
    a, b = (part.toarray().ravel() for part in thin(counts, 0.5, seed=3))
    assert abs(np.corrcoef(a, b)[0, 1]) < 4 / np.sqrt(len(a))
    observed = np.bincount(a.astype(int), minlength=9)[:9]
    expected = stats.poisson.pmf(np.arange(9), 1.5) * len(a)
    assert stats.chisquare(observed, expected * observed.sum() / expected.sum()).pvalue > 1e-3


@pytest.mark.parametrize(("values", "share"), [([[1.5]], 0.5), ([[-1.0]], 0.5), ([[1.0]], 0.0), ([[1.0]], 1.0)])
def test_what_cannot_be_split_is_refused(values: list[list[float]], share: float) -> None:
    with pytest.raises(InputError):
        thin(sp.csr_array(np.array(values, dtype=np.float32)), share)
