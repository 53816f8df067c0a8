"""Take out of an embedding what features say about a nuisance, and only where they say nothing else."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse, stats

from cellprism.data.missing import groups
from cellprism.data.order import refuse_other_order
from cellprism.errors import InputError
from cellprism.numeric import numbers_checked
from cellprism.steering.edit import Dictionary
from cellprism.steering.nulls import feature_directions

__all__ = ["Cleaned", "clean", "partial_shares"]


class Cleaned(NamedTuple):
    """A corrected embedding and what was done to each feature."""

    embedding: NDArray[np.float32]
    """(cells, d)."""
    features: pd.DataFrame
    """A row a live feature: feature, nuisance (share of its variance that the nuisance explains within labels),
    biology (share that labels explain within the nuisance), qval (of the nuisance), action (``cleaned``, ``kept``,
    ``left: reads both`` or ``equalised: reads both``)."""
    residual_nuisance: float
    """Share of the residual's variance that the nuisance explains within labels, before any change of it."""

    def __repr__(self) -> str:
        cells, d = self.embedding.shape
        cleaned = int((self.features["action"] == "cleaned").sum())
        return (
            f"Cleaned embedding of {cells:,} cells x {d} dimensions, {cleaned} of {len(self.features)} features cleaned\n"
            "    .embedding, .features, .residual_nuisance"
        )


@numbers_checked
def clean(
    sae: Dictionary,
    Z: NDArray[Any],
    batch: Any,
    labels: Any = None,
    *,
    how: Literal["equalise", "off"] = "equalise",
    residual: Literal["keep", "equalise"] = "keep",
    reads_both: Literal["leave", "equalise"] = "leave",
    min_share: float = 0.05,
    codes: sparse.csr_array | None = None,
    seed: int = 0,
) -> Cleaned:
    """Remove the features that read a nuisance and no biology.

    Parameters
    ----------
    sae, Z, codes
        Autoencoder, (cells, d) embedding, and its codes if they are at hand.
    batch
        (cells,) the nuisance.
    labels
        (cells,) the biology to keep. None = clusters (k-means, 20) of the embedding centred within each batch, which
        can keep only the biology that all batches share.
    how
        ``equalise`` shifts a feature's contribution so that its mean is the same in each batch (within labels, so a
        batch rich in one label stays so); ``off`` switches the feature off.
    residual
        What the SAE does not explain is kept, or has its batch means (within labels) equalised too.
    reads_both
        Features that read the nuisance and biology are left, or shifted within labels as ``how="equalise"`` does: that
        keeps the differences between labels that all batches share.
    min_share
        Share of a feature's variance from which it is said to read the nuisance, or the biology.
    seed
        Of the clusters.

    Returns
    -------
    Cleaned
        A feature that reads both is left as it is unless asked otherwise, and the table says which: to change it may
        cost biology that the labels do not hold.

    Examples
    --------
    >>> cleaned = prism.clean(sae, X, donors, types)
    >>> cleaned.embedding.shape == X.shape
    True
    """
    refuse_other_order(Z=Z, batch=batch, labels=labels)
    Z = np.asarray(Z, dtype=np.float32)
    n = len(Z)
    nuisance = codes_of(batch, n, "batch")
    given = {
        "how": (how, ("equalise", "off")), "residual": (residual, ("keep", "equalise")),
        "reads_both": (reads_both, ("leave", "equalise")),
    }  # fmt: skip
    for name, (value, allowed) in given.items():
        if value not in allowed:
            raise InputError(f"{name} is {' or '.join(allowed)}", repr(value), "give one of these")
    if nuisance.max() == 0:
        raise InputError("the nuisance must have at least two values", "one", "there is nothing to clean")
    biology = codes_of(labels, n, "labels") if labels is not None else shared_clusters(Z, nuisance, seed)
    codes = sae.encode(Z) if codes is None else codes
    live = np.flatnonzero(np.asarray((codes != 0).sum(0)).ravel())
    values = codes[:, live].toarray().astype(np.float64)
    on_batch, pval = partial_shares(values, nuisance, biology)
    on_label, _ = partial_shares(values, biology, nuisance)
    qval = stats.false_discovery_control(pval)
    reads = (on_batch >= min_share) & (qval < 0.05)
    both = reads & (on_label >= min_share)
    chosen = reads & ~both
    directions = feature_directions(sae, codes.shape[1], live, np.random.default_rng(seed), most=live.size)
    picked = values[:, chosen]
    shift = -picked if how == "off" else offsets(picked, nuisance, biology)
    out = Z + (shift @ directions[chosen]).astype(np.float32)
    rest = Z - sae.decode(codes)
    share = float(np.average(partial_shares(rest, nuisance, biology)[0], weights=rest.var(0) + 1e-12))
    if reads_both == "equalise":
        out = out + (offsets(values[:, both], nuisance, biology) @ directions[both]).astype(np.float32)
    if residual == "equalise":
        out = out + offsets(rest.astype(np.float64), nuisance, biology).astype(np.float32)
    left = "left: reads both" if reads_both == "leave" else "equalised: reads both"
    action = np.where(both, left, np.where(chosen, "cleaned", "kept"))
    table = pd.DataFrame(
        {"feature": live, "nuisance": on_batch, "biology": on_label, "qval": qval, "action": action}
    ).sort_values("nuisance", ascending=False, ignore_index=True)
    return Cleaned(cast("NDArray[np.float32]", out.astype(np.float32)), table, share)


def codes_of(values: Any, n: int, name: str) -> NDArray[np.intp]:
    """Categories as numbers from zero."""
    found = groups(values)
    if found.number.shape != (n,):
        raise InputError(f"{name} must have one entry a cell", f"{found.number.shape} for {n}", "give them all")
    if found.n_missing:
        raise InputError(
            f"every cell to clean needs a value of {name}",
            f"{found.n_missing} of {n} cells without one",
            "leave these cells out, or give them a value of their own",
        )
    return found.number


def shared_clusters(Z: NDArray[np.float32], nuisance: NDArray[np.intp], seed: int, k: int = 20) -> NDArray[np.intp]:
    """Clusters of the embedding after the mean of each batch is taken out."""
    from sklearn.cluster import KMeans

    centred = Z - one_hot(nuisance) @ means_by(Z.astype(np.float64), nuisance)
    return np.asarray(KMeans(min(k, len(Z) // 10 + 1), n_init=3, random_state=seed).fit_predict(centred))


def one_hot(index: NDArray[np.intp]) -> sparse.csr_array:
    """(cells, categories) indicator."""
    n = len(index)
    return sparse.csr_array((np.ones(n), index, np.arange(n + 1)), shape=(n, int(index.max()) + 1))


def means_by(values: NDArray[np.float64], index: NDArray[np.intp]) -> NDArray[np.float64]:
    """Mean of each category, (categories, columns)."""
    hot = one_hot(index)
    return np.asarray(np.asarray(hot.T @ values) / np.asarray(hot.sum(0)).ravel()[:, None])


def fitted(values: NDArray[np.float64], index: NDArray[np.intp], other: NDArray[np.intp]) -> NDArray[np.float64]:
    """Additive effects of ``index`` on each column with ``other`` in the model, (categories, columns).

    Effects are weighted to mean zero over cells; categories that never meet in both factors cannot be told apart and
    get the smallest effects that fit.
    """
    hot, rest = one_hot(index), one_hot(other)
    # Least squares with both factors, by its normal equations: small, whatever the number of cells.
    both = sparse.csr_array(sparse.hstack([hot, rest]))
    effects = np.linalg.pinv((both.T @ both).toarray()) @ np.asarray(both.T @ values)
    own = effects[: hot.shape[1]]
    size = np.asarray(hot.sum(0)).ravel()
    return np.asarray(own - (size @ own) / size.sum())


def offsets(values: NDArray[np.float64], index: NDArray[np.intp], other: NDArray[np.intp]) -> NDArray[np.float64]:
    """What to add so that the effect of ``index`` within ``other`` vanishes, (cells, columns)."""
    return -fitted(values, index, other)[index]


def partial_shares(
    values: NDArray[np.floating], index: NDArray[np.intp], other: NDArray[np.intp]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Share of each column's variance that ``index`` explains beyond ``other``, and its F-test p value.

    The share is of the total variance (a semi-partial R squared), from the additive two-factor model.
    """
    X = np.asarray(values, dtype=np.float64)
    X = X - X.mean(0)
    total = np.maximum((X**2).sum(0), np.finfo(float).tiny)

    def unexplained(design: sparse.csr_array) -> tuple[NDArray[np.float64], int]:
        gram = (design.T @ design).toarray()
        cross = np.asarray(design.T @ X)
        inverse = np.linalg.pinv(gram, hermitian=True)
        return np.maximum(total - (cross * (inverse @ cross)).sum(0), 0.0), int(np.linalg.matrix_rank(gram))

    small, rank_small = unexplained(one_hot(other))
    large, rank_large = unexplained(sparse.csr_array(sparse.hstack([one_hot(index), one_hot(other)])))
    gained, left = rank_large - rank_small, len(X) - rank_large
    if gained <= 0 or left <= 0:
        return np.zeros(X.shape[1]), np.ones(X.shape[1])
    f = ((small - large) / gained) / np.maximum(large / left, np.finfo(float).tiny)
    return np.maximum(small - large, 0) / total, np.asarray(stats.f.sf(np.maximum(f, 0), gained, left))
