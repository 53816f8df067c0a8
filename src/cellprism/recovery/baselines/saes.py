"""Sparse autoencoders of the embedding: the automatic recipe, plain ones, the published ones, and their nulls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scipy import sparse

from cellprism.data.checks import already_told
from cellprism.recovery.task import Task
from cellprism.sae import SAEConfig, fit
from cellprism.sae.config import PaperForm
from cellprism.sae.controls import trained_on_shuffled
from cellprism.sae.controls import untrained as blank

__all__ = ["batchtopk", "cellprism", "paper", "shuffled", "topk", "untrained"]

WIDTH = 4
"""Features a dimension of the embedding in the plain recipes: a common default of the field."""

K = 32
"""Active features a cell in the plain recipes."""


def cellprism(task: Task, seed: int, *, recipe: Mapping[str, Any] | None = None, **training: Any) -> sparse.csr_array:
    """Fit the automatic recipe, or the SAE of a recipe file.

    Parameters
    ----------
    task, seed
        What every method takes.
    recipe
        Fields of :class:`~cellprism.SAEConfig`; None: the automatic recipe.
    training
        Options of :func:`cellprism.fit`.
    """
    cfg = None if recipe is None else SAEConfig.from_dict(dict(recipe))
    return _encoded(task, cfg, seed, **training)


def topk(task: Task, seed: int, *, width: int | None = None, k: int = K, **training: Any) -> sparse.csr_array:
    """Fit a plain TopK SAE."""
    return _encoded(task, _plain(task, "topk", width, k), seed, **training)


def batchtopk(task: Task, seed: int, *, width: int | None = None, k: int = K, **training: Any) -> sparse.csr_array:
    """Fit a plain BatchTopK SAE."""
    return _encoded(task, _plain(task, "batchtopk", width, k), seed, **training)


def paper(
    task: Task,
    seed: int,
    *,
    form: PaperForm = "vanilla",
    factor: int = 20,
    l1: float = 1e-3,
    k_percent: float | None = None,
    lr: float = 1e-4,
    epochs: int = 500,
) -> sparse.csr_array:
    """Fit one of the published recipes, loss and optimiser as published.

    Parameters
    ----------
    task, seed
        What every method takes.
    form, l1, k_percent
        See :meth:`cellprism.SAEConfig.paper`.
    factor
        Features a dimension of the embedding.
    lr, epochs
        Adam's learning rate and the passes over the cells; batches are of 128 cells.
    """
    cfg = SAEConfig.paper(form, factor * task.embedding.shape[1], l1=l1, k_percent=k_percent)
    return _encoded(
        task, cfg, seed, lr=lr, epochs=epochs, batch_size=128, warmup=0.0, decay=0.0, patience=None, max_grad_norm=None
    )


def untrained(task: Task, seed: int, *, width: int | None = None, k: int = K) -> sparse.csr_array:
    """Encode with a random TopK SAE: what directions of the embedding give without learning."""
    return blank(task.train_embedding, _plain(task, "topk", width, k), seed=seed).encode(task.held_embedding)


def shuffled(task: Task, seed: int, *, width: int | None = None, k: int = K, **training: Any) -> sparse.csr_array:
    """Fit on an embedding whose columns are shuffled apart, and encode the real one: margins without structure."""
    cfg = _plain(task, "batchtopk", width, k)
    return trained_on_shuffled(task.train_embedding, cfg, seed=seed, **training).encode(task.held_embedding)


def _plain(task: Task, activation: Any, width: int | None, k: int) -> SAEConfig:
    width = width or WIDTH * task.embedding.shape[1]
    return SAEConfig(width=width, activation=activation, k=min(k, width))


def _encoded(task: Task, cfg: SAEConfig | None, seed: int, **training: Any) -> sparse.csr_array:
    with already_told():
        fitted = fit(task.train_embedding, cfg, seed=seed, **training)
    return fitted.sae.encode(task.held_embedding)
