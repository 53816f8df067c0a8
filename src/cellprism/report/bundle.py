"""A run as named, compressed blocks: small ones for the first view, chunks of features and of genes for later."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from cellprism.features.best import best_features
from cellprism.report.alike import coactive, similar
from cellprism.report.choice import choice
from cellprism.report.chunks import feature_chunk, gene_chunks
from cellprism.report.columns import as_json, minus_log10, pool, text
from cellprism.report.evidence import Evidence, gather
from cellprism.report.layout import plane
from cellprism.report.pack import Quantised, pack, smallest
from cellprism.report.pair import match_block
from cellprism.report.source import Source
from cellprism.report.steered import steered
from cellprism.report.terms import terms_block
from cellprism.report.themes import feature_groups, membership

if TYPE_CHECKING:
    from cellprism.features.comparison import Comparison

__all__ = ["Bundle", "Packing", "bundle"]

CHUNK_BYTES: Final = 128_000  # before compression: small enough to be unpacked between two frames
GENE_ROWS: Final = (2000, 600, 300, 150, 80, 40)
MANY_CATEGORIES: Final = 200
TEXTS: Final = (
    "name",
    "kind",
    "guide",
    "confound",
    "top_genes",
    "top_set",
    "top_label",
    "specific_set",
    "top_regulator",
)
GROUPS: Final = ("set_collection", "set_theme")


@dataclass(frozen=True)
class Bundle:
    """Blocks by name (each a gzip member of `pack`), and the title and sentence that the bare page carries."""

    blocks: dict[str, bytes]
    title: str
    summary: str

    @property
    def size(self) -> int:
        """Bytes of all blocks together."""
        return sum(map(len, self.blocks.values()))


@dataclass(frozen=True)
class Packing:
    """How much of the evidence a page keeps, the strongest first."""

    max_bytes: int = 40_000_000
    """Rough size that the gene rows may reach before compression; large runs keep fewer rows a feature for it."""
    gene_rows: int = GENE_ROWS[0]
    """Genes a feature, at most."""
    set_rows: int = 60
    """Gene sets a feature, at most."""
    expression: bool = True
    """Whether the expression of single cells is kept, where it is small enough."""


def bundle(
    source: Source,
    *,
    other: Source | None = None,
    comparison: Comparison | None = None,
    packing: Packing | None = None,
) -> Bundle:
    """Turn the tables of a run into blocks.

    Parameters
    ----------
    source
        The run.
    other
        Another run, to be compared with; its blocks are named ``other.…``.
    comparison
        Counterparts of their features; by default by their codes on the cells that both have.
    packing
        What to keep; by default what suits one file.
    """
    packing = packing or Packing()
    blocks = _blocks(source, packing)
    if other is not None:
        blocks |= {f"other.{name}": block for name, block in _blocks(other, packing).items()}
        blocks["match"] = match_block(source, other, comparison)
    summary = source.info.get("summary") or f"{source.n_features:,} features of {source.n_cells:,} cells."
    return Bundle(blocks, title=f"cellprism · {source.n_features:,} features", summary=str(summary))


def _blocks(source: Source, packing: Packing) -> dict[str, bytes]:
    evidence = gather(source, min(packing.gene_rows, _gene_rows(source, packing.max_bytes)), packing.set_rows)
    if not packing.expression:
        source = replace(source, expression=None, expression_genes=[])
    # what too few cells show to be tested is no neighbour worth a look
    reason = text(source.features["untestable"]) if "untestable" in source.features else [""] * source.n_features
    tested = np.array([r == "" for r in reason], dtype=bool)
    near = None if source.directions is None else similar(source.directions, among=tested)
    together = coactive(source.codes)
    bounds = _bounds(evidence.bytes_per_feature())
    blocks: dict[str, bytes] = {}
    for i, (start, stop) in enumerate(itertools.pairwise(bounds)):
        blocks[f"feature-{i}"] = feature_chunk(source, evidence, near, together, start, stop)
    gene_bounds, gene_blocks = gene_chunks(source, evidence)
    blocks |= gene_blocks
    blocks["names"] = pack(
        {"modality": smallest(evidence.modality)} | _members(source, evidence),
        {
            "genes": evidence.genes,
            "symbols": evidence.symbols,
            "modalities": evidence.modalities,
            "sets": evidence.sets,
            "labels": evidence.label_pairs,
        },
    )
    blocks["cell-names"] = pack({}, {"cells": text(source.cells["cell"]) if "cell" in source.cells else []})
    blocks["cells"] = _cells(source)
    blocks["features"] = _features(source, evidence)
    blocks["terms"] = terms_block(source)
    info = as_json(source.info)
    blocks["overview"] = pack({}, _overview(source, info, evidence, bounds, gene_bounds))
    return blocks


def _members(source: Source, evidence: Evidence) -> dict[str, Any]:
    """Genes of each set of the page, as ids: what tells which genes lead a set in a feature."""
    if source.gene_sets is None or source.gene_sets.empty or "genes" not in source.gene_sets:
        return {}
    shown = set(evidence.sets)
    named, matrix = membership(source.gene_sets[source.gene_sets["set"].isin(shown)], evidence.genes)
    place = {name: i for i, name in enumerate(named)}
    absent = matrix.shape[0]  # a set that the run folder does not know has no members
    matrix = sparse.vstack([matrix, sparse.csr_array((1, matrix.shape[1]), dtype=np.float32)], format="csr")
    matrix = sparse.csr_array(matrix[[place.get(name, absent) for name in evidence.sets]])
    return {"set_ptr": matrix.indptr.astype(np.uint32), "set_gene": smallest(matrix.indices)}


def _gene_rows(source: Source, max_bytes: int) -> int:
    counts = source.genes.groupby("feature").size().to_numpy()
    for limit in GENE_ROWS:
        if np.minimum(counts, limit).sum() * 10 <= max_bytes:
            return limit
    return GENE_ROWS[-1]


def _bounds(weights: NDArray[np.int64]) -> list[int]:
    """Cut features into runs of about `CHUNK_BYTES`."""
    bounds, filled = [0], 0
    for i, weight in enumerate(weights.tolist()):
        if filled and filled + weight > CHUNK_BYTES:
            bounds.append(i)
            filled = 0
        filled += weight
    return [*bounds, len(weights)] if len(weights) else [0]


def _cells(source: Source) -> bytes:
    cells = source.cells
    arrays: dict[str, Any] = {}
    columns: list[dict[str, Any]] = []
    for axis in ("x", "y"):
        values = cells[axis].to_numpy(dtype=np.float64) if axis in cells else np.full(len(cells), np.nan)
        middle = float(np.nanmean(values)) if np.isfinite(values).any() else 0.0
        arrays[axis] = Quantised(values - middle, finest=1e-9)
    for name in cells.columns:
        if name in ("cell", "x", "y"):
            continue
        column, key = cells[name], f"column-{len(columns)}"
        if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
            columns.append({"name": str(name), "key": key, "type": "number"})
            arrays[key] = column.to_numpy(dtype=np.float32, na_value=np.nan)
            continue
        codes, names = pool(text(column))
        if len(names) > MANY_CATEGORIES:
            continue
        own = (
            [str(c) for c in column.cat.categories] if isinstance(column.dtype, pd.CategoricalDtype) else sorted(names)
        )
        at = {name: i for i, name in enumerate(own)}
        order = sorted(range(len(names)), key=lambda i: at.get(names[i], -1))
        place = np.empty(len(names), dtype=np.int64)
        place[order] = np.arange(len(names))
        columns.append({"name": str(name), "key": key, "type": "category", "names": [names[i] or "–" for i in order]})
        arrays[key] = smallest(place[codes])
    return pack(arrays, {"columns": columns, "map": "x" in cells and "y" in cells})


def _features(source: Source, evidence: Evidence) -> bytes:
    table = source.features
    arrays: dict[str, Any] = {"feature": table["feature"].to_numpy(dtype=np.uint32)}
    meta: dict[str, Any] = {}

    def number(name: str, finest: float) -> None:
        values = table[name] if name in table else pd.Series(np.nan, index=table.index)
        arrays[name] = Quantised(values.to_numpy(dtype=np.float64, na_value=np.nan), finest=finest)

    for name in ("mean_active", "max_active"):
        arrays[name] = table[name].to_numpy(dtype=np.float32) if name in table else np.zeros(len(table), np.float32)
    arrays["n_active"] = np.diff(source.codes.indptr).astype(np.uint32)
    # What is shown is scaled to the largest code met, so it must be the largest code kept.
    arrays["max_code"] = np.maximum(np.asarray(source.codes.max(axis=0).todense(), dtype=np.float32).ravel(), 0)
    for name in ("stability", "stability_error", "stability_null"):
        number(name, 1e-4)
    number("top_label_auroc", 1e-4)
    number("specific_set_reach", 1e-4)
    if "top_set_qval" in table:
        arrays["top_set_mlq"] = Quantised(minus_log10(table["top_set_qval"]), finest=0.01)
    else:
        arrays["top_set_mlq"] = Quantised(np.full(len(table), np.nan))
    groups = feature_groups(table, source.gene_sets, evidence.genes)
    for name in (*TEXTS, *GROUPS):
        values = groups[name] if name in groups else text(table[name]) if name in table else [""] * len(table)
        if name == "confound":
            values = ["" if v in {"False", "0", "none", "None"} else v for v in values]
        codes, meta[name] = pool(values)
        arrays[name] = smallest(codes)
    if source.directions is not None:
        flat = plane(source.directions)
        arrays["map_x"], arrays["map_y"] = Quantised(flat[:, 0]), Quantised(flat[:, 1])
    profile = evidence.set_profile()
    if profile is not None:
        flat = plane(profile)
        arrays["set_x"], arrays["set_y"] = Quantised(flat[:, 0]), Quantised(flat[:, 1])
    return pack(arrays, meta)


def _overview(
    source: Source, info: dict[str, Any], evidence: Evidence, bounds: list[int], gene_bounds: list[int]
) -> dict[str, Any]:
    shares = [s for s in info.get("shares") or [] if isinstance(s, dict) and s.get("observed") is not None]
    return {
        **{k: info.get(k) for k in ("cellprism", "arguments", "input", "seeds", "timings", "metrics")},
        "landscape": choice(info),
        "found": (info.get("evaluation") or {}).get("headline") or [],
        "beside": (info.get("evaluation") or {}).get("means") or [],
        "shares": shares,
        "descriptive": bool(info.get("descriptive", True)),  # without a word from the run, do not claim more
        "expression": info.get("expression"),
        "summary": info.get("summary"),
        "best": best_features(source.features, source.codes, 10)["feature"].tolist(),
        "warnings": info.get("warnings") or [],
        "label_columns": info.get("label_columns") or [],
        "n_cells": source.n_cells,
        "n_features": source.n_features,
        "n_genes": len(evidence.genes),
        "n_sets": len(evidence.sets),
        "gene_rows": evidence.rows_kept,
        "gene_rows_cut": evidence.rows_cut,
        "steering": steered(source.steering),
        "feature_bounds": bounds,
        "gene_bounds": gene_bounds,
    }
