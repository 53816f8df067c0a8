"""Statistics on arrays: contrasts, gene and set tests, labels, nulls, false discovery rates."""
