"""Clients that lie: who they are, what they train on, and what they send."""
