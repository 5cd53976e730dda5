"""Probes fit laws to paths."""
