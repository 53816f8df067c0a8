"""What every column of every table that a command writes means; the page of file formats is made from this.

``tests/test_columns.py`` holds it to the tables that the commands write: a column that is not described here fails there, and
so does a description of what nothing writes.
"""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["FILES", "TableFile"]


class TableFile(NamedTuple):
    """A table of one kind."""

    what: str
    """Who writes it, and what a row is."""
    columns: dict[str, str]
    """Column -> what it means; ``*`` stands for columns that the user names."""


_FEATURE: Final = "column of codes.npz, from 0"
_MADE: Final = {
    "expression": "measured, or predicted by the embedding model",
    "pvalues": "calibrated where the tested molecules had no part in making the features, else descriptive",
}
_EXACT: Final = "two-sided p of that statistic"
_LEVELS: Final = {
    "n_variables": "variables of the level that vary",
    "share_over_0.95": "share of the variables whose best feature has |r| > 0.95",
    "share_over_0.9": "the same at 0.9",
    "share_over_0.8": "the same at 0.8",
    "mean_best_abs_r": "mean over variables of the largest |r| with a feature",
    "mean_best_abs_r_visible": "the same among the cells in which a variable is visible",
    "mcc": "mean |r| where features and variables are matched one to one",
    "mean_auroc": "mean over categories of the best feature's AUROC",
    "eta2": "largest share of a feature's variance that a label explains",
    "n_split": "variables with two or more associated features (|r| > 0.5)",
    "n_merged": "features with two or more associated variables",
    "disentanglement": "of each feature, how much of its importance is for one variable",
    "completeness": "of each variable, how much of its importance is in one feature",
    "null_share_over_0.95": "share_over_0.95 with the truth of other cells",
    "null_mean_best_abs_r": "mean_best_abs_r with the truth of other cells",
    "null_mcc": "mcc with the truth of other cells",
    "null_mean_auroc": "mean_auroc with the truth of other cells",
    "ceiling_share_over_0.95": "share_over_0.95 of a linear probe of the embedding",
    "ceiling_mean_abs_r": "mean |r| of a linear probe of the embedding",
    "n_live": "features that are active in some cell",
    "n_features": "features, live or dead",
    "l0": "mean number of active features a cell",
    "redundant": "live features with |r| > 0.95 with another one",
}
_RECOVERY: Final = {
    "method": "the dictionary",
    "seed": "of simulation and training",
    "level": "of the truth: Y, X2, X1, X0, A, B; or planted",
    "variable": "the hidden variable",
    "best_abs_r": "largest |r| with a feature, on held-out cells",
    "matched_r": "|r| with its feature where features and variables are matched one to one",
    "null_best_abs_r": "best_abs_r with the truth of other cells",
    "n_features": "features with |r| > 0.95",
    "best_abs_r_visible": "best_abs_r among the cells in which the variable is visible",
    "null_best_abs_r_visible": "its null",
    "auroc": "of the best feature, for categories",
    "null_auroc": "its null",
    "probe_r2": "R2 of a linear probe of the embedding: the ceiling",
    "probe_abs_r": "|r| of the linear probe",
    "probe_r2_visible": "probe_r2 among the cells in which the variable is visible",
    "probe_abs_r_visible": "probe_abs_r among these",
    "visible_fraction": "share of the cells in which the variable is visible",
}


def _scored(what: str) -> dict[str, str]:
    return {
        f"{what}_correlation": "by codes: Pearson's r over shared cells; by genes: of signed statistics over shared symbols",
        f"{what}_cosine": "by decoder: cosine of the directions",
        f"{what}_jaccard": "by sets: Jaccard index of the significant gene sets",
        f"{what}_pval": "that any feature of the other run scores as high by chance",
        f"{what}_qval": "Benjamini-Hochberg over the features of the run",
    }


FILES: Final[dict[str, TableFile]] = {
    "features.parquet": TableFile(
        "`run`, `annotate`: a row a feature that is active in some cell.",
        {
            "feature": _FEATURE,
            "name": "made of labels, gene sets and genes that the feature bears out",
            "kind": "local, regional or global: stands out in one, several or no cell type",
            "n_active": "cells in which it is active",
            "mean_active": "mean activation of these",
            "max_active": "largest activation",
            "stability": "mean over other seeds of the best match's correlation of codes",
            "stability_error": "standard error of that over cells",
            "stability_null": "the same number with cells permuted",
            "guide": "gene that guided the feature (`--guide`): it is associated by construction; empty of all others",
            "confound": "what else the feature reads: depth, mitochondrial share, a batch; empty if nothing",
            "top_genes": "its strongest genes upward, joined by commas",
            "top_set": "the gene set of the smallest q upward",
            "top_set_qval": "q value of top_set",
            "top_set_ancestor": "level-1 ancestor of top_set, with an ontology",
            "top_label": "the category that it detects best",
            "top_label_auroc": "AUROC for top_label",
            "specific_set": "of the sets at q < 0.05, the one that the fewest random directions reach",
            "specific_set_qval": "q value of specific_set",
            "specific_set_reach": "share of random directions that reach specific_set as well as this feature does",
            "any_set_qval": "q value of the claim that any set at all goes with the feature (Simes)",
            "top_regulator": "regulator whose induced targets are up the most, with a network",
            "untestable": "why the feature has no tests; empty if it has",
            **_MADE,
        },
    ),
    "genes.parquet": TableFile(
        "`run`, `annotate`: a row a feature and gene: those at q < 0.05 and the strongest of each feature.",
        {
            "feature": _FEATURE,
            "gene": "name in var_names",
            "symbol": "mapped symbol; empty where there is none",
            "modality": "rna, protein, atac",
            "log2fc": "log2 of the ratio of normalised means, active cells against inactive ones",
            "statistic": "signed z of the test",
            "logpval": "natural logarithm of pval, finite where pval underflows",
            "pval": _EXACT,
            "qval": "Benjamini-Hochberg over all features and genes, from the calibrated tail",
            "spearman": "rank correlation of the gene with the activation itself",
            **_MADE,
        },
    ),
    "sets.parquet": TableFile(
        "`run`, `annotate`: two rows a feature and gene set, up and down.",
        {
            "feature": _FEATURE,
            "set": "name of the set",
            "direction": "up or down",
            "n_measured": "genes of the set that are measured",
            "n_hits": "of these, genes in the feature's list of that direction",
            "effect": "rank-biserial correlation, -1 to 1: the ranks of the set's genes against genes of like expression",
            "pval_rank": "of the competitive rank test, two-sided",
            "qval_rank": "its q value, on the row of its sign; missing on the other",
            "pval_ora": "of over-representation, one-sided",
            "qval_ora": "its q value",
            "qval": "of both tests (twice the smaller one-sided p), Benjamini-Hochberg over all features, sets and directions",
            "redundant_with": "a better set of the same genes; empty if there is none",
            "ancestor": "level-1 ancestor, with an ontology",
            **_MADE,
        },
    ),
    "labels.parquet": TableFile(
        "`run`, `annotate`: a row a feature and category; of a column of numbers, a row a feature.",
        {
            "feature": _FEATURE,
            "column": "column of obs",
            "value": "category; empty for numbers",
            "auroc": "of the activation as detector of the category",
            "f1": "the best F1 over thresholds",
            "precision": "at that threshold",
            "recall": "at that threshold",
            "threshold": "the activation of the best F1",
            "qval": "Benjamini-Hochberg over features and categories, of the rank-sum test behind the AUROC",
            "spearman": "rank correlation with a column of numbers",
            "prevalence": "share of the labelled cells that are of the category",
            "activation_share": "share of the feature's activation that lies in the category",
            "core_precision": "share of the core (the fewest strongest cells with half of the activation) in the category",
            "core_recall": "share of the category's cells that are core cells",
            "active_recall": "share of the category's cells that are active",
            **_MADE,
        },
    ),
    "regulators.parquet": TableFile(
        "`run`, `annotate` with `--network`: the ten strongest regulators a feature and network.",
        {
            "feature": _FEATURE,
            "network": "name of the network",
            "source": "the regulator or pathway",
            "score": "of a univariate linear model of the gene statistics on the targets' weights, signed",
            "qval": "within the feature, genes taken as independent",
            "pval_max": "share of permuted features of which any source scores as high: the calibrated one",
        },
    ),
    "cells.parquet": TableFile(
        "`run`: a row a cell, in the order of codes.npz.",
        {
            "cell": "name of the cell",
            "depth": "molecules a cell, where counts were given",
            "mitochondrial share": "share of expression in mitochondrial genes, where there are any",
            "x": "of the two-dimensional map",
            "y": "of the two-dimensional map",
            "*": "the columns of obs that were used, and all others of categories",
        },
    ),
    "gene_sets.parquet": TableFile(
        "`run`: a row a tested gene set.",
        {
            "set": "name of the set",
            "collection": "kind and tissue, level-1 ancestor, or file",
            "genes": "its measured members",
        },
    ),
    "matches.parquet": TableFile(
        "`run`, `fit` with several seeds: a row a feature and other seed.",
        {
            "feature": _FEATURE,
            "seed": "1, 2, …: the other trainings in order",
            "partner": "feature of that training, one to one; -1 if none",
            "correlation": "of the codes of both, over cells",
            "cosine": "of their decoder directions",
            "best": "the best match, which several features may share",
            "best_correlation": "its correlation of codes",
        },
    ),
    "stability.parquet": TableFile(
        "`fit` with several seeds: a row a feature.",
        {
            "feature": _FEATURE,
            "stability": "mean over other seeds of the best match's correlation of codes",
            "error": "its standard error over cells",
            "null": "the same with cells permuted",
            "one_to_one": "the same where each match serves one feature alone",
            "cosine": "mean cosine of the decoder directions of one-to-one partners",
            "returns": "share of the other seeds with a one-to-one partner",
        },
    ),
    "consensus.parquet": TableFile(
        "`run`, `fit` with `--consensus`: a row a kept feature.",
        {
            "feature": _FEATURE,
            "source": "its number before the others were left out",
            "returns": "share of the other seeds in which it returns",
            "correlation": "mean over these of the best match",
        },
    ),
    "training.parquet": TableFile(
        "`run`, `fit`: a row a seed and record of the training.",
        {
            "seed": "of the training",
            "step": "optimiser steps so far",
            "loss": "total",
            "reconstruction": "its part from the error",
            "penalty": "its part from sparsity",
            "auxiliary": "its part from dead features",
            "l0": "mean number of active features a cell",
            "dead_share": "share of features that have not fired lately",
            "holdout_mse": "mean squared error on held-out cells, in units of the scaled embedding",
            "explained_variance": "on held-out cells",
        },
    ),
    "evaluation.parquet": TableFile(
        "`run`, `evaluate`: a row a measure, target, dictionary and k.",
        {
            "measure": "such as probe_f1: see the page on evaluation",
            "target": "column and category; `mean` is over targets",
            "dictionary": "`dictionary` is this one; else a rival or a null",
            "k": "number of features that were used",
            "value": "of the measure, in cells that had no part in choosing",
            "low": "lower end of the 95 % interval",
            "high": "upper end",
            "ceiling": "of a linear probe of the whole embedding",
        },
    ),
    "evaluation_differences.parquet": TableFile(
        "`run`, `evaluate`: a row a measure, target, rival and k.",
        {
            "measure": "as in evaluation.parquet",
            "target": "as in evaluation.parquet",
            "rival": "the dictionary that is subtracted",
            "k": "number of features that were used",
            "difference": "this dictionary less the rival, over the same cells",
            "low": "lower end of the 95 % interval",
            "high": "upper end",
            "pval": "one-sided: that this dictionary is no better",
            "targets": "targets behind a mean; 1 of a single one",
        },
    ),
    "evaluation_features.parquet": TableFile(
        "`run`, `evaluate`: a row a target and fold.",
        {
            "target": "column and category",
            "fold": "cells on which the feature was scored",
            "feature": "chosen on the other folds",
            "threshold": "activation above which a cell is called",
        },
    ),
    "differential.parquet": TableFile(
        "`differential`: a row a feature that could be compared, smallest p first.",
        {
            "feature": _FEATURE,
            "name": "of the run",
            "fraction_a": "share of active cells in the reference",
            "fraction_b": "the same in the other condition",
            "mean_a": "mean activation in the reference, zeros included; over donors the weighted mean of donors' means",
            "mean_b": "the same in the other condition",
            "difference": "mean_b less mean_a",
            "log2_ratio": "of the two means",
            "effect": "the difference in standard deviations, over cells or donors as run.json says",
            "statistic": "signed z of the difference",
            "pval": _EXACT,
            "qval": "Benjamini-Hochberg over all features and both questions",
            "statistic_fraction": "signed z of the difference in active shares",
            "pval_fraction": _EXACT,
            "qval_fraction": "as qval",
            "detectable": "smallest difference of means found with 80 % power at p = 0.05",
        },
    ),
    "untestable.parquet": TableFile(
        "`annotate`, `differential`: a row a feature that was not tested.",
        {"feature": _FEATURE, "reason": "why"},
    ),
    "steering.parquet": TableFile(
        "`steer`: a row a decoded gene, protein or peak.",
        {
            "gene": "name in the model",
            "symbol": "mapped symbol",
            "modality": "rna, protein, atac",
            "log2fc": "mean over the steered cells of the log2 change",
            "pval": "paired t test over cells",
            "qval": "Benjamini-Hochberg of pval",
            "null_pval": "two-sided, against moves along other features and random directions of the same size",
            "monotonicity": "Spearman correlation of the change with the dose",
            "low": "lower end of the 95 % interval of log2fc over cells",
            "high": "upper end",
            "null_qval": "Benjamini-Hochberg of null_pval",
        },
    ),
    "recovery.parquet (benchmark)": TableFile("`benchmark`: a row a method, seed and variable.", _RECOVERY),
    "summary.parquet (benchmark)": TableFile(
        "`benchmark`: a row a method, seed and level.",
        {
            "method": "the dictionary",
            "seed": "of simulation and training",
            "level": "of the truth",
            "kind": "sae, embedding or data (a decomposition of it), null, ceiling",
            **_LEVELS,
            "seconds": "to fit and encode",
        },
    ),
    "match output (.csv, .parquet)": TableFile(
        "`match`: a row a feature of the first run; with `--others` the same of the second.",
        {
            "feature": _FEATURE,
            "name": "of the first run",
            "relation": "shared, split, merged, mixed, unclear (chance reaches it too), unique or silent (nothing to compare)",
            "best_feature": "best match in the second run; -1 if none",
            "best_name": "its name",
            **_scored("best"),
            "partner_feature": "one-to-one match; -1 if none",
            "partner_name": "its name",
            **_scored("partner"),
        },
    ),
    "encode output (.npz, .h5ad, .zarr)": TableFile(
        "`encode`: a row a cell, in `obs`; in a .npz an array a column.",
        {
            "top_feature": "its strongest feature, by the activation over that feature's mean where it is active; -1 if none",
            "top_names": "names of its three strongest, the strongest first, with a bar between them",
            "novelty": "what the run's cells do not explain of its expression, in mean absolute deviations from what is usual",
            "novelty_pval": "share of the run's cells, each judged without itself, that score as high",
            "novelty_qval": "Benjamini-Hochberg over the new cells",
        },
    ),
    "export network (.csv, .tsv, .parquet)": TableFile(
        "`export`: a row a feature and gene.",
        {
            "source": "number and name of the feature",
            "target": "the gene",
            "weight": "log2 fold change",
            "statistic": "signed z",
            "feature": _FEATURE,
        },
    ),
}
"""Name of a file -> its columns."""
