"""Moves that mean nothing, as long as the one under test."""

from __future__ import annotations

from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from cellprism.errors import InputError
from cellprism.steering.edit import Dictionary

__all__ = ["NullKind", "feature_directions", "null_moves", "random_directions"]

NullKind = Literal["covariance", "pairs", "features"]


def random_directions(
    kind: NullKind, n: int, Z: NDArray[Any], rng: np.random.Generator, directions: NDArray[Any] | None = None
) -> NDArray[np.float32]:
    """Unit directions of the embedding.

    Parameters
    ----------
    kind
        ``covariance``: Gaussian with the covariance of ``Z``, so that most of the length lies where cells vary
        (isotropic directions point out of the data and are beaten too easily). ``pairs``: from one random cell to
        another. ``features``: decoder directions of other features, with a random sign kept positive.
    n
        How many; ``features`` draws with replacement.
    Z
        (cells, d) embedding.
    rng
        Source of randomness.
    directions
        (features, d), for ``features``.

    Returns
    -------
    ndarray
        (n, d) float32, rows of length one.
    """
    Z = np.asarray(Z, dtype=np.float64)
    if kind == "covariance":
        centred = Z - Z.mean(0)
        # A random combination of centred cells has exactly their covariance; no root of it is needed.
        out = rng.standard_normal((n, Z.shape[0])) @ centred
    elif kind == "pairs":
        a, b = rng.integers(0, Z.shape[0], (2, n))
        out = Z[a] - Z[np.where(a == b, (b + 1) % Z.shape[0], b)]
    elif kind == "features":
        if directions is None or len(directions) == 0:
            raise InputError("random features need other live features", "none", "leave this null out")
        out = np.asarray(directions, dtype=np.float64)[rng.integers(0, len(directions), n)]
    else:
        raise InputError("a null must be covariance, pairs or features", repr(kind), "correct the name")
    length = np.linalg.norm(out, axis=1, keepdims=True)
    return cast("NDArray[np.float32]", (out / np.where(length > 0, length, 1.0)).astype(np.float32))


def null_moves(move: NDArray[Any], directions: NDArray[Any]) -> list[NDArray[np.float32]]:
    """The move of each cell with its own length and sign kept, along each of the random directions.

    Parameters
    ----------
    move
        (cells, d) displacements of the edit.
    directions
        (n, d) unit directions.

    Returns
    -------
    list of ndarray
        n displacements, each (cells, d). A cell that the edit moves against the common direction is moved against
        the random one, so that signs within an edit stay as they are.
    """
    move = np.asarray(move, dtype=np.float32)
    mean = move.mean(0)
    sign = np.where(move @ mean < 0, -1.0, 1.0).astype(np.float32)
    length = np.linalg.norm(move, axis=1) * sign
    return [length[:, None] * u[None, :] for u in np.asarray(directions, dtype=np.float32)]


def feature_directions(
    sae: Dictionary, width: int, features: NDArray[np.intp], rng: np.random.Generator, most: int = 500
) -> NDArray[np.float32]:
    """Decoder directions of (a sample of) features, (features, d)."""
    if features.size > most:
        features = np.sort(rng.choice(features, most, replace=False))
    one = sparse.csr_array(
        (np.ones(features.size, np.float32), features, np.arange(features.size + 1)), shape=(features.size, width)
    )
    nothing = sparse.csr_array((1, width), dtype=np.float32)
    return np.asarray(sae.decode(one) - sae.decode(nothing), dtype=np.float32)
