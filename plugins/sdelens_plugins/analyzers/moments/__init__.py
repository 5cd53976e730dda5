"""Moments of simulated paths compared with observed ones."""
