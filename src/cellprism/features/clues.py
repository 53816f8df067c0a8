"""What is known of a feature when it is named: genes, gene sets, labels, and where it is off."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cellprism.features.core import lift

__all__ = ["Evidence", "Gene", "GeneSet", "Label", "OffLabel", "far"]


def far(share: float, prevalence: float) -> float:
    """How far a share lies on the way from the prevalence (0) to 1."""
    return float(lift(np.asarray(share), np.asarray(prevalence)))


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
    """A category that the feature reads."""

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

    detected: bool = True
    """Whether the feature tells it from other cells; else it stands here as its cells are core cells about as often."""

    @property
    def lift(self) -> float:
        """How far its share of the core cells lies on the way from its prevalence (0) to 1."""
        return far(self.core_precision, self.prevalence)


@dataclass(frozen=True)
class OffLabel:
    """A category in whose cells the feature is off far more often than in others."""

    column: str
    value: str
    prevalence: float
    active_recall: float
    off_share: float
    """Share of the inactive cells."""


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
    down
        Genes that are up in the inactive cells, strongest first, with the signs of that side.
    off
        Categories in which it is off, nuisance columns left out.
    alike
        An earlier feature with nearly the same activations; -1 for none.
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
    down: tuple[Gene, ...] = ()
    off: tuple[OffLabel, ...] = ()
    alike: int = -1
