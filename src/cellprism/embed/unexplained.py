"""What principal components leave out of cells' expression, gene by gene."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from cellprism.data.chunks import rows_at_a_time
from cellprism.stats.decompositions import leading_axes

__all__ = ["Components", "components_of", "residual_scale", "strangeness"]

GENES = 20
"""Of a cell, those that are told worst make its score."""


class Components(NamedTuple):
    """Principal components of log-normalised expression."""

    axes: NDArray[np.float32]
    """(d, genes)."""
    centre: NDArray[np.float32]
    """(genes,)."""


def components_of(expression: sparse.csr_array, d: int, seed: int) -> Components:
    """The leading ones of cells' expression, as near as five random iterations come.

    What lies at the noise need not be exact here, and five sets of axes by Lanczos iterations took a tenth of a run.

    Parameters
    ----------
    expression
        (cells, genes) log-normalised.
    d
        Number of axes, the first of which is the mean's: it is not taken away.
    seed
        Of the iterations.
    """
    axes = leading_axes(expression, d, seed)[1]
    return Components(axes.astype(np.float32), np.zeros(expression.shape[1], np.float32))


def strangeness(
    expression: sparse.csr_array, components: Components, scale: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Mean of a cell's largest residuals upward, in units of each gene's usual one.

    What a model has not seen shows in few genes, far above what its components make of the cell; a mean over all genes
    drowns it in the noise of those that have nothing to do with it.

    Parameters
    ----------
    expression
        (cells, genes) log-normalised.
    components, scale
        Of cells that these are no part of; :func:`residual_scale` gives the scale.

    Returns
    -------
    (cells,), NaN of a cell without molecules.
    """
    genes = min(GENES, expression.shape[1])
    out = np.empty(expression.shape[0])
    for rows, left in _residuals(expression, components):
        out[rows] = np.partition(left / scale, -genes, axis=1)[:, -genes:].mean(axis=1)
    out[np.diff(expression.indptr) == 0] = np.nan
    return out


def residual_scale(
    expression: sparse.csr_array, components: Components, depth: NDArray[np.float64]
) -> NDArray[np.float32]:
    """(genes,) root mean square of the residuals of the components' own cells, and of one more with a molecule of each gene.

    The one more keeps a gene that they do not express from being infinitely strange.
    """
    total = np.zeros(expression.shape[1])
    for _, left in _residuals(expression, components):
        total += np.einsum("ij,ij->j", left, left, dtype=np.float64)
    one = np.log1p(1e4 / max(float(np.median(depth)), 1.0))
    return np.asarray(np.sqrt((total + one**2) / (expression.shape[0] + 1)), dtype=np.float32)


def _residuals(expression: sparse.csr_array, components: Components) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    axes, centre = components
    step = rows_at_a_time(expression.shape[1])
    for start in range(0, expression.shape[0], step):
        rows = slice(start, start + step)
        part = expression[rows]
        placed = np.asarray(part @ axes.T - centre @ axes.T)
        yield rows, part.toarray() - np.maximum(placed @ axes + centre, 0)
