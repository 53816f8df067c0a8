"""``fit``: an embedding becomes an SAE. What is asked for is checked here; the work is done on the floors below."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import scipy.sparse as sp
from numpy.typing import ArrayLike

from cellprism.data.checks import tells_remarks
from cellprism.errors import InputError
from cellprism.numeric import numbers_checked
from cellprism.sae.config import SAEConfig
from cellprism.sae.consensus import agreed, check_consensus
from cellprism.sae.fit import Fit, check_call, fit_config
from cellprism.sae.guided import check_guide, guided
from cellprism.sae.loggers import Callback
from cellprism.sae.ranks.join import in_several
from cellprism.sae.recipe import fit_auto

__all__ = ["fit"]


@numbers_checked
@tells_remarks("X")
def fit(
    X: ArrayLike,
    cfg: SAEConfig | None = None,
    *,
    seed: int = 0,
    seeds: int = 1,
    preset: str = "standard",
    consensus: bool = False,
    guide: ArrayLike | sp.sparray | sp.spmatrix | None = None,
    device: str = "auto",
    progress: bool = False,
    checkpoint: str | Path | None = None,
    checkpoint_every: int = 1_000,
    callback: Callback | None = None,
    **options: Any,
) -> Fit:
    """Train a sparse autoencoder on an embedding.

    Parameters
    ----------
    X
        (cells, d) array or memory map, any float type.
    cfg
        Architecture and objective; None = the automatic recipe, see :func:`cellprism.choose_recipe`.
    seed
        Fixes the held-out cells, the start and the order of the cells: on the CPU the same seed gives the same bits.
    seeds
        Number of SAEs to train, from seeds ``seed, seed + 1, …`` on the same training cells; the first is
        :attr:`Fit.sae`.
    preset
        How much the automatic recipe tries: ``quick``, ``standard`` or ``thorough``; without effect where ``cfg`` is given.
    consensus
        Keep the features that return in most seeds (:func:`cellprism.consensus`); their table is :attr:`Fit.consensus`.
    guide
        (cells, genes) log1p expression of the cells: at most 40 features more, each of which follows a gene that the embedding
        tells and no other feature says; ``options["guide"]`` of the result has their columns. For embeddings that bend
        (autoencoders, DGD, scVI), which are read less well without (docs/recipe.md). Genes of these features are then found
        associated by construction.
    device
        ``auto``, ``cpu``, ``cuda`` or ``mps``.
    progress
        Show a bar with loss, explained variance, L0 and dead share.
    checkpoint
        Folder in which the state of training is kept. The same call with the same folder goes on where it was killed and
        ends, on the CPU, with the same bits as if it had not been; a finished training is not repeated. Without ``cfg``
        the recipe is chosen again first (the same, and in at most a few fits' time).
    checkpoint_every
        Steps between two saved states.
    callback
        Called with each row of the history as it comes, a mapping of ``seed``, ``step``, ``loss``, ``explained_variance``,
        …; :mod:`cellprism.sae.loggers` has those for TensorBoard, Weights & Biases and MLflow. Candidates of the
        recipe are not told.
    options
        Fields of :class:`~cellprism.sae.training.TrainingOptions`: epochs, batch_size, lr, holdout, patience, … Where the
        SAE is read off the geometry (``cfg.init="geometry"``, or the recipe says so) nothing is trained: of these
        ``holdout`` alone has an effect then and ``checkpoint`` has none; of more cells than a gigabyte of copies holds (750,000 in
        30 dimensions, 43,690 in 512) a sample is read.

    Returns
    -------
    Fit
        The trained SAE, its siblings, history and metrics.

    Raises
    ------
    InputError
        If X is not a finite two-dimensional array with at least two cells and some variance, or an option is wrong;
        with ``consensus``, if no feature returns in most seeds.
    ProcessLostError
        If one of several processes ends: a ConnectionError in all others.
    DivergedError
        If the loss becomes NaN or infinite, or the error 10,000 times the first; a FloatingPointError that names the step and the
        remedy and holds the SAE of the last good evaluation.

    Notes
    -----
    Where torch.distributed's group is initialised (``torchrun``), its processes train together: call this in each of them with
    the same arguments. Each takes a share of every batch, so that the training is that of one process, and with
    ``dictionary_shards`` a part of the features. Each gets the whole result; the first one writes the checkpoint.

    Examples
    --------
    >>> fitted = prism.fit(X, prism.SAEConfig(width=16, activation="batchtopk", k=4), epochs=5, seed=0)
    >>> fitted.sae.encode(X).shape == (len(X), 16)
    True
    """
    X, seed, seeds, *_ = check_call(X, seed, seeds, device, checkpoint_every, options)
    if callback is not None and not callable(callback):
        raise InputError(
            "`callback` is a function of a row of the history", repr(callback), "give print, or one of sae.loggers"
        )
    if consensus:
        check_consensus(seeds, cfg)
    genes = None if guide is None else check_guide(guide, len(X), cfg)
    if cfg is None and in_several():
        raise InputError(
            "the recipe is chosen in one process",
            "no config in a training of several",
            "choose it first, and give `cfg`",
        )
    call: dict[str, Any] = {
        "seed": seed, "seeds": seeds, "device": device, "progress": progress, "checkpoint": checkpoint,
        "checkpoint_every": checkpoint_every, "callback": callback, **options,
    }  # fmt: skip
    fitted = fit_auto(X, preset=preset, **call) if cfg is None else fit_config(X, cfg, **call)
    if consensus:
        fitted = agreed(fitted, X)
    return fitted if genes is None else guided(fitted, X, genes)
