"""What a run works on, as :func:`cellprism.run.prepare.prepare` leaves it to the later steps."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from cellprism.data.columns import Labels
from cellprism.data.expression import Expression
from cellprism.data.symbols import Symbols
from cellprism.embed import EmbeddingModel
from cellprism.genesets.match import MatchedSets
from cellprism.run.novelty import Reference

__all__ = ["Guide", "Inputs"]


class Guide(NamedTuple):
    """Expression that features may follow."""

    values: sp.csr_array
    """(cells, genes) log1p."""
    names: tuple[str, ...]
    """Of the genes, as names of features spell them."""


@dataclass(frozen=True)
class Inputs:
    """Cells in every form that the later steps use."""

    embedding: NDArray[np.float32]
    """(cells, d)."""
    embedding_source: str
    embedded: tuple[str, ...] | None
    """Modalities that it was made of; None where it was given."""
    expression: Expression
    symbols: Symbols
    gene_sets: dict[str, list[str]]
    matched: MatchedSets
    labels: Labels
    """The columns that features are compared with."""
    kept: pd.DataFrame
    """(cells, columns): strata, donors and all other columns of categories, for later questions."""
    nuisance: pd.DataFrame
    """(cells, columns): what a feature should not merely read: depth, mitochondrial share."""
    strata: pd.Series | None
    donor: pd.Series | None
    ancestors: dict[str, str]
    """Set name -> level-1 ancestor, where an ontology is known."""
    networks: dict[str, pd.DataFrame]
    """Signed networks by name."""
    map: tuple[NDArray[np.float32], str]
    """(cells, 2) and where it came from."""
    model: EmbeddingModel | None
    """The embedding model, where it was trained here."""
    reference: Reference | None
    """To tell new cells that are unlike these."""
    thinned: bool
    """Whether features were made from other molecules than those tested."""
    guide: Guide | None
    """Expression that features may follow; None where none do."""
    expression_kind: str
    """``measured`` or ``predicted``."""
    hashes: dict[str, dict[str, str]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
