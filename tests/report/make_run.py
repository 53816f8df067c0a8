"""A synthetic but plausible run folder: every file that a finished run has, none of the work that makes one."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse

TYPES = (
    ("CD14+ Monocyte", ("S100A8", "S100A9", "LYZ", "CD14", "FCN1")),
    ("CD19+ B", ("CD79A", "CD79B", "MS4A1", "CD74", "CD19")),
    ("CD56+ NK", ("GNLY", "NKG7", "KLRD1", "PRF1", "GZMB")),
    ("CD8+ Cytotoxic T", ("CD8A", "CD8B", "GZMK", "CCL5", "CD3D")),
    ("CD4+/CD25 T Reg", ("IL2RA", "FOXP3", "CTLA4", "IL32", "CD4")),
    ("Dendritic", ("FCER1A", "CST3", "HLA-DQA1", "CLEC10A", "CD1C")),
    ("CD34+", ("CD34", "SPINK2", "AVP", "PRSS57", "SOX4")),
    ("CD8+/CD45RA+ Naive Cytotoxic", ("CCR7", "LEF1", "SELL", "TCF7", "MAL")),
)
SETS = (
    "antigen processing and presentation (GO:0019882)",
    "B cell receptor signaling pathway (GO:0050853)",
    "natural killer cell mediated cytotoxicity (GO:0042267)",
    "T cell mediated cytotoxicity (GO:0001913)",
    "regulation of regulatory T cell differentiation (GO:0045589)",
    "myeloid dendritic cell activation (GO:0001773)",
    "hemopoiesis (GO:0030097)",
    "T cell homeostasis (GO:0043029)",
)
HOSTILE = '<img src=x onerror="window.hacked=1">'


def make_run(
    path: Path,
    *,
    n_cells: int = 600,
    n_features: int = 48,
    n_genes: int = 400,
    n_types: int = 8,
    active: int = 8,
    rows: int = 40,
    seed: int = 0,
    hostile: bool = False,
    expression: bool = True,
) -> Path:
    """Write a complete run folder and return its path.

    Parameters
    ----------
    path
        Folder to make.
    n_cells, n_features, n_genes, n_types, active
        Sizes; `active` is the mean number of active features a cell.
    rows
        Gene rows a feature in ``genes.parquet``.
    hostile
        Put HTML into the names of a label, a gene set, a gene and a feature.
    expression
        Write ``expression.npz``.
    """
    rng = np.random.default_rng(seed)
    path.mkdir(parents=True, exist_ok=True)
    types = [TYPES[i][0] if i < len(TYPES) else f"cell type {i}" for i in range(n_types)]
    if hostile:
        types[0] = HOSTILE
    cell_type = np.minimum(rng.geometric(0.22, n_cells) - 1, n_types - 1)
    centres = 8 * np.column_stack([np.cos(np.arange(n_types) * 2.4), np.sin(np.arange(n_types) * 2.4)])
    centres *= np.sqrt(np.arange(n_types) + 1)[:, None] / 1.6
    xy = (centres[cell_type] + rng.normal(0, 1.5, (n_cells, 2))).astype(np.float32)

    # A feature belongs to one type (three in five), to two, or to all.
    reach = rng.choice([1, 2, n_types], n_features, p=[0.6, 0.25, 0.15])
    home = rng.integers(0, n_types, n_features)
    belongs = (np.arange(n_types)[None, :] - home[:, None]) % n_types < reach[:, None]
    weight = belongs * rng.gamma(2.0, 1.0, n_features)[:, None] + 0.02
    per_type = weight / weight.sum(0) * active  # expected number active in a cell of the type
    indices, values, indptr = [], [], [0]
    strength = rng.gamma(4.0, 0.5, n_features).astype(np.float32)
    for t in cell_type:
        n = max(1, min(n_features, rng.poisson(active)))
        chosen = np.unique(rng.choice(n_features, n, p=per_type[:, t] / per_type[:, t].sum()))
        indices.append(chosen)
        values.append(strength[chosen] * rng.gamma(3.0, 0.4, len(chosen)))
        indptr.append(indptr[-1] + len(chosen))
    width = n_features + max(2, n_features // 10)  # the rest is dead
    columns = np.sort(rng.choice(width, n_features, replace=False))
    codes = sparse.csr_array(
        (np.concatenate(values).astype(np.float32), columns[np.concatenate(indices)], np.array(indptr)),
        shape=(n_cells, width),
    )
    codes.sort_indices()
    dictionary = rng.normal(size=(width, 16)).astype(np.float32) + np.zeros((width, 16), np.float32)
    dictionary[columns] += 2 * rng.normal(size=(n_types, 16)).astype(np.float32)[home]
    embedding = (codes @ dictionary + rng.normal(0, 0.3, (n_cells, 16))).astype(np.float32)

    genes = np.array([g for _, gs in TYPES for g in gs][:n_genes] + [f"GENE{i}" for i in range(max(0, n_genes - 40))])
    if hostile:
        genes[0] = HOSTILE
    own = np.arange(n_genes) % 5 + 5 * (home[:, None] % 8)  # (features, genes) would be large: only the first five used
    gene_rows = _gene_rows(rng, columns, own[:, :5], n_genes, min(rows, n_genes))
    gene_rows["gene"] = genes[gene_rows["gene"].to_numpy()]
    gene_rows.insert(2, "symbol", gene_rows["gene"])
    gene_rows.insert(3, "modality", "rna")

    sets = list(SETS) + [f"synthetic process {i} (GO:{9000000 + i})" for i in range(60)]
    if hostile:
        sets[0] = HOSTILE
    set_rows = _set_rows(rng, columns, home, sets)
    gene_sets = _gene_sets(sets, genes)
    label_rows = _label_rows(rng, columns, belongs, types)

    csc = codes.tocsc()
    n_active = np.diff(csc.indptr)[columns]
    total = np.asarray(codes.sum(axis=0))[columns]
    largest = np.asarray(codes.max(axis=0).todense()).ravel()[columns]
    best_set = set_rows[set_rows.qval_rank.notna()].sort_values("qval_rank").groupby("feature").first()
    best_label = label_rows.sort_values("auroc", ascending=False).groupby("feature").first()
    top = gene_rows.sort_values("statistic", ascending=False).groupby("feature").gene.apply(lambda g: ", ".join(g[:10]))
    features = pd.DataFrame({"feature": columns})
    features["name"] = [f"{best_label.value[f]} · {'/'.join(top[f].split(', ')[:2])}" for f in columns]
    features["kind"] = np.where(reach == 1, "local", np.where(reach == 2, "regional", "global"))
    features["n_active"] = n_active
    features["mean_active"] = (total / np.maximum(n_active, 1)).astype(np.float32)
    features["max_active"] = largest
    features["stability"] = rng.beta(4, 2, n_features)
    features["stability_error"], features["stability_null"] = 0.03, 0.11
    features["confound"] = [None if v > 0.05 else "depth" for v in rng.random(n_features)]
    features["top_genes"] = top.reindex(columns).to_numpy()
    features["top_set"] = best_set.set.reindex(columns).to_numpy()
    features["top_set_qval"] = best_set.qval_rank.reindex(columns).to_numpy()
    features["specific_set"] = best_set.set.reindex(columns).to_numpy()
    features["top_regulator"] = np.where(np.arange(n_features) % 3 == 2, "GATA1 targets (CollecTRI)", "")
    features["specific_set_reach"] = rng.beta(0.5, 4, n_features)
    features["top_label"] = best_label.value.reindex(columns).to_numpy()
    features["top_label_auroc"] = best_label.auroc.reindex(columns).to_numpy()

    cells = pd.DataFrame({"cell": [f"CELL{i:06d}-1" for i in range(n_cells)]})
    cells["cell_type"] = pd.Categorical.from_codes(cell_type, types)
    cells["donor"] = pd.Categorical(rng.choice(["donor 1", "donor 2", "donor 3"], n_cells))
    cells["n_counts"] = rng.lognormal(8, 0.4, n_cells).astype(np.float32)
    cells["x"], cells["y"] = xy[:, 0], xy[:, 1]

    features.to_parquet(path / "features.parquet", index=False)
    gene_rows.to_parquet(path / "genes.parquet", index=False)
    set_rows.to_parquet(path / "sets.parquet", index=False)
    gene_sets.to_parquet(path / "gene_sets.parquet", index=False)
    _matches(columns, features["stability"].to_numpy(), width).to_parquet(path / "matches.parquet", index=False)
    label_rows.to_parquet(path / "labels.parquet", index=False)
    cells.to_parquet(path / "cells.parquet", index=False)
    sparse.save_npz(path / "codes.npz", codes)
    np.save(path / "embedding.npy", embedding)
    if expression:
        rate = np.full((n_types, n_genes), 0.25)
        for t in range(n_types):
            rate[t, 5 * (t % 8) : 5 * (t % 8) + 5] = 6
        counts = rng.poisson(rate[cell_type])
        sparse.save_npz(path / "expression.npz", sparse.csr_array(np.log1p(counts).astype(np.float32)))
        (path / "expression_genes.json").write_text(json.dumps(genes.tolist()))
    (path / "run.json").write_text(json.dumps(_info(n_cells, n_genes, features, width, codes, path), indent=1))
    return path


def _gene_rows(rng, columns, own, n_genes, rows):
    n = len(columns)
    gene = np.argsort(rng.random((n, n_genes)), axis=1)[:, :rows] if n * n_genes < 4e6 else None
    if gene is None:  # one shuffled order, cut at a random place a feature
        order = rng.permutation(n_genes)
        gene = order[(rng.integers(0, n_genes, n)[:, None] + np.arange(rows)) % n_genes]
    z = rng.normal(0, 2.2, (n, rows))
    k = min(5, rows)
    for j in range(k):  # the type's own genes stand first, with large statistics
        clash = gene == own[:, [j]]
        gene[clash] = np.broadcast_to(gene[:, [j]], gene.shape)[clash]
        gene[:, j] = own[:, j]
    z[:, :k] = rng.uniform(6, 18, (n, k))
    log10p = np.abs(z) ** 2 / 4.6
    frame = pd.DataFrame({"feature": np.repeat(columns, rows), "gene": gene.ravel()})
    frame["log2fc"] = (z * rng.uniform(0.12, 0.22, z.shape)).astype(np.float32).ravel()
    frame["statistic"] = z.astype(np.float32).ravel()
    frame["logpval"] = (-log10p * np.log(10)).astype(np.float32).ravel()
    frame["pval"] = 10 ** -np.minimum(log10p, 300).ravel()
    frame["qval"] = np.minimum(1, frame["pval"] * 20)
    return frame.drop_duplicates(["feature", "gene"], ignore_index=True)


def _set_rows(rng, columns, home, sets):
    n, per = len(columns), 6
    which = np.column_stack([home % 8, 8 + np.argsort(rng.random((n, len(sets) - 8)), axis=1)[:, : per - 1]])
    p = np.column_stack([10 ** -rng.uniform(4, 12, n), rng.random((n, per - 1)) * 0.3])
    up = np.column_stack([np.ones(n, bool), rng.random((n, per - 1)) < 0.6])
    base = pd.DataFrame({"feature": np.repeat(columns, per), "set": np.array(sets, dtype=object)[which].ravel()})
    base["n_measured"] = rng.integers(8, 120, n * per)
    base["effect"] = (np.where(up, 1, -1) * rng.uniform(0.05, 0.4, (n, per))).ravel()
    parts = []
    for direction in ("up", "down"):
        part, mine = base.copy(), (up.ravel() if direction == "up" else ~up.ravel())
        part.insert(2, "direction", direction)
        part.insert(4, "n_hits", np.where(mine, np.minimum(base.n_measured, rng.integers(3, 12, n * per)), 0))
        part["pval_rank"] = np.where(mine, p.ravel(), np.nan)
        part["qval_rank"] = np.where(mine, np.minimum(1, p.ravel() * 12), np.nan)
        part["pval_ora"] = np.where(mine, np.minimum(1, p.ravel() * 3), 1.0)
        part["qval_ora"] = np.minimum(1, part.pval_ora * 12)
        parts.append(part)
    return pd.concat(parts).sort_values(["feature", "set"], kind="stable", ignore_index=True)


def _gene_sets(sets, genes):
    """The first eight hold the genes of their cell type; the others stretches of genes, three sets a stretch."""
    own = [genes[5 * i : 5 * i + 5].tolist() if i < 8 else [] for i in range(len(sets))]
    rest = [genes[(40 + 7 * (i // 3)) % len(genes) :][: 6 + i % 3].tolist() for i in range(len(sets))]
    return pd.DataFrame(
        {
            "set": sets,
            "collection": ["immune processes" if i < 8 else f"level-1 process {i % 3}" for i in range(len(sets))],
            "genes": [a + b for a, b in zip(own, rest, strict=True)],
        }
    )


def _matches(columns, stability, width):
    n = len(columns)
    seed = np.tile([1, 2], n)
    r = np.clip(np.repeat(stability, 2) + np.tile([0.04, -0.04], n), 0, 1)
    partner = np.where(r > 0.3, (np.repeat(columns, 2) * 7 + seed) % width, -1)
    return pd.DataFrame(
        {
            "feature": np.repeat(columns, 2).astype(np.int32),
            "seed": seed.astype(np.int32),
            "partner": partner.astype(np.int32),
            "correlation": np.where(partner < 0, 0.0, r),
            "cosine": np.where(partner < 0, np.nan, 0.9 * r),
            "best": partner.astype(np.int32),
            "best_correlation": r,
        }
    )


def _label_rows(rng, columns, belongs, types):
    n, k = belongs.shape
    auroc = np.where(belongs, rng.uniform(0.75, 0.99, (n, k)), rng.uniform(0.3, 0.6, (n, k)))
    frame = pd.DataFrame({"feature": np.repeat(columns, k), "column": "cell_type", "value": np.tile(types, n)})
    frame["auroc"] = auroc.ravel()
    frame["f1"] = np.clip(auroc - 0.25, 0.02, 0.9).ravel()
    frame["precision"] = np.clip(auroc - 0.2, 0.02, 0.95).ravel()
    frame["recall"] = np.clip(auroc - 0.3, 0.02, 0.9).ravel()
    frame["qval"] = np.where(belongs, 1e-12, 0.4).ravel()
    return frame


def _info(n_cells, n_genes, features, width, codes, path):
    digest = hashlib.sha256((path / "embedding.npy").read_bytes()).hexdigest()
    live = len(features)
    return {
        "cellprism": "0.1.0",
        "arguments": {"data": "synthetic.h5ad", "rep": "X_pca", "labels": ["cell_type"], "width": width, "k": 8},
        "input": {"embedding": {"path": "embedding.npy", "sha256": digest}},
        "seeds": [0, 1, 2],
        "timings": {"fit": 12.1, "annotate": 3.4, "map": 2.2},
        "metrics": {
            "explained_variance": 0.914, "l0": float(np.diff(codes.indptr).mean()), "n_live": live,
            "n_dead": width - live, "width": width,
        },
        "shares": [
            {"claim": "features with a gene set at q < 0.05", "observed": 0.71, "nulls": {"random": 0.18, "permuted": 0.01}, "n": live},
            {"claim": "features with a gene at q < 0.05", "observed": 0.93, "nulls": {"random": 0.55, "permuted": 0.02}, "n": live},
            {"claim": "features with a label at AUROC > 0.9", "observed": 0.42, "nulls": {"random": 0.12, "permuted": 0.0}, "n": live},
        ],
        "descriptive": True,
        "expression": "measured",
        "summary": f"The embedding X_pca of {n_cells:,} synthetic cells was split into {live:,} live features and tested on {n_genes:,} genes and 68 gene sets.",
        "warnings": ["3 features follow sequencing depth (marked as confounded)."],
        "label_columns": ["cell_type", "donor"],
        "recipe": {"reasons": ["256 x k 8 takes the fewest bits a held-out cell.", "Two seeds agree on 71 % of its features."]},
        "landscape": [
            {"width": w, "k": k, "l0": 0.93 * k, "ev": 0.6 + 0.08 * i + 0.03 * j, "bits": 90.0 - 6 * i + 4 * (j - 1) ** 2, "agreement": 0.8 - 0.12 * i + 0.02 * j, "stability": 0.8 - 0.12 * i + 0.02 * j, "dead": 0.02 * i, "chosen": (i, j) == (2, 1)}
            for i, w in enumerate((64, 128, 256)) for j, k in enumerate((4, 8, 16))
        ],
    }  # fmt: skip


if __name__ == "__main__":
    import sys

    make_run(Path(sys.argv[1]), **{k: int(v) for k, v in (a.split("=") for a in sys.argv[2:])})
