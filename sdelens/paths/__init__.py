"""Observed paths: blocks of states, documents, splits, bases and moments."""
