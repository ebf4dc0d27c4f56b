"""What a run costs: bytes of messages, simulated time, operations.

Bytes of a round are those of `round_metrics`, which asks `message_bytes`, which
asks the scheme's `Channel`, which asks `sharing.messages` for the length of
each message. What the central server sends to the servers is not counted.
"""
