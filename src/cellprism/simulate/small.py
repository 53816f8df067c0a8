from __future__ import annotations

import numpy as np
import pandas as pd
from anndata import AnnData

from cellprism.errors import InputError
from cellprism.numeric import numbers_checked

__all__ = ["ACCESSIBILITY", "REGULATION", "small"]

ACCESSIBILITY = np.array([0.5, 0.1, 0.9])
"""Probability that each of the three regulators is accessible in a cell."""

REGULATION = np.array([[0, 1, 1, 0, 0], [1, 1, 0, 1, 0], [0, 0, 0, 1, 1]])
"""Which of the five genes (columns) each regulator (rows) drives."""


@numbers_checked
def small(n_cells: int = 12_000, *, held_out: int = 2_000, mean_activity: float = 2.0, seed: int = 0) -> AnnData:
    """Simulate five genes under three regulators.

    One activity a cell, ``a ~ Poisson(mean_activity)``; accessibility of regulator j, ``b_j ~ Bernoulli(p_j)`` with
    p = (0.5, 0.1, 0.9); transcription-factor score ``t = a * b``; expression ``y = t @ R`` with the fixed 3 x 5
    matrix :data:`REGULATION`.

    Parameters
    ----------
    n_cells
        Cells in all.
    held_out
        How many of them, the last ones, are marked ``held_out`` in ``obs["split"]``.
    mean_activity
        Poisson rate of the activity.
    seed
        Seed of the draw.

    Returns
    -------
    Expression y in ``X`` (cells, 5), the truth in ``obsm["T_truth"]`` (cells, 3), ``obsm["A_truth"]`` (cells, 1) and
    ``obsm["B_truth"]`` (cells, 3), the regulation in ``varm["regulation"]`` (5, 3), the split in ``obs["split"]``.

    Raises
    ------
    InputError
        If ``held_out`` leaves no training cell or the rate is not positive.

    References
    ----------
    Schuster, arXiv 2410.11468, "small simulation".

    Examples
    --------
    >>> cells = prism.simulate.small(500, held_out=100, seed=0)
    >>> cells.shape, cells.obsm["T_truth"].shape
    ((500, 5), (500, 3))
    """
    if held_out >= n_cells:
        raise InputError("`held_out` must leave a training cell", f"{held_out} of {n_cells}", "hold out fewer cells")
    rng = np.random.default_rng(seed)
    activity = rng.poisson(mean_activity, size=(n_cells, 1)).astype(np.float32)
    accessibility = (rng.random((n_cells, 3)) < ACCESSIBILITY).astype(np.float32)
    score = activity * accessibility
    return AnnData(
        X=score @ REGULATION.astype(np.float32),
        obs=pd.DataFrame({"split": split_column(n_cells, held_out)}, index=[f"cell{i}" for i in range(n_cells)]),
        var=pd.DataFrame(index=[f"gene{i}" for i in range(REGULATION.shape[1])]),
        obsm={"T_truth": score, "A_truth": activity, "B_truth": accessibility},
        varm={"regulation": REGULATION.T.astype(np.uint8)},
        uns={
            "simulation": {
                "kind": "small",
                "mean_activity": float(mean_activity),
                "accessibility": ACCESSIBILITY,
                "seed": int(seed),
            }
        },
    )


def split_column(n_cells: int, held_out: int) -> pd.Categorical[str]:
    """Mark the last ``held_out`` cells; cells are independent draws, so the last are as random as any."""
    names = np.repeat(["train", "held_out"], [n_cells - held_out, held_out])
    return pd.Categorical(names, categories=["train", "held_out"])
