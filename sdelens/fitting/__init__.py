"""A fit beside what it must beat, with held-out scores."""
