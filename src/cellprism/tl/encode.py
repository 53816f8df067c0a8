"""Codes of further cells."""

from __future__ import annotations

from pathlib import Path

import anndata as ad
import numpy as np
import scipy.sparse as sp

from cellprism import embed
from cellprism.data.checks import check_embedding
from cellprism.embed import EmbeddingModel
from cellprism.errors import warn
from cellprism.run.encode import Encoded, model_of, novelty, query_cells, refuse_beside_rep
from cellprism.run.encode import encode as _encode
from cellprism.run.folder import RunFolder
from cellprism.sae import load as load_sae
from cellprism.tl.stored import TABLES, embedding, forget, record, refuse_taken, sae, stored

__all__ = ["encode"]

_COLUMNS = ("top_feature", "top_names", "novelty", "novelty_pval", "novelty_qval")


def encode(
    adata: ad.AnnData,
    source: ad.AnnData | str | Path,
    key: str = "prism",
    *,
    rep: str | None = None,
    model: EmbeddingModel | str | Path | None = None,
    layer: str | None = None,
) -> Encoded:
    """Codes of further cells by a dictionary that was fitted before, comparable with those of its own cells.

    Parameters
    ----------
    adata
        The new cells; gets ``obsm["X_" + key]``, the embedding in ``obsm[rep]``, and ``uns[key]``: the dictionary with the
        names and tables of its features, so that figures and :func:`differential` work on the new cells too. In ``obs``, behind
        the key: ``top_feature`` and ``top_names``, its strongest features; of a run that embedded counts itself ``novelty``,
        ``novelty_pval`` and ``novelty_qval``, whether it is unlike the run's cells.
    source
        The AnnData that was fitted, or a run folder. A run that split counts embeds as large a part of the molecules.
    key
        Name of the result, in ``source`` too where that is an AnnData.
    rep
        Key of an embedding by the same model that the cells have already; None = embed them with ``model``.
    model
        The embedding model or its folder, also one that scvi-tools saved; None = the run's own.
    layer
        Where the counts lie; None = as in the run.

    Returns
    -------
    Encoded
        The same as an object; a misfit is warned of.

    Examples
    --------
    >>> new = cells[:50].copy()
    >>> encoded = prism.tl.encode(new, "RUN", key="coded", model="my_scvi")
    >>> new.obsm["X_coded"].shape[0]
    50
    """
    refuse_beside_rep(None if rep is None else f"`rep={rep!r}`", model=model, layer=layer)
    refuse_taken(adata, key, rep=rep, columns=[f"{key}_{name}" for name in _COLUMNS])
    decoder = embed.load(model) if isinstance(model, (str, Path)) else model
    notes: list[str] = []
    told = None
    if isinstance(source, (str, Path)):
        folder = RunFolder.open(source)
        dictionary, trained = load_sae(folder.path), dict(folder.info.get("metrics", {}))
        tables = {n: getattr(folder, n) for n in TABLES}
        if rep is None:
            by = decoder or model_of(folder)
            made = query_cells(folder, adata, by, layer=layer, notes=notes)
            found, told = np.asarray(by.encode(made), dtype=np.float32), novelty(folder, made, by, notes)
    else:
        kept = stored(source, key)
        dictionary, trained = sae(source, key), dict(kept["metrics"])
        tables = {n: kept[n] for n in TABLES if n in kept}
        if rep is None and decoder is None:
            rep = str(kept["rep"])
            refuse_beside_rep(f"`rep={rep!r}`, that of `source`", layer=layer)
        elif rep is None and decoder is not None:
            cells = adata if layer is None else query_cells(None, adata, decoder, layer=layer, notes=notes)
            found = np.asarray(decoder.encode(cells), dtype=np.float32)
    values = check_embedding(found, list(map(str, adata.obs_names))) if rep is None else embedding(adata, rep)
    names = tuple(map(str, adata.obs_names))
    out = _encode(dictionary, values, names, trained, features=tables.get("features"), told=told)
    # From here on nothing fails, so that what is refused leaves adata as it was.
    written = [] if rep is not None else [f"X_{key}_embedding"]
    rep = f"X_{key}_embedding" if rep is None else rep
    forget(adata, key, rep)
    if written:
        adata.obsm[rep] = found
    for name, column in out.table.items():
        adata.obs[f"{key}_{name}"] = column.to_numpy()
        written.append(f"{key}_{name}")
    adata.obsm[f"X_{key}"] = sp.csr_matrix(out.codes)
    metrics = {k: v for k, v in trained.items() if isinstance(v, (int, float))}
    adata.uns[key] = record(dictionary, rep, metrics, written) | {
        n: t.reset_index(drop=True) for n, t in tables.items()
    }
    if out.misfit:
        warn(f"{out.misfit} ({out.fit})")
    return out
