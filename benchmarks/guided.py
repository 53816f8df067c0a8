"""What features that follow genes add, beside as many directions at random: docs/recipe.md.

    python benchmarks/guided.py DATA_FOLDER [--sets paul paul-scvi …] [--seeds 0 1]

The best single feature of each label on cells that did not choose it, as a share of a linear probe (F1 and AUROC), of the automatic
recipe alone, with features that follow genes (``fit(guide=...)``), and with as many random directions. NAME is principal components of
all molecules, NAME-MODEL another embedding of at most 3,000 cells.
"""

from __future__ import annotations

import argparse
import json
from functools import cache
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp
from common import machine
from evaluation import SETS, cells
from recipe_choice import told

import cellprism as prism
from cellprism.data.state import to_log1p
from cellprism.evaluation.probing import linear_probe, make_folds, usable_targets
from cellprism.evaluation.rivals import fit_rival
from cellprism.evaluation.targets import read_truth

MODELS = ("paul-dgd", "kang-dgd", "paul-autoencoder", "paul-scvi", "kang-scvi")
CELLS = 3_000


@cache
def embedding(name: str, folder: Path) -> tuple[np.ndarray, sp.csr_array, dict[str, Any]]:
    """Embedding (trained once, whatever the seed of the fit), log expression and truth."""
    of, _, model = name.partition("-")
    file, truth = SETS[of]
    if not model:
        return cells(folder / f"{file}.h5ad", truth)
    data = ad.read_h5ad(folder / f"{file}.h5ad")
    if data.n_obs > CELLS:
        data = data[np.sort(np.random.default_rng(0).permutation(data.n_obs)[:CELLS])].copy()
    X = np.ascontiguousarray(prism.embed.train(model, data, seed=0).encode(data), dtype=np.float32)
    known = {column: data.obs[column].astype(str).to_numpy() for column in truth}
    return X, to_log1p(sp.csr_array(data.X, dtype=np.float32), "counts"), known


def measure(name: str, folder: Path, seed: int) -> list[dict[str, Any]]:
    """A row a dictionary."""
    X, log, known = embedding(name, folder)
    columns, _ = read_truth(known, len(X))
    folds = make_folds(len(X), None, seed)
    targets, _ = usable_targets(columns, folds)
    probe = linear_probe(X, targets, folds)
    codes = {"recipe": prism.fit(X, seed=seed).sae.encode(X)}
    fitted = prism.fit(X, seed=seed, guide=log)
    codes["with genes"] = fitted.sae.encode(X)
    n = fitted.sae.config.guided
    if n:
        random = fit_rival("random", X, n, seed=seed).encode(X)
        codes["with random directions"] = sp.csr_array(sp.hstack([codes["recipe"], random], format="csr"))
    return [
        {"set": name, "seed": seed, "dictionary": which, "features": found.shape[1], "l0": found.nnz / len(X)}
        | told(found, targets, folds, probe)
        for which, found in codes.items()
    ]


def markdown(rows: list[dict[str, Any]]) -> str:
    """Sets down, dictionaries across, F1 / AUROC as shares of the probe, mean over seeds."""
    table = pd.DataFrame(rows).groupby(["set", "dictionary"], sort=False)[["f1", "auroc", "features"]].mean()
    names = table.index.get_level_values(1).unique()
    lines = ["| | " + " | ".join(names) + " |", "|---|" + "---|" * len(names)]
    for name, of in table.groupby(level=0, sort=False):
        shown = of.droplevel(0)
        cells_ = [
            f"{shown.f1[w]:.2f} / {shown.auroc[w]:.3f} ({shown.features[w]:.0f})" if w in shown.index else "–"
            for w in names
        ]
        lines.append(f"| {name} | " + " | ".join(cells_) + " |")
    return "\n".join(lines)


def main() -> None:
    """Measure, save, print the table of the docs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sets", nargs="*", default=[*SETS, *MODELS])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "guided.json")
    args = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for name in args.sets:
        for seed in args.seeds:
            for row in measure(name, args.folder, seed):
                rows.append(
                    {k: round(float(v), 4) if isinstance(v, float | np.floating) else v for k, v in row.items()}
                )
                print(rows[-1], flush=True)
            args.output.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=0) + "\n")
    print(markdown(rows))


if __name__ == "__main__":
    main()
