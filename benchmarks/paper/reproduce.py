"""The paper's figures from our own runs, one command a figure, each resumable.

Usage: python benchmarks/paper/reproduce.py FIGURE ...|all [--preset quick|full] [--cells CELLS.h5ad --labels COLUMN]
       python benchmarks/paper/reproduce.py FIGURE ... --data bone-marrow|brain|gastrulation [--geneformer EMBEDDINGS.csv]

Writes benchmarks/results/paper/[DATA-]FIGURE-PRESET.json, and leaves alone what is there; the picture,
docs/figures/paper/[DATA-]FIGURE.png, is drawn anew each time. ``superposition``, ``sweeps`` and ``methods`` train on simulated cells, by the
benchmarks of their names: quick at a fortieth of the genes (sweeps: a tenth) and with shorter training, full at the published
sizes. The others are computed here, on real cells. ``--data`` takes the paper's public data and multiDGD's published weights: fetched and checked, or
from files (--cells, --weights, --settings).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
from given import CACHE, PUBLIC, SIZES, open_cells
from pictures import draw
from real import kinds, models, profiles, steering, terms

HERE = Path(__file__).resolve().parent.parent
FIGURES_OF_PAGE = HERE.parent / "docs" / "figures" / "paper"
RESULTS = HERE / "results"
ARCHITECTURES = ("2-narrow", "4-narrow", "6-narrow", "2-wide", "4-wide", "6-wide")
SIMULATIONS = {"quick": ("0",), "full": tuple(map(str, range(10)))}
"""Seeds of the large simulation; full is the paper's ten data sets."""
LATENTS = {"quick": ("20", "100", "150"), "full": ("20", "100", "150", "1000")}
GRIDS: dict[str, dict[str, tuple[str, ...]]] = {
    "quick": {"small": (), "large": ("--short", "--variants", "vanilla,relu,topk,batchtopk,jumprelu")},
    "full": {"small": ("--full",), "large": ("--full",)},
}
"""Of the sweeps, by simulation: quick is the published grid of one rate on the small one, a look at the large one."""


def rows(figure: str, preset: str, script: str, *words: str) -> pd.DataFrame:
    """What a benchmark finds, kept row by row beside the figure: a stopped one goes on, one that is whole trains nothing."""
    into = (RESULTS / "paper" / f"{figure}-{preset}-rows.json").resolve()
    size = ["--published"] if preset == "full" else []
    subprocess.run([sys.executable, str(HERE / script), *words, *size, "--into", str(into)], check=True)
    return pd.DataFrame(json.loads(into.read_text()))


def superposition(preset: str) -> object:
    """R2 of a linear probe of each truth level, by completeness (latent) and architecture of the autoencoder."""
    words = ["--seeds", *SIMULATIONS[preset], "--variants", *ARCHITECTURES, "--latents", *LATENTS[preset]]
    found = rows("superposition", preset, "recovery_superposition.py", *words)
    by = found.groupby(["latent", "depth", "shape", "level"])
    table = by[["r2", "validation_loss", "ica-embedding", "pca-embedding"]].mean().assign(seeds=by["seed"].nunique())
    return table.round(3).reset_index().to_dict("records")


def sweeps(preset: str) -> object:
    """The best of each variant over its grid, by simulation and truth level, beside an untrained SAE."""
    folders = []
    for size, words in GRIDS[preset].items():
        folders.append(CACHE / f"sweep-{size}-{preset}")
        subprocess.run([sys.executable, "-m", "cellprism", "sweep", size, *words, "-o", str(folders[-1])], check=True)
    into = (RESULTS / "paper" / f"sweeps-{preset}-rows.json").resolve()
    subprocess.run(
        [sys.executable, str(HERE / "recovery_sweep.py"), *map(str, folders), "--into", str(into)], check=True
    )
    found = pd.DataFrame(json.loads(into.read_text()))
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


def methods(preset: str) -> object:
    """Recovery of the programs (X2) by the paper's SAEs and by what they are held against."""
    found = rows("methods", preset, "recovery_methods.py", "--seeds", *SIMULATIONS[preset])
    by = found[found["level"] == "X2"].groupby("method")
    table = by[["mean_best_abs_r", "share_over_0.95", "l0"]].mean().assign(seeds=by["seed"].nunique())
    return table.round(3).sort_values("mean_best_abs_r").reset_index().to_dict("records")


SIMULATED: dict[str, Callable[[str], object]] = {"superposition": superposition, "sweeps": sweeps, "methods": methods}
REAL = {"kinds": kinds, "profiles": profiles, "steering": steering, "models": models, "terms": terms}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figure", nargs="+", choices=[*SIMULATED, *REAL, "all"])
    parser.add_argument("--preset", choices=[*SIZES], default="quick")
    parser.add_argument("--cells", type=Path, help="counts (.h5ad or .h5mu)")
    parser.add_argument("--labels", help="column of cell types")
    parser.add_argument("--data", choices=[*PUBLIC], help="one of the paper's sets")
    parser.add_argument("--weights", type=Path, help="multiDGD's NAME.pt, where it is not to be fetched")
    parser.add_argument(
        "--settings", type=Path, help="its NAME_hyperparameters.json, where it is not beside the weights"
    )
    parser.add_argument("--geneformer", type=Path, help="cell embeddings (.csv of its EmbExtractor, .npz, .parquet)")
    parser.add_argument("--sets", nargs="+", help="gene sets (.gmt), instead of the bundled ones")
    parser.add_argument("--symbols", help="column of var with human symbols")
    parser.add_argument("--source", help="type of the cells that are steered")
    parser.add_argument("--target", help="type that they are steered to")
    asked = parser.parse_args()
    (RESULTS / "paper").mkdir(exist_ok=True)
    FIGURES_OF_PAGE.mkdir(exist_ok=True)
    given = None
    everything = [*([] if asked.data else SIMULATED), *REAL]
    for name in everything if "all" in asked.figure else asked.figure:
        called = f"{asked.data}-{name}" if asked.data else name
        path = RESULTS / "paper" / f"{called}-{asked.preset}.json"
        if not path.exists():
            if name in REAL and given is None:
                given = open_cells(asked)
            found = REAL[name](asked.preset, given) if name in REAL else SIMULATED[name](asked.preset)
            about = {"figure": called, "preset": asked.preset, "found": found}
            path.write_text(json.dumps(about, default=float) + "\n")
        draw(name, json.loads(path.read_text())["found"], FIGURES_OF_PAGE / f"{called}.png")
        print(path.name)


if __name__ == "__main__":
    main()
