"""What the tables of a run folder hold: columns, kinds of values, ranges."""

from __future__ import annotations

from typing import Final, Literal

import numpy as np
import pandas as pd

from cellprism.errors import InputError

__all__ = ["COLUMNS", "check_info", "check_table"]

Kind = Literal["feature", "whole", "number", "unit", "text", "name", "list"]
"""``feature``: a column of the codes; ``whole``: integers; ``unit``: within [0, 1] or unknown; ``name``: unique text."""

COLUMNS: Final[dict[str, dict[str, Kind]]] = {
    "features": {"feature": "feature", "name": "text"},
    "cells": {"cell": "name"},
    "genes": {
        "feature": "feature", "gene": "text", "symbol": "text", "log2fc": "number", "statistic": "number",
        "logpval": "number", "pval": "unit", "qval": "unit",
    },
    "sets": {
        "feature": "feature", "set": "text", "direction": "text", "n_measured": "number", "n_hits": "number",
        "effect": "number", "pval_rank": "unit", "qval_rank": "unit", "qval_ora": "unit",
    },
    "labels": {
        "feature": "feature", "column": "text", "value": "text", "auroc": "unit", "f1": "unit", "precision": "unit",
        "recall": "unit", "qval": "unit",
    },
    "gene_sets": {"set": "text", "collection": "text", "genes": "list"},
    "matches": {
        "feature": "feature", "seed": "whole", "partner": "whole", "correlation": "number", "cosine": "number",
        "best": "whole", "best_correlation": "number",
    },
}  # fmt: skip
"""Columns that every such table has."""

_IF_THERE: Final[dict[str, dict[str, Kind]]] = {
    "features": {
        "kind": "text", "n_active": "number", "mean_active": "number", "max_active": "number", "stability": "unit",
        "stability_error": "number",
        "stability_null": "unit",
        "guide": "text",
        "confound": "text", "top_set": "text", "top_set_qval": "unit", "any_set_qval": "unit", "top_label": "text",
        "top_label_auroc": "unit", "top_regulator": "text", "specific_set": "text", "specific_set_reach": "number",
    },
    "cells": {"x": "number", "y": "number"},
    "genes": {"modality": "text", "spearman": "number"},
    "sets": {"qval": "unit", "pval_ora": "unit", "redundant_with": "text", "ancestor": "text"},
}  # fmt: skip
_KEYS: Final = {"feature", "cell"}
_ROUNDING: Final = 1e-5  # of float32


def check_table(name: str, table: pd.DataFrame, width: int, *, whole: bool = True) -> pd.DataFrame:
    """The table with a plain index, after its columns were found to be what they should.

    Parameters
    ----------
    name, table
        The table and which it is.
    width
        Columns of the codes.
    whole
        Ask for every column; otherwise for those that say what a row is of.

    Raises
    ------
    InputError
        Where a column is missing, of another kind, or has a value out of range.
    """
    asked = COLUMNS.get(name, {})
    missing = [c for c in (asked if whole else _KEYS & asked.keys()) if c not in table]
    if missing:
        raise InputError(
            f"{name}.parquet has the columns {', '.join(asked)}",
            f"no {', '.join(missing)}",
            "run again with --overwrite",
        )
    for column, kind in (asked | _IF_THERE.get(name, {})).items():
        if column in table:
            wrong = _wrong(table[column], kind, width)
            if wrong:
                raise InputError(
                    f"{name}.parquet holds {_SAID[kind]} in `{column}`",
                    wrong,
                    "run again with --overwrite, or restore it",
                )
    if name == "features" and table["feature"].duplicated().any():
        raise InputError("features.parquet has a row a feature", "a feature twice", "run again with --overwrite")
    return table.reset_index(drop=True)


_SAID: Final[dict[Kind, str]] = {
    "feature": "columns of codes.npz",
    "whole": "whole numbers",
    "number": "numbers",
    "unit": "numbers from 0 to 1",
    "text": "text",
    "name": "text that names each row",
    "list": "lists of text",
}


def _wrong(values: pd.Series, kind: Kind, width: int) -> str:
    """What is wrong with a column; empty where nothing is."""
    if not len(values):
        return ""
    known = values[values.notna()]
    if kind in ("text", "name"):
        kept = known.cat.categories if isinstance(known.dtype, pd.CategoricalDtype) else known.array
        if not all(isinstance(v, str | list | np.ndarray) for v in kept):
            return f"{values.dtype}"
        if kind == "name":
            return "the same name twice, or none" if values.duplicated().any() or values.isna().any() else ""
        return ""
    if kind == "list":
        return "" if all(isinstance(v, list | np.ndarray) for v in known) else f"{values.dtype}"
    if not len(known) and kind in ("number", "unit"):
        return ""
    if values.dtype.kind not in ("iu" if kind in ("feature", "whole") else "iuf"):
        return f"{values.dtype}"
    if kind == "feature" and (values.min() < 0 or values.max() >= width):
        return f"feature {values.min() if values.min() < 0 else values.max()} of {width} columns"
    if kind == "unit" and len(known) and (known.min() < -_ROUNDING or known.max() > 1 + _ROUNDING):
        return f"{known.min():g} to {known.max():g}"
    return ""


_INFO: Final[dict[str, type | tuple[type, ...]]] = {
    "format": str,
    "format_version": int,
    "arguments": dict,
    "metrics": dict,
    "timings": dict,
    "input": dict,
    "shares": list,
    "annotation": dict,
    "label_columns": list,
    "warnings": list,
    "seeds": list,
    "landscape": list,
    "summary": str,
}


def check_info(content: object) -> dict[str, object]:
    """The content of run.json, after what it holds was found to be of the right kinds.

    Raises
    ------
    InputError
        Where it is no mapping, or a known entry is of another kind.
    """
    remedy = "run again with --overwrite, or restore it"
    if not isinstance(content, dict):
        raise InputError("run.json must be JSON with a mapping", type(content).__name__, remedy)
    for name, kind in _INFO.items():
        value = content.get(name)
        if name in content and value is not None and (not isinstance(value, kind) or isinstance(value, bool)):
            raise InputError(f"run.json holds a {_name(kind)} under `{name}`", repr(value)[:80], remedy)
    for name in ("label_columns", "warnings"):
        if not all(isinstance(v, str) for v in content.get(name) or ()):
            raise InputError(f"run.json holds text under `{name}`", repr(content[name])[:80], remedy)
    for name in ("shares", "landscape"):
        if not all(isinstance(v, dict) for v in content.get(name) or ()):
            raise InputError(f"run.json holds mappings under `{name}`", repr(content[name])[:80], remedy)
    return content


def _name(kind: type | tuple[type, ...]) -> str:
    return {"str": "text", "int": "whole number", "dict": "mapping", "list": "list"}[
        kind.__name__ if isinstance(kind, type) else kind[0].__name__
    ]
