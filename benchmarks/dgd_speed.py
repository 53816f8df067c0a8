"""Seconds of an epoch of the deep generative decoder, beside the public multiDGD implementation.

    python benchmarks/dgd_speed.py PATH_OF_A_MULTIDGD_CHECKOUT benchmarks/results

Same data, architecture, batch size and machine, one thread, both measured in processor seconds in alternation; the
time of an epoch is that of a training of three epochs less that of one, so preparation does not count.
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

import anndata as ad
import mudata
import numpy as np
import pandas as pd
import torch
from scipy import sparse

from cellprism.embed.dgd import DGDModel

# The public implementation cannot be built on one modality (its settings need a border between two).
SIZES = {
    "1,000 cells x (13,431 genes + 20,000 peaks)": (1000, {"rna": (13_431, 0.07), "atac": (20_000, 0.03)}),
    "1,000 cells x (2,000 genes + 2,000 peaks)": (1000, {"rna": (2000, 0.1), "atac": (2000, 0.05)}),
}


def made(n: int, sizes: dict[str, tuple[int, float]]) -> mudata.MuData:
    rng = np.random.default_rng(0)
    parts = {}
    for name, (g, density) in sizes.items():
        X = sparse.random(n, g, density, "csr", np.float32, rng, data_rvs=lambda k: 1 + rng.poisson(1.0, k))
        parts[name] = ad.AnnData(X, pd.DataFrame(index=[f"c{i}" for i in range(n)]))
        parts[name].var_names = [f"{name}{i}" for i in range(g)]
    out = mudata.MuData(parts)
    out.obs["type"] = pd.Categorical(rng.integers(0, 10, n).astype(str))
    out.obs["train_val_test"] = "train"
    return out


def ours(cells: mudata.MuData, epochs: int) -> float:
    start = time.process_time()
    DGDModel.fit(cells, epochs=epochs, start="zero", holdout=0.0, lr=1e-4, l1=1.0, device="cpu")
    return time.process_time() - start


def theirs(cells: mudata.MuData, epochs: int) -> float:
    import multiDGD

    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        data = cells.copy()
        data.obs["observable"], data.obs["train_val_test"] = cells.obs["type"], "train"
        model = multiDGD.DGD(data, save_dir=f"{folder}/", random_seed=0)
        start = time.process_time()
        model.train(n_epochs=epochs)
        return time.process_time() - start


def main(checkout: str, results: str, repeats: int = 5) -> None:
    sys.path.insert(0, str(Path(checkout) / "src"))
    warnings.simplefilter("ignore")
    mudata.set_options(pull_on_update=False)
    torch.set_num_threads(1)
    out = []
    for name, (n, sizes) in SIZES.items():
        cells = made(n, sizes)
        a, b = [], []
        for _ in range(repeats):
            a.append((ours(cells, 3) - ours(cells, 1)) / 2)
            b.append((theirs(cells, 3) - theirs(cells, 1)) / 2)
        record = {
            "data": name,
            "cellprism_s": round(float(np.median(a)), 3),
            "multidgd_s": round(float(np.median(b)), 3),
            "ratio": round(float(np.median(np.divide(b, a))), 2),
            "runs": {"cellprism": np.round(a, 3).tolist(), "multidgd": np.round(b, 3).tolist()},
        }
        print(record, flush=True)
        out.append(record)
    Path(results).mkdir(parents=True, exist_ok=True)
    (Path(results) / "dgd_speed.json").write_text(json.dumps(out, indent=1) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:3])
