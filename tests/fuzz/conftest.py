"""Every run draws the same examples, however slow the machine is."""

import hypothesis

hypothesis.settings.register_profile(
  'fuzz', derandomize=True, deadline=None, database=None
)
hypothesis.settings.load_profile('fuzz')
