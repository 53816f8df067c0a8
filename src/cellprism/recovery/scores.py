from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from scipy.optimize import linear_sum_assignment

from cellprism.errors import InputError
from cellprism.numeric import numbers_checked
from cellprism.recovery.correlate import auroc, correlations, eta_squared, is_sparse, largest_other
from cellprism.recovery.dci import entanglement
from cellprism.recovery.truth import Level, Truth

if TYPE_CHECKING:
    from cellprism.recovery.probe import Probe

__all__ = ["Scores", "score"]

THRESHOLDS = (0.95, 0.9, 0.8)
"""|r| at which a variable counts as recovered; the first is the paper's."""

ASSOCIATED = 0.5
"""|r| at which a feature and a variable count as associated, for splitting and merging."""

MAX_MATCHED = 5_000
"""Variables above which a level is not matched one to one (its cost grows with their cube)."""


@dataclass(frozen=True)
class Scores:
    """What codes hold of a truth."""

    variables: pd.DataFrame
    """A row a variable: ``level``, ``variable``, ``visible_fraction``, ``best_abs_r``, ``best_feature``, ``matched_r``,
    ``n_features`` (over 0.95), ``null_best_abs_r``; ``best_abs_r_visible`` and its null among the cells where it is
    visible; ``auroc`` and its null for categories; with a ceiling ``probe_r2``, ``probe_abs_r``, ``probe_r2_visible``.
    NaN where a variable is constant (a program that no cell expresses) or seen in fewer than 30 cells."""
    levels: pd.DataFrame
    """A row a level: ``n_variables`` (those that vary), ``share_over_0.95`` / ``0.9`` / ``0.8``, ``mean_best_abs_r``,
    ``mcc``, ``mean_auroc``, ``eta2`` (largest of a feature), ``n_split`` (variables with two or more associated
    features), ``n_merged`` (features with two or more associated variables), ``disentanglement``, ``completeness``;
    the ``null_`` of the main ones; with a ceiling ``ceiling_share_over_0.95`` and ``ceiling_mean_abs_r``."""
    features: pd.DataFrame
    """A row a live feature: ``feature``, ``frequency`` (share of cells), ``largest_other_r``, ``redundant``."""
    n_features: int
    """Features, live or dead."""
    n_live: int
    """Features that are not zero in some cell."""
    n_redundant: int
    """Live features with |r| > 0.95 with another one."""
    l0: float
    """Mean number of features active in a cell."""


class _Measured(NamedTuple):
    best: NDArray[Any]
    feature: NDArray[Any]
    r: NDArray[Any]
    auroc: NDArray[Any]


@numbers_checked
def score(
    codes: ArrayLike | sparse.sparray | sparse.spmatrix,
    truth: Any,
    *,
    cells: ArrayLike | None = None,
    ceiling: Probe | None = None,
    permutations: int = 1,
    seed: int = 0,
) -> Scores:
    """Score codes, or any features of cells, against a truth.

    Parameters
    ----------
    codes
        (cells, features), dense or sparse; |r| is used, so signed components score too.
    truth
        Anything :meth:`~cellprism.recovery.Truth.of` reads: a simulation, a dict level -> array or label, a DataFrame,
        an array.
    cells
        Mask or indices of the cells to score on, which should be held out from all fitting; None: all given.
    ceiling
        What a linear probe reaches (:func:`~cellprism.recovery.probe`), to be shown beside.
    permutations
        Draws of the null: the same scores with the truth of other cells. Visibility moves with the truth.
    seed
        Seed of the permutations.

    Returns
    -------
    Scores a variable, a level and a feature.

    Raises
    ------
    InputError
        If codes and truth have different numbers of cells, or codes are not finite.

    Examples
    --------
    >>> world = prism.simulate.small(600, held_out=100, seed=0)
    >>> scores = prism.recovery.score(world.obsm["T_truth"], {"T": world.obsm["T_truth"]})
    >>> float(scores.levels["share_over_0.95"].iloc[0])
    1.0
    """
    known = Truth.of(truth)
    C: Any = _checked(codes, known.n_cells)
    if cells is not None:
        rows = np.asarray(cells)
        C, known = C[rows], known.take(rows)
    if known.n_cells < 3 or permutations < 0:
        raise InputError(
            "scores need three cells or more and permutations >= 0",
            f"{known.n_cells} cells, {permutations} permutations",
            "score on more cells",
        )
    if is_sparse(C):
        C = sparse.csc_array(C)
    active = np.asarray((C != 0).sum(axis=0)).ravel()
    live = np.flatnonzero(active)
    if len(live) < C.shape[1]:
        C = C[:, live]
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(known.n_cells) for _ in range(permutations)]
    variables, levels = [], []
    for name, level in known.levels.items():
        table, row = _score_level(C, level, live, orders)
        variables.append(table.assign(level=name)[["level", *table.columns]])
        levels.append({"level": name} | row)
    other = largest_other(C)
    per_variable = _stack(variables)
    per_level = pd.DataFrame(levels)
    if ceiling is not None:
        per_variable, per_level = _beside(per_variable, per_level, ceiling)
    return Scores(
        variables=per_variable,
        levels=per_level,
        features=pd.DataFrame(
            {
                "feature": live,
                "frequency": active[live] / known.n_cells,
                "largest_other_r": other,
                "redundant": other > THRESHOLDS[0],
            }
        ),
        n_features=len(active),
        n_live=len(live),
        n_redundant=int((other > THRESHOLDS[0]).sum()),
        l0=float(active.sum() / known.n_cells),
    )


def _score_level(
    C: Any, level: Level, live: NDArray[Any], orders: list[NDArray[Any]]
) -> tuple[pd.DataFrame, dict[str, Any]]:
    seen = _measure(C, level, live)
    nulls = [_measure(C, level.take(order), live) for order in orders]
    varies = ~np.isnan(seen.best)
    matched = _matched(seen.r)
    table = pd.DataFrame(
        {
            "variable": level.names,
            "visible_fraction": 1.0 if level.visible is None else level.visible.mean(axis=0),
            "best_abs_r": seen.best,
            "best_feature": seen.feature,
            "matched_r": matched,
            "n_features": np.where(varies, (np.abs(seen.r) > THRESHOLDS[0]).sum(axis=0), 0),
            "null_best_abs_r": _mean([null.best for null in nulls]),
            "best_abs_r_visible": np.nan,
            "null_best_abs_r_visible": np.nan,
            "auroc": seen.auroc,
            "null_auroc": _mean([null.auroc for null in nulls]),
        }
    )
    if level.visible is not None and len(live):
        table["best_abs_r_visible"] = _best(correlations(C, level.values, level.visible))[0]
        hidden = [level.take(order) for order in orders]
        table["null_best_abs_r_visible"] = _mean([_best(correlations(C, h.values, h.visible))[0] for h in hidden])
    near = np.abs(np.nan_to_num(seen.r)) > ASSOCIATED
    spread = entanglement(seen.r[:, varies], len(level.values))
    row: dict[str, Any] = {"n_variables": int(varies.sum())}
    row |= {f"share_over_{t}": _nanmean(np.where(varies, seen.best > t, np.nan)) for t in THRESHOLDS}
    row |= {
        "mean_best_abs_r": _nanmean(seen.best),
        "mcc": _nanmean(matched),
        "mean_best_abs_r_visible": _nanmean(table["best_abs_r_visible"].to_numpy()),
        "mean_auroc": _nanmean(seen.auroc),
        "eta2": float(eta_squared(C, level.values).max()) if level.categorical and len(live) else np.nan,
        "n_split": int((near.sum(axis=0) >= 2).sum()),
        "n_merged": int((near.sum(axis=1) >= 2).sum()),
        "disentanglement": spread.disentanglement,
        "completeness": spread.completeness,
        f"null_share_over_{THRESHOLDS[0]}": _nanmean(
            _mean([np.where(varies, null.best > THRESHOLDS[0], np.nan) for null in nulls])
        ),
        "null_mean_best_abs_r": _nanmean(_mean([null.best for null in nulls])),
        "null_mcc": _nanmean(_mean([_matched(null.r) for null in nulls])),
        "null_mean_auroc": _nanmean(_mean([null.auroc for null in nulls])),
    }
    return table, row


def _measure(C: Any, level: Level, live: NDArray[Any]) -> _Measured:
    r = correlations(C, level.values)
    best, at = _best(r)
    feature = live[at] if len(live) else np.full(len(best), -1)
    area = np.full(len(best), np.nan)
    if level.categorical:
        if len(live):
            one_sided = auroc(C, level.values)
            area = np.maximum(one_sided, 1 - one_sided).max(axis=0)  # a feature that is off in a type detects it too
        else:
            area = np.full(len(best), 0.5)
    return _Measured(best, feature, r, area)


def _best(r: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Find the largest |r| of each variable and its feature; without a live feature, 0."""
    if not len(r):
        return np.zeros(r.shape[1]), np.zeros(r.shape[1], dtype=np.intp)
    size = np.abs(r)
    at = np.where(np.isnan(size[0]), 0, np.nan_to_num(size).argmax(axis=0))
    return size[at, np.arange(r.shape[1])].astype(np.float64), at


def _matched(r: NDArray[Any]) -> NDArray[np.float64]:
    """Match features and variables one to one for the largest total |r|; 0 for a variable left without a feature."""
    varies = ~np.isnan(r[0]) if len(r) else np.ones(r.shape[1], dtype=bool)
    out = np.where(varies, 0.0, np.nan)
    if varies.sum() > MAX_MATCHED:
        return np.full(r.shape[1], np.nan)
    size = np.abs(r[:, varies]).astype(np.float64)
    rows, columns = linear_sum_assignment(size, maximize=True)
    out[np.flatnonzero(varies)[columns]] = size[rows, columns]
    return out


def _beside(variables: pd.DataFrame, levels: pd.DataFrame, ceiling: Probe) -> tuple[pd.DataFrame, pd.DataFrame]:
    table = ceiling.variables.rename(columns=lambda c: c if c in ("level", "variable") else f"probe_{c}")
    variables = variables.merge(table, on=["level", "variable"], how="left", validate="one_to_one")
    scored = variables[variables["best_abs_r"].notna()]
    reach = scored.groupby("level", sort=False)["probe_abs_r"]
    over = reach.apply(lambda r: float((r > THRESHOLDS[0]).mean()) if r.notna().any() else np.nan)
    levels[f"ceiling_share_over_{THRESHOLDS[0]}"] = levels["level"].map(over)
    levels["ceiling_mean_abs_r"] = levels["level"].map(reach.mean())
    return variables, levels


def _checked(codes: Any, n_cells: int) -> Any:
    C: Any = sparse.csr_array(codes) if is_sparse(codes) else np.asarray(codes)
    if C.ndim != 2 or C.shape[0] != n_cells:
        raise InputError(
            "codes must have a row a cell of the truth", f"shape {C.shape} for {n_cells} cells", "align cells first"
        )
    data: NDArray[Any] = C.data if is_sparse(C) else C
    if not np.isfinite(data).all():
        raise InputError("codes must be finite", f"{int((~np.isfinite(data)).sum())} that are not", "check the fit")
    return C


def _stack(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """Concatenate by column: a column that is all NaN at one level must not change the type of the whole."""
    return pd.DataFrame({c: np.concatenate([t[c].to_numpy() for t in tables]) for c in tables[0].columns})


def _mean(draws: list[NDArray[Any]]) -> NDArray[Any] | float:
    return np.mean(draws, axis=0) if draws else np.nan


def _nanmean(values: Any) -> float:
    kept = np.asarray(values, dtype=np.float64)
    kept = kept[~np.isnan(kept)]
    return float(kept.mean()) if kept.size else float("nan")
