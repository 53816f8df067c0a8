"""``cellprism steer``: turn a feature up or down and read the effect in genes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cellprism.cli.shared import Output, Overwrite

__all__ = ["register"]


def steer(
    run_dir: Annotated[Path, typer.Argument(help="Folder that `cellprism run` wrote.", show_default=False)],
    feature: Annotated[int, typer.Option(help="Number of the feature.", show_default=False)],
    output: Output,
    to: Annotated[float | None, typer.Option(help="Set the activation to this value.")] = None,
    to_quantile: Annotated[float | None, typer.Option(help="Set it to this quantile of the active cells.")] = None,
    scale: Annotated[float | None, typer.Option(help="Multiply it.")] = None,
    add: Annotated[float | None, typer.Option(help="Add this much, never below zero.")] = None,
    off: Annotated[bool, typer.Option("--off", help="Switch the feature off.")] = False,
    cells: Annotated[
        str | None,
        typer.Option(help="Condition on the cells' columns, such as \"cell_type == 'B'\"; default: all cells."),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(help="Folder of the embedding model, also one that scvi-tools saved; default: the run's."),
    ] = None,
    max_cells: Annotated[int, typer.Option(help="Most cells; of more, so many are drawn at random.")] = 500,
    seed: Annotated[int, typer.Option(help="Fixes that draw and the random moves it is compared with.")] = 0,
    overwrite: Overwrite = False,
) -> None:
    """Edit a feature in chosen cells, decode, and hold the change of every gene against moves that mean nothing."""
    from rich.table import Table

    from cellprism.cli.common import console, say
    from cellprism.cli.voice import write_log
    from cellprism.errors import InputError
    from cellprism.run.folder import RunFolder, check_output, staged
    from cellprism.run.steering import steer_run
    from cellprism.steering.edit import make_edit

    check_output(output, overwrite=overwrite)
    edits = {"--to": to, "--to-quantile": to_quantile, "--scale": scale, "--add": add, "--off": off or None}
    given = [option for option, value in edits.items() if value is not None]
    if len(given) != 1:
        raise InputError(
            f"exactly one of {', '.join(edits)} must be given", ", ".join(given) or "none", "say what to do, once"
        )
    edit = make_edit(to=to, to_quantile=to_quantile, scale=scale, add=add, off=off)
    folder = RunFolder.open(run_dir)
    say(f"steering feature {feature} and 300 moves of the same length that mean nothing")
    found = steer_run(folder, feature, edit, cells=cells, model=model, seed=seed, max_cells=max_cells)
    with staged(output, overwrite=overwrite) as target:
        found.save(target)
        write_log(target)
    out, s = console(), found.summary
    drawn = f"{s['cells']:,} cells"
    if s["cells"] < s["cells_chosen"]:
        drawn = f"{s['cells']:,} of {s['cells_chosen']:,} cells, drawn at random (--max-cells)"
    out.print(
        f"{drawn}; activation {s['activation_before']:.3g} -> {s['activation_after']:.3g}; "
        f"{s['share_among_real_cells']:.0%} land among real cells",
        highlight=False,
    )
    if "decoded_at" in s:
        out.print(f"decoded at {s['decoded_at']}", highlight=False, markup=False)
    if "target_effect" in s:
        null = s["target_nulls"]["covariance"]
        out.print(
            f"the feature's own {s['targets']} genes: {s['target_effect']:+.2f} log2 against other genes "
            f"(95 % of random moves within ±{null['q95']:.2f}, p {null['pval']:.2g})",
            highlight=False,
        )
    several = found.genes["modality"].nunique() > 1
    names = ("modality", "gene, peak or protein") if several else ("gene",)
    table = Table(title="What changes most" if several else "Genes that change most", title_justify="left")
    for column in (*names, "log2 change", "q", "p against random moves", "dose"):
        table.add_column(column, justify="left" if column in names else "right")
    for row in [*found.genes.head(8).itertuples(), *found.genes.tail(4).itertuples()]:
        table.add_row(
            *((str(row.modality), str(row.gene)) if several else (str(row.gene),)),
            f"{row.log2fc:+.2f}", f"{row.qval:.1g}", f"{row.null_pval:.2g}", f"{row.monotonicity:+.1f}",
        )  # fmt: skip
    out.print(table)
    out.print(f"Tables: {output}", highlight=False, soft_wrap=True)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(steer)
