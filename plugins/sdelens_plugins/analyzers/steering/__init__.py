"""Dose response of text to steering along the fitted drift."""
