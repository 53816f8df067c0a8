"""Hyperparameter search for the autoencoder, as the paper tuned its own: trials of Optuna on the validation error."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple

from cellprism.embed.autoencoder import AutoencoderModel
from cellprism.errors import InputError
from cellprism.numeric import numbers_checked

__all__ = ["Tuned", "tune"]


class Tuned(NamedTuple):
    """What a search found."""

    model: AutoencoderModel
    """The model of the best trial."""
    options: dict[str, Any]
    """Its options, for :meth:`AutoencoderModel.fit`."""
    trials: Any
    """DataFrame, a row a trial: ``validation_loss`` and the options tried."""


@numbers_checked
def tune(adata: Any, *, trials: int = 50, seed: int = 0, progress: bool = False, **fixed: Any) -> Tuned:
    """Search learning rate, weight decay, dropout and batch size for the lowest validation error.

    Parameters
    ----------
    adata
        Cells.
    trials
        Models to train; 50 in the paper.
    seed
        Of the search and of every model, so that trials differ by their options alone.
    progress
        Show Optuna's bar.
    fixed
        Other options of :meth:`AutoencoderModel.fit`, such as ``latent``, ``depth``, ``shape`` and ``epochs``.

    Returns
    -------
    The best model, its options and all trials. Searched: learning rate 1e-6 to 1e-3 and weight decay 1e-8 to 1e-2 (both
    log-uniform), dropout 0 to 0.5, batch size 64, 128, 256 or 512; the optimiser is Adam throughout.

    Raises
    ------
    InputError
        If Optuna is not installed.

    References
    ----------
    Akiba et al., KDD 2019 (Optuna); ranges from Schuster, arXiv 2410.11468.
    """
    if find_spec("optuna") is None:
        raise InputError("tuning needs the package optuna", "no optuna", "pip install 'cellprism[bench]'")
    import pandas as pd

    optuna = import_module("optuna")
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    best: list[AutoencoderModel] = []
    rows: list[dict[str, Any]] = []

    def objective(trial: Any) -> float:
        options = {
            "lr": trial.suggest_float("lr", 1e-6, 1e-3, log=True),
            "weight_decay": trial.suggest_float("weight_decay", 1e-8, 1e-2, log=True),
            "dropout": trial.suggest_float("dropout", 0.0, 0.5),
            "batch_size": trial.suggest_categorical("batch_size", [64, 128, 256, 512]),
        }
        model = AutoencoderModel.fit(adata, seed=seed, **(options | fixed))
        rows.append({"validation_loss": model.validation_loss} | options)
        if not best or model.validation_loss < best[0].validation_loss:
            best[:] = [model]
        return model.validation_loss

    try:
        study = optuna.create_study(direction="minimize", sampler=optuna.samplers.TPESampler(seed=seed))
        study.optimize(objective, n_trials=trials, show_progress_bar=progress)
    finally:
        optuna.logging.set_verbosity(verbosity)
    return Tuned(best[0], dict(study.best_params) | fixed, pd.DataFrame(rows))
