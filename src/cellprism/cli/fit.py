"""``cellprism fit``: train a sparse autoencoder on an embedding, alone."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from cellprism.cli.run import Output, Overwrite

__all__ = ["register"]


def fit(
    embedding: Annotated[Path, typer.Argument(help="Embedding file, or cells with --rep.", show_default=False)],
    output: Output,
    rep: Annotated[str | None, typer.Option(help="obsm key, where the file holds cells.")] = None,
    width: Annotated[int | None, typer.Option(help="Number of features.")] = None,
    k: Annotated[int | None, typer.Option(help="Active features a cell.")] = None,
    activation: Annotated[str | None, typer.Option(help="relu, topk, batchtopk, jumprelu or gated.")] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file with the fields of SAEConfig.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the cells.")] = None,
    seed: Annotated[int, typer.Option(help="Fixes every random choice.")] = 0,
    overwrite: Overwrite = False,
) -> None:
    """Train a sparse autoencoder and write config.json and sae.safetensors."""
    from cellprism.cli.common import console, say
    from cellprism.data.embedding import check_embedding
    from cellprism.run.folder import staged
    from cellprism.run.options import RunOptions
    from cellprism.run.write import write_json
    from cellprism.sae import SAEConfig, default_config
    from cellprism.sae import fit as train

    source = load_embedding(embedding, rep)
    X = check_embedding(source.values, source.cells)
    if config is not None:
        cfg = SAEConfig.from_dict(read_yaml(config))
    else:
        choices: dict[str, Any] = {"activation": activation}
        asked = RunOptions(data=embedding, output=output, width=width, k=k, **choices)
        cfg = asked.sae_config(default_config(*X.shape))
    say(f"{len(X):,} cells x {X.shape[1]} dimensions; {cfg.width} features, {cfg.activation}, k {cfg.k}")
    fitted = train(X, cfg, seed=seed, epochs=epochs, progress=sys.stderr.isatty())
    with staged(output, overwrite=overwrite) as folder:
        fitted.sae.save(folder)
        fitted.history.to_parquet(folder / "training.parquet", index=False)
        write_json(folder / "run.json", {"metrics": fitted.metrics, "training": fitted.options})
    m = fitted.metrics
    console().print(
        f"explained variance {m['explained_variance']:.3f}, L0 {m['l0']:.1f}, {m['n_live']:.0f} live features: {output}",
        highlight=False,
    )


def load_embedding(path: Path, rep: str | None) -> Any:
    """Embedding from an array file, or from the ``obsm`` of a file of cells."""
    from cellprism.data.embedding import embedding_from_obsm, read_embedding
    from cellprism.data.read import describe_keys, read_cells
    from cellprism.errors import InputError

    if path.suffix not in (".h5ad", ".h5mu", ".zarr"):
        return read_embedding(path)
    cells = read_cells(path)
    if rep is None:
        raise InputError(
            "a file of cells needs --rep", f"obsm with {describe_keys(cells.obsm)}", "give one of its keys"
        )
    return embedding_from_obsm(cells, rep)


def read_yaml(path: Path) -> dict[str, Any]:
    """Mapping from a YAML file."""
    import yaml

    from cellprism.errors import InputError

    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(
            "the YAML file must be readable", f"{path}: {error}", "check the path and its syntax"
        ) from error
    if not isinstance(content, dict):
        raise InputError(
            "the YAML file must hold a mapping", f"{path}: {type(content).__name__}", "write 'width: 512' …"
        )
    return content


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(fit)
