"""The paper's figures from our own runs, one command a figure, each resumable.

Usage: python benchmarks/paper/reproduce.py FIGURE|all [--preset quick|full] [--cells CELLS.h5ad --labels COLUMN]

Writes benchmarks/results/paper/FIGURE-PRESET.json, and leaves alone what is there; the picture, docs/figures/paper/FIGURE.png, is
drawn anew each time. ``superposition``, ``sweeps`` and ``methods`` sum up the rows of the benchmarks of their names (which add to what they
have), after running these with --preset full; the others are computed here, on real cells.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import scanpy as sc
from pictures import draw
from steered import profiles, steering

import cellprism as prism
from cellprism.features.kinds import cell_type_kinds

HERE = Path(__file__).resolve().parent.parent
FIGURES_OF_PAGE = HERE.parent / "docs" / "figures" / "paper"
RESULTS = HERE / "results"
SEEDS = (0, 42, 9307)  # the paper's
SIZES = {"quick": (500, 60), "full": (10_000, 500)}  # width and epochs; full is the paper's


def rows(name: str) -> pd.DataFrame:
    return pd.DataFrame(json.loads((RESULTS / f"{name}.json").read_text()))


def run(script: str, *words: str) -> None:
    subprocess.run([sys.executable, str(HERE / script), *words], check=True)


def superposition(preset: str, _: argparse.Namespace) -> object:
    """R2 of a linear probe of each truth level, by completeness (latent) and depth of the autoencoder."""
    if preset == "full":
        run("recovery_superposition.py", "--variants", "2-narrow", "4-narrow", "6-narrow", "2-wide", "4-wide", "6-wide")
    found = rows("recovery_superposition")
    table = found.groupby(["latent", "depth", "level"])[["r2", "validation_loss", "ica-embedding"]].mean()
    return table.round(3).reset_index().to_dict("records")


def sweeps(preset: str, _: argparse.Namespace) -> object:
    """The best of each variant over its grid, by simulation and truth level, beside an untrained SAE."""
    if preset == "full":
        for size in ("small", "large"):
            out = RESULTS / "paper" / f"sweep-{size}"
            subprocess.run(["cellprism", "sweep", size, "-o", str(out)], check=True)
            run("recovery_sweep.py", str(out))
    found = rows("recovery_sweep")
    best = found.groupby(["simulation", "latent", "variant", "level"])[["mean_best_abs_r", "share_over_0.95"]].max()
    grid = found.drop_duplicates(
        ["simulation", "latent", "variant", "factor", "lr", "epochs", "l1", "k_percent", "seed"]
    )
    grid = grid.assign(live=grid["n_live"] / grid["width"], redundant=grid["redundant"] / grid["n_live"])
    features = grid.groupby(["simulation", "latent", "variant"])[["live", "redundant", "l0"]].median()
    return {
        "saes": len(grid),
        "best": best.round(3).reset_index().to_dict("records"),
        "features": features.round(3).reset_index().to_dict("records"),
    }


def methods(preset: str, _: argparse.Namespace) -> object:
    """Recovery of the programs (X2) by the paper's SAEs and by what they are held against."""
    if preset == "full":
        run("recovery_methods.py")
    found = rows("recovery_methods")
    table = found[found["level"] == "X2"].groupby("method")[["mean_best_abs_r", "share_over_0.95", "l0"]].mean()
    return table.round(3).sort_values("mean_best_abs_r").reset_index().to_dict("records")


def embedded(path: Path, d: int = 20, *, net: bool = False) -> ad.AnnData:
    """Cells with an embedding of 20 dimensions by principal components, and one by an autoencoder."""
    cells = ad.read_h5ad(path)
    cells.X = cells.X.astype(np.float32)
    pca = prism.embed.train("pca", cells, n_components=d)
    cells.obsm["X_pca"] = pca.encode(cells)
    if net:
        cells.obsm["X_autoencoder"] = prism.embed.train("autoencoder", cells, latent=d, seed=0).encode(cells)
    cells.uns["pca"] = pca
    sc.pp.normalize_total(cells, target_sum=1e4)
    sc.pp.log1p(cells)
    return cells


def paper_sae(Z: np.ndarray, preset: str, seed: int) -> prism.Fit:
    width, epochs = SIZES[preset]
    config = prism.SAEConfig.paper("relu", width, l1=1e-3)
    return prism.fit(Z, config, seed=seed, epochs=epochs, batch_size=128, lr=1e-4, holdout=0, patience=None)


def kinds(preset: str, given: argparse.Namespace) -> object:
    """Local, regional, global and dead features of the paper's SAE over its three seeds, and of random directions."""
    cells = embedded(given.cells)
    Z, labels = np.asarray(cells.obsm["X_pca"]), cells.obs[given.labels].astype(str).to_numpy()
    out = []
    for seed in SEEDS:
        codes = paper_sae(Z, preset, seed).sae.encode(Z)
        counts = cell_type_kinds(codes, labels)["kind"].value_counts().to_dict()
        rng = np.random.default_rng(seed)
        random = np.maximum((Z - Z.mean(axis=0)) @ rng.normal(size=(Z.shape[1], codes.shape[1])), 0)
        chance = cell_type_kinds(random, labels)["kind"].value_counts().to_dict()
        out.append(
            {"seed": seed, "l0": codes.nnz / codes.shape[0], "width": codes.shape[1], "kinds": counts, "random": chance}
        )
    return out


def models(preset: str, given: argparse.Namespace) -> object:
    """Two embeddings annotated and compared by the Jaccard index of their terms, as multiDGD and Geneformer in the paper."""
    cells = embedded(given.cells, net=True)
    sets = prism.genesets.load("bundled")
    symbols = cells.var_names.str.upper()
    found = {}
    for rep in ("X_pca", "X_autoencoder"):
        Z = np.asarray(cells.obsm[rep])
        codes = prism.fit(Z, prism.SAEConfig(128, k=8), seed=0).sae.encode(Z)
        found[rep] = prism.annotate(codes, cells.X, list(cells.var_names), sets, symbols=list(symbols), embedding=Z)
    compared = prism.match(found["X_pca"], found["X_autoencoder"], by="sets")
    table = compared.table
    return compared.info | {
        "mean_partner_jaccard": float(table["partner_jaccard"].mean()),
        "partners_beyond_chance": int((table["partner_qval"] < 0.05).sum()),
        "features": [len(compared.table), len(compared.others)],
    }


def profiles_of(preset: str, given: argparse.Namespace) -> object:
    """Mean activation by cell type of the features of each kind: the paper's SAE and the default one, three seeds each."""
    cells = embedded(given.cells)
    Z, labels = np.asarray(cells.obsm["X_pca"]), cells.obs[given.labels].astype(str).to_numpy()
    dictionaries = {
        "the paper's SAE": [paper_sae(Z, preset, seed) for seed in SEEDS],
        "cellprism": [prism.fit(Z, seed=seed) for seed in SEEDS],
    }
    return profiles(dictionaries, Z, labels, SEEDS)


def steering_of(_: str, given: argparse.Namespace) -> object:
    """A local and a global feature of the default dictionary turned up in cells of one type."""
    cells = embedded(given.cells)
    Z, labels = np.asarray(cells.obsm["X_pca"]), cells.obs[given.labels].astype(str).to_numpy()
    return steering(prism.fit(Z, seed=SEEDS[0]), cells.uns["pca"], cells, Z, labels)


FIGURES: dict[str, Callable[[str, argparse.Namespace], object]] = {
    "superposition": superposition, "sweeps": sweeps, "methods": methods, "kinds": kinds, "profiles": profiles_of,
    "steering": steering_of, "models": models,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figure", choices=[*FIGURES, "all"])
    parser.add_argument("--preset", choices=[*SIZES], default="quick")
    parser.add_argument("--cells", type=Path, help="counts (.h5ad), for all from kinds on")
    parser.add_argument("--labels", help="column of cell types")
    given = parser.parse_args()
    (RESULTS / "paper").mkdir(exist_ok=True)
    FIGURES_OF_PAGE.mkdir(exist_ok=True)
    for name in FIGURES if given.figure == "all" else [given.figure]:
        path = RESULTS / "paper" / f"{name}-{given.preset}.json"
        if not path.exists():
            found = FIGURES[name](given.preset, given)
            path.write_text(json.dumps({"figure": name, "preset": given.preset, "found": found}, default=float) + "\n")
        draw(name, json.loads(path.read_text())["found"], FIGURES_OF_PAGE / f"{name}.png")
        print(path.name)


if __name__ == "__main__":
    main()
