"""The job that weighs accuracy, bytes, privacy and faults."""
