"""Evaluation of a run: beside it as it is made, and later with more truth."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import anndata as ad
import mudata
import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from cellprism.data.checks import already_told
from cellprism.data.modalities import modalities, renamed, with_protein
from cellprism.data.read import describe_keys, one_of_these, read_cells
from cellprism.data.sparse import as_csr
from cellprism.errors import InputError
from cellprism.evaluation.evaluate import evaluate
from cellprism.evaluation.result import THIS, Evaluation, headline, rival_words
from cellprism.files import replacing
from cellprism.folder.manifest import note_again
from cellprism.numeric import numbers_checked
from cellprism.report import build
from cellprism.run.folder import RunFolder
from cellprism.run.gene_sets import gene_set_table
from cellprism.run.inputs import Inputs
from cellprism.run.options import PRESETS, RunOptions
from cellprism.run.read_by_rivals import modality_record, modality_told, read_by_rivals
from cellprism.run.spike_in import spike_in_run
from cellprism.run.write import write_json
from cellprism.sae import Fit, load

__all__ = ["evaluate_folder", "evaluate_inputs", "evaluation_record", "evaluation_tables"]

MOST_CELLS = 100_000
"""Up to so many cells a run is evaluated on all; of more on so many, or on those that express 32 million values."""
_FEWEST_CELLS, _MOST_VALUES = 10_000, 2**25


def evaluate_inputs(options: RunOptions, inputs: Inputs, fitted: Fit, codes: sp.csr_array) -> Evaluation:
    """Probe the label columns of a run; strata and donors are what a feature should not read."""
    labels = inputs.labels.table
    asked = [c for c, kind in inputs.labels.kinds.items() if kind == "category"]
    units = {
        c: inputs.kept[c].to_numpy() for c in (options.strata, options.donor) if c is not None and c in inputs.kept
    }
    full = PRESETS[options.preset].evaluation == "full"
    record = modality_record(inputs.expression.modality, inputs.embedded)
    rows = _looked_at(len(inputs.embedding), inputs.expression.values.nnz, options.seed)
    expression = inputs.expression.values if rows is None else inputs.expression.values[rows]
    values, genes, said = read_by_rivals(expression, inputs.expression.genes, record)

    def of_rows(known: Any) -> Any:
        return known if rows is None else known[rows]

    found = evaluate(
        fitted.sae if full else of_rows(codes),
        of_rows(inputs.embedding),
        {c: of_rows(labels[c].to_numpy(dtype=object)) for c in asked if c not in units},
        expression=values,
        genes=genes if values is not None else None,
        gene_sets=_measured(gene_set_table(inputs.matched, inputs.expression.genes, options.gene_sets))
        if full and values is not None
        else None,
        counts=values if full and inputs.thinned else None,
        batch={c: of_rows(values) for c, values in units.items()},
        preset=PRESETS[options.preset].evaluation,
        seed=options.seed,
    )
    notes = [said] if said else []
    if rows is not None:
        notes.append(f"Evaluated on {len(rows):,} of {len(inputs.embedding):,} cells, drawn at random.")
    return dataclasses.replace(found, notes=(*found.notes, *notes))


def _looked_at(n: int, values: int, seed: int) -> NDArray[np.intp] | None:
    """The cells that a run is evaluated on, in order; None: all. Of many values a cell they are fewer."""
    if n <= MOST_CELLS:
        return None
    most = min(MOST_CELLS, max(_FEWEST_CELLS, int(_MOST_VALUES * (n / max(values, 1)))))
    return np.sort(np.random.default_rng([seed, 3]).choice(n, most, replace=False))


def evaluation_tables(found: Evaluation) -> dict[str, pd.DataFrame]:
    """Tables of the run folder."""
    return {
        "evaluation": found.table,
        "evaluation_differences": found.differences,
        "evaluation_features": found.features,
    }


def evaluation_record(found: Evaluation) -> dict[str, Any]:
    """What run.json says of an evaluation, for the printed result and the head of the report."""
    single = found.table[(found.table["measure"] == "probe_f1") & (found.table["k"] == 1)]
    means = single[single["target"] == "mean"].sort_values("value", ascending=False, kind="stable")
    words = ["these features" if name == THIS else rival_words(name) for name in means["dictionary"]]
    beside = means.assign(words=words)[["dictionary", "words", "value", "low", "high", "ceiling"]]
    return {
        "headline": headline(found.table, found.differences),
        "notes": list(found.notes),
        "means": [{k: None if v != v else v for k, v in row.items()} for row in beside.to_dict("records")],
    }


@numbers_checked
def evaluate_folder(
    folder: RunFolder,
    *,
    truth: Sequence[str] = (),
    replicate: str | None = None,
    within: str | None = None,
    hierarchy: Sequence[str] = (),
    data: str | Path | None = None,
    full: bool = True,
    spike_in: int = 0,
    seed: int = 0,
    report: Callable[[str], None] | None = None,
) -> Evaluation:
    """Evaluate a finished run, write its tables into the folder and draw the page anew.

    Parameters
    ----------
    folder
        Of ``cellprism run``.
    truth
        Columns of the run's cells or of ``obs`` of its data; ``obsm:KEY`` for a table of proteins, ``mod:NAME`` for a
        modality of a MuData; none: the label columns of the run.
    replicate, within
        Columns of donors or replicates, and of cell types, as for :func:`cellprism.evaluate`.
    hierarchy
        Columns of truth from broad to narrow.
    data
        The run's data, where it is no longer at the path that the run knew.
    full
        Also few features, trained nulls, NMF and replication.
    spike_in
        Programmes to plant in the run's counts; see :func:`~cellprism.run.spike_in.spike_in_run`. Their sentences lead the
        notes.
    seed
        Of everything random.
    report
        Called with a line as each step of the spike-ins ends.
    """
    info = folder.info
    names = list(truth) or list(info.get("label_columns", []))
    columns = _Columns(folder, data)
    wanted = list(dict.fromkeys([*names, *hierarchy]))
    short = [name.removeprefix("obsm:").removeprefix("mod:") for name in wanted]
    truths = {
        (name if short.count(own) > 1 else own): columns.of(name) for name, own in zip(wanted, short, strict=True)
    }
    replicates = None if replicate is None else columns.of(replicate)
    types = None if within is None else columns.of(within)
    planted = spike_in_run(folder, columns.embedded(), spike_in, seed=seed, report=report) if spike_in else None
    thinned = bool(info.get("thinned"))
    values, genes, said = (
        read_by_rivals(*folder.expression, info.get("modalities"), modality_told(wanted))
        if folder.expression is not None
        else (None, [], "")
    )
    sets = folder.optional("gene_sets")
    with already_told():
        found = evaluate(
            load(folder.sae),
            np.asarray(folder.embedding),
            truths,
            expression=values,
            genes=genes if values is not None else None,
            gene_sets=_measured(sets) if full and values is not None and sets is not None else None,
            counts=values if thinned and full and info.get("expression") == "measured" else None,
            replicate=replicates,
            within=types,
            hierarchy=hierarchy or None,
            preset="full" if full else "cheap",
            seed=seed,
        )
    if said:
        found = dataclasses.replace(found, notes=(*found.notes, said))
    if planted is not None:
        table = pd.concat([found.table, planted], ignore_index=True)
        found = dataclasses.replace(found, table=table, notes=(*planted.attrs["said"], *found.notes))
    tables = evaluation_tables(found)
    for name, table in tables.items():
        with replacing(folder.path / f"{name}.parquet") as beside:
            table.to_parquet(beside, index=False)
    with replacing(folder.path / "run.json") as beside:
        write_json(beside, info | {"evaluation": evaluation_record(found)})
    note_again(folder.path, [*(f"{name}.parquet" for name in tables), "run.json"])
    build(folder.path, name=str(folder.path))
    return found


def _measured(table: pd.DataFrame) -> dict[str, list[str]]:
    """Set -> measured genes, of the rows of gene_sets.parquet."""
    return {str(name): list(map(str, genes)) for name, genes in zip(table["set"], table["genes"], strict=True)}


class _Columns:
    """Columns of the run's cells, or of the file that the run was made of, in the order of the run's cells."""

    def __init__(self, folder: RunFolder, data: str | Path | None) -> None:
        self.folder = folder
        self.path = Path(data if data is not None else folder.info["input"]["data"]["path"])
        self._data: ad.AnnData | None = None
        self._obs = pd.DataFrame()
        self._obsm: dict[str, Any] = {}
        self._parts: dict[str, ad.AnnData] = {}
        self._rows: NDArray[np.intp] = np.empty(0, dtype=np.intp)

    def of(self, name: str) -> Any:
        """Values of a column (cells,), or of a table (cells, columns)."""
        if name in self.folder.cells and not name.startswith(("obsm:", "mod:")):
            values = self.folder.cells[name]
            return values.to_numpy(dtype=object) if values.dtype.kind not in "fiu" else values.to_numpy()
        self.data()
        if name.startswith("obsm:"):
            key = name.removeprefix("obsm:")
            if key not in self._obsm:
                raise InputError(
                    "--truth obsm:KEY names a table of the data",
                    f"{key!r}; there are {describe_keys(self._obsm)}",
                    one_of_these(key, self._obsm),
                )
            return self._obsm[key]
        if name.startswith("mod:"):
            return self._modality(name.removeprefix("mod:"))
        if name not in self._obs:
            raise InputError(
                "a column is one of obs",
                f"{name!r}; there are {describe_keys(self._obs.columns)}",
                one_of_these(name, self._obs.columns),
            )
        values = self._obs[name]
        return values.to_numpy(dtype=object) if values.dtype.kind not in "fiu" else values.to_numpy()

    def _modality(self, name: str) -> pd.DataFrame:
        """Values of a modality, a column each."""
        self.data()
        key = renamed([name])[name]
        if key not in self._parts:
            raise InputError(
                "--truth mod:NAME names a modality of the data",
                f"{name!r}; there are {', '.join(self._parts)}",
                "give one",
            )
        part = self._parts[key][self._rows]
        return pd.DataFrame(as_csr(part.X, f"the modality {name!r}").toarray(), columns=part.var_names.astype(str))

    def embedded(self) -> ad.AnnData:
        """The modality that the run embedded, its cells in the run's order."""
        first = self.data()
        told = (self.folder.info.get("modalities") or {}).get("embedding") or []
        if len(told) > 1:
            raise InputError(
                "programmes are planted in the counts of one modality",
                f"an embedding of {' and '.join(told)}",
                "leave --spike-in out, or run on one modality",
            )
        return self._parts[told[0]][self._rows] if told and told[0] in self._parts else first

    def data(self) -> ad.AnnData:
        """The data of the run, its cells in the run's order."""
        if self._data is None:
            if not self.path.exists():
                raise InputError(
                    "the data of a run must be where they were", f"no {self.path}", "give the path with --data"
                )
            cells, _ = with_protein(read_cells(self.path))
            self._parts = modalities(cells)
            first = next(iter(self._parts.values()))
            rows = pd.Index(first.obs_names.astype(str)).get_indexer(pd.Index(self.folder.cells["cell"].astype(str)))
            if (rows < 0).any():
                raise InputError(
                    "the data hold every cell of the run", f"{int((rows < 0).sum())} are missing", "give its data"
                )
            self._rows = rows
            self._data = first[rows]
            self._obs = cells.obs.iloc[rows]
            for part in (part[rows] for part in self._parts.values()):  # what a modality alone has
                self._obs = self._obs.join(part.obs[[c for c in part.obs if c not in self._obs]])
                self._obsm = {str(key): values for key, values in part.obsm.items()} | self._obsm
            if isinstance(cells, mudata.MuData):  # which also keeps there which cells a modality has
                own = {str(key): values for key, values in cells.obsm.items() if key not in cells.mod}
                self._obsm |= {k: v.iloc[rows] if isinstance(v, pd.DataFrame) else v[rows] for k, v in own.items()}
        return self._data
