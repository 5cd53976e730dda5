"""What fits a law to paths."""
