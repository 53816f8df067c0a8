"""The grids of hyperparameters that the paper sweeps, and the same for two later activations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Literal, get_args

from cellprism.errors import InputError
from cellprism.numeric import numbers_checked

if TYPE_CHECKING:
    from cellprism.sae import SAEConfig

__all__ = ["PAPER_VARIANTS", "UNTRAINED", "Trial", "Variant", "grid", "short"]

Variant = Literal["vanilla", "relu", "topk", "batchtopk", "jumprelu"]
UNTRAINED = "untrained"
"""In the tables of a sweep: the start of the vanilla form, the null of everything that training is said to find."""

PAPER_VARIANTS: tuple[Variant, ...] = ("vanilla", "relu", "topk")
SMALL_FACTORS = (2, 5, 10, 20, 50, 100, 200, 1000)
LARGE_FACTORS = (5, 10, 20, 50, 100, 200)
SMALL_EPOCHS = {1e-2: 100, 1e-3: 500, 1e-4: 750, 1e-5: 1000}
SMALL_L1 = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
LARGE_L1 = (1e-2, 1e-3, 1e-4, 1e-5)
K_PERCENT = (1, 5, 10, 20, 50, 75, 100)


@numbers_checked
@dataclass(frozen=True)
class Trial:
    """One SAE of a sweep."""

    variant: Variant
    """``vanilla``, ``relu``, ``topk`` as published; ``batchtopk``, ``jumprelu`` with this package's defaults."""
    factor: int
    """Features a dimension of the embedding."""
    lr: float
    """Adam's learning rate."""
    epochs: int
    """Passes over the training cells."""
    l1: float = 0.0
    """Weight of the published sparsity penalty (vanilla, relu, topk)."""
    k_percent: float | None = None
    """Active features in percent of the width (topk, batchtopk, jumprelu)."""

    def config(self, d: int) -> SAEConfig:
        """Give the SAE's config for an embedding of d dimensions."""
        from cellprism.sae import SAEConfig

        width = self.factor * d
        k = max(1, round(width * (self.k_percent or 5) / 100))
        if self.variant == "batchtopk":
            return SAEConfig(width, activation="batchtopk", k=k)
        if self.variant == "jumprelu":
            return SAEConfig(width, activation="jumprelu", k=k, l0=1e-2)
        return SAEConfig.paper(self.variant, width, l1=self.l1, k_percent=self.k_percent)


@numbers_checked
def grid(
    simulation: Literal["small", "large"],
    variants: Sequence[Variant] = PAPER_VARIANTS,
    *,
    full: bool = False,
    factors: Sequence[int] | None = None,
    epochs: int | None = None,
) -> list[Trial]:
    """List the trials of a sweep of the paper.

    Parameters
    ----------
    simulation
        ``small``: widths 2 to 1,000 times the dimension, L1 from 0.1 to 1e-5; ``large``: 5 to 200 times, 0.01 to 1e-5.
    variants
        SAE variants; topk takes the published percents at L1 1e-3, batchtopk and jumprelu those up to 50.
    full
        All published learning rates (with 100 to 1,000 epochs on the small simulation); else 1e-4 with 500 epochs.
    factors, epochs
        Instead of the published ones.

    Raises
    ------
    InputError
        If the simulation or a variant is unknown.

    Examples
    --------
    >>> trials = prism.recovery.grid("small", factors=[2], epochs=5)
    >>> {trial.factor for trial in trials}
    {2}
    """
    unknown = [v for v in variants if v not in get_args(Variant)]
    if simulation not in ("small", "large") or unknown:
        raise InputError(
            "a grid is of the small or the large simulation, over " + ", ".join(get_args(Variant)),
            f"{simulation!r}, {unknown}",
            "correct the names",
        )
    rates = {1e-4: 500}
    if full:
        rates = SMALL_EPOCHS if simulation == "small" else {1e-3: 500, 1e-4: 500, 1e-5: 500}
    penalties = SMALL_L1 if simulation == "small" else LARGE_L1
    trials = []
    for variant, factor, (lr, length) in product(
        variants, factors or (SMALL_FACTORS if simulation == "small" else LARGE_FACTORS), rates.items()
    ):
        length = length if epochs is None else epochs
        if variant in ("vanilla", "relu"):
            trials += [Trial(variant, factor, lr, length, l1=l1) for l1 in penalties]
        else:
            percents = K_PERCENT if variant == "topk" else tuple(p for p in K_PERCENT if p <= 50)
            l1 = 1e-3 if variant == "topk" else 0.0
            trials += [Trial(variant, factor, lr, length, l1=l1, k_percent=p) for p in percents]
    return trials


def short(trials: Sequence[Trial], *, factors: Sequence[int] = (5, 10, 20), epochs: int = 20) -> list[Trial]:
    """Thin a grid for a first look: few widths, few epochs at ten times the usual rate.

    Parameters
    ----------
    trials
        From :func:`grid`.
    factors
        Widths to keep.
    epochs
        Passes over the cells, at a learning rate of 1e-3.
    """
    return [replace(trial, lr=1e-3, epochs=epochs) for trial in trials if trial.factor in factors]
