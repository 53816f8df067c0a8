"""Codes written to an AnnData on Zarr as they are made, so that they are never held whole."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp
import zarr
from numpy.typing import NDArray

from cellprism.data.checks import check_numbers
from cellprism.data.sparse import stacked
from cellprism.features.strongest import strongest
from cellprism.files import replacing
from cellprism.run.encode import cell_table, feature_names, words_of_fit
from cellprism.sae.metrics import describe
from cellprism.sae.model import SAE

__all__ = ["encode_to_store"]

_ENTRIES = 2**20  # codes that are written at a time, and those of a chunk of the store: 8 MiB


def encode_to_store(
    output: Path,
    sae: SAE,
    values: NDArray[Any],
    cells: tuple[str, ...],
    *,
    features: pd.DataFrame | None = None,
    trained: dict[str, Any] | None = None,
    told: pd.DataFrame | None = None,
    overwrite: bool = False,
) -> tuple[str, str]:
    """Write the codes of embedded cells as X (CSR) of an AnnData on Zarr; the embedding is not copied into it.

    Parameters
    ----------
    output
        A ``.zarr`` that appears when it is whole.
    sae, values, cells
        The dictionary; (cells, d) embedding, an array or a memory map; their names, made up where there are none.
    features
        Table of a run's features, for their names and those of the strongest of each cell.
    trained
        ``metrics`` of the training.
    told
        What :func:`cellprism.run.encode.novelty` says of the cells.
    overwrite
        Replace what stands there, when the new one is whole.

    Returns
    -------
    How well the dictionary describes the cells, and whether that is worse than in training: see
    :func:`cellprism.run.encode.words_of_fit`.

    Raises
    ------
    InputError
        If the embedding is not one of the dictionary, or ``output`` exists.
    """
    values = check_numbers(values, cells or None)
    with replacing(output, overwrite=overwrite) as place:
        store = zarr.open_group(place, mode="w", zarr_format=2)  # every release of anndata reads it
        parts = _some(sae.encode_blocks(values))
        first = sp.csr_matrix(next(parts, sp.csr_array((0, sae.width), dtype=np.float32)))
        first.indptr = first.indptr.astype(np.int64)  # as many as come; SciPy takes the width that suffices for these
        ad.io.write_elem(store, "X", first, dataset_kwargs={"chunks": (_ENTRIES,)})
        matrix = ad.io.sparse_dataset(store["X"])
        strong = [strongest(sp.csr_array(first), features)]
        for part in parts:
            matrix.append(sp.csr_matrix(part))
            strong.append(strongest(part, features))
        names = cells or tuple(map(str, range(len(values))))
        ad.io.write_elem(store, "obs", cell_table(names, strong, told))
        ad.io.write_elem(store, "var", feature_names(sae.width, features))
        for empty in ("obsm", "varm", "obsp", "varp", "layers", "uns"):
            ad.io.write_elem(store, empty, {})
        store.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
        said = words_of_fit(describe(sae, values), trained or {})
    return said


def _some(blocks: Iterator[sp.csr_array]) -> Iterator[sp.csr_array]:
    """The same rows, about :data:`_ENTRIES` codes at a time."""
    held: list[sp.csr_array] = []
    for block in blocks:
        held.append(block)
        if sum(one.nnz for one in held) >= _ENTRIES:
            yield stacked(held, block.shape[1])
            held = []
    if held:
        yield stacked(held, held[0].shape[1])
