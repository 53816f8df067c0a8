"""The explorer inside a notebook."""

from __future__ import annotations

import html
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from cellprism.files import check_ending, replacing
from cellprism.numeric import numbers_checked
from cellprism.report.bundle import bundle
from cellprism.report.from_anndata import as_source
from cellprism.report.page import page

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["View", "view"]


@dataclass(frozen=True)
class View:
    """An explorer that notebooks show as rich output, and that :meth:`save` writes to a file."""

    page: str = field(repr=False)
    """The whole page."""
    height: int = 760
    """Pixels."""

    def _repr_html_(self) -> str:
        # A frame of its own, without access to the notebook: the page brings its policy along.
        return (
            f'<iframe srcdoc="{html.escape(self.page)}" sandbox="allow-scripts allow-downloads" '
            f'title="cellprism explorer" width="100%" height="{self.height}" style="border:0"></iframe>'
        )

    def save(self, path: str | Path) -> Path:
        """Write the page as one file."""
        path = Path(path)
        check_ending(path, ".html", ".htm", what="a page")
        with replacing(path) as beside:
            beside.write_text(self.page, encoding="utf-8")
        return path


@numbers_checked
def view(data: AnnData | str | Path, key: str = "prism", *, height: int = 760) -> View:
    """Show the explorer in a notebook.

    Parameters
    ----------
    data
        An AnnData after ``tl.fit`` (and, for names and evidence, ``tl.annotate``), or a run folder.
    key
        Name of the result in the AnnData.
    height
        Of the frame, in pixels.

    Raises
    ------
    InputError
        Where nothing was fitted under `key`, or the folder is no run folder.

    Examples
    --------
    >>> page = prism.view("RUN")
    >>> type(page).__name__
    'View'
    """
    return View(page(bundle(as_source(data, key))), height)
