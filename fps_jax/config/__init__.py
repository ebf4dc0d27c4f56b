"""From a config to the objects of a run.

`sections` has every setting, a file a section: begin there. `defaults` makes a
config of them, `validate` says all that is wrong with one, and `build` makes it
a run.
"""
