"""Rounds in which clients attack and a defence weighs updates.

In this order: `train`, `examine` (what a defence sees), `sketch` (what servers
make of shares for it), `weigh`, with weights that `hide` bounds; `gather` runs
them all.
"""
