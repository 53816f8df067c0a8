"""Association of every gene with a feature's continuous activation: Spearman's correlation, within strata.

Ranks of the codes are taken over all cells, those of genes within strata; both are centred within strata, so that a stratum
(a donor, a bin of depth) in which both are high makes no correlation. Only active cells have ranks that differ from those
of the many zeros, so one walk over the active cells and the genes they express gives all sums.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from cellprism.stats.expression import Expression, column_order
from cellprism.stats.gene_blocks import row_arrays
from cellprism.stats.kernels import lift_over_zeros, njit
from cellprism.stats.parallel import for_chunks

__all__ = ["activation_association"]


@njit
def _weighted_sums(
    ptr: np.ndarray,
    cells: np.ndarray,
    weight: np.ndarray,
    row_ptr: np.ndarray,
    genes: np.ndarray,
    values: np.ndarray,
    n_genes: int,
) -> np.ndarray:
    """(features, genes) sums of a sparse gene value (the first of each pair) over each feature's cells, weighted by feature and cell."""
    out = np.zeros((ptr.size - 1, n_genes))
    for f in range(ptr.size - 1):
        for k in range(ptr[f], ptr[f + 1]):
            w = weight[k]
            for p in range(row_ptr[cells[k]], row_ptr[cells[k] + 1]):
                out[f, genes[p]] += w * values[p, 0]
    return out


def activation_association(codes: sp.csc_array, expression: Expression) -> np.ndarray:
    """Spearman's rho of every feature's code with every gene.

    Parameters
    ----------
    codes
        (cells, features) CSC of positive values without stored zeros.
    expression
        Ranked expression.

    Returns
    -------
    (features, genes) float32, between -1 and 1; 0 where either is constant within every stratum. With one stratum it is
    ``scipy.stats.spearmanr``. A feature with many zeros cannot reach 1 with a gene that has fewer ties.

    Examples
    --------
    >>> from cellprism.stats.association import activation_association
    >>> from cellprism.stats.expression import prepare_expression
    >>> rho = activation_association(codes.tocsc(), prepare_expression(expression))
    >>> bool(np.abs(rho).max() <= 1)
    True
    """
    ptr = codes.indptr.astype(np.int64)
    cells = codes.indices
    lift, _ = lift_over_zeros(ptr, codes.data, column_order(ptr, codes.data), expression.n_cells)
    sizes = expression.sizes.astype(np.float64)
    n_strata, n_features = sizes.size, codes.shape[1]
    owner = np.repeat(np.arange(n_features), np.diff(ptr)) * n_strata + expression.strata[cells]
    in_stratum = np.bincount(owner, weights=lift, minlength=n_features * n_strata).reshape(n_features, n_strata)
    square = np.bincount(owner // n_strata, weights=lift**2, minlength=n_features)
    # the sums of squares left when each stratum's mean is taken out
    code_length = np.sqrt(np.maximum(square - (in_stratum**2 / sizes).sum(axis=1), 0.0))
    gene_length = np.sqrt(np.maximum(((sizes**3 - sizes)[:, None] - expression.ties) / 12.0, 0.0).sum(axis=0))
    centre = expression.zero_rank - (sizes[:, None] + 1.0) / 2.0
    row_ptr, genes = row_arrays(expression.log)
    out = np.zeros((n_features, expression.n_genes), dtype=np.float32)

    def correlate(part: slice) -> None:
        start, stop = ptr[part.start], ptr[part.stop]
        sums = _weighted_sums(
            ptr[part.start : part.stop + 1] - start,
            cells[start:stop],
            lift[start:stop],
            row_ptr,
            genes,
            expression.values,
            expression.n_genes,
        )
        product = sums + in_stratum[part] @ centre
        length = code_length[part, None] * gene_length
        usable = length > 1e-9 * expression.n_cells
        out[part] = np.where(usable, product / np.where(usable, length, 1.0), 0.0)

    for_chunks(correlate, n_features, 16)
    return out
