"""Benchmarks of the app against plain code for the same task: ratios, measured in one run."""
