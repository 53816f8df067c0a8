"""A page that can be mailed: one file within a limit, packed tightly where it must be, or how to serve it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from cellprism.report.bundle import Packing, bundle
from cellprism.report.page import bare_page, page
from cellprism.report.source import Source

if TYPE_CHECKING:
    from cellprism.features.comparison import Comparison

__all__ = ["LIMIT", "Made", "one_file"]

LIMIT: Final = 60_000_000
"""Bytes that one file may have."""
TIGHTER: Final = (
    Packing(),
    Packing(gene_rows=80, expression=False),
    Packing(gene_rows=40, set_rows=20, expression=False),
)
A_CODE: Final = 1.5
"""Bytes that an activation takes at the least, packed."""


class Made(NamedTuple):
    """The text of a page, and what a reader should know of how it was made ("" where nothing was left out)."""

    text: str
    told: str


def one_file(
    source: Source, other: Source | None, name: str, *, comparison: Comparison | None = None, limit: int = LIMIT
) -> Made:
    """Make the page of a run as one file of at most `limit` bytes.

    Parameters
    ----------
    source, other, comparison
        As for :func:`cellprism.report.bundle.bundle`.
    name
        The run folder as a command would name it.
    limit
        Bytes.

    Returns
    -------
    The page; where it would be larger, with fewer genes and sets a feature and without the expression of single cells;
    where that is not enough, a short page that says how to serve the run.
    """
    codes = source.codes.nnz + (0 if other is None else other.codes.nnz)
    smallest = 4 / 3 * A_CODE * codes  # base64 of the activations alone
    size = 0
    for packing in TIGHTER if smallest <= limit else ():
        made = bundle(source, other=other, comparison=comparison, packing=packing)
        size = round(4 / 3 * made.size)
        if size > limit:
            continue
        text = page(made)
        size = len(text.encode())
        if size <= limit:
            return Made(text, "" if packing is TIGHTER[0] else _cut(packing, limit))
    told = (
        f"The page would have about {max(size, smallest) / 1e6:,.0f} MB, more than the {_mb(limit)} that one file may have. "
        f"Open it with: cellprism serve {name}"
    )
    return Made(bare_page(_title(source), _sentence(source), told), told)


def _cut(packing: Packing, limit: int) -> str:
    return (
        f"So that the page stays within {_mb(limit)}, it keeps the {packing.gene_rows} strongest genes and "
        f"{packing.set_rows} strongest gene sets of each feature and no expression of single cells; "
        f"`cellprism serve` shows all of it."
    )


def _mb(size: int) -> str:
    return f"{size / 1e6:,.3g} MB"


def _title(source: Source) -> str:
    return f"cellprism · {source.n_features:,} features"


def _sentence(source: Source) -> str:
    return str(source.info.get("summary") or f"{source.n_features:,} features of {source.n_cells:,} cells.")
