"""From table columns to what a block holds: pooled names, minus log10 p values, plain JSON."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

__all__ = ["as_json", "minus_log10", "minus_log10_p", "pool", "pool_pairs", "text"]

SMALLEST = 1e-320  # below it a double is zero


def text(column: pd.Series[Any]) -> list[str]:
    """Cells of a column as text: missing ones empty, lists joined by commas."""
    return [_text(value) for value in column.tolist()]


def _text(value: object) -> str:
    if isinstance(value, (list, tuple, np.ndarray)):
        return ", ".join(_text(v) for v in value)
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return ""
    return str(value)


def pool(values: list[str]) -> tuple[NDArray[np.int64], list[str]]:
    """Distinct values in order of first appearance, and the place of each value among them."""
    codes, names = pd.factorize(np.array(values, dtype=object))
    return codes.astype(np.int64), [str(n) for n in names]


def pool_pairs(first: list[str], second: list[str]) -> tuple[NDArray[np.int64], list[list[str]]]:
    """As `pool`, for pairs."""
    codes, names = pool([f"{a}\x1f{b}" for a, b in zip(first, second, strict=True)])
    return codes, [name.split("\x1f", 1) for name in names]


def minus_log10(values: pd.Series[Any]) -> NDArray[np.float64]:
    """-log10 of p or q values; zeros, which have underflowed, become 320; NaN stays."""
    numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
    return np.asarray(np.abs(np.log10(np.clip(numbers, SMALLEST, 1.0))))  # abs: -0.0 reads as a sign


def minus_log10_p(table: pd.DataFrame) -> NDArray[np.float64]:
    """-log10 p of a gene table from ``logpval`` (natural logarithm), else from ``pval``."""
    logs = table["logpval"].to_numpy(dtype=np.float64, na_value=np.nan)
    return np.asarray(np.where(np.isnan(logs), minus_log10(table["pval"]), np.abs(logs) / np.log(10)))


def as_json(value: Any) -> Any:
    """A copy that strict JSON holds: NaN and infinities become None, NumPy scalars Python's, the unknown text."""
    if isinstance(value, dict):
        return {str(k): as_json(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [as_json(v) for v in value]
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    return value if value is None or isinstance(value, str) else str(value)
