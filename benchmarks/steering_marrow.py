"""Steering on mouse bone marrow: a red-cell feature turned up in immature cells, read in genes.

    python benchmarks/steering_marrow.py marrow_erythroid_mouse.h5ad benchmarks/results docs/figures pca,dgd,scvi 2,3,4

The statement under test: turning up the feature named with gas transport or heme raises Hba, Hbb, Car2, Slc4a1 and
Alas2 in immature cells more than moves of the same length along covariance-matched random directions, differences of
random cells, and other features. Fixed before the seeds that count were run (seeds 0 and 1 served to find the
settings, seeds 2 and up are the test; how they were found stands in docs/steering.md):

- 20 dimensions, other settings the model's own; the SAE is the default of ``prism.fit``, with the same seed.
- The feature, by its annotation on measured expression: of those active in at least 5 % of the cells, whose name carries
  a gene of :data:`HEME` and no technical covariate, the one with the smallest p of a gene set of :data:`WORDS`.
- Immature: between the 20th and the 60th percentile of pseudotime (below it lies mesenchyme), 100 of them; the feature
  is set to the 90th percentile of its active cells.
- First measure: mean log2 change of the seven targets. Second: the same minus that of all other genes. One-sided p
  against 500 moves of each kind. Over seeds: twice the median p, which is valid however the seeds depend on each other
  (Ruger 1978; Vovk and Wang 2020).
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
from scipy import stats

import cellprism.sae as prism_sae
from cellprism import embed, genesets
from cellprism.embed.pca import log_normalise
from cellprism.features.annotate import annotate
from cellprism.steering import effect
from cellprism.steering.effect import plain

WORDS = ("carbon dioxide transport", "bicarbonate transport", "oxygen transport", "gas transport", "heme biosynthetic")
TARGETS = ["Hba-a1", "Hba-a2", "Hbb-bs", "Hbb-bt", "Car2", "Slc4a1", "Alas2"]
HEME = ("Hba", "Hbb", "Alas2", "Slc4a1", "Car2", "Car1", "Gypa", "Fech", "Urod", "Hmbs")
OPTIONS: dict[str, dict[str, Any]] = {
    "pca": {"n_components": 20},
    "dgd": {"latent": 20, "epochs": 150},
    "scvi": {"n_latent": 20, "epochs": 60},
}
NULLS = ("covariance", "pairs", "features")
MEASURES = {"change": "target_change_nulls", "effect": "target_nulls"}


def study(kind: str, cells: ad.AnnData, gene_sets: dict[str, list[str]], seed: int) -> tuple[dict[str, Any], Any]:
    start = time.process_time()
    model = embed.train(kind, cells, seed=seed, **OPTIONS[kind])
    Z = model.encode(cells)
    fit = prism_sae.fit(Z, seed=seed)
    codes = fit.sae.encode(Z)
    symbols = cells.var["human_symbol"].astype(str).to_list()
    measured = log_normalise(cells.X)
    named = annotate(codes, measured, list(cells.var_names), gene_sets, symbols=symbols, embedding=Z, nulls=())
    sets = named.sets[named.sets["direction"] == "up"]
    red = sets[sets["set"].str.lower().str.contains("|".join(WORDS))].sort_values("pval_rank")
    table = named.features
    carries = table["name"].str.contains("|".join(HEME), regex=True) & ~table["name"].str.startswith("[")
    carries &= table["n_active"] >= 0.05 * cells.n_obs
    ordered = red[red["feature"].isin(table.loc[carries, "feature"])]
    red = ordered if len(ordered) else red
    feature = int(red.iloc[0]["feature"])
    time_axis = cells.obs["embeddr_pseudotime"].to_numpy()
    values = codes[:, [feature]].toarray().ravel()
    immature = (time_axis > np.quantile(time_axis, 0.2)) & (time_axis < np.quantile(time_axis, 0.6))
    found = effect(
        fit.sae,
        model,
        Z,
        feature,
        to_quantile=0.9,
        cells=immature,
        adata=cells,
        symbols=symbols,
        gene_sets=gene_sets,
        targets=TARGETS,
        labels={"stage": np.digitize(time_axis, np.quantile(time_axis, [0.2, 0.4, 0.6, 0.8])).astype(str)},
        codes=codes,
        n_null=500,
        max_cells=100,
        seed=seed,
    )
    genes = found.genes.set_index("gene")
    own = named.features.set_index("feature").loc[feature]
    variance = np.linalg.eigvalsh(np.cov(Z.T))
    record = {
        "model": kind,
        "options": OPTIONS[kind],
        "cpu_seconds": round(time.process_time() - start, 1),
        "width": fit.sae.width,
        "live": len(named.features),
        "dimensions": float(variance.sum() ** 2 / (variance**2).sum()),
        "feature": feature,
        "name": own["name"],
        "carries_heme_gene": bool(len(ordered)),
        "n_active": int(own["n_active"]),
        "top_genes": own["top_genes"],
        "red_sets": red[red["feature"] == feature].head(5)[["set", "pval_rank", "qval_rank"]].to_dict("records"),
        "pseudotime_correlation": float(stats.spearmanr(values, time_axis)[0]),
        "summary": found.summary,
        "targets": genes.loc[TARGETS, ["log2fc", "qval", "null_pval", "null_qval", "monotonicity"]]
        .reset_index()
        .to_dict("records"),
        "best_genes": found.genes.head(15)[["gene", "log2fc", "null_pval"]].to_dict("records"),
        "best_sets": found.sets.head(10).to_dict("records"),
        "neighbours": found.neighbours.to_dict("records"),
    }
    return record, (found, Z, time_axis)


def draw(kind: str, record: dict[str, Any], parts: Any, path: Path) -> None:
    import matplotlib.pyplot as plt
    from sklearn.decomposition import PCA

    found, Z, time_axis = parts
    fig, axes = plt.subplots(1, 4, figsize=(17, 4), constrained_layout=True)
    two = PCA(2).fit(Z)
    at, moved = two.transform(Z), two.transform(found.embedding)
    axes[0].scatter(*at.T, c=time_axis, s=3, cmap="viridis", rasterized=True)
    start = two.transform(Z[found.cells])
    for a, b in zip(start[::3], moved[::3], strict=True):
        axes[0].annotate("", xy=b, xytext=a, arrowprops={"arrowstyle": "->", "color": "crimson", "lw": 0.6})
    axes[0].set(title="Move in the embedding (colour: pseudotime)", xlabel="PC 1", ylabel="PC 2")
    genes = found.genes.set_index("gene").loc[TARGETS]
    axes[1].barh(TARGETS, genes["log2fc"], color=np.where(genes["null_pval"] < 0.05, "crimson", "grey"))
    axes[1].axvline(0, color="black", lw=0.5)
    axes[1].set(title="Targets (red: p < 0.05 against random moves)", xlabel="mean log2 change")
    for name, group in found.nulls.groupby("kind"):
        axes[2].hist(group["change"], bins=40, alpha=0.5, label=name)
    axes[2].axvline(record["summary"]["target_change"], color="crimson", label=f"feature {record['feature']}")
    axes[2].set(title="Mean change of the targets, beside null moves", xlabel="mean log2 change")
    axes[2].legend(fontsize=7)
    for g in TARGETS:
        axes[3].plot(found.doses["dose"], found.doses[g], marker="o", ms=3, label=g)
    axes[3].axhline(0, color="black", lw=0.5)
    axes[3].set(title="Dose and response", xlabel="dose (1 = the edit)", ylabel="mean log2 change")
    axes[3].legend(fontsize=7)
    fig.suptitle(
        f"{kind}: feature {record['feature']} ({record['name']}) set high in {found.cells.size} immature cells"
    )
    path.mkdir(parents=True, exist_ok=True)
    fig.savefig(path / f"steering_marrow_{kind}.png", dpi=110)
    plt.close(fig)


def verdicts(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Over the seeds that count (not 0 and 1): p of both measures against each null."""
    out = []
    for kind in dict.fromkeys(r["model"] for r in records):
        tested = [r for r in records if r["model"] == kind and r["seed"] > 1]
        if not tested:
            continue
        row: dict[str, Any] = {"model": kind, "seeds": [r["seed"] for r in tested]}
        row["change"] = [round(r["summary"]["target_change"], 2) for r in tested]
        for measure, key in MEASURES.items():
            for null in NULLS:
                p = [r["summary"][key][null]["pval_one_sided"] for r in tested]
                row[f"{measure}_{null}"] = {
                    "pvals": [round(x, 4) for x in p],
                    "combined": min(1.0, 2 * float(np.median(p))),
                }
        out.append(row)
    return out


def main(data: str, results: str, figures: str, kinds: str = "pca,dgd,scvi", seeds: str = "2,3,4") -> None:
    cells = ad.read_h5ad(data)
    gene_sets = genesets.load(("bundled",))
    out = Path(results) / "steering_marrow.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    for kind in kinds.split(","):
        for seed in map(int, seeds.split(",")):
            record, parts = study(kind, cells, gene_sets, seed)
            if seed == 2:
                draw(kind, record, parts, Path(figures))
            kept = json.loads(out.read_text())["records"] if out.exists() else []
            kept = [r for r in kept if (r["model"], r["seed"]) != (kind, seed)] + [{"seed": seed, **record}]
            kept.sort(key=lambda r: (r["model"], r["seed"]))
            out.write_text(json.dumps(plain({"verdicts": verdicts(kept), "records": kept}), indent=1) + "\n")
            s = record["summary"]
            print(
                kind,
                seed,
                record["name"],
                [x["set"] for x in record["red_sets"]][:2],
                record["cpu_seconds"],
                flush=True,
            )
            shown = {n: {m: s[key][n]["pval_one_sided"] for m, key in MEASURES.items()} for n in NULLS}
            print("  ", s["target_change"], s["target_effect"], s["share_among_real_cells"], shown, flush=True)
            print(pd.DataFrame(record["targets"]).round(4).to_string(), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
