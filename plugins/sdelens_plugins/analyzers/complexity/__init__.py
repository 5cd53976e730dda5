"""Correlations of text complexity with the fit's uncertainty and stability."""
