"""Spike-ins of a run: programmes planted in its own counts, embedded and fitted anew as the run was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anndata as ad
import pandas as pd

from cellprism import embed
from cellprism.data.expression import take_matrix
from cellprism.data.missing import groups
from cellprism.data.state import whole
from cellprism.errors import InputError
from cellprism.evaluation.planted_round import DICTIONARY
from cellprism.evaluation.spike_in import spike_in
from cellprism.run.folder import RunFolder
from cellprism.run.options import PRESETS, RunOptions, states

__all__ = ["spike_in_run"]


def spike_in_run(
    folder: RunFolder, data: ad.AnnData, n: int, *, seed: int = 0, report: Callable[[str], None] | None = None
) -> pd.DataFrame:
    """Plant programmes in the counts of a run and look for them by the run's own recipe.

    Parameters
    ----------
    folder
        Of ``cellprism run`` with ``--embed``.
    data
        Its cells with their counts, in the run's order.
    n
        Programmes; see :func:`~cellprism.evaluation.planted.over_grid`.
    seed
        Of everything random.
    report
        Called with a line as each step ends.

    Returns
    -------
    As :func:`~cellprism.evaluation.spike_in.spike_in`.

    Raises
    ------
    InputError
        If the run did not make its embedding, or of something else than counts, or of several modalities.
    """
    info = folder.info
    arguments: dict[str, Any] = info["arguments"]
    model = arguments["embed"]
    if model is None:
        raise InputError(
            "spike-ins are embedded anew by the run's own model",
            "a run on an embedding that was made elsewhere",
            "run with --embed, or plant them with `cellprism benchmark planted`",
        )
    matrix = take_matrix(
        data, layer=arguments["layer"], raw=arguments["raw"], state=states(arguments["expression_state"])
    )
    if matrix.state != "counts" or not whole(matrix.values):
        raise InputError(
            "programmes are planted in raw counts",
            f"{matrix.state} values{'' if whole(matrix.values) else ' with fractions'} in {matrix.where}",
            "run on counts",
        )
    fixed = {name: arguments[name] for name in ("recipe", "width", "k", "activation")}
    options = RunOptions(data=folder.path, output=folder.path, embed=model, **fixed)
    training: dict[str, Any] = {"preset": PRESETS[arguments["preset"]].recipe}
    if arguments["epochs"] is not None:
        training["epochs"] = arguments["epochs"]
    if arguments["consensus"]:
        training |= {"consensus": True, "seeds": len(info["seeds"])}
    batch = arguments["strata"] if model in embed.BATCH_AWARE else None
    told = {} if arguments["components"] is None else embed.dimensions(model, arguments["components"])
    return spike_in(
        matrix.values,
        matrix.genes,
        embed=model,
        embed_options=told | ({} if batch is None else {"batch": batch}),
        obs=None if batch is None else pd.DataFrame({batch: groups(folder.cells[batch]).text()}),
        recipe=options.sae_config(folder.embedding),
        options={DICTIONARY: training},
        thinned=bool(info["thinned"]),
        n=n,
        seed=seed,
        report=report,
    )
