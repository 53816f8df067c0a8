"""What a sequencer adds: sampling noise, library size, dropout; and chromatin that follows the programs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cellprism.errors import InputError
from cellprism.numeric import numbers_checked

__all__ = ["Measurement", "peak_counts"]


@numbers_checked
@dataclass(frozen=True)
class Measurement:
    """How expression Y becomes counts; the default passes it through, as in the paper."""

    noise: Literal["none", "poisson", "nb"] = "none"
    """Sampling noise."""
    library_size: float | None = None
    """Median total count of a cell; None keeps each cell's own total of Y."""
    library_sd: float = 0.3
    """Standard deviation of the log of the library size; used where ``library_size`` is given."""
    theta: float = 10.0
    """Inverse dispersion of the negative binomial: variance = mean + mean^2 / theta."""
    dropout: float = 0.0
    """Share of the entries set to zero, at random."""

    def __post_init__(self) -> None:
        if self.noise not in ("none", "poisson", "nb"):
            raise InputError("`noise` must be none, poisson or nb", repr(self.noise), "choose one of the three")

    @property
    def exact(self) -> bool:
        """Whether X is Y itself."""
        return self.noise == "none" and self.library_size is None and self.dropout == 0

    def measure(self, Y: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
        """Measure cells.

        Parameters
        ----------
        Y
            Expression (cells, genes). Where anything is added to it, its small negative values count as zero.
        rng
            Source of the noise.

        Returns
        -------
        Counts (cells, genes); Y itself where nothing is added.
        """
        if self.exact:
            return Y
        mean = np.maximum(Y, 0).astype(np.float64)
        if self.library_size is not None:
            total = mean.sum(axis=1, keepdims=True)
            size = self.library_size * np.exp(rng.normal(0, self.library_sd, size=(len(Y), 1)))
            mean *= size / np.where(total > 0, total, 1)
        if self.noise == "nb":
            mean = rng.gamma(self.theta, mean / self.theta)
        counts = mean if self.noise == "none" else rng.poisson(mean)
        if self.dropout:
            counts = counts * (rng.random(Y.shape) >= self.dropout)
        return counts.astype(np.float32)


def peak_counts(
    X2: NDArray[np.float32],
    program_peak: NDArray[np.bool_],
    rates: NDArray[np.float64],
    rng: np.random.Generator,
    *,
    closed: float = 0.02,
    gain: float = 0.25,
) -> NDArray[np.float32]:
    """Draw ATAC-like peaks: two alleles, each open with a probability that rises with the peak's programs.

    ``P(open) = 1 - (1 - closed) exp(-gain * sum_p X2_p / rate_p)`` over the programs p tied to the peak;
    counts ~ Binomial(2, P(open)).

    Parameters
    ----------
    X2
        Expressed program activity (cells, programs).
    program_peak
        Which peaks each program opens, (programs, peaks).
    rates
        Mean activity of each program, so that programs of every rate open their peaks alike.
    rng
        Source of the draw.
    closed
        Probability that a peak without an active program is found open.
    gain
        How fast a peak opens.

    Returns
    -------
    Counts 0, 1 or 2, (cells, peaks).
    """
    drive = np.maximum(X2, 0) / rates @ program_peak
    return rng.binomial(2, 1 - (1 - closed) * np.exp(-gain * drive)).astype(np.float32)
