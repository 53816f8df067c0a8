"""Short readable names of features, each supported by all that is shown in it.

A name is made of a *lead* (a label, a gene set, or neither) and genes. The rules:

- A label leads where it is what the feature's core cells are (:mod:`cellprism.features.core`), most of the feature's top
  genes are higher in the label's cells, and it is no nuisance. It says "in part" where the feature misses half of the
  label's cells or another feature detects it better.
- A gene set leads where its genes are among the feature's own top genes, clearly more so than those of a rival set, and
  its tissue is at home in the data. A set that is significant and no more stands behind the genes: "(also: ...)".
- Only genes that are higher in the core cells are shown, those of the lead first.
- Features that would get one name show the genes that tell them apart.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from cellprism.features.words import display_gene, family, short_set

__all__ = ["Evidence", "Gene", "GeneSet", "Label", "display_gene", "feature_names", "short_set", "shown_set"]

_TOP = 10
"""Genes of a feature that may stand in its name."""
_AS_STRONG = 0.5  # a specific gene is preferred when its statistic is at least this share of the strongest
_CORE_Z = 1.0  # a gene holds in the core cells from this deviate on
LABEL_LIFT = 0.5
"""A label is what a feature reads when its share of the core cells goes half of the way from its prevalence to 1."""
_LABEL_RECALL = 0.5
_LABEL_GENES = 0.5
_LEADING, _LEADING_OF = 2, 5  # of a set's genes among the feature's five best ...
_LEADING_MORE = 4  # ... or so many among its ten best
_EFFECT = 0.3
_MARGIN = 10.0
"""Ratio of q values up to which the set with more genes among the feature's own is preferred."""
_ABOUT_AS_MANY = 0.8
_ALSO_Q = 0.01
_HOME_LIFT = 0.35
_BROAD, _NEARLY_ALL = 0.5, 0.7
"""Share of active cells from which a feature is called broad, without and with a lead."""


@dataclass(frozen=True)
class Gene:
    """A gene that is up in the active cells at the stated q."""

    name: str
    z: float
    """Calibrated deviate, active against inactive cells."""
    core_z: float
    """Welch's t, core cells against all others."""


@dataclass(frozen=True)
class GeneSet:
    """A gene set that is up at the stated q."""

    name: str
    qval: float
    effect: float
    genes: tuple[str, ...]
    """Its genes among the feature's ``Evidence.genes``."""
    at_home: bool = True
    """Whether its tissue is one that the data show."""
    process: bool = True
    """Whether it says what cells do, rather than what they are."""
    reach: float = float("nan")
    """Share of random directions with as strong evidence for it."""
    home_lift: float = float("nan")
    """How far the core cells lie in the categories in which the set is highest (0: as all cells, 1: all); NaN: unknown."""
    homes: tuple[tuple[str, str], ...] = ()
    """Those categories, as (column, value)."""
    ancestor: str = ""
    """What it belongs to in its ontology."""


@dataclass(frozen=True)
class Label:
    """A category that the feature tells from other cells at the stated q."""

    column: str
    value: str
    prevalence: float
    activation_share: float
    core_precision: float
    core_recall: float
    active_recall: float
    f1: float
    genes: tuple[str, ...]
    """Those of ``Evidence.genes`` that are higher in its cells than in others."""
    markers: tuple[str, ...] = ()
    """Those of ``Evidence.genes`` that are higher in it than in any other category."""

    @property
    def lift(self) -> float:
        """How far its share of the core cells lies on the way from its prevalence (0) to 1."""
        return (self.core_precision - self.prevalence) / max(1.0 - self.prevalence, 1e-9)


@dataclass(frozen=True)
class Evidence:
    """What is known of one feature, each piece past its threshold.

    Attributes
    ----------
    feature
        Its number.
    n_active, n_cells
        Active cells, and all.
    genes
        Up genes, strongest first.
    sets
        Up sets, smallest q first.
    labels
        Categories, nuisance columns left out.
    confound
        Mark of a technical covariate; "" for none.
    untestable
        Why the feature could not be tested; "" where it was.
    regulator
        Regulator or pathway whose targets are up; "" for none.
    """

    feature: int
    n_active: int
    n_cells: int
    genes: tuple[Gene, ...] = ()
    sets: tuple[GeneSet, ...] = ()
    labels: tuple[Label, ...] = ()
    confound: str = ""
    untestable: str = ""
    regulator: str = ""


@dataclass(frozen=True)
class _Name:
    """A name in its parts: ``[confound] broad: lead · genes (notes)``."""

    lead: str
    genes: tuple[str, ...]
    """All that may be shown, best first."""
    n_genes: int
    notes: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()


def feature_names(evidence: Sequence[Evidence]) -> list[str]:
    """Name features, looking across them.

    Returns
    -------
    list of str
        ``lead · gene/gene`` or ``gene/gene/gene (notes)``, with the mark of a confound in brackets before it. A feature
        without any evidence says so, with its number of active cells; so does one that could not be tested.
    """
    best = _best_detectors(evidence)
    made = {e.feature: _name(e, best) for e in evidence if not e.untestable}
    told = _told_apart(made, {e.feature: e for e in evidence})
    return [_text(e, told.get(e.feature)) for e in evidence]


def shown_set(e: Evidence) -> tuple[str, float] | None:
    """Set to show beside the name, and its q value.

    The leading one; else, among the strongest, the one that shares most genes with what the name says: genes that are
    higher in the leading label, or any that the name may show. Only where there is none, the smallest q of a tissue that
    is at home.
    """
    genes = _held(e)
    label = next(iter(_leading_labels(e, genes)), None)
    said = genes if label is None else [g for g in genes if g in label.genes]
    home = [s for s in e.sets if s.at_home]
    limit = _MARGIN * home[0].qval if home and label is None else 1.0
    shared = {s.name: sum(g in said for g in s.genes) for s in home if not _elsewhere(s) and s.qval <= limit}
    sharing = [s for s in home if shared.get(s.name)]
    near = sharing if label else [s for s in sharing if s.qval <= _MARGIN * sharing[0].qval]
    most = max(near, key=lambda s: (shared[s.name], -s.qval), default=None)
    chosen = _leading_set(e, genes, label) or most or next(iter(home), None)
    return None if chosen is None else (chosen.name, chosen.qval)


def _text(e: Evidence, name: _Name | None) -> str:
    if name is None:
        return f"not testable ({e.untestable})"
    text = " · ".join(part for part in (name.lead, "/".join(name.shown)) if part)
    if not text:
        text = f"no evidence ({e.n_active} cells)"
    elif e.n_active > (_NEARLY_ALL if name.lead else _BROAD) * e.n_cells:
        text = f"broad ({e.n_active / e.n_cells:.0%} of cells): {text}"
    if name.notes:
        text += f" ({'; '.join(name.notes)})"
    return f"[{e.confound}] {text}" if e.confound else text


def _name(e: Evidence, best: Mapping[tuple[str, str], Evidence]) -> _Name:
    genes = _held(e)
    chosen = _leading_set(e, genes)
    labels = _leading_labels(e, genes)
    if labels:
        first = labels[0]
        detector = best.get((first.column, first.value))
        whole = detector is e
        lead = first.value + ("" if whole else ", in part")
        if len(labels) > 1:
            lead += f" ({', '.join(label.value for label in labels[1:])})"
        known: set[str] = set()
        own = tuple(genes)
        if not whole and detector is not None:  # what the detector of the whole label has not says what part it is
            theirs = _held(detector)
            same = _leading_set(detector, theirs, first)
            known = {same.name} if same is not None else set()
            own = _first(genes, [g for g in genes if g not in theirs])
        chosen = _leading_set(e, genes, first, known)
        if chosen is not None:
            mine = [g for g in chosen.genes if g in first.genes]
            return _Name(f"{lead}: {_set_text(chosen)}", _first(own, mine), 2)
        return _Name(lead, _first(own, _shown_first(e, own, first, whole)), 2)
    if chosen is not None:
        return _Name(_set_text(chosen), _first(genes, chosen.genes), 2, _note(e, genes))
    if e.regulator:
        return _Name(e.regulator, tuple(genes), 2, _note(e, genes))
    specific = [g for g in genes if not family(g)]
    if genes and not specific:
        families = [family(g) for g in genes]
        return _Name(max(set(families), key=lambda f: (families.count(f), f)), tuple(genes), 2, _note(e, genes))
    also = next((s for s in e.sets if _stands_behind(s, genes)), None)
    notes = _note(e, genes) + ((f"also: {_set_text(also)}",) if also is not None else ())
    return _Name("", tuple(specific), 3, notes)


def _shown_first(e: Evidence, genes: Sequence[str], label: Label, whole: bool) -> list[str]:
    """The label's markers, where they are about as strong as the best gene, then genes that are higher in the label."""
    strength = {g.name: g.z * g.core_z for g in e.genes}
    able = [g for g in genes if g in label.genes]
    limit = 0.0 if whole or not able else _AS_STRONG * strength[able[0]]
    return [g for g in able if g in label.markers and strength[g] >= limit]


def _stands_behind(s: GeneSet, genes: Sequence[str]) -> bool:
    """Whether a set that does not lead is told behind the genes."""
    own = sum(g in s.genes for g in genes)
    enough = own >= (_LEADING + 1 if s.process else _LEADING) or (own >= 1 and s.qval < _ALSO_Q)
    return s.at_home and s.effect >= _EFFECT and not _elsewhere(s) and enough


def _elsewhere(s: GeneSet) -> bool:
    """Whether a cell type's set is highest in cells that the feature's core cells are not."""
    return not s.process and s.home_lift < _HOME_LIFT


def _held(e: Evidence) -> list[str]:
    """Top genes that are higher in the core cells too, best in both first; families last unless nothing is as strong."""
    top = [g for g in e.genes[:_TOP] if g.core_z >= _CORE_Z]
    if not top:
        return []
    strongest = max(g.z for g in top)
    strong = [g for g in top if g.z >= _AS_STRONG * strongest]
    specific = [g for g in strong if not family(g.name)]
    kept = [g for g in top if not family(g.name)] if specific else strong
    return [g.name for g in sorted(kept, key=lambda g: -(g.z * g.core_z))]


def _first(genes: Sequence[str], wanted: Sequence[str]) -> tuple[str, ...]:
    """Genes with the wanted ones before the others."""
    return tuple(sorted(genes, key=lambda g: g not in set(wanted)))


def _leading_labels(e: Evidence, genes: Sequence[str]) -> list[Label]:
    """The label of each column that the core cells are, in the order of the columns."""
    if not genes:
        return []
    best: dict[str, Label] = {}
    columns = list(dict.fromkeys(label.column for label in e.labels))
    for label in sorted(e.labels, key=lambda one: (-one.lift, -one.core_recall, one.value)):
        agree = sum(g in label.genes for g in genes)
        if e.n_active > _BROAD * e.n_cells and label.activation_share < 0.5:
            continue
        if label.lift >= LABEL_LIFT and agree >= max(_LABEL_GENES * len(genes), min(2, len(genes))):
            best.setdefault(label.column, label)
    return [best[column] for column in columns if column in best]


def _note(e: Evidence, genes: Sequence[str]) -> tuple[str, ...]:
    """A note of the label of which most of the genes are markers, where none leads."""
    able = [one for one in e.labels if 2 * sum(g in one.markers for g in genes) >= max(len(genes), 2)]
    most = max(able, key=lambda one: (sum(g in one.markers for g in genes), one.lift, one.value), default=None)
    if most is None:
        return ()
    return (f"mostly {most.value}" if most.core_precision >= 0.5 else f"enriched in {most.value}",)


def _leads(s: GeneSet, genes: Sequence[str]) -> bool:
    """Whether a set's genes are enough of the feature's own."""
    mine = [i for i, g in enumerate(genes) if g in s.genes]
    among_first = sum(i < _LEADING_OF for i in mine)
    own = among_first >= _LEADING or len(mine) >= _LEADING_MORE
    return own and s.at_home and s.effect >= _EFFECT and not _elsewhere(s)


def _leading_set(
    e: Evidence, genes: Sequence[str], label: Label | None = None, known: Collection[str] = ()
) -> GeneSet | None:
    """The set whose genes are the feature's own, where no rival has about as many of others.

    Beside a label, its genes must be higher in the label's cells, a cell type must be at home in the label, and a set
    that the whole label's detector has (``known``) tells nothing.
    """

    def own(s: GeneSet) -> set[str]:
        return set(s.genes) & set(genes)

    def agrees(s: GeneSet) -> bool:
        if label is None:
            return True
        here = s.process or (label.column, label.value) in s.homes[:1]
        few = _LEADING if s.process else _LEADING + 1
        return here and s.name not in known and len(own(s) & set(label.genes)) >= few

    able = [s for s in e.sets if _leads(s, genes) and agrees(s)]
    if not able:
        return None
    strongest = min(s.qval for s in e.sets if s.at_home)
    near = [s for s in able if s.qval <= _MARGIN * strongest]
    if not near:
        return None
    most = max(len(own(s)) for s in near)
    chosen = min((s for s in near if len(own(s)) >= _ABOUT_AS_MANY * most), key=lambda s: (not _specific(s), s.qval))
    if not chosen.process:  # what its genes do is the lesser claim than what the cells are
        chosen = next((s for s in near if s.process and own(s) >= own(chosen)), chosen)
    rivals = (s for s in near if s is not chosen and len(own(s)) >= len(own(chosen)))
    if any(2 * len(own(s) & own(chosen)) < len(own(chosen)) for s in rivals):
        return None
    return chosen


def _specific(s: GeneSet) -> bool:
    """Whether hardly any random direction reaches the set."""
    return s.reach < 0.05


def _set_text(s: GeneSet) -> str:
    """The set, and its ancestor where that says more."""
    text = short_set(s.name)
    return f"{text} [{s.ancestor}]" if s.ancestor and s.ancestor not in text else text


def _best_detectors(evidence: Sequence[Evidence]) -> dict[tuple[str, str], Evidence]:
    """Of the features that a label leads and that are active in half of its cells, the one with the largest F1 for it."""
    best: dict[tuple[str, str], tuple[float, Evidence]] = {}
    for e in evidence:
        if e.untestable:
            continue
        for label in _leading_labels(e, _held(e)):
            key = label.column, label.value
            if label.active_recall >= _LABEL_RECALL and (key not in best or label.f1 > best[key][0]):
                best[key] = label.f1, e
    return {key: e for key, (_, e) in best.items()}


def _told_apart(names: Mapping[int, _Name], evidence: Mapping[int, Evidence]) -> dict[int, _Name]:
    """Choose the genes shown: the best ones, and among features of one lead those that the others do not show."""
    out: dict[int, _Name] = {}
    used: dict[tuple[str, tuple[str, ...]], set[int]] = {}
    count: dict[str, dict[str, int]] = {}
    for name in names.values():
        genes = count.setdefault(name.lead, {})
        for g in name.genes:
            genes[g] = genes.get(g, 0) + 1
    for feature in sorted(names, key=lambda f: (-_strength(evidence[f]), f)):
        name = names[feature]
        shown = name.genes[: name.n_genes]
        if (name.lead, tuple(sorted(shown))) in used:
            rare = sorted(name.genes, key=lambda g: (count[name.lead][g], name.genes.index(g)))
            own = [g for g in rare if g not in name.genes[:1]]
            shown = (*name.genes[:1], *own[: name.n_genes - 1])
        while (name.lead, tuple(sorted(shown))) in used and len(shown) < len(name.genes):
            shown = (*shown, next(g for g in name.genes if g not in shown))
        used.setdefault((name.lead, tuple(sorted(shown))), set()).add(feature)
        out[feature] = replace(name, shown=shown)
    return _numbered(out)


def _strength(e: Evidence) -> float:
    return e.genes[0].z if e.genes else 0.0


def _numbered(names: dict[int, _Name]) -> dict[int, _Name]:
    """Names that are still the same, as their evidence is, say which other feature they are like."""
    first: dict[tuple[str, tuple[str, ...]], int] = {}
    for feature, name in sorted(names.items()):
        key = name.lead, tuple(sorted(name.shown))
        if not name.shown and not name.lead:
            continue
        if key in first:
            names[feature] = replace(name, notes=(*name.notes, f"like #{first[key]}"))
        else:
            first[key] = feature
    return names
