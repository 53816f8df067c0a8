"""Kinds of cells: hierarchies of groups of an embedding, and a linear readout of each that other cells confirm."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import leaves_list, ward
from scipy.stats import norm

from cellprism.sae.correlation import code_correlation
from cellprism.sae.geometry.unmix import whitened
from cellprism.sae.scaling import fit_scaling

__all__ = ["MOST_KINDS", "Kinds", "broad", "other_sides", "read_kinds"]

MOST_KINDS = 60
"""Kinds at most, the clearest."""

_LOOKED_AT = 20_000
"""Cells that are looked at, at most."""

_SPLITS = 31
"""Splits of a tree from the root down that are looked at, each of which gives two kinds."""

_GROUPED, _SHARE = 4_000, 0.8
"""Cells of a tree at most (it takes the square of their number), and their share of all: two samples are not the same cells."""

_RETURNS = 0.7
"""Correlation of a kind with its best match from the other sample from which on it is kept. Of Gaussian noise in 30 dimensions
nothing returns so well, in 10 dimensions a fifth: where there are few dimensions, pieces of a cloud are alike by themselves. In
real embeddings of 30 to 50 dimensions the mean is 0.75 to 0.9."""

_CLEAR, _FAINT, _ENOUGH = 0.3, 0.1, 20
"""Clearness among the cells of the node above from which on a kind is one. Where a tree splits a normal cloud of 3,000 cells it
is 0.15 at the ninth decile and 0.29 at most, where it tells true groups apart 0.8 or more; on seven real embeddings by principal
components 0.3 reads labels as well as no bound does, with 22 features fewer. A continuum has few kinds so clear (DGD of a marrow: ten);
where there are fewer than enough, the clearest of the faint ones fill them up."""

_SAME = 0.85
"""Correlation with a feature that is there already from which on a kind is left out."""

_BROAD = 0.2
"""Share of the cells in which a program is on, and off, at least, for its other side to be a kind of cell."""

_FEWEST, _SMALLEST = 10, 0.005
"""Cells of the smallest kind in a sample, and their share of it."""


class Kinds(NamedTuple):
    """Linear readouts of kinds of cells."""

    readout: NDArray[np.float64]
    """(p, d): ``u = readout . (x - mean) + offset`` is positive on the kind's side; for a kind of :func:`read_kinds` it is 0
    midway between the kind's mean and that of all other cells, and its standard deviation is 1."""
    offset: NDArray[np.float64]
    """(p,)."""

    def codes(self, centred: NDArray[np.floating]) -> NDArray[np.float64]:
        """(cells, d) less the mean -> codes (cells, p)."""
        return np.maximum(np.asarray(centred, dtype=np.float64) @ self.readout.T + self.offset, 0)


def broad(codes: NDArray[np.floating]) -> NDArray[np.intp]:
    """Columns of codes (cells, programs) that are on, and off, in a fifth of the cells or more."""
    share = (codes > 0).mean(axis=0)
    return np.flatnonzero((share >= _BROAD) & (share <= 1 - _BROAD))


def other_sides(programs: Kinds, centred: NDArray[np.floating], codes: NDArray[np.floating]) -> Kinds:
    """Cells in which a program is off, where both on and off are common: what is not stimulated is a kind of cell as well.

    Parameters
    ----------
    programs
        Readouts of the programs, zero at their thresholds.
    centred
        (cells, d) training cells, less their mean.
    codes
        (cells, programs) of these cells.
    """
    of = broad(codes)
    sides = Kinds(-programs.readout[of], -programs.offset[of])
    kept = _distinct(sides.codes(centred), list(range(len(of))), codes)
    return Kinds(sides.readout[kept], sides.offset[kept])


def read_kinds(
    X: NDArray[np.floating],
    mean: NDArray[np.float64],
    most: int,
    there: NDArray[np.floating],
    *,
    across: NDArray[np.bool_] | None = None,
    seed: int = 0,
) -> Kinds:
    """Kinds of cells that two samples of an embedding agree on.

    Ward's method (Ward 1963) joins the cells of a sample, each principal axis divided by the root of its standard deviation:
    unscaled, the few largest axes alone would tell kinds apart; whitened, noise would. Every node of the upper tree is a
    kind, so that broad kinds stand beside the narrow ones within them. Its readout is Fisher's linear discriminant against
    all other cells. Where a response parts the cells before their types do, no node holds the type on both sides of it:
    the cells are therefore joined again for each column of ``across``, without the axis that tells its two sides apart.

    Two samples are grouped; a kind that the other sample's trees do not find again is left out. Of the others those are taken
    that are clear among the cells of the node above them: their readout falls into two groups there, more than one normal
    distribution would (where few are, fainter ones as well). The clearest come first, and none is taken that says the same as a
    clearer one, or as a feature that is there already.

    Parameters
    ----------
    X
        (cells, d) training cells.
    mean
        (d,) their mean.
    most
        Kinds at most.
    there
        (cells, features) codes of the features that are there already.
    across
        (cells, responses) whether a cell shows a response that kinds may run across; None = no response.
    seed
        Of the two samples.

    Returns
    -------
    Kinds
        From the broadest to the narrowest; none where nothing returns.
    """
    if len(X) < 2 * _FEWEST:
        return Kinds(np.zeros((0, X.shape[1])), np.zeros(0))
    rng = np.random.default_rng(seed)
    cells = np.sort(rng.permutation(len(X))[:_LOOKED_AT])
    centred = np.asarray(X[cells], dtype=np.float64) - mean
    forward, white = whitened(centred, fit_scaling(centred, "whiten"))
    half = centred @ fit_scaling(centred, "whiten", 0.5).forward.astype(np.float64)[:, ::-1][:, : white.shape[1]]
    views = [half] + ([] if across is None else [_without(half, side) for side in across[cells].T])
    size = min(_GROUPED, int(_SHARE * len(cells)))
    samples = [np.sort(rng.permutation(len(cells))[:size]) for _ in range(2)]
    weights, offset, clear = [], [], []
    for rows in samples:
        nodes, above = (np.vstack(parts) for parts in zip(*(_nodes(view[rows]) for view in views), strict=True))
        readout, zero = _discriminants(white[rows], nodes)
        weights.append(readout)
        offset.append(zero)
        clear.append(_clearness(white[rows] @ readout.T + zero, above.T))
    codes = np.maximum(white @ np.concatenate(weights).T + np.concatenate(offset), 0)
    first = len(offset[0])
    again = code_correlation(codes[:, :first], codes[:, first:]).toarray()
    returns = np.concatenate([again.max(axis=1, initial=0.0), again.max(axis=0, initial=0.0)]) >= _RETURNS
    clearness = np.concatenate(clear)
    clearest_first = [i for i in np.argsort(-clearness, kind="stable") if returns[i] and clearness[i] >= _FAINT]
    kept = np.array(_distinct(codes, clearest_first, there[cells])[:most], dtype=np.intp)
    kept = kept[: max(int((clearness[kept] >= _CLEAR).sum()), _ENOUGH)]
    kept = kept[np.argsort(-(codes[:, kept] > 0).mean(axis=0), kind="stable")]
    return Kinds(np.concatenate(weights)[kept] @ forward.T, np.concatenate(offset)[kept])


def _without(points: NDArray[np.float64], side: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Points without the axis between the means of two sides; as they are where one side is empty."""
    if side.all() or not side.any():
        return points
    axis = points[side].mean(axis=0) - points[~side].mean(axis=0)
    axis /= np.linalg.norm(axis).clip(1e-12)
    return points - np.outer(points @ axis, axis)


def _clearness(u: NDArray[np.float64], among: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Variance between the two sides of zero, beyond that of a normal distribution cut at the same share.

    1 where all cells of a side are alike, 0 for a normal distribution; of the cells ``among`` (cells, p) alone.
    """
    n = among.sum(axis=0)
    on = among & (u > 0)
    share = (on.sum(axis=0) / n).clip(1e-6, 1 - 1e-6)
    mean = (u * among).sum(axis=0) / n
    apart = ((u * on).sum(axis=0) / n - share * mean) / (share * (1 - share))
    between = share * (1 - share) * apart**2 / ((u - mean) ** 2 * among).sum(axis=0).clip(1e-12) * n
    normal = norm.pdf(norm.ppf(share)) ** 2 / (share * (1 - share))
    return np.asarray((between - normal) / (1 - normal), dtype=np.float64)


def _nodes(points: NDArray[np.float64]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Members of the children of the topmost splits of Ward's tree, and of the node above each; both (nodes, cells).

    Children of few cells are left out.
    """
    n = len(points)
    least = max(_FEWEST, _SMALLEST * n)
    tree = ward(points)
    leaves, count = leaves_list(tree), np.append(np.ones(n, dtype=np.intp), tree[:, 3].astype(np.intp))
    # In the order of the leaves the cells of a node stand side by side, those of its first child first.
    first = {2 * n - 2: 0}
    found = []
    for split in range(2 * n - 2, max(n, 2 * n - 1 - _SPLITS) - 1, -1):
        left, right = tree[split - n, :2].astype(np.intp)
        first[left], first[right] = first[split], first[split] + count[left]
        found += [(child, split) for child in (left, right) if least <= count[child] <= n - least]
    members, above = np.zeros((2, len(found), n), dtype=np.bool_)
    for node, (child, split) in enumerate(found):
        members[node, leaves[first[child] : first[child] + count[child]]] = True
        above[node, leaves[first[split] : first[split] + count[split]]] = True
    return members, above


def _discriminants(
    white: NDArray[np.float64], groups: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights (groups, axes) and offsets of Fisher's discriminant of each group against all other cells.

    In whitened coordinates the covariance of all cells is the identity, so that the direction is the difference of the means.
    """
    count = groups.sum(axis=1)[:, None]
    inside = groups @ white / count
    outside = (white.sum(axis=0) - groups @ white) / (len(white) - count)
    weights = inside - outside
    weights /= np.linalg.norm(weights, axis=1, keepdims=True).clip(1e-12)
    return weights, -((inside + outside) / 2 * weights).sum(axis=1)


def _distinct(codes: NDArray[np.float64], order: list[int], there: NDArray[np.floating]) -> list[int]:
    """Those of the columns, in this order, that are not the same as one before them or one that is there."""
    same = code_correlation(codes[:, order], np.hstack([there, codes[:, order]])).toarray() >= _SAME
    known = list(range(there.shape[1]))
    kept = []
    for position, column in enumerate(order):
        if not same[position, known].any():
            known.append(there.shape[1] + position)
            kept.append(column)
    return kept
