"""Does a feature come back when the training is repeated from another seed?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from cellprism.data.checks import check_embedding
from cellprism.errors import InputError
from cellprism.features.matching import Match, match
from cellprism.sae.fit import Fit

__all__ = ["RETURNED", "fit_matches", "fit_stability", "stability"]

RETURNED = 0.9
"""Correlation from which on a feature counts as found again."""


def stability(
    codes: Any,
    sibling_codes: Sequence[Any],
    directions: NDArray[Any] | None = None,
    sibling_directions: Sequence[NDArray[Any]] | None = None,
    *,
    returned: float = RETURNED,
) -> pd.DataFrame:
    """Stability of each feature: its match among the SAEs of other seeds.

    Parameters
    ----------
    codes
        (cells, width) codes of the SAE, sparse or dense; best of cells kept out of training.
    sibling_codes
        Codes of the same cells from SAEs of other seeds; widths may differ.
    directions, sibling_directions
        Decoder directions (width, d) of the SAE and of each sibling, for the cosine.
    returned
        Correlation from which on a feature counts as found again.

    Returns
    -------
    pandas.DataFrame
        A row a feature, NaN where the feature is dead in these cells or there is no sibling. ``stability``: mean over
        siblings of the best match's Pearson correlation, within [0, 1]. ``one_to_one``: the same where each feature of a
        sibling serves one feature alone, so that duplicates show. ``cosine``: mean cosine between the decoder directions
        of the one-to-one partners. ``returns``: share of siblings with a one-to-one partner of at least ``returned``.

    Raises
    ------
    InputError
        If the codes are of different cells, or directions do not fit them.
    """
    if sibling_directions is not None and len(sibling_directions) != len(sibling_codes):
        raise InputError(
            "each sibling has codes and directions",
            f"{len(sibling_codes)} codes, {len(sibling_directions)} directions",
            "give both, in the same order",
        )
    return _summary(_matches(codes, sibling_codes, directions, sibling_directions), codes, returned)


def fit_stability(fit: Fit, X: NDArray[Any], *, returned: float = RETURNED) -> pd.DataFrame:
    """:func:`stability` of a fit with several seeds, on its held-out cells (on all cells where there are none).

    Parameters
    ----------
    fit
        From :func:`cellprism.fit` with ``seeds`` of at least 2.
    X
        (cells, d), the embedding that was fitted.
    returned
        See :func:`stability`.

    Raises
    ------
    InputError
        If the fit has one seed only.
    """
    return fit_matches(fit, X, returned=returned)[0]


def fit_matches(fit: Fit, X: NDArray[Any], *, returned: float = RETURNED) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Stability of a fit with several seeds, and the matches that it summarises.

    Parameters
    ----------
    fit, X, returned
        As for :func:`fit_stability`.

    Returns
    -------
    stability
        Of :func:`stability`.
    matches
        A row a feature that is live in these cells and sibling: ``feature``; ``seed``, number of the sibling from 1;
        ``partner``, its one-to-one counterpart there (-1: none), with ``correlation`` of their codes and ``cosine`` of
        their decoder directions; ``best`` and ``best_correlation``, the best match, which several may share.

    Raises
    ------
    InputError
        If the fit has one seed only.
    """
    if not fit.siblings:
        raise InputError("stability needs SAEs of several seeds", "one seed", "fit with seeds=3")
    X = check_embedding(X)
    cells = X[fit.holdout] if len(fit.holdout) else X
    codes = fit.sae.encode(cells)
    found = _matches(
        codes,
        [sae.encode(cells) for sae in fit.siblings],
        fit.sae.decoder_directions(),
        [sae.decoder_directions() for sae in fit.siblings],
    )
    return _summary(found, codes, returned), _match_table(found)


def _matches(
    codes: Any,
    sibling_codes: Sequence[Any],
    directions: NDArray[Any] | None,
    sibling_directions: Sequence[NDArray[Any]] | None,
) -> list[Match]:
    where = [None] * len(sibling_codes) if sibling_directions is None else list(sibling_directions)
    return [match(codes, other, directions, to) for other, to in zip(sibling_codes, where, strict=True)]


def _summary(found: Sequence[Match], codes: Any, returned: float) -> pd.DataFrame:
    width = codes.shape[1]
    best, partner, cosine = (np.full((len(found), width), np.nan) for _ in range(3))
    for i, one in enumerate(found):
        best[i], partner[i], cosine[i] = one.best_correlation, one.partner_correlation, one.cosine
    known = (np.diff(sp.csc_array(codes).indptr) > 0) & (len(found) > 0)
    return pd.DataFrame(
        {
            "stability": _mean(best, known),
            "one_to_one": _mean(partner, known),
            "cosine": _mean(cosine, known),
            "returns": _mean((partner >= returned).astype(float), known),
        },
        index=pd.RangeIndex(width, name="feature"),
    )


def _match_table(found: Sequence[Match]) -> pd.DataFrame:
    parts = [
        pd.DataFrame(
            {
                "feature": np.arange(len(one.best), dtype=np.int32),
                "seed": np.int32(i + 1),
                "partner": one.partner.astype(np.int32),
                "correlation": one.partner_correlation,
                "cosine": one.cosine,
                "best": one.best.astype(np.int32),
                "best_correlation": one.best_correlation,
            }
        )
        for i, one in enumerate(found)
    ]
    table = pd.concat(parts)
    table = table[table["best_correlation"].notna()]
    return table.sort_values(["feature", "seed"], kind="stable", ignore_index=True)


def _mean(values: NDArray[np.float64], known: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Mean over siblings that know the feature; NaN where none does."""
    given = np.isfinite(values)
    total = np.where(given, values, 0.0).sum(axis=0)
    count = given.sum(axis=0)
    mean = np.full(values.shape[1], np.nan)
    np.divide(total, count, out=mean, where=known & (count > 0))
    return mean
