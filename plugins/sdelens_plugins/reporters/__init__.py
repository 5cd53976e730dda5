"""Reporters: write the report of a run to files."""
