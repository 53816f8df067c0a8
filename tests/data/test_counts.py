from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from cellprism.data.counts import counts_behind
from cellprism.data.state import to_log1p
from cellprism.errors import InputError


def drawn(seed: int, mean: float, least: int = 0) -> sp.csr_array:
    rng = np.random.default_rng(seed)
    counts = rng.poisson(rng.gamma(0.5, 2 * mean, size=(20, 60)))
    counts[(counts > 0) & (counts < least)] = least
    counts[0] = 0  # a cell without molecules stays one
    counts[1:, 0], counts[1:, 1] = max(least, 1), max(least, 1) + 1  # no common divisor
    return sp.csr_array(counts.astype(np.float32))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0.1, 1.0, 20.0]), st.sampled_from([0, 2, 3]))
def test_the_counts_come_back_whatever_the_scaling(seed: int, mean: float, least: int) -> None:
    counts = drawn(seed, mean, least)
    factor = np.random.default_rng(seed).uniform(0.2, 5, 20)
    for log in (
        to_log1p(counts, "counts"),
        counts.log1p(),
        sp.csr_array(counts.multiply(factor[:, None]), dtype=np.float32).log1p(),
    ):
        found = counts_behind(sp.csr_array(log))
        np.testing.assert_array_equal(found.toarray(), counts.toarray())
        assert found.dtype == np.float32


def test_a_common_divisor_is_lost_and_nothing_else() -> None:
    counts = sp.csr_array(np.array([[2.0, 4.0, 6.0, 0.0], [2.0, 3.0, 0.0, 0.0]]))
    np.testing.assert_array_equal(counts_behind(counts.log1p()).toarray(), [[1, 2, 3, 0], [2, 3, 0, 0]])


def test_large_counts_hold_to_single_precision() -> None:
    counts = np.array([[1.0, 7.0, 123_457.0]])
    found = counts_behind(to_log1p(sp.csr_array(counts), "counts")).toarray()
    np.testing.assert_allclose(found, counts, rtol=1e-5)
    assert (found[0, :2] == [1, 7]).all()


def test_values_of_no_counts_are_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match="20 of 20 cells whose values are no whole multiples"):
        counts_behind(sp.csr_array(rng.gamma(2.0, size=(20, 30))))


def test_nothing_changes_in_the_given_matrix() -> None:
    log = sp.csr_array(np.log1p([[1.0, 2.0, 3.0]]))
    before = log.toarray()
    counts_behind(log)
    np.testing.assert_array_equal(log.toarray(), before)
