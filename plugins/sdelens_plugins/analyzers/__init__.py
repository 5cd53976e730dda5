"""Questions to a fitted run."""
