"""Codes out of a file, in the order of the cells that they are to be read beside."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellprism.data.arrays import read_dense, read_sparse, readable
from cellprism.data.read import read_cells
from cellprism.data.sparse import as_csr
from cellprism.errors import InputError

__all__ = ["codes_for", "read_codes"]

_RULE = "codes are a sparse matrix written by scipy.sparse.save_npz, a dense one in .npy, or a .h5ad or .zarr"


def read_codes(path: Path) -> tuple[sp.csr_array, pd.Index | None, str]:
    """Codes (cells, features), the names of their cells, and where these stand; None where nothing names them.

    ``.h5ad`` and ``.zarr`` have names, ``.npz`` as ``encode`` writes it too; in a run folder ``cells.parquet`` has them.
    A dense ``.npy``, as other tools write codes, has none.
    """
    if path.suffix in (".h5ad", ".zarr"):
        stored = read_cells(path)
        return as_csr(stored.X, "the matrix of codes"), pd.Index(stored.obs_names.astype(str)), path.name
    if path.suffix == ".npy":
        matrix = as_csr(read_dense(path, _RULE), "the array of codes")
    else:
        matrix = read_sparse(path, _RULE)
        with readable(path, _RULE), np.load(path) as arrays:
            if "cells" in arrays.files:
                return matrix, pd.Index(arrays["cells"].astype(str)), path.name
    beside = path.parent / "cells.parquet"
    if beside.is_file():
        with readable(beside, "names of cells beside codes must be readable"):
            cells = pd.read_parquet(beside)
        if "cell" in cells:
            return matrix, pd.Index(cells["cell"].astype(str)), beside.name
    return matrix, None, ""


def codes_for(path: Path, cells: pd.Index) -> tuple[sp.csr_array, str]:
    """Codes in the order of the cells, and how the two were joined: by name, or by position where nothing names them.

    Raises
    ------
    InputError
        If cells have no codes, names repeat in another order, or there are more or fewer of them.
    """
    codes, names, where = read_codes(path)
    wanted = cells.astype(str)
    if names is not None and len(names) != codes.shape[0]:
        raise InputError(
            "names of cells are as many as the codes",
            f"{len(names):,} in {where} and {codes.shape[0]:,} rows of {path.name}",
            "give codes and names of one encoding"
            if where == path.name
            else f"move {path.name} away from that {where}",
        )
    if names is None:
        if codes.shape[0] != len(wanted):
            raise InputError(
                "codes and cells must be as many",
                f"{codes.shape[0]} rows and {len(wanted)} cells",
                "give the same cells",
            )
        return codes, f"{path.name} names no cells: its rows are taken in their order"
    how = f"codes and cells are joined by the names in {where}"
    if names.equals(wanted):
        return codes, how
    if not names.is_unique:
        raise InputError(
            "cells of codes are found by name",
            f"{names[names.duplicated()][0]!r} twice in {where}",
            "encode the cells again, under names that are unique",
        )
    at = names.get_indexer(wanted)
    if (at < 0).any():
        raise InputError(
            "every cell needs its codes",
            f"{int((at < 0).sum())} of {len(wanted)} not in {where}, e.g. {str(wanted[at < 0][0])!r}",
            "give the cells that the codes are of",
        )
    return sp.csr_array(codes[at]), how
