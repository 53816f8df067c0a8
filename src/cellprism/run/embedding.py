"""The embedding of a run: trained here, brought in the file of the cells, or brought beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import anndata as ad
import mudata
import scipy.sparse as sp
from numpy.typing import NDArray

from cellprism import embed
from cellprism.data.embedding import given_embedding
from cellprism.data.expression import Matrix
from cellprism.data.modalities import modalities
from cellprism.embed import EmbeddingModel
from cellprism.embed.thinned import Thinned
from cellprism.run.knowledge import Columns
from cellprism.run.model_cells import model_cells
from cellprism.run.novelty import Reference
from cellprism.run.options import RunOptions
from cellprism.run.steps import Steps

__all__ = ["Embedded", "embedded"]


class Embedded(NamedTuple):
    """An embedding, and what became of the cells on the way to it."""

    values: NDArray[Any]
    """(cells, d), not yet checked."""
    source: str
    model: EmbeddingModel | None = None
    """Where it was trained here."""
    counts: dict[str, sp.csr_array] | None = None
    """By modality, the molecules that the model did not see, where they were split."""
    seen: ad.AnnData | mudata.MuData | None = None
    """Where they were split and are to guide features, those that it saw."""
    warnings: tuple[str, ...] = ()
    reference: Reference | None = None
    """To tell new cells that are unlike these, where counts were embedded here."""


def embedded(
    options: RunOptions,
    cells: ad.AnnData | mudata.MuData,
    taken: Mapping[str, Matrix],
    columns: Columns,
    checksum: str,
    say: Callable[[str], None],
    steps: Steps,
) -> Embedded:
    """The embedding that the options ask for.

    Parameters
    ----------
    options
        Of the run.
    cells, taken, checksum
        What is embedded, its matrices, and the checksum of its file.
    columns
        A model that can be told a batch is told the strata.
    say
        Tells what is done.
    steps
        Finished ones; a model that is among them is not trained again.
    """
    if options.embed is not None:
        return _trained_here(options, options.embed, cells, taken, columns, checksum, say, steps)
    given = given_embedding(cells, options.rep, options.embedding)
    warnings = []
    if given.cells is None:
        warnings.append(f"{given.source} names no cells: its rows are taken in the order of {options.data.name}")
    return Embedded(given.values, given.source, warnings=tuple(warnings))


def _trained_here(
    options: RunOptions,
    name: str,
    cells: ad.AnnData | mudata.MuData,
    taken: Mapping[str, Matrix],
    columns: Columns,
    checksum: str,
    say: Callable[[str], None],
    steps: Steps,
) -> Embedded:
    made, counts = model_cells(cells, taken, thinned=options.thin, seed=options.seed)
    thinned = counts is not None
    say(f"training the embedding model {name!r}" + (" on half of the molecules" if thinned else ""))
    extra: dict[str, Any] = {} if options.device == "auto" else _placed(name, options.device)
    if options.components is not None:
        extra |= embed.dimensions(name, options.components)
    if columns.strata is not None and name in embed.BATCH_AWARE:
        made.obs[columns.strata.name] = columns.strata.to_numpy()
        extra["batch"] = columns.strata.name
        say(f"the model is told the batch, {columns.strata.name!r}")
    train = partial(embed.train, name, made, seed=options.seed, progress=options.progress, **extra)
    model, values = steps.embedding(checksum, train, made)
    source = f"{_described(model)}, trained in this run"
    say(f"trained {_described(model)}")
    model = Thinned(model, seed=options.seed) if thinned else model
    unseen = [m for m in modalities(made) if m not in model.modalities]
    warnings = [f"the embedding knows nothing of the modalities {', '.join(unseen)}: {source}"] if unseen else []
    known = Reference.of(made, values.shape[1], columns.donor, seed=options.seed)
    seen = made if thinned and options.guide else None
    return Embedded(values, source, model, counts, seen, tuple(warnings), known)


def _placed(model: str, device: str) -> dict[str, Any]:
    """What tells a model where to train; PCA has no such choice."""
    if model in ("drvi", "scvi"):
        return {"training": {"accelerator": {"cuda": "gpu"}.get(device.split(":")[0], device)}}
    return {"device": device} if model in ("dgd", "autoencoder") else {}


def _described(model: EmbeddingModel) -> str:
    """Which class was trained, and on what."""
    kind = getattr(model, "kind", None)
    return f"{model.name}{f' ({kind})' if kind else ''} of {' and '.join(model.modalities)}"
