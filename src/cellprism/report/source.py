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

from cellprism.errors import InputError

__all__ = ["Source", "completed", "mean_directions", "read_source"]

NEEDED: Final = ("features.parquet", "cells.parquet", "codes.npz")
COLUMNS: Final[dict[str, tuple[str, ...]]] = {
    "genes": ("feature", "gene", "symbol", "log2fc", "statistic", "logpval", "pval", "qval"),
    "sets": ("feature", "set", "direction", "n_measured", "n_hits", "effect", "pval_rank", "qval_rank", "qval_ora"),
    "labels": ("feature", "column", "value", "auroc", "f1", "precision", "recall", "qval"),
}


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
    features = pd.read_parquet(run_dir / "features.parquet").reset_index(drop=True)
    cells = pd.read_parquet(run_dir / "cells.parquet").reset_index(drop=True)
    codes = sparse.csc_array(sparse.load_npz(run_dir / "codes.npz"), dtype=np.float32)
    numbers = features["feature"].to_numpy(dtype=np.int64)
    if codes.shape[0] != len(cells):
        raise InputError(
            "codes.npz and cells.parquet describe the same cells",
            f"{codes.shape[0]} and {len(cells)} rows",
            "run again: the folder mixes two runs",
        )
    if len(numbers) and (numbers.min() < 0 or numbers.max() >= codes.shape[1]):
        raise InputError(
            "each feature of features.parquet is a column of codes.npz",
            f"feature {numbers.max()} of {codes.shape[1]} columns",
            "run again: the folder mixes two runs",
        )
    path = run_dir / "run.json"
    expression, expression_genes = _expression(run_dir, len(cells))
    return Source(
        features=features,
        cells=cells,
        genes=_table(run_dir, "genes"),
        sets=_table(run_dir, "sets"),
        labels=_table(run_dir, "labels"),
        codes=sparse.csc_array(codes[:, numbers]),
        directions=_directions(run_dir, codes, numbers),
        expression=expression,
        expression_genes=expression_genes,
        info=json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {},
        steering=_steering(run_dir),
        gene_sets=_optional(run_dir, "gene_sets"),
        matches=_optional(run_dir, "matches"),
    )


def completed(table: pd.DataFrame | None, name: str) -> pd.DataFrame:
    """A table of evidence with every column that is read of it; empty where there is none."""
    table = pd.DataFrame({"feature": []}) if table is None else table.reset_index(drop=True)
    for column in COLUMNS[name]:
        if column not in table:
            table[column] = pd.Series(np.nan, index=table.index)
    return table


def _table(run_dir: Path, name: str) -> pd.DataFrame:
    path = run_dir / f"{name}.parquet"
    return completed(pd.read_parquet(path) if path.is_file() else None, name)


def _optional(run_dir: Path, name: str) -> pd.DataFrame | None:
    path = run_dir / f"{name}.parquet"
    return pd.read_parquet(path) if path.is_file() else None


def mean_directions(
    embedding: NDArray[Any], codes: sparse.csc_array, numbers: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Mean embedding of a feature's cells, weighted by activation, less the mean cell: (features, d)."""
    chosen = sparse.csc_array(codes[:, numbers])
    total = np.asarray(chosen.sum(axis=0)).ravel()
    centre = np.asarray(embedding.mean(axis=0), dtype=np.float32)
    mean = (chosen.T @ np.asarray(embedding, dtype=np.float32)) / np.maximum(total, 1e-12)[:, None]
    return np.asarray(mean - centre, dtype=np.float32)


def _directions(run_dir: Path, codes: sparse.csc_array, numbers: NDArray[np.int64]) -> NDArray[np.float32] | None:
    path = run_dir / "embedding.npy"
    if not path.is_file():
        return None
    embedding = np.load(path, mmap_mode="r", allow_pickle=False)
    if embedding.ndim != 2 or embedding.shape[0] != codes.shape[0]:
        return None
    return mean_directions(embedding, codes, numbers)


def _expression(run_dir: Path, n_cells: int) -> tuple[sparse.csr_array | None, list[str]]:
    matrix, names = run_dir / "expression.npz", run_dir / "expression_genes.json"
    if not (matrix.is_file() and names.is_file()):
        return None, []
    expression = sparse.csr_array(sparse.load_npz(matrix), dtype=np.float32)
    genes = [str(g) for g in json.loads(names.read_text(encoding="utf-8"))]
    return (expression, genes) if expression.shape == (n_cells, len(genes)) else (None, [])


def _steering(run_dir: Path) -> list[tuple[dict[str, Any], pd.DataFrame]]:
    found = []
    for path in sorted(run_dir.glob("**/steering.json")):
        table = path.with_suffix(".parquet")
        if table.is_file():
            found.append((json.loads(path.read_text(encoding="utf-8")), pd.read_parquet(table)))
    return found
