"""One training in several processes: what they add up, and who holds which cells and features."""
