"""Gene symbols beside gene names: which gene stands for a symbol in set tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from cellprism.errors import InputError

__all__ = ["Symbols", "clean_symbols"]

_MISSING = frozenset({"", "-", "--", "na", "n/a", "<na>", "nan", "none", "null"})


@dataclass(frozen=True)
class Symbols:
    """One symbol a measured gene, and which genes count in set tests."""

    symbols: NDArray[np.object_]
    """(genes,) symbol of each gene, "" where it has none; what the gene table shows."""
    counted: NDArray[np.bool_]
    """(genes,) True where the gene stands for its symbol in set tests."""
    n_missing: int
    """Genes without a symbol."""
    n_shared: int
    """Genes whose symbol is counted on another gene."""

    @property
    def for_sets(self) -> NDArray[np.object_]:
        """(genes,) symbols with all but the counted ones blank, as :func:`cellprism.genesets.match_sets` takes them."""
        return np.where(self.counted, self.symbols, "").astype(object)

    def summary(self) -> str:
        """One line for people."""
        return (
            f"{int(self.counted.sum()):,} of {len(self.symbols):,} genes count in set tests "
            f"({self.n_missing:,} without a symbol, {self.n_shared:,} share one with a gene that counts)"
        )


def clean_symbols(
    genes: Sequence[str] | NDArray[np.object_],
    symbols: Sequence[object] | pd.Series | NDArray[np.object_] | None = None,
    mean_expression: ArrayLike | None = None,
) -> Symbols:
    """Tell missing symbols, and choose one gene for each symbol that several genes share.

    Parameters
    ----------
    genes
        (genes,) measured genes, as the expression table names them.
    symbols
        (genes,) symbol of each; None, NaN, "", "-", "nan", "NaN", "None", "NA" and the like are missing. Without it
        the gene names are the symbols.
    mean_expression
        (genes,) mean expression of each gene, in any one unit. Of the genes with one symbol the one with the highest
        mean counts in set tests, the first of these where they tie (and the first of all where this is not given).

    Returns
    -------
    Symbols
        Every gene keeps its symbol; ``counted`` tells which stand for it.

    Raises
    ------
    InputError
        If the lengths differ, a mean is not finite, or no gene has a symbol.

    Notes
    -----
    One gene a symbol keeps set tests honest: four measured haemoglobin genes mapped to one human symbol are one
    observation of it, not four. The choice looks at the mean over all cells only, never at a contrast, so it does not
    favour any finding.

    Examples
    --------
    >>> from cellprism.data.symbols import clean_symbols
    >>> found = clean_symbols(["ENSG1", "ENSG2"], ["CD3E", "nan"])
    >>> list(found.symbols)
    ['CD3E', '']
    """
    raw = list(genes) if symbols is None else list(symbols)
    if len(raw) != len(genes):
        raise InputError(
            "there must be one symbol for each gene", f"{len(raw)} symbols for {len(genes)} genes", "align the two"
        )
    cleaned = np.array([_clean(value) for value in raw], dtype=object)
    named = cleaned != ""
    if not named.any():
        raise InputError(
            "at least one gene must have a symbol", f"none among {len(genes)}", "choose another column of symbols"
        )
    level = np.zeros(len(raw)) if mean_expression is None else np.asarray(mean_expression, dtype=float).ravel()
    if level.shape != (len(raw),) or not np.isfinite(level).all():
        raise InputError(
            "mean expression must be one finite number for each gene",
            f"{level.size} values, {int((~np.isfinite(level)).sum())} of them not finite, for {len(raw)} genes",
            "give the mean over cells of each gene",
        )
    table = pd.DataFrame({"symbol": cleaned, "level": -level})[named]
    first = table.sort_values("level", kind="stable").drop_duplicates("symbol").index
    counted = np.zeros(len(raw), dtype=bool)
    counted[first] = True
    return Symbols(
        symbols=cleaned,
        counted=counted,
        n_missing=int((~named).sum()),
        n_shared=int((named & ~counted).sum()),
    )


def _clean(value: object) -> str:
    """Return the symbol as text, "" where it says that there is none."""
    if value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value)):
        return ""
    text = str(value).strip()
    return "" if text.casefold() in _MISSING else text
