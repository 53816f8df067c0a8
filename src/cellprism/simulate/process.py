"""The large generative process: what is fixed over all data seeds, and the draw of a block of cells."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtr
from scipy.stats import poisson
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped,unused-ignore]

from cellprism.errors import InputError
from cellprism.numeric import numbers_checked

__all__ = ["BLOCK", "Cells", "LargeProcess"]

BLOCK = 1_000
"""Cells drawn from one random stream. Fixed, so that a data set does not depend on how it is cut into chunks."""


class Cells(NamedTuple):
    """The hidden variables of a block of cells."""

    X0: NDArray[np.float32]
    """Program activity before any covariate, (cells, programs)."""
    X1: NDArray[np.float32]
    """X0 with the batch noise added, (cells, programs)."""
    X2: NDArray[np.float32]
    """X1 in the programs that the cell expresses, zero elsewhere, (cells, programs)."""
    cell_type: NDArray[np.intp]
    """Index of the cell's type (of the nearer end of its branch where differentiation is continuous)."""
    batch: NDArray[np.intp]
    """Index of the cell's batch."""
    branch: NDArray[np.intp]
    """Index of the branch of the lineage tree; -1 where types are discrete."""
    pseudotime: NDArray[np.float32]
    """Position along the branch in [0, 1]; 0 where types are discrete."""


@numbers_checked
@dataclass(frozen=True)
class LargeProcess:
    """Cell types express programs, programs express genes, batches add to all programs.

    Notes
    -----
    Fixed by ``structure_seed``: program -> gene adjacency ~ Bernoulli(``p_program_gene``), cell type -> program
    adjacency ~ Bernoulli(``p_type_program``). Per cell: type and batch uniform, ``X0_p ~ Poisson(1 + 0.1 p)``,
    ``X1 = X0 + e`` with one ``e ~ N(batch index, batch_sd)`` a cell, ``X2 = X1`` in the programs of its type and 0
    elsewhere, genes ``Y = X2 @ adjacency``. With the defaults these are the processes of arXiv 2410.11468. The batch
    noise of batch 0 is centred on 0, so X1, X2 and Y hold small negative values, as published.

    ``program_correlation`` draws X0 through a Gaussian copula in which the programs of one of ``n_modules`` modules
    share a factor of that squared loading; every margin stays the published Poisson. ``continuous`` places cells on
    the branches of a random tree over the types, and the share in which a program is expressed goes linearly from
    one end to the other.
    """

    n_genes: int = 20_000
    """Genes."""
    n_programs: int = 100
    """Gene programs."""
    n_cell_types: int = 40
    """Cell types (level A)."""
    n_covariates: int = 3
    """Batches (level B); with one there is only its noise around 0."""
    p_program_gene: float = 0.1
    """Probability that a program drives a gene."""
    p_type_program: float | None = None
    """Probability that a type expresses a program; None means 0.3, or 0.7 where there is one covariate."""
    batch_sd: float = 0.1
    """Standard deviation of the batch noise."""
    program_correlation: float = 0.0
    """Copula correlation of two programs of one module, in [0, 1)."""
    n_modules: int = 10
    """Modules of correlated programs; unused where the correlation is 0."""
    continuous: bool = False
    """Cells along a lineage tree over the types, instead of discrete types."""
    structure_seed: int = 0
    """Seed of the adjacencies, the modules and the lineage tree."""

    def __post_init__(self) -> None:
        if self.continuous and self.n_cell_types < 2:
            raise InputError(
                "continuous differentiation runs between cell types",
                f"{self.n_cell_types} type",
                "simulate two types or more",
            )

    @property
    def type_density(self) -> float:
        """The probability in use that a type expresses a program."""
        if self.p_type_program is not None:
            return self.p_type_program
        return 0.7 if self.n_covariates == 1 else 0.3

    @property
    def rates(self) -> NDArray[np.floating]:
        """Poisson rate of each program, 1 + 0.1 p."""
        return 1 + 0.1 * np.arange(self.n_programs)

    @cached_property
    def program_gene(self) -> NDArray[np.bool_]:
        """Adjacency (programs, genes)."""
        return self._rng(0).random((self.n_programs, self.n_genes)) < self.p_program_gene

    @cached_property
    def type_program(self) -> NDArray[np.bool_]:
        """Adjacency (types, programs)."""
        return self._rng(1).random((self.n_cell_types, self.n_programs)) < self.type_density

    @cached_property
    def modules(self) -> NDArray[np.intp]:
        """The module of each program, sizes as even as they can be."""
        return self._rng(2).permutation(np.arange(self.n_programs) % self.n_modules)

    @cached_property
    def branches(self) -> NDArray[np.intp]:
        """Edges (types - 1, 2) of a random recursive tree: every type but the root hangs on an earlier one."""
        rng = self._rng(3)
        return np.array([(rng.integers(t), t) for t in range(1, self.n_cell_types)], dtype=np.intp).reshape(-1, 2)

    def _rng(self, stream: int) -> np.random.Generator:
        return np.random.default_rng([self.structure_seed, stream])

    @numbers_checked
    def draw(self, n: int, seed: int, block: int) -> Cells:
        """Draw the hidden variables of the first ``n`` cells of one block.

        Parameters
        ----------
        n
            Cells, at most :data:`BLOCK`.
        seed
            Seed of the data set.
        block
            Number of the block; the stream is a function of seed and block alone.

        Returns
        -------
        The hidden variables, ``n`` rows each.
        """
        rng = np.random.default_rng([seed, block, 0])
        # The whole block is drawn and then cut, so that the first cells do not depend on how many are asked for.
        cell_type = rng.integers(self.n_cell_types, size=BLOCK)
        batch = rng.integers(self.n_covariates, size=BLOCK)
        X0 = self._activities(rng)
        X1 = X0 + rng.normal(batch, self.batch_sd)[:, None]
        branch, pseudotime = np.full(BLOCK, -1), np.zeros(BLOCK)
        share = self.type_program[cell_type].astype(np.float64)
        if self.continuous:
            branch, pseudotime = rng.integers(len(self.branches), size=BLOCK), rng.random(BLOCK)
            start, end = self.branches[branch].T
            share = (1 - pseudotime[:, None]) * self.type_program[start] + pseudotime[:, None] * self.type_program[end]
            cell_type = np.where(pseudotime < 0.5, start, end)
        return Cells(
            X0[:n].astype(np.float32),
            X1[:n].astype(np.float32),
            (X1 * share)[:n].astype(np.float32),
            cell_type[:n],
            batch[:n],
            branch[:n],
            pseudotime[:n].astype(np.float32),
        )

    def _activities(self, rng: np.random.Generator) -> NDArray[np.float64]:
        if self.program_correlation == 0:
            return rng.poisson(self.rates, size=(BLOCK, self.n_programs)).astype(np.float64)
        rho = self.program_correlation
        shared = rng.standard_normal((BLOCK, self.n_modules))[:, self.modules]
        own = rng.standard_normal((BLOCK, self.n_programs))
        uniform = ndtr(np.sqrt(rho) * shared + np.sqrt(1 - rho) * own)
        # Inverse of each margin by its own table: one search a program instead of a root find a value.
        return np.column_stack(
            [
                np.searchsorted(poisson.cdf(np.arange(poisson.ppf(1 - 1e-12, rate) + 2), rate), column)
                for rate, column in zip(self.rates, uniform.T, strict=True)
            ]
        ).astype(np.float64)

    def genes(self, X2: NDArray[np.float32]) -> NDArray[np.float32]:
        """Expression Y = X2 @ adjacency, (cells, genes)."""
        with threadpool_limits(1, user_api="blas"):  # sums in one order: the same bits in memory and written by strips
            return X2 @ self._weights

    @cached_property
    def _weights(self) -> NDArray[np.float32]:
        return self.program_gene.astype(np.float32)

    def visible(self, cells: Cells) -> NDArray[np.bool_]:
        """Whether each program is expressed in each cell, (cells, programs)."""
        start = end = cells.cell_type
        if self.continuous:
            start, end = self.branches[cells.branch].T
        seen: NDArray[np.bool_] = self.type_program[start] | self.type_program[end]
        return seen

    def programs(self) -> pd.DataFrame:
        """Describe the programs: ``rate``, ``n_types``, ``n_genes``, ``module``, a row a program."""
        return pd.DataFrame(
            {
                "rate": self.rates,
                "n_types": self.type_program.sum(axis=0),
                "n_genes": self.program_gene.sum(axis=1),
                "module": self.modules,
            },
            index=pd.Index([f"program{p}" for p in range(self.n_programs)], name="program"),
        )
