"""``cellprism encode``: codes of further cells by a run, or by a sparse autoencoder alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cellprism.cli.shared import Dask, ReplaceFile

__all__ = ["register"]


def encode(
    source: Annotated[Path, typer.Argument(help="Run folder, or an SAE's.", show_default=False)],
    cells: Annotated[
        Path, typer.Argument(help="Cells (.h5ad, .h5mu, .zarr), or a file of their embedding.", show_default=False)
    ],
    output: Annotated[
        Path,
        typer.Option("-o", "--output", help="What to write: codes.npz, codes.h5ad or codes.zarr.", show_default=False),
    ],
    rep: Annotated[str | None, typer.Option(help="obsm key of an embedding that the cells have already.")] = None,
    model: Annotated[Path | None, typer.Option(help="Folder of the embedding model; default: the run's.")] = None,
    layer: Annotated[str | None, typer.Option(help="Layer with the counts; default: as in the run.")] = None,
    raw: Annotated[bool, typer.Option("--raw", help="Take the counts from .raw.")] = False,
    dask: Dask = None,
    overwrite: ReplaceFile = False,
) -> None:
    """Embed cells with the model of a run and write their sparse codes, comparable with the run's own.

    A .npz holds a scipy CSR matrix (cells x features) and the names as `cells`; a .h5ad has them as an AnnData, with the
    names of the features and the embedding; a .zarr is that without the embedding, written as the codes are made, so that
    they never fill the memory. Of a run that split counts, as large a part of the molecules is embedded.

    Beside each cell stand its strongest features by name and, where the run embedded counts itself, whether it is unlike the
    run's cells: novelty, p and q.
    """
    from cellprism.cli.common import console, say
    from cellprism.cli.fit import load_embedding
    from cellprism.data.read import read_cells
    from cellprism.errors import InputError
    from cellprism.files import check_ending, refuse_taken
    from cellprism.run.encode import encode as encode_embedding
    from cellprism.run.encode import model_of, novelty, query_cells, refuse_beside_rep
    from cellprism.run.folder import RunFolder
    from cellprism.sae import load
    from cellprism.workers import on_workers

    check_ending(output, ".npz", ".h5ad", ".zarr", what="a file of codes")
    refuse_taken(output, overwrite=overwrite)
    embedded = _embedded(cells, rep)
    refuse_beside_rep(embedded, model=model, layer=layer, raw=raw)
    run = RunFolder.open(source) if (source / "codes.npz").is_file() else None
    sae = load(source)
    notes: list[str] = []
    told = None
    if embedded is not None:
        given = load_embedding(cells, rep)
        values, names = given.values, given.cells
    elif run is None:
        raise InputError(
            "cells are embedded by the model of a run",
            f"{source}, an SAE alone",
            "give a run folder, or --rep with an obsm key",
        )
    else:
        decoder = model_of(run, model)
        table = read_cells(cells, whole=False)
        say(f"embedding {table.n_obs:,} cells with {decoder.name}")
        made = query_cells(run, table, decoder, layer=layer, raw=raw or (False if layer else None), notes=notes)
        values, told = decoder.encode(made), novelty(run, made, decoder, notes)
        names = tuple(map(str, table.obs_names))
    features = None if run is None else run.features
    if output.suffix == ".zarr":
        from cellprism.run.encode_store import encode_to_store

        with on_workers(dask):
            fit, misfit = encode_to_store(
                output,
                sae,
                values,
                tuple(names or ()),
                features=features,
                trained=_trained(source),
                told=told,
                overwrite=overwrite,
            )
        active = ""
    else:
        with on_workers(dask):
            found = encode_embedding(sae, values, tuple(names or ()), _trained(source), features=features, told=told)
        _write(output, found, features, overwrite=overwrite)
        fit, misfit, active = found.fit, found.misfit, f", {found.codes.nnz:,} active"
    for note in notes:
        say(note)
    lines = [f"{len(values):,} cells x {sae.width:,} features{active}: {output}", fit]
    if told is not None:
        lines.append(f"unlike the run's cells, at q < 0.05: {(told['novelty_qval'] < 0.05).sum():,}")
    for line in [*lines, *([f"Note: {misfit}"] if misfit else [])]:
        console().print(line, highlight=False, markup=False)


def _embedded(cells: Path, rep: str | None) -> str | None:
    """Where the embedding of the cells is, in words, if they have one already."""
    if cells.suffix not in (".h5ad", ".h5mu", ".zarr"):
        return f"the embedding in {cells.name}"
    return None if rep is None else f"`rep={rep!r}`"


def _trained(source: Path) -> dict[str, Any]:
    """Metrics of a run or fit, where they were kept."""
    import json

    try:
        content = json.loads((source / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):  # an SAE alone keeps none
        return {}
    found = content.get("metrics") if isinstance(content, dict) else None
    return found if isinstance(found, dict) else {}


def _write(output: Path, found: Any, features: Any, *, overwrite: bool) -> None:
    import numpy as np
    import scipy.sparse as sp

    from cellprism.files import replacing

    with replacing(output, overwrite=overwrite) as beside:
        if output.suffix == ".h5ad":
            found.anndata(features).write_h5ad(beside)
        else:
            sp.save_npz(beside, found.codes)
            with np.load(beside) as matrix:
                arrays = dict(matrix)
            beside_codes = {name: _plain(column) for name, column in found.table.items()}
            np.savez_compressed(beside, **arrays, cells=np.array(found.cells), **beside_codes)


def _plain(column: Any) -> Any:
    """Values that load without pickle."""
    values = column.to_numpy()
    return values.astype(str) if values.dtype == object else values


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(encode)
