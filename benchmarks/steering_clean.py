"""Removing batches from an embedding through its features, beside Harmony and a batch-aware scVI.

    python benchmarks/steering_clean.py DATA_FOLDER benchmarks/results

*Simulated*: cells of known types in three batches, each of which catches every gene with an efficiency of its own (log-normal,
SD 0.5 in natural logs, by binomial thinning of the counts). *Real*: two 10x CITE-seq sets of
blood cells (200 each); the types come from surface proteins alone, which no embedding saw: of CD3, CD19, CD14 and CD56
(CD16 for natural killers), standardised within a set, the highest. ``clean`` gets neither types nor proteins.
"""

from __future__ import annotations

import json
import logging
import sys
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
from common import machine
from mixing import mixing
from scipy import sparse

import cellprism as prism
from cellprism import embed
from cellprism.simulate import large
from cellprism.simulate.measurement import Measurement

MARKERS = {"T": "CD3", "B": "CD19", "monocyte": "CD14", "NK": "CD56"}


def simulated() -> ad.AnnData:
    noise = Measurement(noise="nb", library_size=5_000.0)
    cells = large(2_000, 500, 30, 12, held_out=0, measurement=noise)
    cells.obs["type"] = cells.obs["cell_type"]
    rng = np.random.default_rng(1)
    batch = pd.Categorical(cells.obs["batch"].astype(str)).codes
    efficiency = np.exp(0.5 * rng.standard_normal((batch.max() + 1, cells.n_vars)))
    caught = rng.binomial(np.asarray(cells.X).astype(np.int64), (efficiency / efficiency.max())[batch])
    cells.X = sparse.csr_matrix(caught.astype(np.float32))
    return cells


def real(folder: str) -> ad.AnnData:
    parts = {}
    for name in ("pbmc_5k_protein_v3", "pbmc_10k_protein_v3"):
        part = ad.read_h5ad(Path(folder) / f"{name}.h5ad")
        part.var_names_make_unique()
        protein = pd.DataFrame(np.asarray(part.obsm["protein_expression"]), columns=list(part.uns["protein_names"]))
        level = np.log1p(protein)
        level = (level - level.mean()) / level.std()
        at = {kind: next(c for c in level if str(c).split("_")[0] == marker) for kind, marker in MARKERS.items()}
        part.obs["type"] = np.asarray(list(at))[level[list(at.values())].to_numpy().argmax(1)]
        part.obs["batch"] = name
        part.obs_names = [f"{name}-{c}" for c in part.obs_names]
        parts[name] = ad.AnnData(
            sparse.csr_matrix(part.X), obs=part.obs[["type", "batch"]], var=pd.DataFrame(index=part.var_names)
        )
    cells = ad.concat(parts.values(), join="inner")
    X = sparse.csr_matrix(cells.X)
    # The 3,000 genes of the highest dispersion (variance over mean) of those seen in ten cells.
    mean = np.asarray(X.mean(0)).ravel()
    dispersion = (np.asarray(X.multiply(X).mean(0)).ravel() - mean**2) / np.maximum(mean, 1e-9)
    dispersion[np.asarray((X > 0).sum(0)).ravel() < 10] = -1
    return cells[:, np.sort(np.argsort(-dispersion)[:3000])].copy()


def study(name: str, cells: ad.AnnData) -> Iterator[dict[str, Any]]:
    import harmonypy

    logging.getLogger("harmonypy").setLevel(logging.WARNING)

    batch, types = cells.obs["batch"].astype(str).to_numpy(), cells.obs["type"].astype(str).to_numpy()
    pca = embed.train("pca", cells, n_components=20)
    Z = pca.encode(cells)
    fitted = prism.fit(Z, seed=0)
    corrected: dict[str, tuple[np.ndarray, dict[str, int]]] = {"PCA, as it is": (Z, {})}
    for label, options in {
        "PCA, clean": {},
        "PCA, clean, residual equalised": {"residual": "equalise"},
        "PCA, clean, types told": {"labels": types},
        "PCA, clean, residual and features that read both equalised": {
            "residual": "equalise",
            "reads_both": "equalise",
        },
    }.items():
        done = prism.clean(fitted.sae, Z, batch, **options)
        corrected[label] = (done.embedding, dict(Counter(done.features["action"])))
    harmony = np.asarray(harmonypy.run_harmony(Z.astype(np.float64), pd.DataFrame({"batch": batch}), "batch").Z_corr)
    corrected["PCA, Harmony"] = (harmony if harmony.shape == Z.shape else harmony.T, {})
    for label, (values, actions) in corrected.items():
        yield {"cells": name, "method": label, **mixing(values, types, batch), "features": actions}
    aware = embed.train("scvi", cells, n_latent=20, batch="batch", epochs=80).encode(cells)
    yield {"cells": name, "method": "scVI, batch-aware", **mixing(aware, types, batch), "features": {}}


def main(folder: str, results: str, only: str = "simulated,real") -> None:
    warnings.simplefilter("ignore")
    out = Path(results) / "steering_clean.json"
    rows = json.loads(out.read_text())["rows"] if out.exists() else []
    for name in only.split(","):
        for row in study(name, simulated() if name == "simulated" else real(folder)):
            print(row, flush=True)
            rows = [r for r in rows if (r["cells"], r["method"]) != (name, row["method"])] + [row]
            out.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
