"""Everything a run needs, read and checked before any work is done or a byte is written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import mudata
import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from cellprism import genesets
from cellprism.data.beyond_memory import Gathering, row_blocks
from cellprism.data.checks import check_embedding, remarks
from cellprism.data.columns import kept_columns
from cellprism.data.expression import Expression, as_expression, genes_of
from cellprism.data.modalities import modalities, renamed, with_protein
from cellprism.data.read import read_cells
from cellprism.data.state import to_log1p
from cellprism.data.symbols import Symbols, clean_symbols
from cellprism.data.text import cut_notes
from cellprism.data.unchanged import check_unchanged, hash_files
from cellprism.embed import EmbeddingModel
from cellprism.errors import InputError
from cellprism.genesets.match import MatchedSets, match_sets, pointing_to_columns
from cellprism.run.embedding import embedded
from cellprism.run.guide import guide_for
from cellprism.run.inputs import Inputs
from cellprism.run.knowledge import (
    Columns,
    cell_columns,
    map_names,
    nuisance_columns,
    read_networks,
    set_ancestors,
    taken_matrices,
)
from cellprism.run.map import drawn
from cellprism.run.options import RunOptions
from cellprism.run.steps import Steps

__all__ = ["prepare"]

_DECODED = 2**22
"""Values that are decoded at a time where expression is beyond memory."""


def prepare(options: RunOptions, say: Callable[[str], None], steps: Steps) -> Inputs:
    """Read and check all inputs; train the embedding model where one is asked for and no finished step holds it."""
    hashed = hash_files(_files(options))
    cells, proteins = with_protein(read_cells(options.data, whole=False))
    say(f"{cells.n_obs:,} cells from {options.data.name}")
    if proteins is not None:
        say(proteins)
    columns = cell_columns(cells, options.labels, options.strata, options.donor)
    if columns.labels.kinds:
        say(f"labels: {columns.labels.taken()}")
    warnings = list(columns.notes)
    if isinstance(cells, mudata.MuData):
        warnings += [
            f"{old!r} is taken as the modality {new!r}" for old, new in renamed(cells.mod).items() if old != new
        ]

    def tell(line: str) -> None:
        warnings.append(line)

    sets = genesets.load(options.gene_sets, tell)
    say(f"{len(sets):,} gene sets")
    checksum = hashed["data"].sha256
    made = None if options.embed is not None else embedded(options, cells, {}, columns, checksum, say, steps)
    networks_from = genesets.files_behind(options.networks).values()
    warnings += cut_notes([options.data, options.embedding, options.id_table, options.ontology, *networks_from])
    ancestors, networks = set_ancestors(options.gene_sets, options.ontology, sets), read_networks(options.networks)
    taken = taken_matrices(cells, options, say)
    genes, seen = genes_of(taken), np.concatenate([_seen(matrix.values) for matrix in taken.values()])
    names_of = tuple(s for matrix in taken.values() for s in matrix.symbols)
    names_of = map_names(names_of, options.id_table, options.id_columns, say)
    with pointing_to_columns(adata.var for adata in modalities(cells).values()):
        _matched(genes, names_of, seen, sets)  # refused now, not after an embedding was trained
    made = made or embedded(options, cells, taken, columns, checksum, say, steps)
    warnings += made.warnings
    names = tuple(map(str, cells.obs_names))
    embedding = np.ascontiguousarray(check_embedding(made.values, names), dtype=np.float32)
    warnings += remarks(embedding, names)
    expression = replace(as_expression(taken, made.counts), symbols=names_of)
    del taken  # of a split, what the model saw is not needed any more
    nuisance, guide = nuisance_columns(expression), guide_for(options, made, expression)
    if options.expression == "predicted" and made.model is not None:
        expression = _predicted(made.model, embedding, expression, options.memory_limit)
    symbols, matched = _matched(genes, names_of, _seen(expression.values), sets)
    if any(adata.var_names.duplicated().any() for adata in modalities(cells).values()):
        warnings.append("gene names repeat; repeated ones carry a suffix in the tables")
    say(f"expression: {expression.describe()}; {matched.summary()}")
    if symbols.n_missing or symbols.n_shared:
        say(symbols.summary())
    for warning in warnings:
        say(warning)
    check_unchanged(hashed)
    hashed |= hash_files({name: path for name, path in _files(options).items() if name not in hashed})  # fetched by now
    return Inputs(
        embedding=embedding,
        embedding_source=made.source,
        embedded=None if made.model is None else tuple(made.model.modalities),
        expression=expression,
        symbols=symbols,
        gene_sets=sets,
        matched=matched,
        labels=columns.labels,
        kept=_kept(cells.obs, columns),
        nuisance=nuisance,
        strata=columns.strata,
        donor=columns.donor,
        ancestors=ancestors,
        networks=networks,
        map=drawn(cells, embedding, options.seed, say),
        model=made.model,
        reference=made.reference,
        thinned=made.counts is not None,
        guide=guide,
        expression_kind=options.expression,
        hashes={name: one.record() for name, one in hashed.items()},
        warnings=warnings,
    )


def _seen(values: sp.csr_array) -> NDArray[np.int64]:
    """(genes,) cells in which each gene is seen."""
    seen = np.zeros(values.shape[1], np.int64)
    for block in row_blocks(values):
        seen += np.bincount(block.indices, minlength=seen.size)
    return seen


def _matched(
    genes: tuple[str, ...], symbols: tuple[str, ...], seen: NDArray[np.int64], sets: dict[str, list[str]]
) -> tuple[Symbols, MatchedSets]:
    """The same choice as the set tests make: of genes with one symbol the one seen in most cells, of those seen at all."""
    found = clean_symbols(genes, symbols, seen)
    return found, match_sets(sets, np.where(seen > 0, found.for_sets, ""))


def _kept(obs: pd.DataFrame, columns: Columns) -> pd.DataFrame:
    """Strata, donors and all other columns of categories but the labels, which are kept by themselves."""
    beside = {c.name: pd.Categorical(c) for c in (columns.strata, columns.donor) if c is not None}
    beside = {name: values for name, values in beside.items() if name not in columns.labels.table}
    known = [*columns.labels.table.columns, *beside]
    return pd.DataFrame(beside, index=obs.index).join(kept_columns(obs, known))


def _predicted(model: EmbeddingModel, embedding: NDArray[np.float32], measured: Expression, limit: float) -> Expression:
    """The model's expected counts for the unchanged embedding, 10,000 a cell, in place of the measured ones.

    They are dense: where all of them take more than so many bytes, cells are decoded some at a time, into files.
    """
    names, n_genes = list(dict.fromkeys(measured.modality)), len(measured.genes)
    step = len(embedding) if 8 * len(embedding) * n_genes <= limit else max(1, _DECODED // n_genes)
    with Gathering(n_genes, limit) as rows:
        for start in range(0, len(embedding), step):
            decoded = model.decode(embedding[start : start + step])
            parts = [to_log1p(sp.csr_array(decoded[m], dtype=np.float32), "counts") for m in names]
            block = sp.csr_array(sp.hstack(parts, format="csr"), dtype=np.float32)
            if block.shape[1] != n_genes:
                raise InputError(
                    "the model must predict every measured gene",
                    f"{block.shape[1]} of {n_genes}",
                    "test measured expression",
                )
            rows.add(block)
        values = rows.matrix()
    return Expression(
        values, measured.genes, measured.symbols, measured.modality, measured.depth, dict.fromkeys(names, "counts")
    )


def _files(options: RunOptions) -> dict[str, Path]:
    files = {"data": options.data}
    given = {"embedding": options.embedding, "table of names": options.id_table, "ontology": options.ontology}
    files |= {name: path for name, path in given.items() if path is not None}
    behind = genesets.files_behind([*options.gene_sets, *options.networks])
    return files | {f"gene sets {name}": path for name, path in behind.items()}
