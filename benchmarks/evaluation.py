"""One-feature probing of every data set with a truth, by every dictionary: docs/evaluation.md.

    python benchmarks/evaluation.py DATA_FOLDER [--seeds N …] [--sets paul …] [--quick] [--also drvi] [--codes FOLDER]

DATA_FOLDER holds the .h5ad files named below. PCA of log counts; every dictionary is fitted to all cells without their labels,
features and thresholds are chosen on one half and scored on the other, and the reverse. ``--codes`` holds against codes kept by
``drvi_codes.py`` too.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp
from common import machine
from sklearn.decomposition import PCA

import cellprism as prism
from cellprism.data.state import to_log1p
from cellprism.evaluation.result import THIS
from cellprism.evaluation.rivals import RIVALS, STANDARD
from cellprism.sae.geometry import MAX_AXES

# Name -> file, columns or tables that the embedding is not told.
SETS: dict[str, tuple[str, tuple[str, ...]]] = {
    "paul": ("paul2015_mouse_marrow_tradeseq", ("cluster",)),
    "kang": ("kang2018_ifnb_muscat", ("cell_type", "condition")),
    "eccite": ("citeseq_eccite_pbmc_citefuse", ("obsm:protein_expression",)),
    "pbmc5k": ("pbmc_5k_protein_v3", ("obsm:protein_expression",)),
    "pbmc10k": ("pbmc_10k_protein_v3", ("obsm:protein_expression",)),
    "kang8": ("kang2018_ctrl_8donors_muscat", ("cell_type",)),
    "glioblastoma": ("glioblastoma_panobinostat_zhao2021_lemur", ("condition",)),
    "papalexi": ("papalexi2021_thp1_crispr_sceptre", ("perturbation",)),
}
COMPONENTS = 30


def cells(file: Path, truth: tuple[str, ...]) -> tuple[np.ndarray, sp.csr_array, dict[str, Any]]:
    """Principal components of log counts, log counts, and the truth."""
    data = ad.read_h5ad(file)
    log = to_log1p(sp.csr_array(data.X, dtype=np.float32), "counts")
    X = PCA(COMPONENTS, svd_solver="randomized", random_state=0).fit_transform(log.toarray()).astype(np.float32)
    known: dict[str, Any] = {}
    for name in truth:
        key = name.removeprefix("obsm:")
        known[key] = data.obsm[key] if name != key else data.obs[name].astype(str).to_numpy()
        if "protein_names" in data.uns and name != key:
            known[key] = pd.DataFrame(np.asarray(data.obsm[key]), columns=list(data.uns["protein_names"]))
    return X, log, known


def kept_codes(name: str, folder: Path | None) -> dict[str, sp.csr_array]:
    """Rival -> its codes of a data set, from files ``SET.RIVAL.npz``."""
    files = [] if folder is None else sorted(folder.glob(f"{name}.*.npz"))
    return {file.name.split(".")[1]: sp.csr_array(sp.load_npz(file)) for file in files}


def measure(name: str, folder: Path, seed: int, rivals: list[str], codes: Path | None = None) -> dict[str, Any]:
    """Means over targets, differences, and seconds."""
    file, truth = SETS[name]
    X, log, known = cells(folder / f"{file}.h5ad", truth)
    start = time.perf_counter()
    fitted = prism.fit(X, seed=seed)
    fit_seconds = time.perf_counter() - start
    plain = prism.fit(X, prism.SAEConfig(4 * COMPONENTS, "topk", k=8), seed=seed).sae
    reading = prism.SAEConfig(min(COMPONENTS, MAX_AXES), "jumprelu", pre_bias="none", init="geometry")
    others = {"topk": plain, "reading": prism.fit(X, reading, seed=seed).sae}
    others |= kept_codes(name, codes)
    start = time.perf_counter()
    found = prism.evaluate(fitted.sae, X, known, expression=log, others=others, rivals=rivals, seed=seed)
    seconds = time.perf_counter() - start
    means = found.table[found.table["target"] == "mean"].drop(columns="target")
    gaps = found.differences[found.differences["target"] == "mean"].drop(columns="target")
    return {
        "set": name,
        "seed": seed,
        "cells": len(X),
        "targets": int(found.features["target"].nunique()),
        "recipe": fitted.sae.config.activation,
        "width": fitted.sae.width,
        "fit_seconds": round(fit_seconds, 1),
        "evaluate_seconds": round(seconds, 1),
        "means": means.round(4).to_dict("records"),
        "differences": gaps.round(4).to_dict("records"),
        "summary": found.summary().splitlines(),
    }


def markdown(results: list[dict[str, Any]], measure_name: str) -> str:
    """Table of means: sets across, dictionaries down, mean over seeds."""
    rows = []
    for one in results:
        for row in one["means"]:
            if row["measure"] == measure_name and row["k"] == 1:
                rows.append((one["set"], row["dictionary"], row["value"]))
                if row["dictionary"] == THIS:
                    rows.append((one["set"], "linear probe", row["ceiling"]))
    table = pd.DataFrame(rows, columns=["set", "dictionary", "value"])
    wide = table.pivot_table(index="dictionary", columns="set", values="value", sort=False)
    names = {THIS: "the automatic recipe"} | {n: r.words for n, r in RIVALS.items()}
    lines = ["| | " + " | ".join(map(str, wide.columns)) + " |", "|---|" + "---|" * wide.shape[1]]
    for name, values in wide.iterrows():
        lines.append(f"| {names.get(str(name), name)} | " + " | ".join(f"{v:.3f}" for v in values) + " |")
    return "\n".join(lines)


def verdicts(results: list[dict[str, Any]], measure_name: str) -> str:
    """A row a set and seed: share of the ceiling, and the paired difference to the strongest null and rival with its interval."""
    head = [
        "set",
        "seed",
        "cells",
        "targets",
        "recipe",
        "value (95 %)",
        "of the probe",
        "strongest null",
        "strongest rival",
    ]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for one in results:
        kept = [r for r in one["means"] if r["measure"] == measure_name and r["k"] == 1]
        mine = next(r for r in kept if r["dictionary"] == THIS)
        gaps = [g for g in one["differences"] if g["measure"] == measure_name and g["k"] == 1]
        told = []
        for kind in ("null", "rival"):
            best = min((g for g in gaps if RIVALS.get(g["rival"]) and RIVALS[g["rival"]].kind == kind),
                       key=lambda g: g["difference"])  # fmt: skip
            told.append(
                f"{RIVALS[best['rival']].words}: {best['difference']:+.2f} ({best['low']:+.2f} to {best['high']:+.2f})"
            )
        cells = [one["set"], one["seed"], f"{one['cells']:,}", one["targets"], f"{one['recipe']}, {one['width']}"]
        cells += [
            f"{mine['value']:.2f} ({mine['low']:.2f} to {mine['high']:.2f})",
            f"{mine['value'] / mine['ceiling']:.2f}",
        ]
        lines.append("| " + " | ".join(map(str, [*cells, *told])) + " |")
    return "\n".join(lines)


def main() -> None:
    """Measure, save, print the table of the docs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--sets", nargs="*", default=list(SETS))
    parser.add_argument("--quick", action="store_true", help="only rivals that need no training, and NMF")
    parser.add_argument("--also", nargs="*", default=[], help="rivals that need an optional package: drvi")
    parser.add_argument("--codes", type=Path, help="folder of codes kept by drvi_codes.py")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "evaluation.json")
    args = parser.parse_args()
    rivals = [name for name in STANDARD if not args.quick or RIVALS[name].cost != "trained"] + args.also
    results = []
    for name in args.sets:
        for seed in args.seeds:
            results.append(measure(name, args.folder, seed, rivals, args.codes))
            print(name, seed, *results[-1]["summary"], sep="\n  ", flush=True)
            content = {"machine": machine(), "components": COMPONENTS, "results": results}
            args.output.write_text(json.dumps(content, indent=1) + "\n")
    for m in ("probe_f1", "probe_auroc"):
        print(f"\n{m}\n{markdown(results, m)}\n\n{verdicts(results, m)}")


if __name__ == "__main__":
    main()
