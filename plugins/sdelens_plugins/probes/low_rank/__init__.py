"""Linear drift of reduced rank."""
