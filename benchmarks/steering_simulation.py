"""Steering where the truth is known: does a program's feature change that program's genes, and no others?

    python benchmarks/steering_simulation.py benchmarks/results docs/figures

The paper's large simulation at a modest size, embedded by an autoencoder or by a deep generative decoder, its embedding
split into features by the automatic recipe. Every program that a feature follows (|r| of the held-out cells above 0.95)
is steered: its feature is set to the 90th percentile of its active cells, in cells where it is silent. The change of
each decoded gene is held against the true adjacency of programs and genes, beside the same for covariance-matched
random moves of the same length.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from common import machine
from numpy.typing import NDArray
from scipy import stats

from cellprism import embed
from cellprism.sae.recipe import fit_auto
from cellprism.simulate import large
from cellprism.simulate.measurement import Measurement
from cellprism.steering.decode import columns, decode_rates, log2_change
from cellprism.steering.edit import Edit, edited_values, moved
from cellprism.steering.nulls import null_moves, random_directions

WORLD: dict[str, Any] = {"n_cells": 8_000, "n_genes": 600, "n_programs": 40, "held_out": 1_000}
MODELS: dict[str, tuple[Measurement | None, dict[str, Any]]] = {
    "autoencoder": (None, {"latent": 50, "depth": 2, "lr": 2e-3, "epochs": 60, "patience": 10, "transform": "none"}),
    "dgd": (Measurement(noise="poisson", library_size=20_000.0), {"latent": 50, "epochs": 100}),
}
CELLS = 200
FOUND = 0.95


def auroc(score: NDArray[Any], inside: NDArray[np.bool_]) -> float:
    """Chance that a gene of the program has a larger score than another."""
    ranks = stats.rankdata(score)
    n = int(inside.sum())
    return float((ranks[inside].sum() - n * (n + 1) / 2) / (n * (len(score) - n)))


def study(kind: str, seed: int) -> dict[str, Any]:
    started = time.process_time()
    measurement, options = MODELS[kind]
    cells = large(seed=seed, measurement=measurement, **WORLD)
    train = cells[(cells.obs["split"] == "train").to_numpy()]
    held = (cells.obs["split"] != "train").to_numpy()
    model = embed.train(kind, train, seed=seed, **options)
    Z = model.encode(cells)
    fitted = fit_auto(Z[~held], preset="quick", seed=seed)
    codes = fitted.sae.encode(Z)
    truth = np.asarray(cells.obsm["X2_truth"])
    live = np.flatnonzero(np.diff(codes[held].tocsc().indptr))
    dense = codes[held][:, live].toarray()
    r = np.corrcoef(truth[held].T, dense.T)[: truth.shape[1], truth.shape[1] :]
    best = np.abs(np.nan_to_num(r))
    rng = np.random.default_rng(seed)
    adjacency = np.asarray(cells.varm["program_gene"]).astype(bool)
    rows_of: list[dict[str, Any]] = []
    _, modality = columns(model)
    for p in np.flatnonzero(best.max(1) > FOUND):
        feature = int(live[best[p].argmax()])
        silent = np.flatnonzero(codes[:, [feature]].toarray().ravel() == 0)
        rows = np.sort(rng.choice(silent, min(CELLS, silent.size), replace=False))
        at, before, after = edited_values(codes, feature, Edit("quantile", 0.9), rows)
        move = moved(fitted.sae, codes.shape[1], at, before, after)
        part = cells[rows]
        base = decode_rates(model, Z[rows], part)

        def change(by: NDArray[Any], rows: Any = rows, part: Any = part, base: Any = base) -> NDArray[np.float32]:
            return log2_change(base, decode_rates(model, Z[rows] + by, part), modality).mean(0)

        observed = change(move)
        inside = adjacency[:, p]
        null = [change(m) for m in null_moves(move, random_directions("covariance", 10, Z, rng))]
        square = observed.astype(float) ** 2
        others = [auroc(np.abs(observed), adjacency[:, q]) for q in range(adjacency.shape[1]) if q != p]
        rows_of.append(
            {
                "program": int(p),
                "feature": feature,
                "abs_r": float(best[p].max()),
                "auroc": auroc(np.abs(observed), inside),
                "auroc_signed": auroc(observed, inside),
                "auroc_other_programs": float(np.median(others)),
                "auroc_null": float(np.median([auroc(np.abs(n), inside) for n in null])),
                "off_target_share": float(square[~inside].sum() / square.sum()),
                "change_inside": float(observed[inside].mean()),
                "change_outside": float(observed[~inside].mean()),
            }
        )
    found = (
        {k: float(np.median([row[k] for row in rows_of])) for k in rows_of[0] if k not in ("program", "feature")}
        if rows_of
        else {}
    )
    return {
        "model": kind,
        "seed": seed,
        "world": WORLD,
        "programs": int(adjacency.shape[1]),
        "recovered": len(rows_of),
        "width": fitted.sae.width,
        "median": found,
        "share_auroc_95": float(np.mean([row["auroc"] >= 0.95 for row in rows_of])) if rows_of else None,
        "cpu_seconds": time.process_time() - started,
        "rows": rows_of,
    }


def draw(records: list[dict[str, Any]], path: Path) -> None:
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(1, len(records), figsize=(5 * len(records), 4), constrained_layout=True, squeeze=False)
    for ax, record in zip(axes[0], records, strict=True):
        for key, label in (
            ("auroc", "its own genes"),
            ("auroc_null", "its genes, random moves"),
            ("auroc_other_programs", "other programs' genes"),
        ):
            ax.hist([row[key] for row in record["rows"]], np.linspace(0, 1, 41), alpha=0.6, label=label)
        ax.set(
            title=f"{record['model']}: {record['recovered']} of {record['programs']} programs recovered",
            xlabel="AUROC of the absolute gene change",
            ylabel="programs",
        )
        ax.legend()
    path.mkdir(parents=True, exist_ok=True)
    fig.savefig(path / "steering_simulation.png", dpi=110)
    plt.close(fig)


def main(results: str, figures: str, kinds: str = "autoencoder,dgd", seeds: str = "0") -> None:
    out = Path(results) / "steering_simulation.json"
    kept = json.loads(out.read_text())["records"] if out.exists() else []
    for kind in kinds.split(","):
        for seed in map(int, seeds.split(",")):
            record = study(kind, seed)
            kept = [r for r in kept if (r["model"], r["seed"]) != (kind, seed)] + [record]
            print({k: v for k, v in record.items() if k != "rows"}, flush=True)
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_text(json.dumps({"machine": machine(), "records": kept}, indent=1) + "\n")
    draw([r for r in kept if r["seed"] == 0 and r["rows"]], Path(figures))


if __name__ == "__main__":
    main(*sys.argv[1:])
