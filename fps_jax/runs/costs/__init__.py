"""What a run costs: bytes of messages, simulated time, operations."""
