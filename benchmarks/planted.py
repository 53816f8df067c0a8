"""Programmes planted in real cells: how much of what a linear probe reads do single features of each dictionary hold?

python benchmarks/planted.py [SETTING ...] --data ../shared/data

Each setting plants 24 programmes of 30 random genes (of those found in 5 % of the cells) in 3 to 40 % of the cells, half of
them confined to some regions, at fourfold means (threefold in the last settings), embeds the cells anew and fits every dictionary anew. NMF of the data
is told a rank of 32: the programmes and the eight regions. ``topk`` has a width of 20 a dimension.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import anndata as ad
import numpy as np
import pandas as pd
from common import machine

from cellprism.embed import dimensions
from cellprism.evaluation.found import share_interval, share_of_ceiling
from cellprism.evaluation.planted import METHODS_BESIDE, planted
from cellprism.simulate import Programme

FILES = {
    "marrow": "marrow_erythroid_mouse",
    "paul": "paul2015_mouse_marrow_tradeseq",
    "kang": "kang2018_ifnb_muscat",
    "eccite": "citeseq_eccite_pbmc_citefuse",
}
SHARES = np.geomspace(0.03, 0.4, 24)
RANK = 32
METHODS = (*(name for name in METHODS_BESIDE if name != "nmf"), "topk", "nmf-data")


class Setting(NamedTuple):
    """Cells, embedding model, its dimensions, seed, fold of the programmes."""

    data: str
    embed: str
    d: int
    seed: int
    fold: float = 4.0


SETTINGS = {
    f"{s.data}-{s.embed}{s.d}-{s.seed}" + ("" if s.fold == 4 else f"-fold{s.fold:g}"): s
    for s in (
        Setting("marrow", "pca", 30, 0),
        Setting("paul", "pca", 30, 0),
        Setting("kang", "pca", 30, 0),
        Setting("eccite", "pca", 30, 0),
        Setting("marrow", "pca", 50, 1),
        Setting("paul", "pca", 50, 1),
        Setting("marrow", "pca", 20, 2),
        Setting("paul", "pca", 20, 2),
        Setting("kang", "pca", 20, 1),
        Setting("marrow", "pca", 30, 3, 3.0),
        Setting("paul", "pca", 30, 3, 3.0),
        Setting("kang", "pca", 30, 3, 3.0),
    )
}


def measure(name: str, data: Path, parts: Path) -> list[dict[str, Any]]:
    """Rows of one setting, a dictionary each."""
    setting = SETTINGS[name]
    cells = ad.read_h5ad(data / f"{FILES[setting.data]}.h5ad")
    found = planted(
        cells.X,
        cells.var_names,
        [Programme(30, float(s), setting.fold, confined=i % 2 == 1) for i, s in enumerate(SHARES)],
        embed=setting.embed,
        embed_options=dimensions(setting.embed, setting.d),
        methods=METHODS,
        options={"topk": {"width": 20 * setting.d}, "nmf-data": {"components": RANK}},
        per_round=len(SHARES),
        seed=setting.seed,
        folder=parts / name,
        report=lambda line: print(f"{name}: {line}", flush=True),
    )
    own = found.recovery[found.recovery["method"] == "cellprism"]
    rows = []
    for method, part in found.recovery.groupby("method", sort=False):
        about = found.summary[found.summary["method"] == method].iloc[0]
        low, high = share_interval(part)
        behind = difference(own, part)
        rows.append(
            {
                "setting": name,
                **setting._asdict(),
                "method": method,
                "share_of_ceiling": share_of_ceiling(part),
                "low": low,
                "high": high,
                "share_of_ceiling_visible": share_of_ceiling(part, "_visible"),
                "cellprism_ahead": behind,
                "probe_abs_r": float(part["probe_abs_r"].mean()),
                "null": float(part["null_best_abs_r"].mean()),
                "n_readable": int(part["readable"].sum()),
                "n_found": int(part["found"].sum()),
                "n_live": int(about["n_live"]),
                "l0": float(about["l0"]),
                "seconds": float(about["seconds"]),
                "programmes": part[["share", "confined", "best_abs_r", "probe_abs_r", "found"]]
                .round(4)
                .to_dict("records"),
            }
        )
    return rows


def difference(own: pd.DataFrame, other: pd.DataFrame, draws: int = 2_000) -> dict[str, float]:
    """How far the dictionary is ahead in share of the ceiling, with the 95 % interval of programmes drawn in pairs."""
    a, b, ceiling = (x.to_numpy() for x in (own["best_abs_r"], other["best_abs_r"], own["probe_abs_r"]))
    rows = np.random.default_rng(0).integers(len(a), size=(draws, len(a)))
    shares = (a - b)[rows].sum(axis=1) / ceiling[rows].sum(axis=1)
    low, high = np.percentile(shares, [2.5, 97.5])
    return {"mean": float((a - b).sum() / ceiling.sum()), "low": float(low), "high": float(high)}


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: a line a setting, a column a dictionary, the share of the ceiling; the mean below."""
    shares = pd.DataFrame(rows).pivot(index="setting", columns="method", values="share_of_ceiling")
    first = pd.DataFrame(rows).query("method == 'cellprism'").set_index("setting")
    order = ["cellprism", *shares.drop(columns=["cellprism", "probe"]).mean().sort_values(ascending=False).index]
    lines = ["| setting | probe | readable | found | " + " | ".join(order) + " |", "|---" * (4 + len(order)) + "|"]
    for name, row in shares.loc[[name for name in SETTINGS if name in shares.index], order].iterrows():
        about = first.loc[name]
        cells = " | ".join(f"{value:.2f}" for value in row)
        lines.append(f"| {name} | {about['probe_abs_r']:.2f} | {about['n_readable']} | {about['n_found']} | {cells} |")
    means = " | ".join(f"{value:.2f}" for value in shares[order].mean())
    total = f"{first['n_readable'].sum()} | {first['n_found'].sum()}"
    return "\n".join([*lines, f"| mean | {first['probe_abs_r'].mean():.2f} | {total} | {means} |"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(SETTINGS))
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[2] / "shared" / "data")
    parser.add_argument("--parts", type=Path, default=Path(tempfile.gettempdir()) / "cellprism-planted")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "planted.json")
    parser.add_argument("--table", action="store_true", help="only print what is there, as Markdown")
    options = parser.parse_args()
    if options.table:
        print(table(json.loads(options.output.read_text())["rows"]))
        return
    for name in options.names:
        new = measure(name, options.data, options.parts)
        kept = json.loads(options.output.read_text())["rows"] if options.output.exists() else []
        rows = [row for row in kept if row["setting"] != name] + new
        options.output.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
