"""The fitted laws compared across layers."""
