"""Observed paths: blocks, documents, splits, coordinates, sums."""
