"""Rounds in which clients attack and a defence weighs updates.

In this order: `train`, `examine` (what a defence sees), `weigh`; `hide` bounds
the weights, `sketch` is what servers make of shares, `gather` runs them all.
"""
