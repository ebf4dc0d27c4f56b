"""Benchmarks: figures as ratios to what the same process measured."""
