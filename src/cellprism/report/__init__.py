"""The explorer: one page, offline, from a finished run."""

from __future__ import annotations

from pathlib import Path

from cellprism.report.bundle import bundle
from cellprism.report.page import page
from cellprism.report.source import read_source

__all__ = ["build"]


def build(run_dir: str | Path, output: str | Path | None = None) -> Path:
    """Write the explorer of a run as one HTML file that makes no network request.

    Parameters
    ----------
    run_dir
        A run folder, as ``cellprism run`` writes it.
    output
        The file to write; ``None`` is ``report.html`` in `run_dir`.

    Returns
    -------
    The file written.

    Raises
    ------
    InputError
        Where `run_dir` is no run folder or its files disagree.
    """
    path = Path(output) if output is not None else Path(run_dir) / "report.html"
    text = page(bundle(read_source(run_dir)))
    part = path.with_name(path.name + ".part")  # a killed run leaves no page that reads as whole
    part.write_text(text, encoding="utf-8")
    part.replace(path)
    return path
