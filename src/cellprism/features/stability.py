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
from cellprism.features.matching import Match, match_codes
from cellprism.sae.correlation import code_correlation
from cellprism.sae.fit import Fit

__all__ = ["FEWEST", "RETURNED", "fit_matches", "fit_stability", "stability"]

RETURNED = 0.9
"""Correlation from which on a feature counts as found again."""
FEWEST = 10
"""Active cells from which on a correlation of codes says something; features with fewer have no stability."""
_MOST_CELLS = 100_000  # beyond, a fixed draw of cells: the error is then far below a hundredth
_GROUPS = 20  # of cells, each left out once for the error
_PERMUTATIONS = 2  # of the cells, for each sibling


def stability(
    codes: Any,
    sibling_codes: Sequence[Any],
    directions: NDArray[Any] | None = None,
    sibling_directions: Sequence[NDArray[Any]] | None = None,
    *,
    returned: float = RETURNED,
    fewest: int = FEWEST,
    seed: int = 0,
) -> pd.DataFrame:
    """Stability of each feature: its match among the SAEs of other seeds, beside its error and its null.

    Parameters
    ----------
    codes
        (cells, width) codes of the SAE, sparse or dense. The best of many correlations is high by chance where cells are
        few, so take as many as there are.
    sibling_codes
        Codes of the same cells from SAEs of other seeds; widths may differ.
    directions, sibling_directions
        Decoder directions (width, d) of the SAE and of each sibling, for the cosine.
    returned
        Correlation from which on a feature counts as found again.
    fewest
        Active cells that a feature needs: one cell alone correlates at 1 with whatever is active there.
    seed
        Of the permutations and the groups.

    Returns
    -------
    pandas.DataFrame
        A row a feature, NaN where the feature is active in too few cells or there is no sibling. ``stability``: mean over
        siblings of the best match's Pearson correlation, within [0, 1]. ``error``: its standard error over cells, by a
        jackknife that leaves out one of 20 groups at a time. ``null``: the same mean where the siblings' cells are
        permuted, so what the best of that many correlations reaches by chance. ``one_to_one``: the same where each feature of a
        sibling serves one feature alone, so that duplicates show. ``cosine``: mean cosine between the decoder directions
        of the one-to-one partners. ``returns``: share of siblings with a one-to-one partner of at least ``returned``.

    Raises
    ------
    InputError
        If the codes are of different cells, or directions do not fit them.

    Examples
    --------
    >>> from cellprism.features.stability import stability
    >>> table = stability(codes, [codes])  # a sibling that is the same
    >>> bool(table["stability"].dropna().min() > 0.999)
    True
    """
    if sibling_directions is not None and len(sibling_directions) != len(sibling_codes):
        raise InputError(
            "each sibling has codes and directions",
            f"{len(sibling_codes)} codes, {len(sibling_directions)} directions",
            "give both, in the same order",
        )
    found = _matches(codes, sibling_codes, directions, sibling_directions)
    return _summary(found, codes, sibling_codes, returned, fewest, seed)


def fit_stability(fit: Fit, X: NDArray[Any], *, returned: float = RETURNED) -> pd.DataFrame:
    """:func:`stability` of a fit with several seeds, on all its cells (on a draw of 100,000 where there are more).

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

    Examples
    --------
    >>> from cellprism.features.stability import fit_stability
    >>> twice = prism.fit(X, prism.SAEConfig(16, "batchtopk", k=4), seeds=2, epochs=5)
    >>> fit_stability(twice, X).columns[:3].tolist()
    ['stability', 'one_to_one', 'cosine']
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
        A row a feature that has a stability and sibling: ``feature``; ``seed``, number of the sibling from 1;
        ``partner``, its one-to-one counterpart there (-1: none), with ``correlation`` of their codes and ``cosine`` of
        their decoder directions; ``best`` and ``best_correlation``, the best match, which several may share.

    Raises
    ------
    InputError
        If the fit has one seed only.

    Examples
    --------
    >>> from cellprism.features.stability import fit_matches
    >>> twice = prism.fit(X, prism.SAEConfig(16, "batchtopk", k=4), seeds=2, epochs=5)
    >>> table, matches = fit_matches(twice, X)
    >>> matches["seed"].unique().tolist()
    [1]
    """
    if not fit.siblings:
        raise InputError("stability needs SAEs of several seeds", "one seed", "fit with `seeds=3`")
    X = check_embedding(X)
    # All cells, as the number of cells matters more than whether they were trained on: the best of 64 correlations over
    # the 70 held-out cells of 700 is 0.36 by chance, over all of them 0.10.
    cells = X
    if len(X) > _MOST_CELLS:
        cells = X[np.sort(np.random.default_rng(0).choice(len(X), _MOST_CELLS, replace=False))]
    codes, others = fit.sae.encode(cells), [sae.encode(cells) for sae in fit.siblings]
    directions = [sae.decoder_directions() for sae in fit.siblings]
    found = _matches(codes, others, fit.sae.decoder_directions(), directions)
    summary = _summary(found, codes, others, returned, FEWEST, 0)
    # Features guided by genes are the same from every seed, since the genes are: that is no evidence.
    guided = summary.index >= fit.sae.width - fit.sae.config.guided
    summary.loc[guided, ["stability", "error", "null"]] = np.nan
    table = _match_table(found)
    known = summary.index[summary["stability"].notna()]
    return summary, table[table["feature"].isin(known)].reset_index(drop=True)


def _matches(
    codes: Any,
    sibling_codes: Sequence[Any],
    directions: NDArray[Any] | None,
    sibling_directions: Sequence[NDArray[Any]] | None,
) -> list[Match]:
    where = [None] * len(sibling_codes) if sibling_directions is None else list(sibling_directions)
    return [match_codes(codes, other, directions, to) for other, to in zip(sibling_codes, where, strict=True)]


def _summary(
    found: Sequence[Match], codes: Any, others: Sequence[Any], returned: float, fewest: int, seed: int
) -> pd.DataFrame:
    width = codes.shape[1]
    best, partner, cosine, null = (np.full((len(found), width), np.nan) for _ in range(4))
    left_out = np.zeros((_GROUPS, len(found), width))
    rng = np.random.default_rng(seed)
    group = rng.permutation(np.arange(codes.shape[0]) % _GROUPS)
    for i, (one, other) in enumerate(zip(found, others, strict=True)):
        best[i], partner[i], cosine[i] = one.best_correlation, one.partner_correlation, one.cosine
        left_out[:, i] = _left_out(codes, other, one.best, group)
        null[i] = _by_chance(codes, other, rng)
    known = (np.diff(sp.csc_array(codes).indptr) >= max(1, fewest)) & (len(found) > 0)
    return pd.DataFrame(
        {
            "stability": _mean(best, known),
            "one_to_one": _mean(partner, known),
            "cosine": _mean(cosine, known),
            "returns": _mean((partner >= returned).astype(float), known),
            "error": np.where(known, _jackknife_error(left_out.mean(axis=1)) if len(found) else np.nan, np.nan),
            "null": _mean(null, known),
        },
        index=pd.RangeIndex(width, name="feature"),
    )


def _by_chance(codes: Any, others: Any, rng: np.random.Generator) -> NDArray[np.float64]:
    """(width,) best correlation of each feature with those of permuted cells, mean over permutations."""
    shuffled = [sp.csr_array(others)[rng.permutation(codes.shape[0])] for _ in range(_PERMUTATIONS)]
    best = [code_correlation(codes, other).max(axis=1).toarray().ravel() for other in shuffled]
    return np.asarray(np.mean(best, axis=0), dtype=np.float64)


def _left_out(codes: Any, others: Any, best: NDArray[np.intp], group: NDArray[np.intp]) -> NDArray[np.float64]:
    """(groups, width) correlation of each feature with its best match without the cells of each group, not below 0."""
    a = sp.csr_array(codes, dtype=np.float64)
    b = sp.csr_array(sp.csc_array(others, dtype=np.float64)[:, np.maximum(best, 0)])
    member = sp.csr_array((np.ones(len(group)), (group, np.arange(len(group)))), shape=(_GROUPS, len(group)))
    n = len(group) - np.bincount(group, minlength=_GROUPS)[:, None]

    def without(values: sp.csr_array) -> NDArray[np.float64]:
        sums = (member @ values).toarray()
        return np.asarray(sums.sum(axis=0) - sums) / np.maximum(n, 1)

    x, y = without(a), without(b)
    xx, yy, xy = without(a.multiply(a).tocsr()), without(b.multiply(b).tocsr()), without(a.multiply(b).tocsr())
    scale = np.sqrt(np.clip(xx - x * x, 0, None) * np.clip(yy - y * y, 0, None))
    r = np.divide(xy - x * y, scale, out=np.zeros_like(scale), where=scale > 0)
    return np.clip(np.where(best >= 0, r, 0.0), 0.0, 1.0)


def _jackknife_error(left_out: NDArray[np.float64]) -> NDArray[np.float64]:
    """(width,) standard error from values (groups, width) that each leave out one group."""
    about = left_out - left_out.mean(axis=0)
    return np.asarray(np.sqrt((_GROUPS - 1) / _GROUPS * (about**2).sum(axis=0)))


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
