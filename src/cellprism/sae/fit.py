"""One config on one embedding, trained or read off its geometry: an SAE, with its twins of other seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped,unused-ignore]

from cellprism.data.checks import check_embedding
from cellprism.errors import EmbeddingRemark, InputError, warn
from cellprism.numeric import as_seed, as_whole
from cellprism.progress import bars
from cellprism.sae.cells import Cells, split_cells
from cellprism.sae.checkpoint import Checkpoint, fingerprint
from cellprism.sae.config import SAEConfig
from cellprism.sae.geometry import assemble, read_geometry, reading_history, with_kinds
from cellprism.sae.jobs import Budget, Cancellation, Job, run_jobs, side_by_side
from cellprism.sae.loggers import Callback, once_each
from cellprism.sae.metrics import describe
from cellprism.sae.model import SAE
from cellprism.sae.ranks.join import agree, in_several, sample_digest
from cellprism.sae.scaling import effective_dimension, fit_scaling
from cellprism.sae.steps.shared.threads import one_torch_thread
from cellprism.sae.training import TrainingOptions, choose_device

__all__ = ["Fit", "check_call", "default_config", "fit_config", "make_fit", "readings", "training_options"]

_READING_MEMORY = 1.5 * 2.0**30  # bytes that readings at work may take together: of the largest, one at a time
_READING_COPIES = 6  # of the cells in double precision
_READING_BYTES, _READ_LEAST = 2.0**30, 20_000
"""Bytes that these copies take at most, so that memory does not grow with the cells (750,000 of them in 30 dimensions), and
cells that are read all the same."""


@dataclass(frozen=True, repr=False)
class Fit:
    """A trained SAE and what is known about its training.

    Examples
    --------
    >>> found = prism.fit(X, prism.SAEConfig(16, "batchtopk", k=4), epochs=5)
    >>> found.sae.encode(X).shape
    (200, 16)
    >>> bool(found.metrics["explained_variance"] <= 1)
    True
    """

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
    """Training options as used, defaults filled in; where the recipe was chosen, also ``recipe``: why, and what was tried;
    of a consensus, ``before_consensus``: the metrics of the SAE that it was drawn from."""
    consensus: pd.DataFrame | None = None
    """With ``consensus=True``: a row a feature of :attr:`sae`, see :class:`~cellprism.sae.consensus.Consensus`."""

    def __repr__(self) -> str:
        about = ", ".join(
            f"{name} {self.metrics[name]:.3g}" for name in ("explained_variance", "l0") if name in self.metrics
        )
        seeds = f"{1 + len(self.siblings)} seeds" if self.siblings else "one seed"
        return f"Fit of {seeds}: {about}\n    .sae {self.sae!r}"


def default_config(X: NDArray[Any]) -> SAEConfig:
    """Fixed default for an embedding, one of the candidates of the automatic recipe.

    BatchTopK on the Wiener-scaled embedding. What counts is the number of its effective dimensions: the sum over
    principal axes of the share of variance that stands above the least axis. The width is eight times that, within 16
    and 4,096, at most four a dimension and one for ten cells, in multiples of 16; 0.6 times it are active in a cell, within
    4 and 32. Two matryoshka prefixes, of 3/16 and 6/16 of the width, must reconstruct on their own, so that broad
    features (cell types) are learned beside the narrow ones that would else split them. Dead features are left dead:
    where few axes carry signal, reviving them only fits single cells.

    Parameters
    ----------
    X
        (cells, d) embedding.

    Examples
    --------
    >>> prism.sae.default_config(X).activation
    'batchtopk'
    """
    n, d = X.shape
    effective = effective_dimension(X)
    width = max(16, min(16 * math.ceil(effective / 2), 4 * d // 16 * 16, n // 160 * 16, 4096))
    k = max(4, min(32, round(0.6 * effective), width))
    prefixes = (3 * width // 16, 6 * width // 16)
    return SAEConfig(width, "batchtopk", k=k, scaling="wiener", matryoshka=prefixes, aux_weight=0.0)


def training_options(options: dict[str, Any]) -> TrainingOptions:
    """Options from keywords; unknown ones are refused."""
    known = {f.name for f in fields(TrainingOptions)}
    unknown = [name for name in options if name not in known]
    if not unknown:
        return TrainingOptions(**options)
    of_config = [name for name in unknown if name in {f.name for f in fields(SAEConfig)}]
    remedy = f"use some of {', '.join(sorted(known))}"
    if of_config:
        given = ", ".join(f"{name}={options[name]!r}" for name in of_config)
        remedy = f"what shapes the autoencoder goes into a configuration: cfg=SAEConfig({given})"
    raise InputError("training options must be known", ", ".join(map(repr, unknown)), remedy)


def check_call(
    X: ArrayLike, seed: int, seeds: int, device: str, checkpoint_every: int, options: dict[str, Any]
) -> tuple[NDArray[Any], int, int, TrainingOptions, torch.device]:
    """Refuse, before anything is tried, what cannot be fitted; the embedding, seeds, options and device as they are used."""
    X, seed, seeds = check_embedding(X), as_seed(seed), as_whole("seeds", seeds)
    return X, seed, seeds, training_options(options), choose_device(device)


def fit_config(
    X: ArrayLike,
    cfg: SAEConfig,
    *,
    seed: int = 0,
    seeds: int = 1,
    device: str = "auto",
    progress: bool = False,
    checkpoint: str | Path | None = None,
    checkpoint_every: int = 1_000,
    callback: Callback | None = None,
    **options: Any,
) -> Fit:
    """Train this config, or read it off the geometry; parameters as those of :func:`cellprism.fit`."""
    X, seed, seeds, training, place = check_call(X, seed, seeds, device, checkpoint_every, options)
    held, kept = split_cells(len(X), training.holdout, seed)
    if cfg.init == "geometry":
        # Read off the training cells as they are, so there is nothing to train.
        read, tested = (_sample_to_read(rows, X.shape[1], seed) for rows in (kept, held if len(held) else kept))
        if len(read) < len(kept):
            warn(
                f"{len(read):,} of {len(kept):,} training cells, drawn at random, are read, so that memory does not grow with them",
                EmbeddingRemark,
            )
        (found,) = readings(X[read], X[tested], [cfg], range(seed, seed + seeds), progress)
        saes, histories = zip(*found, strict=True)
        tell = once_each(callback)
        for i, history in enumerate(histories):
            tell(i, history.to_dict("records"))
        return make_fit(X, saes, histories, held, training, len(kept), seed)
    shards = _shards(X, cfg, training, seed, seeds, checkpoint)
    scaling = fit_scaling(X, cfg.scaling, cfg.whiten_power, kept)
    # Scales the cells: of the smallest width, since a whole dictionary may not fit the device.
    template = SAE(SAEConfig(1, "relu"), scaling).to(place)
    cells, out = (Cells(template, X, rows, training.memory_for(X)) for rows in (kept, held))
    # The number of processes is not part of what is trained: another may go on.
    identity = fingerprint(X, cfg, replace(training, dictionary_shards=1), seed) if checkpoint else ""
    jobs = []
    for s in range(seed, seed + seeds):
        file = Path(checkpoint) / f"seed-{s}.safetensors" if checkpoint else None
        state = Checkpoint(file, identity, checkpoint_every) if file else None
        jobs.append(Job(cfg, scaling, cells, out, training, s, state, shards))
    saes, histories = zip(*run_jobs(jobs, progress=progress, callback=callback), strict=True)
    return make_fit(X, saes, histories, held, training, len(kept), seed)


def _shards(
    X: NDArray[Any], cfg: SAEConfig, training: TrainingOptions, seed: int, seeds: int, checkpoint: str | Path | None
) -> int | None:
    """Processes over which the features lie, where several train together and were given the same; None = this one trains alone."""
    if not in_several():
        if training.dictionary_shards > 1:
            raise InputError(
                "`dictionary_shards` spreads a dictionary over several processes",
                f"dictionary_shards={training.dictionary_shards} in one process",
                "leave it out, or start the processes with torchrun",
            )
        return None
    saved = sorted(file.name for file in Path(checkpoint).glob("seed-*.safetensors")) if checkpoint else None
    given: dict[str, object] = vars(cfg) | vars(training)
    agree(
        given
        | {"seed": seed, "seeds": seeds, "version of cellprism": version("cellprism")}
        | {
            "shape of the embedding": X.shape,
            "type of the embedding": X.dtype,
            "cells of the embedding": sample_digest(X),
        }
        | {"states in `checkpoint`": saved}
    )
    if training.kernel == "triton":
        raise InputError(
            "several processes train by automatic differentiation",
            "kernel='triton'",
            "leave it out, or use one process",
        )
    if training.dictionary_shards > 1 and cfg.resample_every:
        raise InputError(
            "dead features restart from cells where a process holds all features",
            f"resample_every={cfg.resample_every} and dictionary_shards={training.dictionary_shards}",
            "leave out resample_every: the auxiliary loss revives features, too",
        )
    return training.dictionary_shards


def _sample_to_read(rows: NDArray[np.intp], d: int, seed: int) -> NDArray[np.intp]:
    """Of these cells all, or as many at random as a reading's memory allows."""
    most = max(_READ_LEAST, int(_READING_BYTES / (_READING_COPIES * 8 * d)))
    return rows if len(rows) <= most else np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))


def readings(
    train: NDArray[Any],
    held: NDArray[Any],
    configs: Sequence[SAEConfig],
    seeds: Sequence[int],
    progress: bool = False,
) -> list[list[tuple[SAE, pd.DataFrame]]]:
    """SAEs read off the geometry, a list a config with an SAE and its history a seed, side by side where memory allows.

    Each seed's programs are read once for all configs.
    """
    budget, cancellation = Budget(_READING_MEMORY), Cancellation()
    bar = bars(progress)
    task = bar.add_task("reading the geometry", total=len(seeds))

    def read(seed: int) -> list[tuple[SAE, pd.DataFrame]]:
        with budget.room(_READING_COPIES * 8 * train.size), one_torch_thread():
            programs = read_geometry(train, seed=seed, check=cancellation.check)
            found = []
            for config in configs:
                geometry = with_kinds(programs, train, config.kinds, seed=seed) if config.kinds else programs
                sae = assemble(geometry, config, train)
                found.append((sae, reading_history(sae, train, held, seed)))
            bar.advance(task)
            return found

    # One thread of linear algebra a reading: more would wait for each other, and the last bits depend on how many.
    with bar, threadpool_limits(1, "blas"):
        of_seeds = side_by_side([partial(read, seed) for seed in seeds], cancellation)
    return [list(of_config) for of_config in zip(*of_seeds, strict=True)]


def make_fit(
    X: NDArray[Any],
    saes: Sequence[SAE],
    histories: Sequence[pd.DataFrame],
    held: NDArray[np.intp],
    training: TrainingOptions,
    n_kept: int,
    seed: int,
) -> Fit:
    """Result of a training, measured on its held-out cells (on all cells where there are none)."""
    batch_size = training.batch_size_for(n_kept)
    used = {"batch_size": batch_size, "epochs": training.epochs_for(n_kept, batch_size)}
    return Fit(
        sae=saes[0],
        siblings=tuple(saes[1:]),
        history=pd.concat(histories, ignore_index=True),
        metrics=dict(describe(saes[0], X, rows=held)._asdict()),
        holdout=held,
        options=vars(training) | used | {"seed": seed, "seeds": len(saes)},
    )
