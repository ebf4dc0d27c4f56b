"""Clients that differ: what their devices can do, and what they are asked."""
