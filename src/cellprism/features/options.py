"""Options of an annotation, by the step they belong to; nothing heavy is imported, so that ``--help`` answers at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from cellprism.errors import InputError
from cellprism.options import check, described, option, settle

__all__ = ["By", "CompareOptions", "EvidenceOptions", "Keep", "Method", "NameOptions", "NullOptions", "TableOptions"]

Method = Literal["ranksum", "welch", "paper"]
Keep = Literal["significant", "all"]
By = Literal["codes", "decoder", "genes", "sets"]
LEAST_DRAWS = 20
"""Draws of a null of which one in more than twenty may be as high: with fewer no q value is below 0.05."""


@described
@dataclass(frozen=True)
class EvidenceOptions:
    """How genes and gene sets are tested."""

    method: Method = option(
        "ranksum",
        '"ranksum" (active against inactive cells), "welch" (the same cells), or "paper" (cells above the 99th percentile '
        "against cells at zero, Welch).",
    )
    level: float = option(0.05, "q value at which a finding counts.")
    min_cells: int = option(10, "Fewest cells on each side of a contrast.")
    pseudocount: float = option(0.1, "Of the fold change, in units of the normalised expression.")
    set_size: tuple[int, int] = option((5, 500), "Smallest and largest number of measured genes of a tested set.")
    min_overlap: float = option(0.2, "Refuse gene sets of which a smaller share of symbols is measured.")

    def __post_init__(self) -> None:
        settle(self)
        check(self)
        if len(self.set_size) != 2 or self.set_size[0] > self.set_size[1]:
            raise InputError("`set_size` is the smallest and the largest size", repr(self.set_size), "such as (5, 500)")


@described
@dataclass(frozen=True)
class NullOptions:
    """What else the same tests are asked of."""

    nulls: Sequence[str] = option(
        ("random", "permuted"),
        'Of "random" (directions of the embedding at the same active counts), "permuted" (cells permuted within strata) and '
        '"random_sets" (sets of random genes of like expression and like correlation within the set).',
        choices=("random", "permuted", "random_sets"),
    )
    null_features: int = option(500, "Nulls are run on at most this many features, drawn at random.")

    def __post_init__(self) -> None:
        settle(self)
        check(self)


@described
@dataclass(frozen=True)
class TableOptions:
    """What tables hold, and what they say of how they were made."""

    keep: Keep = option(
        "significant", '"significant": tables hold what passes and the 100 strongest a feature; "all": every pair.'
    )
    association: bool = option(
        False,
        "Adds to the gene table ``spearman``, the correlation of each gene with the activation itself, within strata.",
    )
    expression_kind: Literal["measured", "predicted"] = option(
        "measured",
        "Whether ``expression`` was measured or is what an embedding model predicts: said in every table.",
    )
    independent: bool = option(
        False,
        "The codes were learned from other molecules than those in ``expression`` (a count split). Every table says in its "
        'column ``pvalues`` "calibrated" then, and "descriptive" where features were learned from the cells and counts on '
        "which they are tested, or expression is predicted.",
    )

    def __post_init__(self) -> None:
        settle(self)
        check(self)


@described
@dataclass(frozen=True)
class NameOptions:
    """Which label columns decide on kinds, and which never name a feature."""

    kind_by: str | None = option(
        None,
        "Label column of the local / regional / global rule; the first that has two categories of two cells, by default and "
        "where this one has not.",
    )
    confounds: Sequence[str] | None = option(
        None, "Label columns that are technical; continuous ones by default, and the strata."
    )


@described
@dataclass(frozen=True)
class CompareOptions:
    """How two dictionaries are compared."""

    by: By = option(
        "codes",
        "What makes features alike: codes (correlation over the cells that both have), decoder (cosine of directions in one "
        "embedding), genes (correlation of signed statistics over the symbols that both tested) or sets (Jaccard index of "
        "significant gene sets, up and down apart).",
    )
    level: float | None = option(
        None,
        "Score from which on a feature counts as found; default 0.5, of sets 0.25.",
    )
    permutations: int = option(
        999, "Draws of the null behind p values, of which none is smaller than 1 / (1 + draws); 0 = none."
    )
    within: str | None = option(
        None, "Column of labels within which cells are permuted, so that a match says more than these labels; by codes."
    )
    seed: int = option(0, "Of the draws.")

    def __post_init__(self) -> None:
        settle(self)
        check(self)
        if 0 < self.permutations < LEAST_DRAWS:
            raise InputError(
                f"a counterpart at q < 0.05 takes at least {LEAST_DRAWS} draws (`permutations`)",
                str(self.permutations),
                "give 999, or 0 for no p values",
            )
