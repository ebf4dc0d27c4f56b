"""Slow, obvious twins of what the package computes: what tests compare to."""
