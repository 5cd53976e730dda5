"""Tests whether the model's next-state law is Gaussian."""
