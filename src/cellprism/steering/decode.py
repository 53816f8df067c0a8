"""From two embeddings of the same cells to the log2 change of every gene."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from cellprism.embed.base import EmbeddingModel
from cellprism.errors import InputError

__all__ = ["Decoded", "columns", "decode_rates", "log2_change"]

PER = 1e4
"""Expression is compared in counts per 10,000 of a cell's modality."""


class Decoded(NamedTuple):
    """Expected expression of cells, all modalities side by side."""

    rates: NDArray[np.float32]
    """(cells, features) expected counts."""
    total: NDArray[np.float32]
    """(cells, features) total of the feature's modality in the cell."""


def columns(model: EmbeddingModel) -> tuple[list[str], list[str]]:
    """Names of all decoded features and their modality, in the order of :func:`decode_rates`."""
    names = [g for m in model.modalities for g in model.genes[m]]
    return names, [m for m in model.modalities for _ in model.genes[m]]


def decode_rates(model: EmbeddingModel, Z: NDArray[Any], adata: Any = None) -> Decoded:
    """Decode with the library size and batch of ``adata``'s cells (same rows as ``Z``)."""
    if not hasattr(model, "decode"):
        raise InputError(
            "steering is read in genes through a model with a decoder",
            f"{model.name!r}, which has none",
            "use a model that decodes (pca, autoencoder, dgd, drvi, scvi)",
        )
    parts = model.decode(Z, adata)
    rates = [np.asarray(parts[m], dtype=np.float32) for m in model.modalities]
    totals = [np.broadcast_to(r.sum(1, keepdims=True), r.shape) for r in rates]
    return Decoded(np.concatenate(rates, axis=1), np.concatenate(totals, axis=1))


def log2_change(before: Decoded, after: Decoded, modality: list[str], pseudocount: float = 0.1) -> NDArray[np.float32]:
    """``log2((after + p) / (before + p))`` a cell and gene, in counts per 10,000 of the *same* library.

    Parameters
    ----------
    before, after
        Of the same cells.
    modality
        Of each column.
    pseudocount
        As a share of the mean of the modality's features (so it is 0.1 x 10,000 / n features per 10,000 counts), so
        that a gene far below the mean cannot show a large change.

    Returns
    -------
    ndarray
        (cells, features) float32.
    """
    labels = np.asarray(modality)
    p = np.empty(labels.size, np.float32)
    for name in set(modality):
        at = labels == name
        p[at] = pseudocount * PER / at.sum()
    # The total before the edit scales both sides: a decoder whose total moves must not hide it.
    # A cell without molecules of a modality decodes to nothing there, before and after.
    scale = np.divide(PER, before.total, out=np.zeros_like(before.total), where=before.total > 0)
    return cast("NDArray[np.float32]", np.log2((after.rates * scale + p) / (before.rates * scale + p)))
