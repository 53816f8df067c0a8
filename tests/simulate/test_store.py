import numpy as np
import pytest
from anndata.io import read_zarr

from cellprism.errors import InputError
from cellprism.recovery import Truth
from cellprism.simulate import large, large_zarr
from cellprism.simulate.measurement import Measurement


@pytest.mark.parametrize("measurement", [None, Measurement("nb", library_size=500)], ids=["exact", "measured"])
def test_store_equals_memory(tmp_path, measurement):
    path = large_zarr(tmp_path / "cells.zarr", 2_100, n_genes=60, seed=3, measurement=measurement)
    stored, made = read_zarr(path), large(2_100, 60, seed=3, measurement=measurement)
    made.X = made.X if isinstance(made.X, np.ndarray) else made.X.toarray()
    np.testing.assert_array_equal(stored.X, made.X)
    for level in ("X2_truth", "X1_truth", "X0_truth"):
        np.testing.assert_array_equal(stored.obsm[level], made.obsm[level])
    assert stored.obs.equals(made.obs)
    kept = Truth.of(made)
    for name, level in Truth.of(stored).levels.items():
        if name != "Y" or measurement is None:
            np.testing.assert_array_equal(level.values, kept.levels[name].values)


def test_refuses_a_folder_that_exists(tmp_path):
    with pytest.raises(InputError, match="new"):
        large_zarr(tmp_path, 10, n_genes=5)
