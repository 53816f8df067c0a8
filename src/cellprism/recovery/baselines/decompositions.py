"""Matrix decompositions of the data and of the embedding, from scikit-learn."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA, MiniBatchDictionaryLearning, TruncatedSVD
from sklearn.exceptions import ConvergenceWarning

from cellprism.recovery.task import Task
from cellprism.stats.decompositions import at_most, independent_axes, nonnegative_parts

__all__ = [
    "dictionary_learning",
    "embedding",
    "ica_data",
    "ica_embedding",
    "nmf_data",
    "pca_data",
    "pca_embedding",
    "svd_data",
]

COMPONENTS = 150
"""Components of a decomposition of the data, as in the paper; fewer where the data has fewer dimensions."""

Codes = NDArray[Any]


def embedding(task: Task, seed: int) -> Codes:
    """Take the raw dimensions of the embedding."""
    return task.held_embedding


def pca_embedding(task: Task, seed: int) -> Codes:
    """Principal components of the embedding, all of them."""
    model = PCA(random_state=seed).fit(task.train_embedding)
    return _codes(model.transform(task.held_embedding))


def ica_embedding(task: Task, seed: int, *, max_iter: int = 300) -> Codes:
    """Independent components of the embedding, all of them."""
    read = independent_axes(task.train_embedding, task.embedding.shape[1], seed, max_iter=max_iter)
    return read(task.held_embedding)


def pca_data(task: Task, seed: int, *, components: int = COMPONENTS) -> Codes:
    """Principal components of expression."""
    return _of_data(lambda n: PCA(n, svd_solver="randomized", random_state=seed), task, components)


def svd_data(task: Task, seed: int, *, components: int = COMPONENTS) -> Codes:
    """Singular vectors of expression, not centred."""
    return _of_data(lambda n: TruncatedSVD(n, random_state=seed), task, components, keep_below=True)


def ica_data(task: Task, seed: int, *, components: int = COMPONENTS, max_iter: int = 300) -> Codes:
    """Independent components of expression, within its first principal components."""
    read = independent_axes(task.dense(~task.held_out), components, seed, max_iter=max_iter)
    return read(task.dense(task.held_out))


def nmf_data(task: Task, seed: int, *, components: int = COMPONENTS, max_iter: int = 400) -> Codes:
    """Non-negative factors of expression, each gene at unit variance; its small negative values count as zero.

    See :func:`~cellprism.stats.decompositions.nonnegative_parts`.
    """
    read = nonnegative_parts(task.dense(~task.held_out), components, seed, max_iter=max_iter)
    return read(task.dense(task.held_out))


def dictionary_learning(
    task: Task, seed: int, *, width: int | None = None, k: int = 30, max_iter: int = 20, batch_size: int = 512
) -> Codes:
    """Sparse dictionary of the centred embedding; codes by orthogonal matching pursuit with k atoms a cell."""
    train, held = task.train_embedding, task.held_embedding
    mean, scale = train.mean(axis=0), train.std()
    n = width or train.shape[1]
    model = MiniBatchDictionaryLearning(
        n,
        alpha=0.1,
        max_iter=max_iter,
        batch_size=batch_size,
        fit_algorithm="cd",
        transform_algorithm="omp",
        transform_n_nonzero_coefs=min(k, n, train.shape[1]),
        random_state=seed,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", (ConvergenceWarning, RuntimeWarning))  # OMP on atoms that are near copies
        model.fit((train - mean) / scale)
        return _codes(model.transform((held - mean) / scale))


def _of_data(make: Callable[[int], Any], task: Task, components: int, *, keep_below: bool = False) -> Codes:
    train = task.dense(~task.held_out)
    n = at_most(components, train) - (1 if keep_below and components >= min(train.shape) else 0)
    model = make(max(n, 1)).fit(train)
    return _codes(model.transform(task.dense(task.held_out)))


def _codes(values: Any) -> Codes:
    return np.asarray(values, dtype=np.float32)
