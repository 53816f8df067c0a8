"""``cellprism encode``: codes of cells by a trained sparse autoencoder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cellprism.cli.fit import load_embedding
from cellprism.cli.run import ReplaceFile

__all__ = ["register"]


def encode(
    sae: Annotated[Path, typer.Argument(help="SAE folder, or a run folder.", show_default=False)],
    embedding: Annotated[Path, typer.Argument(help="Embedding file, or cells with --rep.", show_default=False)],
    output: Annotated[Path, typer.Option("-o", "--output", help="codes.npz to write.", show_default=False)],
    rep: Annotated[str | None, typer.Option(help="obsm key, where the file holds cells.")] = None,
    overwrite: ReplaceFile = False,
) -> None:
    """Write the sparse codes (scipy CSR, cells x features) of an embedding."""
    import scipy.sparse as sp

    from cellprism.cli.common import console
    from cellprism.errors import InputError
    from cellprism.files import refuse_taken, replacing
    from cellprism.sae import load

    if output.suffix != ".npz":
        raise InputError("codes are written as .npz", str(output), "give a name that ends in .npz")
    refuse_taken(output, overwrite=overwrite)
    codes = load(sae).encode(load_embedding(embedding, rep).values)
    with replacing(output, overwrite=overwrite) as beside:
        sp.save_npz(beside, codes)
    console().print(
        f"{codes.shape[0]:,} cells x {codes.shape[1]:,} features, {codes.nnz:,} active: {output}", highlight=False
    )


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(encode)
