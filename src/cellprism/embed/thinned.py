"""A model that was trained on a part of the molecules of each cell, and sees as many of any other cell.

A cell with all its molecules lies elsewhere in the embedding than with half of them, most of all along axes that follow
depth; so cells that are embedded later are thinned as the training cells were. The same matrix gives the same draw: the
training cells themselves come out as they were.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anndata as ad
import mudata
import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from cellprism.data.modalities import modalities, with_protein
from cellprism.data.sparse import as_csr
from cellprism.data.thin import thin
from cellprism.embed.base import EmbeddingModel, is_counts, matrix
from cellprism.errors import InputError
from cellprism.numeric import seed_after

__all__ = ["Thinned", "thinning"]

_FILE = "thinning.json"


class Thinned:
    """An embedding model behind the protocol, which thins counts before it embeds them.

    Parameters
    ----------
    model
        The model itself, for cells that are thinned already.
    share
        Expected share of the molecules that it sees.
    seed
        Of the draw; modalities take further ones in their order.
    """

    def __init__(self, model: EmbeddingModel, share: float = 0.5, seed: int = 0) -> None:
        self.model, self.share, self.seed = model, share, seed
        self.name, self.modalities, self.genes = model.name, model.modalities, model.genes

    def __getattr__(self, name: str) -> Any:
        if name == "model":
            raise AttributeError(name)
        return getattr(self.model, name)

    def __repr__(self) -> str:
        what = " and ".join(self.modalities)
        return f"{self.name} of {what}, of which it sees {self.share:.0%} of the molecules of each cell"

    def encode(self, adata: Any) -> NDArray[np.float32]:
        """Embed cells by a part of their molecules: (cells, d) float32."""
        return self.model.encode(self.seen(adata))

    def seen(self, adata: Any) -> Any:
        """The cells with the molecules that the model sees: AnnData, or MuData of its modalities."""
        if "protein" in self.modalities:
            adata, _ = with_protein(adata)
        parts = {}
        for i, (name, part) in enumerate(modalities(adata).items()):
            counts = as_csr(matrix(part, getattr(self.model, "layer", None)))
            if not is_counts(counts):
                raise InputError(
                    "a model that was trained on a part of the molecules needs raw counts of other cells too",
                    f"other values in modality {name!r}",
                    "name the layer that holds the counts with `layer=…`",
                )
            thinned = sp.csr_matrix(thin(counts, self.share, seed=seed_after(self.seed, i))[0])
            parts[name] = ad.AnnData(thinned, obs=part.obs, var=pd.DataFrame(index=part.var_names))
        if not hasattr(adata, "mod"):
            return parts["rna"]
        with mudata.set_options(pull_on_update=False):
            both = mudata.MuData(parts)
        both.obs = adata.obs
        return both

    def decode(self, Z: NDArray[Any], adata: Any = None) -> dict[str, NDArray[np.float32]]:
        """Expected counts a modality, as the model's own."""
        return self.model.decode(Z, adata)

    def save(self, path: str | Path) -> None:
        """Write the model, and ``thinning.json`` beside it."""
        self.model.save(path)
        (Path(path) / _FILE).write_text(json.dumps({"share": self.share, "seed": self.seed}), encoding="utf-8")


def thinning(path: str | Path) -> tuple[float, int] | None:
    """Share and seed of a model's folder; None where it sees all molecules."""
    file = Path(path) / _FILE
    if not file.is_file():
        return None
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        share, seed = float(content["share"]), int(content["seed"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            "thinning.json must be one this package wrote", f"{file}: {error}", "save the model again"
        ) from error
    return share, seed
