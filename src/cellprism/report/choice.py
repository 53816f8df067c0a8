"""The configurations that a run tried before it chose one, and its reasons in words."""

from __future__ import annotations

from typing import Any, Final

from cellprism.report.columns import as_json

__all__ = ["choice"]

ALIASES: Final = {"ev": "explained_variance", "dead": "dead_share", "activation_name": "activation"}
TABLES: Final = ("tried", "candidates", "configurations", "scouts", "rows")


def choice(info: dict[str, Any]) -> dict[str, Any]:
    """Read ``landscape`` and ``recipe`` of ``run.json``, whichever are there.

    Returns
    -------
    ``rows``, a dictionary a configuration with its numbers under one name each (``explained_variance``, ``l0``, ``k``,
    ``width``, ``activation``, ``bits``, ``agreement``, ``dead_share``, ``chosen``, …); ``reasons``, sentences.
    """
    given = info.get("landscape")
    named = info.get("recipe")
    recipe: dict[str, Any] = named if isinstance(named, dict) else {}
    held: dict[str, Any] = given if isinstance(given, dict) else recipe
    rows = given if isinstance(given, list) else next((held[t] for t in TABLES if isinstance(held.get(t), list)), [])
    said: list[Any] = []
    for source in (held, recipe, info):
        found = source.get("reasons") if source is not info else info.get("recipe_reasons")
        if isinstance(found, (list, tuple, str)) and found:
            said = [found] if isinstance(found, str) else list(found)
            break
    kept = [{ALIASES.get(str(k), str(k)): as_json(v) for k, v in row.items()} for row in rows if isinstance(row, dict)]
    return {"rows": kept, "reasons": [str(s) for s in said]}
