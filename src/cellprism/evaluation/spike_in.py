"""Spike-ins as rows of the evaluation: the positive control of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from cellprism.evaluation.found import share_interval, share_of_ceiling
from cellprism.evaluation.planted import FAST, over_grid, planted
from cellprism.evaluation.planted_round import DICTIONARY, Embed
from cellprism.evaluation.power import interval, power_table
from cellprism.evaluation.result import COLUMNS, THIS
from cellprism.sae import SAEConfig
from cellprism.simulate.plant import Programme

__all__ = ["evaluation_rows", "spike_in"]


def spike_in(
    counts: Any,
    genes: Sequence[str],
    *,
    embed: Embed = "pca",
    recipe: SAEConfig | Mapping[str, Any] | None = None,
    n: int = 60,
    programmes: Sequence[Programme] | None = None,
    methods: Sequence[str] = FAST,
    seed: int = 0,
    report: Callable[[str], None] | None = None,
    **options: Any,
) -> pd.DataFrame:
    """Plant programmes in counts, embed and fit anew by the same recipe, and tell what share is found, and by whom.

    Parameters
    ----------
    counts
        (cells, genes) whole numbers.
    genes
        Unique names.
    embed
        Name of an embedding model that encodes, or a function of training cells and seed.
    recipe
        SAE config; None: the automatic recipe.
    n
        Programmes over the grid of :func:`~cellprism.evaluation.planted.over_grid`.
    programmes
        To be planted in place of that grid.
    methods
        Dictionaries beside; see :func:`~cellprism.evaluation.planted.planted`.
    seed
        Of everything random.
    report
        Called with a line as each step ends.
    options
        Further ones of :func:`~cellprism.evaluation.planted.planted`: ``embed_options``, ``thinned``, ``folder``, …

    Returns
    -------
    See :func:`evaluation_rows`; its ``attrs["said"]`` are sentences on what is found in these cells.

    Examples
    --------
    Not run by the tests: it trains anew; the page on planted programmes runs it.

    >>> from cellprism.evaluation.spike_in import spike_in
    >>> rows = spike_in(cells.X, genes, n=30)  # doctest: +SKIP
    >>> rows.attrs["said"]  # doctest: +SKIP
    """
    what = over_grid(n) if programmes is None else programmes
    found = planted(
        counts, genes, what, embed=embed, recipe=recipe, methods=methods, seed=seed, report=report, **options
    )
    table = evaluation_rows(found.recovery, seed=seed)
    table.attrs["said"] = found.said
    return table


def evaluation_rows(recovery: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """Planted programmes in the form of an evaluation.

    Parameters
    ----------
    recovery
        :attr:`~cellprism.evaluation.planted.PlantedBenchmark.recovery`.
    seed
        Of the bootstrap over programmes, which draws the same for every dictionary.

    Returns
    -------
    Columns ``measure``, ``target``, ``dictionary``, ``k`` (features that read a target: one), ``value``, ``low``,
    ``high``, ``ceiling``. Measures:

    - ``planted_abs_r``: |r| of the best feature with a programme's activity, held-out cells; target: the programme;
      ceiling: of the linear probe.
    - ``planted_share``: mean of these over programmes over the mean of their ceilings; 95 % interval by bootstrap over
      programmes; ceiling 1. Target: ``mean``, or ``mean in their regions``, where the region itself tells nothing of a
      confined programme.
    - ``planted_found``: share of the readable programmes that are found; Wilson's interval; ceiling 1.
    - ``planted_power``: share of all planted at a point of the grid; Wilson's interval; ceiling: share readable.
    """
    rows: list[dict[str, Any]] = []
    for method, part in recovery.groupby("method", sort=False):
        name = THIS if method == DICTIONARY else str(method)
        rows += [
            _row("planted_abs_r", _programme(p), name, p["best_abs_r"], ceiling=p["probe_abs_r"])
            for p in part.to_dict("records")
        ]
        for suffix, cells in (("", "mean"), ("_visible", "mean in their regions")):
            low, high = share_interval(part, suffix, seed=seed)
            rows.append(_row("planted_share", cells, name, share_of_ceiling(part, suffix), low, high))
        hits, n = int(part["found"].sum()), int(part["readable"].sum())
        rows.append(_row("planted_found", "readable", name, hits / n if n else np.nan, *interval(hits, n)))
    for point in power_table(recovery).to_dict("records"):
        name = THIS if point["method"] == DICTIONARY else str(point["method"])
        target, ceiling = _kind(point), point["n_readable"] / point["n"]
        rows.append(_row("planted_power", target, name, point["power"], point["low"], point["high"], ceiling))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _row(
    measure: str,
    target: str,
    dictionary: str,
    value: float,
    low: float = np.nan,
    high: float = np.nan,
    ceiling: float = 1.0,
) -> dict[str, Any]:
    return dict(zip(COLUMNS, (measure, target, dictionary, 1, value, low, high, ceiling), strict=True))


def _kind(point: Mapping[Any, Any]) -> str:
    return f"{point['n_genes']} genes, {100 * point['share']:.3g} % of cells, {point['fold']:g}-fold"


def _programme(row: Mapping[Any, Any]) -> str:
    where = "some regions" if row["confined"] else "anywhere"
    return f"round {row['round']}, {row['variable']}: {_kind(row)}, {where}"
