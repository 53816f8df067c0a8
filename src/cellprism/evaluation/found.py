"""Which planted programmes are readable and which are found, and the share of the ceiling that a dictionary reaches."""

from __future__ import annotations

import numpy as np
import pandas as pd

__all__ = ["FOUND", "READABLE", "judged", "share_interval", "share_of_ceiling", "standing"]

READABLE = 0.5
"""|r| of the linear probe, among the cells that a programme may be on in, from which it counts as readable: the embedding
holds it. Among all cells the region alone would tell much of a confined programme, at any fold."""

FOUND = 0.8
"""Share of the probe's |r| that the best single feature must reach there for a readable programme to count as found."""

DRAWS = 2_000
"""Bootstrap draws of programmes for the interval of a mean."""


def judged(recovery: pd.DataFrame, programmes: pd.DataFrame) -> pd.DataFrame:
    """Say which programmes are readable, and which of these are found."""
    about = programmes.set_index("programme").loc[recovery["variable"]]
    table = recovery.assign(**{c: about[c].to_numpy() for c in ("n_genes", "share", "fold", "confined", "n_on")})
    best, ceiling = table["best_abs_r_visible"], table["probe_abs_r_visible"]
    readable = ceiling >= READABLE
    # A feature that follows the activity no better than that of other cells has not found it.
    found = readable & (best >= FOUND * ceiling) & (best > table["null_best_abs_r_visible"])
    return table.assign(readable=readable, found=found)


def share_of_ceiling(recovery: pd.DataFrame, suffix: str = "") -> float:
    """Mean best |r| over programmes, as a share of the mean |r| of the probe; NaN where the probe reads nothing.

    With the suffix ``_visible`` among the cells that a programme may be on in.
    """
    both = recovery[[f"best_abs_r{suffix}", f"probe_abs_r{suffix}"]].dropna()
    best, ceiling = both.sum()
    return float(best / ceiling) if ceiling > 0 else float("nan")


def share_interval(recovery: pd.DataFrame, suffix: str = "", *, seed: int = 0) -> tuple[float, float]:
    """95 % interval of :func:`share_of_ceiling` by bootstrap over programmes, which draws the same for every dictionary."""
    table = recovery[[f"best_abs_r{suffix}", f"probe_abs_r{suffix}"]]
    both = table.where(table.notna().all(axis=1), 0).to_numpy(dtype=np.float64)
    drawn = both[np.random.default_rng(seed).integers(len(both), size=(DRAWS, len(both)))].sum(axis=1)
    shares = drawn[drawn[:, 1] > 0]
    if not len(shares):
        return float("nan"), float("nan")
    low, high = np.percentile(shares[:, 0] / shares[:, 1], [2.5, 97.5])
    return float(low), float(high)


def standing(recovery: pd.DataFrame, summary: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """A row a dictionary over all rounds, best first.

    Parameters
    ----------
    recovery, summary
        Of a :class:`~cellprism.evaluation.planted.PlantedBenchmark`.
    seed
        Of the bootstrap.

    Returns
    -------
    Columns: ``method``, ``share of ceiling``, its interval ``from`` and ``to``, ``in its regions`` (the share among the
    cells that a programme may be on in), ``readable``, ``found``, ``its null`` (mean best |r| with the activity of other
    cells), ``live``, ``L0``.
    """
    rows = []
    for method, part in recovery.groupby("method", sort=False):
        of_method = summary[summary["method"] == method]
        low, high = share_interval(part, seed=seed)
        rows.append(
            {
                "method": method,
                "share of ceiling": share_of_ceiling(part),
                "from": low,
                "to": high,
                "in its regions": share_of_ceiling(part, "_visible"),
                "readable": int(part["readable"].sum()),
                "found": int(part["found"].sum()),
                "its null": part["null_best_abs_r"].mean(),
                "live": of_method["n_live"].mean(),
                "L0": of_method["l0"].mean(),
            }
        )
    return pd.DataFrame(rows).sort_values("share of ceiling", ascending=False, kind="stable", ignore_index=True)
