"""Write the tables of docs/recipe-record.md from the rows in benchmarks/results.

python benchmarks/recipe_page.py
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "recipe-record.md"
NAMES = {
    "autoencoder": "clean, **150-dimensional autoencoder**",
    "autoencoder-20": "clean, 20-dimensional autoencoder",
    "clean": "clean",
    "clean-40": "clean, 40 programs",
    "clean-250-in-150": "250 programs in 150 dimensions",
    "types-5": "clean, 5 types",
    "types-100": "clean, 100 types",
    "correlated": "clean, correlated programs (0.5)",
    "continuous": "clean, continuous lineage",
    "dense-0.7": "clean, types express 70 %",
    "poisson-sqrt": "Poisson 20,000, square root",
    "poisson-linear": "Poisson 20,000, linear",
    "poisson-log": "Poisson 20,000, log",
    "poisson-5k-sqrt": "Poisson 5,000, square root",
    "poisson-40": "Poisson 20,000, square root, 40 programs in 40 dimensions",
    "poisson-types-5": "Poisson 20,000, square root, 5 types",
    "poisson-types-100": "Poisson 20,000, square root, 100 types",
    "poisson-correlated": "Poisson 20,000, square root, correlated (0.5)",
    "nb-sqrt": "negative binomial 20,000, square root",
    "nb-log-50": "negative binomial 20,000, log, 50 components",
    "in-64": "100 programs in 64 dimensions",
    "in-20": "100 programs in 20 dimensions",
}
METHODS = {
    "recipe": "automatic recipe",
    "default": "fixed default",
    "batchtopk": "BatchTopK, width 4 d",
    "paper-topk": "the paper's TopK form, width 20 d",
    "paper-relu": "the paper's recipe (ReLU), width 20 d",
}
SET = "features with a set at q < 0.05"


def percent(value: float | None) -> str:
    """Whole percent; a dash where unknown."""
    return "–" if value is None else f"{100 * value:.0f} %"


def number(value: float | None, digits: int = 1) -> str:
    """Fixed digits; a dash where unknown."""
    return "–" if value is None else f"{value:.{digits}f}"


def simulated(rows: list[dict[str, Any]]) -> list[str]:
    """A row a world and seed."""
    head = "| world | seed | made by | readable | found | **found of readable** | the same of shares | live features a found program | true / found L0 | stability AUROC | CPU s |"
    out = [head, "|---" * 11 + "|"]
    order = list(NAMES)
    for r in sorted(rows, key=lambda r: (order.index(r["world"]), r["seed"])):
        out.append(
            f"| {NAMES[r['world']]} | {r['seed']} | {_maker(r)} | {percent(r['ceiling'])} | {percent(r['found'])} | {percent(r['found_of_readable'])} "
            f"| {_of_shares(r)} "
            f"| {number(r['features_a_program'], 2) if r['found'] else '–'} | {r['true_l0']:.1f} / {r['l0']:.1f} "
            f"| {number(r['stability_auroc'], 2)} | {r['cpu_seconds']:.0f} |"
        )
    return out


def _of_shares(row: dict[str, Any]) -> str:
    if row.get("share_ceiling") is None:
        return "–"
    return f"{percent(row['share_found_of_readable'])} (of {percent(row['share_ceiling'])})"


def _maker(row: dict[str, Any]) -> str:
    if row["preset"] is None:
        return "the reading"
    chosen = "the reading" if row["method"] == "geometry" else f"a {row['method']} candidate"
    return f"`fit`, preset {row['preset']}: took {chosen} (agreement {row['agreement']:.2f})"


def real(rows: list[dict[str, Any]]) -> list[str]:
    """A row a data set and method."""
    out = [
        "| data | method | width | L0 | held-out variance | predicted expression | stability | return at r > 0.9 | live | with a set at q < 0.05 | random directions |",
        "|---" * 11 + "|",
    ]
    for r in rows:
        named = r["shares"].get(SET, {})
        out.append(
            f"| {r['data']} | {METHODS[r['method']]} | {r['config']['width']} | {r['l0']:.1f} | {percent(r['explained_variance'])} "
            f"| {percent(r['predicted'])} | {number(r['stability'], 2)} | {percent(r['returning'])} | {r['live']} | {percent(named.get('observed'))} "
            f"| {percent(named.get('random'))} |"
        )
        best = r.get("paper_best")
        if best is not None:
            what = ", ".join(f"{k} {best[k]:g}" for k in ("l1", "k") if k in best)
            out.append(
                f"| {r['data']} | best of the paper's sweep at no more active features: {best['form']}, {what} | {best['width']} "
                f"| {best['l0']:.1f} | {percent(best['explained_variance'])} | – | – | – | – | – | – |"
            )
    return out


def main() -> None:
    page = PAGE.read_text()
    sources = {"simulated": ("recipe_auto.json", "recipe_recovery.json"), "real": ("recipe_real.json",)}
    for name, render in (("simulated", simulated), ("real", real)):
        paths = [HERE / "results" / file for file in sources[name]]
        rows = [row for path in paths if path.exists() for row in json.loads(path.read_text())]
        if rows:
            table = "\n".join(render(rows))
            block = f"<!-- begin {name} -->\n{table}\n<!-- end {name} -->"
            page = re.sub(f"<!-- begin {name} -->.*?<!-- end {name} -->", lambda _, b=block: b, page, flags=re.DOTALL)
    PAGE.write_text(page)


if __name__ == "__main__":
    main()
