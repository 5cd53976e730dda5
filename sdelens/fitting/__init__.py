"""Fits with their baselines and held-out scores."""
