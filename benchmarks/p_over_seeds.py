"""How far p values move over seeds, and over other orders of cells and genes, on simulated cells and on the demo's.

python benchmarks/p_over_seeds.py --sizes 1500 6000 12000
"""

from __future__ import annotations

import argparse
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from common import machine

import cellprism as prism
from cellprism.demo import demo_cells
from cellprism.embed.pca import log_normalise
from cellprism.evaluation.result import better_than_all
from cellprism.simulate.measurement import Measurement

KEYS = ["feature", "set", "direction"]


class World:
    """Cells with 20 programmes, codes that follow some of them, and sets of the programmes' genes and of random ones."""

    def __init__(self, n_cells: int) -> None:
        noise = Measurement(noise="poisson", library_size=3_000.0)
        cells = prism.simulate.large(n_cells, 600, 20, 8, held_out=0, measurement=noise)
        rng = np.random.default_rng(0)
        truth = np.asarray(cells.obsm["X2_truth"])
        noisy = np.column_stack([truth, truth[:, :10]]) + rng.normal(scale=4, size=(n_cells, 30))
        bar = np.quantile(noisy, 1 - np.geomspace(0.005, 0.3, 30), axis=0).diagonal()
        self.codes = np.maximum(noisy - bar, 0).astype(np.float32)
        self.expression = log_normalise(sp.csr_array(cells.X))
        self.genes = list(cells.var_names)
        driven = np.asarray(cells.varm["program_gene"]).T > 0
        self.sets = {f"programme {i}": [self.genes[g] for g in np.flatnonzero(row)] for i, row in enumerate(driven)}
        for i, size in enumerate(np.geomspace(5, 80, 80).astype(int)):
            self.sets[f"random {i}"] = [self.genes[g] for g in rng.choice(600, size, replace=False)]

    def tested(self, seed: int = 0, *, cells: Any = slice(None), genes: Any = None) -> pd.DataFrame:
        """P values of all features and sets."""
        columns = np.arange(len(self.genes)) if genes is None else genes
        found = prism.annotate(
            self.codes[cells], self.expression[cells][:, columns], [self.genes[g] for g in columns], self.sets,
            keep="all", nulls=(), seed=seed,
        )  # fmt: skip
        return found.sets.set_index(KEYS).sort_index()


def moved(base: pd.DataFrame, other: pd.DataFrame) -> dict[str, float]:
    """How far p moves where either is below 0.05: factors, and the findings that change."""
    out: dict[str, float] = {}
    for name in ("pval_rank", "pval_ora"):
        a, b = base[name].to_numpy(), other.reindex(base.index)[name].to_numpy()
        near = np.minimum(a, b) < 0.05
        ratio = np.exp(np.abs(np.log(np.maximum(a[near], 1e-300)) - np.log(np.maximum(b[near], 1e-300))))
        out |= {
            f"{name}_median": float(np.median(ratio)),
            f"{name}_99": float(np.quantile(ratio, 0.99)),
            f"{name}_most": float(ratio.max()),
        }
        in_decades = np.abs(np.log(a[near]) - np.log(b[near])) / np.maximum(-np.log(np.minimum(a, b)[near]), 1)
        out[f"{name}_most_of_log_p"] = float(in_decades.max())
    a, b = base["qval"] < 0.05, other.reindex(base.index)["qval"] < 0.05
    return out | {"findings": int(a.sum()), "findings_changed": int((a != b).sum())}


def of_sets(n_cells: int) -> dict[str, dict[str, float]]:
    """The worst over five of each change."""
    world = World(n_cells)
    base = world.tested()
    rng = np.random.default_rng(1)
    changes = {
        "seeds": lambda i: world.tested(i + 1),
        "cells permuted": lambda i: world.tested(cells=rng.permutation(n_cells)),
        "genes permuted": lambda i: world.tested(genes=rng.permutation(600)),
    }
    out = {}
    for name, change in changes.items():
        found = pd.DataFrame([moved(base, change(i)) for i in range(5)])
        out[name] = {k: round(float(v), 6) for k, v in found.max().items()}
        print(n_cells, name, out[name], flush=True)
    return out


def of_evaluation() -> dict[str, Any]:
    """P of differences over five seeds, of rivals that are drawn anew and of those that are not, on the demo's cells."""
    cells = demo_cells()
    Z = np.asarray(cells.obsm["X_pca"], dtype=np.float32)
    codes = prism.fit(Z, seed=0).sae.encode(Z)
    truth = {"type": cells.obs["bulk_labels"].to_numpy(dtype=object)}
    log = sp.csr_array(cells.raw.X)
    rows = [prism.evaluate(codes, Z, truth, expression=log, seed=i).differences.assign(seed=i) for i in range(5)]
    table = pd.concat(rows)
    p = table.pivot_table(index=["measure", "target", "rival", "k"], columns="seed", values="pval").dropna()
    drawn = p.index.get_level_values("rival").str.contains("random|permuted|untrained|shuffled")
    f1 = table[(table["measure"] == "probe_f1") & (table["k"] == 1) & table["rival"].isin(["random", "untrained"])]
    told = [len(better_than_all(f1[f1["seed"] == i])) for i in range(5)]
    mean = table[(table["measure"] == "probe_f1") & (table["target"] == "mean")].pivot(
        index="rival", columns="seed", values="difference"
    )
    out: dict[str, Any] = {"labels": int(f1["target"].nunique() - 1), "told_better_than_drawn_nulls": told}
    out["mean_difference_sd"] = {str(k): round(float(v), 4) for k, v in mean.std(axis=1).items()}
    print(out, flush=True)
    for name, part in (("drawn rivals", p[drawn]), ("other rivals", p[~drawn])):
        middle, sd = part.mean(axis=1), part.std(axis=1)
        near = (middle > 0.002) & (middle < 0.5)
        error = np.sqrt(middle * (1 - middle) / 1_000)
        out[name] = {
            "tests": len(part), "near": int(near.sum()), "sd_median": round(float(sd[near].median()), 4),
            "sd_most": round(float(sd[near].max()), 4), "of_draws_median": round(float(error[near].median()), 4),
            "decisions_changed": int(((part < 0.05).any(axis=1) & (part >= 0.05).any(axis=1)).sum()),
        }  # fmt: skip
        print(name, out[name], flush=True)
    return out


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="*", default=[1_500, 6_000, 12_000])
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    found = {"sets": {n: of_sets(n) for n in arguments.sizes}, "evaluation": of_evaluation(), "machine": machine()}
    target = Path(__file__).parent / "results" / "p_over_seeds.json"
    target.write_text(json.dumps(found, indent=1) + "\n")
