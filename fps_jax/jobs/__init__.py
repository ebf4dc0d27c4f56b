"""What a config can ask for: a study, and jobs that measure something else.

`run` starts a config's job; `study` runs variants under seeds, which poisoning
and the trade-off are made of.
"""
