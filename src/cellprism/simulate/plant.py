"""Programmes planted in real counts: cells as they are, with something in them that is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from cellprism.data.missing import groups
from cellprism.data.state import recognise, to_log1p, whole
from cellprism.errors import CellsLeftOut, InputError, warn
from cellprism.numeric import numbers_checked
from cellprism.stats.units import refuse_numbers

__all__ = ["Depth", "Planted", "Programme", "cluster_regions", "plant", "whole_counts"]

Depth = Literal["kept", "grown"]

DENSEST = 0.5
"""Share of the cells of its regions in which a confined programme is on at most: more regions are added until it is."""

_ROWS = 1_024  # cells made dense at once


@numbers_checked
@dataclass(frozen=True)
class Programme:
    """What is to be planted."""

    n_genes: int = 30
    """Genes that it raises together."""
    share: float = 0.1
    """Share of all cells (that have a region) in which it is on."""
    fold: float = 2.0
    """Factor on the mean of its genes in a cell of activity 1; below 1 it lowers them, 1 plants nothing."""
    confined: bool | tuple[str, ...] = False
    """Whether only some regions have it, drawn at random, or these."""

    def __post_init__(self) -> None:
        if not isinstance(self.confined, bool) and not self.confined:
            raise InputError("a confined programme needs regions", "none named", "name some, or give True or False")


class Planted(NamedTuple):
    """Counts with programmes in them, and the truth about these."""

    counts: sparse.csr_array
    """(cells, genes) float32, whole numbers."""
    activity: NDArray[np.float32]
    """(cells, programmes); 0 where a programme is off."""
    possible: NDArray[np.bool_]
    """(cells, programmes): the cells of the regions that a programme may be on in."""
    programmes: pd.DataFrame
    """A row a programme: ``programme`` (its name), ``n_genes``, ``share``, ``fold``, ``confined``, ``regions`` (names of
    those it may be on in, joined by ``|``; empty: all), ``n_on`` (cells)."""
    genes: tuple[NDArray[np.intp], ...]
    """Columns of each programme's genes."""

    def __repr__(self) -> str:
        cells, genes = self.counts.shape
        return (
            f"Planted: {len(self.programmes)} programmes in {cells:,} cells x {genes:,} genes\n"
            "    .counts, .activity, .possible, .programmes, .genes"
        )


@numbers_checked
def plant(
    counts: Any,
    programmes: Sequence[Programme],
    *,
    regions: ArrayLike | None = None,
    spread: float = 0.5,
    depth: Depth = "kept",
    min_detected: float = 0.05,
    seed: int = 0,
) -> Planted:
    r"""Raise (or lower) random genes of random cells together, so that counts stay counts.

    A programme :math:`p` of fold :math:`f_p` that is on in cell :math:`c` with activity :math:`a_{cp}` multiplies the
    mean of its genes by :math:`f_p^{a_{cp}}`; the factors :math:`F_{cg}` of programmes that share a gene multiply. With
    :math:`N_c` the molecules of the cell and :math:`s_{rg}` the share of gene :math:`g` in those of its region :math:`r`,

    .. math:: x'_{cg} = \mathrm{Binomial}(x_{cg}, \min(F_{cg}, 1)) + \mathrm{Poisson}((F_{cg} - 1)^+ N_c\, s_{rg}),

    which is Poisson of :math:`F` times the mean where the count was Poisson: noise is added, not multiplied. The fold is
    that against the mean of the cell's own region: a gene that a region never shows is not raised there.

    Parameters
    ----------
    counts
        (cells, genes), sparse or dense, whole numbers.
    programmes
        What to plant; genes are drawn for each by itself, so that two may share some, as real ones do.
    regions
        A label a cell: the regions that programmes can be confined to and whose means a fold is held against, such as
        cell types; None: :func:`cluster_regions` of the counts. Cells without one keep their counts: nothing is planted
        in them.
    spread
        Activities of the cells where a programme is on lie evenly in ``1 - spread`` to ``1 + spread``; 0: on or off.
    depth
        ``kept``: molecules of cells that gained are thinned by the expected gain, so that the expected total of a cell
        does not tell which programmes are on (a fold is then against the other genes, and a little smaller in counts);
        cells that lost keep what they have. ``grown``: nothing is thinned.
    min_detected
        A gene can belong to a programme if it was found in this share of the cells that the programme may be on in.
    seed
        Of genes, cells, activities and molecules.

    Returns
    -------
    Planted
        New counts; those given are left as they were.

    Raises
    ------
    InputError
        If the values are not counts, a region is unknown or too small, or too few genes are detected.

    Examples
    --------
    >>> made = prism.simulate.plant(cells.X, [prism.simulate.Programme(n_genes=10, share=0.2, fold=4)], seed=0)
    >>> made.counts.shape == cells.shape, made.activity.shape[1]
    (True, 1)
    """
    X = whole_counts(counts)
    total = np.asarray(X.sum(axis=1), dtype=np.float64).ravel()
    if depth not in get_args(Depth):
        raise InputError("`depth` is kept or grown", repr(depth), "give one of them")
    if not programmes:
        raise InputError("something must be planted", "no programme", "give at least one")
    given = cluster_regions(X, seed=seed) if regions is None else regions
    refuse_numbers(given, "region")
    label = groups(given)
    if len(label.number) != X.shape[0]:
        raise InputError(
            "regions need a label a cell", f"{len(label.number)} for {X.shape[0]} cells", "align them with the counts"
        )
    of_cell, names = label.number, tuple(label.names)
    within = np.flatnonzero(of_cell >= 0)
    if not within.size:
        raise InputError("programmes are planted in regions", "no cell with one", "name the regions, or leave them out")
    if label.n_missing:
        warn(f"{label.n_missing:,} of {X.shape[0]:,} cells without a region: nothing is planted there", CellsLeftOut)
    rng = np.random.default_rng(seed)
    activity = np.zeros((X.shape[0], len(programmes)))
    possible = np.zeros(activity.shape, dtype=bool)
    log_fold = np.zeros((len(programmes), X.shape[1]))
    found = sparse.csr_array((X > 0).astype(np.float64))
    genes, rows = [], []
    for p, programme in enumerate(programmes):
        where = _regions_of(programme, of_cell[within], names, rng)
        possible[:, p] = np.isin(of_cell, where)
        may = np.flatnonzero(possible[:, p])
        on = rng.choice(may, size=max(1, round(programme.share * within.size)), replace=False)
        activity[on, p] = rng.uniform(1 - spread, 1 + spread, size=len(on))
        detected = np.asarray(found[may].mean(axis=0)).ravel()
        genes.append(_genes_of(programme, detected, min_detected, rng))
        log_fold[p, genes[-1]] = np.log(programme.fold)
        rows.append(
            {
                "programme": f"programme {p}",
                "n_genes": programme.n_genes,
                "share": programme.share,
                "fold": programme.fold,
                "confined": len(where) < len(names),
                "regions": "|".join(names[r] for r in where) if len(where) < len(names) else "",
                "n_on": len(on),
            }
        )
    member = sparse.csr_array((np.ones(within.size), (of_cell[within], within)), shape=(len(names), len(of_cell)))
    sums = (member @ X.astype(np.float64)).toarray()
    profile = sums / np.maximum(sums.sum(axis=1, keepdims=True), 1)
    raised = np.unique(np.concatenate(genes))
    parts = [
        _raise(X[part], activity[part] @ log_fold[:, raised], profile[of_cell[part]], raised, total[part], depth, rng)
        for part in (slice(start, start + _ROWS) for start in range(0, X.shape[0], _ROWS))
    ]
    made = sparse.csr_array(sparse.vstack(parts, format="csr"), dtype=np.float32)
    return Planted(made, activity.astype(np.float32), possible, pd.DataFrame(rows), tuple(genes))


def cluster_regions(counts: Any, n: int = 8, *, seed: int = 0) -> NDArray[np.str_]:
    """Cut cells into regions: k-means of the first 20 singular vectors of log-normalised counts.

    Parameters
    ----------
    counts
        (cells, genes), whole numbers.
    n
        Regions; fewer where there are less than 50 cells for each.
    seed
        Of both steps.

    Returns
    -------
    A name a cell, ``region 0`` and on.
    """
    from sklearn.cluster import KMeans

    from cellprism.stats.decompositions import leading_axes

    X = whole_counts(counts)
    n = max(1, min(n, X.shape[0] // 50))
    if n == 1:
        return np.full(X.shape[0], "region 0")
    scores = leading_axes(to_log1p(X, "counts"), min(20, X.shape[1] - 1, X.shape[0] - 1), seed)[0]
    at = KMeans(n, n_init=3, random_state=seed).fit_predict(scores)
    return np.array([f"region {i}" for i in at])


def whole_counts(counts: Any) -> sparse.csr_array:
    """Counts as CSR, or an :class:`InputError`; a copy."""
    X: Any = counts if sparse.issparse(counts) else np.asarray(counts)
    if X.ndim != 2 or X.dtype.kind not in "fiub":
        raise InputError(
            "counts are a matrix (cells, genes) of numbers", f"{X.dtype} of shape {X.shape}", "give raw counts"
        )
    values = sparse.csr_array(X, dtype=np.float32, copy=True)
    values.sum_duplicates()
    values.eliminate_zeros()
    state = recognise(values, "the counts", "give raw counts")
    if state != "counts" or not whole(values):
        met = "counts times a number" if state == "counts" else f"{state} values"
        raise InputError("programmes are planted in raw counts", met, "give the counts themselves")
    return values


def _regions_of(
    programme: Programme, of_cell: NDArray[np.intp], names: tuple[str, ...], rng: np.random.Generator
) -> NDArray[np.intp]:
    """Regions a programme may be on in: all, those named, or random ones with cells enough."""
    everywhere = np.arange(len(names))
    size = np.bincount(of_cell, minlength=len(names))
    wanted = round(programme.share * len(of_cell))
    if programme.confined is False:
        return everywhere
    if programme.confined is not True:
        unknown = [name for name in programme.confined if name not in names]
        if unknown:
            raise InputError("a region must exist", str(unknown), f"choose among {list(names)}")
        chosen = np.flatnonzero(np.isin(names, programme.confined))
        if size[chosen].sum() < wanted:
            raise InputError(
                "the regions of a programme must hold the cells it is on in",
                f"{size[chosen].sum()} cells for {wanted}",
                "name more regions, or lower the share",
            )
        return chosen
    for order in (rng.permutation(everywhere), np.argsort(-size, kind="stable")):
        enough = int(np.searchsorted(np.cumsum(size[order]), wanted / DENSEST)) + 1
        if enough < len(names):
            return np.sort(order[:enough])
    raise InputError(
        "a confined programme needs a region to be absent from",
        f"{len(names)} regions, of which the larger hold too few of the {wanted} cells it is on in",
        "give finer regions or a lower share; in Python, a Programme may be `confined=False`",
    )


def _genes_of(
    programme: Programme, detected: NDArray[np.float64], least: float, rng: np.random.Generator
) -> NDArray[np.intp]:
    able = np.flatnonzero((detected >= least) & (detected > 0))
    if len(able) < programme.n_genes:
        raise InputError(
            "a programme needs genes that its cells express",
            f"{len(able)} found in {100 * least:g} % of them, for {programme.n_genes}",
            "plant programmes of fewer genes; in Python, `min_detected=` may be lower",
        )
    return np.sort(rng.choice(able, size=programme.n_genes, replace=False))


def _raise(
    X: sparse.csr_array,
    log_factor: NDArray[np.float64],
    profile: NDArray[np.float64],
    raised: NDArray[np.intp],
    total: NDArray[np.float64],
    depth: Depth,
    rng: np.random.Generator,
) -> sparse.csr_array:
    """Change some columns of some cells, ``log_factor`` and ``raised`` side by side."""
    factor = np.exp(log_factor)
    mean = total[:, None] * profile[:, raised]
    old = X[:, raised].toarray().astype(np.int64)
    new = rng.binomial(old, np.minimum(factor, 1)) + rng.poisson(np.maximum(factor - 1, 0) * mean)
    change = sparse.csr_array(new - old)
    columns = raised[change.indices]
    made = sparse.csr_array(X + sparse.csr_array((change.data, columns, change.indptr), shape=X.shape))
    if depth == "kept":
        expected = total + ((factor - 1) * mean).sum(axis=1)
        keep = np.minimum(1, np.divide(total, expected, out=np.ones_like(total), where=expected > 0))
        made.data = rng.binomial(made.data.astype(np.int64), np.repeat(keep, np.diff(made.indptr)))
    made.eliminate_zeros()
    made.sort_indices()
    return made
