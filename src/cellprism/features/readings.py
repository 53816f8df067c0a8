"""Which labels a feature reads, and in which it is off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cellprism.features.clues import Evidence, Label, OffLabel, far

__all__ = ["BROAD", "LABEL_LIFT", "Reading", "label_note", "label_text", "off_text", "readings"]

LABEL_LIFT = 0.5
"""A label is what a feature reads when its share of the core cells goes half of the way from its prevalence to 1."""
BROAD = 0.5
"""Share of active cells from which a feature that reads no label is called broad."""
_TWO_LIFT = 0.75  # two labels read together must leave less
_AS_OFTEN = 0.5  # cells of another label count as read where they are core cells at least so often, in proportion
_PART = 0.1  # ... and are such a share of the core
_AGREE = 0.5
_NOTE_LIFT, _MOSTLY_LIFT, _MOSTLY = 0.2, 0.3, 0.5
_MOST_OFF = 2
_BARE = frozenset({"true", "false", "yes", "no", "other", "others", "none", "nan"})


@dataclass(frozen=True)
class Reading:
    """One label, or two of one column whose cells a feature does not tell apart."""

    labels: tuple[Label, ...]

    @property
    def key(self) -> tuple[tuple[str, str], ...]:
        """Column and value of each."""
        return tuple(sorted((label.column, label.value) for label in self.labels))

    @property
    def text(self) -> str:
        """As it stands in a name."""
        return " and ".join(label_text(label) for label in self.labels)

    @property
    def genes(self) -> frozenset[str]:
        """Genes that are higher in the cells of one of them."""
        return frozenset(g for label in self.labels for g in label.genes)

    @property
    def markers(self) -> frozenset[str]:
        """Genes that are highest in one of them."""
        return frozenset(g for label in self.labels for g in label.markers)

    @property
    def active_recall(self) -> float:
        """Share of active cells in that of which fewer are."""
        return min(label.active_recall for label in self.labels)

    @property
    def f1(self) -> float:
        """Mean F1."""
        return sum(label.f1 for label in self.labels) / len(self.labels)

    @property
    def lift(self) -> float:
        """How far the share of the core lies on the way from the prevalence of all of them to 1."""
        return far(sum(one.core_precision for one in self.labels), sum(one.prevalence for one in self.labels))


def readings(e: Evidence, genes: Sequence[str]) -> list[Reading]:
    """What the core cells are in each column, in the order of the columns; columns that say nothing are left out.

    Parameters
    ----------
    genes
        Those that the name may show: each label must agree with at least half of them.
    """
    if not genes:
        return []
    columns = dict.fromkeys(label.column for label in e.labels)
    found = (_reading(e, [label for label in e.labels if label.column == column], genes) for column in columns)
    return [one for one in found if one is not None]


def _reading(e: Evidence, labels: Sequence[Label], genes: Sequence[str]) -> Reading | None:
    most = max(label.core_recall for label in labels)
    alike = [one for one in labels if one.core_recall >= _AS_OFTEN * most and one.core_precision >= _PART]
    alike.sort(key=lambda one: (-one.lift, -one.core_recall, one.value))
    if not alike or len(alike) > 2 or not alike[0].detected:
        return None
    found = Reading(tuple(alike))
    if found.lift < (LABEL_LIFT if len(alike) == 1 else _TWO_LIFT):
        return None
    if e.n_active > BROAD * e.n_cells and sum(one.activation_share for one in alike) < 0.5:
        return None
    enough = max(_AGREE * len(genes), min(2, len(genes)))
    return found if all(sum(g in one.genes for g in genes) >= enough for one in alike) else None


def label_note(e: Evidence, genes: Sequence[str]) -> tuple[str, ...]:
    """A note of the label of which most of the genes are markers, for where none leads."""
    able = [one for one in e.labels if one.detected and one.lift >= _NOTE_LIFT]
    able = [one for one in able if 2 * sum(g in one.markers for g in genes) >= max(len(genes), 2)]
    most = max(able, key=lambda one: (sum(g in one.markers for g in genes), one.lift, one.value), default=None)
    if most is None:
        return ()
    mostly = most.core_precision >= _MOSTLY and most.lift >= _MOSTLY_LIFT
    return (f"{'mostly' if mostly else 'enriched in'} {label_text(most)}",)


def off_text(e: Evidence) -> str:
    """The one or two labels of a column that are what the feature leaves out; "" where there are none.

    Their share of the inactive cells must go half of the way from their prevalence to 1, and genes must be up in the
    inactive cells.
    """
    if not e.down:
        return ""
    for column in dict.fromkeys(one.column for one in e.off):
        mine = sorted((one for one in e.off if one.column == column), key=lambda one: (-one.off_share, one.value))
        most = far(sum(one.off_share for one in mine), sum(one.prevalence for one in mine))
        if len(mine) <= _MOST_OFF and most >= LABEL_LIFT:
            return "all but " + " and ".join(label_text(one) for one in mine)
    return ""


def label_text(label: Label | OffLabel) -> str:
    """The category; with its column where it says nothing by itself: a bare number, or yes and no in some spelling."""
    bare = not any(c.isalpha() for c in label.value) or label.value.casefold() in _BARE
    return f"{label.column} {label.value}" if bare else label.value
