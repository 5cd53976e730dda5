"""What a fit shows and does not show: calibration, memory, nulls, verdicts."""
