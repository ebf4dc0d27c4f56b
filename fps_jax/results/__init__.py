"""What is written about runs, and read again: rows, reports, figures.

`metrics` declares what a round reports, `workdir` where files lie.
"""
