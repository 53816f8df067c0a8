"""Which rule chooses the best dictionary of a real embedding without labels? The table behind the automatic recipe.

    python benchmarks/recipe_choice.py DATA_FOLDER [--sets paul …] [--seed N] [--again]

For every embedding some forty dictionaries are made, each measured without labels (held-out variance, bits, stability, replication
between disjoint halves of the cells, how well the codes predict expression) and with the truth that none was shown (the best single
feature of each label on cells that did not choose it, as a share of a linear probe). A rule is then judged on each data set with
what the other data sets say of it. DATA_FOLDER holds the .h5ad files of ``SETS`` in benchmarks/evaluation.py. ``--again`` measures
the readings and the directions anew, and keeps the rows of trained dictionaries that the output has of these sets.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp
from common import machine
from evaluation import SETS
from sklearn.linear_model import Ridge
from sklearn.metrics import f1_score, roc_auc_score

import cellprism as prism
from cellprism.data.state import to_log1p
from cellprism.data.thin import thin
from cellprism.embed.pca import PCAModel
from cellprism.evaluation.probing import best_features, linear_probe, make_folds, usable_targets
from cellprism.evaluation.rivals import RIVALS, fit_rival
from cellprism.evaluation.targets import read_truth
from cellprism.sae.correlation import code_correlation
from cellprism.sae.fit import default_config, readings
from cellprism.sae.recipe.bits import agreement, description_length, precision_of
from cellprism.sae.recipe.candidates import reading_config

CELLS, STEPS, BATCH = 3_000, 300, 512
CRITERIA = {"explained_variance": 1, "bits": -1, "stability": 1, "agreement": 1, "replication": 1, "expression": 1}
"""Label-free measures, and whether more (1) or less is better."""


def embedding(name: str, folder: Path, seed: int) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Embedding of one half of the molecules, log expression of the other, and the truth."""
    of, _, model = name.partition("-")
    file, truth = SETS[of]
    cells = ad.read_h5ad(folder / f"{file}.h5ad")
    if cells.n_obs > CELLS:
        cells = cells[np.sort(np.random.default_rng(seed).permutation(cells.n_obs)[:CELLS])].copy()
    half, rest = thin(sp.csr_array(cells.X), seed=seed)
    made = cells.copy()
    made.X = sp.csr_matrix(half)
    if model:
        X = prism.embed.train(model, made, seed=seed).encode(made)
    else:
        X = PCAModel.fit(made, n_components=30, seed=seed).encode(made)
    known = {}
    for column in truth:
        key = column.removeprefix("obsm:")
        known[key] = cells.obsm[key] if column != key else cells.obs[column].astype(str).to_numpy()
    return np.ascontiguousarray(X, dtype=np.float32), to_log1p(sp.csr_array(rest), "counts").toarray(), known


def grid(X: np.ndarray) -> dict[str, prism.SAEConfig]:
    """Trained dictionaries: widths x k x scalings, the fixed default, and the usual wide TopK."""
    found = {"default": default_config(X), "topk, 20 d, k 8": prism.SAEConfig(20 * X.shape[1], "topk", k=8)}
    for width in (16, 32, 64, 120):
        for k in (2, 4, 6):
            for scaling in ("global", "wiener", "whiten"):
                power = 0.5 if scaling == "whiten" else 1.0
                if power < 1 and k != 4:
                    continue
                word = {"whiten": "half white"}.get(scaling, scaling)
                found[f"batchtopk {width}, k {k}, {word}"] = prism.SAEConfig(
                    width, k=k, scaling=scaling, whiten_power=power
                )
    return found


def learn(X: np.ndarray, seed: int, *, train: bool = True) -> dict[str, Any]:
    """Name -> SAE, of all candidates, or of those alone that are read off."""
    programs, both = (reading_config(*X.shape, kinds=kinds) for kinds in (False, True))
    assert programs is not None
    assert both is not None
    read = readings(X, X[:200], [programs, both], [seed])
    found = {name: of_seeds[0][0] for name, of_seeds in zip(("programs", "programs and kinds"), read, strict=True)}
    if not train:
        return found
    configs = grid(X)
    fits = prism.fit_many(
        X, list(configs.values()), seeds=[seed] * len(configs), device="cpu", epochs=max(1, round(STEPS * BATCH / len(X))),
        batch_size=min(BATCH, len(X)), holdout=0.0, patience=None,
    )  # fmt: skip
    return found | {name: one.sae for name, one in zip(configs, fits, strict=True)}


def told(codes: sp.csr_array, targets: list[Any], folds: np.ndarray, probe: Any) -> dict[str, float]:
    """Best single features as a share of the linear probe, mean over targets."""
    calls = best_features(codes, targets, folds)
    f1, auc = np.zeros((2, len(targets))), np.zeros((2, len(targets)))
    for t, (column, k) in enumerate(targets):
        member = column.members(k)
        for i, one in enumerate((calls, probe)):
            f1[i, t] = f1_score(member[column.known], one.called[t][column.known])
            auc[i, t] = np.mean(
                [roc_auc_score(member[w], one.scores[t][w]) for w in (column.known & (folds == f) for f in (0, 1))]
            )
    return {"f1": f1[0].mean() / f1[1].mean(), "auroc": auc[0].mean() / auc[1].mean(), "probe_f1": f1[1].mean()}


def measure(name: str, folder: Path, seed: int, *, train: bool = True) -> list[dict[str, Any]]:
    """A row a candidate; without ``train`` a row a reading and a set of directions."""
    X, expression, known = embedding(name, folder, seed)
    columns, _ = read_truth(known, len(X))
    folds = make_folds(len(X), None, seed)
    targets, _ = usable_targets(columns, folds)
    probe = linear_probe(X, targets, folds)
    order = np.random.default_rng(seed).permutation(len(X))
    kept, test = X[order[len(X) // 5 :]], X[order[: len(X) // 5]]
    halves = [learn(kept[i::2], seed + 10 + i, train=train) for i in range(2)]
    saes, twins = (learn(kept, seed + i, train=train) for i in range(2))
    precision, rows = precision_of(kept), []
    for candidate, sae in saes.items():
        bits = description_length(sae, test, precision)
        again = agreement(sae, twins[candidate], test)
        a, b = (half[candidate].encode(test) for half in halves)
        replication = (
            code_correlation(a, b).max(axis=1).toarray().ravel()[np.unique(a.indices)].mean() if a.nnz else 0.0
        )
        codes = sae.encode(X)
        y = expression - expression.mean(axis=0)
        ridge = Ridge(alpha=1.0).fit(codes[order[len(X) // 5 :]].toarray(), y[order[len(X) // 5 :]])
        left = y[order[: len(X) // 5]] - ridge.predict(codes[order[: len(X) // 5]].toarray())
        rows.append(
            {"set": name, "seed": seed, "candidate": candidate, "width": sae.width, "l0": bits["l0"]}
            | {k: float(bits[k]) for k in ("explained_variance", "bits", "dead_share")}
            | {"stability": again.stability, "agreement": again.agreement, "replication": float(replication)}
            | {"expression": float(1 - np.square(left).sum() / np.square(y[order[: len(X) // 5]]).sum())}
            | told(codes, targets, folds, probe)
        )
    width = next(r["width"] for r in rows if r["candidate"] == "programs and kinds")
    for rival in ("random", "pca", "ica"):
        codes = fit_rival(rival, X, width, seed=seed).encode(X)
        rows.append(
            {
                "set": name,
                "seed": seed,
                "candidate": RIVALS[rival].words,
                "width": codes.shape[1],
                "l0": codes.nnz / len(X),
            }
            | told(codes, targets, folds, probe)
        )
    return rows


def rules(table: pd.DataFrame) -> pd.DataFrame:
    """What each rule reaches on data sets that had no part in it.

    A criterion's rule takes the candidate that is best by it in the embedding at hand. The last rule takes the candidate that
    has the best mean on the other data sets. All are given as mean and least share of the probe's F1 and AUROC.
    """
    table = table.assign(source=table["set"].str.partition("-")[0])
    trained = table.dropna(subset=["bits"])
    rows = []
    for criterion, sign in CRITERIA.items():
        best = trained.loc[(sign * trained[criterion]).groupby(trained["set"]).idxmax()]
        within = [
            g["f1"].corr(sign * g[criterion], method="spearman")
            for _, g in trained.groupby("set")
            if g["f1"].nunique() > 1
        ]
        rows.append({"rule": f"best by {criterion}", "rank correlation with F1": np.mean(within)} | _reached(best))
    left_out = []
    for source in table["source"].unique():
        mean = trained[trained["source"] != source].groupby("candidate")["f1"].mean()
        if mean.empty:  # one data set alone has no others
            continue
        left_out.append(trained[(trained["source"] == source) & (trained["candidate"] == mean.idxmax())])
    if left_out:
        rows.append({"rule": "best on the other data sets"} | _reached(pd.concat(left_out)))
    rows.append(
        {"rule": "best of each data set (needs the truth)"}
        | _reached(trained.loc[trained.groupby("set")["f1"].idxmax()])
    )
    return pd.DataFrame(rows)


def _reached(chosen: pd.DataFrame) -> dict[str, Any]:
    return {
        "F1": chosen["f1"].mean(),
        "least F1": chosen["f1"].min(),
        "AUROC": chosen["auroc"].mean(),
        "taken": ", ".join(chosen["candidate"].value_counts().index[:3]),
    }


def markdown(table: pd.DataFrame) -> str:
    """Both tables of docs/recipe.md: rules, and candidates by embedding."""
    judged = rules(table).round(2).fillna("–")
    wide = table.pivot_table(index="candidate", columns="set", values="f1", sort=False)
    wide = wide.assign(mean=wide.mean(axis=1), least=wide.min(axis=1)).sort_values("mean", ascending=False)
    extra = table.groupby("candidate")[["auroc", "l0", "stability", "replication"]].mean()
    wide = wide.join(extra).round(2).fillna("–").reset_index()
    return "\n\n".join(
        "\n".join(
            ["| " + " | ".join(map(str, t.columns)) + " |", "|" + "---|" * t.shape[1]]
            + ["| " + " | ".join(map(str, row)) + " |" for row in t.to_numpy()]
        )
        for t in (judged, wide)
    )


def main() -> None:
    """Measure, save, print the tables of the docs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    names = [*SETS, "paul-dgd", "kang-dgd", "paul-autoencoder", "paul-scvi", "kang-scvi"]
    parser.add_argument(
        "--sets", nargs="*", default=names, help="names of sets, with -MODEL for another model than PCA"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--again", action="store_true", help="only what is not trained; other rows as they are")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "recipe_choice.json")
    args = parser.parse_args()
    rows: list[dict[str, Any]] = json.loads(args.output.read_text())["rows"] if args.again else []
    for name in args.sets:
        start = time.perf_counter()
        new = measure(name, args.folder, args.seed, train=not args.again)
        measured = {(row["set"], row["candidate"]) for row in new}
        rows = [row for row in rows if (row["set"], row["candidate"]) not in measured] + new
        print(name, f"{time.perf_counter() - start:.0f} s", flush=True)
        content = {"machine": machine(), "rows": [{k: _short(v) for k, v in row.items()} for row in rows]}
        args.output.write_text(json.dumps(content, indent=0) + "\n")
    print(markdown(pd.DataFrame(rows)))


def _short(value: Any) -> Any:
    return round(float(value), 4) if isinstance(value, float | np.floating) else value


if __name__ == "__main__":
    main()
