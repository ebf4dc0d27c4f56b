"""Differential privacy of one client: bounds, noise, and what they come to."""
