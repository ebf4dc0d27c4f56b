"""Federated rounds: one client, many clients, the round, the server."""
