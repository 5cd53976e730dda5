"""Calls of plugins: their errors are named after them, and what they changed is restored."""
