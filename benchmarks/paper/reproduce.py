"""The paper's figures from our own runs, one command a figure, each resumable.

Usage: python benchmarks/paper/reproduce.py FIGURE|all [--preset quick|full] [--cells CELLS.h5ad --labels COLUMN]
       python benchmarks/paper/reproduce.py FIGURE --data bone-marrow|brain|gastrulation [--geneformer EMBEDDINGS.csv]

Writes benchmarks/results/paper/[DATA-]FIGURE-PRESET.json, and leaves alone what is there; the picture,
docs/figures/paper/[DATA-]FIGURE.png, is drawn anew each time. ``superposition``, ``sweeps`` and ``methods`` sum up the rows of the
benchmarks of their names (which add to what they have); full runs these at the published sizes first. The others are
computed here, on real cells. ``--data`` takes the paper's public data and multiDGD's published weights: fetched and checked, or
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
from given import PUBLIC, SIZES, open_cells
from pictures import draw
from real import kinds, models, profiles, steering, terms

HERE = Path(__file__).resolve().parent.parent
FIGURES_OF_PAGE = HERE.parent / "docs" / "figures" / "paper"
RESULTS = HERE / "results"
ARCHITECTURES = ("2-narrow", "4-narrow", "6-narrow", "2-wide", "4-wide", "6-wide")
PUBLISHED = {"quick": "", "full": "_published"}


def rows(name: str) -> pd.DataFrame:
    return pd.DataFrame(json.loads((RESULTS / f"{name}.json").read_text()))


def run(script: str, *words: str) -> None:
    subprocess.run([sys.executable, str(HERE / script), *words], check=True)


def superposition(preset: str) -> object:
    """R2 of a linear probe of each truth level, by completeness (latent) and depth of the autoencoder."""
    if preset == "full":
        run("recovery_superposition.py", "--published", "--seeds", *map(str, range(10)), "--variants", *ARCHITECTURES)
    found = rows("recovery_superposition" + PUBLISHED[preset])
    table = found.groupby(["latent", "depth", "level"])[["r2", "validation_loss", "ica-embedding"]].mean()
    return table.round(3).reset_index().to_dict("records")


def sweeps(preset: str) -> object:
    """The best of each variant over its grid, by simulation and truth level, beside an untrained SAE."""
    if preset == "full":
        for size in ("small", "large"):
            out = RESULTS / "paper" / f"sweep-{size}"
            subprocess.run(["cellprism", "sweep", size, "--full", "-o", str(out)], check=True)
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


def methods(preset: str) -> object:
    """Recovery of the programs (X2) by the paper's SAEs and by what they are held against."""
    if preset == "full":
        run("recovery_methods.py", "--published")
    found = rows("recovery_methods" + PUBLISHED[preset])
    table = found[found["level"] == "X2"].groupby("method")[["mean_best_abs_r", "share_over_0.95", "l0"]].mean()
    return table.round(3).sort_values("mean_best_abs_r").reset_index().to_dict("records")


SIMULATED: dict[str, Callable[[str], object]] = {"superposition": superposition, "sweeps": sweeps, "methods": methods}
REAL = {"kinds": kinds, "profiles": profiles, "steering": steering, "models": models, "terms": terms}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figure", choices=[*SIMULATED, *REAL, "all"])
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
    for name in [*([] if asked.data else SIMULATED), *REAL] if asked.figure == "all" else [asked.figure]:
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
