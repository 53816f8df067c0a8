"""What is known about each feature of a dictionary."""

PUBLIC = {
    "annotate": ("annotate", "Annotation"),
    "best": ("best_features",),
    "comparison": ("Comparison",),
    "differential": ("Differential", "differential"),
    "export": ("feature_network", "feature_sets"),
    "kinds": ("cell_type_kinds",),
    "matching": ("Match", "match", "match_codes"),
    "modules": ("Modules", "modules"),
    "stability": ("fit_matches", "fit_stability", "stability"),
    "strongest": ("strongest",),
    "terms": ("probed", "term_map", "TermMap"),
    "twins": ("twins",),
}
"""File -> its names for use from outside. What else the files hold is for those who extend the package, and may change."""
