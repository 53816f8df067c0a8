"""Dictionaries that have learned nothing, at the activity of the real one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray

from cellprism.data.chunks import chunks
from cellprism.data.scratch import room_for
from cellprism.numeric import seed_after
from cellprism.sae import SAE, Fit
from cellprism.sae.controls import trained_on_shuffled, untrained
from cellprism.sae.training import TrainingOptions

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
        blank = untrained(X, sae.config, seed=seed_after(seed, 1_000_003), scaling=sae.scaling)
        found["untrained"] = match_activity(_scores(blank, X), target)
    if "shuffled" in wanted:
        options = {k: v for k, v in fitted.options.items() if k in TrainingOptions.__annotations__}
        mixed = trained_on_shuffled(X, sae.config, seed=seed, **options)
        found["shuffled"] = match_activity(_scores(mixed, X), target)
    return found


@torch.no_grad()
def _scores(sae: SAE, X: NDArray[Any]) -> NDArray[np.float32]:
    """(width, cells) pre-activations: how strongly each cell would drive each feature, were there no threshold.

    Beyond 256 MiB they lie in a temporary file.
    """
    scores = room_for((sae.width, len(X)), np.float32)
    start = 0
    for block in chunks(X, columns=sae.width):
        stop = start + len(block)
        scores[:, start:stop] = sae.pre_activations(sae.scale(torch.as_tensor(block.astype(np.float32)))).numpy().T
        start = stop
    return scores


def match_activity(scores: NDArray[np.float32], target: NDArray[np.intp]) -> sp.csr_array:
    """Codes that keep, for each feature, as many of the highest-scoring cells as ``target`` says.

    A kept cell's code is its score above the highest score left out, so that codes are positive. A dictionary that is read off may
    find fewer features in shuffled cells than in the real ones: those that are missing never fire, and are not counted.

    Parameters
    ----------
    scores
        (features, cells).
    target
        (features,) active cells.
    """
    n, width = scores.shape[1], len(target)
    counts = np.zeros(width, np.int64)
    counts[: len(scores)] = np.minimum(target[: len(scores)], n)
    ptr = np.concatenate([[0], np.cumsum(counts)])
    rows, values = np.empty(ptr[-1], np.int32), np.empty(ptr[-1], np.float32)
    for j in np.flatnonzero(counts):
        score, count, here = np.array(scores[j]), counts[j], slice(ptr[j], ptr[j + 1])
        order = np.argpartition(-score, count - 1)
        kept = np.sort(order[:count])
        floor = score[order[count:]].max() if count < n else score.min() - 1
        rows[here], values[here] = kept, np.maximum(score[kept] - floor, np.finfo(np.float32).tiny)
    return sp.csr_array(sp.csc_array((values, rows, ptr), shape=(n, width)))
