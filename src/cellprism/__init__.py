"""Sparse, named and testable features of single-cell embeddings."""
