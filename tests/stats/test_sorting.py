"""Sorting by bits, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from cellprism.stats import sorting

KINDS = {
    "normal": lambda rng, n: rng.standard_normal(n),
    "all negative": lambda rng, n: -rng.exponential(size=n),
    "many equal": lambda rng, n: rng.integers(-3, 4, n),
    "tiny and huge": lambda rng, n: rng.standard_normal(n) * 10.0 ** rng.integers(-44, 38, n),
    "any bits": lambda rng, n: rng.integers(0, 2**32, n, dtype=np.uint32).view(np.float32),
}


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [0, 1, 2, 1_000, 5_000])
def test_it_is_the_order_of_numpy(name: str, dtype: type, n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sorting, "_FEW", 1)
    with np.errstate(invalid="ignore"):
        values = KINDS[name](np.random.default_rng(n), n).astype(dtype)
    odd = np.array([np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0], dtype)
    for given in (values, np.random.default_rng(1).permutation(np.concatenate([values, odd]))):
        found, wanted = given.copy(), np.sort(given)
        sorting.sort_up(found)
        np.testing.assert_array_equal(found, wanted)
