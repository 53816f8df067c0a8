"""What comes in: files, embeddings, expression, and the checks that each must pass."""
