"""Which feature of one dictionary is which of another: by the cells they fire in, and by where they point."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from cellprism.data.order import refuse_other_order
from cellprism.errors import InputError
from cellprism.features.annotate import Annotation
from cellprism.features.assignment import best_of_rows, one_to_one
from cellprism.features.comparison import Comparison, compare
from cellprism.features.dictionary import Dictionary, dictionary_of, encoded_by
from cellprism.features.options import By, CompareOptions
from cellprism.folder import RunFolder
from cellprism.numeric import numbers_checked
from cellprism.options import documented
from cellprism.sae.correlation import code_correlation
from cellprism.stats.contrast import check_codes

__all__ = ["Match", "match", "match_codes"]

_Known = Dictionary | RunFolder | Annotation | str | Path


class Match(NamedTuple):
    """Counterparts of the features of one dictionary in another; -1 and NaN where there is none."""

    best: NDArray[np.intp]
    """(width,) feature of the other dictionary with the highest correlation; several may share one."""
    best_correlation: NDArray[np.float64]
    """(width,) its Pearson correlation over cells; 0 where no feature correlates positively, NaN for a dead feature."""
    partner: NDArray[np.intp]
    """(width,) feature of the other dictionary in the one-to-one matching of largest summed correlation."""
    partner_correlation: NDArray[np.float64]
    """(width,) its correlation; 0 where a live feature is left alone, NaN for a dead one."""
    cosine: NDArray[np.float64]
    """(width,) cosine between the decoder directions of the feature and of ``partner``; NaN where not known."""

    def __repr__(self) -> str:
        live = np.isfinite(self.best_correlation)
        found = int((self.partner_correlation > 0.7).sum())
        return (
            f"Match of {self.best.size:,} features, {int(live.sum()):,} of them live\n"
            f"    {found:,} have a one-to-one partner at r > 0.7; .partner, .partner_correlation, .best, .cosine"
        )


@overload
def match(
    first: _Known,
    second: _Known,
    *,
    encode: bool = ...,
    by: By = ...,
    level: float | None = ...,
    permutations: int = ...,
    within: str | None = ...,
    seed: int = ...,
) -> Comparison: ...


@overload
def match(
    first: Any,
    second: Any,
    directions: NDArray[Any] | None = ...,
    other_directions: NDArray[Any] | None = ...,
    *,
    floor: float = ...,
) -> Match: ...


@numbers_checked
@documented(CompareOptions)
def match(
    first: Any,
    second: Any,
    directions: NDArray[Any] | None = None,
    other_directions: NDArray[Any] | None = None,
    *,
    floor: float = 0.0,
    encode: bool = False,
    by: By = CompareOptions.by,
    level: float | None = CompareOptions.level,
    permutations: int = CompareOptions.permutations,
    within: str | None = CompareOptions.within,
    seed: int = CompareOptions.seed,
) -> Match | Comparison:
    """Match the features of two dictionaries: of other seeds, widths, embeddings, cells or data sets.

    Parameters
    ----------
    first, second
        Two run folders or annotations, which are compared ``by`` what they know, beside a null. Or two matrices of codes
        (cells, width) and (cells, other width), sparse or dense, non-negative, of the same cells in the same order; best of
        cells that trained neither: these are matched by correlation alone, and the options below are not theirs.
    directions, other_directions
        With codes: (width, d) and (other width, d) decoder directions of both, for the cosine.
    floor
        With codes: correlations up to it count as none; raise it to save memory with very wide dictionaries.
    encode
        With folders of runs on other cells, whose embeddings are of one model: the second's dictionary encodes the first's cells.
    {CompareOptions}

    Returns
    -------
    Comparison
        Of folders or annotations: tables for both sides, with relations (shared, split, merged, unique), p and q values.
    Match
        Of codes: a row a feature of the first.

    Raises
    ------
    InputError
        If the two have too little in common: cells, genes or sets of the same names, or one embedding space; or the cells of
        codes differ in number, or directions do not fit them.

    Examples
    --------
    >>> found = prism.match(codes, codes)
    >>> live = np.flatnonzero(codes.sum(axis=0) > 0)
    >>> bool((found.partner[live] == live).all())
    True
    >>> prism.match("RUN", "RUN", by="sets", permutations=20).table.columns[:3].tolist()
    ['feature', 'name', 'relation']
    """
    options = CompareOptions(by, level, permutations, within, seed)
    if encode and not all(isinstance(one, (str, Path, RunFolder)) for one in (first, second)):
        raise InputError(
            "only runs encode each other's cells", "something else than two run folders", "give their paths"
        )
    known = [dictionary_of(first, by), encoded_by(second, first, by) if encode else dictionary_of(second, by)]
    if known[0] is not None and known[1] is not None:
        if directions is not None or other_directions is not None or floor:
            raise InputError("directions and a floor go with matrices of codes", "them beside a run", "leave them out")
        return compare(known[0], known[1], options)
    if known != [None, None]:
        raise InputError("two of a kind are matched", "a run or annotation and an array", "give two run folders")
    if options != CompareOptions():
        raise InputError(
            "codes alone are matched by their correlation",
            "options for runs",
            "give run folders, or leave the options out",
        )
    return match_codes(first, second, directions, other_directions, floor=floor)


def match_codes(
    codes: Any,
    others: Any,
    directions: NDArray[Any] | None = None,
    other_directions: NDArray[Any] | None = None,
    *,
    floor: float = 0.0,
) -> Match:
    """Match the features of two dictionaries by the correlation of their codes; see :func:`match`.

    Parameters
    ----------
    codes, others
        (cells, width) and (cells, other width), sparse or dense, non-negative, of the same cells in the same order;
        best of cells that trained neither.
    directions, other_directions
        (width, d) and (other width, d) decoder directions of both, for the cosine.
    floor
        Correlations up to it count as none; raise it to save memory with very wide dictionaries.

    Returns
    -------
    Match
        A row a feature of ``codes``.

    Raises
    ------
    InputError
        If the cells differ in number, or directions do not fit the codes.

    Examples
    --------
    >>> from cellprism.features.matching import match_codes
    >>> found = match_codes(codes, codes)
    >>> bool(np.nanmax(found.best_correlation) > 0.999)
    True
    """
    refuse_other_order(codes=codes, others=others)
    ours, theirs = check_codes(codes), check_codes(others)
    r = code_correlation(ours, theirs, floor)
    live = np.diff(ours.indptr) > 0
    best, best_r = best_of_rows(r)
    partner, partner_r = one_to_one(r)
    met = partner >= 0
    best_r[~live] = np.nan
    partner_r[~live] = np.nan
    cosine = np.full(r.shape[0], np.nan)
    if directions is not None and other_directions is not None:
        a, b = _unit(directions, r.shape[0]), _unit(other_directions, r.shape[1])
        cosine[met] = np.einsum("fd,fd->f", a[met], b[partner[met]])
    return Match(best, best_r, partner, partner_r, cosine)


def _unit(directions: NDArray[Any], width: int) -> NDArray[np.float64]:
    array = np.asarray(directions, dtype=np.float64)
    if array.ndim != 2 or len(array) != width:
        raise InputError("decoder directions have a row a feature", f"shape {array.shape}, {width} features", "mend it")
    return np.asarray(array / np.linalg.norm(array, axis=1, keepdims=True).clip(1e-12))
