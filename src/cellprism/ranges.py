"""Between what the numbers that arguments take must lie: one table for functions, groups of options and the command line.

A number that has no use is refused before any work: a negative count, a share of 1.5, and sizes (of dictionaries, draws,
simulations) that nothing could hold or end with. What also hangs on other arguments or on the data, such as ``k`` on ``width``,
is told by who knows both.
"""

from __future__ import annotations

import operator
from typing import NamedTuple

from cellprism.errors import InputError

__all__ = ["LARGEST", "RANGES", "Range", "range_of", "within"]

LARGEST = 2**31 - 1
"""Of whole numbers: seeds of some generators, and rows of compiled loops, end here."""


class Range(NamedTuple):
    """Where a number may lie; None is no bound."""

    least: float | None = None
    above: float | None = None
    most: float | None = None
    below: float | None = None
    usual: str = ""
    """What to give instead, as a remedy; else it follows from the bound."""


ANY = Range()
COUNT = Range(least=1)
FROM_0 = Range(least=0)
SHARE = Range(least=0, most=1)
BELOW_1 = Range(least=0, below=1)
OPEN = Range(above=0, below=1)
POSITIVE = Range(above=0, most=1e30)  # squares of float32 are numbers up to about there
LEVEL = Range(above=0, most=1, usual="0.05 is usual")
SEED = Range(least=0, most=LARGEST, usual="use 0")
WEIGHT = Range(least=0, most=1e6)
DRAWS = Range(least=1, most=100_000, usual="100 is usual")
CELLS = Range(least=1, most=100_000_000)
GENES = Range(least=1, most=10_000_000)
GROUPS = Range(least=1, most=100_000)
DIMENSIONS = Range(least=1, most=100_000)

RANGES: dict[str, Range] = {
    # randomness
    "seed": SEED, "structure_seed": SEED, "several.seeds": SEED, "seeds": Range(1, most=1_000, usual="use 1, or 3 to learn each feature's stability"),
    # SAEs and their training
    "width": Range(1, most=1_000_000), "k": COUNT, "l1": WEIGHT, "l0": WEIGHT, "matryoshka": COUNT, "kinds": FROM_0,
    "p_end": Range(above=0, most=1, usual="use 0.2, or None for a plain L1 penalty"), "guided": FROM_0,
    "whiten_power": Range(0, most=1, usual="use 1, or 0 to leave the axes as they are"),
    "start_active": Range(above=0, below=1, usual="use 0.05, or None"), "aux_k": COUNT, "aux_weight": WEIGHT,
    "dead_after": COUNT, "resample_every": COUNT, "bandwidth": Range(above=0, most=1e6, usual="use 0.5, or None for the default"),
    "k_percent": Range(above=0, most=100, usual="give a percentage of the width"),
    "epochs": Range(1, most=1_000_000), "batch_size": COUNT, "lr": Range(above=0, most=1e30, usual="use 3e-3 or less"),
    "warmup": SHARE, "decay": SHARE, "betas": Range(0, below=1, usual="use (0.9, 0.999)"),
    "holdout": Range(0, below=1, usual="use 0.1, or 0 to train on every cell"), "patience": Range(1, usual="use 10, or None to train to the end"),
    "max_grad_norm": Range(above=0, usual="use 1, or None"), "dictionary_shards": COUNT, "checkpoint_every": COUNT,
    "memory_limit": Range(0, usual="give bytes, such as 4e9, or 0 to read always"),
    "memory_budget": Range(above=0, usual="give bytes, e.g. 2**33"), "returned": SHARE, "consensus.share": BELOW_1,
    # embeddings
    "components": DIMENSIONS, "n_components": DIMENSIONS, "latent": DIMENSIONS, "latents": DIMENSIONS, "n_latent": DIMENSIONS,
    "d": DIMENSIONS, "trials": Range(1, most=1_000_000), "layers": Range(0, most=100), "hidden": DIMENSIONS,
    "head_layers": Range(1, most=100), "head_width": Range(1, most=1_000), "radius": POSITIVE, "hardness": POSITIVE, "sd": POSITIVE,
    "sd_sd": POSITIVE, "dirichlet": POSITIVE, "covariate_latent": DIMENSIONS, "lr_z": POSITIVE, "lr_prior": POSITIVE,
    "n_top_genes": COUNT, "depth": Range(1, most=100), "dropout": BELOW_1, "weight_decay": WEIGHT,
    "validation": OPEN,
    # tests of features
    "level": LEVEL, "min_cells": COUNT, "pseudocount": Range(above=0, most=1e6), "set_size": COUNT, "min_overlap": SHARE,
    "null_features": COUNT, "ks": COUNT, "spike_in": FROM_0, "floor": BELOW_1, "permutations": Range(0, most=1_000_000),
    "top": Range(1, usual="100 is usual"), "fewest": COUNT,
    # gene sets
    "min_size": COUNT, "max_size": COUNT, "min_level": FROM_0, "max_level": FROM_0, "min_genes": COUNT, "taxon": COUNT,
    # steering
    "feature": FROM_0, "features": FROM_0, "to": Range(0, usual="use `off` to switch it off"), "to_quantile": Range(0, most=1, usual="0.95 is a strong activation"), "quantile": SHARE, "scale": Range(0, usual="activations are never negative"), "add": ANY,
    "amount": ANY, "n_features": COUNT, "n_null": DRAWS, "max_cells": COUNT, "min_share": SHARE,
    # figures and pages
    "size": POSITIVE, "names": FROM_0, "genes": COUNT, "columns": COUNT, "height": Range(1, most=100_000),
    "max_megabytes": POSITIVE, "port": Range(0, most=65_535),
    # cells with known truth
    "n_cells": CELLS, "n_genes": GENES, "n_peaks": GENES, "peaks": Range(0, most=10_000_000), "n_programs": GROUPS,
    "n_cell_types": GROUPS, "n_covariates": GROUPS, "n_modules": GROUPS, "p_program_gene": SHARE, "p_type_program": SHARE,
    "p_program_peak": SHARE, "program_correlation": BELOW_1, "batch_sd": WEIGHT, "mean_activity": Range(above=0, most=1e6),
    "library_size": Range(above=0, most=1e9, usual="give the median total count"), "library_sd": Range(0, most=100),
    "theta": POSITIVE, "closed": BELOW_1, "gain": WEIGHT, "spread": BELOW_1, "min_detected": SHARE, "held_out": FROM_0,
    "planted.held_out": OPEN, "share": Range(above=0, most=1), "shares": Range(above=0, most=1), "thin.share": OPEN,
    "fold": Range(above=0, most=1e6), "over_grid.folds": Range(above=0, most=1e6), "per_round": COUNT,
    "n": COUNT, "block": FROM_0, "factor": COUNT, "factors": COUNT, "folds": Range(2), "alphas": POSITIVE,
}  # fmt: skip
"""By the name of the argument, which means the same wherever it occurs, or ``function.argument`` where it does not."""


def range_of(name: str, owner: str = "") -> Range | None:
    """The range of an argument, of a function's own where it has one; None where none is declared."""
    return RANGES.get(f"{owner}.{name}", RANGES.get(name))


def within(name: str, value: float, owner: str = "") -> None:
    """Refuse a number out of the range of its argument.

    Parameters
    ----------
    name
        Of the argument.
    value
        A finite number.
    owner
        The function or class that it is an argument of.

    Raises
    ------
    InputError
        If it lies outside.
    """
    found = range_of(name, owner) or ANY
    most = LARGEST if found.most is None and isinstance(value, int) else found.most
    for words, bound, out, remedy in (
        ("at least", found.least, operator.lt, "give {} or more"),
        ("more than", found.above, operator.le, "give a larger one"),
        ("at most", most, operator.gt, "give {} or less"),
        ("less than", found.below, operator.ge, "give a smaller one"),
    ):
        if bound is not None and out(value, bound):
            shown = f"{bound:,}" if isinstance(bound, int) else f"{bound:g}"
            raise InputError(f"`{name}` must be {words} {shown}", str(value), found.usual or remedy.format(shown))
