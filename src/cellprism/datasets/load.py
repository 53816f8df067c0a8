"""The three things a user does: see what there is, fetch it, load it."""

from __future__ import annotations

import difflib
import warnings
from pathlib import Path
from typing import Any

import pandas as pd

from cellprism.data.read import read_cells
from cellprism.datasets.download import obtain
from cellprism.datasets.registry import DATASETS, Dataset, File
from cellprism.errors import InputError
from cellprism.genesets.libraries import cache_dir

__all__ = ["available", "fetch", "load"]


def available() -> pd.DataFrame:
    """A row a data set: name, what, source, checked (what tells that it came whole), cached (whether it is on disk).

    Examples
    --------
    >>> prism.datasets.available()[["name", "source"]].shape[1]
    2
    """
    rows = [
        {
            "name": name,
            "what": known.what,
            "source": known.source,
            "checked": _how_checked(known.files[0]),
            "cached": all((_folder(name) / f.name).is_file() for f in known.files),
        }
        for name, known in DATASETS.items()
    ]
    return pd.DataFrame(rows)


def fetch(name: str, *, folder: str | Path | None = None, progress: bool = False) -> list[Path]:
    """Paths of a data set's files, fetched where they are not on disk.

    Parameters
    ----------
    name
        One of :func:`available`.
    folder
        Where to keep them; None = ``$CELLPRISM_CACHE/datasets/NAME``, or the same in the user's cache folder.
    progress
        Show a bar.

    Raises
    ------
    InputError
        For an unknown name; without a network, with the address and the place to put the file by hand; for a file that
        is not what was published.

    Notes
    -----
    Files of scanpy are checked by the SHA-256 that scanpy publishes, Kang's by one that a project which uses it states, those of the multiDGD archive on arrival by the
    MD5 that the archive itself gives. 10x Genomics' are checked by their published numbers of cells and features: a
    checksum that could be cited was not found.

    Examples
    --------
    Not run by the tests: it fetches from the network.

    >>> prism.datasets.fetch("pbmc3k")  # doctest: +SKIP
    """
    known = _known(name)
    at = Path(folder) if folder is not None else _folder(name)
    return [obtain(file, at, progress=progress) for file in known.files]


def load(name: str, *, folder: str | Path | None = None, progress: bool = False) -> Any:
    """Cells of a data set, fetched where they are not on disk.

    Parameters
    ----------
    name, folder, progress
        As for :func:`fetch`.

    Returns
    -------
    AnnData or MuData
        MuData (``rna`` and ``protein`` or ``atac``) where there are several modalities.

    Examples
    --------
    Not run by the tests: it fetches from the network.

    >>> cells = prism.datasets.load("pbmc3k")  # doctest: +SKIP
    """
    known = _known(name)
    if known.files[0].format in ("weights", "json"):
        raise InputError(
            "cells are loaded from a set of cells",
            f"{name!r}, a published model",
            "fetch() gives its files, and cellprism.embed.dgd_checkpoint.read_multidgd reads them",
        )
    (path,) = fetch(name, folder=folder, progress=progress)
    form = known.files[0].format
    if form == "10x":
        return _read_10x(path)
    if form == "paul15":
        return _read_paul15(path)
    with warnings.catch_warnings():  # published files are of older layouts, and say so
        warnings.simplefilter("ignore")
        return _renamed(read_cells(path), known)


def _renamed(cells: Any, known: Dataset) -> Any:
    """The cells with the columns of ``obs`` called as they are called here."""
    missing = [old for old, _ in known.renamed if old not in cells.obs]
    if missing:
        raise InputError(
            f"{known.files[0].name} must have the columns that were published",
            f"no {', '.join(missing)} in obs",
            f"delete it and fetch it again, or get it from {known.files[0].address}",
        )
    cells.obs = cells.obs.rename(columns=dict(known.renamed))
    return cells


def _known(name: str) -> Dataset:
    if name not in DATASETS:
        close = difflib.get_close_matches(name, DATASETS, n=2, cutoff=0.3)
        raise InputError(
            "a data set must be known",
            repr(name),
            f"use {' or '.join(close) if close else 'one of ' + ', '.join(DATASETS)}",
        )
    return DATASETS[name]


def _folder(name: str) -> Path:
    return cache_dir() / "datasets" / name


def _how_checked(file: File) -> str:
    if file.sha256:
        return "sha256"
    return "md5 of the archive" if file.article else "size and layout"


def _read_10x(path: Path) -> Any:
    """Modalities by 10x's feature types."""
    import mudata
    import scanpy as sc

    with warnings.catch_warnings():  # symbols repeat; they are made unique below
        warnings.simplefilter("ignore")
        cells = sc.read_10x_h5(path, gex_only=False)
    cells.var_names_make_unique()
    named = {"Gene Expression": "rna", "Antibody Capture": "protein", "Peaks": "atac"}
    kinds = [k for k in named if bool((cells.var["feature_types"] == k).any())]
    parts = {named[k]: cells[:, (cells.var["feature_types"] == k).to_numpy()].copy() for k in kinds}
    if len(parts) == 1:
        return parts["rna"]
    with mudata.set_options(pull_on_update=False):
        return mudata.MuData(parts)


def _read_paul15(path: Path) -> Any:
    """All genes of the file, clusters with the authors' names; scanpy keeps the informative genes only."""
    import anndata as ad
    import h5py
    import numpy as np
    from scipy import sparse

    with h5py.File(path) as f:
        X = sparse.csr_matrix(f["data.debatched"][()].T.astype(np.float32))
        genes = [g.split(";")[0] for g in f["data.debatched_rownames"][()].astype(str)]
        names = f["data.debatched_colnames"][()].astype(str)
        cluster = f["cluster.id"][()].ravel().astype(int)
    kinds = ["Ery"] * 6 + ["MEP", "Mk", "GMP", "GMP", "DC", "Baso", "Baso", "Mo", "Mo", "Neu", "Neu", "Eos", "Lymph"]
    obs = pd.DataFrame(index=pd.Index(names))
    obs["cluster"] = pd.Categorical([f"{i}{kinds[i - 1]}" for i in cluster])
    obs["cell_type"] = pd.Categorical([kinds[i - 1] for i in cluster])
    out = ad.AnnData(X, obs=obs, var=pd.DataFrame(index=pd.Index(genes)))
    out.var_names_make_unique()
    return out
