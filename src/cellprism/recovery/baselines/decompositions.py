"""Matrix decompositions of the data and of the embedding, from scikit-learn."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import NMF, PCA, FastICA, MiniBatchDictionaryLearning, TruncatedSVD
from sklearn.exceptions import ConvergenceWarning

from cellprism.recovery.task import Task

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

_NMF_CELLS = 5_000

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
    return _ica(task.train_embedding, task.held_embedding, task.embedding.shape[1], seed, max_iter)


def pca_data(task: Task, seed: int, *, components: int = COMPONENTS) -> Codes:
    """Principal components of expression."""
    return _of_data(lambda n: PCA(n, svd_solver="randomized", random_state=seed), task, components)


def svd_data(task: Task, seed: int, *, components: int = COMPONENTS) -> Codes:
    """Singular vectors of expression, not centred."""
    return _of_data(lambda n: TruncatedSVD(n, random_state=seed), task, components, keep_below=True)


def ica_data(task: Task, seed: int, *, components: int = COMPONENTS, max_iter: int = 300) -> Codes:
    """Independent components of expression, within its first principal components."""
    return _ica(task.dense(~task.held_out), task.dense(task.held_out), components, seed, max_iter)


def nmf_data(task: Task, seed: int, *, components: int = COMPONENTS, max_iter: int = 400) -> Codes:
    """Non-negative factors of expression, each gene at unit variance; its small negative values count as zero.

    Fitted to 5,000 cells at most by coordinate descent to its end. Without equal variances, or by minibatches, the solver
    stops far from a solution (on the simulations of docs/recovery.md it then finds no program, and else nearly all).
    """
    train, held = (np.maximum(task.dense(rows), 0) for rows in (~task.held_out, task.held_out))
    spread = train.std(axis=0)
    varying = spread > 0
    train, held = (x[:, varying] / spread[varying] for x in (train, held))
    if len(train) > _NMF_CELLS:
        train = train[np.random.default_rng(seed).permutation(len(train))[:_NMF_CELLS]]
    model = NMF(_at_most(components, train), init="random", random_state=seed, max_iter=max_iter)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(train)
        # ``transform`` ends when the cells together have moved little: down to here each cell has ended on its own.
        return _codes(model.set_params(tol=1e-8, max_iter=2_000).transform(held))


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


def _ica(train: Codes, held: Codes, components: int, seed: int, max_iter: int) -> Codes:
    reduce = PCA(_at_most(components, train), random_state=seed).fit(train)
    # Directions without variance cannot be whitened: an over-complete embedding has them.
    kept = max(int((reduce.explained_variance_ratio_ > 1e-7).sum()), 1)
    before, after = (reduce.transform(X)[:, :kept].astype(np.float64) for X in (train, held))
    model = FastICA(kept, whiten="unit-variance", whiten_solver="eigh", random_state=seed, max_iter=max_iter, tol=1e-3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return _codes(model.fit(before).transform(after))


def _of_data(make: Callable[[int], Any], task: Task, components: int, *, keep_below: bool = False) -> Codes:
    train = task.dense(~task.held_out)
    n = _at_most(components, train) - (1 if keep_below and components >= min(train.shape) else 0)
    model = make(max(n, 1)).fit(train)
    return _codes(model.transform(task.dense(task.held_out)))


def _at_most(components: int, train: Codes) -> int:
    return int(min(components, *train.shape))


def _codes(values: Any) -> Codes:
    return np.asarray(values, dtype=np.float32)
