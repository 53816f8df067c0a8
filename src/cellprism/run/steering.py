"""Steer a feature of a finished run: everything comes from its folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cellprism import genesets, sae
from cellprism.data.query import rows_where
from cellprism.embed import EmbeddingModel
from cellprism.errors import InputError
from cellprism.features.direction import direction
from cellprism.run.encode import model_of
from cellprism.run.folder import RunFolder
from cellprism.steering import Edit, Effect, effect

__all__ = ["cells_where", "steer_run"]

N_TARGETS = 50


def steer_run(
    folder: RunFolder,
    feature: int,
    edit: Edit,
    *,
    cells: str | None = None,
    model: Path | None = None,
    seed: int = 0,
    max_cells: int = 500,
) -> Effect:
    """Effect of an edit of one feature of a run.

    Parameters
    ----------
    folder
        The run.
    feature
        One of its live features.
    edit
        What to do with it.
    cells
        Condition on the columns of ``cells.parquet``, see :func:`cellprism.data.query.rows_where`; None = all cells.
    model
        Folder of the embedding model; None = the run's own.
    seed
        Of the sample of cells and the nulls.
    max_cells
        Larger choices are sampled down to this many cells.

    Returns
    -------
    Effect
        Targets are the feature's own strongest genes in the run (up, at most 50), so the off-target share and the
        effect on targets tell whether the decoder agrees with the annotation.
    """
    decoder = model_of(folder, model)
    if hasattr(decoder, "refer"):  # where the model was saved without its cells
        decoder.refer(folder.cells)
    Z = np.asarray(folder.embedding, dtype=np.float32)
    rows = cells_where(folder.cells, cells)
    names = [g for m in decoder.modalities for g in decoder.genes[m]]
    known = folder.genes.drop_duplicates("gene").set_index("gene")["symbol"].astype(object)
    symbols = known.reindex(names).fillna("").astype(str)
    # A run that mapped no symbols has them equal to the genes; a gene that no feature kept has no row there.
    if bool((known.index == known.to_numpy()).all()):
        symbols = symbols.where(symbols != "", pd.Series(names, index=names))
    columns = [c for c in folder.info["label_columns"] if not pd.api.types.is_numeric_dtype(folder.cells[c])]
    arguments: dict[str, Any] = folder.info["arguments"]
    found = effect(
        sae.load(folder.sae),
        decoder,
        Z,
        feature,
        to=edit,
        cells=rows,
        symbols=list(symbols),
        gene_sets=genesets.load(tuple(arguments["gene_sets"])),
        targets=targets_of(folder, feature, decoder),
        labels=folder.cells[columns] if columns else None,
        codes=folder.codes,
        seed=seed,
        max_cells=max_cells,
    )
    if "name" in folder.features:
        found.summary["name"] = str(folder.features.set_index("feature")["name"].get(feature, ""))
    words = getattr(decoder, "reference_words", str)()
    if words:
        found.summary["decoded_at"] = words
    return found


def cells_where(table: pd.DataFrame, query: str | None) -> NDArray[np.intp] | None:
    """Row numbers of the cells that a query chooses."""
    if query is None:
        return None
    rows = np.flatnonzero(rows_where(table, query))
    if not rows.size:
        raise InputError("at least one cell must be chosen", f"none where {query}", "loosen the choice of cells")
    return rows


def targets_of(folder: RunFolder, feature: int, model: EmbeddingModel) -> list[str] | None:
    """The feature's strongest genes in the run that the model decodes; None where there are none."""
    table = folder.genes
    decoded = {g for names in model.genes.values() for g in names}
    own = table[
        (table["feature"] == feature) & (table["qval"] < 0.05) & (direction(table["statistic"], table["log2fc"]) > 0)
    ]
    own = own[own["gene"].isin(decoded)].nlargest(N_TARGETS, "statistic")
    return list(own["gene"]) or None
