"""Colours and axes that all figures share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["CATEGORIES", "DOWN", "GREY", "UP", "bare", "own_axes", "plain"]

# Okabe and Ito's colours, which people with any colour vision can tell apart.
CATEGORIES: Final = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#B8A800", "#882255")
UP: Final = "#D55E00"
DOWN: Final = "#0072B2"
GREY: Final = "#D9D6D0"


def own_axes(ax: Axes | None, size: tuple[float, float]) -> Axes:
    """The axes given, or those of a new figure of `size` inches."""
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=size, layout="constrained")[1]


def plain(ax: Axes) -> Axes:
    """Only the lines that carry a scale."""
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def bare(ax: Axes) -> Axes:
    """For a map, whose axes mean nothing."""
    ax.set(xticks=[], yticks=[], aspect="equal")
    ax.spines[:].set_visible(False)
    return ax
