"""A finished run: the one reader of its files, which checks what it hands out."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from cellprism.data.arrays import read_dense, read_sparse, readable
from cellprism.errors import InputError
from cellprism.folder.manifest import changed, read_manifest
from cellprism.folder.schema import check_info, check_table

__all__ = ["FORMAT_VERSION", "RunFolder"]

FORMAT_VERSION = 1
_TABLES = ("features", "genes", "sets", "labels", "cells")
_REMEDY = "run again with --overwrite"
_T = TypeVar("_T")


@dataclass(frozen=True)
class RunFolder:
    """A finished run; tables and arrays are read, and checked, when first asked for.

    What is read is held against what it must be (shapes, kinds of values, ranges, columns) and, where the folder has a
    manifest, against the checksum of what was written; an :class:`~cellprism.errors.InputError` says what is wrong.

    Examples
    --------
    >>> folder = prism.RunFolder.open("RUN")
    >>> folder.features[["feature", "name"]].shape[1]
    2
    >>> folder.codes.shape[0] == len(folder.cells)
    True
    """

    path: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path))  # people name it by text, too

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

    def check(self) -> None:
        """Read and check everything that a run folder may hold."""
        _ = self.info, self.codes, self.embedding, self.expression
        for name in _TABLES:
            self.table(name)
        for name in ("gene_sets", "matches"):
            self.optional(name)

    @cached_property
    def info(self) -> dict[str, Any]:
        """Content of ``run.json``."""
        with readable(self.path / "run.json", "run.json must be JSON", _REMEDY):
            content = check_info(json.loads((self.path / "run.json").read_text(encoding="utf-8")))
        return self._unchanged("run.json", content)

    def table(self, name: str) -> pd.DataFrame:
        """A table by name, checked."""
        file = f"{name}.parquet"
        with readable(self.path / file, "the tables of a run must be readable", _REMEDY):
            table = pd.read_parquet(self.path / file)
        table = self._unchanged(file, check_table(name, table, self.codes.shape[1], whole=self._whole))
        if name == "cells" and len(table) != self.codes.shape[0]:
            raise InputError(
                "codes.npz and cells.parquet describe the same cells",
                f"{self.codes.shape[0]} and {len(table)} rows",
                "run again: the folder mixes two runs",
            )
        return table

    def optional(self, name: str) -> pd.DataFrame | None:
        """A table that a run may lack."""
        return self.table(name) if self._has(f"{name}.parquet") else None

    @cached_property
    def features(self) -> pd.DataFrame:
        """A row a live feature."""
        return self.table("features")

    @cached_property
    def genes(self) -> pd.DataFrame:
        """A row a feature and gene."""
        return self.table("genes")

    @cached_property
    def sets(self) -> pd.DataFrame:
        """Two rows, up and down, a feature and gene set."""
        return self.table("sets")

    @cached_property
    def labels(self) -> pd.DataFrame:
        """A row a feature and category."""
        return self.table("labels")

    @cached_property
    def cells(self) -> pd.DataFrame:
        """A row a cell: name, the ``obs`` columns used, map x and y."""
        return self.table("cells")

    @cached_property
    def evaluation(self) -> pd.DataFrame:
        """A row a measure, target, dictionary and k; see :class:`cellprism.evaluation.result.Evaluation`."""
        found = self.optional("evaluation")
        if found is None:
            raise InputError(
                "this run has no evaluation", f"no evaluation.parquet in {self.path}", "cellprism evaluate RUN_DIR"
            )
        return found

    @cached_property
    def codes(self) -> sp.csr_array:
        """(cells, width) float32, finite and non-negative."""
        codes = read_sparse(self.path / "codes.npz", "the codes of a run must be readable").astype(np.float32)
        if not np.isfinite(codes.data).all() or (codes.data < 0).any():
            raise InputError("codes are finite and not negative", f"others in {self.path / 'codes.npz'}", _REMEDY)
        codes.eliminate_zeros()
        return self._unchanged("codes.npz", codes)

    @cached_property
    def embedding(self) -> NDArray[np.float32]:
        """(cells, d), finite."""
        values = read_dense(self.path / "embedding.npy", "the embedding of a run must be readable")
        if values.ndim != 2 or len(values) != self.codes.shape[0] or values.dtype.kind != "f":
            raise InputError(
                "the embedding of a run has a row of numbers a cell",
                f"{values.dtype} of shape {values.shape} for {self.codes.shape[0]} cells",
                _REMEDY,
            )
        if not np.isfinite(values).all():
            raise InputError(
                "the embedding of a run is finite", f"NaN or inf in {self.path / 'embedding.npy'}", _REMEDY
            )
        return self._unchanged("embedding.npy", values)

    @cached_property
    def expression(self) -> tuple[sp.csr_array, list[str]] | None:
        """(cells, genes) log1p CSR and the names of its columns; None where it was too large to be copied."""
        matrix, names = self.path / "expression.npz", self.path / "expression_genes.json"
        if not (self._has(matrix.name) and self._has(names.name)):
            return None
        values = read_sparse(matrix, "the expression of a run must be readable").astype(np.float32)
        with readable(names, "the gene names of a run must be readable", _REMEDY):
            genes = json.loads(names.read_text(encoding="utf-8"))
        if not isinstance(genes, list) or not all(isinstance(g, str) for g in genes):
            raise InputError("expression_genes.json is a list of names", f"{names}", _REMEDY)
        if values.shape != (self.codes.shape[0], len(genes)) or not np.isfinite(values.data).all():
            raise InputError(
                "the expression of a run has a row of finite numbers a cell and a column a gene",
                f"shape {values.shape} for {self.codes.shape[0]} cells and {len(genes)} genes",
                _REMEDY,
            )
        self._unchanged(names.name, None)
        return self._unchanged(matrix.name, values), genes

    @cached_property
    def sae(self) -> Path:
        """Folder of the SAE, its files unchanged."""
        for name in ("sae/config.json", "sae/sae.safetensors"):
            self._unchanged(name, None)
        return self.path / "sae"

    @cached_property
    def model(self) -> Path:
        """Folder of the embedding model, its files unchanged; it need not exist."""
        for name in self._manifest:
            if name.startswith("model/"):
                self._unchanged(name, None)
        return self.path / "model"

    @cached_property
    def novelty(self) -> Path | None:
        """Folder of what tells new cells that are unlike the run's, its files unchanged; None where a run has none."""
        for name in ("novelty/model.json", "novelty/model.safetensors"):
            if not self._has(name):
                return None
            self._unchanged(name, None)
        return self.path / "novelty"

    def _has(self, name: str) -> bool:
        """Whether there is a file that a run may lack; one that was written and is gone is told."""
        there = (self.path / name).is_file()
        return there or self._unchanged(name, False)

    @cached_property
    def _whole(self) -> bool:
        """Whether the folder says that it is all of a run, and not the parts that one purpose needs."""
        return (self.path / "run.json").is_file() and self.info.get("format") == "cellprism-run"

    @cached_property
    def _manifest(self) -> dict[str, dict[str, Any]]:
        return read_manifest(self.path) or {}

    def _unchanged(self, name: str, content: _T) -> _T:
        """The content, where its file is the one that was written."""
        about = self._manifest.get(name)
        told = changed(self.path, name, about) if about is not None else ""
        if told:
            raise InputError(
                "the files of a run are those that were written",
                f"{told} (by {self.path / 'manifest.json'})",
                "restore the folder; where the change was meant, take the file out of manifest.json",
            )
        return content
