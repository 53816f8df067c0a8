"""Programmes planted in real cells: how much of what a linear probe reads do single features of each dictionary hold?

python benchmarks/planted.py [SETTING ...] --data ../shared/data
python benchmarks/planted.py --power DIR      # what `cellprism benchmark planted marrow_erythroid_mouse.h5ad -o DIR` wrote

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
from cellprism.evaluation.found import share_interval, share_of_ceiling, standing
from cellprism.evaluation.planted import METHODS_BESIDE, PlantedBenchmark, planted
from cellprism.sae import SAEConfig
from cellprism.simulate import Programme

FILES = {
    "marrow": "marrow_erythroid_mouse",
    "paul": "paul2015_mouse_marrow_tradeseq",
    "kang": "kang2018_ifnb_muscat",
    "eccite": "citeseq_eccite_pbmc_citefuse",
}
SHARES = np.geomspace(0.03, 0.4, 24)
RANK = 32
SHOWN = ("cellprism", "nmf-data", "ica-embedding", "pca-embedding", "gene", "topk", "soft_frozen_decoder", "random")
AXES = ("pca-embedding", "ica-embedding")
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
    found = plant_and_find(
        name,
        data,
        methods=METHODS,
        options={"topk": {"width": 20 * setting.d}, "nmf-data": {"components": RANK}},
        folder=parts / name,
    )
    return rows_of(name, found) + rows_of(name, all_axes(name, data), AXES)


def all_axes(name: str, data: Path) -> PlantedBenchmark:
    """All principal and independent axes of the same cells, whatever the width of the dictionary.

    The rivals ``pca`` and ``ica`` have no more candidates than the dictionary, and each sign of an axis is one. The
    dictionary is not asked here, so that a small one will do.
    """
    small = {"recipe": SAEConfig(8, k=2), "options": {"cellprism": {"epochs": 1}}}
    return plant_and_find(name, data, methods=AXES, **small)


def plant_and_find(name: str, data: Path, **options: Any) -> PlantedBenchmark:
    setting = SETTINGS[name]
    cells = ad.read_h5ad(data / f"{FILES[setting.data]}.h5ad")
    return planted(
        cells.X,
        cells.var_names,
        [Programme(30, float(s), setting.fold, confined=i % 2 == 1) for i, s in enumerate(SHARES)],
        embed=setting.embed,
        embed_options=dimensions(setting.embed, setting.d),
        per_round=len(SHARES),
        seed=setting.seed,
        report=lambda line: print(f"{name}: {line}", flush=True),
        **options,
    )


def rows_of(name: str, found: PlantedBenchmark, only: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """A row a dictionary."""
    rows = []
    for method, part in found.recovery.groupby("method", sort=False):
        if only and method not in only:
            continue
        about = found.summary[found.summary["method"] == method].iloc[0]
        low, high = share_interval(part)
        columns = ["best_abs_r", "probe_abs_r", "found"]
        rows.append(
            {
                "setting": name,
                **SETTINGS[name]._asdict(),
                "method": method,
                "share_of_ceiling": share_of_ceiling(part),
                "low": low,
                "high": high,
                "share_of_ceiling_visible": share_of_ceiling(part, "_visible"),
                "probe_abs_r": float(part["probe_abs_r"].mean()),
                "null": float(part["null_best_abs_r"].mean()),
                "n_readable": int(part["readable"].sum()),
                "n_found": int(part["found"].sum()),
                "n_live": int(about["n_live"]),
                "l0": float(about["l0"]),
                "seconds": float(about["seconds"]),
                "programmes": part[columns].round(4).to_dict("list"),
            }
        )
    return rows


def ahead(rows: list[dict[str, Any]], method: str, draws: int = 2_000) -> tuple[float, float, float]:
    """How far the dictionary is ahead of another in share of the ceiling, all settings together.

    Returns
    -------
    Difference and its 95 % interval: settings are drawn, and in each of them programmes, the same for both.
    """
    best = {m: {r["setting"]: r["programmes"] for r in rows if r["method"] == m} for m in ("cellprism", method)}
    rng = np.random.default_rng(0)
    gaps, drawn = [], np.zeros((draws, len(best[method])))
    for i, (setting, others) in enumerate(best[method].items()):
        own = best["cellprism"][setting]
        gap = np.subtract(own["best_abs_r"], others["best_abs_r"])
        ceiling = np.array(own["probe_abs_r"])
        gaps.append(gap.sum() / ceiling.sum())
        at = rng.integers(len(gap), size=(draws, len(gap)))
        drawn[:, i] = gap[at].sum(axis=1) / ceiling[at].sum(axis=1)
    settings = rng.integers(len(gaps), size=(draws, len(gaps)))
    low, high = np.percentile(np.take_along_axis(drawn, settings, axis=1).mean(axis=1), [2.5, 97.5])
    return float(np.mean(gaps)), float(low), float(high)


def power(folder: Path) -> dict[str, Any]:
    """Power, standing and sentences of a benchmark's folder."""
    recovery, summary = (pd.read_parquet(folder / f"{name}.parquet") for name in ("recovery", "summary"))
    about = json.loads((folder / "run.json").read_text())
    return {
        "about": {name: about[name] for name in ("embed", "embed_options", "per_round", "held_out", "seeds", "said")},
        "standing": standing(recovery, summary).round(4).to_dict("records"),
        "power": pd.read_parquet(folder / "power.parquet").round(4).to_dict("records"),
    }


def tables(rows: list[dict[str, Any]]) -> str:
    """Markdown: the share of the ceiling a setting, of some dictionaries; and over all settings, of all."""
    every = pd.DataFrame(rows)
    shares = every.pivot(index="setting", columns="method", values="share_of_ceiling")
    first = every[every["method"] == "cellprism"].set_index("setting")
    lines = [f"| setting | probe | readable | found | {' | '.join(SHOWN)} |", "|---" * (4 + len(SHOWN)) + "|"]
    for name in (name for name in SETTINGS if name in shares.index):
        about = first.loc[name]
        cells = " | ".join(f"{shares.loc[name, method]:.2f}" for method in SHOWN)
        lines.append(f"| {name} | {about['probe_abs_r']:.2f} | {about['n_readable']} | {about['n_found']} | {cells} |")
    lines += ["", "| dictionary | mean | least | found | cellprism ahead by |", "|---|---|---|---|---|"]
    for method in shares.mean().sort_values(ascending=False).index:
        gap = "" if method == "cellprism" else "{:+.2f} ({:+.2f} to {:+.2f})".format(*ahead(rows, method))
        found = every.loc[every["method"] == method, "n_found"].sum()
        total = every.loc[every["method"] == method, "n_readable"].sum()
        mean, least = shares[method].mean(), shares[method].min()
        lines.append(f"| {method} | {mean:.2f} | {least:.2f} | {found} of {total} | {gap} |")
    return "\n".join(lines)


def as_text(rows: list[dict[str, Any]]) -> str:
    """JSON, a line a row."""
    lines = ",\n".join(json.dumps(row) for row in rows)
    return f'{{"machine": {json.dumps(machine())},\n"rows": [\n{lines}\n]}}\n'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(SETTINGS))
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[2] / "shared" / "data")
    parser.add_argument("--parts", type=Path, default=Path(tempfile.gettempdir()) / "cellprism-planted")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "planted.json")
    parser.add_argument("--table", action="store_true", help="only print what is there, as Markdown")
    parser.add_argument("--power", type=Path, help="only keep what this folder says of power")
    options = parser.parse_args()
    if options.power is not None:
        kept = json.dumps({"machine": machine()} | power(options.power), indent=1)
        options.output.with_name("planted_power.json").write_text(kept + "\n")
        return
    if options.table:
        print(tables(json.loads(options.output.read_text())["rows"]))
        return
    for name in options.names:
        new = measure(name, options.data, options.parts)
        kept = json.loads(options.output.read_text())["rows"] if options.output.exists() else []
        rows = [row for row in kept if row["setting"] != name] + new
        options.output.write_text(as_text(rows))


if __name__ == "__main__":
    main()
