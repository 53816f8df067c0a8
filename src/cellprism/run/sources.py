"""What is read beside codes and embedding: expression, columns of the cells, names of genes, gene sets.

Nothing heavy is imported here, so that ``--help`` answers at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cellprism.options import described, option

__all__ = ["SourceOptions"]


@described
@dataclass(frozen=True, kw_only=True)
class SourceOptions:
    """Where the knowledge of cells and genes comes from."""

    gene_sets: tuple[str, ...] = option(("bundled",), "GMT file or name of a library.")
    labels: tuple[str, ...] = option((), "obs column to compare features with, COL, COL:category or COL:number.")
    gene_symbols: str | None = option(None, "var column with the symbols that gene sets use.")
    id_table: Path | None = option(None, "Table that names genes as the gene sets do (Ensembl ids, orthologs).")
    id_columns: tuple[str, str] | None = option(
        None, "Its columns, FROM,TO: names as in the data, names as in the gene sets."
    )
    ontology: Path | None = option(None, "OBO file: sets of its terms are shown with their level-1 ancestor.")
    networks: tuple[str, ...] = option(
        (), "collectri, progeny, or a table: regulators as evidence for names.", flags=("--network",)
    )
    strata: str | None = option(None, "obs column (donor, batch) within which cells are compared.")
    donor: str | None = option(None, "obs column with the donors; with three or more they are the unit of the tests.")
    layer: str | None = option(None, "Layer with the expression.")
    raw: bool = option(False, "Take the expression from .raw.")
    expression_state: str | None = option(
        None, "What the expression is: counts, normalised, log1p, log2 or fractions. Default: by evidence."
    )
    memory_limit: float = option(2.0**30, "Bytes of expression that are held in memory; more stays on disk.")
