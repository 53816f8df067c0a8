"""One training step, or a whole epoch, in several ways: dense is the oracle of the others."""
