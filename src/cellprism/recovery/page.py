"""A benchmark as one file that opens anywhere, offline."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from cellprism.recovery.scores import THRESHOLDS
from cellprism.recovery.tables import ScoreTables

__all__ = ["headline", "write_page"]

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; color: #1a1a1a; background: #fff }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums }
th, td { padding: .25rem .7rem; text-align: right; border-bottom: 1px solid #ddd }
th:first-child, td:first-child { text-align: left }
img { max-width: 100%; height: auto } pre { white-space: pre-wrap; font-size: 12px } .wide { overflow-x: auto }
@media (prefers-color-scheme: dark) { body { color: #eee; background: #161616 } th, td { border-color: #444 } img { background: #fff } }
"""


def headline(benchmark: ScoreTables, level: str) -> pd.DataFrame:
    """Summarise one level: a row a method, means over seeds, best first.

    Returns
    -------
    Columns: ``method``, ``share over 0.95``, ``mean best |r|``, ``its null``, ``MCC``, ``live``, ``L0``, ``redundant``,
    ``seconds``.
    """
    table = benchmark.summary[benchmark.summary["level"] == level]
    over = f"share_over_{THRESHOLDS[0]}"
    columns = {
        over: f"share over {THRESHOLDS[0]}",
        "mean_best_abs_r": "mean best |r|",
        "null_mean_best_abs_r": "its null",
        "mcc": "MCC",
        "n_live": "live",
        "l0": "L0",
        "redundant": "redundant",
        "seconds": "seconds",
    }
    means = table.groupby("method", sort=False)[list(columns)].mean().rename(columns=columns).reset_index()
    return means.sort_values("mean best |r|", ascending=False, kind="stable", ignore_index=True)


def write_page(benchmark: ScoreTables, figures: list[Path], path: Path, lead: Sequence[str] = ()) -> None:
    """Write the page: what was run, what it says (``lead``, a paragraph each), the figures, a table a level, the settings."""
    about = benchmark.about
    levels = list(benchmark.summary["level"].unique())
    first = about.get("level", levels[0])
    parts = [
        "<h1>Recovery of known variables</h1>",
        f"<p>Benchmark <b>{html.escape(str(about.get('preset', '')))}</b>, seeds "
        f"{html.escape(', '.join(map(str, about.get('seeds', []))))}. Every score is on held-out cells. "
        f"<b>Best |r|</b> is the largest correlation of a feature with the variable; its null is the same with the truth of "
        f"other cells; <b>MCC</b> matches features and variables one to one; the method <b>probe</b> is the ceiling of "
        f"any linear feature.</p>",
        *(f"<p>{html.escape(said)}</p>" for said in lead),
    ]
    for image in figures:
        data = base64.b64encode(image.read_bytes()).decode()
        parts.append(f'<p><img alt="{html.escape(image.stem)}" src="data:image/png;base64,{data}"></p>')
    for level in [first, *(level for level in levels if level != first)]:
        parts += [
            f"<h2>Level {html.escape(level)}</h2>",
            f'<div class="wide">{_table(headline(benchmark, level))}</div>',
        ]
    parts.append(f"<h2>Settings</h2><pre>{html.escape(json.dumps(about, indent=1))}</pre>")
    path.write_text(
        "<!doctype html><html lang=en><meta charset=utf-8><title>cellprism benchmark</title>"
        f"<meta name=viewport content='width=device-width'><style>{_STYLE}</style><body>{''.join(parts)}</body></html>",
        encoding="utf-8",
    )


def _table(table: pd.DataFrame) -> str:
    def shown(column: str) -> list[str]:
        values = table[column]
        if column == "method":
            return [html.escape(str(value)) for value in values]
        if column.startswith("share"):
            return [f"{100 * value:.0f} %" if value == value else "–" for value in values]
        digits = {"seconds": 1, "L0": 1, "live": 0, "redundant": 0}.get(column, 3)
        return [f"{value:,.{digits}f}" if value == value else "–" for value in values]

    head = "".join(f"<th>{html.escape(column)}</th>" for column in table.columns)
    rows = zip(*(shown(column) for column in table.columns), strict=True)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
