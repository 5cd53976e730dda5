"""Statistical evidence for a fit: calibration, memory, null data and verdicts."""
