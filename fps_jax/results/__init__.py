"""What is written about runs, and read again: rows, reports, figures.

`metrics` has what a round reports, `workdir` where files lie.
"""
