"""The simulated worlds that the recipe is measured on, and their embeddings.

python benchmarks/recipe_worlds.py autoencoder poisson-sqrt --seed 31 --cache DIR    makes embeddings without measuring
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np

from cellprism.embed.autoencoder import AutoencoderModel
from cellprism.simulate.large import large
from cellprism.simulate.measurement import Measurement

POISSON, NB = {"noise": "poisson", "library_size": 20_000.0}, {"noise": "nb", "library_size": 20_000.0}
POISSON_5K = {"noise": "poisson", "library_size": 5_000.0}
N_TRAIN, N_HELD, N_GENES = 20_000, 2_000, 2_000


@dataclass(frozen=True)
class World:
    """A simulation and how it is embedded."""

    dimensions: int
    """Of the embedding."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Of the simulation."""
    measured: Mapping[str, Any] | None = None
    """Of the measurement; None: noise-free."""
    transform: Callable[[Any], Any] | None = None
    """Of counts per 10,000; None: expression goes in as it is."""
    autoencoder: bool = False
    """Embed with an autoencoder of the paper's form; else principal components in a random rotation."""


WORLDS = {
    "autoencoder": World(150, autoencoder=True),
    "clean": World(100),
    "clean-40": World(40, {"n_programs": 40}),
    "clean-250-in-150": World(150, {"n_programs": 250}),
    "types-5": World(100, {"n_cell_types": 5}),
    "types-100": World(100, {"n_cell_types": 100}),
    "correlated": World(100, {"program_correlation": 0.5}),
    "continuous": World(100, {"continuous": True}),
    "dense-0.7": World(100, {"p_type_program": 0.7}),
    "poisson-sqrt": World(100, {}, POISSON, np.sqrt),
    "poisson-linear": World(100, {}, POISSON, np.asarray),
    "poisson-log": World(100, {}, POISSON, np.log1p),
    "poisson-5k-sqrt": World(100, {}, POISSON_5K, np.sqrt),
    "poisson-40": World(40, {"n_programs": 40}, POISSON, np.sqrt),
    "poisson-types-5": World(100, {"n_cell_types": 5}, POISSON, np.sqrt),
    "poisson-types-100": World(100, {"n_cell_types": 100}, POISSON, np.sqrt),
    "poisson-correlated": World(100, {"program_correlation": 0.5}, POISSON, np.sqrt),
    "nb-sqrt": World(100, {}, NB, np.sqrt),
    "nb-log-50": World(50, {}, NB, np.log1p),
    "in-64": World(64),
    "in-20": World(20),
    "autoencoder-20": World(20, autoencoder=True),
}


def embed(name: str, seed: int, cache: Path | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Embedding (cells, d) and activities X'' (cells, programs) of a world; the last 2,000 cells are held out."""
    kept = cache / f"{name}-{seed}.npz" if cache else None
    if kept is not None and kept.exists():
        with np.load(kept) as file:
            return file["X"], file["truth"]
    world = WORLDS[name]
    measured = Measurement(**world.measured) if world.measured else None
    sizes = {"seed": seed, "structure_seed": seed, "held_out": N_HELD, "measurement": measured}
    adata = large(N_TRAIN + N_HELD, N_GENES, **sizes, **world.arguments)
    X = _autoencoder(adata, world, seed) if world.autoencoder else _components(adata, world, seed)
    truth = np.asarray(adata.obsm["X2_truth"], dtype=np.float32)
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        np.savez(kept, X=X, truth=truth)
    return X, truth


def _components(adata: ad.AnnData, world: World, seed: int) -> np.ndarray:
    d = world.dimensions
    Y = np.asarray(adata.X.toarray() if hasattr(adata.X, "toarray") else adata.X, dtype=np.float32)
    if world.transform is not None:
        Y = world.transform(Y / Y.sum(axis=1, keepdims=True).clip(1) * 1e4)
    Y = Y - Y[:N_TRAIN].mean(axis=0, dtype=np.float64).astype(np.float32)
    axes = np.linalg.eigh((Y[:N_TRAIN].T @ Y[:N_TRAIN]).astype(np.float64))[1][:, ::-1][:, :d]
    rotation = np.linalg.qr(np.random.default_rng(seed + 99).normal(size=(d, d)))[0]
    return (Y @ axes @ rotation).astype(np.float32)


def _autoencoder(adata: ad.AnnData, world: World, seed: int) -> np.ndarray:
    """The autoencoder of ``cellprism benchmark reduced``: one hidden layer a side, trained in 20 passes."""
    training = {"lr": 2e-3, "batch_size": 256, "epochs": 20, "patience": 5}
    train = adata[(adata.obs["split"] == "train").to_numpy()]
    model = AutoencoderModel.fit(train, latent=world.dimensions, transform="none", seed=seed, **training)
    return np.asarray(model.encode(adata), dtype=np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("worlds", nargs="+", choices=list(WORLDS))
    parser.add_argument("--seed", type=int, action="append", required=True)
    parser.add_argument("--cache", type=Path, required=True)
    options = parser.parse_args()
    for seed in options.seed:
        for name in options.worlds:
            started = time.perf_counter()
            shape = embed(name, seed, options.cache)[0].shape
            print(f"{name}, seed {seed}: {shape}, {time.perf_counter() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
