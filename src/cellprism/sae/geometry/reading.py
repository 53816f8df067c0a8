"""An SAE from the geometry of the embedding: unmix, find the levels, sharpen or denoise, add kinds of cells, assemble."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from cellprism.sae.activation import JumpReLU
from cellprism.sae.config import SAEConfig
from cellprism.sae.geometry.coding import code_sparsely, least_squares
from cellprism.sae.geometry.kinds import MOST_KINDS, Kinds, broad, other_sides, read_kinds
from cellprism.sae.geometry.levels import Levels, fit_levels
from cellprism.sae.geometry.sharpen import sharpen
from cellprism.sae.geometry.unmix import unmix
from cellprism.sae.model import SAE
from cellprism.sae.scaling import AffineScaling, fit_scaling

__all__ = ["SHARP", "Geometry", "assemble", "filled", "read_geometry", "reading_history", "with_kinds"]

SHARP = 0.03
"""Width of the zero level, relative to the on level, under which an embedding counts as free of noise."""

_LEFT, _GROUP = 0.03, 0.1
"""Leftovers explain less than this share in all, and are at least this share of the readouts."""

_AROUND, _RISE, _STEEPER = 4, 1.5, 2.0
"""Readouts on either side of a step in what readouts explain, the ratio of their geometric means from which on it is one
(a single gap is often as wide between two leftovers; it was 1.6 to 4.4 at leftovers, elsewhere at most 1.4), and how many
times as steep as the usual slope it is."""

_BLURRED, _PILOT = 0.06, 250
"""Zeros that so many steps of sharpening leave as blurred as this (embeddings without noise: 0.01) will not be sharp after
more."""

_RIDGE = 0.01
"""Ridge of the dictionary of programs and kinds, relative to the codes' mean square. Nested kinds say much of the same; without
it directions of the dictionary are several times as long and cancel each other, at the same held-out error."""

_ACROSS = 2
"""Programs that kinds of cells are looked for across, the strongest of those that are on and off in many cells."""

_BATCH = 500  # cells
_BATCHES = ((2.0, 100), (1.0, 500), (0.5, 40))
"""Factors on the noise seen at the zeros, and batches of sparse coding at each. What cells leave unexplained is more than
that noise as long as the axes are rough; once they stand, a sharper posterior reads more where programs share a
dimension."""

_PASSES = 100
"""Passes over the cells that all batches together make at most: where cells are few, more of them change nothing."""


class Geometry(NamedTuple):
    """Readouts, levels and dictionary of an embedding."""

    mean: NDArray[np.float64]
    """(d,)."""
    readout: NDArray[np.float64]
    """(p, d): ``u = readout . (x - mean) + offset`` is 0 where the feature is off and positive where on."""
    offset: NDArray[np.float64]
    """(p,)."""
    threshold: NDArray[np.float64]
    """(p,) value of u from which on the feature is on."""
    dictionary: NDArray[np.float64]
    """(p, d)."""
    intercept: NDArray[np.float64]
    """(d,)."""
    blur: float
    """Median width of the zero level relative to the on level: 0 without noise."""
    steps: tuple[str, ...]
    """What was done, in words."""
    kinds: int = 0
    """So many of the last features mark kinds of cells, other sides of programs among them; those before them are programs."""

    def codes(self, X: NDArray[np.floating]) -> NDArray[np.float32]:
        """(cells, d) -> dense codes (cells, p)."""
        u = (np.asarray(X, dtype=np.float64) - self.mean) @ self.readout.T + self.offset
        return np.asarray(u * (u > self.threshold), dtype=np.float32)


def read_geometry(X: NDArray[np.floating], *, seed: int = 0, check: Callable[[], None] = lambda: None) -> Geometry:
    """Read programs off an embedding without training.

    Joint diagonalisation of the regions' covariances gives the axes. Where a likelihood with a sharp zero then finds
    zeros of less than 3 % blur, the embedding is (almost) a noise-free mixture and that solution stands. Else, unless the
    axes' own zeros are as sharp, there is noise: its variance follows from the blur of the zeros, and sparse coding under
    that noise refines the dictionary, whose posterior codes a linear readout then learns to predict.

    Parameters
    ----------
    X
        (cells, d) training cells.
    seed
        Seed of regions, starts and batches.
    check
        Called now and then; what it raises ends the reading.

    Returns
    -------
    Geometry
        At most as many features as the embedding has directions of variance, and at most 200.
    """
    return _without_leftovers(_read(X, seed, check), np.asarray(X, dtype=np.float64), seed)


def with_kinds(geometry: Geometry, X: NDArray[np.floating], most: int, *, seed: int = 0) -> Geometry:
    """Programs, behind them the other sides of those that are on and off in many cells, and behind these kinds of cells.

    In real embeddings programs and kinds are different things: a response runs through several kinds of cells, and a kind is
    seldom one program. All read the same embedding, so the dictionary is fitted to them together
    (:mod:`~cellprism.sae.geometry.kinds`).

    Parameters
    ----------
    geometry
        Programs, from :func:`read_geometry`.
    X
        (cells, d) training cells.
    most
        Other sides and kinds at most.
    seed
        Of the samples of cells that kinds are found in.
    """
    codes = geometry.codes(X)
    centred = np.asarray(X, dtype=np.float64) - geometry.mean
    sides = other_sides(Kinds(geometry.readout, geometry.offset - geometry.threshold), centred, codes)
    sides = Kinds(sides.readout[:most], sides.offset[:most])
    explained = np.square(codes).mean(axis=0) * np.square(geometry.dictionary).sum(axis=1)
    responses = sorted(broad(codes), key=lambda program: -explained[program])[:_ACROSS]
    there = np.hstack([codes, sides.codes(centred)])
    at_most = min(MOST_KINDS, most - len(sides.offset))
    kinds = read_kinds(X, geometry.mean, at_most, there, across=codes[:, responses] > 0, seed=seed)
    n = len(sides.offset) + len(kinds.offset)
    both = geometry._replace(
        readout=np.vstack([geometry.readout, sides.readout, kinds.readout]),
        offset=np.concatenate([geometry.offset, sides.offset, kinds.offset]),
        threshold=np.concatenate([geometry.threshold, np.zeros(n)]),
        steps=(
            *geometry.steps,
            f"other sides of {len(sides.offset)} of them and {len(kinds.offset)} kinds of cells that two samples agree on",
        ),
        kinds=n,
    )
    if n:
        dictionary, intercept = least_squares(both.codes(X), centred, _RIDGE)
        both = both._replace(dictionary=dictionary, intercept=intercept)
    return both


def _read(X: NDArray[np.floating], seed: int, check: Callable[[], None]) -> Geometry:
    found = unmix(X, seed=seed)
    check()
    centred = np.asarray(X, dtype=np.float64) - found.mean
    levels = fit_levels(centred @ found.readout.T, seed=seed)
    steps = [f"joint diagonalisation in {found.iterations} steps, zeros blurred by {100 * levels.blur:.1f} %"]
    current = _settle(centred, found.mean, found.readout, levels, tuple(steps))
    if levels.blur < _BLURRED or _sharpened(centred, current, levels, seed, _PILOT).blur < _BLURRED:
        # Zeros may be sharp and programs that are on in the same regions mixed all the same; there half the steps do.
        check()
        sharper = _sharpened(centred, current, levels, seed, 1_000 if levels.blur >= SHARP / 3 else 500)
        if sharper.blur < SHARP:
            return sharper
    return _denoised(centred, current, levels, found.regions, seed, check) if levels.blur >= SHARP else current


def _without_leftovers(geometry: Geometry, X: NDArray[np.float64], seed: int) -> Geometry:
    """Drop readouts of leftover directions.

    An embedding with more dimensions than programs has small directions besides (of an autoencoder: what its nonlinearity
    bends), and unmixing gives each an axis. They stand apart: what readouts explain, in order, rises by a step above them,
    and their zeros are not sharp.
    """
    codes = geometry.codes(X)
    explained = codes.var(axis=0, dtype=np.float64) * np.square(geometry.dictionary).sum(axis=1)
    order = np.argsort(explained)
    first = _last_step(explained[order])
    levels = fit_levels((X - geometry.mean) @ geometry.readout[order[:first]].T, seed=seed) if first else None
    if levels is None or levels.blur < SHARP:
        return geometry
    kept = np.sort(order[first:])
    dictionary, intercept = least_squares(codes[:, kept], X - geometry.mean)
    return geometry._replace(
        readout=geometry.readout[kept],
        offset=geometry.offset[kept],
        threshold=geometry.threshold[kept],
        dictionary=dictionary,
        intercept=intercept,
        steps=(*geometry.steps, f"{len(order) - len(kept)} readouts of leftover directions dropped"),
    )


def _last_step(explained: NDArray[np.float64]) -> int:
    """Number of leftovers among readouts in the order of what they explain; 0 where no step sets them apart."""
    least, most = max(_AROUND, round(_GROUP * len(explained))), len(explained) - _AROUND
    if least > most:
        return 0
    logs, below = np.log(explained.clip(1e-300)), np.cumsum(explained) / max(explained.sum(), 1e-300)
    rise = np.zeros(most + 1)
    for n in range(_AROUND, most + 1):
        rise[n] = logs[n : n + _AROUND].mean() - logs[n - _AROUND : n].mean()
    bar = max(np.log(_RISE), _STEEPER * float(np.median(rise[_AROUND:])))
    steps = least + np.flatnonzero((rise[least:] >= bar) & (below[least - 1 : most] < _LEFT))
    if not len(steps):
        return 0
    last = np.split(steps, np.flatnonzero(np.diff(steps) > 1) + 1)[-1]
    return int(last[rise[last].argmax()])


def _settle(
    centred: NDArray[np.float64],
    mean: NDArray[np.float64],
    readout: NDArray[np.float64],
    levels: Levels,
    steps: tuple[str, ...],
) -> Geometry:
    """Turn the readouts to their on side, put their zero at 0, and regress the embedding on the codes."""
    turned, offset, threshold = readout * levels.sign[:, None], -levels.zero, levels.threshold()
    u = centred @ turned.T + offset
    dictionary, intercept = least_squares(u * (u > threshold), centred)
    return Geometry(mean, turned, offset, threshold, dictionary, intercept, levels.blur, steps)


def _sharpened(centred: NDArray[np.float64], start: Geometry, levels: Levels, seed: int, steps: int) -> Geometry:
    scaling = fit_scaling(centred, "whiten")
    forward = scaling.forward.astype(np.float64)[:, ::-1][:, : len(start.readout)]
    white = centred @ forward
    sd = white.std(axis=0)
    white, forward = white / sd, forward / sd
    scale = levels.scale
    W0 = start.readout @ np.linalg.pinv(forward).T / scale[:, None]
    W, _ = sharpen(white, W0, start.offset / scale, steps=steps, seed=seed)
    readout = W @ forward.T
    new = fit_levels(centred @ readout.T, seed=seed)
    word = f"sharpened, zeros blurred by {100 * new.blur:.1f} %"
    return _settle(centred, start.mean, readout, new, (*start.steps, word))


def _denoised(
    centred: NDArray[np.float64],
    start: Geometry,
    levels: Levels,
    regions: NDArray[np.integer],
    seed: int,
    check: Callable[[], None],
) -> Geometry:
    # A readout's zero level holds nothing but noise: variance = noise * |readout|^2.
    noise = float(np.median(levels.zero_sd**2 / np.square(start.readout).sum(axis=1)))
    current, batch = start, min(_BATCH, len(centred))
    fewer = min(1.0, _PASSES * len(centred) / (batch * sum(batches for _, batches in _BATCHES)))
    for factor, batches in _BATCHES:
        codes, steps = current.codes(centred + start.mean), max(1, round(fewer * batches))
        coding = code_sparsely(
            centred, codes, factor * noise, regions=regions, iterations=steps, batch=batch, seed=seed, check=check
        )  # fmt: skip
        weights, _ = least_squares(centred, coding.expected)
        found = fit_levels(centred @ weights, seed=seed)
        current = _settle(centred, start.mean, weights.T, found, start.steps)
    word = f"sparse coding with noise of {noise:.3g} a dimension, zeros blurred by {100 * current.blur:.1f} %"
    return current._replace(steps=(*start.steps, word))


def assemble(geometry: Geometry, config: SAEConfig, X: NDArray[np.floating]) -> SAE:
    """SAE of a geometry: jumprelu with a threshold a feature, on the globally scaled embedding.

    Parameters
    ----------
    geometry
        From :func:`read_geometry`, or :func:`with_kinds`.
    config
        jumprelu, ``pre_bias="none"``. Its width is the number of features that are kept at most, those that explain most; the
        SAE is as wide as there are features.
    X
        (cells, d) training cells, for the scaling.
    """
    scaling = fit_scaling(X, config.scaling, config.whiten_power)
    forward, backward = scaling.forward.astype(np.float64), scaling.backward.astype(np.float64)
    shift = (scaling.mean - geometry.mean) @ geometry.readout.T + geometry.offset
    encoder, decoder = geometry.readout @ backward.T, geometry.dictionary @ forward
    norm = np.linalg.norm(decoder, axis=1).clip(1e-8)
    explained = np.square(geometry.codes(X)).mean(axis=0) * norm**2
    kept = np.sort(np.argsort(-explained, kind="stable")[: config.width])
    kinds = int((kept >= len(norm) - geometry.kinds).sum())
    k = None if config.k is None else min(config.k, len(kept))
    made = dataclasses.replace(config, width=len(kept), kinds=kinds, guided=0, k=k)
    bias = (geometry.intercept + geometry.mean - scaling.mean) @ forward
    return filled(made, scaling, encoder[kept], shift[kept], geometry.threshold[kept], decoder[kept], bias)


def filled(
    config: SAEConfig,
    scaling: AffineScaling,
    encoder: NDArray[np.float64],
    encoder_bias: NDArray[np.float64],
    threshold: NDArray[np.float64],
    dictionary: NDArray[np.float64],
    decoder_bias: NDArray[np.float64],
) -> SAE:
    """A jumprelu SAE of weights that were read off; the lengths of the dictionary's rows go into the codes.

    Parameters
    ----------
    config, scaling
        Of the SAE.
    encoder, encoder_bias, threshold
        (width, r), (width,), (width,): pre-activations of the scaled embedding, and from where on a feature is on.
    dictionary, decoder_bias
        (width, r), (r,) in the scaled embedding.
    """
    norm = np.linalg.norm(dictionary, axis=1).clip(1e-8)
    sae = SAE(config, scaling)
    with torch.no_grad():
        for parameter, values in (
            (sae.encoder, encoder * norm[:, None]),
            (sae.encoder_bias, encoder_bias * norm),
            (sae.decoder, dictionary / norm[:, None]),
            (sae.decoder_bias, decoder_bias),
        ):
            parameter.copy_(torch.as_tensor(values, dtype=torch.float32))
        if isinstance(sae.activation, JumpReLU):
            cut = (threshold * norm).clip(1e-6)
            sae.activation.log_threshold.copy_(torch.as_tensor(np.log(cut), dtype=torch.float32))
    return sae.eval()


@torch.no_grad()
def reading_history(sae: SAE, X: NDArray[np.floating], held: NDArray[np.floating], seed: int) -> pd.DataFrame:
    """One row in the columns of a training history: the SAE as it was read off (errors in scaled units)."""

    def error(cells: NDArray[np.floating]) -> tuple[float, float, float, float]:
        x = sae.scale(torch.as_tensor(np.asarray(cells, dtype=np.float32)))
        codes = sae.activation(sae.pre_activations(x))
        mse = float((x - sae.reconstruct(codes)).square().mean())
        total = float((x - x.mean(0)).square().mean())
        active = codes > 0
        return mse, total, float(active.sum(1).float().mean()), float((~active.any(0)).float().mean())

    train, _, _, _ = error(X[:20_000])
    mse, total, l0, dead = error(held[:20_000])
    return pd.DataFrame(
        {
            "seed": [seed],
            "step": [0],
            "loss": [train],
            "reconstruction": [train],
            "penalty": [0.0],
            "auxiliary": [0.0],
            "l0": [l0],
            "dead_share": [dead],
            "holdout_mse": [mse],
            "explained_variance": [1 - mse / max(total, 1e-12)],
        }
    )
