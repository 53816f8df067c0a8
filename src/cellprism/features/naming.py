"""Short readable names of features, each supported by all that is shown in it.

A name is made of a *lead* (a label, what is left out, a gene set, or none of them) and genes. The rules:

- A label leads where it is what the feature's core cells are (:mod:`cellprism.features.readings`) and most of the feature's
  top genes are higher in the label's cells. It says "in part" where the feature misses half of the label's cells or
  another feature detects it better.
- Where none leads and the cells without activation are those of one or two labels, the name says "all but" these.
- A gene set leads where its genes are among the feature's own top genes, clearly more so than those of a rival set, and
  its tissue is at home in the data. A set that is significant and no more stands behind the genes: "(also: ...)".
- Only genes that are higher in the core cells are shown, those of the lead first; what the inactive cells have instead
  stands behind ("low: ...") where it is the stronger evidence.
- Features of one lead show the genes that tell them apart, and say which other feature they follow ("like #7").
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from cellprism.features.beyond import RARE
from cellprism.features.clues import Evidence, Gene, GeneSet, Label, OffLabel
from cellprism.features.readings import BROAD, Reading, label_note, off_text, readings
from cellprism.features.words import display_gene, family, short_set

__all__ = [
    "Evidence",
    "Gene",
    "GeneSet",
    "Label",
    "OffLabel",
    "display_gene",
    "feature_names",
    "short_set",
    "shown_sets",
]

_TOP = 10
"""Genes of a feature that may stand in its name."""
_APART_OF = 6  # the best genes among which those are taken that tell features of one lead apart
_AS_STRONG = 0.5  # a specific gene is preferred when its statistic is at least this share of the strongest
_CORE_Z = 1.0  # a gene holds in the core cells from this deviate on
_LABEL_RECALL = 0.5
_LEADING, _LEADING_OF = 2, 5  # of a set's genes among the feature's five best ...
_LEADING_MORE = 4  # ... or so many among its ten best
_EFFECT = 0.3
_MARGIN = 10.0
"""Ratio of q values up to which the set with more genes among the feature's own is preferred."""
_ABOUT_AS_MANY = 0.8
_HOME_LIFT, _HOME_LIFT_BROAD = 0.35, 0.5
_NEARLY_ALL = 0.7
"""Share of active cells from which a feature that reads a label is called broad."""
_LOW = 0.4  # from this share of active cells on, what the inactive ones have may be the stronger evidence


@dataclass(frozen=True)
class _Name:
    """A name in its parts: ``[confound] broad: lead · genes (notes)``."""

    lead: str
    genes: tuple[str, ...]
    """All that may be shown, best first."""
    n_genes: int
    notes: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()
    of_label: bool = False


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


def shown_sets(evidence: Sequence[Evidence]) -> dict[int, tuple[str, float]]:
    """Set to show beside each name, and its q value; features without any are left out.

    The leading one; else, among the strongest, the one that shares most genes with what the name says: genes that are
    higher in the leading label, or any that the name may show. Only where there is none, the smallest q of a tissue that
    is at home.
    """
    best = _best_detectors(evidence)
    shown = ((e.feature, _shown_set(e, best)) for e in evidence)
    return {feature: (s.name, s.qval) for feature, s in shown if s is not None}


def _shown_set(e: Evidence, best: Mapping[tuple[tuple[str, str], ...], Evidence]) -> GeneSet | None:
    genes = _held(e)
    label = next(iter(readings(e, genes)), None)
    said = genes if label is None else [g for g in genes if g in label.genes]
    home = [s for s in e.sets if s.at_home]
    limit = _MARGIN * home[0].qval if home and label is None else 1.0
    shared = {s.name: sum(g in said for g in s.genes) for s in home if not _elsewhere(e, s) and s.qval <= limit}
    sharing = [s for s in home if shared.get(s.name)]
    near = sharing if label else [s for s in sharing if s.qval <= _MARGIN * sharing[0].qval]
    most = max(near, key=lambda s: (shared[s.name], -s.qval), default=None)
    known = () if label is None else _known_sets(e, label, best.get(label.key))
    return _leading_set(e, genes, label, known) or most or next(iter(home), None)


def _known_sets(e: Evidence, label: Reading, detector: Evidence | None) -> set[str]:
    """The set beside the whole label, which tells nothing of a part of it."""
    if detector is None or detector is e:
        return set()
    same = _leading_set(detector, _held(detector), label)
    return set() if same is None else {same.name}


def _text(e: Evidence, name: _Name | None) -> str:
    if name is None:
        return f"not testable ({e.untestable})"
    text = " · ".join(part for part in (name.lead, "/".join(name.shown)) if part)
    if not text:
        text = f"no evidence ({e.n_active} cells)"
    elif e.n_active > (_NEARLY_ALL if name.of_label else BROAD) * e.n_cells:
        text = f"broad ({e.n_active / e.n_cells:.0%} of cells): {text}"
    if name.notes:
        text += f" ({'; '.join(name.notes)})"
    return f"[{e.confound}] {text}" if e.confound else text


def _name(e: Evidence, best: Mapping[tuple[tuple[str, str], ...], Evidence]) -> _Name:
    genes = _held(e)
    read = readings(e, genes)
    if read:
        return _of_label(e, genes, read, best.get(read[0].key))
    off, low = off_text(e), _low(e, genes)
    if low and not genes:
        return _Name(low[0].replace(":", " in", 1), (), 0)
    chosen = _leading_set(e, genes)
    if off:
        lead = f"{off}: {_set_text(chosen)}" if chosen is not None and chosen.process else off
        return _Name(
            lead, _first(genes, chosen.genes if lead != off and chosen else ()), 2, _low(e, genes, always=True)
        )
    notes = label_note(e, genes) + low
    if chosen is not None:
        return _Name(_set_text(chosen), _first(genes, chosen.genes), 2, notes)
    if e.regulator:
        return _Name(e.regulator, tuple(genes), 2, notes)
    specific = [g for g in genes if not family(g)]
    if genes and not specific:
        families = [family(g) for g in genes]
        return _Name(max(set(families), key=lambda f: (families.count(f), f)), tuple(genes), 2, notes)
    also = next((s for s in e.sets if _stands_behind(e, s, genes)), None)
    notes += (f"also: {_set_text(also)}",) if also is not None else ()
    return _Name("", tuple(specific), 3, notes)


def _of_label(e: Evidence, genes: list[str], read: Sequence[Reading], detector: Evidence | None) -> _Name:
    """A name that the first reading leads."""
    first, whole = read[0], detector is e
    lead = first.text + ("" if whole else ", in part")
    further = [text for text in dict.fromkeys(one.text for one in read[1:]) if text != first.text]
    if further:  # a column that repeats another says nothing more
        lead += f" ({', '.join(further)})"
    own = tuple(genes)
    if not whole and detector is not None:  # what the detector of the whole label has not says what part it is
        theirs = _held(detector)
        own = _first(genes, [g for g in genes if g not in theirs])
    chosen = _leading_set(e, genes, first, _known_sets(e, first, detector))
    low = _low(e, genes)
    if chosen is not None:
        mine = [g for g in chosen.genes if g in first.genes]
        return _Name(f"{lead}: {_set_text(chosen)}", _first(own, mine), 2, low, of_label=True)
    return _Name(lead, _first(own, _shown_first(e, own, first, whole)), 2, low, of_label=True)


def _low(e: Evidence, genes: Sequence[str], *, always: bool = False) -> tuple[str, ...]:
    """A note of what the inactive cells have, where it is more than what the many active ones have."""
    down = [g for g in e.down if g.core_z >= _CORE_Z and not family(g.name)]
    if not down or not (always or e.n_active >= _LOW * e.n_cells):
        return ()
    strongest = max((g.z for g in e.genes if g.name in genes), default=0.0)
    if not always and down[0].z <= strongest:
        return ()
    return (f"low: {'/'.join(g.name for g in down[:2])}",)


def _shown_first(e: Evidence, genes: Sequence[str], label: Reading, whole: bool) -> list[str]:
    """The label's markers, where they are about as strong as the best gene, then genes that are higher in the label."""
    strength = {g.name: g.z * g.core_z for g in e.genes}
    able = [g for g in genes if g in label.genes]
    limit = 0.0 if whole or not able else _AS_STRONG * strength[able[0]]
    return [g for g in able if g in label.markers and strength[g] >= limit]


def _stands_behind(e: Evidence, s: GeneSet, genes: Sequence[str]) -> bool:
    """Whether a set that does not lead is told behind the genes; it is not where the feature is broad."""
    enough = sum(g in s.genes for g in genes) >= (_LEADING + 1 if s.process else _LEADING)
    return e.n_active <= BROAD * e.n_cells and s.at_home and s.effect >= _EFFECT and not _elsewhere(e, s) and enough


def _elsewhere(e: Evidence, s: GeneSet) -> bool:
    """Whether a cell type's set is highest in cells that the feature's core cells are not."""
    least = _HOME_LIFT_BROAD if e.n_active > BROAD * e.n_cells else _HOME_LIFT
    return not s.process and s.home_lift < least


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


def _leads(e: Evidence, s: GeneSet, genes: Sequence[str]) -> bool:
    """Whether a set's genes are enough of the feature's own."""
    mine = [i for i, g in enumerate(genes) if g in s.genes]
    among_first = sum(i < _LEADING_OF for i in mine)
    own = among_first >= _LEADING or len(mine) >= _LEADING_MORE
    return own and s.at_home and s.effect >= _EFFECT and not _elsewhere(e, s)


def _leading_set(
    e: Evidence, genes: Sequence[str], label: Reading | None = None, known: Collection[str] = ()
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
        here = s.process or set(label.key) <= set(s.homes[: 1 if len(label.labels) == 1 else None])
        few = _LEADING if s.process else _LEADING + 1
        return here and s.name not in known and len(own(s) & label.genes) >= few

    able = [s for s in e.sets if _leads(e, s, genes) and agrees(s)]
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
    return s.reach < RARE


def _set_text(s: GeneSet) -> str:
    """The set, and its ancestor where that says more."""
    text = short_set(s.name)
    return f"{text} [{s.ancestor}]" if s.ancestor and s.ancestor not in text else text


def _best_detectors(evidence: Sequence[Evidence]) -> dict[tuple[tuple[str, str], ...], Evidence]:
    """Of the features that read a label and are active in half of its cells, the one with the largest F1 for it."""
    best: dict[tuple[tuple[str, str], ...], tuple[float, Evidence]] = {}
    for e in evidence:
        if e.untestable:
            continue
        for one in readings(e, _held(e)):
            if one.active_recall >= _LABEL_RECALL and (one.key not in best or one.f1 > best[one.key][0]):
                best[one.key] = one.f1, e
    return {key: e for key, (_, e) in best.items()}


def _told_apart(names: Mapping[int, _Name], evidence: Mapping[int, Evidence]) -> dict[int, _Name]:
    """Choose the genes shown: the best ones, and among features of one lead those that the others do not show."""
    out: dict[int, _Name] = {}
    have: dict[str, Counter[str]] = {}
    for name in names.values():
        have.setdefault(name.lead, Counter()).update(name.genes)
    told: dict[str, Counter[str]] = {lead: Counter() for lead in have}
    used: set[tuple[str, tuple[str, ...]]] = set()
    for feature in sorted(names, key=lambda f: (-_strength(evidence[f]), f)):
        name = names[feature]
        seen, common = told[name.lead], have[name.lead]
        shown = name.genes[: name.n_genes]
        if name.lead and any(seen[g] for g in shown[1:]):  # the best gene stays, the others are the feature's own
            rest = name.genes[1:_APART_OF]
            apart = sorted(rest, key=lambda g: (seen[g], common[g], rest.index(g)))[: name.n_genes - 1]
            shown = (*name.genes[:1], *(g for g in rest if g in apart))
        while (name.lead, tuple(sorted(shown))) in used and len(shown) < len(name.genes):
            shown = (*shown, next(g for g in name.genes if g not in shown))
        used.add((name.lead, tuple(sorted(shown))))
        seen.update(shown)
        out[feature] = replace(name, shown=shown)
    return _numbered(out, {f: e.alike for f, e in evidence.items()})


def _strength(e: Evidence) -> float:
    return e.genes[0].z if e.genes else 0.0


def _numbered(names: dict[int, _Name], alike: Mapping[int, int]) -> dict[int, _Name]:
    """Features of nearly the same activations, and names that are still the same, say which feature they are like."""
    first: dict[tuple[str, tuple[str, ...]], int] = {}
    for feature, name in sorted(names.items()):
        key = name.lead, tuple(sorted(name.shown))
        if not name.shown and not name.lead:
            continue
        if alike[feature] in names:
            names[feature] = replace(name, notes=(*name.notes, f"like #{alike[feature]}"))
        elif key in first:
            names[feature] = replace(name, notes=(*name.notes, f"like #{first[key]}"))
        first.setdefault(key, feature)
    return names
