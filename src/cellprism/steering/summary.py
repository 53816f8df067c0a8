"""The headline numbers of an edit beside those of null moves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from cellprism.steering.neighbours import nearest, typical_distance
from cellprism.steering.nulls import NullKind
from cellprism.steering.sets import contrast

__all__ = ["move_summary", "null_table", "off_target", "strength_summary", "target_effect"]


def null_table(null: Mapping[NullKind, NDArray[Any]], target: NDArray[np.bool_] | None) -> pd.DataFrame:
    """A row a null move."""
    parts = []
    for kind, lfc in null.items():
        on = np.full(len(lfc), np.nan) if target is None else target_effect(lfc, target)
        raw = np.full(len(lfc), np.nan) if target is None else lfc[:, target].mean(1)
        parts.append(pd.DataFrame({"kind": kind, "strength": np.sqrt((lfc**2).mean(1)), "target": on, "change": raw}))
    return pd.concat(parts, ignore_index=True)


def target_effect(lfc: NDArray[Any], target: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Mean log2 change of the targets minus that of the other genes."""
    M = sparse.csr_array(target[None, :].astype(float))
    return contrast(M, lfc, np.ones(target.size, bool))[..., 0]


def off_target(log2fc: NDArray[Any], target: NDArray[np.bool_]) -> Any:
    """Share of the squared log2 change that falls on other genes than the targets."""
    square = np.asarray(log2fc, dtype=np.float64) ** 2
    share = square[..., ~target].sum(-1) / np.maximum(square.sum(-1), np.finfo(float).tiny)
    return float(share) if share.ndim == 0 else share


def strength_summary(
    log2fc: NDArray[Any], null: Mapping[NullKind, NDArray[Any]], target: NDArray[np.bool_] | None
) -> dict[str, Any]:
    """Strength, target effect and off-target share of the edit, and how many null moves reach them."""

    def beside(value: float, drawn: NDArray[Any]) -> dict[str, float]:
        n = 1 + len(drawn)
        p = (1 + int((np.abs(drawn) >= abs(value)).sum())) / n
        # "Raises its genes" is a claim with a direction; so is "lowers".
        same = drawn >= value if value >= 0 else drawn <= value
        return {
            "median": float(np.median(drawn)),
            "q95": float(np.quantile(np.abs(drawn), 0.95)),
            "pval": p,
            "pval_one_sided": (1 + int(same.sum())) / n,
        }

    strength = float(np.sqrt((log2fc**2).mean()))
    out: dict[str, Any] = {
        "strength": strength,
        "strength_nulls": {k: beside(strength, np.sqrt((v**2).mean(1))) for k, v in null.items()},
    }
    if target is not None:
        on = float(target_effect(log2fc, target))
        out["targets"] = int(target.sum())
        out["target_change"] = raw = float(log2fc[target].mean())
        out["target_change_nulls"] = {k: beside(raw, v[:, target].mean(1)) for k, v in null.items()}
        out["target_effect"] = on
        out["target_nulls"] = {k: beside(on, target_effect(v, target)) for k, v in null.items()}
        out["off_target_share"] = off_target(log2fc, target)
        out["off_target_share_nulls"] = {k: float(np.median(off_target(v, target))) for k, v in null.items()}
    return out


def move_summary(
    Z: NDArray[Any], after: NDArray[Any], move: NDArray[Any], rows: NDArray[np.intp], rng: np.random.Generator
) -> dict[str, Any]:
    """How far the cells go, and whether real cells live there."""
    typical = typical_distance(Z, rng)
    _, distance = nearest(Z, after, rows, 1)
    length = np.linalg.norm(move, axis=1)
    return {
        "move": float(length.mean()),
        "move_in_sd": float(length.mean() / np.sqrt(Z.var(0).sum())),
        "nearest_cell_before": float(np.median(typical)),
        "nearest_cell_after": float(np.median(distance)),
        "share_among_real_cells": float((distance <= np.quantile(typical, 0.95)).mean()),
    }
