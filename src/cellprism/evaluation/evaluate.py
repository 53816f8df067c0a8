"""``evaluate``: a dictionary beside what others would use and what learned nothing, as one tidy table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Literal

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

from cellprism.data.checks import check_embedding, tells_remarks
from cellprism.data.choice import chosen_cells
from cellprism.data.missing import groups
from cellprism.data.order import mask_of, refuse_other_genes, refuse_other_order
from cellprism.data.sparse import as_csr
from cellprism.errors import InputError
from cellprism.evaluation.absorption import absorption
from cellprism.evaluation.assess import Calls, interval
from cellprism.evaluation.molecules import held_out_molecules
from cellprism.evaluation.probing import best_features, linear_probe, make_folds, usable_targets
from cellprism.evaluation.replication import SetNames, replication
from cellprism.evaluation.result import THIS, Evaluation
from cellprism.evaluation.rivals import RIVALS, STANDARD, fit_rival
from cellprism.evaluation.setting import Rows, Setting, probe
from cellprism.evaluation.targets import read_truth
from cellprism.evaluation.transfer import transfer
from cellprism.features.annotate import annotate
from cellprism.genesets.match import check_sets
from cellprism.numeric import numbers_checked, seed_after
from cellprism.sae.model import SAE
from cellprism.stats.units import usable_replicates

__all__ = ["CHEAP", "evaluate"]

Preset = Literal["cheap", "full"]

CHEAP = tuple(name for name, rival in RIVALS.items() if rival.cost == "cheap")
"""Rivals that need no training."""

_KS = (1, 2, 4, 8, 16)


@numbers_checked
@tells_remarks("embedding")
def evaluate(
    codes: SAE | ArrayLike | sp.sparray | sp.spmatrix,
    embedding: ArrayLike,
    truth: Any = None,
    *,
    expression: Any = None,
    genes: Sequence[str] | None = None,
    gene_sets: Mapping[str, Sequence[str]] | None = None,
    counts: Any = None,
    replicate: ArrayLike | None = None,
    within: ArrayLike | None = None,
    batch: Mapping[str, Any] | pd.DataFrame | None = None,
    hierarchy: Sequence[str] | Mapping[str, str] | None = None,
    others: Mapping[str, Any] | None = None,
    fitted: ArrayLike | None = None,
    preset: Preset = "cheap",
    rivals: Sequence[str] | None = None,
    ks: Sequence[int] | None = None,
    seed: int = 0,
    **training: Any,
) -> Evaluation:
    """Measure what a dictionary's features are worth, beside rivals, nulls and the ceiling of the embedding.

    See docs/evaluation.md for each measure, its formula and what it cannot see.

    Parameters
    ----------
    codes
        An SAE, or codes (cells, features), sparse or dense, non-negative.
    embedding
        (cells, d) that the SAE was fitted to.
    truth
        What the embedding was not told of the cells: a mapping or table, name -> categories (cells,), or numbers
        (cells,) or tables of numbers (cells, proteins), which are split in two where there are two groups.
    expression
        (cells, genes) log1p expression, for single genes and NMF as rivals, and as what few features predict. Leave out
        columns that are the truth themselves (the proteins that are asked for).
    genes, gene_sets
        Names of the columns of ``expression``, and sets of them: whether features of disjoint cells carry the same sets.
    counts
        (cells, genes) molecules that the embedding has not seen (the other part of a count split), or their log1p, to be
        predicted from few features; None: that is not measured.
    replicate
        (cells,) donors or replicates: features are then chosen in some and scored in the others, transfer is measured,
        and a feature that reads a replicate is warned of.
    within
        (cells,) cell types, so that transfer is from one type and replicate to other types and replicates.
    batch
        Further columns that a good feature need not, or should not, read: name -> categories.
    hierarchy
        Columns of ``truth`` from broad to narrow, or narrow category -> broad category, for absorption.
    others
        Further dictionaries of the same cells, name -> SAE or codes.
    fitted
        Mask or row numbers of the cells that the dictionary was fitted to; rivals are fitted to the same. None: all.
    preset
        ``cheap``: one feature beside the rivals that need no training. ``full``: also few features, trained nulls, NMF,
        molecules where counts are given, and replication where an SAE is given.
    rivals
        Names of :data:`~cellprism.evaluation.rivals.RIVALS` in place of the preset's.
    ks
        Numbers of features in place of the preset's.
    seed
        Of everything random.
    training
        Options of :func:`cellprism.fit` for what is trained here: nulls, and the dictionaries of replication.

    Returns
    -------
    Evaluation
        Table, paired differences, chosen features and what was left out.

    Raises
    ------
    InputError
        If cells do not agree, codes are negative, or an option is unknown.

    Examples
    --------
    >>> found = prism.evaluate(sae, X, {"cell type": types}, rivals=["random", "pca"])
    >>> sorted(found.mean().index)
    ['dictionary', 'pca', 'random']
    """
    refuse_other_order(
        codes=codes, embedding=embedding, truth=truth, expression=expression, counts=counts, replicate=replicate,
        within=within, batch=batch, others=others, fitted=mask_of(fitted),
    )  # fmt: skip
    if genes is not None:
        refuse_other_genes(expression, genes)
    X = np.ascontiguousarray(check_embedding(embedding), dtype=np.float32)
    n = len(X)
    if gene_sets is not None:
        check_sets(gene_sets)
    if gene_sets is not None and (genes is None or expression is None or len(genes) != np.shape(expression)[1]):
        raise InputError(
            "gene sets need expression and a name for each of its columns",
            "no expression" if expression is None else f"{0 if genes is None else len(genes)} names",
            "give expression= and genes=",
        )
    _check(preset, n, {"expression": expression, "counts": counts, "replicate": replicate, "within": within})
    found = {THIS: _codes_of(codes, X)} | {name: _codes_of(c, X) for name, c in (others or {}).items()}
    rows = chosen_cells(fitted, n, "`fitted`")
    width, active = found[THIS].shape[1], found[THIS].nnz / max(n, 1)
    chosen_rivals = _chosen(rivals, preset, expression is not None)

    def drawn(name: str, draw: int = 0) -> sp.csr_array:
        data = X if RIVALS[name].of == "embedding" else sp.csr_array(expression)
        one = fit_rival(name, data[rows], width, active=active, seed=seed_after(seed, draw), **training)
        return one.encode(data)

    found |= {name: drawn(name) for name in chosen_rivals}
    again = {name: partial(map, partial(drawn, name), range(1, RIVALS[name].draws)) for name in chosen_rivals}
    columns, notes = read_truth(truth if truth is not None else {}, n)
    replicate, units, unknown = _units(replicate, within)
    folds = make_folds(n, replicate, seed)
    targets, refused = usable_targets(columns, folds)
    setting = Setting.of(targets, folds, units)
    out = Rows()
    calls, differences = probe(setting, found, again, X, out, _chosen_ks(ks, preset), seed)
    features = _feature_table(setting, calls)
    warned = _warnings(batch, replicate, found[THIS], X, out, seed)
    if replicate is not None and targets:
        held = transfer(found, columns, replicate, within, out.add, seed)
        if held:
            differences = pd.concat([differences, pd.DataFrame(held, columns=differences.columns)], ignore_index=True)
    if hierarchy is not None:
        absorption(found, columns, hierarchy, folds, out.add)
    if counts is not None:
        held_out_molecules(found, X, counts, folds, out.add)
    if preset == "full" and isinstance(codes, SAE):
        sets = None if gene_sets is None or genes is None else _set_names(expression, genes, gene_sets, seed)
        returned = replication(codes, X, columns, replicate, out.add, seed, sets=sets, **training)
        differences = pd.concat([differences, pd.DataFrame(returned, columns=differences.columns)], ignore_index=True)
    return Evaluation(
        table=out.table(),
        differences=differences,
        features=features,
        notes=(*unknown, *notes, *refused, *warned),
        rivals=tuple(name for name in found if name != THIS),
    )


def _units(
    replicate: ArrayLike | None, within: ArrayLike | None
) -> tuple[NDArray[np.object_] | None, NDArray[np.int64] | None, list[str]]:
    """Usable replicate of each cell, None and -1 where it has none, and which cells are left out for want of one."""
    if replicate is None:
        if within is not None:
            raise InputError("`within` says to which cells features transfer", "no replicates", "give `replicate` too")
        return None, None, []
    found = usable_replicates(replicate)
    if found.names.size < 2:
        raise InputError(
            "features are chosen in some replicates and scored in others",
            "; ".join(["one replicate" if found.names.size else "none", *found.notes]),
            "leave the replicates out",
        )
    said = [f"{note}: neither chosen on nor scored." for note in found.notes]
    if within is not None and (gaps := groups(within).n_missing):
        said.append(f"{gaps:,} of {found.number.size:,} cells have no type: left out of the transfer to other types.")
    return np.append(found.names, np.array([None], dtype=object))[found.number], found.number, said


def _feature_table(setting: Setting, calls: Calls | None) -> pd.DataFrame:
    """A row a target and fold: the feature that was chosen and its threshold."""
    if calls is None:
        return pd.DataFrame({"target": [], "fold": [], "feature": [], "threshold": []})
    t, f = np.indices(calls.features.shape).reshape(2, -1)
    names = np.array(setting.names, dtype=object)[t]
    table = {"target": names, "fold": f, "feature": calls.features.ravel(), "threshold": calls.thresholds.ravel()}
    return pd.DataFrame(table)


def _warnings(
    batch: Mapping[str, Any] | pd.DataFrame | None,
    replicate: NDArray[np.object_] | None,
    codes: sp.csr_array,
    X: NDArray[np.float32],
    out: Rows,
    seed: int,
) -> list[str]:
    """How well a feature reads what it need not: rows ``batch_…``, and a line for each that is read well."""
    given = {str(name): values for name, values in (batch.items() if batch is not None else ())}
    if replicate is not None:
        given = {"replicate": replicate} | given
    columns, _ = read_truth(given, len(X), asked=False)
    folds = make_folds(len(X), None, seed)
    targets, _ = usable_targets(columns, folds)
    if not targets:
        return []
    setting = Setting.of(targets, folds, None)
    calls = best_features(codes, targets, folds)
    judged, top = setting.judged(calls, seed), setting.judged(linear_probe(X, targets, folds, seed), seed)
    said = []
    for t, name in enumerate(setting.names):
        for measure in ("f1", "auroc"):
            low, high = interval(judged.draws[measure][:, t])
            out.add(f"batch_{measure}", name, THIS, 1, judged.value[measure][t], low, high, top.value[measure][t])
        if judged.value["auroc"][t] > _READS_BATCH:
            said.append(
                f"feature {calls.features[t, 0]} reads {name} (AUROC {judged.value['auroc'][t]:.2f}): look whether "
                "that is biology"
            )
    return said


def _set_names(expression: Any, genes: Sequence[str], gene_sets: Mapping[str, Sequence[str]], seed: int) -> SetNames:
    """Gene sets that lead features of some cells at q < 0.05."""
    values = sp.csr_array(expression, dtype=np.float32)

    def names(codes: sp.csr_array, rows: NDArray[np.intp]) -> set[str]:
        found = annotate(codes, values[rows], genes, gene_sets, nulls=(), seed=seed).features
        return set(found.loc[found["top_set_qval"] < 0.05, "top_set"].astype(str))

    return names


_READS_BATCH = 0.8


def _codes_of(given: Any, X: NDArray[np.float32]) -> sp.csr_array:
    codes = given.encode(X) if isinstance(given, SAE) else as_csr(given, "codes")
    if codes.shape[0] != len(X):
        raise InputError(
            "codes and embedding have the same cells", f"{codes.shape[0]} and {len(X)} cells", "align them first"
        )
    if codes.nnz and (not np.isfinite(codes.data).all() or codes.data.min() < 0):
        raise InputError(
            "codes must be finite and not negative",
            f"a smallest value of {codes.data.min():g}",
            "give both signs of an axis as two columns, each cut at zero",
        )
    return codes


def _chosen(rivals: Sequence[str] | None, preset: Preset, has_expression: bool) -> list[str]:
    names = list(rivals) if rivals is not None else list(STANDARD if preset == "full" else CHEAP)
    for name in names:
        if name not in RIVALS:
            raise InputError("a rival must be one of " + ", ".join(RIVALS), repr(name), "correct the name")
        if rivals is not None and RIVALS[name].of == "expression" and not has_expression:
            raise InputError(f"the rival {name!r} is fitted to expression", "none", "give expression=")
    return [name for name in names if has_expression or RIVALS[name].of == "embedding"]


def _chosen_ks(ks: Sequence[int] | None, preset: Preset) -> Sequence[int]:
    found = tuple(ks) if ks is not None else _KS if preset == "full" else _KS[:1]
    if not found or min(found) < 1:
        raise InputError("`ks` are numbers of features, 1 or more", str(found), "use (1, 2, 4, 8, 16)")
    return sorted(set(found))


def _check(preset: str, n: int, given: Mapping[str, Any]) -> None:
    if preset not in ("cheap", "full"):
        raise InputError("`preset` is cheap or full", repr(preset), "give one of them")
    for name, values in given.items():
        if values is not None and (values.shape[0] if hasattr(values, "shape") else len(values)) != n:
            raise InputError(f"`{name}` has a row a cell of the embedding", f"not {n} of them", "align the cells first")
