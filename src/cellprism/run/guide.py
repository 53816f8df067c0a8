"""Which expression may guide a run's features, and whether it does."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import scipy.sparse as sp

from cellprism.data.expression import Expression
from cellprism.data.modalities import modalities
from cellprism.data.state import to_log1p
from cellprism.features.words import display_gene
from cellprism.run.embedding import Embedded
from cellprism.run.inputs import Guide
from cellprism.run.options import RunOptions

__all__ = ["guide_for"]


def guide_for(options: RunOptions, made: Embedded, expression: Expression) -> Guide | None:
    """What features may follow: of the modalities that the embedding was made of the molecules that it was made of.

    Where counts were split, the others are what is tested; a feature that followed those would make its own p value. Where it is not
    known what an embedding was made of, surface proteins guide nothing: they are what it is asked about.

    Returns
    -------
    Guide | None
        None where nothing is to guide, or there is nothing.
    """
    if not options.guide:
        return None
    embedded = None if made.model is None else set(made.model.modalities)
    chosen = _chosen(dict.fromkeys(expression.modality), embedded)
    columns = np.flatnonzero([m in chosen for m in expression.modality])
    if not len(columns):
        return None
    names = tuple(display_gene(expression.genes[int(i)], expression.symbols[int(i)]) for i in columns)
    if made.seen is None:
        everything = len(columns) == len(expression.modality)
        return Guide(expression.values if everything else expression.values[:, columns], names)
    parts = modalities(made.seen)
    kept = [name for name in dict.fromkeys(expression.modality) if name in chosen]
    values = [to_log1p(sp.csr_array(parts[name].X, dtype=np.float32), "counts") for name in kept]
    return Guide(sp.csr_array(sp.hstack(values, format="csr")), names)


def _chosen(measured: Iterable[str], embedded: set[str] | None) -> set[str]:
    there = set(measured)
    return there & embedded if embedded is not None else there - {"protein"}
