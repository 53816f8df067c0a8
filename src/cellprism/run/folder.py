"""The run folder: written whole or not at all, read by every later step."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from cellprism.errors import InputError

__all__ = ["FORMAT_VERSION", "RunFolder", "staged"]

FORMAT_VERSION = 1
_TABLES = ("features", "genes", "sets", "labels", "cells")


@dataclass(frozen=True)
class RunFolder:
    """A finished run; tables and arrays are read when first asked for."""

    path: Path

    @classmethod
    def open(cls, path: str | Path) -> RunFolder:
        """Open a run folder.

        Raises
        ------
        InputError
            If a file that every run has is missing, or the folder is of a newer format.
        """
        path = Path(path)
        needed = ["run.json", "codes.npz", "embedding.npy", *(f"{t}.parquet" for t in _TABLES)]
        missing = [name for name in needed if not (path / name).is_file()]
        if missing:
            raise InputError(
                "a run folder is what `cellprism run` wrote",
                f"no {', '.join(missing)} in {path}",
                "check the path, or run `cellprism run … -o DIR` again",
            )
        folder = cls(path)
        version = folder.info.get("format_version", 0)
        if version > FORMAT_VERSION:
            raise InputError(
                f"this version reads run folders of format {FORMAT_VERSION} or older",
                f"format {version}",
                "upgrade cellprism",
            )
        return folder

    @cached_property
    def info(self) -> dict[str, Any]:
        """Content of ``run.json``."""
        try:
            content: dict[str, Any] = json.loads((self.path / "run.json").read_text(encoding="utf-8"))
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise InputError("run.json must be JSON", f"{self.path}: {error}", "run again with --overwrite") from error
        return content

    def _table(self, name: str) -> pd.DataFrame:
        try:
            return pd.read_parquet(self.path / f"{name}.parquet")
        except (OSError, ValueError) as error:
            raise InputError(
                "the tables of a run must be readable",
                f"{name}.parquet: {str(error).splitlines()[0]}",
                "run again with --overwrite",
            ) from error

    @cached_property
    def features(self) -> pd.DataFrame:
        """A row a live feature."""
        return self._table("features")

    @cached_property
    def genes(self) -> pd.DataFrame:
        """A row a feature and gene."""
        return self._table("genes")

    @cached_property
    def sets(self) -> pd.DataFrame:
        """Two rows, up and down, a feature and gene set."""
        return self._table("sets")

    @cached_property
    def labels(self) -> pd.DataFrame:
        """A row a feature and category."""
        return self._table("labels")

    @cached_property
    def cells(self) -> pd.DataFrame:
        """A row a cell: name, the ``obs`` columns used, map x and y."""
        return self._table("cells")

    @cached_property
    def evaluation(self) -> pd.DataFrame:
        """A row a measure, target, dictionary and k; see :class:`cellprism.evaluation.result.Evaluation`."""
        if not (self.path / "evaluation.parquet").is_file():
            raise InputError(
                "this run has no evaluation", f"no evaluation.parquet in {self.path}", "cellprism evaluate RUN_DIR"
            )
        return self._table("evaluation")

    @cached_property
    def codes(self) -> sp.csr_array:
        """(cells, width) float32."""
        return sp.csr_array(sp.load_npz(self.path / "codes.npz"))

    @cached_property
    def embedding(self) -> NDArray[np.float32]:
        """(cells, d)."""
        values: NDArray[np.float32] = np.load(self.path / "embedding.npy", mmap_mode="r", allow_pickle=False)
        return values


@contextmanager
def staged(output: str | Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Folder to write into that becomes ``output`` when the block ends well, and vanishes when it does not.

    Raises
    ------
    InputError
        If ``output`` is a file, or a folder with content and ``overwrite`` is not given, or is not an earlier result
        of this package (nothing else is ever deleted).
    """
    output = Path(output)
    check_output(output, overwrite=overwrite)
    output.parent.mkdir(parents=True, exist_ok=True)
    partial = output.parent / f".{output.name}.partial-{os.getpid()}"
    partial.mkdir()
    try:
        yield partial
        old = None
        if output.exists():
            old = output.parent / f".{output.name}.old-{os.getpid()}"
            output.rename(old)
        partial.rename(output)
        if old is not None:
            shutil.rmtree(old)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def check_output(output: str | Path, *, overwrite: bool = False) -> None:
    """Refuse an output folder that cannot be written; see :func:`staged`."""
    output = Path(output)
    if output.exists() and not output.is_dir():
        raise InputError("the output must be a folder", f"the file {output}", "give another path with -o")
    if output.is_dir() and any(output.iterdir()):
        if not overwrite:
            raise InputError(
                "the output folder must be new or empty", f"{output} with content", "give another path, or --overwrite"
            )
        if not any((output / mark).is_file() for mark in ("run.json", "steering.json", "summary.parquet")):
            raise InputError(
                "--overwrite replaces earlier results of cellprism and nothing else",
                f"no run.json in {output}",
                "give another path, or empty the folder yourself",
            )
