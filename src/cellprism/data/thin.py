"""Count splitting: one part of the molecules makes the features, the other tests them."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from cellprism.data.beyond_memory import Gathering, on_disk, row_blocks
from cellprism.data.state import whole
from cellprism.errors import InputError
from cellprism.numeric import numbers_checked

__all__ = ["thin"]


@numbers_checked
def thin(counts: sp.csr_array, share: float = 0.5, *, seed: int = 0) -> tuple[sp.csr_array, sp.csr_array]:
    """Split counts at random into two parts that add up to them.

    Each molecule goes to the first part with probability ``share``. If a gene's count in a cell is Poisson given the
    cell's state, the parts are independent given that state (Neufeld et al. 2024, Biostatistics 25:270), so that tests
    on the second part are not biased by features that were learned on the first.

    Parameters
    ----------
    counts
        (cells, genes), non-negative whole numbers.
    share
        Expected share of the first part.
    seed
        Fixes the split.

    Returns
    -------
    tuple of scipy.sparse.csr_array
        First and second part, float32.

    Raises
    ------
    InputError
        If ``share`` is not between 0 and 1 or the counts are not whole numbers.

    Examples
    --------
    >>> from cellprism.data.thin import thin
    >>> from scipy.sparse import csr_array
    >>> first, second = thin(csr_array(cells.X))
    >>> bool((first + second != cells.X).nnz == 0)
    True
    """
    if not whole(counts) or (len(counts.data) and counts.data.min() < 0):
        raise InputError(
            "only raw counts can be split",
            "fractional or negative values",
            "give raw counts, or leave them whole with `thin=False`",
        )
    rng = np.random.default_rng(seed)
    if not on_disk(counts):
        return _split(counts, share, rng)
    # Draws follow one another, so that blocks of any size get those of the whole.
    with Gathering(counts.shape[1], 0) as first, Gathering(counts.shape[1], 0) as second:
        for block in row_blocks(counts):
            for part, gathered in zip(_split(block, share, rng), (first, second), strict=True):
                gathered.add(part)
        return first.matrix(), second.matrix()


def _split(counts: sp.csr_array, share: float, rng: np.random.Generator) -> tuple[sp.csr_array, sp.csr_array]:
    first = counts.copy()
    first.data = rng.binomial(counts.data.astype(np.int64), share).astype(np.float32)
    second = counts.copy()
    second.data = (counts.data - first.data).astype(np.float32)
    for part in (first, second):
        part.eliminate_zeros()
    return first, second
