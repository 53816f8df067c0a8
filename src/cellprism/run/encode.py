"""Further cells by the embedding model and the dictionary of a run, comparable with the run's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import anndata as ad
import mudata
import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from cellprism import embed
from cellprism.data.checks import check_numbers
from cellprism.data.expression import take_matrices
from cellprism.data.modalities import modalities, with_protein
from cellprism.embed import EmbeddingModel
from cellprism.embed.thinned import Thinned, thinning
from cellprism.errors import InputError
from cellprism.features.strongest import strongest
from cellprism.run.folder import RunFolder
from cellprism.run.model_cells import model_cells
from cellprism.run.novelty import Reference
from cellprism.run.options import states
from cellprism.sae import SAE
from cellprism.sae.metrics import Description, describe

__all__ = ["Encoded", "embed_cells", "encode", "fit_of", "model_of", "novelty", "refuse_beside_rep"]

_LOST, _FACTOR = 0.2, 2.0
"""Cells are said not to fit where so much of the explained variance is lost, or so many times more or fewer features fire."""


class Encoded(NamedTuple):
    """Codes of cells."""

    cells: tuple[str, ...]
    """Their names."""
    embedding: NDArray[np.float32]
    """(cells, d)."""
    codes: sp.csr_array
    """(cells, width)."""
    fit: str
    """In words: what is explained and how much fires, beside the cells of the training."""
    misfit: str
    """In words, where the cells do not fit the dictionary; else empty."""
    table: pd.DataFrame
    """By cell: its strongest features by name, where a run names them, and its novelty, where that is told."""

    def __repr__(self) -> str:
        n, width = self.codes.shape
        return f"Encoded: {n:,} cells x {width:,} features\n    {self.fit}"

    def anndata(self, features: pd.DataFrame | None = None) -> ad.AnnData:
        """Codes in X, with the names of cells and features; the embedding in ``obsm["X_embedding"]``."""
        var = feature_names(self.codes.shape[1], features)
        out = ad.AnnData(sp.csr_matrix(self.codes), obs=self.table.copy(), var=var)
        out.obsm["X_embedding"] = self.embedding
        return out


def refuse_beside_rep(rep: str | None, **others: Any) -> None:
    """Refuse what embeds cells, where they have an embedding already: it would be passed over."""
    given = [name for name, value in others.items() if value is not None and value is not False]
    if rep is not None and given:
        raise InputError(
            "cells have an embedding already, or are embedded here",
            f"`{given[0]}=` beside {rep}",
            "leave one of them out",
        )


def feature_names(width: int, features: pd.DataFrame | None = None) -> pd.DataFrame:
    """``var`` of codes: a row a feature, with its name where a run's table gives it."""
    var = pd.DataFrame(index=pd.Index([f"feature {i}" for i in range(width)]))
    if features is not None:
        var["name"] = features.set_index("feature")["name"].astype(str).reindex(range(width)).fillna("").to_numpy()
    return var


def model_of(folder: RunFolder, path: Path | None = None) -> EmbeddingModel:
    """The embedding model of a run, or another folder's.

    Raises
    ------
    InputError
        If the run keeps none and none is given.
    """
    at = folder.model if path is None else path
    if not any((at / name).is_file() for name in ("model.json", "model.pt")):
        raise InputError(
            "the model that made the run's embedding embeds and decodes",
            f"no model in {at}" + (", as the run was given its embedding" if path is None else ""),
            "name its folder with --model, also one that scvi-tools saved; to encode cells, an embedding of them will do "
            "(--rep KEY)",
        )
    return embed.load(at)


def query_cells(
    folder: RunFolder | None,
    cells: ad.AnnData | mudata.MuData,
    model: EmbeddingModel,
    *,
    layer: str | None = None,
    raw: bool | None = None,
    notes: list[str],
) -> ad.AnnData | mudata.MuData:
    """Cells in the form in which the run's own were embedded: from the same layer, in the same state.

    Parameters
    ----------
    folder, cells, model
        What was run (None: nothing is known of it), what is to be embedded, and by what.
    layer, raw
        Where the expression of these cells lies; None = where it lay in the run, or X where they have no such layer.
    notes
        Gets what is to be said of it.
    """
    arguments: dict[str, Any] = {} if folder is None else folder.info.get("arguments", {})
    cells, proteins = with_protein(cells)
    if proteins is not None and "protein" in model.modalities:
        notes.append(proteins)
    if layer is None and raw is None:
        layer, raw = arguments.get("layer"), bool(arguments.get("raw"))
        if layer is not None and layer not in getattr(cells, "layers", {layer: None}):
            notes.append(f"the run took layer {layer!r}, which these cells lack: X is taken")
            layer = None
        if raw and getattr(cells, "raw", None) is None and not hasattr(cells, "mod"):
            notes.append("the run took .raw, which these cells lack: X is taken")
            raw = False
    own = getattr(model, "layer", None)  # of a model that was set up elsewhere
    if own is not None and layer is None and not raw:
        layer = own
    taken = take_matrices(cells, layer=layer, raw=bool(raw), state=states(arguments.get("expression_state")))
    made, _ = model_cells(cells, taken)
    if own is not None:
        for part in modalities(made).values():
            part.layers[own] = part.X
    seen = getattr(model, "share", None)
    if seen is not None:
        notes.append(f"{seen:.0%} of the molecules of each cell are embedded, as of the run's own cells")
    return made


def embed_cells(
    folder: RunFolder,
    cells: ad.AnnData | mudata.MuData,
    model: EmbeddingModel,
    *,
    layer: str | None = None,
    raw: bool | None = None,
    notes: list[str],
) -> NDArray[np.float32]:
    """Embed cells as the run's own were, by as many of their molecules, genes found by name; see :func:`query_cells`."""
    return np.asarray(
        model.encode(query_cells(folder, cells, model, layer=layer, raw=raw, notes=notes)),
        dtype=np.float32,
    )


def novelty(
    folder: RunFolder, made: ad.AnnData | mudata.MuData, model: EmbeddingModel, notes: list[str]
) -> pd.DataFrame | None:
    """Novelty of cells that :func:`query_cells` made, beside the run's own; None where the run cannot tell it."""
    if folder.novelty is None:
        notes.append("novelty is not told: the run did not embed 100 cells or more from counts itself (run --embed)")
        return None
    seen = thinning(folder.model)
    return Reference.load(folder.novelty).tell(made if seen is None else Thinned(model, *seen).seen(made))


def encode(
    sae: SAE,
    values: Any,
    cells: tuple[str, ...],
    trained: dict[str, Any] | None = None,
    *,
    features: pd.DataFrame | None = None,
    told: pd.DataFrame | None = None,
) -> Encoded:
    """Codes of embedded cells, beside what was explained where the dictionary was trained.

    Parameters
    ----------
    sae
        The dictionary.
    values
        (cells, d) embedding.
    cells
        Names; made up where there are none.
    trained
        ``metrics`` of its run.
    features
        Its table of features, for their names.
    told
        What :func:`novelty` says of the cells.
    """
    embedding = np.ascontiguousarray(check_numbers(values, cells), dtype=np.float32)
    codes = sae.encode(embedding)
    words, misfit = fit_of(sae, embedding, codes, trained or {})
    names = cells or tuple(str(i) for i in range(len(embedding)))
    return Encoded(names, embedding, codes, words, misfit, cell_table(names, [strongest(codes, features)], told))


def cell_table(names: tuple[str, ...], strong: list[pd.DataFrame], told: pd.DataFrame | None) -> pd.DataFrame:
    """By cell: strongest features, of some cells after others, and novelty, where it is told."""
    index = pd.Index(names)
    return pd.concat([pd.concat(strong).set_axis(index), *([] if told is None else [told.set_axis(index)])], axis=1)


def fit_of(sae: SAE, embedding: NDArray[Any], codes: sp.csr_array, trained: dict[str, Any]) -> tuple[str, str]:
    """How well a dictionary describes cells, in words, and whether that is worse than of the cells it was trained on."""
    return words_of_fit(describe(sae, embedding, codes), trained)


def words_of_fit(here: Description, trained: dict[str, Any]) -> tuple[str, str]:
    """:func:`fit_of` of what was measured already."""
    before, active = trained.get("explained_variance"), trained.get("l0")
    words = f"explained variance {here.explained_variance:.3f}"
    words += f" (in training {before:.3f})" if before is not None else ""
    words += f", {here.l0:.1f} active features a cell" + (f" (in training {active:.1f})" if active is not None else "")
    reasons = []
    if before is not None and not here.explained_variance >= before - _LOST:
        reasons.append("far less of their embedding is explained")
    if active and not active / _FACTOR <= here.l0 <= active * _FACTOR:
        reasons.append("far " + ("more" if here.l0 > active else "fewer") + " features are active")
    if not reasons:
        return words, ""
    return words, (
        f"these cells do not fit the dictionary: {' and '.join(reasons)}. Were they embedded by the same model, from the same "
        "genes on the same scale, with its batches?"
    )
