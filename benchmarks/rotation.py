"""How far the automatic recipe's dictionary moves when the embedding is turned or an axis flipped, beside another seed.

python benchmarks/rotation.py ../shared/data/paul2015_mouse_marrow_tradeseq.h5ad
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np

import cellprism as prism
from cellprism.demo import demo_counts


def embedded(cells: ad.AnnData) -> np.ndarray:
    """30 principal components."""
    return prism.embed.train("pca", cells, n_components=30, seed=0).encode(cells).astype(np.float64)


def turned(X: np.ndarray) -> dict[str, np.ndarray]:
    """The embedding in other bases: every distance between cells is the same."""
    rotation, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(X.shape[1],) * 2))
    flipped = X.copy()
    flipped[:, 0] *= -1
    return {"rotated": X @ rotation, "first axis flipped": flipped, "axes reversed": X[:, ::-1]}


def moved(X: np.ndarray) -> dict[str, Any]:
    """Median correlation of each live feature with its one-to-one partner."""
    fits = {"as it is": prism.fit(X, preset="quick", seed=0), "another seed": prism.fit(X, preset="quick", seed=1)}
    codes = {name: fitted.sae.encode(X) for name, fitted in fits.items()}
    for name, other in turned(X).items():
        fits[name] = prism.fit(other, preset="quick", seed=0)
        codes[name] = fits[name].sae.encode(other)
    first = codes.pop("as it is")
    found = {}
    for name, other in codes.items():
        r = prism.match(first, other).partner_correlation
        found[name] = {"median r": float(np.nanmedian(r)), "share r > 0.9": float(np.mean(r[np.isfinite(r)] > 0.9))}
    return {"method": fits["as it is"].sae.config.init, "width": fits["as it is"].sae.width, "beside": found}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", type=Path, help="counts as .h5ad; the demo's cells come first")
    arguments = parser.parse_args()
    sets = {"demo": demo_counts()} | {path.stem: ad.read_h5ad(path) for path in arguments.files}
    results = {name: moved(embedded(cells)) for name, cells in sets.items()}
    target = Path(__file__).parent / "results" / "rotation.json"
    target.write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps(results, indent=1))
