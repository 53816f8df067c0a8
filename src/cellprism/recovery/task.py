from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from anndata import AnnData
from numpy.typing import NDArray
from scipy import sparse

from cellprism.errors import InputError
from cellprism.numeric import numbers_checked
from cellprism.recovery.probe import Probe, probe
from cellprism.recovery.truth import Truth

__all__ = ["Task"]


@dataclass(frozen=True, eq=False)
class Task:
    """What a method is given: cells, their embedding, and which of them it may learn from."""

    expression: Any
    """(cells, genes), dense or CSR."""
    embedding: NDArray[np.float32]
    """(cells, d)."""
    held_out: NDArray[np.bool_]
    """(cells,): cells that no method sees until it encodes them."""
    truth: Truth
    """Known variables of all cells."""
    ceiling: Probe
    """Linear readouts of the truth, fitted on the training cells."""

    @classmethod
    @numbers_checked
    def of(cls, adata: AnnData, embedding: NDArray[Any], *, seed: int = 0) -> Task:
        """Gather a simulation with a split in ``obs["split"]`` and its embedding, and probe it.

        Raises
        ------
        InputError
            If the cells have no split, or the embedding does not belong to them.
        """
        if "split" not in adata.obs or not (adata.obs["split"] == "held_out").any():
            raise InputError(
                "a benchmark needs held-out cells", "none in obs['split']", "simulate with held_out=2000, say"
            )
        held_out = (adata.obs["split"] == "held_out").to_numpy()
        truth = Truth.of(adata)
        return cls(
            expression=adata.X,
            embedding=np.asarray(embedding, dtype=np.float32),
            held_out=held_out,
            truth=truth,
            ceiling=probe(embedding, truth, held_out=held_out, seed=seed),
        )

    @property
    def train_embedding(self) -> NDArray[np.float32]:
        """Embedding of the training cells."""
        return self.embedding[~self.held_out]

    @property
    def held_embedding(self) -> NDArray[np.float32]:
        """Embedding of the held-out cells."""
        return self.embedding[self.held_out]

    @property
    def held_truth(self) -> Truth:
        """Truth of the held-out cells."""
        return self.truth.take(self.held_out)

    def dense(self, rows: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Expression of some cells, dense."""
        part = self.expression[rows]
        return np.asarray(part.toarray() if bool(sparse.issparse(part)) else part, dtype=np.float32)
