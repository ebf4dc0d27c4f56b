"""From a config to the objects of a run.

`defaults` has every setting with its reason, `fields` and `validate` what is
refused, `build` what a config is made into.
"""
