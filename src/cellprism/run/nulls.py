"""Dictionaries that have learned nothing, at the activity of the real one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray

from cellprism.sae import SAE, Fit
from cellprism.sae.controls import trained_on_shuffled, untrained
from cellprism.sae.scaling import AffineScaling

__all__ = ["match_activity", "null_codes"]


def null_codes(
    wanted: Sequence[str], fitted: Fit, X: NDArray[Any], codes: sp.csr_array, *, seed: int = 0
) -> dict[str, sp.csr_array]:
    """Codes of the same cells from an untrained SAE and from one trained on a column-shuffled embedding.

    Parameters
    ----------
    wanted
        Any of ``untrained`` and ``shuffled``; other names are left to others.
    fitted
        The real SAE; its config is used.
    X
        (cells, d) embedding.
    codes
        (cells, width) codes of the real SAE, whose active-cell counts are matched.
    seed
        Fixes starts and shuffles.
    """
    found: dict[str, sp.csr_array] = {}
    target = np.bincount(codes.indices, minlength=codes.shape[1])
    sae = fitted.sae
    if "untrained" in wanted:
        scaling = AffineScaling(*(t.numpy() for t in (sae.mean, sae.forward_map, sae.backward_map)))
        blank = untrained(X, sae.config, seed=seed + 1_000_003, scaling=scaling)
        found["untrained"] = match_activity(_scores(blank, X), target)
    if "shuffled" in wanted:
        options = {k: v for k, v in fitted.options.items() if k not in ("seed", "seeds", "recipe", "before_consensus")}
        mixed = trained_on_shuffled(X, sae.config, seed=seed, **options)
        found["shuffled"] = match_activity(_scores(mixed, X), target)
    return found


@torch.no_grad()
def _scores(sae: SAE, X: NDArray[Any]) -> NDArray[np.float32]:
    """(cells, width) pre-activations: how strongly each cell would drive each feature, were there no threshold."""
    return np.asarray(sae.pre_activations(sae.scale(torch.as_tensor(np.array(X, dtype=np.float32)))).numpy())


def match_activity(scores: NDArray[np.float32], target: NDArray[np.intp]) -> sp.csr_array:
    """Codes that keep, for each feature, as many of the highest-scoring cells as ``target`` says.

    A kept cell's code is its score above the highest score left out, so that codes are positive. A dictionary that is read off may
    find fewer features in shuffled cells than in the real ones: those that are missing never fire, and are not counted.
    """
    n, width = len(scores), len(target)
    rows, columns, values = [], [], []
    for j in np.flatnonzero(target[: scores.shape[1]]):
        count = int(min(target[j], n))
        order = np.argpartition(-scores[:, j], count - 1)
        kept = order[:count]
        floor = scores[order[count:], j].max() if count < n else scores[:, j].min() - 1
        rows.append(kept)
        columns.append(np.full(count, j))
        values.append(np.maximum(scores[kept, j] - floor, np.finfo(np.float32).tiny))
    if not rows:
        return sp.csr_array((n, width), dtype=np.float32)
    flat = (np.concatenate(values).astype(np.float32), (np.concatenate(rows), np.concatenate(columns)))
    out = sp.csr_array(flat, shape=(n, width))
    out.sort_indices()
    return out
