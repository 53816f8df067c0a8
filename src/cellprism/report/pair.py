"""Two runs of the same cells on one page: which feature of one is which of the other."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import sparse

from cellprism.errors import InputError
from cellprism.report.columns import text
from cellprism.report.pack import Quantised, pack
from cellprism.report.source import Source

__all__ = ["match_block"]

FEWEST = 20


def match_block(first: Source, second: Source) -> bytes:
    """Match the features of two runs by the correlation of their codes over the cells that both have.

    Returns
    -------
    A block with, for each row of the first feature table, the row of its one-to-one partner (-1: none) and of its best
    counterpart in the second, and their correlations.

    Raises
    ------
    InputError
        Where the runs share fewer than 20 cells by name.
    """
    names = [
        pd.Index(text(s.cells["cell"])) if "cell" in s.cells else pd.RangeIndex(s.n_cells) for s in (first, second)
    ]
    at = names[1].get_indexer(names[0]) if names[1].is_unique else np.full(first.n_cells, -1)
    shared = np.flatnonzero(at >= 0)
    if len(shared) < FEWEST:
        raise InputError(
            "two runs are compared on the cells that both have, at least 20",
            f"{len(shared)} cells of the same name",
            "run both models on the same cells, with the same cell names",
        )
    from cellprism.features.matching import match  # loads torch, which a page of one run does not need

    a, b = sparse.csr_array(first.codes)[shared], sparse.csr_array(second.codes)[at[shared]]
    found = match(a, b)
    return pack(
        {
            "partner": found.partner.astype(np.int32),
            "partner_r": Quantised(found.partner_correlation, finest=1e-4),
            "best": found.best.astype(np.int32),
            "best_r": Quantised(found.best_correlation, finest=1e-4),
        },
        {"cells": len(shared)},
    )
