"""Local, regional, global or dead: in how many cell types a feature stands out."""

from __future__ import annotations

import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellprism.data.missing import groups
from cellprism.errors import InputError
from cellprism.stats.walks import list_sums

__all__ = ["cell_type_kinds", "has_kinds"]


def has_kinds(labels: np.ndarray) -> bool:
    """Whether two cell types have two cells each, so that :func:`cell_type_kinds` can tell kinds."""
    return int((groups(labels).sizes >= 2).sum()) >= 2


def cell_type_kinds(codes: sp.sparray | np.ndarray, labels: np.ndarray, z: float = 1.96) -> pd.DataFrame:
    """Kind of every feature by the rule of Schuster (2024, arXiv 2410.11468).

    A feature stands out in a cell type when its mean activation inside less that outside exceeds ``z`` times the sum
    of the two standard errors. *Local*: in exactly one type; *regional*: in several; *global*: active, but in none;
    *dead*: never active.

    Parameters
    ----------
    codes
        (cells, features) non-negative.
    labels
        (cells,) cell types; cells without one are left out. Types of a single cell have no standard error
        and are left out too.

    Returns
    -------
    One row a feature: ``feature``, ``kind``, ``n_types``, ``types`` (joined by "; ", strongest first).

    Raises
    ------
    InputError
        When fewer than two cell types have two cells.

    Examples
    --------
    >>> from cellprism.features.kinds import cell_type_kinds
    >>> cell_type_kinds(codes, types).columns.tolist()
    ['feature', 'kind', 'n_types', 'types']
    """
    codes = sp.csc_array(codes)
    found = groups(labels)
    names, counts = found.names, found.sizes
    if (counts >= 2).sum() < 2:
        raise InputError(
            "kinds need two cell types with at least two cells each",
            f"{int((counts >= 2).sum())} such types",
            "give another label column",
        )
    ptr = codes.indptr.astype(np.int64, copy=False)
    sums = list_sums(ptr, codes.indices, codes.data, found.number, names.size, 2)
    sum_in, square_in = sums[1].T, sums[2].T
    total, total_square = sum_in.sum(axis=0), square_in.sum(axis=0)
    n_in = counts[:, None].astype(float)
    n_out = counts.sum() - n_in
    mean_in, se_in = _mean_se(sum_in, square_in, n_in)
    mean_out, se_out = _mean_se(total - sum_in, total_square - square_in, n_out)
    margin = mean_in - mean_out - z * (se_in + se_out)
    stands_out = (margin > 0) & (counts >= 2)[:, None]
    n_types = stands_out.sum(axis=0)
    alive = np.asarray(codes.sum(axis=0)) > 0
    kind = np.select([~alive, n_types == 1, n_types > 1], ["dead", "local", "regional"], "global")
    order = np.argsort(-np.where(stands_out, mean_in - mean_out, -np.inf), axis=0, kind="stable")
    types = ["; ".join(names[order[: n_types[f], f]]) for f in range(codes.shape[1])]
    return pd.DataFrame({"feature": np.arange(codes.shape[1]), "kind": kind, "n_types": n_types, "types": types})


def _mean_se(total: np.ndarray, square: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mean = total / np.maximum(n, 1.0)
    variance = np.maximum(square - n * mean**2, 0.0) / np.maximum(n - 1.0, 1.0)
    return mean, np.sqrt(variance / np.maximum(n, 1.0))
