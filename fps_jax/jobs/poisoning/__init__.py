"""The job that has every attack meet every defence."""
