"""What an edit does: genes, gene sets, neighbours, dose; each beside moves of the same length that mean nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from cellprism.data.choice import chosen_cells
from cellprism.data.order import mask_of, refuse_other_genes, refuse_other_order
from cellprism.embed.base import EmbeddingModel
from cellprism.errors import InputError
from cellprism.numeric import numbers_checked
from cellprism.steering.decode import columns, decode_rates, log2_change
from cellprism.steering.edit import Dictionary, Edit, edited_values, make_edit, moved
from cellprism.steering.gene_table import gene_table
from cellprism.steering.neighbours import label_columns, neighbour_table
from cellprism.steering.nulls import NullKind, feature_directions, null_moves, random_directions
from cellprism.steering.sets import first_of, membership, set_table
from cellprism.steering.summary import move_summary, null_table, strength_summary

__all__ = ["DOSES", "Effect", "effect"]

DOSES = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
"""Fractions of the edit at which the dose-response curve is read; 1 is the edit itself."""


@dataclass(frozen=True, eq=False, repr=False)
class Effect:
    """The effect of one edit; :meth:`save` writes ``steering.parquet`` and ``steering.json``."""

    genes: pd.DataFrame
    """A row a decoded feature: gene, symbol, modality, log2fc (mean over cells), pval and qval (paired t test over
    cells), null_pval (against null moves, see :func:`cellprism.steering.gene_table.gene_null`), monotonicity (Spearman
    correlation with the dose), then low, high (95 % interval of log2fc over cells), null_qval."""
    sets: pd.DataFrame
    """A row a gene set, see :func:`cellprism.steering.sets.set_table`."""
    neighbours: pd.DataFrame
    """A row a label: column, value, before, after, change (share among the 15 nearest cells), null_pval."""
    doses: pd.DataFrame
    """A row a dose: dose, value (mean activation), then one column a gene with its mean log2 change."""
    nulls: pd.DataFrame
    """A row a null move: kind, strength (root mean square log2 change), target (mean log2 change of the target genes
    minus that of the others), change (that of the target genes alone)."""
    embedding: NDArray[np.float32]
    """(chosen cells, d) after the edit."""
    cells: NDArray[np.intp]
    """Row numbers of the chosen cells."""
    summary: dict[str, Any]
    """The headline numbers and how they were made."""

    def __repr__(self) -> str:
        s = self.summary
        what = f"feature{'s' if len(s['features']) > 1 else ''} {', '.join(map(str, s['features']))}"
        level = f"{s['activation_before']:.3g} -> {s['activation_after']:.3g}"
        return (
            f"Effect of {what} in {s['cells']:,} cells, activation {level}\n"
            f"    {len(self.genes):,} genes, {len(self.sets):,} sets beside {len(self.nulls):,} null moves; .genes, .sets, .summary"
        )

    def save(self, folder: str | Path) -> None:
        """Write the tables into ``folder``."""
        out = Path(folder)
        out.mkdir(parents=True, exist_ok=True)
        self.genes.to_parquet(out / "steering.parquet", index=False)
        content = {
            "summary": self.summary,
            "sets": self.sets.head(200).to_dict("records"),
            "neighbours": self.neighbours.to_dict("records"),
            "doses": self.doses[["dose", "value", "strength"]].to_dict("records"),
            "nulls": self.nulls.to_dict("records"),
        }
        (out / "steering.json").write_text(json.dumps(plain(content), indent=1), encoding="utf-8")


@numbers_checked
def effect(
    sae: Dictionary,
    model: EmbeddingModel,
    Z: NDArray[Any],
    feature: int | Sequence[int],
    *,
    to: float | Edit | None = None,
    to_quantile: float | None = None,
    scale: float | None = None,
    add: float | None = None,
    off: bool = False,
    cells: Any = None,
    adata: Any = None,
    symbols: Sequence[str] | None = None,
    gene_sets: Mapping[str, Sequence[str]] | None = None,
    targets: Sequence[str] | None = None,
    labels: Any = None,
    codes: sparse.csr_array | None = None,
    n_null: int = 100,
    max_cells: int = 500,
    seed: int = 0,
) -> Effect:
    """Steer a feature and read what changes.

    Parameters
    ----------
    sae, Z, feature, to, to_quantile, scale, add, off, cells, codes
        As for :func:`cellprism.steering.steer`; ``Z`` holds all cells.
    model
        Decodes the embedding.
    adata
        The cells of ``Z``: gives library size and batch. None decodes to the reference of the model.
    symbols
        One a decoded feature, for gene sets; None = the gene names.
    gene_sets
        Tested on the log2 changes.
    targets
        Genes (names or symbols) that the feature is said to act on: their effect beside all nulls, and the share of
        the change that falls on other genes.
    labels
        Categories of all cells (DataFrame, mapping or array): composition of the neighbours before and after.
    n_null
        Null moves of each kind (covariance-matched directions, random cell pairs, other features).
    max_cells
        Larger choices are sampled down to this many cells, with ``seed``.
    seed
        Of the sample and the nulls.

    Examples
    --------
    >>> found = prism.effect(sae, model, X, 1, to_quantile=0.9, cells=types == "B", n_null=5)
    >>> found.genes[["gene", "log2fc", "null_pval"]].shape == (len(genes), 3)
    True
    """
    edit = make_edit(to=to, to_quantile=to_quantile, scale=scale, add=add, off=off)
    rng = np.random.default_rng(seed)
    refuse_other_order(Z=Z, adata=adata, labels=labels, cells=mask_of(cells))
    Z = np.asarray(Z, dtype=np.float32)
    if adata is not None and adata.n_obs != Z.shape[0]:
        raise InputError("adata must hold the cells of the embedding", f"{adata.n_obs} for {Z.shape[0]}", "match them")
    chosen = chosen_cells(cells, Z.shape[0])
    rows = chosen if chosen.size <= max_cells else np.sort(rng.choice(chosen, max_cells, replace=False))
    codes = sae.encode(Z) if codes is None else codes
    width = codes.shape[1]
    features, before, after = edited_values(codes, feature, edit, rows)
    move = moved(sae, width, features, before, after)
    if not move.any():
        raise InputError("the edit must change some chosen cell", f"{edit}", "choose another value or other cells")

    part = None if adata is None else adata[rows]
    names, modality = columns(model)
    refuse_other_genes(None, names, symbols=symbols)
    symbols = _one_each(symbols, names)
    base = decode_rates(model, Z[rows], part)

    def change(by: NDArray[Any]) -> NDArray[np.float32]:
        return log2_change(base, decode_rates(model, Z[rows] + by, part), modality)

    observed = change(move)
    log2fc = observed.mean(0)

    curve, values = _dose_curve(
        lambda level: change(moved(sae, width, features, before, level)).mean(0), before, after, log2fc
    )
    null: dict[NullKind, NDArray[np.float32]] = {}
    null_after: list[NDArray[np.float32]] = []
    for kind, moves in _null_moves(sae, codes, features, move, Z, n_null, rng):
        null[kind] = np.asarray([change(m).mean(0) for m in moves])
        if kind == "covariance":
            null_after = [Z[rows] + m for m in moves]

    genes = gene_table(names, symbols, modality, observed, null["covariance"], curve)
    named, M = membership(gene_sets or {}, symbols)
    sets = set_table(named, M, log2fc, null["covariance"], first_of(symbols))
    is_target = None if targets is None else _are_targets(targets, names, symbols)
    nulls = null_table(null, is_target)
    doses = pd.DataFrame({"dose": DOSES, "value": values, "strength": np.sqrt((curve**2).mean(1))})
    doses = pd.concat([doses, pd.DataFrame(curve, columns=pd.Index(names))], axis=1)
    table = neighbour_table(Z, Z[rows] + move, null_after, rows, label_columns(labels, Z.shape[0]))
    summary: dict[str, Any] = {
        "features": features.tolist(),
        "edit": {"kind": edit.kind, "amount": edit.amount},
        "cells": int(rows.size),
        "cells_chosen": int(chosen.size),
        "activation_before": float(before.mean()),
        "activation_after": float(after.mean()),
        "n_null": n_null,
        "seed": seed,
        **move_summary(Z, Z[rows] + move, move, rows, rng),
        **strength_summary(log2fc, null, is_target),
    }
    return Effect(genes, sets, table, doses, nulls, Z[rows] + move, rows, summary)


def _one_each(symbols: Sequence[str] | None, names: list[str]) -> list[str]:
    """A symbol a decoded feature: its name where none are given."""
    found = names if symbols is None else [str(s) for s in symbols]
    if len(found) != len(names):
        raise InputError("symbols must name every decoded feature", f"{len(found)} for {len(names)}", "give them all")
    return found


def _dose_curve(
    change: Callable[[NDArray[Any]], NDArray[np.float32]],
    before: NDArray[Any],
    after: NDArray[Any],
    like: NDArray[np.float32],
) -> tuple[NDArray[np.float32], list[float]]:
    """The mean change at each dose, zeros ``like`` the full one at none, and the mean activation there."""
    by_dose, values = [], []
    for dose in DOSES:
        level = np.maximum(before + dose * (after - before), 0.0)
        by_dose.append(change(level) if dose else np.zeros_like(like))
        values.append(float(level.mean()))
    return np.asarray(by_dose), values


def _null_moves(
    sae: Dictionary,
    codes: sparse.csr_array,
    features: NDArray[np.intp],
    move: NDArray[Any],
    Z: NDArray[np.float32],
    n: int,
    rng: np.random.Generator,
) -> Iterator[tuple[NullKind, list[NDArray[np.float32]]]]:
    """Each kind of null move that there is, n of them; other features serve only where some are alive."""
    live = np.flatnonzero(np.asarray((codes != 0).sum(0)).ravel())
    others = np.setdiff1d(live, features)
    kinds: list[NullKind] = ["covariance", "pairs"]
    if others.size:
        kinds.append("features")
    for kind in kinds:
        directions = feature_directions(sae, codes.shape[1], others, rng) if kind == "features" else None
        yield kind, null_moves(move, random_directions(kind, n, Z, rng, directions))


def _are_targets(targets: Sequence[str], names: Sequence[str], symbols: Sequence[str]) -> NDArray[np.bool_]:
    """Which decoded features are meant, by name or symbol."""
    wanted = set(targets)
    found = np.asarray([g in wanted or s in wanted for g, s in zip(names, symbols, strict=True)])
    if not found.any():
        raise InputError("target genes must be among the decoded ones", f"{sorted(wanted)[:5]}", "check the names")
    return found


def plain(value: Any) -> Any:
    """JSON has no NaN and no NumPy: NaN becomes null, arrays lists."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value
