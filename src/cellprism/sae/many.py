"""``fit_many``: a list of configs trained together on the same cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cellprism.data.checks import already_told, check_embedding, tells_remarks
from cellprism.errors import InputError
from cellprism.numeric import as_seed, numbers_checked
from cellprism.sae.cells import Cells, split_cells
from cellprism.sae.config import SAEConfig
from cellprism.sae.fit import Fit, make_fit, training_options
from cellprism.sae.jobs import Job, run_jobs
from cellprism.sae.model import SAE
from cellprism.sae.scaling import AffineScaling, fit_scaling
from cellprism.sae.training import TrainingOptions, choose_device
from cellprism.workers import connected, over, parts_for

__all__ = ["fit_many"]


@numbers_checked
@tells_remarks("X")
def fit_many(
    X: ArrayLike,
    configs: Sequence[SAEConfig],
    *,
    seed: int = 0,
    seeds: Sequence[int] | None = None,
    device: str = "auto",
    progress: bool = False,
    memory_budget: float = 2.0**33,
    **options: Any,
) -> list[Fit]:
    """Train many sparse autoencoders on one embedding.

    Every model is what ``fit(X, config, seed=seed, **options)`` gives for it: same held-out cells, same start, same
    batches, in the bits too where the compiled ReLU path is taken, otherwise up to the rounding of a different number of
    threads. Where a ``distributed.Client`` is active, its workers share the models. What is shared is the work around it: the embedding is checked, scaled and held in memory once, models train
    side by side with a thread each, and models that stop early make room.

    Parameters
    ----------
    X
        (cells, d) array or memory map.
    configs
        One a model; any mixture of widths, activations, penalties and scalings.
    seed
        Seed of all models.
    seeds
        Or one seed a model.
    device
        ``auto``, ``cpu``, ``cuda`` or ``mps``; the models run one after another where it is not the CPU.
    progress
        Show a bar over all epochs of all models.
    memory_budget
        Bytes that the models in training may take together, beside the embedding and finished weights. Where those of all
        threads would take more, fewer train at a time, down to one.
    options
        Fields of :class:`~cellprism.sae.training.TrainingOptions`; a list has one value a model.

    Returns
    -------
    list of Fit
        In the order of the configs.

    Raises
    ------
    InputError
        If there is no config, a list has another length than the configs, or as in :func:`cellprism.fit`.
    DivergedError
        If a model's loss becomes NaN or infinite, or its error 10,000 times the first.

    Examples
    --------
    >>> configs = [prism.SAEConfig(width=w, activation="topk", k=2) for w in (8, 16)]
    >>> [fitted.sae.width for fitted in prism.fit_many(X, configs, epochs=3)]
    [8, 16]
    """
    X = check_embedding(X)
    configs = list(configs)
    if not configs:
        raise InputError("`fit_many` needs at least one config", "an empty list", "give [SAEConfig(...), ...]")
    if any(config.init == "geometry" for config in configs):
        raise InputError(
            "`fit_many` trains models; init='geometry' is read off the embedding without training",
            "a config with init='geometry'",
            "give it to fit",
        )
    if seeds is not None and not isinstance(seeds, Sequence | np.ndarray):
        raise InputError("`seeds` of `fit_many` are a list, a seed a config", repr(seeds), "give them all, or `seed`")
    for name, given in {"seeds": seeds, **options}.items():
        if (isinstance(given, list) or name == "seeds") and given is not None and len(given) != len(configs):
            raise InputError(
                f"`{name}` needs one value a config", f"{len(given)} for {len(configs)} configs", "give as many"
            )
    each_seed = [as_seed(s) for s in ([seed] * len(configs) if seeds is None else seeds)]
    trainings = [
        training_options({name: v[i] if isinstance(v, list) else v for name, v in options.items()})
        for i in range(len(configs))
    ]
    client = connected()
    if client is not None and len(configs) > 1:
        common = {"device": device, "memory_budget": memory_budget}
        return _on_workers(client, X, configs, each_seed, trainings, common)
    where = choose_device(device)
    shared: dict[tuple[Any, ...], tuple[AffineScaling, Cells, Cells, Any]] = {}
    jobs, held_out = [], []
    for config, training, s in zip(configs, trainings, each_seed, strict=True):
        held, kept = split_cells(len(X), training.holdout, s)
        # Where none are held out, the training cells are the same for every seed.
        split = (training.holdout, s) if len(held) else None
        key = (config.scaling, config.whiten_power, split, training.memory_limit)
        if key not in shared:
            scaling = fit_scaling(X, config.scaling, config.whiten_power, kept)
            template = SAE(config, scaling).to(where)
            inside, outside = (Cells(template, X, rows, training.memory_for(X)) for rows in (kept, held))
            shared[key] = scaling, inside, outside, held
        scaling, inside, outside, held = shared[key]
        jobs.append(Job(config, scaling, inside, outside, training, s))
        held_out.append(held)
    results = run_jobs(jobs, progress=progress, memory_budget=memory_budget)
    return [
        make_fit(X, [sae], [history], np.asarray(held), job.options, len(job.cells), job.seed)
        for (sae, history), job, held in zip(results, jobs, held_out, strict=True)
    ]


def _on_workers(
    client: Any,
    X: NDArray[Any],
    configs: Sequence[SAEConfig],
    seeds: Sequence[int],
    trainings: Sequence[TrainingOptions],
    common: dict[str, Any],
) -> list[Fit]:
    """The models dealt to the workers of Dask, the widest first; the embedding travels to each of them once."""
    ranked = sorted(range(len(configs)), key=lambda i: -configs[i].width)
    n = len(parts_for(client, len(configs), most=len(configs)))
    dealt = [ranked[start::n] for start in range(n)]
    pieces = [([configs[i] for i in hand], [seeds[i] for i in hand], [trainings[i] for i in hand]) for hand in dealt]
    found: dict[int, Fit] = {}
    for hand, fits in zip(dealt, over(client, _fit_piece, pieces, X, common), strict=True):
        found |= dict(zip(hand, fits, strict=True))
    return [found[i] for i in range(len(configs))]


def _fit_piece(
    piece: tuple[Sequence[SAEConfig], Sequence[int], Sequence[TrainingOptions]], X: NDArray[Any], common: dict[str, Any]
) -> list[Fit]:
    """Some of the models, on a worker."""
    configs, seeds, trainings = piece
    options = {
        field.name: [getattr(training, field.name) for training in trainings] for field in fields(TrainingOptions)
    }
    with already_told():
        return fit_many(X, configs, seeds=seeds, **(options | common))
