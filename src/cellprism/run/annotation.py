"""Annotation of a dictionary with what was read of its cells and genes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import anndata as ad
import mudata
import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellprism import genesets
from cellprism.data.columns import Labels
from cellprism.data.expression import Expression, as_expression
from cellprism.data.text import cut_notes
from cellprism.features.annotate import Annotation, annotate
from cellprism.run.knowledge import (
    already_said,
    cell_columns,
    map_names,
    nuisance_columns,
    read_networks,
    set_ancestors,
    taken_matrices,
)
from cellprism.run.sources import SourceOptions

__all__ = ["Knowledge", "Sources", "annotate_with", "read_sources"]


class Knowledge(Protocol):
    """What is known of cells and genes."""

    @property
    def expression(self) -> Expression:
        """What is tested."""

    @property
    def gene_sets(self) -> dict[str, list[str]]:
        """Name -> symbols."""

    @property
    def labels(self) -> Labels:
        """Columns that features are compared with."""

    @property
    def nuisance(self) -> pd.DataFrame:
        """(cells, columns) that a feature should not merely read: depth, mitochondrial share."""

    @property
    def strata(self) -> pd.Series | None:
        """(cells,) within which cells are compared."""

    @property
    def donor(self) -> pd.Series | None:
        """(cells,) the independent unit."""

    @property
    def ancestors(self) -> dict[str, str]:
        """Set name -> level-1 ancestor."""

    @property
    def networks(self) -> dict[str, pd.DataFrame]:
        """Signed networks by name."""


@dataclass(frozen=True)
class Sources:
    """:class:`Knowledge` read from files, and what is to be said of it."""

    expression: Expression
    gene_sets: dict[str, list[str]]
    labels: Labels
    nuisance: pd.DataFrame
    strata: pd.Series | None
    donor: pd.Series | None
    ancestors: dict[str, str]
    networks: dict[str, pd.DataFrame]
    notes: tuple[str, ...]


def read_sources(cells: ad.AnnData | mudata.MuData, options: SourceOptions, say: Callable[[str], None]) -> Sources:
    """Read and check what options name beside the cells.

    Raises
    ------
    InputError
        Where a column, a file or a name is not what it should be.
    """
    columns = cell_columns(cells, options.labels, options.strata, options.donor)
    if options.labels:
        say(f"labels: {columns.labels.taken()}")
    networks_from = genesets.files_behind(options.networks).values()
    notes = (*columns.notes, *cut_notes([options.id_table, options.ontology, *networks_from]))
    for note in notes:
        say(note)
    sets = genesets.load(options.gene_sets, say)
    expression = as_expression(taken_matrices(cells, options, say))
    symbols = map_names(expression.symbols, options.id_table, options.id_columns, say)
    expression = replace(expression, symbols=symbols)
    return Sources(
        expression=expression,
        gene_sets=sets,
        labels=columns.labels,
        nuisance=nuisance_columns(expression),
        strata=columns.strata,
        donor=columns.donor,
        ancestors=set_ancestors(options.gene_sets, options.ontology, sets),
        networks=read_networks(options.networks),
        notes=notes,
    )


def annotate_with(
    known: Knowledge,
    codes: sp.csr_array,
    embedding: np.ndarray | None,
    *,
    extra_nulls: Mapping[str, sp.sparray] | None = None,
    **options: Any,
) -> Annotation:
    """Name features by all that is known; cells that are left out were told of when it was read.

    Parameters
    ----------
    known
        Of the cells and genes.
    codes, embedding, extra_nulls, options
        As for :func:`cellprism.annotate`.
    """
    expression, nuisance = known.expression, known.nuisance
    labels = pd.concat([known.labels.table.reset_index(drop=True), nuisance], axis=1)
    with already_said():
        return annotate(
            codes,
            expression.values,
            expression.genes,
            known.gene_sets,
            labels=labels if labels.shape[1] else None,
            strata=known.strata,
            donor="strata" if known.donor is None else known.donor,
            depth=expression.depth,
            symbols=expression.symbols,
            embedding=embedding,
            modality=expression.modality,
            extra_nulls=extra_nulls,
            ancestors=known.ancestors,
            networks=known.networks,
            confounds=list(nuisance.columns),
            label_kinds=known.labels.kinds | dict.fromkeys(nuisance.columns, "number"),
            **options,
        )
