"""Linear drift with log-linear state-dependent noise."""
