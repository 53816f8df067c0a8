"""What may stand in the names of features: their genes, sets and labels, held against the features' core cells."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellprism.features import naming
from cellprism.features.beyond import reach
from cellprism.features.core import core_deviates, lift
from cellprism.features.direction import direction
from cellprism.features.evidence import Evidence
from cellprism.features.homes import Homes, label_homes, set_home_lift
from cellprism.features.question import Question
from cellprism.features.tissue import SetKind, home_tissues
from cellprism.features.twins import twins

__all__ = ["TOP_GENES", "name_evidence", "top_genes"]

TOP_GENES = 10
_SETS = 12
_WEAK_LIFT = 0.1  # labels below it never matter for a name
_LOW_GENES = 4
_OFF_FROM = 0.2  # a feature is told by where it is off from this share of active cells on


def top_genes(found: Evidence) -> np.ndarray:
    """(features, :data:`TOP_GENES`) genes of the largest calibrated deviates that are up, best first; -1 for none.

    What is up is told by :func:`cellprism.features.direction.direction`.
    """
    z, log2fc = found.genes.calibrated, found.genes.log2fc
    out = np.full((z.shape[0], TOP_GENES), -1, dtype=np.int64)
    few = min(3 * TOP_GENES, z.shape[1])
    for f in np.flatnonzero(found.contrast.testable).tolist():
        best = np.argpartition(-z[f], few - 1)[:few]
        best = best[direction(z[f, best], log2fc[f, best]) > 0]
        if best.size < TOP_GENES:  # ranks and means disagree of many, or few are up at all
            best = np.flatnonzero(direction(z[f], log2fc[f]) > 0)
        best = best[np.argsort(-z[f, best], kind="stable")][:TOP_GENES]
        out[f, : best.size] = best
    return out


def name_evidence(
    codes: sp.csc_array,
    core: sp.csc_array,
    found: Evidence,
    question: Question,
    display: Sequence[str],
    labels: pd.DataFrame,
    random: Evidence | None,
    top: np.ndarray,
    *,
    live: np.ndarray,
    marks: np.ndarray,
    nuisance: Collection[str],
    kinds: Mapping[str, SetKind],
    ancestors: Mapping[str, str],
    regulators: Mapping[int, str],
) -> list[naming.Evidence]:
    """Evidence of the ``live`` features, each piece past the level of the question.

    Parameters
    ----------
    codes, core
        Of the tested cells.
    display
        Name of each gene.
    labels
        Rows of ``labels.parquet``.
    top
        Of :func:`top_genes`.
    marks
        (features,) of :func:`cellprism.features.confounds.confound_marks`.
    nuisance
        Label columns that never name a feature.
    kinds
        Tissue and kind of the sets where they are known.
    """
    n_active = np.diff(codes.indptr)
    shown = np.take_along_axis(found.genes.calibrated, np.maximum(top, 0), axis=1)
    genes = np.where((top >= 0) & (shown >= found.critical), top, -1)
    few = np.diff(core.indptr)[:, None]  # of a handful of core cells that happen to be alike, a larger t says no more
    core_z = np.minimum(core_deviates(core, question.expression, genes), few)
    columns = {c: v for c, v in question.labels.items() if c not in nuisance and c in set(labels["column"])}
    homes = {c: label_homes(question.expression, v) for c, v in columns.items()}
    sets = _sets(found, question, random, genes, display, kinds, ancestors, homes, columns, codes, core)
    told, off = _labels(question, labels, genes, display, homes), _off_labels(labels, homes, n_active / codes.shape[0])
    low = _lowest(found)
    low_core = core_deviates(core, question.expression, low)
    twin = twins(codes)
    return [
        naming.Evidence(
            feature=f,
            n_active=int(n_active[f]),
            n_cells=codes.shape[0],
            genes=tuple(
                naming.Gene(display[g], float(found.genes.calibrated[f, g]), float(c))
                for g, c in zip(genes[f], core_z[f], strict=True)
                if g >= 0
            ),
            sets=sets.get(f, ()),
            labels=told.get(f, ()),
            confound=str(marks[f]),
            untestable=str(found.contrast.reason[f]),
            regulator=regulators.get(f, ""),
            down=tuple(
                naming.Gene(display[g], -float(found.genes.calibrated[f, g]), -float(c))
                for g, c in zip(low[f], low_core[f], strict=True)
                if g >= 0
            ),
            off=off.get(f, ()),
            alike=int(twin[f]),
        )
        for f in live.tolist()
    ]


def _sets(
    found: Evidence,
    question: Question,
    random: Evidence | None,
    genes: np.ndarray,
    display: Sequence[str],
    kinds: Mapping[str, SetKind],
    ancestors: Mapping[str, str],
    homes: dict[str, Homes],
    columns: dict[str, np.ndarray],
    codes: sp.csc_array,
    core: sp.csc_array,
) -> dict[int, tuple[naming.GeneSet, ...]]:
    """The strongest up sets of each feature."""
    if found.sets is None or question.sets is None:
        return {}
    index, both = question.sets, found.sets.both
    log_p, critical = found.sets.combined[:, 0], both.critical(question.level)
    chosen: dict[int, np.ndarray] = {}
    for f in np.flatnonzero(found.contrast.testable).tolist():
        few = np.argpartition(log_p[f], min(_SETS, log_p.shape[1]) - 1)[:_SETS]
        few = few[log_p[f, few] <= critical]
        # the z breaks ties among p values that are equal
        chosen[f] = few[np.lexsort((-found.sets.z[f, few], log_p[f, few]))]
    unknown = SetKind(("", True))
    kind = [kinds.get(str(name), unknown) for name in index.names]
    best = (next((kind[s].tissue for s in mine if not kind[s].process), "") for mine in chosen.values())
    home = home_tissues(best)
    far, where = set_home_lift(homes, columns, index, codes, core)
    members = [set(index.genes[part].tolist()) for part in np.split(index.members, index.ptr[1:-1])]
    out: dict[int, tuple[naming.GeneSet, ...]] = {}
    # all features at once: each look into the family or the random directions takes as long as they are large
    named = {f: mine for f, mine in chosen.items() if mine.size}
    row = np.repeat(np.fromiter(named, np.int64, len(named)), [mine.size for mine in named.values()])
    item = np.concatenate([np.empty(0, np.int64), *named.values()])
    qval, reached = both.q(log_p[row, item]), np.full(item.size, np.nan)
    if random is not None and random.sets is not None:
        reached = reach(log_p, random.sets.combined[:, 0], row * log_p.shape[1] + item)
    start = 0
    for f, mine in named.items():
        q, far_out = qval[start : start + mine.size], reached[start : start + mine.size]
        start += mine.size
        out[f] = tuple(
            naming.GeneSet(
                name=str(index.names[s]),
                qval=float(q[i]),
                effect=float(found.sets.effect[f, s]),
                genes=tuple(display[g] for g in genes[f] if g >= 0 and int(g) in members[s]),
                at_home=kind[s].tissue in home,
                process=kind[s].process,
                reach=float(far_out[i]),
                home_lift=float(far[f, s]),
                homes=where[s],
                ancestor=ancestors.get(str(index.names[s]), ""),
            )
            for i, s in enumerate(mine.tolist())
        )
    return out


def _labels(
    question: Question, labels: pd.DataFrame, genes: np.ndarray, display: Sequence[str], homes: dict[str, Homes]
) -> dict[int, tuple[naming.Label, ...]]:
    """Labels that the features tell from other cells, and which of the features' genes are higher in them."""
    far = lift(labels["core_precision"].to_numpy(np.float64), labels["prevalence"].to_numpy(np.float64))
    detected = (labels["qval"] < question.level) & (labels["auroc"] > 0.5) & (far >= _WEAK_LIFT)
    most = labels.groupby(["feature", "column"], observed=True)["core_recall"].transform("max")
    as_often = (labels["core_recall"] >= 0.5 * most) & (labels["core_precision"] >= _WEAK_LIFT)
    kept = detected | as_often
    out: dict[int, list[naming.Label]] = {}
    for row in labels.assign(detected=detected)[kept & labels["column"].isin(list(homes))].to_dict("records"):
        home = homes[row["column"]]
        place = home.categories.get(row["value"])
        if place is None:
            continue
        f = int(row["feature"])
        mine = [g for g in genes[f] if g >= 0]
        measures = {
            name: float(row[name])
            for name in ("prevalence", "activation_share", "core_precision", "core_recall", "active_recall", "f1")
        }
        label = naming.Label(
            column=str(row["column"]),
            value=str(row["value"]),
            **measures,
            genes=tuple(display[g] for g in mine if home.higher[place, g]),
            markers=tuple(display[g] for g in mine if home.most[g] == place),
            detected=bool(row["detected"]),
        )
        out.setdefault(f, []).append(label)
    order = {column: i for i, column in enumerate(homes)}
    return {f: tuple(sorted(mine, key=lambda one: (order[one.column], -one.lift))) for f, mine in out.items()}


def _off_labels(
    labels: pd.DataFrame, homes: Mapping[str, Homes], active: np.ndarray
) -> dict[int, tuple[naming.OffLabel, ...]]:
    """Categories in which features of many cells are active half as often as in all cells, or less."""
    rows = labels[labels["column"].isin(list(homes)) & labels["prevalence"].notna()]
    share = active[rows["feature"].to_numpy(np.int64)]
    off = rows["prevalence"] * (1.0 - rows["active_recall"])
    total = off.groupby([rows["feature"], rows["column"]], observed=True).transform("sum")
    rows = rows.assign(off_share=off / total.where(total > 0, 1.0))
    rows = rows[(share >= _OFF_FROM) & (rows["active_recall"].to_numpy() <= 0.5 * share)]
    out: dict[int, list[naming.OffLabel]] = {}
    for row in rows.to_dict("records"):
        measures = {name: float(row[name]) for name in ("prevalence", "active_recall", "off_share")}
        one = naming.OffLabel(column=str(row["column"]), value=str(row["value"]), **measures)
        out.setdefault(int(row["feature"]), []).append(one)
    order = {column: i for i, column in enumerate(homes)}
    return {f: tuple(sorted(mine, key=lambda one: (order[one.column], -one.off_share))) for f, mine in out.items()}


def _lowest(found: Evidence) -> np.ndarray:
    """(features, :data:`_LOW_GENES`) genes that are most clearly up in the inactive cells, in rank and mean; -1 for none."""
    z, log2fc = found.genes.calibrated, found.genes.log2fc
    out = np.full((z.shape[0], _LOW_GENES), -1, dtype=np.int64)
    for f in np.flatnonzero(found.contrast.testable).tolist():
        down = np.flatnonzero((direction(z[f], log2fc[f]) < 0) & (z[f] <= -found.critical))
        best = down[np.argsort(z[f, down], kind="stable")][:_LOW_GENES]
        out[f, : best.size] = best
    return out
