"""Everything a run needs, read and checked before any work is done or a byte is written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from warnings import catch_warnings, simplefilter

import anndata as ad
import mudata
import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from cellprism import embed, genesets
from cellprism.data.checks import check_embedding, remarks
from cellprism.data.columns import Labels, kept_columns
from cellprism.data.embedding import align, embedding_from_obsm, given_embedding
from cellprism.data.expression import Expression, measured_expression
from cellprism.data.modalities import modalities, renamed, with_protein
from cellprism.data.read import read_cells
from cellprism.data.state import to_log1p
from cellprism.data.symbols import Symbols, clean_symbols
from cellprism.data.text import cut_notes
from cellprism.data.unchanged import check_unchanged, hash_files
from cellprism.embed import EmbeddingModel
from cellprism.embed.thinned import Thinned
from cellprism.errors import InputError
from cellprism.genesets.match import MatchedSets, match_sets
from cellprism.run.knowledge import cell_columns, map_names, nuisance_columns, read_networks, set_ancestors
from cellprism.run.model_cells import model_cells
from cellprism.run.options import RunOptions

if TYPE_CHECKING:
    from cellprism.run.steps import Steps

__all__ = ["Inputs", "prepare"]


@dataclass(frozen=True)
class Inputs:
    """Cells in every form that the later steps use."""

    embedding: NDArray[np.float32]
    """(cells, d)."""
    embedding_source: str
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
    thinned: bool
    """Whether features were made from other molecules than those tested."""
    expression_kind: str
    """``measured`` or ``predicted``."""
    hashes: dict[str, dict[str, str]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def prepare(options: RunOptions, say: Callable[[str], None], steps: Steps) -> Inputs:
    """Read and check all inputs; train the embedding model where one is asked for and no finished step holds it."""
    hashed = hash_files(_files(options))
    cells, proteins = with_protein(read_cells(options.data))
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

    model, thinned, counts = None, False, None
    if options.embed is not None:
        made, counts = model_cells(
            cells, layer=options.layer, raw=options.raw, state=options.states, thinned=options.thin, seed=options.seed
        )
        thinned = counts is not None
        say(f"training the embedding model {options.embed!r}" + (" on half of the molecules" if thinned else ""))
        extra: dict[str, Any] = {} if options.device == "auto" else _placed(options.embed, options.device)
        if options.components is not None:
            extra |= embed.dimensions(options.embed, options.components)
        if columns.strata is not None and options.embed in embed.BATCH_AWARE:
            made.obs[columns.strata.name] = columns.strata.to_numpy()
            extra["batch"] = columns.strata.name
            say(f"the model is told the batch, {columns.strata.name!r}")
        train = partial(embed.train, options.embed, made, seed=options.seed, progress=options.progress, **extra)
        model, values = steps.embedding(hashed["data"].sha256, train, made)
        source = f"{_trained(model)}, trained in this run"
        say(f"trained {_trained(model)}")
        model = Thinned(model, seed=options.seed) if thinned else model
        unseen = [m for m in modalities(made) if m not in model.modalities]
        if unseen:
            warnings.append(f"the embedding knows nothing of the modalities {', '.join(unseen)}: {source}")
    else:
        given = given_embedding(cells, options.rep, options.embedding)
        values, source = given.values, given.source
        if given.cells is None:
            warnings.append(f"{source} names no cells: its rows are taken in the order of {options.data.name}")
    names = tuple(map(str, cells.obs_names))
    values = check_embedding(values, names)
    embedding = np.ascontiguousarray(values, dtype=np.float32)
    warnings += remarks(embedding, names)
    networks_from = genesets.files_behind(options.networks).values()
    warnings += cut_notes([options.embedding, options.id_table, options.ontology, *networks_from])

    expression = measured_expression(
        cells,
        layer=options.layer,
        raw=options.raw,
        gene_symbols=options.gene_symbols,
        state=options.states,
        counts=counts,
    )
    expression = map_names(expression, options.id_table, options.id_columns, say)
    nuisance = nuisance_columns(expression)
    if options.expression == "predicted" and model is not None:
        expression = _predicted(model, embedding, expression)
    if any(adata.var_names.duplicated().any() for adata in modalities(cells).values()):
        warnings.append("gene names repeat; repeated ones carry a suffix in the tables")
    # The same choice as the set tests make: of genes with one symbol the one seen in most cells, of those seen at all.
    seen = np.bincount(expression.values.indices, minlength=len(expression.genes))
    symbols = clean_symbols(expression.genes, expression.symbols, seen)
    matched = match_sets(sets, np.where(seen > 0, symbols.for_sets, ""))
    say(f"expression: {expression.describe()}; {matched.summary()}")
    if symbols.n_missing or symbols.n_shared:
        say(symbols.summary())
    for warning in warnings:
        say(warning)
    ancestors, networks = set_ancestors(options.gene_sets, options.ontology, sets), read_networks(options.networks)
    check_unchanged(hashed)
    hashed |= hash_files({name: path for name, path in _files(options).items() if name not in hashed})  # fetched by now
    beside = {c.name: pd.Categorical(c) for c in (columns.strata, columns.donor) if c is not None}
    beside = {name: values for name, values in beside.items() if name not in columns.labels.table}
    known = [*columns.labels.table.columns, *beside]
    kept = pd.DataFrame(beside, index=cells.obs.index).join(kept_columns(cells.obs, known))
    return Inputs(
        embedding=embedding,
        embedding_source=source,
        expression=expression,
        symbols=symbols,
        gene_sets=sets,
        matched=matched,
        labels=columns.labels,
        kept=kept,
        nuisance=nuisance,
        strata=columns.strata,
        donor=columns.donor,
        ancestors=ancestors,
        networks=networks,
        map=_map(cells, embedding, options.seed, say),
        model=model,
        thinned=thinned,
        expression_kind=options.expression,
        hashes={name: one.record() for name, one in hashed.items()},
        warnings=warnings,
    )


def _placed(model: str, device: str) -> dict[str, Any]:
    """What tells a model where to train; PCA has no such choice."""
    if model in ("drvi", "scvi"):
        return {"training": {"accelerator": {"cuda": "gpu"}.get(device.split(":")[0], device)}}
    return {"device": device} if model in ("dgd", "autoencoder") else {}


def _trained(model: EmbeddingModel) -> str:
    """Which class was trained, and on what."""
    kind = getattr(model, "kind", None)
    return f"{model.name}{f' ({kind})' if kind else ''} of {' and '.join(model.modalities)}"


def _predicted(model: EmbeddingModel, embedding: NDArray[np.float32], measured: Expression) -> Expression:
    """The model's expected counts for the unchanged embedding, 10,000 a cell, in place of the measured ones."""
    decoded = model.decode(embedding)
    names = list(dict.fromkeys(measured.modality))
    blocks = [to_log1p(sp.csr_array(decoded[m], dtype=np.float32), "counts") for m in names]
    values = sp.csr_array(sp.hstack(blocks, format="csr"), dtype=np.float32)
    if values.shape[1] != len(measured.genes):
        raise InputError(
            "the model must predict every measured gene",
            f"{values.shape[1]} of {len(measured.genes)}",
            "test measured expression",
        )
    return Expression(
        values, measured.genes, measured.symbols, measured.modality, measured.depth, dict.fromkeys(names, "counts")
    )


def _map(
    cells: ad.AnnData | mudata.MuData, embedding: NDArray[np.float32], seed: int, say: Callable[[str], None]
) -> tuple[NDArray[np.float32], str]:
    """Two dimensions to draw the cells in: the file's own, or a UMAP of the embedding."""
    for key in ("X_umap", "X_tsne", "X_draw_graph_fa"):
        try:
            drawn = align(embedding_from_obsm(cells, key), cells.obs_names)
        except InputError:  # not there, or of other cells: a map can always be made
            continue
        if drawn.ndim == 2 and drawn.shape[1] == 2 and np.isfinite(drawn).all():
            return np.asarray(drawn, dtype=np.float32), f"obsm[{key!r}]"
    if embedding.shape[1] <= 2 or len(embedding) < 15:
        padded = np.zeros((len(embedding), 2), dtype=np.float32)
        padded[:, : min(2, embedding.shape[1])] = embedding[:, :2]
        return padded, "the embedding's first dimensions"
    say("drawing the cells (UMAP of the embedding)")
    with catch_warnings():  # umap says on import and on fit that a seed means one thread
        simplefilter("ignore")
        import umap

        drawn = umap.UMAP(n_neighbors=15, min_dist=0.3, random_state=seed).fit_transform(embedding)
    return np.asarray(drawn, dtype=np.float32), "UMAP of the embedding"


def _files(options: RunOptions) -> dict[str, Path]:
    files = {"data": options.data}
    given = {"embedding": options.embedding, "table of names": options.id_table, "ontology": options.ontology}
    files |= {name: path for name, path in given.items() if path is not None}
    behind = genesets.files_behind([*options.gene_sets, *options.networks])
    return files | {f"gene sets {name}": path for name, path in behind.items()}
