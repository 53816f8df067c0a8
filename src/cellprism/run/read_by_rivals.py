"""Which expression the rivals of a run's features may read: what the embedding was made of, and never the truth itself."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp

from cellprism.data.modalities import PROTEIN_KEYS, renamed

__all__ = ["modality_record", "modality_told", "read_by_rivals"]


def modality_record(modality: Sequence[str], embedded: Sequence[str] | None) -> dict[str, Any]:
    """What run.json says of modalities.

    Parameters
    ----------
    modality
        (genes,) modality of each column of expression, those of a modality side by side.
    embedded
        Modalities that the embedding was made of; None where it was given and nobody knows.
    """
    columns = {name: sum(m == name for m in modality) for name in dict.fromkeys(modality)}
    return {"expression": columns, "embedding": None if embedded is None else list(embedded)}


def modality_told(truth: Iterable[str]) -> set[str]:
    """Modalities that a truth is measured in: of ``mod:NAME`` that one, of ``obsm:KEY`` of scvi-tools the proteins."""
    named = [str(name).partition(":")[::2] for name in truth]
    proteins = {"protein" for where, key in named if where == "obsm" and key in PROTEIN_KEYS}
    return proteins | {kind for where, key in named if where == "mod" for kind in renamed([key]).values()}


def read_by_rivals(
    values: sp.csr_array, genes: Sequence[str], record: dict[str, Any] | None, truth: Collection[str] = ()
) -> tuple[sp.csr_array | None, list[str], str]:
    """Columns of expression that genes, NMF and few features may be held against, and what is said of the others.

    A protein that is asked for finds itself: whoever reads the truth is no rival. And what rivals features of RNA reads
    RNA: where it is known of which modalities the embedding was made, these alone.

    Parameters
    ----------
    values, genes
        (cells, genes) expression, and the names of its columns.
    record
        :func:`modality_record` of the run; None of a run that kept none.
    truth
        Modalities that the truth is measured in.

    Returns
    -------
    csr_array | None
        (cells, columns), None where no column is left.
    list
        Their names.
    str
        A line for the notes, empty where all are read.
    """
    columns, embedded = (record["expression"], record["embedding"]) if record else ({}, None)
    closed = [m for m in columns if m in truth or not (embedded is None or m in embedded)]
    if not closed:
        return values, list(genes), ""
    why = "the truth is measured there" if set(closed) <= set(truth) else "the embedding was not made of it"
    said = f"Single genes and NMF, as rivals, and held-out molecules are without {' and '.join(closed)}: {why}."
    kept = np.flatnonzero(np.repeat([m not in closed for m in columns], list(columns.values())))
    return (values[:, kept] if len(kept) else None), [str(genes[int(i)]) for i in kept], said
