"""What comes in: files, embeddings, expression, and the checks that each must pass."""

PUBLIC = {
    "counts": ("counts_behind",),
    "embedding": ("align", "Embedding", "read_embedding"),
    "missing": ("Groups", "groups", "missing"),
    "query": ("rows_where",),
    "read": ("read_cells",),
    "state": ("recognise", "STATES", "to_log1p"),
    "stored": ("stored_expression", "StoredExpression"),
    "symbols": ("clean_symbols", "Symbols"),
    "thin": ("thin",),
}
"""File -> its names for use from outside. What else the files hold is for those who extend the package, and may change."""
