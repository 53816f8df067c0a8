"""Activation profiles of local, regional and global features, and steering of a local and a global one, on real cells."""

from __future__ import annotations

from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
from given import Given

import cellprism as prism
from cellprism.features.kinds import cell_type_kinds

KINDS = ("local", "regional", "global")
SHOWN = 3
FEWEST = 20


def by_type(codes: Any, labels: np.ndarray) -> pd.DataFrame:
    """(types, features) mean activation."""
    return pd.DataFrame(codes.toarray()).groupby(labels).mean()


def profiles(dictionaries: dict[str, list[Any]], Z: np.ndarray, labels: np.ndarray, seeds: tuple[int, ...]) -> object:
    """By dictionary and seed: features of each kind, and the mean activation by type of its three most active ones."""
    found = []
    for name, saes in dictionaries.items():
        for seed, sae in zip(seeds, saes, strict=True):
            codes = sae.encode(Z)
            kinds = cell_type_kinds(codes, labels).set_index("feature")["kind"]
            means = by_type(codes, labels)
            for kind in KINDS:
                strongest = means.mean().loc[kinds.index[kinds == kind]].nlargest(SHOWN).index
                rows = {int(f): (means[f] / means[f].max()).round(4).to_dict() for f in strongest}
                about = {"dictionary": name, "seed": seed, "kind": kind, "features": int((kinds == kind).sum())}
                found.append(about | {"width": len(kinds), "profiles": rows})
    return found


def steering(sae: Any, given: Given) -> object:
    """The paper's edit: cells of one type, a feature set to 1.5 times its mean in a target type, decoded; beside null moves.

    The local feature is the one that is most active in its type, which is the target, or in the target that is given; the
    source is the type nearest to it, or the given one. The global one is that active in most cells or, where none is
    global, that which stands out in most types; it has no type of its own, so the same cells are moved, to 1.5 times its
    mean where it is active.
    """
    cells, Z, labels = given.cells, given.Z, given.labels
    codes = sae.encode(Z)
    kinds, means = cell_type_kinds(codes, labels).set_index("feature"), by_type(codes, labels)
    first = kinds["types"].str.split("; ").str[0]  # the type that a feature stands out in most
    wanted = first == given.target if given.target else first != ""
    only = wanted & (kinds["kind"] == "local")
    own = pd.Series({f: means.loc[first[f], f] for f in kinds.index[only if only.any() else wanted]})
    local, target = int(own.idxmax()), str(first[own.idxmax()])
    sizes = pd.Series(labels).value_counts()
    centres = pd.DataFrame(Z).groupby(labels).mean().loc[sizes.index[sizes >= FEWEST]]
    away = ((centres - pd.DataFrame(Z[labels == target]).mean()) ** 2).sum(axis=1).drop(target, errors="ignore")
    source = given.source or str(away.idxmin())
    n_active = np.asarray((codes > 0).sum(axis=0)).ravel()
    spread = pd.Series(n_active).loc[kinds.index[kinds["kind"] == "global"]]
    widest = kinds.index[kinds["n_types"] == kinds["n_types"].max()]
    shared = int((spread if len(spread) else pd.Series(n_active).loc[widest]).idxmax())
    column = codes[:, [shared]].toarray().ravel()
    edits = [(local, 1.5 * means.loc[target, local]), (shared, 1.5 * column[column > 0].mean())]
    axes = np.linalg.svd(Z - Z.mean(axis=0), full_matrices=False)[2][:2]
    difference = expressed(cells, labels == target) - expressed(cells, labels == source)
    out = []
    for feature, value in edits:
        moved = prism.effect(
            sae, given.model, Z, feature, to=float(value), cells=labels == source, labels={"type": labels}, n_null=200
        )
        genes = moved.genes[moved.genes["gene"].isin(cells.var_names)].set_index("gene")  # of RNA
        agreement = float(np.corrcoef(genes["log2fc"], difference.loc[genes.index])[0, 1])
        shares = moved.neighbours.set_index("value").loc[target]
        out.append(
            {
                "kind": str(kinds.loc[feature, "kind"]), "feature": feature, "active_cells": int(n_active[feature]), "source": source, "target": target,
                "to": float(value), "target_share_before": float(shares["before"]), "target_share_after": float(shares["after"]),
                "target_share_null_pval": float(shares["null_pval"]), "r_with_measured_difference": agreement,
                "genes_up": genes["log2fc"].nlargest(10).index.tolist(),
                "genes_null_q_below_0.05": int((genes["null_qval"] < 0.05).sum()),
                "cells": moved.cells.tolist(), "moved": (np.asarray(moved.embedding) @ axes.T).round(3).tolist(),
            }
        )  # fmt: skip
    return {"steered": out, "embedding": (Z @ axes.T).round(3).tolist(), "types": labels.tolist()}


def expressed(cells: ad.AnnData, rows: np.ndarray) -> pd.Series:
    """(genes,) log2 of mean counts per 10,000 of some cells, 0.1 added; the cells are log-normalised."""
    mean = np.expm1(cells.X[rows]).mean(axis=0)
    return pd.Series(np.log2(np.asarray(mean).ravel() + 0.1), index=cells.var_names)
