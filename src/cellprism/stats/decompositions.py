"""Matrix decompositions fitted to some cells and read in any others, from scikit-learn."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.decomposition import NMF, PCA, FastICA
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.extmath import randomized_svd

from cellprism.errors import InputError

__all__ = ["Readout", "at_most", "independent_axes", "leading_axes", "nonnegative_parts", "principal_axes"]

Readout = Callable[[Any], NDArray[np.float32]]
"""(cells, columns) of any cells -> (cells, components)."""

_NMF_CELLS = 5_000
_BLOCK = 2**25  # numbers held dense at a time


def leading_axes(matrix: Any, components: int, seed: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Truncated singular value decomposition by five random iterations, without a mean taken away.

    Unlike scikit-learn's estimator it takes no shares of a variance, which may be none.

    Parameters
    ----------
    matrix
        (rows, columns), dense or sparse.
    components
        d, at most the smaller side.
    seed
        Of the iterations.

    Returns
    -------
    Scores (rows, d) and axes (d, columns), the largest entry of each axis positive.
    """
    axes = randomized_svd(matrix, components, n_iter=5, flip_sign=False, random_state=seed)[2]
    axes *= np.sign(axes[np.arange(components), np.abs(axes).argmax(axis=1)])[:, None]
    return matrix @ axes.T, axes


def principal_axes(train: NDArray[Any], components: int, seed: int) -> Readout:
    """Principal components of training cells (cells, columns), the largest first."""
    model = PCA(at_most(components, train), random_state=seed).fit(train)
    return lambda X: _codes(model.transform(X))


def independent_axes(train: NDArray[Any], components: int, seed: int, *, max_iter: int = 300) -> Readout:
    """Independent components of training cells (cells, columns), within their first principal components."""
    reduce = PCA(at_most(components, train), random_state=seed).fit(train)
    # Directions without variance cannot be whitened: an over-complete embedding has them.
    kept = max(int((reduce.explained_variance_ratio_ > 1e-7).sum()), 1)

    def reduced(X: Any) -> NDArray[np.float64]:
        return np.asarray(reduce.transform(X)[:, :kept], dtype=np.float64)

    model = FastICA(kept, whiten="unit-variance", whiten_solver="eigh", random_state=seed, max_iter=max_iter, tol=1e-3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(reduced(train))
    return lambda X: _codes(model.transform(reduced(X)))


def nonnegative_parts(
    train: Any, components: int, seed: int, *, max_iter: int = 400, tol: float = 1e-8, transform_iter: int = 2_000
) -> Readout:
    """Non-negative factors of expression, each gene at unit variance; small negative values count as zero.

    Fitted to 5,000 cells at most by coordinate descent. Without equal variances, or by minibatches, the solver stops far
    from a solution (on the simulations of docs/recovery.md it then finds no program, and else nearly all).

    Parameters
    ----------
    train
        (cells, genes), dense or sparse.
    components
        Factors, at most.
    seed
        Of the start and of the cells.
    max_iter
        Sweeps of the fit, which also ends where a sweep changes little.
    tol, transform_iter
        The same of reading other cells. It ends when the cells together have moved little: with the default each cell
        has ended on its own.
    """
    chosen = np.random.default_rng(seed).permutation(train.shape[0])[:_NMF_CELLS]
    cells = np.maximum(_dense(train if train.shape[0] <= _NMF_CELLS else train[np.sort(chosen)]), 0)
    spread = cells.std(axis=0)
    varying = np.flatnonzero(spread > 0)
    if not len(varying):
        raise InputError("factors of expression need genes that vary", "none that does", "check the expression matrix")
    cells = cells[:, varying] / spread[varying]
    model = NMF(at_most(components, cells), init="random", random_state=seed, max_iter=max_iter)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(cells)
    model.set_params(tol=tol, max_iter=transform_iter)

    def read(X: Any) -> NDArray[np.float32]:
        rows = max(1, _BLOCK // max(1, X.shape[1]))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            blocks = [
                _codes(model.transform(np.maximum(_dense(X[i : i + rows])[:, varying], 0) / spread[varying]))
                for i in range(0, X.shape[0], rows)
            ]
        return np.concatenate(blocks) if blocks else np.zeros((0, model.n_components), dtype=np.float32)

    return read


def at_most(components: int, train: Any) -> int:
    """Components that training cells can have."""
    return int(min(components, *train.shape))


def _dense(X: Any) -> NDArray[np.float32]:
    return np.asarray(X.toarray() if sparse.issparse(X) else X, dtype=np.float32)


def _codes(values: Any) -> NDArray[np.float32]:
    return np.asarray(values, dtype=np.float32)
