"""Runs: a job, its folder, its analyses and its report."""
