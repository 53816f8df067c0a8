"""Steering experiments of a run, cut to what a card shows."""

from __future__ import annotations

from typing import Any, Final

import pandas as pd

from cellprism.features.naming import display_gene
from cellprism.report.columns import as_json, text

__all__ = ["steered"]

GENES: Final = 24
LABELS: Final = 8
SETS: Final = 6


def steered(experiments: list[tuple[dict[str, Any], pd.DataFrame]]) -> list[dict[str, Any]]:
    """For each experiment its features, summary, dose curve, strongest genes and sets, and changes of neighbours."""
    return [_one(content, genes) for content, genes in experiments]


def _one(content: dict[str, Any], genes: pd.DataFrame) -> dict[str, Any]:
    summary = content.get("summary") or {}
    features = summary.get("features", summary.get("feature", []))
    strongest = genes.assign(size=genes["log2fc"].abs()).sort_values("size", ascending=False, kind="stable").head(GENES)
    shown = strongest["symbol"] if "symbol" in strongest else strongest["gene"]
    rows = zip(
        text(strongest["gene"]),
        text(shown),
        *(_numbers(strongest, c) for c in ("log2fc", "qval", "null_pval")),
        strict=True,
    )
    moves = sorted(content.get("neighbours") or [], key=lambda r: -abs(r.get("change") or 0.0))[:LABELS]
    sets = [s for s in content.get("sets") or [] if s.get("effect") is not None]
    return {
        "features": as_json(features if isinstance(features, list) else [features]),
        "summary": as_json(summary),
        "doses": as_json(content.get("doses") or []),
        "neighbours": as_json(moves),
        "sets": as_json(
            [
                {key: one.get(key) for key in ("set", "effect", "null_pval")}
                for one in sorted(sets, key=lambda s: (s.get("null_pval") or 1.0, -abs(s["effect"])))[:SETS]
            ]
        ),
        "genes": [
            {
                "gene": g,
                "symbol": display_gene(g, s),
                "log2fc": as_json(fc),
                "qval": as_json(q),
                "null_pval": as_json(p),
            }
            for g, s, fc, q, p in rows
        ],
    }


def _numbers(table: pd.DataFrame, name: str) -> list[float]:
    return table[name].astype(float).tolist() if name in table else [float("nan")] * len(table)
