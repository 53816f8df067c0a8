"""Modalities of the cells: one order of cells for all, one name for each kind."""

from __future__ import annotations

import warnings
from collections.abc import Iterable

import anndata as ad
import mudata
import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellprism.data.sparse import as_csr
from cellprism.data.state import whole
from cellprism.errors import InputError

__all__ = ["ALIASES", "PROTEIN_KEYS", "in_one_order", "modalities", "renamed", "with_protein"]

ALIASES: dict[str, frozenset[str]] = {
    "rna": frozenset({"rna", "gex", "mrna", "scrna", "transcriptome", "gene expression", "genes", "expression"}),
    "protein": frozenset(
        {"protein", "proteins", "prot", "adt", "adts", "cite", "citeseq", "antibody capture", "antibodies", "surface"}
    ),
    "atac": frozenset({"atac", "peaks", "peak", "scatac", "chromatin", "accessibility", "acc", "dna"}),
}
"""What people call the modalities that models know; compared in small letters, with "_" and "-" as blanks."""
PROTEIN_KEYS = ("protein_expression", "protein_counts")
"""``obsm`` keys under which scvi-tools keeps the proteins of cells."""


def renamed(names: Iterable[str]) -> dict[str, str]:
    """The name that each modality has here: ``rna``, ``protein`` or ``atac`` for its aliases, its own otherwise.

    Where two modalities are of one kind (``rna`` and ``gex``) both keep their names.
    """
    given = [str(name) for name in names]
    kinds = {name: next((kind for kind, known in ALIASES.items() if _plain(name) in known), name) for name in given}
    found = list(kinds.values())
    return {name: kind if found.count(kind) == 1 else name for name, kind in kinds.items()}


def _plain(name: str) -> str:
    text = name.casefold().replace("_", " ").replace("-", " ").strip()
    return text if text in {"gene expression", "antibody capture"} else text.replace(" ", "")


def modalities(cells: ad.AnnData | mudata.MuData) -> dict[str, ad.AnnData]:
    """Modalities by the names that models know, all with the cells in one order; an AnnData is one modality, ``rna``.

    A MuData keeps the order of each modality's cells to itself; they are joined here by cell name, in the order of the
    MuData.

    Raises
    ------
    InputError
        If the modalities do not hold the same cells, or name one twice.
    """
    if not hasattr(cells, "mod"):
        return {"rna": cells}
    names = renamed(cells.mod)
    return {names[name]: in_one_order(part, cells.obs_names, name) for name, part in cells.mod.items()}


def in_one_order(part: ad.AnnData, order: pd.Index, name: str) -> ad.AnnData:
    """One modality's cells in a given order, found by name."""
    if part.obs_names.equals(order):
        return part
    if not (part.obs_names.is_unique and order.is_unique):
        raise InputError(
            "cell names must be unique to join modalities",
            f"names that repeat in the modality {name!r}",
            "make them unique before the MuData is made: adata.obs_names_make_unique()",
        )
    at = part.obs_names.get_indexer(order)
    if (at < 0).any() or part.n_obs != len(order):
        without = f", {int((at < 0).sum())} of which it lacks" if (at < 0).any() else ""
        raise InputError(
            "all modalities must hold the same cells",
            f"{part.n_obs} cells in {name!r}, {len(order)} in all{without}",
            "keep the shared cells: mudata.MuData({name: part[shared].copy() for name, part in mdata.mod.items()}), "
            "with `shared` the cell names that all modalities have",
        )
    return part[at]


def with_protein(cells: ad.AnnData | mudata.MuData) -> tuple[ad.AnnData | mudata.MuData, str | None]:
    """Cells with the proteins that scvi-tools keeps in ``obsm`` as a modality of their own, and what is said of it.

    Names come from the columns of a table, from ``uns["protein_names"]``, or count up. Only counts are taken: what was
    transformed in an unknown way is left where it lies.
    """
    if isinstance(cells, mudata.MuData):
        return cells, None
    key = next((k for k in PROTEIN_KEYS if k in cells.obsm), None)
    if key is None:
        return cells, None
    stored = cells.obsm[key]
    try:
        values = as_csr(stored, f"obsm[{key!r}]")
        counted = bool(values.nnz and np.isfinite(values.data).all() and values.data.min() >= 0 and whole(values))
    except InputError:
        counted = False
    if not counted:
        return cells, f"obsm[{key!r}] holds no counts and is no modality of this run"
    width = values.shape[1]
    if isinstance(stored, pd.DataFrame):
        names = [str(c) for c in stored.columns]
    else:
        listed = cells.uns.get("protein_names")
        names = [str(n) for n in listed] if listed is not None and len(listed) == width else []
    names = names or [f"protein {i + 1}" for i in range(width)]
    protein = ad.AnnData(
        sp.csr_matrix(values), obs=pd.DataFrame(index=cells.obs_names), var=pd.DataFrame(index=pd.Index(names))
    )
    with mudata.set_options(pull_on_update=False), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a protein often has the name of its gene; tables tell the two apart
        both = mudata.MuData({"rna": cells, "protein": protein})
    both.obs = cells.obs.copy()
    return both, f"the proteins of obsm[{key!r}] are a modality of their own"
