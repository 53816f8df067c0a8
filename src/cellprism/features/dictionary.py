"""What of a dictionary can be held against another one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from cellprism.errors import InputError
from cellprism.features.annotate import Annotation
from cellprism.folder import RunFolder
from cellprism.folder.manifest import read_manifest

__all__ = ["Dictionary", "dictionary_of", "encoded_by", "folder_dictionary"]


@dataclass(frozen=True)
class Dictionary:
    """A dictionary and what is known of its features; what is not known is None."""

    features: pd.DataFrame
    """``feature`` and ``name`` of those that are compared."""
    codes: sp.csr_array | None = None
    """(cells, features) of these features, in this order."""
    cells: pd.DataFrame | None = None
    """``cell`` and columns of labels."""
    embedding: NDArray[Any] | None = None
    """(cells, d) what the dictionary splits."""
    directions: NDArray[Any] | None = None
    """(features, d) in units of the embedding."""
    space: str = ""
    """Of dictionaries on the embeddings of one model the same; empty where the model is not known."""
    genes: pd.DataFrame | None = None
    """Gene table: ``feature``, ``symbol``, ``statistic``."""
    sets: pd.DataFrame | None = None
    """Set table: ``feature``, ``set``, ``direction``, q values."""
    tested: tuple[str, ...] | None = None
    """Names of the gene sets that were tested."""

    def __len__(self) -> int:
        return len(self.features)


def dictionary_of(source: Any, by: str) -> Dictionary | None:
    """A dictionary out of a run folder, its path, or an annotation; None for anything else."""
    if isinstance(source, Dictionary):
        return source
    if isinstance(source, (str, Path, RunFolder)):
        return folder_dictionary(source, by)
    if isinstance(source, Annotation):
        return Dictionary(source.features[["feature", "name"]], genes=source.genes, sets=source.sets)
    return None


def folder_dictionary(source: str | Path | RunFolder, by: str) -> Dictionary:
    """The dictionary of a run, with what it takes to compare it so."""
    folder = source if isinstance(source, RunFolder) else RunFolder.open(source)
    numbers = folder.features["feature"].to_numpy()
    directions = None
    if by == "decoder":
        from cellprism.sae.io import load

        directions = load(folder.path).decoder_directions()[numbers]
    sets = folder.optional("gene_sets")
    return Dictionary(
        folder.features[["feature", "name"]],
        codes=sp.csr_array(sp.csc_array(folder.codes)[:, numbers]),
        cells=folder.cells,
        embedding=folder.embedding if by == "decoder" else None,
        directions=directions,
        space=_model(folder.path),
        genes=folder.genes if by == "genes" else None,
        sets=folder.sets if by == "sets" else None,
        tested=None if sets is None else tuple(sets["set"].astype(str)),
    )


def encoded_by(source: str | Path | RunFolder, cells_of: str | Path | RunFolder, by: str) -> Dictionary:
    """The dictionary of a run, on the cells of another one: their embedding, of the same model, is encoded by it.

    Raises
    ------
    InputError
        If the embedding has another number of dimensions than the dictionary, or something else than codes is compared.
    """
    if by != "codes":
        raise InputError("cells are encoded to compare codes", f"by {by}", "leave `encode=True` out")
    from cellprism.sae.io import load

    folder, other = (one if isinstance(one, RunFolder) else RunFolder.open(one) for one in (source, cells_of))
    numbers = folder.features["feature"].to_numpy()
    codes = sp.csr_array(sp.csc_array(load(folder.path).encode(other.embedding))[:, numbers])
    return replace(folder_dictionary(folder, by), codes=codes, cells=other.cells)


def _model(path: Path) -> str:
    """Digests of the files of the embedding model."""
    about = read_manifest(path) or {}
    return " ".join(
        f"{name} {one.get('sha256', '')}" for name, one in sorted(about.items()) if name.startswith("model/")
    )
