"""How far p values of gene sets may move with the seed and the order of cells (``benchmarks/p_over_seeds.py``)."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
from p_over_seeds import World, moved


@pytest.mark.parametrize(("n_cells", "rank", "over"), [(1_500, 1.0, 1.0), (6_000, 1.1, 2.0)])
def test_p_moves_no_further_than_the_documents_say(n_cells: int, rank: float, over: float) -> None:
    """Nothing is drawn of 2,000 cells (rank test) and 4,000 (over-representation); of more, the error is bounded."""
    world = World(n_cells)
    base = world.tested(0)
    rng = np.random.default_rng(3)
    for other in (
        world.tested(1),
        world.tested(cells=rng.permutation(n_cells)),
        world.tested(genes=rng.permutation(600)),
    ):
        found = moved(base, other)
        assert found["findings"] > 50
        assert found["findings_changed"] <= 2
        assert found["pval_rank_most"] < rank + 1e-4
        assert found["pval_ora_most"] < over + 1e-4
