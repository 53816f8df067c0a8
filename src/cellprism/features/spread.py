"""Tests of features, a part of the features at a time: on threads, or on the workers of Dask.

Ranks are exact wherever the tests run: each gene is ranked once over all cells, and what travels to the workers is the ranked
expression, whole; what is spread are the features, each of which is tested by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from cellprism.stats.background import Background
from cellprism.stats.contrast import Contrast
from cellprism.stats.enrichment import SetCorrelation, feature_correlation, rank_enrichment
from cellprism.stats.expression import Expression
from cellprism.stats.fdr_kernels import TAIL, log_one_sided
from cellprism.stats.genes import GeneResult, empty_statistics
from cellprism.stats.overrep import OverlapNull, over_representation
from cellprism.stats.parallel import for_chunks
from cellprism.stats.setindex import SetIndex
from cellprism.workers import connected, over, parts_for

__all__ = ["SetRows", "SetTests", "spread_genes", "spread_sets"]

_CHUNK = 64  # features whose sets are tested at a time
_BYTES = 4 * 2**20  # that a piece of work may take on its way to a worker


def spread_genes(
    test: Callable[..., Any], expression: Expression, contrast: Contrast, *arguments: Any, **options: Any
) -> tuple[GeneResult, np.ndarray]:
    """Genes of all features by a test of :mod:`cellprism.stats`, and its second result, one a feature, where it has one."""
    client = connected()
    if client is None:
        return _with_second(test(expression, contrast, *arguments, **options))
    per_feature = max(1, (contrast.cells.nbytes + contrast.excluded_cells.nbytes) // max(1, contrast.n_features))
    parts = parts_for(client, contrast.n_features, most=_BYTES // per_feature)
    work = partial(_test_part, partial(test, **options), arguments)
    found = over(client, work, [contrast.part(part) for part in parts], expression)
    results, seconds = zip(*found, strict=True)
    # the precision is that of the whole, as a part by itself would have more
    z = empty_statistics(contrast.n_features, expression.n_genes)
    np.concatenate([one.z for one in results], out=z, casting="same_kind")
    calibrated, fold = (np.concatenate([getattr(r, name) for r in results]) for name in ("calibrated", "log2fc"))
    return GeneResult(z, calibrated, fold), np.concatenate(seconds)


def _test_part(
    test: Callable[..., Any], arguments: tuple[Any, ...], contrast: Contrast, expression: Expression
) -> tuple[GeneResult, np.ndarray]:
    return _with_second(test(expression, contrast, *arguments))


def _with_second(found: Any) -> tuple[GeneResult, np.ndarray]:
    return (found, np.empty(0, dtype=np.int64)) if isinstance(found, GeneResult) else found


class SetRows(NamedTuple):
    """Gene-set tests of some features: arrays (features, sets), or (features, 2 directions, sets)."""

    z: np.ndarray
    effect: np.ndarray
    ora: np.ndarray
    hits: np.ndarray
    combined: np.ndarray


class SetTests(NamedTuple):
    """What the tests of gene sets know beside the genes of a feature."""

    sets: SetIndex
    background: Background
    correlation: SetCorrelation
    overlap: OverlapNull
    critical: float
    """Calibrated |z| from which on a gene counts."""

    def rows(self, calibrated: np.ndarray) -> SetRows:
        """Of features by the calibrated z of their genes in sets (features, genes)."""
        z = calibrated.astype(np.float64)
        order = np.argsort(z, axis=1)
        rho = feature_correlation(z, self.correlation, self.sets, self.background)
        ranked = rank_enrichment(z, rho, self.sets, self.background, order)
        passing = np.stack([(z >= self.critical).sum(axis=1), (z <= -self.critical).sum(axis=1)], axis=1)
        over_all = over_representation(z, passing, self.overlap, self.sets, self.background, order)
        log_over = np.log(np.maximum(over_all.pval, 1e-300))
        smaller = np.minimum(log_one_sided(ranked.z, TAIL), log_over)
        return SetRows(ranked.z, ranked.effect, log_over, over_all.hits, np.minimum(smaller + np.log(2.0), 0.0))


def spread_sets(
    tests: SetTests, calibrated: np.ndarray, features: np.ndarray, write: Callable[[np.ndarray, SetRows], None]
) -> None:
    """Test the sets of these features, and write what comes of them, rows at a time.

    Parameters
    ----------
    tests
        Sets, and what they are held against.
    calibrated
        (all features, genes).
    features
        Numbers of those that are tested.
    write
        Takes numbers of features and their rows.
    """
    genes = tests.sets.genes

    def values(part: slice) -> np.ndarray:
        return np.asarray(calibrated[features[part]][:, genes])

    client = connected()
    if client is None:
        for_chunks(lambda part: write(features[part], tests.rows(values(part))), features.size, _CHUNK)
        return
    most = max(1, _BYTES // (calibrated.itemsize * max(1, genes.size)))
    parts = parts_for(client, features.size, most=min(most, _CHUNK))
    for part, rows in zip(parts, over(client, _test_sets, [values(part) for part in parts], tests), strict=True):
        write(features[part], rows)


def _test_sets(calibrated: np.ndarray, tests: SetTests) -> SetRows:
    return tests.rows(calibrated)
