"""New cells that are unlike those of a run: what a run keeps to tell them, and how they are told."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import anndata as ad
import mudata
import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from cellprism.data.missing import groups
from cellprism.embed.base import aligned, is_counts, library_size
from cellprism.embed.files import read_model, write_model
from cellprism.embed.pca import log_normalise
from cellprism.embed.unexplained import Components, components_of, residual_scale, strangeness
from cellprism.errors import InputError
from cellprism.stats.fdr import benjamini_hochberg
from cellprism.stats.novelty import cross_conformal, depth_trend

__all__ = ["FOLDER", "Reference"]

FOLDER: Final = "novelty"
"""In the folder of a run."""

_FOLDS, _FEWEST_DONORS, _MOST_COMPONENTS = 5, 3, 50
_FEWEST_CELLS, _MOST_CELLS = 100, 5_000
"""Fewer cells make no p value that is worth one; more make it no better, and cost time."""
_KIND = "novelty"


@dataclass(frozen=True, eq=False)
class Reference:
    """Cells of a run in five parts, each scored by what principal components of the other four leave out of its expression.

    Cells that a model has learned from lie nearer to it than any new ones. Here no cell is scored by a model that has seen
    it, so new cells of the same kinds score as these do, whichever model embeds them.
    """

    genes: list[str]
    axes: NDArray[np.float32]
    """(folds, d, genes)."""
    centre: NDArray[np.float32]
    """(folds, genes)."""
    scale: NDArray[np.float32]
    """(folds, genes)."""
    scores: NDArray[np.float64]
    """(cells,)."""
    depth: NDArray[np.float64]
    """(cells,) molecules."""
    fold: NDArray[np.int64]
    """(cells,)."""

    @classmethod
    def of(
        cls, cells: ad.AnnData | mudata.MuData, dimensions: int, donor: pd.Series | None = None, *, seed: int = 0
    ) -> Reference | None:
        """Score the cells of a run by parts.

        Parameters
        ----------
        cells
            What the run embeds: counts in X, or a modality ``rna`` with them.
        dimensions
            Of its embedding; as many components are taken, 50 at most.
        donor
            Where three or more are named, all cells of one are in one part: then cells of a further person are
            not new for being of another person.
        seed
            Of the parts, and of the draw from more than 5,000 cells.

        Returns
        -------
        None where there are no counts, or fewer than 100 cells with any.
        """
        part = cells.mod.get("rna") if isinstance(cells, mudata.MuData) else cells
        if part is None or not is_counts(part.X):
            return None
        genes = [str(g) for g in part.var_names]
        counts = aligned(part, genes)
        rng = np.random.default_rng(seed)
        rows = np.flatnonzero(library_size(counts) > 0)
        if len(rows) < _FEWEST_CELLS:
            return None
        rows = np.sort(rng.permutation(rows)[:_MOST_CELLS])
        fold = _parts(None if donor is None else donor.iloc[rows], len(rows), rng)
        counts = sp.csr_array(counts[rows])
        depth = library_size(counts)
        expression = log_normalise(counts)
        scores = np.empty(len(rows))
        fewest = len(rows) - int(np.bincount(fold).max())
        d = max(1, min(1 + min(dimensions, _MOST_COMPONENTS), fewest - 1, len(genes) - 1))  # one of them the mean's
        axes, centre, scale = [], [], []
        for k in range(fold.max() + 1):
            own, others = fold == k, fold != k
            made = components_of(expression[others], d, seed)
            scale.append(residual_scale(expression[others], made, depth[others]))
            scores[own] = strangeness(expression[own], made, scale[-1])
            axes.append(made.axes)
            centre.append(made.centre)
        return cls(genes, np.stack(axes), np.stack(centre), np.stack(scale), scores, depth, fold)

    def tell(self, cells: Any) -> pd.DataFrame:
        """Score, p and q of new cells, in the form in which the run embeds them.

        Returns
        -------
        DataFrame
            By cell: ``novelty`` (score above what is usual at the cell's depth, in mean absolute deviations), ``novelty_pval``
            (share of the run's cells that score as high) and ``novelty_qval`` (over the new cells); NaN of
            cells without molecules.
        """
        part = cells.mod["rna"] if isinstance(cells, mudata.MuData) else cells
        counts = aligned(part, self.genes)
        if not is_counts(counts):
            raise InputError("novelty is told from raw counts", "other values", "name the layer that holds the counts")
        depth, expression = library_size(counts), log_normalise(counts)
        trend = depth_trend(self.scores, self.depth)
        found = np.stack(
            [
                trend.standardise(strangeness(expression, Components(axes, centre), scale), depth)
                for axes, centre, scale in zip(self.axes, self.centre, self.scale, strict=True)
            ]
        )
        pval = cross_conformal(found, trend.standardise(self.scores, self.depth), self.fold)
        return pd.DataFrame(
            {"novelty": found.mean(axis=0), "novelty_pval": pval, "novelty_qval": benjamini_hochberg(pval)},
            index=part.obs_names,
        )

    def save(self, folder: Path) -> None:
        """Write it into a folder."""
        arrays = asdict(self)
        write_model(folder, _KIND, {"genes": arrays.pop("genes")}, arrays)

    @classmethod
    def load(cls, folder: Path) -> Reference:
        """What :meth:`save` wrote."""
        settings, arrays = read_model(folder, _KIND)
        fields: dict[str, Any] = {**settings, **arrays}
        return cls(**fields)


def _parts(donor: pd.Series | None, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Five parts of cells, or of donors where three or more are named; cells without one lie anywhere."""
    part = rng.permutation(n) % _FOLDS
    found = None if donor is None else groups(donor)
    if found is None or len(found.names) < _FEWEST_DONORS:
        return part
    folds = min(_FOLDS, len(found.names))
    of_donor = rng.permutation(len(found.names)) % folds
    return np.where(found.number < 0, part % folds, of_donor[found.number])
