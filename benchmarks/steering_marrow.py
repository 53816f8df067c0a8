"""Steering on mouse bone marrow: a red-cell feature turned up in immature cells, read in genes.

    python benchmarks/steering_marrow.py marrow_erythroid_mouse.h5ad benchmarks/results docs/figures

Trains a model of each kind on raw counts, splits its embedding into sparse features, names them on measured
expression, takes the feature whose best gene set is about gas transport or heme, sets it in the least mature cells to
a high value of its active cells, and holds the decoded change against moves that mean nothing.
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
from cellprism.steer import effect
from cellprism.steer.effect import plain

WORDS = ("carbon dioxide transport", "bicarbonate transport", "oxygen transport", "gas transport", "heme biosynthetic")
TARGETS = ["Hba-a1", "Hba-a2", "Hbb-bs", "Hbb-bt", "Car2", "Slc4a1", "Alas2"]
OPTIONS: dict[str, dict[str, Any]] = {"dgd": {"epochs": 200}, "pca": {"n_components": 20}, "scvi": {"epochs": 200}}


def study(kind: str, cells: ad.AnnData, gene_sets: dict[str, list[str]], seed: int) -> tuple[dict[str, Any], Any]:
    start = time.perf_counter()
    model = embed.train(kind, cells, seed=seed, **OPTIONS[kind])
    Z = model.encode(cells)
    fit = prism_sae.fit(Z, seed=seed)
    codes = fit.sae.encode(Z)
    symbols = cells.var["human_symbol"].astype(str).to_list()
    measured = log_normalise(cells.X)
    named = annotate(codes, measured, list(cells.var_names), gene_sets, symbols=symbols, embedding=Z, nulls=())
    sets = named.sets[named.sets["direction"] == "up"]
    red = sets[sets["set"].str.lower().str.contains("|".join(WORDS))].sort_values("pval_rank")
    feature = int(red.iloc[0]["feature"])
    time_axis = cells.obs["embeddr_pseudotime"].to_numpy()
    values = codes[:, [feature]].toarray().ravel()
    immature = (time_axis > np.quantile(time_axis, 0.2)) & (time_axis < np.quantile(time_axis, 0.6)) & (values == 0)
    decoded = list(model.genes["rna"])
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
        n_null=200,
        seed=seed,
    )
    genes = found.genes.set_index("gene")
    own = named.features.set_index("feature").loc[feature]
    return {
        "model": kind,
        "seconds": round(time.perf_counter() - start, 1),
        "width": fit.sae.width,
        "live": len(named.features),
        "feature": feature,
        "name": own["name"],
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
        "decoded_genes": len(decoded),
    }, (found, Z, codes, immature, time_axis, feature)


def draw(kind: str, record: dict[str, Any], parts: Any, path: Path) -> None:
    import matplotlib.pyplot as plt
    from sklearn.decomposition import PCA

    found, Z, _, _immature, time_axis, feature = parts
    fig, axes = plt.subplots(1, 4, figsize=(17, 4), constrained_layout=True)
    two = PCA(2).fit(Z)
    at, moved = two.transform(Z), two.transform(found.embedding)
    axes[0].scatter(*at.T, c=time_axis, s=3, cmap="viridis", rasterized=True)
    start = two.transform(Z[found.cells])
    for a, b in zip(start[::10], moved[::10], strict=True):
        axes[0].annotate("", xy=b, xytext=a, arrowprops={"arrowstyle": "->", "color": "crimson", "lw": 0.6})
    axes[0].set(title="Move in the embedding (colour: pseudotime)", xlabel="PC 1", ylabel="PC 2")
    genes = found.genes.set_index("gene").loc[TARGETS]
    axes[1].barh(TARGETS, genes["log2fc"], color=np.where(genes["null_pval"] < 0.05, "crimson", "grey"))
    axes[1].axvline(0, color="black", lw=0.5)
    axes[1].set(title="Targets (red: p < 0.05 against random moves)", xlabel="mean log2 change")
    for name, group in found.nulls.groupby("kind"):
        axes[2].hist(group["target"], bins=30, alpha=0.5, label=name)
    axes[2].axvline(record["summary"]["target_effect"], color="crimson", label=f"feature {feature}")
    axes[2].set(title="Targets against other genes, beside null moves", xlabel="mean log2 difference")
    axes[2].legend(fontsize=7)
    doses = found.doses
    for g in TARGETS:
        axes[3].plot(doses["dose"], doses[g], marker="o", ms=3, label=g)
    axes[3].axhline(0, color="black", lw=0.5)
    axes[3].set(title="Dose and response", xlabel="dose (1 = the edit)", ylabel="mean log2 change")
    axes[3].legend(fontsize=7)
    fig.suptitle(f"{kind}: feature {feature} ({record['name']}) set high in {found.cells.size} immature cells")
    path.mkdir(parents=True, exist_ok=True)
    fig.savefig(path / f"steering_marrow_{kind}.png", dpi=110)
    plt.close(fig)


def main(data: str, results: str, figures: str, kinds: str = "dgd,pca", seeds: str = "0") -> None:
    cells = ad.read_h5ad(data)
    gene_sets = genesets.load(("bundled",))
    records: list[dict[str, Any]] = []
    for kind in kinds.split(","):
        for seed in map(int, seeds.split(",")):
            record, parts = study(kind, cells, gene_sets, seed)
            records.append({"seed": seed, **record})
            if seed == 0:
                draw(kind, record, parts, Path(figures))
            shown = pd.DataFrame(record["targets"]).round(4)
            print(kind, seed, record["name"], record["red_sets"][:2], record["summary"], shown, sep="\n", flush=True)
    Path(results).mkdir(parents=True, exist_ok=True)
    out = Path(results) / "steering_marrow.json"
    before = [r for r in json.loads(out.read_text()) if r["model"] not in kinds.split(",")] if out.exists() else []
    out.write_text(json.dumps(plain(before + records), indent=1) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
