"""Estimation of laws from paths: least squares, maximum likelihood, gradient descent."""
