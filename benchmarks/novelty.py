"""What `encode` tells of new cells: how often cells of the same kinds are called new, and which new ones are found.

Usage: python benchmarks/novelty.py FOLDER    (with kang2018_ifnb_muscat, kang2018_ctrl_8donors_muscat, paul2015_mouse_marrow_tradeseq,
marrow_erythroid_mouse and citeseq_eccite_pbmc_citefuse .h5ad: counts)

Half of the molecules of each cell are used, as by a run that splits them; at most 4,000 cells. Writes benchmarks/results/novelty.json.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellprism.data.thin import thin
from cellprism.run.novelty import Reference

OUT = Path(__file__).parent / "results" / "novelty.json"
DIMENSIONS, MOST = 30, 4000


def read(folder: Path, name: str) -> ad.AnnData:
    cells = ad.read_h5ad(folder / f"{name}.h5ad")
    cells.X = sp.csr_matrix(thin(sp.csr_array(cells.X.astype(np.float32)), seed=0)[0])
    rows = np.random.default_rng(0).permutation(cells.n_obs)[:MOST]
    return cells[np.sort(rows)].copy()


def told(known: ad.AnnData, new: ad.AnnData, donor: pd.Series | None = None) -> pd.DataFrame:
    reference = Reference.of(known, DIMENSIONS, donor)
    assert reference is not None
    return reference.tell(new)


def shares(table: pd.DataFrame) -> dict[str, float]:
    pval, qval = table["novelty_pval"].to_numpy(), table["novelty_qval"].to_numpy()
    at = {f"p <= {level}": float((pval <= level).mean()) for level in (0.01, 0.05, 0.1, 0.5)}
    return {"cells": len(table), **at, "q < 0.05": float((qval < 0.05).mean())}


def same_kinds(cells: ad.AnnData) -> dict[str, float]:
    """A quarter of the cells, four times, against the others."""
    found = []
    for seed in range(4):
        new = np.random.default_rng(seed).random(cells.n_obs) < 0.25
        found.append(told(cells[~new].copy(), cells[new].copy()))
    return shares(pd.concat(found))


def beside(known: ad.AnnData, same: ad.AnnData, other: ad.AnnData, group: Any) -> dict[str, dict[str, float]]:
    """New cells of the same kinds and others, q over both; by group."""
    table = told(known, ad.concat([same, other], index_unique="-"))
    groups = pd.Series(["same kinds"] * same.n_obs + [str(g) for g in group], index=table.index)
    return {str(name): shares(part) for name, part in table.groupby(groups)}


def left_out(cells: ad.AnnData, column: str) -> dict[str, dict[str, dict[str, float]]]:
    """Each type left out of the known cells; of the others a seventh is new too."""
    kinds, drawn = cells.obs[column].astype(str).to_numpy(), np.random.default_rng(1).random(cells.n_obs) < 0.15
    out = {}
    for kind in np.unique(kinds):
        other, same = kinds == kind, (kinds != kind) & drawn
        parts = (cells[~other & ~same].copy(), cells[same], cells[other])
        out[str(kind)] = beside(*parts, group=["left out"] * int(other.sum()))
    return out


def other_donors(cells: ad.AnnData, column: str) -> dict[str, dict[str, dict[str, float]]]:
    """Each donor left out of the known cells, whose parts are of cells or of donors."""
    donors = cells.obs[column].astype(str)
    out = {}
    for donor in donors.unique():
        known, new = cells[(donors != donor).to_numpy()].copy(), cells[(donors == donor).to_numpy()].copy()
        by = {"parts of cells": None, "parts of donors": donors[donors != donor]}
        out[str(donor)] = {name: shares(told(known, new, d)) for name, d in by.items()}
    return out


def main() -> None:
    folder = Path(sys.argv[1])
    kang, eight, paul = (
        read(folder, n)
        for n in ("kang2018_ifnb_muscat", "kang2018_ctrl_8donors_muscat", "paul2015_mouse_marrow_tradeseq")
    )
    others = {n: read(folder, n) for n in ("marrow_erythroid_mouse", "citeseq_eccite_pbmc_citefuse")}
    found: dict[str, Any] = {}
    found["same kinds"] = {n: same_kinds(c) for n, c in {"kang, 8 donors": eight, "paul": paul, **others}.items()}
    stim = (kang.obs["condition"] == "stim").to_numpy()
    drawn = ~stim & (np.random.default_rng(1).random(kang.n_obs) < 0.2)
    parts = (kang[~stim & ~drawn].copy(), kang[drawn], kang[stim])
    found["stimulated"] = beside(*parts, group=kang.obs["cell_type"][stim])
    found["left out, kang"] = left_out(eight, "cell_type")
    found["left out, paul"] = left_out(paul, "cluster")
    found["other donors"] = other_donors(eight, "donor")
    OUT.write_text(json.dumps(found, indent=1) + "\n")
    for name, part in found.items():
        print(name)
        for key, value in part.items():
            print("  ", key, json.dumps(value))


if __name__ == "__main__":
    main()
