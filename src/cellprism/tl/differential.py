"""Compare features between two conditions."""

from __future__ import annotations

import json
from typing import Any

import anndata as ad

from cellprism.data.order import refuse_other_order
from cellprism.data.query import rows_where
from cellprism.data.read import describe_keys, one_of_these
from cellprism.data.sparse import as_csr
from cellprism.errors import InputError
from cellprism.features.differential import Differential
from cellprism.features.differential import differential as _differential
from cellprism.numeric import numbers_checked
from cellprism.steering.effect import plain
from cellprism.tl.stored import names_of, stored

__all__ = ["differential"]


@numbers_checked
def differential(
    adata: ad.AnnData,
    by: str,
    donor: str | None = None,
    *,
    within: Any = None,
    conditions: tuple[str, str] | None = None,
    key: str = "prism",
) -> Differential:
    """Compare every feature between two conditions, over cells or over donors.

    Parameters
    ----------
    adata
        After :func:`fit`; gets the table, smallest p first, in ``uns[key]["differential"]`` and what was compared in
        ``uns[key]["differential_info"]`` (JSON).
    by, donor
        Columns of ``obs``.
    within
        Cells to compare: a boolean mask, or a condition on ``obs`` such as ``"cell_type == 'B'"``
        (:func:`cellprism.data.query.rows_where`); None = all.
    conditions
        The two values of ``by`` to compare, the reference first; needed when there are more than two.
    key
        Name of the result of :func:`fit`.

    Returns
    -------
    Differential
        The same as an object, see :func:`cellprism.differential`.

    Examples
    --------
    >>> found = prism.tl.differential(adata, by="condition", donor="donor")
    >>> adata.uns["prism"]["differential"]["pval"].is_monotonic_increasing
    True
    """
    kept = stored(adata, key)
    for column in (by, *([donor] if donor else [])):
        if column not in adata.obs:
            raise InputError(
                "the column must exist in obs",
                f"{column!r}; there are {describe_keys(adata.obs)}",
                one_of_these(column, adata.obs),
            )
    refuse_other_order(adata=adata, within=within)
    mask = rows_where(adata.obs, within) if isinstance(within, str) else within
    found = _differential(
        as_csr(adata.obsm[f"X_{key}"], "the matrix of codes"), adata.obs[by], None if donor is None else adata.obs[donor],
        within=mask, conditions=conditions,
    )  # fmt: skip
    table = found.table.sort_values(["pval", "feature"], ignore_index=True)
    if "features" in kept:
        table["name"] = names_of(kept["features"], table["feature"])
    kept["differential"] = table
    kept["differential_info"] = json.dumps(plain(found.info))
    return found
