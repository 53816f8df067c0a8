"""Statistics on arrays: contrasts, gene and set tests, labels, nulls, false discovery rates."""

PUBLIC = {
    "association": ("activation_association",),
    "background": ("Background", "match_background"),
    "contrast": ("active_contrast", "Contrast", "paper_contrast"),
    "enrichment": ("rank_enrichment", "SetResult"),
    "expression": ("Expression", "prepare_expression"),
    "fdr": ("benjamini_hochberg",),
    "genes": ("GeneResult", "rank_sum", "welch"),
    "labels": ("category_detectors", "LabelResult", "spearman"),
    "novelty": ("cross_conformal",),
    "nulls": ("matched_directions", "permuted_codes", "random_sets"),
    "overrep": ("over_representation", "overlap_null", "OverlapNull", "OverrepResult"),
    "pseudobulk": ("paired_pseudobulk",),
    "setindex": ("index_sets", "SetIndex"),
    "simes": ("simes",),
    "units": ("Units", "usable_units"),
}
"""File -> its names for use from outside. What else the files hold is for those who extend the package, and may change."""
