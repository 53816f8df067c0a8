"""How far cells that a run's model embeds anew lie from where the run had them: by the run's part of molecules, and by all.

cellprism run CELLS.h5ad --embed pca --labels cell_type --seeds 1 -o RUN
python benchmarks/encode_thinned.py CELLS.h5ad RUN benchmarks/results
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import anndata as ad
import numpy as np

from cellprism.run import RunFolder
from cellprism.run.encode import embed_cells, model_of
from cellprism.sae import load

CELLS = 954  # another draw of molecules than the run's own, as the matrix is another


def compare(before: np.ndarray, after: np.ndarray, sae: object) -> dict[str, float]:
    """Shift of each axis in its own standard deviations, and of the share of cells in which each feature is active."""
    shift = np.abs(after.mean(axis=0) - before.mean(axis=0)) / before.std(axis=0)
    was, now = ((sae.encode(np.ascontiguousarray(Z)) > 0).mean(axis=0) for Z in (before, after))
    change = np.abs(np.asarray(now).ravel() - np.asarray(was).ravel())
    return {
        "largest_shift_sd": float(shift.max()),
        "axis": int(shift.argmax()),
        "largest_change_active": float(change.max()),
        "median_change_active": float(np.median(change)),
    }


def main(cells: str, run_dir: str, out: str) -> None:
    """Write ``encode_thinned.json``."""
    folder, adata = RunFolder.open(run_dir), ad.read_h5ad(cells)
    rows = np.sort(np.random.default_rng(0).choice(adata.n_obs, CELLS, replace=False))
    some, own = adata[rows].copy(), np.asarray(folder.embedding)[rows]
    model, sae = model_of(folder), load(folder.sae)
    found = {
        "cells": CELLS,
        "as_encode_does": compare(own, embed_cells(folder, some, model, notes=[]), sae),
        "all_molecules": compare(own, np.asarray(model.model.encode(some), dtype=np.float32), sae),
    }
    (Path(out) / "encode_thinned.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main(*sys.argv[1:])
