"""Name the features of a dictionary."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd

from cellprism import genesets
from cellprism.data.expression import gene_names, measured_expression
from cellprism.data.modalities import with_protein
from cellprism.data.order import refuse_other_order
from cellprism.data.sparse import as_csr
from cellprism.data.stored import is_stored, stored_expression
from cellprism.errors import CellsLeftOut, warn
from cellprism.features.annotate import Annotation
from cellprism.features.annotate import annotate as _annotate
from cellprism.genesets.match import pointing_to_columns
from cellprism.numeric import numbers_checked
from cellprism.options import documented
from cellprism.run.knowledge import cell_columns
from cellprism.run.sources import SourceOptions
from cellprism.tl.stored import TABLES, embedding, stored

__all__ = ["annotate"]


@numbers_checked
@documented(SourceOptions)
def annotate(
    adata: ad.AnnData,
    gene_sets: str | Path | Sequence[str | Path] | Mapping[str, Sequence[str]] = "bundled",
    key: str = "prism",
    *,
    labels: Sequence[str] | None = None,
    gene_symbols: str | None = SourceOptions.gene_symbols,
    strata: str | None = SourceOptions.strata,
    donor: str | np.ndarray | None = "strata",
    layer: str | None = SourceOptions.layer,
    raw: bool = SourceOptions.raw,
    expression_state: str | Mapping[str, str] | None = SourceOptions.expression_state,
    **options: Any,
) -> Annotation:
    """Name the features that :func:`fit` stored, by genes, gene sets and labels.

    Parameters
    ----------
    adata
        Gets the tables ``features``, ``genes``, ``sets``, ``labels`` and ``shares`` in ``uns[key]``. Counts of proteins in
        ``obsm["protein_expression"]`` are tested too, as a modality of their own. The X of a file that was opened with
        ``backed="r"`` is read in pieces and never held, and tested alone.
    gene_sets
        A mapping from names to symbols, or what :func:`cellprism.genesets.load` takes.
    key
        Name of the result of :func:`fit`.
    {SourceOptions: labels, gene_symbols, strata}
    donor
        ``obs`` column (or array) of the donors; by default the strata.
    {SourceOptions: layer, raw, expression_state}
    options
        As for :func:`cellprism.annotate`; ``depth`` is that of the counts, where they are counts.

    Warns
    -----
    CellsLeftOut
        Where cells are left out of tests, or a column was taken as something that it might not be.

    Returns
    -------
    Annotation
        The same tables as an object.

    Examples
    --------
    >>> found = prism.tl.annotate(adata, sets, labels=["cell_type"], nulls=("permuted",))
    >>> adata.uns["prism"]["features"].shape == found.features.shape
    True
    """
    kept = stored(adata, key)
    refuse_other_order(adata=adata, donor=donor, depth=options.get("depth"))
    column = donor if isinstance(donor, str) and (donor != "strata" or donor in adata.obs) else None
    columns = cell_columns(adata, labels or (), strata, column)
    for note in columns.labels.notes:
        warn(note, CellsLeftOut)
    values: Any
    if layer is None and not raw and is_stored(adata.X):  # X of a file that was opened with backed="r" stays there
        values = stored_expression(adata.X, state=expression_state)
        genes, symbols = gene_names(adata, gene_symbols)
        depth, modality = values.depth(), ("rna",) * len(genes)
    else:
        cells, said = with_protein(adata)
        if said is not None and cells is adata:
            warn(said)
        found = measured_expression(cells, layer=layer, raw=raw, gene_symbols=gene_symbols, state=expression_state)
        values, genes, symbols = found.values, found.genes, found.symbols
        depth, modality = found.depth, found.modality
    sets = dict(gene_sets) if isinstance(gene_sets, Mapping) else genesets.load(gene_sets, warnings.warn)
    given = {"depth": depth, "label_kinds": columns.labels.kinds} | options
    with pointing_to_columns([adata.var]):
        annotation = _annotate(
            as_csr(adata.obsm[f"X_{key}"], "the matrix of codes"),
            values,
            genes,
            sets,
            labels=columns.labels.table.reset_index(drop=True) if labels else None,
            strata=columns.strata,
            donor=donor if columns.donor is None else columns.donor,
            symbols=symbols,
            embedding=embedding(adata, kept["rep"]),
            modality=modality,
            **given,
        )
    features = annotation.features.copy()
    if "stability" in kept:
        features["stability"] = np.asarray(kept["stability"])[features["feature"]]
    tables: dict[str, pd.DataFrame] = {n: getattr(annotation, n) for n in TABLES} | {"features": features}
    for name, table in (tables | {"shares": annotation.shares}).items():
        kept[name] = table.reset_index(drop=True)
    return annotation
