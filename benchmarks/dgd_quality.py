"""Quality of the deep generative decoder beside MultiVI, scVI, PCA and the public multiDGD.

    python benchmarks/dgd_quality.py PATH_OF_A_MULTIDGD_CHECKOUT benchmarks/results

Simulated RNA + ATAC cells of known types in three batches. Each model is trained on the training cells and takes the
others through the same two calls, ``encode`` and ``decode``: half of the molecules of a held-out cell are embedded, and
the likelihood of the other half of its RNA under the decoded shares is the score (nats a molecule; that of the mean of
the training cells is taken off, so 0 is no knowledge). The public implementation is trained by its own code and read
into this package's class, so its decoder is scored by the same code. Types and batches are scored by scib-metrics on the
training cells. Passes: 100 for this package's decoder and scVI, 300 for MultiVI and 600 for the public implementation, which
had learned nothing of the types after 100.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import mudata
import numpy as np
import pandas as pd
import torch
from common import machine
from mixing import mixing
from scipy import sparse

from cellprism import embed
from cellprism.embed.dgd_checkpoint import read_multidgd
from cellprism.simulate import multiome
from cellprism.simulate.measurement import Measurement

WORLD: dict[str, Any] = {"n_cells": 2_000, "n_genes": 400, "n_peaks": 600, "n_programs": 30, "n_cell_types": 20}
HELD = 400
OURS: dict[str, tuple[str, bool, dict[str, Any]]] = {
    # name: model, all modalities, options
    "cellprism dgd": ("dgd", True, {"latent": 20, "n_components": 20, "epochs": 100, "batch": "batch"}),
    "cellprism dgd, RNA alone": ("dgd", False, {"latent": 20, "n_components": 20, "epochs": 100, "batch": "batch"}),
    "MultiVI": ("scvi", True, {"kind": "MULTIVI", "n_latent": 20, "epochs": 300, "batch": "batch"}),
    "scVI, RNA alone": ("scvi", False, {"n_latent": 20, "epochs": 100, "batch": "batch"}),
    "PCA, RNA alone": ("pca", False, {"n_components": 20}),
}


def halves(cells: mudata.MuData, seed: int) -> tuple[mudata.MuData, Any]:
    """The cells with half of their molecules, and the other half of the RNA."""
    rng = np.random.default_rng(seed)
    parts, other = {}, None
    for name, part in cells.mod.items():
        one = part.copy()
        X = sparse.csr_matrix(part.X)
        kept = X.copy()
        kept.data = rng.binomial(X.data.astype(int), 0.5).astype(np.float32)
        one.X = kept
        one.obs_names = [f"half-{c}" for c in part.obs_names]
        parts[name] = one
        if name == "rna":
            other = (X - kept).tocsr()
    out = mudata.MuData(parts)
    out.obs["batch"] = cells.obs["batch"].to_numpy()
    return out, other


def score(rates: np.ndarray, counts: Any, base: np.ndarray) -> float:
    """Nats a molecule beyond the mean profile."""
    share = rates.astype(float) + 1e-8
    share /= share.sum(1, keepdims=True)
    C = counts.toarray()
    return float((C * (np.log(share) - np.log(base))).sum() / C.sum())


def public(train: mudata.MuData, checkout: str, epochs: int) -> Any:
    """The public implementation, trained by its own code and read into the class of this package."""
    sys.path.insert(0, str(Path(checkout) / "src"))
    import multiDGD

    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        data = train.copy()
        # It wants validation cells where there is a covariate: one in twenty, as this package holds out.
        split = np.where(np.arange(data.n_obs) % 20 == 0, "validation", "train")
        data.obs["train_val_test"] = pd.Categorical(split)
        data.obs["observable"] = train.obs["type"].to_numpy()
        data.obs["covariate_batch"] = pd.Categorical(train.obs["batch"].to_numpy())
        hyper = {"latent_dimension": 20, "n_components": 20}
        model = multiDGD.DGD(data, parameter_dictionary=hyper, save_dir=f"{folder}/", random_seed=0)
        model.train(n_epochs=epochs)
        model.save()
        (file,) = Path(folder).glob("*.pt")
        return read_multidgd(file, data, covariate="batch")


def main(checkout: str, results: str, only: str = "") -> None:
    warnings.simplefilter("ignore")
    mudata.set_options(pull_on_update=False)
    torch.set_num_threads(1)
    cells = multiome(held_out=0, measurement=Measurement(noise="nb", library_size=400.0), **WORLD)
    for key, column in (("type", "cell_type"), ("batch", "batch")):
        cells.obs[key] = cells["rna"].obs[column].astype(str).to_numpy()
    for part in cells.mod.values():
        part.X = sparse.csr_matrix(part.X)
        part.obs["batch"] = cells.obs["batch"].to_numpy()
        part.obs["type"] = cells.obs["type"].to_numpy()
    at = np.arange(cells.n_obs) < cells.n_obs - HELD
    train, held = cells[at].copy(), cells[~at].copy()
    first, second = halves(held, 0)
    base = np.asarray(train["rna"].X.sum(0)).ravel() + 0.5
    base /= base.sum()
    out = Path(results) / "dgd_quality.json"
    rows = json.loads(out.read_text())["rows"] if out.exists() else []
    for name in [*OURS, "public multiDGD"]:
        if only and name not in only.split(";"):
            continue
        started = time.process_time()
        if name == "public multiDGD":
            model, all_modalities = public(train, checkout, 600), True
        else:
            kind, all_modalities, options = OURS[name]
            model = embed.train(kind, train if all_modalities else train["rna"], seed=0, **options)
        seconds = time.process_time() - started
        own = (lambda c: c) if all_modalities else (lambda c: c["rna"])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            Z = model.encode(own(train))
            decoded = model.decode(model.encode(own(first)), own(first))["rna"]
        row = {
            "model": name,
            "held_out_nats_a_molecule": round(score(decoded, second, base), 4),
            **mixing(Z, train.obs["type"].to_numpy(), train.obs["batch"].to_numpy()),
            "cpu_seconds": round(seconds, 1),
        }
        print(row, flush=True)
        rows = [r for r in rows if r["model"] != name] + [row]
        out.write_text(json.dumps({"machine": machine(), "world": WORLD, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
