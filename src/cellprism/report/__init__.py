"""The explorer: one page, offline, from a finished run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from cellprism.files import check_ending, refuse_taken, replacing
from cellprism.numeric import numbers_checked
from cellprism.report.cap import LIMIT, one_file
from cellprism.report.notebook import View, view
from cellprism.report.serve import make_app, serve
from cellprism.report.source import read_source

if TYPE_CHECKING:
    from cellprism.features.comparison import Comparison

__all__ = ["View", "build", "make_app", "serve", "view"]


def is_page(path: Path) -> bool:
    """Whether a file is a page that this package wrote."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return b'<meta name="generator" content="cellprism' in file.read(4_096)


@numbers_checked
def build(
    run_dir: str | Path,
    output: str | Path | None = None,
    *,
    other: str | Path | None = None,
    comparison: Comparison | None = None,
    max_megabytes: float = LIMIT / 1e6,
    name: str | None = None,
    overwrite: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Path:
    """Write the explorer of a run as one HTML file that makes no network request.

    Parameters
    ----------
    run_dir
        A run folder, as ``cellprism run`` writes it.
    output
        The file to write, .html; ``None`` is ``report.html`` in `run_dir`.
    other
        Another run folder, to be shown beside this one under "Compare".
    comparison
        Which feature of one is which of the other, from :func:`cellprism.match`; by default by their codes on the cells that
        both have.
    max_megabytes
        Largest size of the file. A larger page keeps less evidence a feature; where that is not enough, the file is a
        short page that says how to open the run with :func:`serve`.
    name
        The folder as that page names it; by default `run_dir`, which may be about to move.
    overwrite
        Replace a file at `output` that is no page of this package; pages are replaced in any case.
    say
        Called with a line of text where anything had to be left out.

    Returns
    -------
    The file written.

    Raises
    ------
    InputError
        Where a new file's name does not end in .html, a folder is no run folder, its files disagree, or the two runs share too few cells.

    Examples
    --------
    >>> prism.report.build("RUN").name
    'report.html'
    """
    path = Path(output) if output is not None else Path(run_dir) / "report.html"
    if not path.is_file():  # a file that is there is replaced because its name was asked for twice
        check_ending(path, ".html", ".htm", what="a page")
    refuse_taken(path, overwrite=overwrite or is_page(path))
    source, second = read_source(run_dir), None if other is None else read_source(other)
    text, told = one_file(source, second, name or str(run_dir), comparison=comparison, limit=int(max_megabytes * 1e6))
    if told:
        say(told)
    with replacing(path, overwrite=overwrite or is_page(path)) as beside:
        beside.write_text(text, encoding="utf-8")
    return path
