"""Training: ``fit`` takes an embedding and gives an SAE, with its twins of other seeds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray

from cellprism.errors import InputError
from cellprism.sae.cells import Cells, check_embedding, split_cells
from cellprism.sae.config import SAEConfig
from cellprism.sae.metrics import Description, describe
from cellprism.sae.model import SAE
from cellprism.sae.recipe_start import assemble, read_geometry, reading_history
from cellprism.sae.scaling import fit_scaling
from cellprism.sae.trainer import Trainer
from cellprism.sae.training import TrainingOptions, choose_device

__all__ = ["Fit", "default_config", "fit"]


@dataclass(frozen=True)
class Fit:
    """A trained SAE and what is known about its training."""

    sae: SAE
    """The SAE of the first seed, on the CPU."""
    siblings: tuple[SAE, ...]
    """The SAEs of the other seeds, same config, same cells."""
    history: pd.DataFrame
    """A row an evaluation: seed, step, loss, reconstruction, penalty, auxiliary, l0, dead_share, holdout_mse (scaled)."""
    metrics: dict[str, float]
    """:class:`~cellprism.sae.metrics.Description` of the held-out cells (of all cells where there are none)."""
    holdout: NDArray[np.intp]
    """Indices of the cells kept out of training."""
    options: dict[str, Any] = field(default_factory=dict)
    """Training options as used, defaults filled in."""


def default_config(n_cells: int, d: int) -> SAEConfig:
    """Fixed default for an embedding of this shape (``cfg=None``).

    BatchTopK on the globally scaled embedding; four features a dimension, but no more than one for ten cells and no
    more than 4,096; a k that lets a feature be active in some 5 % of the cells, within 4 and 32.
    """
    width = int(max(8, min(4 * d, n_cells // 10, 4096)))
    return SAEConfig(width=width, activation="batchtopk", k=int(min(width, max(4, min(32, round(0.05 * width))))))


def fit(
    X: ArrayLike,
    cfg: SAEConfig | None = None,
    *,
    seed: int = 0,
    seeds: int = 1,
    device: str = "auto",
    progress: bool = False,
    **options: Any,
) -> Fit:
    """Train a sparse autoencoder on an embedding.

    Parameters
    ----------
    X
        (cells, d) array or memory map, any float type.
    cfg
        Architecture and objective; None = :func:`default_config`.
    seed
        Fixes the held-out cells, the start and the order of the cells: on the CPU the same seed gives the same bits.
    seeds
        Number of SAEs to train, from seeds ``seed, seed + 1, …`` on the same training cells; the first is
        :attr:`Fit.sae`.
    device
        ``auto``, ``cpu``, ``cuda`` or ``mps``.
    progress
        Show a bar with loss, explained variance, L0 and dead share.
    options
        Fields of :class:`~cellprism.sae.training.TrainingOptions`: epochs, batch_size, lr, holdout, patience, …

    Returns
    -------
    Fit
        The trained SAE, its siblings, history and metrics.

    Raises
    ------
    InputError
        If X is not a finite two-dimensional array with at least two cells and some variance, or an option is wrong.
    FloatingPointError
        If the loss becomes NaN or infinite; names the step and the remedy.
    """
    X = check_embedding(X)
    if seeds < 1:
        raise InputError("`seeds` must be at least 1", str(seeds), "use 1, or 3 to learn each feature's stability")
    try:
        training = TrainingOptions(**options)
    except TypeError as error:
        raise InputError(
            "training options must be known", str(error), f"use some of {sorted(TrainingOptions.__annotations__)}"
        ) from error
    cfg = cfg or default_config(*X.shape)
    held, kept = split_cells(len(X), training.holdout, seed)
    scaling = fit_scaling(X[kept] if len(held) else X, cfg.scaling, cfg.whiten_power)
    where = choose_device(device)
    saes: list[SAE] = []
    histories: list[pd.DataFrame] = []
    for s in range(seed, seed + seeds):
        if cfg.init == "geometry":
            # Read off the training cells as they are, so there is nothing to train.
            sae = assemble(read_geometry(X[kept], seed=s), cfg, X[kept])
            saes.append(sae)
            histories.append(reading_history(sae, X[kept], X[held] if len(held) else X[kept], s))
            continue
        generator = torch.Generator().manual_seed(s)
        sae = SAE(cfg, scaling, generator).to(where)
        cells, out = (Cells(sae, X, rows, training.memory_limit) for rows in (kept, held))
        histories.append(Trainer(sae, cells, out, training, generator, progress, s).train())
        saes.append(sae.to("cpu").eval())
    measured: Description = describe(saes[0], X[held] if len(held) else X)
    used = {"batch_size": training.batch_size_for(len(kept))}
    used["epochs"] = training.epochs_for(len(kept), used["batch_size"])
    return Fit(
        sae=saes[0],
        siblings=tuple(saes[1:]),
        history=pd.concat(histories, ignore_index=True),
        metrics=dict(measured._asdict()),
        holdout=held,
        options=vars(training) | used | {"seed": seed, "seeds": seeds},
    )
