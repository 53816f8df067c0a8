"""The hand-written vector operations against NumPy."""

import numba
import numpy as np
import pytest

from cellprism.sae.steps.shared.vectors import LANES, ROWS, add_row, dot_row, first_bit, over, products, set_row


@numba.njit
def bits_over(a, i, b, j):
    found = np.zeros(LANES, np.bool_)
    hits = over(a, i, b, j)
    while hits:
        found[first_bit(hits)] = True
        hits &= hits - np.uint64(1)
    return found


@numba.njit
def rows_times(w, row, bias, x, out):
    products(w, row, bias, x, x.shape[0], out)


def test_a_mask_says_which_numbers_exceed_others() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 200)).astype(np.float32)
    a[50], b[60], b[41] = np.nan, np.nan, np.inf
    a[47] = b[57]
    np.testing.assert_array_equal(bits_over(a, 30, b, 40), a[30 : 30 + LANES] > b[40 : 40 + LANES])
    assert not bits_over(a, 30, a, 30).any()


@pytest.mark.parametrize("r", [1, 4, 20])
def test_products_of_four_rows(r: int) -> None:
    rng = np.random.default_rng(r)
    w, x = rng.standard_normal((9, r)).astype(np.float32), rng.standard_normal((r, LANES)).astype(np.float32)
    bias, out = rng.standard_normal(9).astype(np.float32), np.zeros((ROWS, LANES), np.float32)
    rows_times(w, 3, bias, x, out)
    np.testing.assert_allclose(out, w[3:7] @ x + bias[3:7, None], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("n", [1, 5, 20, 39])
def test_rows_are_added_and_multiplied(n: int) -> None:
    rng = np.random.default_rng(n)
    x, y = rng.standard_normal((2, 60)).astype(np.float32)
    assert dot_row(x, 3, y, 7, n) == pytest.approx(x[3 : 3 + n] @ y[7 : 7 + n], rel=1e-5, abs=1e-6)
    expected = y.copy()
    expected[7 : 7 + n] += np.float32(0.5) * x[3 : 3 + n]
    add_row(y, 7, np.float32(0.5), x, 3, n)
    np.testing.assert_allclose(y, expected, rtol=1e-6)
    expected[1 : 1 + n] = np.float32(-2) * x[2 : 2 + n]
    set_row(y, 1, np.float32(-2), x, 2, n)
    np.testing.assert_allclose(y, expected, rtol=1e-6)
