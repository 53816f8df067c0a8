"""From a gene to what moves with it: perturb the gene's programme, read the peaks or proteins that follow."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from cellprism.data.choice import chosen_cells
from cellprism.data.order import mask_of, refuse_other_order
from cellprism.embed.base import EmbeddingModel
from cellprism.errors import InputError
from cellprism.numeric import numbers_checked
from cellprism.steering.decode import columns, decode_rates, log2_change
from cellprism.steering.edit import Dictionary, Edit, edited_values, moved
from cellprism.steering.effect import Effect, effect
from cellprism.steering.nulls import feature_directions

__all__ = ["Linked", "linked"]

TRIED = 20
"""Features decoded in full, those that the gene's slope puts first."""
SLOPE_CELLS = 50


class Linked(NamedTuple):
    """What follows a gene."""

    table: pd.DataFrame
    """A row a peak or protein (a feature of another modality than the gene's), strongest first: the columns of
    ``steering.parquet``."""
    features: pd.DataFrame
    """A row a tried SAE feature: feature, log2fc (of the gene when it is steered), specificity (log2fc over the root
    mean square log2 change of the gene's modality), chosen."""
    effect: Effect
    """The whole effect of steering the chosen features."""

    def __repr__(self) -> str:
        chosen = int(self.features["chosen"].sum())
        return (
            f"Linked to a gene: {len(self.table):,} features of another modality, by {chosen} of {len(self.features)} tried\n"
            "    .table, .features, .effect"
        )


@numbers_checked
def linked(
    sae: Dictionary,
    model: EmbeddingModel,
    Z: NDArray[Any],
    gene: str,
    *,
    modality: str | None = None,
    n_features: int = 1,
    to_quantile: float = 0.95,
    cells: Any = None,
    adata: Any = None,
    codes: sparse.csr_array | None = None,
    n_null: int = 100,
    max_cells: int = 200,
    seed: int = 0,
    **options: Any,
) -> Linked:
    """Steer the features through which a gene is raised most specifically, and read the other modalities.

    The question is that of multiDGD's gene2peak (Schuster et al., Nature Communications 15:10031): which peaks go with
    a gene? There the representation is pushed until the one gene changes; here the push is along features, so what is
    read belongs to a programme that the model has, with its name and its nulls.

    Parameters
    ----------
    sae, Z, codes, cells, adata
        As for :func:`cellprism.steering.effect`.
    model
        Decodes several modalities.
    gene
        Name of a decoded feature: usually a gene; a peak or protein is followed the other way.
    modality
        Where ``gene`` lies, if its name occurs in several; what is read are all others.
    n_features
        How many features to steer together.
    to_quantile
        Of each feature's active cells.
    n_null, max_cells, seed, options
        Of :func:`cellprism.steering.effect`.

    Returns
    -------
    Linked
        ``table["null_pval"]`` says whether random moves of the same length change a peak as much.

    Raises
    ------
    InputError
        If the gene is not decoded, the model has one modality only, or no feature raises the gene.

    Examples
    --------
    >>> joint = prism.embed.train("dgd", mdata, epochs=5, seed=0)
    >>> Z = joint.encode(mdata)
    >>> dictionary = prism.fit(Z, prism.SAEConfig(width=12, activation="topk", k=3), epochs=5).sae
    >>> found = prism.linked(dictionary, joint, Z, "CD79B", adata=mdata, n_null=5)
    >>> set(found.table["modality"])
    {'protein'}
    """
    names, modalities = columns(model)
    at = _position(gene, modality, names, modalities)
    own = np.asarray(modalities) == modalities[at]
    if own.all():
        raise InputError(
            "a read-out across modalities needs a model of several",
            f"{model.name!r} with {list(model.modalities)}",
            "train a dgd, MULTIVI or TOTALVI on a MuData",
        )
    refuse_other_order(Z=Z, adata=adata, cells=mask_of(cells))
    Z = np.asarray(Z, dtype=np.float32)
    rng = np.random.default_rng(seed)
    rows = chosen_cells(cells, len(Z))
    if rows.size > SLOPE_CELLS:
        rows = np.sort(rng.choice(rows, SLOPE_CELLS, replace=False))
    part = None if adata is None else adata[rows]
    codes = sae.encode(Z) if codes is None else codes
    base = decode_rates(model, Z[rows], part)

    def change(move: NDArray[Any]) -> NDArray[np.float32]:
        return log2_change(base, decode_rates(model, Z[rows] + move, part), modalities)

    slope = np.empty((rows.size, Z.shape[1]))
    for i, step in enumerate(0.1 * Z.std(0) + 1e-6):
        by = np.zeros_like(Z[rows])
        by[:, i] = step
        slope[:, i] = change(by)[:, at] / step
    live = np.flatnonzero(np.asarray((codes != 0).sum(0)).ravel())
    directions = feature_directions(sae, codes.shape[1], live, rng, most=live.size)
    parts = codes.tocsc()
    level = np.asarray([np.quantile(parts.data[parts.indptr[f] : parts.indptr[f + 1]], to_quantile) for f in live])
    raised = ((level - codes[rows][:, live].toarray()) * (slope @ directions.T)).mean(0)
    tried = []
    for f in live[np.argsort(-raised)[:TRIED]]:
        features, before, after = edited_values(codes, int(f), Edit("quantile", to_quantile), rows)
        seen = change(moved(sae, codes.shape[1], features, before, after)).mean(0)
        spread = float(np.sqrt((seen[own] ** 2).mean()))
        tried.append((int(f), float(seen[at]), float(seen[at]) / max(spread, 1e-30)))
    table = pd.DataFrame(tried, columns=["feature", "log2fc", "specificity"])
    table = table.sort_values("specificity", ascending=False, ignore_index=True)
    chosen = table.index[table["log2fc"] > 0][:n_features]
    if not len(chosen):
        raise InputError("some feature must raise the gene", f"none raises {gene!r}", "choose other cells or a gene")
    table["chosen"] = table.index.isin(chosen)
    found = effect(
        sae,
        model,
        Z,
        table.loc[chosen, "feature"].tolist(),
        to_quantile=to_quantile,
        cells=cells,
        adata=adata,
        codes=codes,
        n_null=n_null,
        max_cells=max_cells,
        seed=seed,
        **options,
    )
    others = found.genes[found.genes["modality"] != modalities[at]]
    order = others["log2fc"].abs().sort_values(ascending=False, kind="stable").index
    return Linked(others.loc[order].reset_index(drop=True), table, found)


def _position(gene: str, modality: str | None, names: list[str], modalities: list[str]) -> int:
    """Column of a gene."""
    found = [i for i, (n, m) in enumerate(zip(names, modalities, strict=True)) if n == gene and modality in (None, m)]
    if len(found) != 1:
        raise InputError(
            "the gene must be one that the model decodes, once",
            f"{gene!r} found {len(found)} times in {modality or ', '.join(dict.fromkeys(modalities))}",
            "check the name, or name its modality",
        )
    return found[0]
