"""Everything a run needs, read and checked before any work is done or a byte is written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import anndata as ad
import mudata
import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from cellprism import embed, genesets
from cellprism.data.checks import check_embedding
from cellprism.data.embedding import given_embedding
from cellprism.data.expression import Expression, measured_expression, take_matrix, to_log1p
from cellprism.data.read import modalities, read_cells, sha256
from cellprism.data.symbols import Symbols, clean_symbols
from cellprism.data.thin import thin
from cellprism.embed import EmbeddingModel
from cellprism.errors import InputError
from cellprism.genesets.match import MatchedSets, match_sets
from cellprism.run.knowledge import label_columns, map_names, nuisance_columns, read_networks, set_ancestors
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
    obs: pd.DataFrame
    """(cells, columns): the label columns and the stratum."""
    nuisance: pd.DataFrame
    """(cells, columns): what a feature should not merely read: depth, mitochondrial share."""
    strata: NDArray[Any] | None
    strata_column: str | None
    donor: NDArray[Any] | None
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
    warnings: list[str] = []
    cells = read_cells(options.data)
    obs = label_columns(cells, options.labels, options.strata, options.donor)
    sets = genesets.load(options.gene_sets)
    say(f"{cells.n_obs:,} cells from {options.data.name}; {len(sets):,} gene sets")

    model, thinned, counts = None, False, None
    if options.embed is not None:
        made, counts = _training_cells(cells, options)
        thinned = counts is not None
        say(f"training the embedding model {options.embed!r}" + (" on half of the molecules" if thinned else ""))
        extra: dict[str, Any] = {}
        if options.components is not None:
            extra[_COMPONENTS[options.embed]] = options.components
        if options.strata is not None and options.embed in _BATCH_AWARE:
            made.obs[options.strata] = obs[options.strata].astype(str).to_numpy()
            extra["batch"] = options.strata
            say(f"the model is told the batch, {options.strata!r}")
        name = options.embed
        train = partial(embed.train, name, made, seed=options.seed, progress=options.progress, **extra)
        model, values = steps.embedding(sha256(options.data), train, made)
        source = f"{name}, trained in this run"
    else:
        values, source = given_embedding(cells, options.rep, options.embedding)
    values = check_embedding(values, tuple(map(str, cells.obs_names)), constant_dimensions=model is not None)
    embedding = np.ascontiguousarray(values, dtype=np.float32)

    expression = measured_expression(
        cells, layer=options.layer, raw=options.raw, gene_symbols=options.gene_symbols, counts=counts
    )
    expression = map_names(expression, options.id_table, options.id_columns, say)
    nuisance = nuisance_columns(expression)
    if options.expression == "predicted" and model is not None:
        expression = _predicted(model, embedding, expression)
    if cells.var_names.duplicated().any():
        warnings.append("gene names repeat; repeated ones carry a suffix in the tables")
    # The same choice as the set tests make: of genes with one symbol the one seen in most cells, of those seen at all.
    seen = np.bincount(expression.values.indices, minlength=len(expression.genes))
    symbols = clean_symbols(expression.genes, expression.symbols, seen)
    matched = match_sets(sets, np.where(seen > 0, symbols.for_sets, ""))
    say(f"expression: {expression.describe()}; {matched.summary()}")
    return Inputs(
        embedding=embedding,
        embedding_source=source,
        expression=expression,
        symbols=symbols,
        gene_sets=sets,
        matched=matched,
        obs=obs,
        nuisance=nuisance,
        strata=obs[options.strata].astype(str).to_numpy() if options.strata else None,
        strata_column=options.strata,
        donor=obs[options.donor].astype(str).to_numpy() if options.donor else None,
        ancestors=set_ancestors(options.gene_sets, options.ontology, sets),
        networks=read_networks(options.networks),
        map=_map(cells, embedding, options.seed, say),
        model=model,
        thinned=thinned,
        expression_kind=options.expression,
        hashes=_hashes(options),
        warnings=warnings,
    )


# What each model calls the dimensions of its embedding.
_BATCH_AWARE = ("dgd", "scvi")
_COMPONENTS = {"pca": "n_components", "dgd": "latent", "scvi": "n_latent", "autoencoder": "latent"}


def _training_cells(
    cells: ad.AnnData | mudata.MuData, options: RunOptions
) -> tuple[ad.AnnData | mudata.MuData, dict[str, sp.csr_array] | None]:
    """Cells as the embedding model sees them, and the counts left for testing where they were split."""
    parts: dict[str, ad.AnnData] = {}
    kept: dict[str, sp.csr_array] = {}
    for i, (name, adata) in enumerate(modalities(cells).items()):
        matrix = take_matrix(adata, layer=options.layer, raw=options.raw, gene_symbols=None)
        values = matrix.values
        if options.thin is not False and matrix.state == "counts":
            values, kept[name] = thin(values, seed=options.seed + i)
        elif options.thin:
            raise InputError(
                "--thin needs raw counts", f"{matrix.state} values in {matrix.where}", "give --layer with the counts"
            )
        if matrix.state == "normalised":
            values = to_log1p(values, "normalised")
        var = pd.DataFrame(index=pd.Index(matrix.genes))
        parts[name] = ad.AnnData(sp.csr_matrix(values), obs=adata.obs, var=var)
    if not isinstance(cells, mudata.MuData):
        return next(iter(parts.values())), kept or None
    with mudata.set_options(pull_on_update=False):
        made = mudata.MuData(parts)
    return made, kept or None


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
        if key in cells.obsm and np.asarray(cells.obsm[key]).shape[1] == 2:
            drawn = np.asarray(cells.obsm[key], dtype=np.float32)
            if np.isfinite(drawn).all():
                return drawn, f"obsm[{key!r}]"
    if embedding.shape[1] <= 2 or len(embedding) < 15:
        padded = np.zeros((len(embedding), 2), dtype=np.float32)
        padded[:, : min(2, embedding.shape[1])] = embedding[:, :2]
        return padded, "the embedding's first dimensions"
    say("drawing the cells (UMAP of the embedding)")
    import warnings

    with warnings.catch_warnings():  # umap says on import and on fit that a seed means one thread
        warnings.simplefilter("ignore")
        import umap

        drawn = umap.UMAP(n_neighbors=15, min_dist=0.3, random_state=seed).fit_transform(embedding)
    return np.asarray(drawn, dtype=np.float32), "UMAP of the embedding"


def _hashes(options: RunOptions) -> dict[str, dict[str, str]]:
    files = {"data": options.data}
    if options.embedding is not None:
        files["embedding"] = options.embedding
    given = {"table of names": options.id_table, "ontology": options.ontology}
    files |= {name: path for name, path in given.items() if path is not None}
    behind = genesets.files_behind([*options.gene_sets, *options.networks])
    files |= {f"gene sets {name}": path for name, path in behind.items()}
    return {name: {"path": str(path), "sha256": sha256(path)} for name, path in files.items()}
