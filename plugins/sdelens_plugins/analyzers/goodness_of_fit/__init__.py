"""Gains over baselines, calibration, forecasts at longer horizons and null data."""
