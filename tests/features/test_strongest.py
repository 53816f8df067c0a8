"""The strongest features of a cell, by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellprism.features.strongest import strongest


def test_activations_count_in_units_of_their_feature() -> None:
    features = pd.DataFrame(
        {"feature": [0, 1, 3, 4], "name": ["a", "b", "d", "e"], "mean_active": [1.0, 10.0, 2.0, 1.0]}
    )
    codes = sp.csr_array(
        np.array(
            [
                [2.0, 10.0, 0.0, 0.0, 0.0],  # 2, 1
                [0.0, 0.0, 99.0, 0.0, 0.0],  # a feature that the run has no row of
                [1.0, 10.0, 0.0, 2.0, 1.5],  # 1, 1, 1, 1.5: ties in order
                [0.0, 0.0, 0.0, 0.0, 0.0],
            ],
            dtype=np.float32,
        )
    )
    table = strongest(codes, features)
    assert table["top_feature"].tolist() == [0, -1, 4, -1]
    assert table["top_names"].tolist() == ["a | b", "", "e | a | b", ""]


def test_without_names_there_are_no_columns() -> None:
    codes = sp.csr_array(np.ones((2, 1), dtype=np.float32))
    for features in (None, pd.DataFrame({"feature": [0], "name": ["a"]})):
        assert strongest(codes, features).shape == (2, 0)


def test_no_cells() -> None:
    features = pd.DataFrame({"feature": [0], "name": ["a"], "mean_active": [1.0]})
    assert strongest(sp.csr_array((0, 2), dtype=np.float32), features).empty
