"""Dictionaries to hold a dictionary against: nulls that learned nothing, and what a user would take instead.

All have one face: fitted to training rows of an embedding (or of expression), they turn any rows into non-negative codes
with at most as many columns as the dictionary in question has features.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from cellprism.data.counts import counts_behind
from cellprism.errors import InputError
from cellprism.sae.config import SAEConfig
from cellprism.sae.controls import Part, partly_trained, trained_on_shuffled, untrained
from cellprism.sae.fit import default_config
from cellprism.stats.decompositions import independent_axes, nonnegative_parts, principal_axes
from cellprism.stats.nulls import covariance_directions

__all__ = ["RIVALS", "STANDARD", "Dictionary", "Rival", "fit_rival"]

Encode = Callable[[Any], sp.csr_array]

_GENES = 2_000
_DRAWS = 5
_DRVI_DIMENSIONS, _DRVI_EPOCHS = 32, 100


@dataclass(frozen=True)
class Dictionary:
    """Features that any cells can be read with."""

    name: str
    width: int
    """Candidates."""
    encode: Encode
    """Rows of an embedding, or of expression -> codes (cells, width), CSR, float32, non-negative."""


@dataclass(frozen=True)
class Rival:
    """A way to features that is not the dictionary in question."""

    words: str
    """What it is called in tables and pictures."""
    kind: Literal["null", "rival"]
    """A null learned nothing, or nothing that matters; a rival is what a user would take instead."""
    of: Literal["embedding", "expression"]
    """What it is fitted to."""
    cost: Literal["cheap", "trained", "slow"]
    """Well under a second on 3,000 cells, a training, or more."""
    fit: Callable[..., Encode]
    """Training rows, candidates at most, mean active features a cell, seed, and of the trained options of training."""
    draws: int = 1
    """Times that it is drawn, where its single features hang on the draw and cost little: they are told in the mean."""
    package: str | None = None
    """Module of the optional package that it needs: such a rival is fitted only where it is asked for by name."""

    @property
    def installed(self) -> bool:
        """Whether it can be fitted here."""
        return self.package is None or find_spec(self.package) is not None


def fit_rival(
    name: str, train: Any, width: int, *, active: float | None = None, seed: int = 0, **training: Any
) -> Dictionary:
    """Fit a rival.

    Parameters
    ----------
    name
        One of :data:`RIVALS`.
    train
        (cells, d) training rows of the embedding, or (cells, genes) of log expression, dense or sparse, for those that
        take it (:attr:`Rival.of`).
    width
        Candidates at most, those of the dictionary in question. Axes give fewer where the embedding has fewer; single
        genes are more: the 2,000 that vary most, since whoever looks for one looks at all of these. DRVI has its own 32
        dimensions and both signs of them, whatever the width.
    active
        Mean active features a cell that sparse rivals are held to; None = an eighth of the width.
    seed
        Of everything random in it.
    training
        Options of :func:`cellprism.fit` for those that are trained; without effect on the others.

    Raises
    ------
    InputError
        If there is no such rival or no candidate, or the optional package of one is missing.

    Examples
    --------
    >>> from cellprism.evaluation.rivals import fit_rival
    >>> fit_rival("pca", X, 16).encode(X).shape[0]
    200
    """
    if name not in RIVALS:
        raise InputError("a rival must be one of " + ", ".join(RIVALS), repr(name), "correct the name")
    if width < 1:
        raise InputError("a rival needs a candidate or more", f"width {width}", "give the dictionary's width")
    options = training if RIVALS[name].cost == "trained" else {}
    encode = RIVALS[name].fit(train, width, width / 8 if active is None else active, seed, **options)
    return Dictionary(name, encode(train[:1]).shape[1], encode)


def _codes(values: Any) -> sp.csr_array:
    found = sp.csr_array(values, dtype=np.float32)
    found.eliminate_zeros()
    found.sort_indices()
    return found


def _both_signs(scores: NDArray[Any], width: int) -> sp.csr_array:
    """Each column above zero, and below, side by side."""
    sides = np.stack([np.maximum(scores, 0), np.maximum(-scores, 0)], axis=2).reshape(len(scores), -1)
    return _codes(sides[:, :width])


def _random_directions(train: Any, width: int, active: float, seed: int) -> Encode:
    mean = np.mean(train, axis=0, dtype=np.float64)
    centred = np.asarray(train, dtype=np.float64) - mean
    directions = covariance_directions(centred, -(-width // 2), np.random.default_rng(seed))
    return lambda X: _both_signs((np.asarray(X, dtype=np.float64) - mean) @ directions, width)


def _principal(train: Any, width: int, active: float, seed: int) -> Encode:
    read = principal_axes(train, -(-width // 2), seed)
    return lambda X: _both_signs(read(X), width)


def _independent(train: Any, width: int, active: float, seed: int) -> Encode:
    read = independent_axes(train, -(-width // 2), seed)
    return lambda X: _both_signs(read(X), width)


def _most_variable(train: Any) -> NDArray[np.intp]:
    """Columns of the genes that vary most."""
    cells = sp.csr_array(train)
    mean = np.asarray(cells.mean(axis=0)).ravel()
    variance = np.asarray(cells.multiply(cells).mean(axis=0)).ravel() - mean**2
    return np.sort(np.argsort(-variance, kind="stable")[:_GENES])


def _single_genes(train: Any, width: int, active: float, seed: int) -> Encode:
    genes = _most_variable(train)
    return lambda X: _codes(sp.csr_array(X)[:, genes].maximum(0))


def _parts_of_expression(train: Any, width: int, active: float, seed: int) -> Encode:
    read = nonnegative_parts(train, width, seed, max_iter=200, tol=1e-4, transform_iter=200)
    return lambda X: _codes(read(X))


def _drvi(train: Any, width: int, active: float, seed: int) -> Encode:
    from cellprism.embed.drvi import latent_readout

    genes = _most_variable(train)

    def counts(log: Any) -> sp.csr_array:
        return counts_behind(sp.csr_array(log))[:, genes]  # whole cells first: all genes of a cell tell its unit

    read = latent_readout(counts(train), n_latent=_DRVI_DIMENSIONS, epochs=_DRVI_EPOCHS, seed=seed)
    return lambda X: _both_signs(read(counts(X)), 2 * _DRVI_DIMENSIONS)


def _plain_config(train: NDArray[Any], width: int, active: float) -> SAEConfig:
    """The default SAE of an embedding at another width and number of active features, without prefixes."""
    k = int(np.clip(round(active), 1, width))
    return replace(default_config(train), width=width, k=k, matryoshka=())


def _untrained(train: Any, width: int, active: float, seed: int) -> Encode:
    return untrained(train, _plain_config(train, width, active), seed=seed).encode


def _shuffled(train: Any, width: int, active: float, seed: int, **training: Any) -> Encode:
    return trained_on_shuffled(train, _plain_config(train, width, active), seed=seed, **training).encode


def _partly(part: Part) -> Callable[..., Encode]:
    def fit(train: Any, width: int, active: float, seed: int, **training: Any) -> Encode:
        return partly_trained(train, _plain_config(train, width, active), part, seed=seed, **training).encode

    return fit


RIVALS: Mapping[str, Rival] = {
    "random": Rival("random directions", "null", "embedding", "cheap", _random_directions, _DRAWS),
    "untrained": Rival("untrained SAE", "null", "embedding", "cheap", _untrained, _DRAWS),
    "shuffled": Rival("SAE of the shuffled embedding", "null", "embedding", "trained", _shuffled),
    "frozen_decoder": Rival("frozen decoder", "null", "embedding", "trained", _partly("decoder")),
    "soft_frozen_decoder": Rival("soft-frozen decoder", "null", "embedding", "trained", _partly("soft_decoder")),
    "frozen_encoder": Rival("frozen encoder", "null", "embedding", "trained", _partly("encoder")),
    "pca": Rival("principal axes, both signs", "rival", "embedding", "cheap", _principal),
    "ica": Rival("independent axes, both signs", "rival", "embedding", "cheap", _independent),
    "gene": Rival("best single gene", "rival", "expression", "cheap", _single_genes),
    "nmf": Rival("NMF of the expression", "rival", "expression", "slow", _parts_of_expression),
    "drvi": Rival("DRVI of the expression, both signs", "rival", "expression", "slow", _drvi, package="drvi"),
}
"""Every rival by its name in the tables."""

STANDARD = tuple(name for name, rival in RIVALS.items() if rival.package is None)
"""Those that need no optional package: what is held against where nobody names rivals."""
