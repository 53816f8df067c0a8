"""Colours and axes that all figures share."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cellprism.errors import warn

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.transforms import Bbox

    from cellprism.report.source import Source

__all__ = [
    "CATEGORIES", "DOWN", "GREY", "UP", "bare", "key_high", "key_points", "label_points", "name_of", "own_axes", "plain", "rows_high",
    "shown_once", "wrapped",
]  # fmt: skip

# Where a name may stand: near its point first, right and left before above and below.
_PLACES: Final = [(d, a) for d in (0, 6, 14, 26, 42, 62, 90) for a in np.deg2rad((0, 180, 90, 270, 35, 145, 215, 325))]

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


def wrapped(name: str, width: int = 32) -> str:
    """A name whole, in lines of at most so many letters where it has blanks."""
    return "\n".join(textwrap.wrap(name, width, break_long_words=False, break_on_hyphens=False)) or name


def name_of(source: Source, feature: int) -> str:
    """Name and number of a feature, whole."""
    if "name" not in source.features:
        return f"feature {feature}"
    row = source.features.loc[source.features["feature"] == feature, "name"]
    return f"{row.iloc[0]} (feature\u00a0{feature})" if len(row) else f"feature {feature}"


def label_points(ax: Axes, points: Sequence[tuple[float, float]], names: Sequence[str], size: float = 7) -> None:
    """Write names beside points so that none lies on another, with a thin line where one had to move away."""
    figure: Any = ax.figure.figure  # of a subfigure the whole; `get_figure(root=True)` came with matplotlib 3.10
    figure.draw_without_rendering()  # so that sizes on the page are known
    renderer = figure.canvas.get_renderer()
    taken: list[Bbox] = []
    inside = ax.get_window_extent(renderer)
    for (x, y), name in zip(points, names, strict=True):
        note = ax.annotate(
            name, (x, y), fontsize=size, xytext=(0, 0), textcoords="offset points", ha="center", va="center"
        )
        note.set_in_layout(False)  # axes that made room for names would move the points under them
        box = note.get_window_extent(renderer)
        scale = 72 / figure.dpi
        wide, high = box.width * scale / 2 + 3, box.height * scale / 2 + 3
        places = [(d, ((wide + d) * np.cos(angle), (high + d) * np.sin(angle))) for d, angle in _PLACES]
        boxes = [box.translated(dx / scale, dy / scale) for _, (dx, dy) in places]
        free = [i for i, other in enumerate(boxes) if not any(other.overlaps(one) for one in taken)]
        within = [i for i in free if inside.x0 <= boxes[i].x0 and boxes[i].x1 <= inside.x1
                  and inside.y0 <= boxes[i].y0 and boxes[i].y1 <= inside.y1]  # fmt: skip
        best = next(iter(within or free), 0)
        (distance, shift), moved = places[best], boxes[best]
        note.set_position(shift)
        taken.append(moved)
        if distance > 6:
            ax.annotate(
                "",
                (x, y),
                xytext=shift,
                textcoords="offset points",
                arrowprops={"arrowstyle": "-", "lw": 0.4, "color": "#888888"},
            )


def key_points(
    ax: Axes,
    points: Sequence[tuple[float, float]],
    numbers: Sequence[int],
    names: Sequence[str],
    size: float = 6.5,
    legend: str | None = None,
) -> None:
    """Write the numbers of features beside their points, what they are called beside the axes, and a legend below.

    Axes that a user gives may leave no room for the names: these are then left out, and that is said.
    """
    if len(points):
        _key_beside(ax, numbers, names, size)
    if legend is not None:
        _legend_below(ax, legend)
    if len(points):  # last, as room for the others moves the points
        label_points(ax, points, [str(n) for n in numbers], size)


def _key_beside(ax: Axes, numbers: Sequence[int], names: Sequence[str], size: float) -> None:
    called = "\n".join(f"{n}   {_in_key(name)}" for n, name in zip(numbers, names, strict=True))
    key = ax.text(1.02, 1.0, called, transform=ax.transAxes, fontsize=size, va="top", ha="left", linespacing=1.25)
    figure: Any = ax.figure.figure  # of a subfigure the whole; `get_figure(root=True)` came with matplotlib 3.10
    figure.draw_without_rendering()  # a layout makes room for the names, where there is one
    box, page = key.get_window_extent(), figure.bbox
    others = [one.get_tightbbox() for one in figure.axes if one is not ax]
    if box.x1 > page.x1 or box.y0 < page.y0 or any(one is not None and box.overlaps(one) for one in others):
        key.remove()
        warn("beside these axes is no room for the names of the numbered features: give larger ones, or none")


def _legend_below(ax: Axes, title: str) -> None:
    """A legend under the axes, in as many columns as there is room for; in them where there is none below, or none at all."""
    figure: Any = ax.figure.figure  # of a subfigure the whole; `get_figure(root=True)` came with matplotlib 3.10
    below = {"loc": "upper center", "bbox_to_anchor": (0.5, 0.0), "borderaxespad": 3.0}
    places: list[dict[str, Any]] = [below | {"ncols": n} for n in (4, 3, 2, 1)] + [{"loc": "best", "fontsize": 6}]
    for place in places:
        legend = ax.legend(**({"frameon": False, "fontsize": 8, "title": title} | place))
        legend.set_in_layout(False)  # a layout that cannot hold it gives up on all
        figure.draw_without_rendering()
        box, page, own = legend.get_window_extent(), figure.bbox, ax.get_window_extent()
        if place is places[-1]:
            fits = box.width <= own.width and box.height <= own.height
        else:
            fits = page.x0 <= box.x0 and box.x1 <= page.x1
            high = box.height
            if fits and figure.get_layout_engine() is not None:
                fits = high < 0.5 * own.height
                legend.set_in_layout(fits)
                figure.draw_without_rendering()
                box = legend.get_window_extent()
            others = [one.get_tightbbox() for one in figure.axes if one is not ax]
            fits = fits and box.y0 >= page.y0 and not any(one is not None and box.overlaps(one) for one in others)
        if fits:
            return
    legend.remove()
    warn("in and below these axes is no room for the legend of the colours: give larger ones")


def key_high(names: Sequence[str]) -> float:
    """Inches that a figure needs for the names that :func:`key_points` writes beside its axes."""
    return 0.8 + 0.14 * sum(_in_key(name).count("\n") + 1 for name in names)


def _in_key(name: str) -> str:
    return textwrap.fill(name, 46, subsequent_indent=" " * 6)


def rows_high(names: Sequence[str], least: float, line: float = 0.125) -> float:
    """Inches that rows with these names take, so that a name of several lines does not lie on the next."""
    lines = max((name.count("\n") + 1 for name in names), default=1)
    return len(names) * max(least, line * lines + 0.05)


def shown_once(figure: Figure) -> Figure:
    """A figure that a notebook draws because it is given back, and not a second time because it is open."""
    import matplotlib as mpl
    import matplotlib.pyplot as plt

    if mpl.is_interactive():
        plt.close(figure)
    return figure
