"""What a reader of the pages has at hand: a folder with the files that the commands name, and the names that the blocks use."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import anndata as ad
import mudata as md
import numpy as np
import pandas as pd

import cellprism as prism
from cellprism.demo import demo_counts
from cellprism.run import RunOptions, run

OBO = """format-version: 1.2

[Term]
id: GO:0008150
name: biological_process
namespace: biological_process

[Term]
id: GO:0002376
name: immune system process
namespace: biological_process
is_a: GO:0008150 ! biological_process

[Term]
id: GO:0006955
name: immune response
namespace: biological_process
is_a: GO:0002376 ! immune system process
"""


def blood(n: int = 200) -> ad.AnnData:
    """Counts of demo cells with the columns that the pages speak of; an embedding with its model's name."""
    cells = demo_counts()[:n].copy()
    rng = np.random.default_rng(0)
    kinds = cells.obs.pop("bulk_labels").astype(str)
    cells.obs["cell_type"] = kinds.map(
        lambda k: "B" if "B" in k else "NK" if "NK" in k else "T" if "CD" in k[:3] else "DC"
    )
    for column, values in {"donor": "abc", "batch": "xy", "site": "pq", "stage": ["early", "late"]}.items():
        cells.obs[column] = rng.choice(list(values), n)
    cells.obs["condition"] = rng.choice(["ctrl", "stim"], n)
    return cells


def multiome(cells: ad.AnnData) -> md.MuData:
    """The cells' genes, and proteins made of some of them."""
    protein = ad.AnnData(cells.X[:, :12].copy(), obs=cells.obs[[]].copy(), var=cells.var.iloc[:12].copy())
    protein.var_names = [f"ADT-{g}" for g in protein.var_names]
    with md.set_options(pull_on_update=False):
        both = md.MuData({"rna": cells[:, 12:].copy(), "protein": protein})
    both.obs[["batch", "site"]] = cells.obs[["batch", "site"]]
    return both


def make_files(folder: Path) -> None:
    """Write the files that commands of the pages read."""
    cells = blood()
    model = prism.embed.train("pca", cells, n_components=12, seed=0)
    cells.obsm["X_scVI"] = cells.obsm["X_scgpt"] = model.encode(cells)
    cells.write_h5ad(folder / "cells.h5ad")
    blood().write_h5ad(folder / "counts.h5ad")
    with md.set_options(pull_on_update=False):
        multiome(blood()).write_h5mu(folder / "pbmc.h5mu")
    query = blood(120)
    query.obs_names = [f"new-{name}" for name in query.obs_names]
    query.write_h5ad(folder / "new.h5ad")
    model.save(folder / "my_scvi")
    np.save(folder / "geneformer.npy", model.encode(cells))
    sets = prism.genesets.bundled()
    prism.genesets.write_gmt({name: sets[name] for name in list(sets)[:40]}, folder / "my_sets.gmt")
    (folder / "go-basic.obo").write_text(OBO)
    annotated = [
        f"DB\t{g}\t{g}\t\tGO:0006955\tPMID:1\tIDA\t\tP\t{g}\t\tprotein\ttaxon:9606\t20200101\tDB"
        for g in cells.var_names[:9]
    ]
    (folder / "goa_human.gaf").write_text("\n".join(["!gaf-version: 2.2", *annotated, ""]))


def make_run(folder: Path, source: Path) -> None:
    """A finished run of the cells at ``folder``, for commands that start from one."""
    run(
        RunOptions(
            data=source / "cells.h5ad",
            output=folder,
            rep="X_scVI",
            labels=("cell_type",),
            preset="demo",
            seeds=2,
            seed=0,
        )
    )


def copy(source: Path, target: Path) -> None:
    shutil.copytree(source, target, dirs_exist_ok=True)


def names(folder: Path) -> dict[str, Any]:
    """Names that blocks of the pages take for granted."""
    cells = ad.read_h5ad(folder / "cells.h5ad")
    X = np.asarray(cells.obsm["X_scVI"], dtype=np.float32)
    fit = prism.fit(X, seeds=2, seed=0)
    many = blood(340)  # cells enough to hold some out
    log1p = np.log1p(cells.X.toarray() / np.maximum(cells.X.sum(axis=1).A1[:, None], 1) * 1e4).astype(np.float32)
    return {
        "prism": prism,
        "np": np,
        "pd": pd,
        "ad": ad,
        "cells": cells,
        "adata": many,
        "mdata": multiome(cells),
        "X": X,
        "Z": X,
        "embedding": X,
        "fit": fit,
        "sae": fit.sae,
        "codes": fit.sae.encode(X),
        "truth": {"depth": np.log(cells.X.sum(axis=1).A1)},
        "types": cells.obs["cell_type"].to_numpy(),
        "donors": cells.obs["donor"].to_numpy(),
        "adt": pd.DataFrame(cells.X[:, :12].toarray(), columns=list(cells.var_names[:12])),
        "log1p": log1p,
        "symbols": list(cells.var_names),
        "genes": list(cells.var_names),
        "sets": prism.genesets.bundled(),
        "model": prism.embed.load(folder / "my_scvi"),
    }


def example_names(folder: Path) -> dict[str, Any]:
    """Names that examples in docstrings take for granted: those of the pages, and cells with named features."""
    given = names(folder)
    adata = given["cells"].copy()
    config = prism.SAEConfig(width=16, activation="batchtopk", k=4)
    fitted = prism.tl.fit(adata, "X_scVI", cfg=config, seeds=1, epochs=20)
    annotation = prism.tl.annotate(adata, given["sets"], labels=["cell_type"], nulls=("permuted",))
    return given | {
        "adata": adata,
        "fit": fitted,
        "sae": fitted.sae,
        "codes": fitted.sae.encode(given["X"]),
        "annotation": annotation,
        "expression": given["log1p"],
        "conditions": adata.obs["condition"].to_numpy(),
    }
