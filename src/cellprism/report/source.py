"""The tables of a finished run, read from its folder; what is absent is empty, so that the page can say so."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from cellprism.data.arrays import readable
from cellprism.errors import InputError
from cellprism.files import PREFIX
from cellprism.folder import RunFolder
from cellprism.folder.schema import COLUMNS

__all__ = ["Source", "completed", "mean_directions", "read_source"]

NEEDED: Final = ("features.parquet", "cells.parquet", "codes.npz")


@dataclass(frozen=True)
class Source:
    """What one page is made from.

    Attributes
    ----------
    features, cells, genes, sets, labels
        The tables of the run folder; `genes`, `sets` and `labels` may have no rows.
    codes
        (cells, features): only the columns that `features` lists, in its order; float32 CSC.
    directions
        (features, d): the direction of each feature in the embedding, or ``None``.
    expression, expression_genes
        (cells, genes) log1p CSR and its column names, or ``None``.
    info
        ``run.json``.
    steering
        Steering experiments found in the folder: each its JSON and its table.
    gene_sets
        A row a tested set: ``set``, ``collection``, ``genes`` (a list); ``None`` where unknown.
    matches
        A row a feature and sibling seed, see :func:`cellprism.features.stability.fit_matches`; ``None`` where unknown.
    """

    features: pd.DataFrame
    cells: pd.DataFrame
    genes: pd.DataFrame
    sets: pd.DataFrame
    labels: pd.DataFrame
    codes: sparse.csc_array
    directions: NDArray[np.float32] | None
    expression: sparse.csr_array | None
    expression_genes: list[str]
    info: dict[str, Any]
    steering: list[tuple[dict[str, Any], pd.DataFrame]] = field(default_factory=list)
    gene_sets: pd.DataFrame | None = None
    matches: pd.DataFrame | None = None

    @property
    def n_cells(self) -> int:
        """Number of cells."""
        return len(self.cells)

    @property
    def n_features(self) -> int:
        """Number of live features."""
        return len(self.features)


def read_source(run_dir: str | Path) -> Source:
    """Read a run folder.

    Raises
    ------
    InputError
        Where the folder is no run folder, or its files disagree in their sizes.
    """
    run_dir = Path(run_dir)
    absent = [name for name in NEEDED if not (run_dir / name).is_file()]
    if absent:
        raise InputError(
            "a report is made from a finished run folder",
            f"'{run_dir}' without {', '.join(absent)}",
            "give the folder that `cellprism run` wrote with -o",
        )
    folder = RunFolder(run_dir)
    numbers = folder.features["feature"].to_numpy(dtype=np.int64)
    codes = sparse.csc_array(folder.codes)
    embedding = folder.embedding if (run_dir / "embedding.npy").is_file() else None
    expression, expression_genes = folder.expression or (None, [])
    return Source(
        features=folder.features,
        cells=folder.cells,
        genes=completed(folder.optional("genes"), "genes"),
        sets=completed(folder.optional("sets"), "sets"),
        labels=completed(folder.optional("labels"), "labels"),
        codes=sparse.csc_array(codes[:, numbers]),
        directions=None if embedding is None else mean_directions(embedding, codes, numbers),
        expression=expression,
        expression_genes=expression_genes,
        info=folder.info if (run_dir / "run.json").is_file() else {},
        steering=_steering(run_dir),
        gene_sets=folder.optional("gene_sets"),
        matches=folder.optional("matches"),
    )


def completed(table: pd.DataFrame | None, name: str) -> pd.DataFrame:
    """A table of evidence with every column that is read of it; empty where there is none."""
    table = pd.DataFrame({"feature": []}) if table is None else table.reset_index(drop=True)
    for column in COLUMNS[name]:
        if column not in table:
            table[column] = pd.Series(np.nan, index=table.index)
    return table


def mean_directions(
    embedding: NDArray[Any], codes: sparse.csc_array, numbers: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Mean embedding of a feature's cells, weighted by activation, less the mean cell: (features, d)."""
    chosen = sparse.csc_array(codes[:, numbers])
    total = np.asarray(chosen.sum(axis=0)).ravel()
    centre = np.asarray(embedding.mean(axis=0), dtype=np.float32)
    mean = (chosen.T @ np.asarray(embedding, dtype=np.float32)) / np.maximum(total, 1e-12)[:, None]
    return np.asarray(mean - centre, dtype=np.float32)


def _steering(run_dir: Path) -> list[tuple[dict[str, Any], pd.DataFrame]]:
    """Steering experiments in the folder: what was done, and a row a gene."""
    found = []
    for path in sorted(run_dir.glob("**/steering.json")):
        table = path.with_suffix(".parquet")
        if table.is_file() and not any(part.startswith(PREFIX) for part in path.relative_to(run_dir).parts):
            with readable(path, "a steering experiment must be readable", "steer again, or remove it"):
                content = json.loads(path.read_text(encoding="utf-8"))
                genes = pd.read_parquet(table)
                if not isinstance(content, dict) or "gene" not in genes or "log2fc" not in genes:
                    raise ValueError("neither a mapping nor a table with the columns gene and log2fc")
            found.append((content, genes))
    return found
