"""What the recovery scripts share: the cells, the embedding, and results that grow row by row in a JSON file."""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray
from scipy import stats

from cellprism.embed.autoencoder import AutoencoderModel
from cellprism.simulate import large

RESULTS = Path(__file__).parent / "results"
FIGURES = Path(__file__).parent.parent / "docs" / "figures" / "recovery"
CACHE = Path(tempfile.gettempdir()) / "cellprism-recovery"
"""Trained embeddings: several passes over the methods share them."""

# A fortieth of the paper's genes and half of one of its ten data sets, so that five seeds of every method are an
# hour's work on two cores; 100 programs, 40 types and 3 batches as published.
CELLS = {"n_cells": 6_000, "n_genes": 500, "held_out": 1_000}
PUBLISHED = {"n_cells": 11_000, "n_genes": 20_000, "held_out": 1_000}
"""The paper's: 10,000 cells a data set."""
EMBEDDING = {"lr": 2e-3, "batch_size": 128, "epochs": 40, "patience": 8, "transform": "none"}
EMBEDDING_PUBLISHED = {"lr": 1e-4, "batch_size": 128, "epochs": 500, "patience": 50, "transform": "none"}


def cells(seed: int, *, published: bool = False) -> AnnData:
    """Cells of a seed, of the published size or smaller; the structure is the same for all seeds, as published."""
    return large(seed=seed, **(PUBLISHED if published else CELLS))


def embedded(
    adata: AnnData, *, seed: int, published: bool = False, **architecture: Any
) -> tuple[NDArray[np.float32], AutoencoderModel]:
    """Embedding of all cells by an autoencoder of the training cells."""
    options = (EMBEDDING_PUBLISHED if published else EMBEDDING) | architecture
    text = json.dumps([PUBLISHED if published else CELLS, options, seed], sort_keys=True)
    kept = CACHE / hashlib.sha256(text.encode()).hexdigest()[:16]
    if kept.is_dir():
        model = AutoencoderModel.load(kept)
    else:
        train = adata[(adata.obs["split"] == "train").to_numpy()]
        model = AutoencoderModel.fit(train, seed=seed, **options)
        model.save(kept)
    return model.encode(adata), model


class Rows:
    """Rows of a JSON file by their key; a stopped script goes on where it was."""

    def __init__(self, name: str | Path, key: list[str]) -> None:
        self.path, self.key = RESULTS / name, key
        self.rows: list[dict[str, Any]] = json.loads(self.path.read_text()) if self.path.is_file() else []

    def has(self, **key: Any) -> bool:
        """Whether a row with this key is there."""
        return any(all(row[k] == v for k, v in key.items()) for row in self.rows)

    def add(self, rows: list[dict[str, Any]]) -> None:
        """Add rows, in place of those with the same key, and write the file."""
        new = {tuple(row[k] for k in self.key) for row in rows}
        # Read again: another process may have written meanwhile.
        kept = json.loads(self.path.read_text()) if self.path.is_file() else []
        self.rows = [row for row in kept if tuple(row[k] for k in self.key) not in new] + rows
        self.rows.sort(key=lambda row: [str(row[k]) for k in self.key])
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_suffix(".partial")
        partial.write_text("[\n" + ",\n".join(json.dumps(_rounded(row)) for row in self.rows) + "\n]\n")
        partial.rename(self.path)

    def table(self) -> pd.DataFrame:
        """All rows."""
        return pd.DataFrame(self.rows)


def interval(values: pd.Series) -> tuple[float, float]:
    """Mean and half width of its 95 % interval over seeds (Student's t)."""
    kept = values.dropna()
    if len(kept) < 2:
        return float(kept.mean()), float("nan")
    return float(kept.mean()), float(stats.t.ppf(0.975, len(kept) - 1) * kept.std() / np.sqrt(len(kept)))


def _rounded(row: dict[str, Any]) -> dict[str, Any]:
    return {
        k: (None if v != v else round(float(v), 5)) if isinstance(v, float | np.floating) else v for k, v in row.items()
    }
