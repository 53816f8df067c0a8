"""Two runs on one page: which feature of one is which of the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from cellprism.report.columns import minus_log10, pool
from cellprism.report.pack import Quantised, pack, smallest
from cellprism.report.source import Source

if TYPE_CHECKING:
    from cellprism.features.comparison import Comparison

__all__ = ["match_block"]


def match_block(first: Source, second: Source, comparison: Comparison | None = None) -> bytes:
    """The counterparts of two runs; by default by the correlation of their codes over the cells that both have.

    Returns
    -------
    A block with, for each row of the first feature table, the row of its one-to-one partner (-1: none) and of its best
    counterpart in the second, their scores, the relation and q; and the best counterpart of each row of the second.

    Raises
    ------
    InputError
        Where the runs share too little.
    """
    found = comparison or _by_codes(first, second)
    here, there, score = found.table, found.others, found.info["score"]
    rows = [pd.Index(source.features["feature"]) for source in (first, second)]

    def at(rows_there: pd.Index, numbers: pd.Series) -> NDArray[np.int32]:
        return rows_there.get_indexer(pd.Index(numbers)).astype(np.int32)

    here = here.set_index("feature").loc[rows[0]]
    there = there.set_index("feature").loc[rows[1]]
    words, words_there = pool(here["relation"].tolist()), pool(there["relation"].tolist())
    return pack(
        {
            "partner": at(rows[1], here["partner_feature"]),
            "partner_r": Quantised(here[f"partner_{score}"], finest=1e-4),
            "partner_mlq": Quantised(minus_log10(here["partner_qval"]), finest=0.01),
            "best": at(rows[1], here["best_feature"]),
            "best_r": Quantised(here[f"best_{score}"], finest=1e-4),
            "relation": smallest(words[0]),
            "back": at(rows[0], there["best_feature"]),
            "back_r": Quantised(there[f"best_{score}"], finest=1e-4),
            "back_mlq": Quantised(minus_log10(there["best_qval"]), finest=0.01),
            "relation_back": smallest(words_there[0]),
        },
        {key: found.info[key] for key in ("by", "score", "basis", "level", "permutations")}
        | {"relations": words[1], "relations_back": words_there[1]},
    )


def _by_codes(first: Source, second: Source) -> Comparison:
    from cellprism.features.comparison import compare  # loads torch, which a page of one run does not need
    from cellprism.features.dictionary import Dictionary

    def side(source: Source) -> Dictionary:
        table = source.features[["feature"]].assign(name=source.features.get("name", ""))
        return Dictionary(table, codes=sparse.csr_array(source.codes), cells=source.cells)

    return compare(side(first), side(second))
